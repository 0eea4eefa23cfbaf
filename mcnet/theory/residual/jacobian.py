"""Moments of the spectrum of J J^T of residual networks, at infinite width."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mcnet.theory import gaussian
from mcnet.theory.free.slope_law import slope_law
from mcnet.theory.residual.block import Block
from mcnet.theory.residual.path import Signal, signal


class JacobianMoments(NamedTuple):
    """First and second moment of the eigenvalues of J J^T, J from the first state to the last."""

    mean: float
    second: float


def jacobian_moments(
    block: Block, length_0: float, depth: int, weights: str = "gaussian", mean_0: float = 0.0
) -> JacobianMoments:
    """First two moments of the spectrum of J J^T through equal blocks.

    Parameters
    ----------
    block : Block
    length_0, depth, mean_0
        As in :func:`signal`.
    weights : {"gaussian", "orthogonal"}
        Orthogonal ones are known here for ``post``.

    Raises
    ------
    ValueError
        If the weights are orthogonal and the block is not ``post``.

    Notes
    -----
    With x the gradient gain of a branch without s^2, x_2 its second moment, r = E phi'^4/(E phi'^2)^2:

        mu_1 = prod (a^2 + s^2 x) ,    mu_2/mu_1^2 = 1 + sum [2 a^2 s^2 x + s^4 (x_2 - x^2)]/(a^2 + s^2 x)^2 ,
        x_2 = x^2 (1 + r) post,  x^2 r post with Haar weights,  x^2 (2 + r) two .

    In ``pre`` the slopes of all blocks belong to the same units and are correlated, so blocks are not free; there the
    moments follow a function of a unit, a sum of phi'^2 of all blocks so far. With s^2 of order 1/depth the ratio stays
    bounded at any depth, while that of dense Gaussian networks grows with it. Accuracy: the limit M -> infinity.

    References
    ----------
    Tarnowski, Warchol, Jastrzebski, Tabor, Nowak 2019, arXiv:1809.08848, for related spectra.
    """
    if weights not in ("gaussian", "orthogonal") or (weights == "orthogonal" and block.kind != "post"):
        raise ValueError(
            f'weights = "{weights}" with block "{block.kind}": known here are gaussian weights, and orthogonal ones '
            'for "post"'
        )
    path = signal(block, length_0, depth, mean_0)
    if block.kind == "pre":
        return _pre_moments(block, path)
    a2, s2 = block.skip**2, block.branch**2
    mean = float(np.prod(path.chi))
    ratio = 1.0
    for q in path.q:
        first, fourth = (float(moment) for moment in slope_law(block.phi, float(q)).moments(2))
        x = block.gain * first
        r = fourth / first**2 if first > 0.0 else 1.0
        second = x * x * ({"post": 1.0, "two": 2.0}[block.kind] + r - (1.0 if weights == "orthogonal" else 0.0))
        ratio += (2.0 * a2 * s2 * x + s2 * s2 * (second - x * x)) / (a2 + s2 * x) ** 2
    return JacobianMoments(mean, mean**2 * ratio)


def _pre_moments(block: Block, path: Signal) -> JacobianMoments:
    """J = prod (a + s W_l D_(l-1)); G = sum_k g_k p_k^2 + g_c at a unit, mu_2 = alpha^2 + 2 <G>."""
    phi, a, s = block.phi, block.skip, block.branch
    step = s * s * block.sigma_w2
    scale = gaussian.feature_scale(phi)
    squares = [float(gaussian.derivative_square(phi, q)) for q in path.q]
    alpha, constant, parts = 1.0, 0.0, np.zeros(0)
    for layer, q in enumerate(path.q):
        products = np.array(
            [
                gaussian.pair_mean(
                    lambda x, y: (phi.dphi(x) * phi.dphi(y)) ** 2,
                    [[q, a ** (layer - k) * path.q[k]], [a ** (layer - k) * path.q[k], path.q[k]]],
                    phi.kinks,
                    scale,
                )
                for k in range(layer)
            ]
        )  # <p_l^2 p_k^2>; the covariance of x^l and x^k is a^(l-k) Q^k
        fourth = float(gaussian.mean(lambda x: phi.dphi(x) ** 4, q, phi.kinks, scale))
        p2 = squares[layer]
        cross = float(parts @ products) + constant * p2  # <p_l^2 G>
        around = alpha**2 * fourth + 2.0 * p2 * cross  # <p_l^2 zeta>
        keep = a**4 + a * a * step * p2
        parts = np.append(keep * parts, a * a * step * alpha**2)
        constant = keep * constant + a * a * step * cross + 0.5 * step**2 * around
        alpha *= a * a + step * p2
    mean = float(parts @ squares) + constant
    return JacobianMoments(alpha, alpha**2 + 2.0 * mean)
