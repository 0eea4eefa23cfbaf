"""What the fourth cumulant of the weights adds at order 1/M: forward Gram matrices of networks with i.i.d. weights.

Given the layer below, the pre-activations of i.i.d. weights are Gaussian only up to a fourth cumulant of order 1/M. It
shifts the mean of the Gram matrix ``K^l_ab = h^l(a) . h^l(b)/M`` at the order at which Gaussian weights shift it, and
leaves the leading covariance as it is. Backward quantities of such weights are not covered here.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mcnet import activations
from mcnet.activations import Activation
from mcnet.theory import gaussian
from mcnet.theory.gaussian import ActivationLike, Floats

UNIFORM = -1.2  # excess kurtosis of a uniform variable


class GramShift(NamedTuple):
    """Gram matrices of hidden layers 1 to depth; M times what is of order 1/M.

    Attributes
    ----------
    limit : ndarray, shape (depth, T, T)
    mean : ndarray, shape (depth, T, T)
        a1: M (E K - limit).
    variance : ndarray, shape (depth, T, T)
        v1: M Var K, the same as for Gaussian weights.
    """

    limit: Floats
    mean: Floats
    variance: Floats


def q_hat(
    activation: ActivationLike,
    sigma_w2: float,
    sigma_b2: float,
    inputs: ArrayLike,
    depth: int,
    excess_kurtosis: float = UNIFORM,
    *,
    input_over_width: float = 1.0,
) -> GramShift:
    """Limit, shift of the mean and variance of the Gram of one or two inputs, layer by layer.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float
        Weight variance times fan-in; bias variance. Biases are Gaussian.
    inputs : array_like, shape (T, n), T = 1 or 2
        Fixed inputs, of which averages over the coordinates matter: products of two and of four. Any n whose averages
        are those of the M_0 coordinates.
    depth : int
        Number of hidden layers.
    excess_kurtosis : float
        Of the entries of the weights: -6/5 for uniform ones (the default), 0 for Gaussian, -2 for random signs.
    input_over_width : float
        M_0/M.

    Returns
    -------
    GramShift

    Raises
    ------
    ValueError
        If there are more than two inputs, or they are parallel.

    Notes
    -----
    With S = sigma_w2 K + sigma_b2, G(S) = E phi phi, N the covariance of phi phi, and g the excess kurtosis,

        mu^l = sigma_w2 G' mu^(l-1) + (sigma_w2^2/2) G'' : [V^(l-1) + (g/3) <h_a h_b h_c h_d>_(l-1)] ,
        V^l  = N^l + sigma_w2^2 G' V^(l-1) G'^T ,

    from mu^0 = V^0 = 0, with the fourth moments of the inputs (times M/M_0) in the first layer: already K^1 has a
    shift. Lengths of (leaky) relu without bias have none at any layer. Accuracy: the neglected terms are O(1/M^2);
    quadrature 1e-10.
    """
    phi = activations.get(activation)
    x = np.atleast_2d(np.asarray(inputs, dtype=np.float64))
    if len(x) > 2:
        raise ValueError(f"the shift of one or two inputs is known here, got {len(x)}")
    pairs = list(itertools.combinations_with_replacement(range(len(x)), 2))
    products = np.array([x[a] * x[b] for a, b in pairs])
    gram, fourth = products.mean(1), products @ products.T / x.shape[1] / input_over_width
    shift, covariance = np.zeros(len(pairs)), np.zeros((len(pairs),) * 2)
    layers = []
    for _ in range(depth):
        mean, second, jacobian, hessian = _layer(phi, sigma_w2 * gram + sigma_b2, pairs)
        source = covariance + excess_kurtosis / 3.0 * fourth
        shift = sigma_w2 * jacobian @ shift + 0.5 * sigma_w2**2 * np.einsum("ijk,jk->i", hessian, source)
        covariance = second - np.outer(mean, mean) + sigma_w2**2 * jacobian @ covariance @ jacobian.T
        gram, fourth = mean, second
        layers.append((mean, shift, np.diagonal(covariance)))
    index = np.zeros((len(x), len(x)), dtype=int)
    for k, (a, b) in enumerate(pairs):
        index[a, b] = index[b, a] = k
    return GramShift(*(np.array(part)[:, index] for part in zip(*layers, strict=True)))


def _layer(phi: Activation, s: Floats, pairs: list[tuple[int, int]]) -> tuple[Floats, Floats, Floats, Floats]:
    """<F>, <F F^T>, dF/dS and d2F/dS2 for F = (h_a h_b) over pairs a <= b, with S given by pairs."""
    scale = gaussian.feature_scale(phi)
    if len(pairs) == 1:
        nodes, weights = gaussian.nodes(s[0], phi.kinks, scale)
        u, inverse = nodes[None], np.array([[1.0 / s[0]]])
    else:
        matrix = np.array([[s[0], s[1]], [s[1], s[2]]])
        if not s[1] ** 2 < s[0] * s[2] * (1.0 - 1e-12):
            raise ValueError("the two inputs are parallel to rounding: take one of them")
        u, weights = gaussian.pair_nodes(matrix, phi.kinks, scale)
        inverse = np.linalg.inv(matrix)
    h, v = phi.phi(u), inverse @ u
    features = np.array([h[a] * h[b] for a, b in pairs])
    times = [1.0 if a == b else 2.0 for a, b in pairs]
    first = np.array([w / 2.0 * (v[a] * v[b] - inverse[a, b]) for w, (a, b) in zip(times, pairs, strict=True)])
    weighted = features * weights
    jacobian = weighted @ first.T
    hessian = np.empty((len(pairs),) * 3)
    for (i, (a, b)), (j, (c, d)) in itertools.product(enumerate(pairs), repeat=2):
        six = (
            inverse[a, b] * v[c] * v[d]
            + inverse[a, c] * v[b] * v[d]
            + inverse[a, d] * v[b] * v[c]
            + inverse[b, c] * v[a] * v[d]
            + inverse[b, d] * v[a] * v[c]
            + inverse[c, d] * v[a] * v[b]
        )
        three = inverse[a, b] * inverse[c, d] + inverse[a, c] * inverse[b, d] + inverse[a, d] * inverse[b, c]
        hermite = v[a] * v[b] * v[c] * v[d] - six + three
        hessian[:, i, j] = times[i] * times[j] / 4.0 * (weighted @ hermite)
    return weighted.sum(1), weighted @ features.T, jacobian, hessian
