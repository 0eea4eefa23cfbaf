"""What a verdict could have seen: the smallest deviation from theory that it finds with a given probability."""

from __future__ import annotations

import math
from functools import lru_cache

from scipy import optimize, stats

LEVEL = 0.01
"""Probability below which a verdict counts as doubtful."""

PROBABILITY = 0.9
"""With which the deviation is to be seen."""


@lru_cache(maxsize=256)
def noncentrality(dof: int) -> float:
    """Mean growth of chi-square that puts the p-value below :data:`LEVEL` with :data:`PROBABILITY`."""
    edge = float(stats.chi2.isf(LEVEL, dof))
    return float(optimize.brentq(lambda x: stats.ncx2.sf(edge, dof, x) - PROBABILITY, 1e-6, 100.0 + 10.0 * dof))


def detectable(information: float, dof: int) -> float:
    """Multiple of a pattern of deviations that a verdict of so many degrees of freedom finds; inf if it is blind."""
    return math.sqrt(noncentrality(dof) / information) if dof and information > 0.0 else math.inf
