"""Counts of a spectrum in fixed bins, with one entry below and one above them, so that no value is lost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.observable import Option, Values

MOST_BINS = 100_000
"""More are refused: every shard holds them all."""


def counted(values: NDArray[Any], edges: NDArray[np.float64]) -> Values:
    """Counts of all values, one record for all networks.

    Parameters
    ----------
    values : ndarray
        Any shape.
    edges : ndarray, shape (bins + 1,)
        Increasing.

    Returns
    -------
    Values
        Shape (1, bins + 2), int64: below the first edge, [edge, next edge) for every bin, the rest.
    """
    places = np.searchsorted(edges, values.ravel(), side="right")
    counts = np.bincount(places, minlength=edges.size + 1)[None]
    return Values(counts, np.ones(counts.shape, bool))


def entries(edges: NDArray[np.float64], bins: str, below: str = "") -> str:
    """What the entries of a histogram count, in words."""
    return (
        f"entry 0: below {edges[0]:g}{below}; entries 1 to {edges.size - 1}: {bins} bins of "
        f"[{edges[0]:g}, {edges[-1]:g}); entry {edges.size}: the rest"
    )


def range_option(explanation: str, low: float = -math.inf) -> Option:
    """An option ``[first edge, last edge]`` with edges greater than ``low``."""

    def complaint(value: Any) -> str | None:
        numbers = isinstance(value, list | tuple) and len(value) == 2
        if numbers and all(isinstance(edge, int | float) and not isinstance(edge, bool) for edge in value):
            return None if low < value[0] < value[1] < math.inf else told
        return told

    told = "must be two increasing numbers" + (f" greater than {low:g}" if math.isfinite(low) else "")
    return Option(explanation, complaint)


def without_effect(options: Any, chosen: bool, choice: str) -> list[str]:
    """Complaint about bins that nothing is counted in."""
    names = [name for name in ("bins", "range") if name in options]
    if chosen or not names:
        return []
    return [f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} for {choice}; add it, or remove them"]
