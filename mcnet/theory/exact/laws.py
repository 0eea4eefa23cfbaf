"""Exact results at any finite width: linear, ReLU and leaky ReLU networks of one input without biases.

phi(u) = u for u > 0 and slope u below: slope 1 is linear, 0 is ReLU. In all of them a layer multiplies the squared
length by sigma_w2 s, with s independent between layers, and the back-propagated error obeys the same law.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Moments(NamedTuple):
    """First and second moment of a random variable.

    Attributes
    ----------
    mean : float
    second : float
        E X^2.
    """

    mean: float
    second: float


def chi_square_moment(width: int, order: int) -> float:
    """E (chi^2_M / M)^order = (2/M)^order Gamma(M/2 + order) / Gamma(M/2)."""
    return math.exp(order * math.log(2.0 / width) + math.lgamma(0.5 * width + order) - math.lgamma(0.5 * width))


def linear_length_moment(sigma_w2: float, widths: Sequence[int], order: int) -> float:
    """E (K^depth / K^0)^order of a deep linear Gaussian network without biases; ``widths``: M_1, ..., M_depth.

    K = |h|^2 / M. The squared error norms q_tilde follow the same law over the layers above.
    """
    return math.prod(sigma_w2**order * chi_square_moment(width, order) for width in widths)


def step_moments(slope: float, width: int, orthogonal: bool = False) -> Moments:
    """Moments of s, where a hidden layer maps K to sigma_w2 s K.

    Parameters
    ----------
    slope : float
        Of phi below zero.
    width : int
        Number of units, >= 1.
    orthogonal : bool
        Square Haar weights instead of Gaussian ones.

    Notes
    -----
    s = (1/M) sum_i c_i z_i^2 with c_i = 1 or slope^2, equally likely: with p_k = (1 + slope^(2 k))/2,

        E s = p_1 ,   E s^2 = p_1^2 + (3 p_2 - p_1^2)/M              Gaussian
                      E s^2 = (3 p_2 + (M - 1) p_1^2)/(M + 2)        Haar: z on the sphere
    """
    one, two = 0.5 * (1.0 + slope**2), 0.5 * (1.0 + slope**4)
    if orthogonal:
        return Moments(one, (3.0 * two + (width - 1) * one**2) / (width + 2))
    return Moments(one, one**2 + (3.0 * two - one**2) / width)


def length_moments(slope: float, sigma_w2: float, widths: Sequence[int], orthogonal: bool = False) -> Moments:
    """Moments of K^depth / K^0 for hidden layers of the given widths; square layers if orthogonal."""
    steps = [step_moments(slope, width, orthogonal) for width in widths]
    return Moments(
        math.prod(sigma_w2 * step.mean for step in steps), math.prod(sigma_w2**2 * step.second for step in steps)
    )


def dead_probability(widths: Sequence[int]) -> float:
    """Probability that a ReLU network without biases maps an input to zero within the given hidden layers."""
    return -math.expm1(sum(math.log1p(-(2.0**-width)) for width in widths))


def output_fourth_moment(slope: float, sigma_w2: float, widths: Sequence[int], q_hat_0: float) -> float:
    """E f^4 of a Gaussian readout, 3 sigma_w2^2 E (K^depth)^2."""
    return 3.0 * sigma_w2**2 * q_hat_0**2 * length_moments(slope, sigma_w2, widths).second


def tangent_kernel_moments(
    slope: float, sigma_w2: float, widths: Sequence[int], alpha: ArrayLike, q_hat_0: float
) -> Moments:
    """Moments of the tangent kernel Theta = sum_l alpha_l B^l K^(l-1) of one input and one output.

    Parameters
    ----------
    slope, sigma_w2 : float
    widths : sequence of int
        M_1, ..., M_depth of the hidden layers, Gaussian weights.
    alpha : array_like, shape (depth + 1,)
        Learning-rate factors of the weight layers, the readout last, see
        :func:`mcnet.theory.tangent.layer_factors`.
    q_hat_0 : float
        |x|^2 / M_0.

    Notes
    -----
    B^l and K^(l-1) are products of the factors of different layers, so E Theta has no correction at any width.
    E Theta^2 needs, for l <= m, E[B^l K^(l-1) B^m K^(m-1)]: in the layers between, forward and backward factors meet.
    With g = sigma_w2 p_1, r = p_2/p_1^2 (p_k as in :func:`step_moments`) and k running down the layers,

        R_k = g^2 (1 - 1/M_k) R_(k+1) + (r g^2/M_k) Q_(k+1) ,   R_L = 1
        Q_k = g^2 (1 + (3 r - 1)/M_k) Q_(k+1) ,                 Q_L = 3
        b_k = g^2 (1 + (3 r - 1)/M_k) b_(k+1) ,                 b_L = 1

    and the pair starts from (P, Q) = (b_m, R_m) at layer m, follows the first two rules down to layer l and is
    multiplied by g^2 (1 + (3 r - 1)/M_k) for every layer below.
    """
    rates = np.asarray(alpha, dtype=np.float64)
    depth = len(widths)
    if rates.shape != (depth + 1,):
        raise ValueError(f"alpha must have {depth + 1} entries, one for each weight layer, got shape {rates.shape}")
    one, two = 0.5 * (1.0 + slope**2), 0.5 * (1.0 + slope**4)
    g, r = sigma_w2 * one, two / one**2

    def length(k: int) -> float:
        return g * g * (1.0 + (3.0 * r - 1.0) / widths[k - 1])

    def mixed(p: float, q: float, k: int) -> float:
        return g * g * ((1.0 - 1.0 / widths[k - 1]) * p + r / widths[k - 1] * q)

    top = {depth + 1: (1.0, 3.0, 1.0)}  # R, Q, b
    for k in range(depth, 0, -1):
        big_r, big_q, b = top[k + 1]
        top[k] = (mixed(big_r, big_q, k), length(k) * big_q, length(k) * b)
    below = np.concatenate([[1.0], np.cumprod([length(k) for k in range(1, depth + 1)])])  # layers 1..l-1
    second = 0.0
    for m in range(1, depth + 2):
        p, q = top[m][2], top[m][0]
        second += rates[m - 1] ** 2 * p * below[m - 1]
        for k in range(m - 1, 0, -1):
            p, q = mixed(p, q, k), length(k) * q
            second += 2.0 * rates[k - 1] * rates[m - 1] * p * below[k - 1]
    return Moments(float(rates.sum()) * g**depth * q_hat_0, second * q_hat_0**2)
