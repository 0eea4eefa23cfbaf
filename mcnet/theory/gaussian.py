"""Gaussian means of one and two variables: composite Gauss-Legendre panels, and closed forms where there are any.

Gauss-Hermite rules fail here: tanh(sqrt(q) z) has poles at a distance pi / (2 sqrt(q)) from the real axis, and kinks
make any smooth rule useless. Panels do not care: their edges lie on the kinks, and they shrink where sqrt(q) z moves
fast on the scale on which the integrand changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcnet import activations
from mcnet.activations.table import Activation

Floats = NDArray[np.float64]
ActivationLike = str | Mapping[str, Any] | Activation

LIMIT = 12.0  # the normal density beyond is 2e-32
ORDER = 24  # nodes of a panel
_X, _W = np.polynomial.legendre.leggauss(ORDER)
_FINE = np.linspace(-LIMIT, LIMIT, 33)  # panels of 0.75
_COARSE = np.array([-12.0, -7.0, -4.0, -2.0, 0.0, 2.0, 4.0, 7.0, 12.0])  # 24 nodes resolve the density on each
_WIDE = 8.0  # widest panel in units of the scale of the integrand, down to 0.75 standard deviations


def nodes(q: float, kinks: Sequence[float] = (), scale: float = 1.0) -> tuple[Floats, Floats]:
    """Nodes and weights of the mean over u ~ N(0, q).

    Parameters
    ----------
    q : float
        Variance, >= 0.
    kinks : sequence of float
        Points u where the integrand is not smooth.
    scale : float
        Length in u over which the integrand changes; finer panels lie around 0 and the kinks.

    Returns
    -------
    u, weights : ndarray, shape (n,)
        ``weights @ f(u)`` is E f(u). For q = 0 one node, u = 0.

    Notes
    -----
    Accuracy: relative 1e-13 for integrands that are smooth on ``scale`` between the kinks and q from 0.01 to 100
    (larger q too, unless the integrand oscillates).
    """
    if not 0.0 <= q < math.inf:
        raise ValueError(f"a variance must be finite and >= 0, got {q}")
    if q == 0.0:
        return np.zeros(1), np.ones(1)
    deviation = math.sqrt(q)
    z, weights = _rule(_merge(_FINE, _points(deviation, kinks, scale) / deviation))
    return deviation * z, weights


def _base(deviation: float, scale: float) -> Floats:
    """Edges in z that resolve the density and, where a standard deviation is long, the integrand."""
    width = max(0.75, _WIDE * scale / deviation)
    return _COARSE if width >= 2.0 else np.linspace(-LIMIT, LIMIT, math.ceil(2 * LIMIT / width) + 1)


def _points(deviation: float, kinks: Sequence[float], scale: float, reach: float | None = None) -> Floats:
    """Edges in u: the kinks and, where u moves fast with z, panels that double in length away from 0 and the kinks."""
    if deviation <= 1.5 * scale:
        return np.asarray(kinks, dtype=np.float64)
    reach = LIMIT * deviation if reach is None else reach
    steps = scale * 2.0 ** np.arange(1, max(2, math.ceil(math.log2(reach / scale)) + 1))
    steps = np.concatenate([-steps, [0.0], steps])
    return np.unique(np.concatenate([centre + steps for centre in (0.0, *kinks)]))


def _merge(*edges: Floats) -> Floats:
    return np.unique(np.clip(np.concatenate(edges), -LIMIT, LIMIT))


def _density(z: Floats) -> Floats:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _rule(edges: Floats) -> tuple[Floats, Floats]:
    """Nodes z and weights of the mean over z ~ N(0, 1) on panels with these edges."""
    half = 0.5 * np.diff(edges)[:, None]
    z = edges[:-1, None] + half + half * _X
    return z.ravel(), (half * _W * _density(z)).ravel()


def shared_rule(steps: int) -> tuple[Floats, Floats]:
    """Nodes z and weights on panels that halve ``steps`` times towards 0: for integrands of sqrt(q) z at many q."""
    inner = 0.75 * 2.0 ** -np.arange(1.0, steps + 1.0)
    return _rule(np.unique(np.concatenate([_FINE, -inner, inner])))


def _average(values: Any, weights: Floats) -> Any:
    result = np.asarray(values) @ weights if np.ndim(values) else np.asarray(values * weights.sum())
    return float(result) if result.ndim == 0 else result


def mean(function: Callable[[Floats], Any], q: float, kinks: Sequence[float] = (), scale: float = 1.0) -> Any:
    """E f(u) for u ~ N(0, q): a float, or an array of shape (...) where f gives (..., n) for n nodes."""
    u, weights = nodes(q, kinks, scale)
    return _average(function(u), weights)


def pair_nodes(
    covariance: ArrayLike, kinks: Sequence[float] = (), scale: float = 1.0, gap: float | None = None
) -> tuple[Floats, Floats]:
    """Nodes and weights of the mean over (u_a, u_b) ~ N(0, covariance).

    Parameters
    ----------
    covariance : array_like, shape (2, 2)
        ``[[q_a, k], [k, q_b]]``; singular ones are allowed.
    kinks : sequence of float
        Points u where the integrand is not smooth in u_a or in u_b.
    scale : float
        As in :func:`nodes`.
    gap : float, optional
        1 - c, c the correlation, where it is known better than from the covariance (c near 1).

    Returns
    -------
    u : ndarray, shape (2, n)
    weights : ndarray, shape (n,)

    Raises
    ------
    ValueError
        If the matrix is no covariance.

    Notes
    -----
    With ``u_a = sqrt(q_a) z1`` and ``u_b = sqrt(q_b) (c z1 + s z2)``, ``s = sqrt(1 - c^2)``: outer panels in z1 with
    edges at the kinks of u_a, for each outer node inner panels in z2 with edges at the kinks of u_b. The inner mean of
    a kinked function changes over a width s in z1, around which the outer panels are refined.

    Accuracy: 1e-12 for q from 0.01 to 100, kinks and correlations up to ``1 - |c| = 1e-6`` included. Singular
    covariances use the rule in one dimension.
    """
    (q_a, k), (k_b, q_b) = np.asarray(covariance, dtype=np.float64)
    root = math.sqrt(q_a) * math.sqrt(q_b) if min(q_a, q_b) >= 0.0 else math.nan
    if not (abs(k) <= root * (1 + 1e-9) and math.isclose(k, k_b, rel_tol=1e-9, abs_tol=1e-300)):
        raise ValueError(f"[[{q_a}, {k}], [{k_b}, {q_b}]] is not a covariance matrix")
    if root == 0.0:
        u, weights = nodes(q_a + q_b, kinks, scale)
        return np.stack([u if q_a > 0.0 else 0.0 * u, u if q_b > 0.0 else 0.0 * u]), weights
    if gap is None:
        c = min(1.0, max(-1.0, k / root))
        size = abs(k)  # q_a q_b - k^2 in a form that is exactly 0 for equal entries
        s = math.sqrt(max(0.0, (q_a - size) * (q_b + size) + size * (q_b - q_a))) / root
    else:
        c = 1.0 - gap
        s = math.sqrt(max(0.0, gap * (2.0 - gap)))
    deviation_a, deviation_b = math.sqrt(q_a), math.sqrt(q_b)
    if s == 0.0:
        ratio = math.copysign(deviation_b / deviation_a, c)
        u, weights = nodes(q_a, [*kinks, *(kink / ratio for kink in kinks)], min(scale, scale / abs(ratio)))
        return np.stack([u, ratio * u]), weights

    outer = [_points(deviation_a, kinks, scale) / deviation_a]
    if c != 0.0:
        outer += [_points(deviation_b * abs(c), kinks, scale) / (deviation_b * c)]
    if s < abs(c):
        outer += [kink / (deviation_b * c) + (s / abs(c)) * _COARSE for kink in kinks]
    z1, w1 = _rule(_merge(_base(deviation_a, scale), *outer))  # (n1,)

    still = _base(deviation_b * s, scale)
    moving = (_points(deviation_b * s, kinks, scale, reach=LIMIT * deviation_b) / deviation_b - c * z1[:, None]) / s
    still = np.broadcast_to(still, (z1.size, still.size))
    edges = np.sort(np.concatenate([still, np.clip(moving, -LIMIT, LIMIT)], axis=1), axis=1)
    width = np.diff(edges, axis=1)
    row, panel = np.nonzero(width > 1e-13)
    half = 0.5 * width[row, panel]
    z2 = (edges[row, panel] + half)[:, None] + half[:, None] * _X  # (panels, ORDER)
    weights = (w1[row] * half)[:, None] * _W * _density(z2)
    z1 = np.broadcast_to(z1[row][:, None], z2.shape)
    return np.stack([deviation_a * z1.ravel(), deviation_b * (c * z1 + s * z2).ravel()]), weights.ravel()


def pair_mean(
    function: Callable[[Floats, Floats], Any], covariance: ArrayLike, kinks: Sequence[float] = (), scale: float = 1.0
) -> Any:
    """E f(u_a, u_b) for (u_a, u_b) ~ N(0, covariance): a float, or an array (...) where f gives (..., n)."""
    u, weights = pair_nodes(covariance, kinks, scale)
    return _average(function(u[0], u[1]), weights)


@lru_cache(maxsize=256)
def feature_scale(activation: Activation) -> float:
    """Length in u over which phi and phi' change, as the quadrature needs it: 1, or 1/2, 1/4, ... where sharper.

    Raises
    ------
    ValueError
        If panels down to 2^-12 around 0 and the kinks do not resolve the function: a kink is missing in its table.
    """
    legendre = np.polynomial.legendre.legvander(_X, ORDER - 1) * _W[:, None] * (np.arange(ORDER) + 0.5)
    for power in range(13):
        scale = 0.5**power
        edges = np.concatenate([_base(1.0, scale), _points(2.0, activation.kinks, scale)])
        edges = np.unique(np.clip(edges, -8.0, 8.0))
        half = 0.5 * np.diff(edges)[:, None]
        u = edges[:-1, None] + half + half * _X  # (panels, ORDER)
        tails = [np.abs(f(u) @ legendre)[:, -4:].max() / np.abs(f(u)).max() for f in (activation.phi, activation.dphi)]
        if max(tails) < 1e-8:  # the error of a Gauss rule is about the square
            return scale
    raise ValueError(
        f'activation "{activation.label}" is not smooth between its kinks {activation.kinks}: '
        "add the points where it or its slope jumps or turns sharply"
    )


def square(activation: ActivationLike, q: ArrayLike, quadrature: bool = False) -> Any:
    """E phi(u)^2 for u ~ N(0, q), of the shape of q; ``quadrature`` forces panels where a closed form exists."""
    return _single("square", activation, q, quadrature)


def derivative_square(activation: ActivationLike, q: ArrayLike, quadrature: bool = False) -> Any:
    """E phi'(u)^2 for u ~ N(0, q), of the shape of q; at q = 0 the limit q -> 0."""
    return _single("derivative_square", activation, q, quadrature)


