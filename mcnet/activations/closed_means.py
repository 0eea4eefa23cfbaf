"""Closed Gaussian means of activations: E phi^2, E phi'^2, E phi phi and E phi' phi' as functions of covariances.

Each dictionary holds what is known in closed form: ``square`` and ``derivative_square`` as functions of the variance q,
``product`` and ``derivative_product`` as functions of the variances q_a, q_b and the covariance k of a pair. All are
elementwise on arrays and take the activation's parameters as keywords. At q = 0 derivatives are limits q -> 0.

Accuracy: about 1e-14 times E phi^2 (or E phi'^2), also for correlations near +-1, which enter through
sqrt(q_a q_b - k^2) without cancellation. Only the rounding of the covariance k itself is felt, where phi' jumps: the
mean of phi' phi' then moves by the square root of the change of c.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Closed = Mapping[str, Callable[..., Any]]


def _split_product(x: Any, y: Any) -> tuple[Any, Any]:
    """x y as a rounded product and its rounding error (Dekker 1971)."""
    high_x, high_y = 134217729.0 * x, 134217729.0 * y  # 2^27 + 1
    high_x, high_y = high_x - (high_x - x), high_y - (high_y - y)
    low_x, low_y = x - high_x, y - high_y
    rounded = x * y
    return rounded, ((high_x * high_y - rounded) + high_x * low_y + low_x * high_y) + low_x * low_y


def _complement(q_a: Any, q_b: Any, k: Any) -> Any:
    """sqrt(q_a q_b - k^2), the area sqrt(q_a q_b) sin(theta), to the last digit also where the terms cancel."""
    q_a, q_b, k = (np.asarray(x, dtype=np.float64) for x in (q_a, q_b, k))
    (product, product_error), (square, square_error) = _split_product(q_a, q_b), _split_product(k, k)
    return np.sqrt(np.maximum((product - square) + (product_error - square_error), 0.0))


def _ones(q: Any) -> Any:
    return np.ones_like(np.asarray(q, dtype=np.float64))


def _normal(x: Any) -> Any:
    return np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _normal_cdf(x: Any) -> Any:
    from scipy.special import ndtr

    return ndtr(x)


def _ratio(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator with x/0 = +-inf and 0/0 = 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(numerator == 0.0, 0.0, numerator / denominator)


# linear


def _linear_product(q_a: Any, q_b: Any, k: Any) -> Any:
    return 1.0 * np.asarray(k, dtype=np.float64) + 0.0 * (q_a + q_b)


LINEAR: Closed = {
    "square": lambda q: 1.0 * np.asarray(q, dtype=np.float64),
    "derivative_square": _ones,
    "product": _linear_product,
    "derivative_product": lambda q_a, q_b, k: _ones(q_a + q_b + k),
}


# relu and leaky-relu: Cho and Saul 2009, the arc-cosine kernels of degree 0 and 1; theta is the angle of the pair


def _relu_product(q_a: Any, q_b: Any, k: Any) -> Any:
    s = _complement(q_a, q_b, k)
    return (s + np.arctan2(s, -k) * k) / (2 * math.pi)  # arctan2(s, -k) = pi - theta


def _relu_derivative_product(q_a: Any, q_b: Any, k: Any) -> Any:
    return np.arctan2(_complement(q_a, q_b, k), -k) / (2 * math.pi)


RELU: Closed = {
    "square": lambda q: 0.5 * np.asarray(q, dtype=np.float64),
    "derivative_square": lambda q: 0.5 * _ones(q),
    "product": _relu_product,
    "derivative_product": _relu_derivative_product,
}

LEAKY_RELU: Closed = {
    "square": lambda q, slope: 0.5 * (1 + slope**2) * np.asarray(q, dtype=np.float64),
    "derivative_square": lambda q, slope: 0.5 * (1 + slope**2) * _ones(q),
    "product": lambda q_a, q_b, k, slope: (1 - slope) ** 2 * _relu_product(q_a, q_b, k) + slope * k,
    "derivative_product": lambda q_a, q_b, k, slope: (1 - slope) ** 2 * _relu_derivative_product(q_a, q_b, k) + slope,
}


# shifted-relu and hard-tanh: relu(u + d) at one or two thresholds, by the bivariate normal distribution


def _both_above(q_a: Any, q_b: Any, k: Any, d_a: float, d_b: float) -> Any:
    """P(u_a > -d_a, u_b > -d_b) for |d_a| = |d_b| > 0, by Owen's T (Owen 1956)."""
    from scipy.special import owens_t

    s = _complement(q_a, q_b, k)
    h_a, h_b = d_a / np.sqrt(q_a), d_b / np.sqrt(q_b)
    sign = math.copysign(1.0, d_a * d_b)
    result = 0.5 * (_normal_cdf(h_a) + _normal_cdf(h_b)) - (0.5 if sign < 0 else 0.0)
    return result - owens_t(h_a, _ratio(sign * q_a - k, s)) - owens_t(h_b, _ratio(sign * q_b - k, s))


