"""The maps of one layer at infinite width: of the length, of the correlation, of the gap 1 - c, and their slopes."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.theory import gaussian
from mcnet.theory.gaussian import TINY, ActivationLike, Floats

# 1 - c below which half E (phi_a - phi_b)^2 is integrated from E phi' phi' (closed forms; quadrature)
_SMALL_CLOSED = 1e-3
_SMALL = 1e-6


def length_map(activation: ActivationLike, q: float, sigma_w2: float, sigma_b2: float) -> float:
    """Squared length of the pre-activations of the next layer, ``q -> sigma_w2 E phi(u)^2 + sigma_b2``, u ~ N(0, q).

    Parameters
    ----------
    activation : str, mapping or Activation
    q : float
        |u|^2 / M of this layer.
    sigma_w2, sigma_b2 : float
        Weight variance times fan-in; bias variance.

    Notes
    -----
    Accuracy: the limit M -> infinity; relative quadrature error 1e-13.

    References
    ----------
    Poole et al. 2016, arXiv:1606.05340.
    """
    return float(sigma_w2 * gaussian.square(activation, q) + sigma_b2)


def length_slope(activation: ActivationLike, q: float, sigma_w2: float) -> float:
    """Slope of the length map at q: ``sigma_w2 V'(q)``, ``V = E phi^2``; at q = 0 the limit q -> 0.

    Notes
    -----
    ``V' = E[phi^2 (z^2 - 1)] / (2 q) = E[phi phi' z] / sqrt(q)`` with u = sqrt(q) z: no second derivative, so kinks do
    no harm. The second form is used, which loses less at small q. Accuracy: 1e-12 (relative; 1e-8 at q < 1e-8 if
    phi(0) is not 0).
    """
    return sigma_w2 * _square_slope(activations.get(activation), q)


def _square_slope(activation: Activation, q: float) -> float:
    q = max(q, TINY if float(activation.phi(np.float64(0.0))) == 0.0 else 1e-10)
    u, weights = gaussian.nodes(q, activation.kinks, gaussian.feature_scale(activation))
    return float(weights @ (activation.phi(u) * activation.dphi(u) * u)) / q


def chi(activation: ActivationLike, q: float, c: float, sigma_w2: float) -> float:
    """``sigma_w2 E phi'(u_a) phi'(u_b)`` for two inputs of length q and correlation c.

    At a fixed length it is the slope of the correlation map, and by symmetry what a layer does to the back-propagated
    errors of the two inputs (Schoenholz et al. 2017, arXiv:1611.01232).
    """
    if c == 1.0:
        return float(sigma_w2 * gaussian.derivative_square(activation, q))
    return float(sigma_w2 * gaussian.derivative_product(activation, q, q, c * q))


def correlation_map(activation: ActivationLike, q: float, c: float, sigma_w2: float, sigma_b2: float) -> float:
    """Correlation in the next layer of two inputs of equal length q and correlation c.

    ``c -> (sigma_w2 E phi(u_a) phi(u_b) + sigma_b2) / (sigma_w2 E phi^2 + sigma_b2)``; NaN where the length vanishes.
    """
    return 1.0 - gap_map(activation, q, 1.0 - c, sigma_w2, sigma_b2)


def gap_map(activation: ActivationLike, q: float, gap: float, sigma_w2: float, sigma_b2: float) -> float:
    """The correlation map for the gap ``1 - c``, without cancellation as c -> 1.

    Notes
    -----
    ``1 - c' = sigma_w2 E[(phi_a - phi_b)^2] / (2 q')``. Relative accuracy: 1e-10 or better for every gap from 1e-12 to
    2; below that 1e-8 where phi' has a jump.
    """
    q_next = length_map(activation, q, sigma_w2, sigma_b2)
    return sigma_w2 * half_square_difference(activation, q, gap) / q_next if q_next > 0.0 else math.nan


def half_square_difference(activation: ActivationLike, q: float, gap: float) -> float:
    """``E (phi(u_a) - phi(u_b))^2 / 2`` for two inputs of length q with correlation 1 - gap.

    Notes
    -----
    Since ``d/dk E phi phi = E phi' phi'`` it is ``q`` times the integral of ``E phi' phi'`` over gaps from 0, which is
    the form for small gaps; in ``x``, gap = gap_0 x^2, the integrand is smooth also where phi' jumps.
    """
    activation = activations.get(activation)
    if gap == 0.0 or q == 0.0:
        return 0.0
    closed, slope = activation.closed("product"), activation.closed("derivative_product")
    if closed is not None and slope is not None:
        if gap > _SMALL_CLOSED:
            return float(gaussian.square(activation, q) - closed(q, q, q * (1.0 - gap)))
        x, weights = _unit_rule(24)
        return q * gap * float(2.0 * (weights * x) @ slope(q, q, q * (1.0 - gap * x**2)))
    if gap > _SMALL:
        u, weights = _pair_nodes(activation, q, gap)
        return 0.5 * float(weights @ (activation.phi(u[0]) - activation.phi(u[1])) ** 2)
    x, weights = _unit_rule(6)
    return q * gap * float(2.0 * (weights * x) @ [_derivative_product(activation, q, gap * t) for t in x**2])


def gap_slope(activation: ActivationLike, q: float, gap: float) -> float:
    """``E phi'(u_a) phi'(u_b)`` for two inputs of length q with correlation 1 - gap, exact for tiny gaps."""
    activation = activations.get(activation)
    closed = activation.closed("derivative_product")
    return float(closed(q, q, q * (1.0 - gap))) if closed is not None else _derivative_product(activation, q, gap)


def _derivative_product(activation: Activation, q: float, gap: float) -> float:
    u, weights = _pair_nodes(activation, q, gap)
    return float(weights @ (activation.dphi(u[0]) * activation.dphi(u[1])))


def _pair_nodes(activation: Activation, q: float, gap: float) -> tuple[Floats, Floats]:
    k = q * (1.0 - gap)
    return gaussian.pair_nodes([[q, k], [k, q]], activation.kinks, gaussian.feature_scale(activation), gap)


@cache
def _unit_rule(order: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre on [0, 1]."""
    x, weights = np.polynomial.legendre.leggauss(order)
    return 0.5 * (1.0 + x), 0.5 * weights
