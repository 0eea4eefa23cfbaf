"""The expected characteristic polynomial of J J^T at any width: its coefficients and its zeros.

Finite free probability: in ``E det(x - J J^T)`` every layer is one factor for each elementary symmetric function of the
eigenvalues, as the S-transform is one factor in the limit of infinite width.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mcnet import activations
from mcnet.activations import Activation
from mcnet.theory import gaussian
from mcnet.theory.gaussian import Floats


def jacobian_elementary(
    activation: str | Mapping[str, Any] | Activation,
    weights: str,
    sigma_w2: float,
    width: int,
    depth: int,
    count: int,
) -> Floats:
    """E e_1, ..., E e_count of the eigenvalues of J J^T, exactly.

    Parameters
    ----------
    activation : str, mapping or Activation
        A homogeneous one: linear, relu, leaky-relu.
    weights : {"gaussian", "orthogonal"}
    sigma_w2 : float
        Weight variance times width.
    width, depth : int
        M, also the dimension of the input; number of layers.
    count : int
        How many; those above M are zero.

    Returns
    -------
    ndarray, shape (count,)
        ``e_k``, the sum of all products of k eigenvalues (zero ones included). Infinite where it exceeds 1.8e308; see
        :func:`log_jacobian_elementary`.

    Raises
    ------
    ValueError
        If phi is not homogeneous: its slopes depend on the weights. If the law of the weights is another one.

    Notes
    -----
    With ``g = sigma_w2 E phi'^2`` (sigma_w2 for linear, sigma_w2/2 for relu),

        E e_k = C(M, k) g^(k depth)                                    Haar
              = C(M, k) g^(k depth) [M!/((M - k)! M^k)]^depth          Gaussian .

    By the Cauchy-Binet formula e_k(J J^T) is a sum of squared minors of all layers; the signs of the units of a
    homogeneous network are independent of the rest, and k different units pass ``E phi'^2`` each. Correct to
    rounding at every M. For Gaussian weights and large k it is the mean of a rare event: samples judge small k only.

    References
    ----------
    Marcus, Spielman, Srivastava 2022, arXiv:1504.00350.
    """
    with np.errstate(over="ignore"):
        return np.exp(log_jacobian_elementary(activation, weights, sigma_w2, width, depth, count))


def log_jacobian_elementary(
    activation: str | Mapping[str, Any] | Activation,
    weights: str,
    sigma_w2: float,
    width: int,
    depth: int,
    count: int,
) -> Floats:
    """Logarithms of :func:`jacobian_elementary`, for any width and depth; -inf where it is zero."""
    gain = _gain(activation, weights, sigma_w2, width, depth)
    from scipy.special import gammaln

    k = np.arange(1, count + 1, dtype=np.float64)
    inside = np.minimum(k, width)
    log_falling = gammaln(width + 1.0) - gammaln(width - inside + 1.0)  # of M!/(M - k)!
    result = log_falling - gammaln(inside + 1.0)
    with np.errstate(divide="ignore"):
        result = result + k * depth * np.log(gain)
    if weights == "gaussian":
        result = result + depth * (log_falling - inside * math.log(width))
    return np.where(k > width, -np.inf, result)


def characteristic_polynomial(
    activation: str | Mapping[str, Any] | Activation, weights: str, sigma_w2: float, width: int, depth: int
) -> Floats:
    """Coefficients of E det(x - J J^T), the power x^M first: ``(-1)^k E e_k``, k = 0..M.

    Parameters, errors and accuracy as in :func:`jacobian_elementary`. Rounded coefficients do not determine the zeros
    beyond M of about 20: take them from :func:`characteristic_zeros`.
    """
    e = jacobian_elementary(activation, weights, sigma_w2, width, depth, width)
    return np.concatenate([[1.0], e * (-1.0) ** np.arange(1, width + 1)])


def free_product(e_a: ArrayLike, e_b: ArrayLike) -> Floats:
    """Finite free multiplicative convolution: e_0..e_M of E det(x - A O B O^T), O a Haar matrix.

    Parameters
    ----------
    e_a, e_b : array_like, shape (M + 1,)
        Elementary symmetric functions of the eigenvalues of A and B, or their means over independent A, B; e_0 = 1.

    Returns
    -------
    ndarray, shape (M + 1,)
        ``e_k(a) e_k(b)/C(M, k)``.

    References
    ----------
    Marcus, Spielman, Srivastava 2022, arXiv:1504.00350.
    """
    a, b = np.asarray(e_a, dtype=np.float64), np.asarray(e_b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"e_a and e_b must be vectors of one length, M + 1, got shapes {a.shape} and {b.shape}")
    size = len(a) - 1
    if size > 1000:
        raise ValueError(f"M = {size}: binomial coefficients overflow above 1000; use log_jacobian_elementary")
    return np.asarray(a * b / np.array([float(math.comb(size, k)) for k in range(size + 1)]))


def characteristic_zeros(
    activation: str | Mapping[str, Any] | Activation, weights: str, sigma_w2: float, width: int, depth: int
) -> Floats:
    """Zeros of E det(x - J J^T), ascending: what takes the place of the spectrum at width M.

    Parameters and errors as in :func:`jacobian_elementary`.

    Returns
    -------
    ndarray, shape (width,)
        All real and positive. Gaussian weights: simple, at depth 1 those of a Laguerre polynomial. Haar weights: all
        equal to ``(sigma_w2 E phi'^2)^depth``.

    Raises
    ------
    ValueError
        Also if the smallest zeros are below 1e-290.

    Notes
    -----
    As M -> infinity their law tends to the spectrum of *linear* networks with sigma_w2 E phi'^2 in place of sigma_w2:
    the mean of the polynomial sees only the mean of phi'^2, so for relu the zeros are no approximation of the spectrum.

    Ehrlich-Aberth iteration with the polynomial in as many decimal digits as its cancellations need. Relative error
    1e-13. Cost of order M^2 products of M-digit numbers: 0.05 s at M = 100, 5 s at M = 400.
    """
    gain = _gain(activation, weights, sigma_w2, width, depth)
    if weights == "orthogonal" or gain == 0.0:
        return np.full(width, gain**depth)
    return gain**depth * _gaussian_zeros(width, depth)


def _gain(
    activation: str | Mapping[str, Any] | Activation, weights: str, sigma_w2: float, width: int, depth: int
) -> float:
    """sigma_w2 E phi'^2, after the checks."""
    phi = activations.get(activation)
    if not phi.homogeneous:
        raise ValueError(
            f'"{phi.label}" is not homogeneous: its slopes depend on the weights, and the expected characteristic '
            "polynomial is known exactly for linear, relu and leaky-relu"
        )
    if weights not in ("gaussian", "orthogonal"):
        raise ValueError(f'weights = "{weights}": known here are "gaussian" and "orthogonal"')
    if width < 1 or depth < 1 or not 0.0 <= sigma_w2 < math.inf:
        raise ValueError(f"width = {width}, depth = {depth}, sigma_w2 = {sigma_w2}: at least 1, 1 and 0")
    return float(sigma_w2 * gaussian.derivative_square(phi, 1.0))


@lru_cache(maxsize=32)
def _gaussian_zeros(width: int, depth: int) -> Floats:
    """Zeros for linear Gaussian networks at sigma_w2 = 1, ascending."""
    x = _start(width, depth)
    if x[0] < 1e-290:
        raise ValueError(
            f"width = {width}, depth = {depth}: the smallest zeros are below 1e-290 and do not fit; reduce the depth"
        )
    with decimal.localcontext() as context:
        context.prec = _digits(x)
        context.Emin, context.Emax = decimal.MIN_EMIN, decimal.MAX_EMAX
        coefficients = _coefficients(width, depth)
        for _ in range(60):
            newton = np.array([_newton(coefficients, root) for root in x])  # P/(x P')
            apart = x[:, None] - x
            np.fill_diagonal(apart, np.inf)
            repulsion = (x[:, None] / apart).sum(1)
            step = newton / (1.0 - newton * repulsion)
            x = np.sort(x * (1.0 - np.clip(step, -0.5, 0.5)))
            context.prec = max(context.prec, _digits(x))
            if np.abs(step).max() < 1e-13:
                return x
    raise ValueError(f"width = {width}, depth = {depth}: the zeros did not converge")


def _coefficients(width: int, depth: int) -> list[decimal.Decimal]:
    """(-1)^k C(M, k) [M!/((M - k)! M^k)]^depth, k = 0..M."""
    size, falling, result = decimal.Decimal(width), decimal.Decimal(1), []
    for k in range(width + 1):
        result.append((-1) ** k * math.comb(width, k) * falling**depth)
        falling *= (size - k) / size
    return result


def _newton(coefficients: list[decimal.Decimal], root: float) -> float:
    """P/(x P') at a root by Horner's scheme."""
    x, value, slope = decimal.Decimal(root), decimal.Decimal(0), decimal.Decimal(0)
    for coefficient in coefficients:
        slope = slope * x + value
        value = value * x + coefficient
    return float(value / (x * slope))


def _digits(x: Floats) -> int:
    """Decimal digits that evaluation at a zero loses, and 20 more: P'(x_i) against the sum of moduli."""
    apart = np.abs(x[:, None] - x)
    np.fill_diagonal(apart, 1.0)
    loss = np.log10((x[:, None] + x) / np.maximum(apart, 1e-12 * x[:, None])).sum(1).max()
    return int(loss) + 20


def _start(width: int, depth: int) -> Floats:
    """Quantiles of the limit law; towards 0, where zeros are far apart on a logarithmic scale, e_k/e_(k-1)."""
    k = np.arange(width, 0, -1.0)  # ascending zeros
    left = width - k + 1.0
    apart = np.log(left / k) + depth * np.log(left / width)
    share = 1.0 / (1.0 + ((left - 1.0) / (depth + 1.0)) ** 2)
    return np.sort(np.exp(share * apart + (1.0 - share) * _log_quantiles(width, depth)))


def _log_quantiles(width: int, depth: int) -> Floats:
    """Logarithms of the quantiles (i - 1/2)/M of the limit law, by its parametrisation 0 < angle < pi/(depth + 1)."""
    end = math.pi / (depth + 1)
    t = (np.arange(20000) + 0.5) / 20000
    angle = end * t * t * (3.0 - 2.0 * t)
    sin, lower, upper = np.sin(angle), np.sin(depth * angle), np.sin((depth + 1) * angle)
    log_x = (depth + 1) * np.log(upper) - np.log(sin) - depth * np.log(lower)
    log_density = 2.0 * np.log(sin) + (depth - 1) * np.log(lower) - depth * np.log(upper) - math.log(math.pi)
    mass = np.exp(log_density + log_x)  # per unit of log x
    above = np.concatenate([[0.0], np.cumsum(0.5 * (mass[1:] + mass[:-1]) * -np.diff(log_x))])
    above /= above[-1] + mass[-1] * (depth + 1)  # below the table log x falls as the mass does
    share = (np.arange(width) + 0.5) / width
    return np.asarray(np.interp(share, above, log_x)[::-1])
