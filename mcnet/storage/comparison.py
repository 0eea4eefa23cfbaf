"""Two sets of arrays compared: their largest difference, that of the first layers, and whether they follow one law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROUNDED = 1e-6
"""Relative rounding of a mean: what does not vary among networks differs by that much from processor to processor."""


class Comparison(NamedTuple):
    """Two measurements of the same networks.

    Attributes
    ----------
    difference : float
        As :func:`largest_difference`.
    first : float
        The same of the layers up to the first, in which rounding has not grown; 0 where none was measured.
    score : float
        Largest difference of a mean over networks, in standard errors as if they were independent.
    """

    difference: float
    first: float
    score: float


def compare(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]], depth: int) -> Comparison:
    """Compare arrays (networks, ...) by name; those of the signal have the layers 0..depth on their last axis."""
    difference = largest_difference(one, other)
    if difference == 0.0 or one.keys() != other.keys():
        return Comparison(difference, difference, difference)
    layered = [name for name in one if name.startswith("signal/") and one[name].shape[-1:] == (depth + 1,)]
    forward = [name for name in layered if name.rsplit("/", 1)[1] in ("q", "q_hat", "c")]
    first = largest_difference(*({name: arrays[name][..., :2] for name in forward} for arrays in (one, other)))
    return Comparison(difference, first, max(_score(one[name], other[name]) for name in one))


def _score(again: NDArray[Any], before: NDArray[Any]) -> float:
    """Largest difference of means over the networks in standard errors; inf if the shapes differ."""
    if again.shape != before.shape:
        return np.inf
    means, spreads = zip(*map(_moments, (again, before)), strict=True)
    known = np.isfinite(spreads[0]) & np.isfinite(spreads[1]) & (spreads[0] + spreads[1] > 0.0)
    error = np.sqrt(np.where(known, spreads[0] + spreads[1] + (ROUNDED * means[1]) ** 2, 1.0))
    return float(np.max(np.where(known, np.abs(means[0] - means[1]) / error, 0.0), initial=0.0))


def _moments(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over the networks and its squared error, of those that are numbers; NaN for fewer than two."""
    defined = np.isfinite(values)
    count = defined.sum(axis=0)
    few = np.where(count > 1, count, np.nan)
    mean = np.where(defined, values, 0.0).sum(axis=0) / few
    square = np.where(defined, (values - mean) ** 2, 0.0).sum(axis=0)
    return mean, square / (few - 1.0) / few


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