def product(activation: ActivationLike, q_a: ArrayLike, q_b: ArrayLike, k: ArrayLike, quadrature: bool = False) -> Any:
    """E phi(u_a) phi(u_b) for variances q_a, q_b and covariance k, of their common shape."""
    return _double("product", activation, q_a, q_b, k, quadrature)


def derivative_product(
    activation: ActivationLike, q_a: ArrayLike, q_b: ArrayLike, k: ArrayLike, quadrature: bool = False
) -> Any:
    """E phi'(u_a) phi'(u_b) for variances q_a, q_b and covariance k, of their common shape."""
    return _double("derivative_product", activation, q_a, q_b, k, quadrature)


TINY = 1e-30  # stands for q -> 0 where phi' has a jump at 0


def _single(name: str, activation: ActivationLike, q: ArrayLike, quadrature: bool) -> Any:
    activation = activations.get(activation)
    closed = None if quadrature else activation.closed(name)
    q = np.asarray(q, dtype=np.float64)
    if closed is not None:
        result = np.asarray(closed(q), dtype=np.float64)
        return float(result) if result.ndim == 0 else result
    scale = feature_scale(activation)
    derivative = name == "derivative_square"
    function = activation.dphi if derivative else activation.phi

    def one(q: float) -> float:
        u, weights = nodes(max(q, TINY) if derivative else q, activation.kinks, scale)
        return float(weights @ function(u) ** 2)

    return one(float(q)) if q.ndim == 0 else np.array([one(x) for x in q.ravel()]).reshape(q.shape)


def _double(
    name: str, activation: ActivationLike, q_a: ArrayLike, q_b: ArrayLike, k: ArrayLike, quadrature: bool
) -> Any:
    activation = activations.get(activation)
    closed = None if quadrature else activation.closed(name)
    q_a, q_b, k = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (q_a, q_b, k)))
    if closed is not None:
        result = np.asarray(closed(q_a, q_b, k), dtype=np.float64)
        return float(result) if result.ndim == 0 else result
    scale = feature_scale(activation)
    function = activation.dphi if name == "derivative_product" else activation.phi

    def one(q_a: float, q_b: float, k: float) -> float:
        u, weights = pair_nodes([[q_a, k], [k, q_b]], activation.kinks, scale)
        return float(weights @ (function(u[0]) * function(u[1])))

    if q_a.ndim == 0:
        return one(float(q_a), float(q_b), float(k))
    return np.array([one(*x) for x in zip(q_a.flat, q_b.flat, k.flat, strict=True)]).reshape(q_a.shape)