def _shifted_product(q_a: Any, q_b: Any, k: Any, d_a: float, d_b: float) -> Any:
    """E relu(u_a + d_a) relu(u_b + d_b) for |d_a| = |d_b| > 0; integration by parts leaves normal boundary terms."""
    s = _complement(q_a, q_b, k)
    x_a = d_a / np.sqrt(q_a)
    edge_a = _normal(x_a) * np.sqrt(q_a) * _normal_cdf(_ratio(d_b * q_a - k * d_a, s * np.sqrt(q_a)))
    x_b = d_b / np.sqrt(q_b)
    edge_b = _normal(x_b) * np.sqrt(q_b) * _normal_cdf(_ratio(d_a * q_b - k * d_b, s * np.sqrt(q_b)))
    corner = s * _normal(x_a) * _normal(_ratio(d_b * q_a - k * d_a, s * np.sqrt(q_a)))
    return (k + d_a * d_b) * _both_above(q_a, q_b, k, d_a, d_b) + corner + d_b * edge_a + d_a * edge_b


def _positive(q: Any) -> Any:
    """q, or where it is 0 a variance so small that it changes nothing but divides."""
    return np.maximum(np.asarray(q, dtype=np.float64), 1e-300)


def _shifted_relu_square(q: Any, shift: float) -> Any:
    q = _positive(q)
    t = shift / np.sqrt(q)
    return q * _normal_cdf(t) + shift**2 * _normal_cdf(-t) - shift * np.sqrt(q) * _normal(t)


def _shifted_relu_derivative_square(q: Any, shift: float) -> Any:
    return _normal_cdf(shift / np.sqrt(_positive(q)))


def _shifted_relu_product(q_a: Any, q_b: Any, k: Any, shift: float) -> Any:
    if shift == 0.0:
        return _relu_product(q_a, q_b, k)
    q_a, q_b = _positive(q_a), _positive(q_b)

    def first(q: Any) -> Any:  # E relu(u + shift)
        return shift * _normal_cdf(shift / np.sqrt(q)) + np.sqrt(q) * _normal(shift / np.sqrt(q))

    return _shifted_product(q_a, q_b, k, shift, shift) - shift * (first(q_a) + first(q_b)) + shift**2


def _shifted_relu_derivative_product(q_a: Any, q_b: Any, k: Any, shift: float) -> Any:
    if shift == 0.0:
        return _relu_derivative_product(q_a, q_b, k)
    return _both_above(_positive(q_a), _positive(q_b), k, shift, shift)


SHIFTED_RELU: Closed = {
    "square": _shifted_relu_square,
    "derivative_square": _shifted_relu_derivative_square,
    "product": _shifted_relu_product,
    "derivative_product": _shifted_relu_derivative_product,
}


def _hard_tanh_square(q: Any) -> Any:
    from scipy.special import erfc

    q = _positive(q)
    t = 1.0 / np.sqrt(q)
    return q * (_hard_tanh_derivative_square(q) - 2.0 * t * _normal(t)) + erfc(t / math.sqrt(2))


def _hard_tanh_derivative_square(q: Any) -> Any:
    from scipy.special import erf

    return erf(1.0 / np.sqrt(2.0 * _positive(q)))


