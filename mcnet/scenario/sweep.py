"""Sweeps: a value, a list or a range of each swept quantity, and the grid of their product."""

from __future__ import annotations

import math
from typing import Any

MAX_POINTS = 100_000
"""Largest grid of a study: each of its points has at least one file of its own."""


def spread(start: float, stop: float, num: int, spacing: str = "linear") -> tuple[float, ...]:
    """``num`` numbers from ``start`` to ``stop``, both included.

    The ends are exact, those between rounded to 15 digits: 0.3 is 0.3 and not 0.30000000000000004, and the same number
    stands for the same point in every study.

    Raises
    ------
    ValueError
        If ``spacing`` is ``"log"`` and the range does not lie above zero.
    """
    if spacing == "log" and min(start, stop) <= 0:
        raise ValueError('spacing = "log" needs start and stop greater than 0')

    def between(fraction: float) -> float:
        if spacing == "log":
            value = math.exp((1 - fraction) * math.log(start) + fraction * math.log(stop))
        else:
            value = (1 - fraction) * start + fraction * stop
        return float(f"{value:.15g}")

    inner = tuple(between(k / (num - 1)) for k in range(1, num - 1))
    return (start, *inner, stop)


def grid(axes: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """All combinations, the last axis running fastest: one table of values for each."""
    points: list[dict[str, Any]] = [{}]
    for name, values in axes.items():
        points = [{**point, name: value} for point in points for value in values]
    return points
