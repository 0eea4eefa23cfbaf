"""Two sets of arrays compared: equal to the bit, within rounding, or different."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def largest_difference(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> float:
    """The largest difference between arrays of the same names, 0 if every bit is the same.

    The difference of two numbers is relative to the largest number of their array in ``other``; inf if one is NaN and
    the other is not, if a shape differs or an array is missing.
    """
    if one.keys() != other.keys():
        return np.inf
    return max((_difference(values, other[name]) for name, values in one.items()), default=0.0)


def _difference(again: NDArray[Any], before: NDArray[Any]) -> float:
    if again.shape != before.shape or again.dtype != before.dtype:
        return np.inf
    if again.tobytes() == before.tobytes():
        return 0.0
    if not np.array_equal(np.isnan(again), np.isnan(before)):
        return np.inf
    size = np.nanmax(np.abs(before))
    return float(np.nanmax(np.abs(again - before)) / size) if size else np.inf
