"""Forward half of the expansion in 1/M: the Gram matrices of activations and pre-activations, layer by layer.

Given layer l - 1 the rows of U^l are independent, N(0, S^l) with S^l = sigma_w2 K^(l-1) + sigma_b2: the Gram K^l is a
Markov chain, and one step of it adds noise N/M to the image of the layer below. Haar weights: a Gaussian matrix is a
Haar matrix seen through an independent Wishart Gram of max(M_l, M_(l-1)) degrees of freedom; its part is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcnet.activations.table import Activation
from mcnet.theory.expansion.layer_moments import LayerMoments, layer_moments
from mcnet.theory.expansion.pair_law import Array, PairLaw, basis, pair_law, pair_map, pairs, to_matrix, wick


@dataclass(frozen=True)
class Layer:
    """One hidden layer at M = infinity with its O(1/M) shifts; pair vectors, activations in the basis.

    Attributes
    ----------
    law : PairLaw
        Of the pre-activations, Gram S.
    moments : LayerMoments
    s, k : ndarray, shape (T, T)
        S^l and K^l in the basis.
    m : ndarray, shape (P,)
        <p_a p_b>.
    k_shift, m_shift, q_shift : ndarray, shape (P,)
        M times the shift of the mean of K^l, of the mean of p_a p_b, and of the overlap u_a u_b / M (in the basis).
    k_response, m_response : ndarray, shape (P, noises)
        Linear response to the noise vector of :class:`Chain`.
    q_covariance : ndarray, shape (P, P)
        M times the covariance of the overlaps u_a u_b / M, in the basis.
    """

    law: PairLaw
    moments: LayerMoments
    s: Array
    k: Array
    m: Array
    k_shift: Array
    m_shift: Array
    q_shift: Array
    k_response: Array
    m_response: Array
    q_covariance: Array


@dataclass(frozen=True)
class Chain:
    """The forward chain of one or two inputs.

    The noise vector holds the noise of the inputs (P), then for each layer the noises of h_a h_b (in the basis), of
    p_a p_b and of the backward step (P each); ``noise`` is M times its covariance. The backward entries are zero here.
    """

    inputs: int
    input_gram: Array
    layers: tuple[Layer, ...]
    noise: Array
    haar: bool

    def slots(self, layer: int) -> tuple[slice, slice, slice]:
        """Places of the noises of h, p and of the backward step of hidden layer 1..depth."""
        return slots(self.inputs, layer)

    def k_response(self, layer: int) -> Array:
        """Linear response of K^layer in the basis, layer 0 (the inputs) included; shape (P, noises)."""
        if layer:
            return self.layers[layer - 1].k_response
        count = len(pairs(self.inputs))
        return np.eye(count, len(self.noise))

    def k_shift(self, layer: int) -> Array:
        """M times the shift of the mean of K^layer in the basis; zero for the inputs."""
        return self.layers[layer - 1].k_shift if layer else np.zeros(len(pairs(self.inputs)))

    def k(self, layer: int) -> Array:
        """K^layer at M = infinity in the basis, shape (T, T)."""
        return self.layers[layer - 1].k if layer else self.input_gram


def slots(inputs: int, layer: int) -> tuple[slice, slice, slice]:
    """See :meth:`Chain.slots`."""
    count = len(pairs(inputs))
    start = count * (1 + 3 * (layer - 1))
    return (
        slice(start, start + count),
        slice(start + count, start + 2 * count),
        slice(start + 2 * count, start + 3 * count),
    )


def next_gram(gram: Array, sigma_w2: float, sigma_b2: float) -> Array:
    """S = sigma_w2 K + sigma_b2 1 1^T in the basis, where 1 is the first basis vector."""
    out = sigma_w2 * gram
    out[0, 0] += sigma_b2
    return out


def forward_chain(
    gram: Array,
    activation: Activation,
    haar: bool,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    fixed_inputs: bool,
    input_over_width: float,
) -> Chain:
    """Run the chain from the input Gram (T, T), given in the inputs themselves (not in the basis)."""
    inputs = len(gram)
    count = len(pairs(inputs))
    transform = basis(inputs)
    start = transform @ gram @ transform.T
    noises = count * (1 + 3 * depth)
    noise = np.zeros((noises, noises))
    if not fixed_inputs:
        noise[:count, :count] = wick(start) / input_over_width
    response = np.eye(count, noises)
    shift = np.zeros(count)
    k = start
    layers = []
    for layer in range(1, depth + 1):
        s_weights = sigma_w2 * k
        s = next_gram(k, sigma_w2, sigma_b2)
        law = pair_law(s)
        moments = layer_moments(activation, law)
        jacobian, hessian = moments.jacobian, moments.hessian
        below = sigma_w2**2 * (response @ noise @ response.T)  # M Cov of S^l
        fresh, q_noise, second = moments.covariance, wick(s), below
        if haar:
            wishart = wick(s_weights) / (max(1.0, input_over_width) if layer == 1 else 1.0)
            fresh = fresh - jacobian @ wishart @ jacobian.T
            q_noise = q_noise - wishart
            second = second - wishart
        both = sigma_w2 * (jacobian @ shift) + 0.5 * (hessian.reshape(2 * count, -1) @ second.ravel())  # (2 P,)
        both_response = sigma_w2 * (jacobian @ response)  # (2 P, noises)
        own = np.concatenate([np.arange(noises)[place] for place in slots(inputs, layer)[:2]])
        noise[np.ix_(own, own)] = fresh
        both_response[:, own] += np.eye(2 * count)
        q_shift = sigma_w2 * shift
        k, shift, response = to_matrix(moments.mean[:count]), both[:count], both_response[:count]
        layers.append(
            Layer(
                law,
                moments,
                s,
                k,
                moments.mean[count:],
                shift,
                both[count:],
                q_shift,
                response,
                both_response[count:],
                below + q_noise,
            )
        )
    return Chain(inputs, start, tuple(layers), noise, haar)


def correlation_statistics(layer: Layer) -> tuple[float, float, float]:
    """(limit, a1, v1) of the correlation c of the pre-activations of a layer, for two inputs.

    Notes
    -----
    By the delta method to second order in the Gram of the normalised pre-activations u_a / |u_a|: with relative
    deviations rho +- tau of the two squared lengths and delta of their squared distance, e = 1 - c,

        1 - c' = e + delta/2 - e rho + (e tau^2 - tau^2)/2 + e rho^2 - delta rho/2 + O(3),

    every term of which is of order e, so that nothing cancels as c -> 1.
    """
    lengths = layer.law.lengths
    if np.any(lengths == 0.0):
        return np.nan, np.nan, np.nan
    distance = layer.law.distance
    # from (half sum, difference) of u_a to that of u_a / |u_a|; for equal lengths the exact multiple of 1
    one, two = 1.0 / lengths
    gap = 2.0 * layer.s[0, 1] / lengths.sum() * one * two  # 1/two - 1/one, without cancellation
    scale = np.array([[0.5 * (one + two), -0.25 * gap], [-gap, 0.5 * (one + two)]])
    to_normal = pair_map(scale)
    shift = to_normal @ layer.q_shift
    covariance = to_normal @ layer.q_covariance @ to_normal.T
    # squared lengths are ss +- sd + dd/4 with deviations rho +- tau
    to_relative = np.array([[1.0, 0.0, 0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # rho, tau, delta
    rho, _, delta = to_relative @ shift
    cov = to_relative @ covariance @ to_relative.T
    first = 0.5 * delta - distance * rho
    second = 0.5 * (distance - 1.0) * cov[1, 1] + distance * cov[0, 0] - 0.5 * cov[0, 2]
    gradient = np.array([-distance, 0.0, 0.5])
    return 1.0 - distance, 0.0 - float(first + second), float(gradient @ cov @ gradient)
