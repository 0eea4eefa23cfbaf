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
        return _pre_moments(block, path, ends=False)
    mean, ratio = 1.0, 1.0
    for q in path.q:
        one = block_moments(block, float(q), weights)
        mean, ratio = mean * one.mean, ratio + one.second / one.mean**2 - 1.0
    return JacobianMoments(mean, mean**2 * ratio)


def block_moments(block: Block, q: float, weights: str = "gaussian") -> JacobianMoments:
    """First two moments of the spectrum of J J^T of one block alone.

    Parameters
    ----------
    block : Block
    q : float
        Variance of its pre-activations.
    weights : {"gaussian", "orthogonal"}
        Orthogonal ones are known for blocks with one matrix.

    Raises
    ------
    ValueError
        If the weights are others.

    Notes
    -----
    ``mu_1 = a^2 + s^2 x`` and ``mu_2 = mu_1^2 + 2 a^2 s^2 x + s^4 (x_2 - x^2)`` with x, x_2 of
    :func:`jacobian_moments`; ``a + s W D`` of ``pre`` has the spectrum of ``a + s D W`` of ``post``. Accuracy: the
    limit M -> infinity.
    """
    if weights not in ("gaussian", "orthogonal") or (weights == "orthogonal" and block.kind == "two"):
        raise ValueError(
            f'weights = "{weights}" with block "{block.kind}": known here are gaussian weights, and orthogonal ones '
            "in blocks with one matrix"
        )
    a2, s2 = block.skip**2, block.branch**2
    first, fourth = (float(moment) for moment in slope_law(block.phi, q).moments(2))
    x = block.gain * first
    r = fourth / first**2 if first > 0.0 else 1.0
    second = x * x * ((2.0 if block.kind == "two" else 1.0) + r - (1.0 if weights == "orthogonal" else 0.0))
    mean = a2 + s2 * x
    return JacobianMoments(mean, mean**2 + 2.0 * a2 * s2 * x + s2 * s2 * (second - x * x))


def network_moments(block: Block, length_0: float, depth: int, weights: str = "gaussian") -> JacobianMoments:
    """First two moments of the spectrum of J J^T from the input to the last h of the architecture ``residual``.

    Parameters
    ----------
    block, depth, weights
        As in :func:`jacobian_moments`.
    length_0 : float
        ``|x|^2/M`` of the input, whose entries have mean zero.

    Notes
    -----
    Of ``post`` and ``two`` as :func:`jacobian_moments`. In ``pre`` the input passes a square Gaussian embedding E of
    variance 1 first and phi last, J = D_L P E with P the product over the blocks. With zeta of the last layer as in the
    recursion, ``tr (D_L P P^T D_L)^2/M = <p_L^2 zeta>``, and E, free of the rest, adds mu_1^2:

        mu_1 = alpha <p_L^2> ,    mu_2 = <p_L^2 zeta_L> + mu_1^2 .
    """
    if block.kind != "pre":
        return jacobian_moments(block, length_0, depth, weights)
    if weights != "gaussian":
        raise ValueError(f'weights = "{weights}" with block "pre": known here are gaussian weights')
    return _pre_moments(block, signal(block, length_0, depth), ends=True)


def _pre_moments(block: Block, path: Signal, ends: bool) -> JacobianMoments:
    """P = prod (a + s W_l D_(l-1)); G = sum_k g_k p_k^2 + g_c at a unit, mu_2 = alpha^2 + 2 <G>.

    M E (P P^T)_ij^2 = G_i + G_j off the diagonal, where (P P^T)_ii = alpha. With ``ends`` of D_L P E.
    """
    phi, a, s = block.phi, block.skip, block.branch
    step = s * s * block.sigma_w2
    scale = gaussian.feature_scale(phi)
    variances = path.length if ends else path.q
    squares = [float(gaussian.derivative_square(phi, q)) for q in variances]
    alpha, constant, parts = 1.0, 0.0, np.zeros(0)
    for layer, q in enumerate(variances):
        products = np.array(
            [
                gaussian.pair_mean(
                    lambda x, y: (phi.dphi(x) * phi.dphi(y)) ** 2,
                    [[q, a ** (layer - k) * variances[k]], [a ** (layer - k) * variances[k], variances[k]]],
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
        if layer == path.q.size:
            mean = alpha * p2
            return JacobianMoments(mean, around + mean**2)
        keep = a**4 + a * a * step * p2
        parts = np.append(keep * parts, a * a * step * alpha**2)
        constant = keep * constant + a * a * step * cross + 0.5 * step**2 * around
        alpha *= a * a + step * p2
    mean = float(parts @ squares) + constant
    return JacobianMoments(alpha, alpha**2 + 2.0 * mean)
