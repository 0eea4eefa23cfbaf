"""Fits in powers of 1/M: the limit, the coefficients, their errors, what the next orders could do to them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from mcnet_analysis.statistics.estimate import Floats
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

TRUNCATION = 0.25  # a fit whose truncation error exceeds this part of the statistical error gets one more coefficient
_NEGLECTED = 4  # orders beyond the free ones that are kept as unknown


class Fit(NamedTuple):
    """Fits of p columns over the same W widths, y(M) = sum_k a_k / M^k, k = first, ..., first + K - 1.

    Attributes
    ----------
    first : int
        Lowest power: 0 if the limit is free, 1 if it was taken off (or for variances).
    order : (p,) int
        K, the number of free coefficients of each column; the arrays below are NaN (weights: 0) beyond it.
    coefficient, error, statistical, truncation : (p, Kmax)
        Value, total error and its two parts: sampling noise, and the orders left out.
    weights : (p, Kmax, W)
        The estimator is linear: coefficient = weights @ y.
    truncation_covariance : (p, Kmax, Kmax)
    chi2, p_value : (p,); dof : (p,) int
        Goodness of fit; the p-value is NaN without degrees of freedom.
    """

    first: int
    order: NDArray[np.intp]
    coefficient: Floats
    error: Floats
    statistical: Floats
    truncation: Floats
    weights: Floats
    truncation_covariance: Floats
    chi2: Floats
    dof: NDArray[np.intp]
    p_value: Floats


def fit(
    widths: ArrayLike,
    y: ArrayLike,
    error: ArrayLike,
    *,
    scale: ArrayLike,
    growth: ArrayLike,
    first: int = 1,
    order: int | None = None,
) -> Fit:
    """Fit each column of y over the widths by generalised least squares.

    Parameters
    ----------
    widths : (W,)
        M, all different; the widths are independent.
    y, error : (W, p)
        Values and standard errors. The limit, if known, is subtracted by the caller.
    scale, growth : (p,)
        The orders that are left out are unknown, not zero: a_k ~ N(0, (scale growth^(k-1))^2). `growth` 0 says that
        the expansion ends with 1/M.
    first : int
        Lowest power of 1/M, 0 or 1.
    order : int, optional
        Number of free coefficients for all columns. By default it is chosen for each column: coefficients up to 1/M
        with one or two widths (as many as there are widths), up to 1/M^2 with three or more; then one more as long
        as a degree of freedom is left and the truncation error of the leading coefficient exceeds a quarter of the
        statistical one. Errors decide, values do not: a choice that looks at the misfit hides it. Columns of growth 0
        keep to 1/M.

    Notes
    -----
    The left-out coefficients are integrated out: with A the powers that are fitted and R the left-out ones, tau
    their standard deviations,

        V = diag(error^2) + R diag(tau^2) R^T,   a = (A^T V^-1 A)^-1 A^T V^-1 y,                   (1)

    so a small width, where the next order could matter, loses weight by itself, and the error of a says so
    ("constrained" fits, Lepage et al. 2002, with priors only on what is not fitted).
    """
    m = 1.0 / np.asarray(widths, dtype=np.float64)
    values, errors = np.asarray(y, dtype=np.float64), np.asarray(error, dtype=np.float64)
    w, p = values.shape
    scales = np.broadcast_to(np.asarray(scale, dtype=np.float64), (p,))
    growths = np.broadcast_to(np.asarray(growth, dtype=np.float64), (p,))
    if order is not None:
        if not 1 <= order <= w:
            raise ValueError(f"{order} coefficients cannot be fitted to {w} widths")
        start = np.full(p, order)
        most = start
    else:
        to_first = min(2 - first, w)
        start = np.where(growths > 0, to_first + 1 if w >= 3 else to_first, to_first)
        most = np.where(growths > 0, np.maximum(start, w - 1), start)
    largest = int(most.max(initial=1))
    result = _empty(first, p, largest, w)
    pending = np.ones(p, dtype=bool)
    for k in range(int(start.min(initial=1)), largest + 1):
        now = pending & (start <= k)
        if not now.any():
            continue
        _fit_order(result, now, k, m, values, errors, scales, growths)
        with np.errstate(invalid="ignore"):  # NaN: not fitted yet, or no degree of freedom
            more = result.truncation[:, 0] > TRUNCATION * result.statistical[:, 0]
        pending &= ~now | (more & (most > k))
    return result


def drop_smallest(
    widths: ArrayLike, y: ArrayLike, error: ArrayLike, full: Fit, *, scale: ArrayLike, growth: ArrayLike
) -> tuple[Floats, Floats]:
    """The leading coefficient refitted without the smallest width, and its difference in standard errors.

    Returns
    -------
    coefficient, z : (p,)
        NaN for columns whose order leaves no width to spare. `z` uses the error of the difference (the two fits
        share the data of all other widths).
    """
    m = 1.0 / np.asarray(widths, dtype=np.float64)
    values, errors = np.asarray(y, dtype=np.float64), np.asarray(error, dtype=np.float64)
    p = values.shape[1]
    scales = np.broadcast_to(np.asarray(scale, dtype=np.float64), (p,))
    growths = np.broadcast_to(np.asarray(growth, dtype=np.float64), (p,))
    kept = np.arange(m.size) != np.argmax(m)
    coefficient, z = np.full(p, np.nan), np.full(p, np.nan)
    for k in range(1, int(kept.sum()) + 1):
        some = full.order == k
        if not some.any():
            continue
        less = fit(
            1.0 / m[kept], values[kept][:, some], errors[kept][:, some],
            scale=scales[some], growth=growths[some], first=full.first, order=k,
        )  # fmt: skip
        difference = full.weights[some, 0, :].copy()
        difference[:, kept] -= less.weights[:, 0, :]
        neglected = _neglected(full.first + k, m, scales[some], growths[some])
        variance = ((difference * errors[:, some].T) ** 2).sum(1) + ((difference[:, None, :] @ neglected) ** 2).sum(
            (1, 2)
        )
        coefficient[some] = less.coefficient[:, 0]
        z[some] = (less.coefficient[:, 0] - full.coefficient[some, 0]) / np.sqrt(variance)
    return coefficient, z


def _fit_order(
    result: Fit,
    columns: NDArray[np.bool_],
    k: int,
    m: Floats,
    values: Floats,
    errors: Floats,
    scales: Floats,
    growths: Floats,
) -> None:
    """Fit k coefficients to the given columns and write them into the result."""
    first, w = result.first, m.size
    y, sigma = values[:, columns].T, errors[:, columns].T  # (n, W)
    neglected = _neglected(first + k, m, scales[columns], growths[columns]) / sigma[:, :, None]  # (n, W, R)
    powers = m[:, None] ** np.arange(first, first + k)  # (W, K)
    unit = np.abs(powers).max(0)
    design = powers / unit / sigma[:, :, None]  # (n, W, K)
    covariance = np.eye(w) + neglected @ neglected.swapaxes(1, 2)  # (1), in units of the errors
    inverse = np.linalg.inv(covariance)
    curvature = design.swapaxes(1, 2) @ inverse @ design
    weights = np.linalg.inv(curvature) @ design.swapaxes(1, 2) @ inverse / sigma[:, None, :]  # (n, K, W)
    residual = (y - np.einsum("wk,nkv,nv->nw", powers / unit, weights, y)) / sigma
    weights /= unit[:, None]
    response = weights @ (neglected * sigma[:, :, None])  # (n, K, R)
    statistical = ((weights * sigma[:, None, :]) ** 2).sum(2)
    truncation = response @ response.swapaxes(1, 2)

    result.order[columns] = k
    result.coefficient[columns, :k] = np.einsum("nkw,nw->nk", weights, y)
    result.statistical[columns, :k] = np.sqrt(statistical)
    result.truncation[columns, :k] = np.sqrt(np.einsum("nkk->nk", truncation))
    result.error[columns, :k] = np.hypot(result.statistical[columns, :k], result.truncation[columns, :k])
    result.weights[columns, :k] = weights
    result.truncation_covariance[columns, :k, :k] = truncation
    chi2 = np.einsum("nw,nwv,nv->n", residual, inverse, residual)
    result.chi2[columns] = chi2 if w > k else 0.0
    result.dof[columns] = w - k
    result.p_value[columns] = chdtrc(w - k, chi2) if w > k else np.nan


def _neglected(first: int, m: Floats, scale: Floats, growth: Floats) -> Floats:
    """What one standard deviation of each left-out order adds at each width: (p, W, orders from `first`)."""
    k = np.arange(first, first + _NEGLECTED)
    tau = scale[:, None] * growth[:, None] ** (k - 1)
    result: Floats = tau[:, None, :] * m[:, None] ** k
    return result


def _empty(first: int, p: int, largest: int, w: int) -> Fit:
    coefficients = [np.full((p, largest), np.nan) for _ in range(4)]
    return Fit(
        first=first,
        order=np.zeros(p, dtype=np.intp),
        coefficient=coefficients[0],
        error=coefficients[1],
        statistical=coefficients[2],
        truncation=coefficients[3],
        weights=np.zeros((p, largest, w)),
        truncation_covariance=np.full((p, largest, largest), np.nan),
        chi2=np.full(p, np.nan),
        dof=np.zeros(p, dtype=np.intp),
        p_value=np.full(p, np.nan),
    )
