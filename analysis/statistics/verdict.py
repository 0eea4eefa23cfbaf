"""One honest number for many correlated deviations: whitened chi-square over independent groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.statistics.power import noncentrality
from numpy.typing import ArrayLike, NDArray
from scipy import special

CONDITIONAL_VARIANCE = 0.05  # a deviation that the chosen ones explain to 95 % adds noise, not information
NETWORKS_PER_DEVIATION = 10  # a covariance from N networks judges N/10 deviations at most
OUTLIERS = 1e-3  # share of the false alarms that deviations outside the chi-square may cause


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
    full : bool
        Whether the number of networks, not the correlations, ended the choice.
    information : (k,)
        Of each pattern of deviations: its squared size in standard errors, counted less where the errors are known less
        well, so that the power is that of a noncentral chi-square law.
    """

    chi2: float
    dof: int
    p_value: float
    chosen: NDArray[np.intp]
    full: bool = False
    information: Floats = np.empty(0)


def judge(
    deviation: ArrayLike,
    covariance: ArrayLike,
    networks: float,
    cut: float = CONDITIONAL_VARIANCE,
    patterns: ArrayLike | None = None,
    first: Sequence[int] = (),
    support: ArrayLike | None = None,
) -> Verdict:
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
    patterns : (k, p), optional
        Deviations that theory could have, for :attr:`Verdict.information`.
    first : sequence of int
        Deviations that are asked first, in this order.
    support : (p,), optional
        Effective number of networks behind the error of each deviation; a third of them for the mean of a normal law.

    Notes
    -----
    Neighbouring layers of one network say nearly the same, so the full matrix is nearly singular and its smallest
    eigenvalues are noise. A pivoted Cholesky factorisation of the correlation matrix chooses the deviations one by
    one, first those that are to come first, then each time the one with the largest variance given those already
    chosen (of equal ones the one that stands first); none whose variance falls below `cut` then, and at most
    networks/10. The choice looks at the covariance only, never at the deviations.

    With nu = networks - 1 degrees of freedom (at most three times the mean support less one: the error of a variance,
    or of a heavy tail, is known less well), T^2 = d^T C^-1 d follows Hotelling's law; its exact probability (F
    distribution) is turned into the chi-square of the same probability, so that groups add up. The leading effect is
    the factor (nu - p - 1)/nu on T^2.
    """
    d, c = np.asarray(deviation, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    variance = np.diag(c)
    usable = np.flatnonzero(np.isfinite(d) & np.isfinite(variance) & (variance > 0))
    most = int(networks // NETWORKS_PER_DEVIATION) if np.isfinite(networks) else usable.size
    error = np.sqrt(variance[usable])
    correlation = c[np.ix_(usable, usable)] / np.outer(error, error)
    place = {int(j): i for i, j in enumerate(usable)}
    order, factor = pivoted_cholesky(correlation, cut, most, [place[j] for j in first if j in place])
    p = order.size
    wrong = np.zeros((0, d.size)) if patterns is None else np.asarray(patterns, dtype=np.float64)
    if p == 0:
        return Verdict(0.0, 0, float("nan"), np.empty(0, dtype=np.intp), most == 0, np.zeros(len(wrong)))
    scores = np.linalg.solve(factor, (d[usable] / error)[order])
    if support is not None:
        behind = 3.0 * float(np.mean(np.asarray(support, dtype=np.float64)[usable[order]]))
        networks = max(min(networks, behind), p + 2.0)
    chi2, p_value = _hotelling(float(scores @ scores), p, networks - 1.0)
    seen = np.linalg.solve(factor, (wrong[:, usable] / error)[:, order].T)  # (dof, k)
    worth = noncentrality(p) / noncentrality(p, round(networks - 1.0, 1)) if len(wrong) else 1.0
    return Verdict(chi2, p, p_value, usable[order], p == most, worth * (seen**2).sum(axis=0))


def with_truncation(covariance: Floats, truncation: Floats) -> Floats:
    """Covariance of sampling noise, and of neglected orders of these standard deviations.

    Neglected orders are functions of the same expansion as the noise is: they are taken to be correlated like it. As
    independent errors they would swamp the differences of nearly equal deviations, and p would come out too large.
    """
    error = np.sqrt(np.diag(covariance))
    ratio = np.divide(truncation, error, out=np.zeros_like(error), where=error > 0.0)
    return np.asarray(covariance * (1.0 + np.outer(ratio, ratio)))


def with_outliers(verdict: Verdict, z: ArrayLike, support: ArrayLike) -> Verdict:
    """A verdict that also sees deviations which did not enter, where they are far beyond chance.

    Parameters
    ----------
    verdict : Verdict
    z, support : (n,)
        Scores that did not enter, with errors that are not too small, and the effective number of networks behind each.

    Notes
    -----
    The smallest probability of n scores, by Student's law of `support` degrees of freedom, times n, takes a thousandth
    of the probability of false alarms and chi-square the rest (weighted Bonferroni): p = min(p / 0.999, p_outlier /
    0.001). chi2 becomes the one of the same probability. Without chi-square it is a verdict of one degree of freedom,
    where it is one at all.
    """
    scores, free = np.abs(np.asarray(z, dtype=np.float64)), np.asarray(support, dtype=np.float64)
    if not scores.size:
        return verdict
    beyond = float(np.min(2.0 * special.stdtr(free, -scores))) * scores.size / OUTLIERS
    if beyond >= (verdict.p_value / (1.0 - OUTLIERS) if verdict.dof else 1.0):
        return verdict
    dof = max(verdict.dof, 1)
    chi2 = float(special.chdtri(dof, beyond)) if beyond > 1e-290 else max(verdict.chi2, float(np.max(scores) ** 2))
    return verdict._replace(chi2=chi2, dof=dof, p_value=beyond)


def combine(groups: Iterable[Verdict]) -> Verdict:
    """The sum of independent groups."""
    listed = list(groups)
    chi2, dof = float(sum(group.chi2 for group in listed)), sum(group.dof for group in listed)
    p_value = float(special.chdtrc(dof, chi2)) if dof else float("nan")
    return Verdict(chi2, dof, p_value, np.empty(0, dtype=np.intp))


def pivoted_cholesky(
    matrix: Floats, cut: float, most: int, first: Sequence[int] = ()
) -> tuple[NDArray[np.intp], Floats]:
    """Best-conditioned subset of a correlation matrix.

    Returns
    -------
    order : (k,) int
        Chosen rows, k <= most, each with a conditional variance of at least `cut` given those before it; `first` are
        asked first, in their order.
    factor : (k, k)
        Lower triangular, factor @ factor.T = matrix[order][:, order].
    """
    p = matrix.shape[0]
    rest = np.ones(p)  # exactly: rounding must not choose the first one
    columns = np.zeros((p, min(p, max(most, 0))))
    order: list[int] = []
    waiting = list(first)
    while len(order) < columns.shape[1]:
        asked = bool(waiting)
        j = waiting.pop(0) if asked else int(np.argmax(rest))
        if rest[j] < cut:
            if asked:
                continue
            break
        k = len(order)
        columns[:, k] = (matrix[:, j] - columns[:, :k] @ columns[j, :k]) / np.sqrt(rest[j])
        rest -= columns[:, k] ** 2
        rest[j] = -np.inf
        order.append(j)
    chosen = np.array(order, dtype=np.intp)
    return chosen, np.tril(columns[chosen][:, : chosen.size])


def _hotelling(t2: float, p: int, nu: float) -> tuple[float, float]:
    """Chi-square with p degrees of freedom that is as probable as T^2, and that probability."""
    if not np.isfinite(nu):
        return t2, float(special.chdtrc(p, t2))
    tail = float(special.fdtrc(p, nu - p + 1, t2 * (nu - p + 1) / (nu * p)))
    if tail > 1e-290:
        return float(special.chdtri(p, tail)), tail
    return t2 * (nu - p - 1) / nu, 0.0
