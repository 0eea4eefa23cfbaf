"""Nodes and weights for Gaussian means of an activation at one or two correlated pre-activations.

Smooth activations: the trapezoidal rule on a tensor grid, which converges exponentially for analytic integrands and is
the same for all layers. Kinks: composite Gauss-Legendre panels whose edges follow the lines u_1 = kink and u_2 = kink.
Nodes are given as the independent normals behind u, because Hermite polynomials of them are the derivatives; that is
why this module stands beside :mod:`mcnet.theory.gaussian`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mcnet.activations.table import Activation
from mcnet.theory.expansion.pair_law import Array

CUT = 10.0
"""Radius of the plane of standard normals; the mass outside, times |z|^8, is below 1e-14."""

_POINTS = 16
_FINEST = 1.0 / 128


def _density(z: Array) -> Array:
    density: Array = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    return density


def _legendre(edges: Array) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on consecutive intervals of edges (..., E), flattened to (..., (E-1) n)."""
    x, w = np.polynomial.legendre.leggauss(_POINTS)
    half = 0.5 * np.diff(edges)[..., None]
    middle = 0.5 * (edges[..., 1:] + edges[..., :-1])[..., None]
    shape = (*edges.shape[:-1], -1)
    return (middle + half * x).reshape(shape), (half * w).reshape(shape)


def _edges(width: float, extra: Array) -> Array:
    """Panel edges over [-CUT, CUT] of at most ``width`` with the extra ones (..., k) clipped and sorted in."""
    count = int(np.ceil(2 * CUT / width))
    regular = np.broadcast_to(np.linspace(-CUT, CUT, count + 1), (*extra.shape[:-1], count + 1))
    return np.sort(np.concatenate([regular, np.clip(extra, -CUT, CUT)], axis=-1), axis=-1)


def line(activation: Activation, resolution: float, scales: Array) -> tuple[Array, Array]:
    """Nodes (1, n) and weights (n,) on the line of one normal z; u_a = scales_a z may cross the kinks."""
    if not activation.kinks:
        count = int(np.ceil(CUT / resolution))
        z = resolution * np.arange(-count, count + 1, dtype=np.float64)
        return z[None, :], resolution * _density(z)
    crossings = np.array([kink / scale for scale in scales if scale != 0.0 for kink in activation.kinks])
    z, weight = _legendre(_edges(resolution, crossings))
    return z[None, :], weight * _density(z)


def plane(activation: Activation, resolution: float, factor: Array) -> tuple[Array, Array]:
    """Nodes (2, n) and weights (n,) on the plane of two normals; u = factor z may cross the kinks.

    ``factor`` is that of :func:`mcnet.theory.expansion.pair_law.pair_law`: row a is proportional to
    (alpha, +-beta). The inner variable is the one of larger weight in both, so that the lines of kinks are never steep
    against it.
    """
    if not activation.kinks:
        return grid(resolution, resolution)
    kinks = np.array(activation.kinks)
    inner, outer = (0, 1) if abs(factor[0, 0]) >= abs(factor[0, 1]) else (1, 0)
    offset = kinks / factor[:, inner, None]  # (2, k): where the lines cross the inner axis
    slope = factor[:, outer] / factor[:, inner]  # (2,), opposite signs
    crossings = ((offset[0][:, None] - offset[1][None, :]) / (slope[0] - slope[1])).ravel()
    z_outer, weight_outer = _legendre(_edges(resolution, crossings))
    lines = (offset[:, :, None] - slope[:, None, None] * z_outer).reshape(-1, len(z_outer)).T  # (n, 2 k)
    z_inner, weight_inner = _legendre(_edges(resolution, lines))
    z = np.empty((2, *z_inner.shape))
    z[inner], z[outer] = z_inner, z_outer[:, None]
    weight = weight_inner * weight_outer[:, None] * _density(z[0]) * _density(z[1])
    inside = (np.sum(z * z, axis=0) < CUT**2) & (weight > 0.0)
    return z[:, inside], weight[inside]


@lru_cache(maxsize=16)
def grid(first: float, second: float, half: bool = False) -> tuple[Array, Array]:
    """Nodes (2, n) and weights (n,) of the trapezoidal rule with these steps; ``half``: for integrands even in z."""
    axes = [step * np.arange(-count, count + 1.0) for step in (first, second) for count in [int(np.ceil(CUT / step))]]
    one, two = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    inside = one * one + two * two < CUT**2
    nodes = np.stack([one[inside], two[inside]])
    weights = first * second * _density(nodes[0]) * _density(nodes[1])
    if half:  # z and -z are as far from the ends; the middle is z = 0
        middle = weights.size // 2
        nodes, weights = nodes[:, middle:], 2.0 * weights[middle:]
        weights[0] *= 0.5
    return nodes, weights


@lru_cache(maxsize=256)
def has_parity(activation: Activation) -> bool:
    """Whether phi is odd or even, to the last digits: then all products of two phi or two phi' are even in z."""
    u = np.geomspace(1e-3, 30.0, 200)
    with np.errstate(over="ignore", invalid="ignore"):
        above, below = activation.phi(u), activation.phi(-u)
        odd, even = np.abs(above + below), np.abs(above - below)
    bound = 4.0 * np.finfo(np.float64).eps * np.abs(above)
    return bool((odd <= bound).all() or (even <= bound).all())


@lru_cache(maxsize=256)
def resolution(activation: Activation, length: float) -> float:
    """Step of the grid, or width of the panels, that resolves fourth powers of phi and phi' at u = length z.

    Found by comparing two resolutions: for the trapezoidal rule the finer one has the square of the error of the
    coarser one, so agreement to 1e-8 certifies rounding; panels must agree to 1e-12.

    Raises
    ------
    ValueError
        If no affordable resolution is enough: phi is too rough on the scale of its pre-activations.
    """
    smooth = not activation.kinks
    tolerance = 1e-8 if smooth else 1e-12
    step = 0.5 if smooth else 2.0
    coarse = _probe(activation, length, 2.0 * step)
    while step > _FINEST:
        half = _probe(activation, length, step)
        if np.all(np.abs(half - coarse)[0] <= tolerance * half[1]):
            return step
        # the probe of twice the step was seen two rounds ago, but costs nothing in one dimension
        step /= np.sqrt(2.0)
        coarse = _probe(activation, length, 2.0 * step)
    raise ValueError(
        f"{activation.label} is too rough for the quadrature at pre-activations of variance {length**2:.3g}; "
        "finite-width coefficients are not offered there"
    )


def _probe(activation: Activation, length: float, step: float) -> Array:
    """Means of fourth powers with a polynomial of the order of the Hermite weights; row 1: of their absolute values."""
    z, weight = line(activation, step, np.array([length]))
    u = length * z[0]
    powers = np.stack([activation.phi(u) ** 4, activation.dphi(u) ** 4, activation.phi(u) ** 2])  # (3, n)
    return np.stack([powers * (1.0 + z[0]) ** 4 @ weight, np.abs(powers) * (1.0 + z[0] ** 4) @ weight])
