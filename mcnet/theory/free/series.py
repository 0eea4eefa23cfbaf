"""Truncated power series, and the moments of a free product from them.

A series is an array of coefficients a[0] + a[1] m + ...; all are cut at the same length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

LOG_LARGEST = 709.0  # log of the largest double


def product(a: Array, b: Array) -> Array:
    """Coefficients of a(m) b(m)."""
    series: Array = np.convolve(a, b)[: a.size]
    return series


def power(a: Array, exponent: float) -> Array:
    """Coefficients of a(m)^exponent, a[0] > 0, by the recurrence of b a' n = b' a."""
    result = np.zeros_like(a)
    result[0] = a[0] ** exponent
    for n in range(1, a.size):
        k = np.arange(1, n + 1)
        result[n] = np.sum((exponent * k - (n - k)) * a[k] * result[n - k]) / (n * a[0])
    return result


def slope_factor(moments: Array) -> Array:
    """m w(m) as a series, where sum_k moments[k-1] w^-k = m: 1/S of the law times (1 + m).

    With f(zeta) = sum_k mu_k zeta^k and zeta = 1/w, Lagrange inversion gives
    ``[m^j] m/zeta(m) = -1/(j-1) [zeta^j] (f/zeta)^(-(j-1))`` for j >= 2, and mu_1, mu_2/mu_1 for j = 0, 1.
    """
    size = moments.size
    series = np.empty(size)
    series[0] = moments[0]
    if size > 1:
        series[1] = moments[1] / moments[0]
    for j in range(2, size):
        series[j] = -power(moments, -(j - 1.0))[j] / (j - 1)
    return series


def product_moments(factors: Sequence[tuple[Array, int]], log_scale: float, haar: bool, count: int) -> Array:
    """Moments of prod_l W_l W_l^T boxtimes D_l^2.

    Parameters
    ----------
    factors : sequence of (ndarray, int)
        Moments 1..count of each D^2 and the number of layers that share it.
    log_scale : float
        log of prod sigma_w2 over all layers.
    haar : bool
        Haar weights instead of Gaussian ones.
    count : int
        Number of moments.

    Raises
    ------
    ValueError
        If one of them is larger than a double can be.

    Notes
    -----
    Lagrange inversion, ``mu_k = (1/k) [m^(k-1)] ((1+m)/S(m))^k`` with
    ``(1+m)/S = (1+m) prod_l sigma_w2 m w_l(m) / (1+m)^h``, h = 1 for Haar and 0 for Gaussian weights.
    """
    one_plus = np.zeros(count)
    one_plus[: min(2, count)] = 1.0
    layers = sum(multiplicity for _, multiplicity in factors)
    log_factor = 0.0
    base = power(one_plus, 1.0 - (layers if haar else 0.0))
    for moments, multiplicity in factors:
        series = slope_factor(moments)
        log_factor += multiplicity * math.log(series[0])
        base = product(base, power(series / series[0], float(multiplicity)))
    log_mean = log_factor + log_scale
    relative = [power(base, float(k))[k - 1] / k for k in range(1, count + 1)]
    for k, factor in enumerate(relative, 1):
        log_moment = k * log_mean + math.log(factor)
        if log_moment > LOG_LARGEST:
            raise ValueError(
                f"moment {k} is 1e{log_moment / math.log(10):+.0f}, beyond the range of a double; "
                "ask for fewer moments, or log_spectrum for the law of the logarithm"
            )
    return np.array([math.exp(k * log_mean) * factor for k, factor in enumerate(relative, 1)])
