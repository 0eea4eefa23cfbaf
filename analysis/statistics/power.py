"""What a verdict could have seen: the smallest deviation from theory that it finds with a given probability."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import optimize, special

LEVEL = 0.01
"""Probability below which a verdict counts as doubtful."""

PROBABILITY = 0.9
"""With which the deviation is to be seen."""

_NODES = 200  # quantiles of what the other deviations add; the noncentrality is right to 1e-3


@lru_cache(maxsize=1024)
def noncentrality(dof: int, free: float = math.inf) -> float:
    """Squared size of a deviation that puts the p-value below :data:`LEVEL` with :data:`PROBABILITY`.

    Parameters
    ----------
    dof : int
        p, the number of deviations that are weighed.
    free : float
        Degrees of freedom nu behind their estimated covariance C; at least p.

    Returns
    -------
    float
        delta^T C^-1 delta, in the very C that the verdict uses (so that a study can say it of itself).

    Notes
    -----
    With C known, T^2 = d^T C^-1 d follows the noncentral chi-square law. With C from nu degrees of freedom a deviation
    whose size delta^T C^-1 delta = r^2 is fixed in the estimated metric gives

        T^2 = S + (t sqrt((nu + S)/k) + r)^2,    k = nu - p + 1,                                        (1)

    where S, which the p - 1 other directions add, follows Hotelling's law of p - 1 and nu, and t Student's of k degrees
    of freedom, independent of each other (partitioned Wishart matrix: the residual of the regression on the other
    directions is independent of them, the error of its coefficients is the S in the root). r^2 is where (1) exceeds
    the edge of Hotelling's law of p and nu with the probability wanted.

    References
    ----------
    Anderson, An Introduction to Multivariate Statistical Analysis, Wiley 2003, chapters 5 and 7.
    """
    if not math.isfinite(free):
        edge = float(special.chdtri(dof, LEVEL))
        return float(
            optimize.brentq(lambda x: 1.0 - PROBABILITY - special.chndtr(edge, dof, x), 1e-6, 100.0 + 10.0 * dof)
        )
    k = free - dof + 1.0
    edge = float(special.fdtri(dof, k, 1.0 - LEVEL)) * free * dof / k
    others = np.zeros(1)
    if dof > 1:
        middles = (np.arange(_NODES) + 0.5) / _NODES
        others = special.fdtri(dof - 1, k + 1.0, middles) * free * (dof - 1) / (k + 1.0)
    room, unit = np.sqrt(np.maximum(edge - others, 0.0)), np.sqrt((free + others) / k)

    def missed(r: float) -> float:
        inside = special.stdtr(k, (room - r) / unit) - special.stdtr(k, (-room - r) / unit)  # (1)
        return float(np.mean(inside)) - (1.0 - PROBABILITY)

    return float(optimize.brentq(missed, 1e-6, 10.0 * (math.sqrt(edge) + 30.0 * float(unit.max())))) ** 2


def detectable(information: float, dof: int) -> float:
    """Multiple of a pattern of deviations that a verdict of so many degrees of freedom finds; inf if it is blind."""
    return math.sqrt(noncentrality(dof) / information) if dof and information > 0.0 else math.inf


def with_growing_errors(share: float) -> float:
    """What is detectable where the errors are proportional to what is measured.

    A thing that is 1 + s times what is predicted has errors 1 + s times as large: in errors it deviates by s/(1 + s)
    of its size, and s = share/(1 - share) makes that the share of the errors as they are. From one on, nothing so large
    is ever seen.
    """
    return share / (1.0 - share) if share < 1.0 else math.inf
