"""One honest number for many correlated deviations: whitened chi-square over independent groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from mcnet_analysis.statistics.estimate import Floats
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONDITIONAL_VARIANCE = 0.05  # a deviation that the chosen ones explain to 95 % adds noise, not information
NETWORKS_PER_DEVIATION = 10  # a covariance from N networks judges N/10 deviations at most


class Verdict(NamedTuple):
    """Whitened chi-square of one group, or the sum over independent groups.

    Attributes
    ----------
    chi2 : float
        Follows the chi-square law with `dof` degrees of freedom if the predictions are right.
    dof : int
    p_value : float
        NaN without degrees of freedom.
    chosen : (dof,) int
        Deviations of the group that entered; empty for a sum.
    """

    chi2: float
    dof: int
    p_value: float
    chosen: NDArray[np.intp]


def judge(deviation: ArrayLike, covariance: ArrayLike, networks: float, cut: float = CONDITIONAL_VARIANCE) -> Verdict:
    """Judge correlated deviations whose covariance was estimated from a number of networks.

    Parameters
    ----------
    deviation : (p,)
        Measured minus predicted; entries that are NaN, or without an error, are left out.
    covariance : (p, p)
        Estimated covariance of the deviations.
    networks : float
        Effective number of networks behind the covariance.
    cut : float
        See Notes.

    Notes
    -----
    Neighbouring layers of one network say nearly the same, so the full matrix is nearly singular and its smallest
    eigenvalues are noise. A pivoted Cholesky factorisation of the correlation matrix chooses the deviations one by
    one, each time the one with the largest variance given those already chosen, and stops when that falls below
    `cut`, or at networks/10 deviations. The choice looks at the covariance only, never at the deviations.

    With nu = networks - 1 degrees of freedom, T^2 = d^T C^-1 d follows Hotelling's law; its exact probability (F
    distribution) is turned into the chi-square of the same probability, so that groups add up. The leading effect is
    the factor (nu - p - 1)/nu on T^2.
    """
    d, c = np.asarray(deviation, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    variance = np.diag(c)
    usable = np.flatnonzero(np.isfinite(d) & np.isfinite(variance) & (variance > 0))
    most = int(networks // NETWORKS_PER_DEVIATION) if np.isfinite(networks) else usable.size
    error = np.sqrt(variance[usable])
    correlation = c[np.ix_(usable, usable)] / np.outer(error, error)
    order, factor = pivoted_cholesky(correlation, cut, most)
    p = order.size
    if p == 0:
        return Verdict(0.0, 0, float("nan"), np.empty(0, dtype=np.intp))
    scores = np.linalg.solve(factor, (d[usable] / error)[order])
    chi2, p_value = _hotelling(float(scores @ scores), p, networks - 1.0)
    return Verdict(chi2, p, p_value, usable[order])


def combine(groups: Iterable[Verdict]) -> Verdict:
    """The sum of independent groups."""
    listed = list(groups)
    chi2, dof = float(sum(group.chi2 for group in listed)), sum(group.dof for group in listed)
    p_value = float(stats.chi2.sf(chi2, dof)) if dof else float("nan")
    return Verdict(chi2, dof, p_value, np.empty(0, dtype=np.intp))


def pivoted_cholesky(matrix: Floats, cut: float, most: int) -> tuple[NDArray[np.intp], Floats]:
    """Best-conditioned subset of a correlation matrix.

    Returns
    -------
    order : (k,) int
        Chosen rows, k <= most, each with a conditional variance of at least `cut` given those before it.
    factor : (k, k)
        Lower triangular, factor @ factor.T = matrix[order][:, order].
    """
    p = matrix.shape[0]
    rest = np.diag(matrix).copy()
    columns = np.zeros((p, min(p, max(most, 0))))
    order: list[int] = []
    for k in range(columns.shape[1]):
        j = int(np.argmax(rest))
        if rest[j] < cut:
            break
        columns[:, k] = (matrix[:, j] - columns[:, :k] @ columns[j, :k]) / np.sqrt(rest[j])
        rest -= columns[:, k] ** 2
        rest[j] = -np.inf
        order.append(j)
    chosen = np.array(order, dtype=np.intp)
    return chosen, np.tril(columns[chosen][:, : chosen.size])


def _hotelling(t2: float, p: int, nu: float) -> tuple[float, float]:
    """Chi-square with p degrees of freedom that is as probable as T^2, and that probability."""
    if not np.isfinite(nu):
        return t2, float(stats.chi2.sf(t2, p))
    tail = float(stats.f.sf(t2 * (nu - p + 1) / (nu * p), p, nu - p + 1))
    if tail > 1e-290:
        return float(stats.chi2.isf(tail, p)), tail
    return t2 * (nu - p - 1) / nu, 0.0