def _corners(function: Callable[..., Any], q_a: Any, q_b: Any, k: Any) -> Any:
    """Sum over the two kinks of both activations: hard-tanh(u) + 1 = relu(u + 1) - relu(u - 1)."""
    q_a, q_b = _positive(q_a), _positive(q_b)
    return sum(d_a * d_b * function(q_a, q_b, k, d_a, d_b) for d_a in (1.0, -1.0) for d_b in (1.0, -1.0))


def _hard_tanh_product(q_a: Any, q_b: Any, k: Any) -> Any:
    below = np.maximum(q_a, q_b) < 0.01  # the kinks are ten standard deviations away
    return np.where(below, k, _corners(_shifted_product, q_a, q_b, k) - 1.0)


HARD_TANH: Closed = {
    "square": _hard_tanh_square,
    "derivative_square": _hard_tanh_derivative_square,
    "product": _hard_tanh_product,
    "derivative_product": lambda q_a, q_b, k: _corners(_both_above, q_a, q_b, k),
}


# erf(scale u): Williams 1997; the arcsine written as an arctangent keeps its accuracy near correlation 1


def _erf_root(q_a: Any, q_b: Any, k: Any, scale: float) -> Any:
    """sqrt((1 + 2 q_a)(1 + 2 q_b) - 4 k^2) at scale 1."""
    a2 = scale**2
    return np.sqrt(1.0 + 2.0 * a2 * (q_a + q_b) + (2.0 * a2 * _complement(q_a, q_b, k)) ** 2)


def _erf_product(q_a: Any, q_b: Any, k: Any, scale: float) -> Any:
    return (2 / math.pi) * np.arctan2(2.0 * scale**2 * k, _erf_root(q_a, q_b, k, scale))


def _erf_derivative_product(q_a: Any, q_b: Any, k: Any, scale: float) -> Any:
    return (4 * scale**2 / math.pi) / _erf_root(q_a, q_b, k, scale)


ERF: Closed = {
    "square": lambda q, scale: _erf_product(q, q, q, scale),
    "derivative_square": lambda q, scale: _erf_derivative_product(q, q, q, scale),
    "product": _erf_product,
    "derivative_product": _erf_derivative_product,
}


# gelu, u (1 + erf(u / sqrt(2))) / 2: two integrations by parts of u_a u_b erf erf; the derivative by k (Price)


def _gelu_product(q_a: Any, q_b: Any, k: Any) -> Any:
    s = _complement(q_a, q_b, k)
    root = np.sqrt(1.0 + q_a + q_b + s * s)
    inverse = 1.0 / (1.0 + q_a) + 1.0 / (1.0 + q_b)
    return k / 4 + (k * np.arctan2(k, root) + (s * s + k * k * inverse) / root) / (2 * math.pi)


def _gelu_derivative_product(q_a: Any, q_b: Any, k: Any) -> Any:
    s = _complement(q_a, q_b, k)
    square = 1.0 + q_a + q_b + s * s
    inverse = 1.0 / (1.0 + q_a) + 1.0 / (1.0 + q_b)
    slope = np.arctan2(k, np.sqrt(square)) + k / np.sqrt(square) * (
        2.0 * inverse - 1.0 + (s * s + k * k * inverse) / square
    )
    return 0.25 + slope / (2 * math.pi)


GELU: Closed = {
    "square": lambda q: _gelu_product(q, q, q),
    "derivative_square": lambda q: _gelu_derivative_product(q, q, q),
    "product": _gelu_product,
    "derivative_product": _gelu_derivative_product,
}


# sin: characteristic function of u_a +- u_b


def _sin_product(q_a: Any, q_b: Any, k: Any) -> Any:
    size = np.abs(k)
    return np.sign(k) * 0.5 * np.exp(size - 0.5 * (q_a + q_b)) * -np.expm1(-2.0 * size)


def _sin_derivative_product(q_a: Any, q_b: Any, k: Any) -> Any:
    return 0.5 * (np.exp(k - 0.5 * (q_a + q_b)) + np.exp(-k - 0.5 * (q_a + q_b)))


SIN: Closed = {
    "square": lambda q: _sin_product(q, q, q),
    "derivative_square": lambda q: _sin_derivative_product(q, q, q),
    "product": _sin_product,
    "derivative_product": _sin_derivative_product,
}
