"""Backward half of the expansion in 1/M: Gram matrices of the back-propagated errors and the neural tangent kernel.

Conditioned on all activations, one step back is d^l = p o y with A_st = u^(l+1)(s) . d^(l+1)(t) and

    y_i(t) = sqrt(sigma_w2/M) gamma_it + (sigma_w2/M) sum_s h_i(s) [S^-1 (A - H~^T gamma)]_st ,

gamma fresh and Gaussian with the covariance B^(l+1) of d^(l+1). The second term is what "gradient independence" drops;
it shifts the means at order 1/M. One output, Gaussian readout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcnet.theory.expansion.forward import Chain, Layer, next_gram
from mcnet.theory.expansion.pair_law import Array, from_basis, pair_law, pairs, to_matrix, to_pairs


@dataclass(frozen=True)
class Errors:
    """Backward Gram B^l of one layer: limit, shift and response, as pair vectors of the inputs (11, 12, 22).

    Attributes
    ----------
    b, shift : ndarray, shape (P,)
        Limit, and M times the shift of the mean.
    response : ndarray, shape (P, noises)
        Linear response to the noise vector of the chain.
    """

    b: Array
    shift: Array
    response: Array


@dataclass(frozen=True)
class Kernel:
    """Tangent kernel: limit, M times the shift, response; and M times the variances of the block of two outputs."""

    limit: Array
    shift: Array
    response: Array
    cross_variance: Array


def fill_backward_noise(chain: Chain, limits: list[Array]) -> None:
    """Write the covariances of the backward steps into ``chain.noise``; ``limits[l - 1]`` is B^l, (T, T)."""
    inputs = chain.inputs
    count = len(pairs(inputs))
    for number, layer in enumerate(chain.layers, start=1):
        above = limits[number]
        index = pairs(inputs)
        twice = np.array(
            [[above[a, c] * above[b, d] + above[a, d] * above[b, c] for c, d in index] for a, b in index]
        )  # (P, P)
        noise = layer.moments.second[count:, count:] * twice
        if chain.haar and number < len(chain.layers):  # the readout is Gaussian
            noise = noise - np.outer(layer.m, layer.m) * twice
        place = chain.slots(number)[2]
        chain.noise[place, place] = noise


def backward_limits(chain: Chain, sigma_w2: float) -> list[Array]:
    """B^1, ..., B^(depth + 1) at M = infinity, each (T, T)."""
    limits = [np.ones((chain.inputs, chain.inputs))]
    for layer in reversed(chain.layers):
        limits.insert(0, sigma_w2 * to_matrix(layer.m) * limits[0])
    return limits


def backward_chain(chain: Chain, sigma_w2: float, sigma_b2: float, gradient_independence: bool = False) -> list[Errors]:
    """B^1, ..., B^(depth + 1), after :func:`fill_backward_noise`; ``gradient_independence``: the first term only."""
    inputs, depth = chain.inputs, len(chain.layers)
    count = len(pairs(inputs))
    noises = len(chain.noise)
    readout = next_gram(chain.k(depth), sigma_w2, sigma_b2)
    errors = [Errors(np.ones(count), np.zeros(count), np.zeros((count, noises)))]
    overlap = np.broadcast_to(readout, (inputs,) * 4)  # E[A_st A_s't'] as [t, t', s, s'], of the readout
    for number in range(depth, 0, -1):
        layer, above = chain.layers[number - 1], errors[0]
        violation = (
            np.zeros((inputs,) * 4)
            if number == depth or gradient_independence
            else _violation(chain, number, above.b, overlap, sigma_w2, sigma_b2)
        )
        b = sigma_w2 * layer.m * above.b
        fresh = np.zeros((count, noises))
        fresh[:, chain.slots(number)[2]] = np.eye(count)
        response = sigma_w2 * (layer.m[:, None] * above.response + above.b[:, None] * layer.m_response + fresh)
        coupled = (layer.m_response @ chain.noise * above.response).sum(axis=1)
        shift = sigma_w2 * (layer.m * above.shift + above.b * layer.m_shift + coupled)
        shift = shift + _trace(chain, number, violation)
        errors.insert(0, Errors(b, shift, response))
        overlap = _next_overlap(layer, chain, number, to_matrix(above.b), violation, sigma_w2)
    return errors


def _violation(chain: Chain, number: int, above: Array, overlap: Array, sigma_w2: float, sigma_b2: float) -> Array:
    """sigma_w2^2 Delta of the step down to hidden layer ``number``, [t, t', s, s'] with s, s' in the dual basis."""
    k = chain.k(number)
    b = to_matrix(above)[:, :, None, None]
    if chain.haar:
        inverse = pair_law(k).inverse
        scale = sigma_w2
    else:
        inverse = chain.layers[number].law.inverse  # of S^(number + 1)
        overlap, scale = sigma_w2**2 * overlap, sigma_w2**2
    out: Array = np.einsum("sa,tuab,bv->tusv", inverse, overlap, inverse) - scale * b * inverse
    return out


def _trace(chain: Chain, number: int, violation: Array) -> Array:
    """Tr[Q_tt' Delta_tt'] over pairs t <= t', with Q_tt' = <p_t p_t' h h^T>; (P,)."""
    layer = chain.layers[number - 1]
    inputs = chain.inputs
    count = len(pairs(inputs))
    mixed = to_matrix(layer.moments.second[count:, :count])  # (P, T, T)
    if chain.haar:
        mixed = mixed - layer.m[:, None, None] * layer.k
    return np.array([np.sum(mixed[i] * violation[t, u]) for i, (t, u) in enumerate(pairs(inputs))])


def _next_overlap(layer: Layer, chain: Chain, number: int, above: Array, violation: Array, sigma_w2: float) -> Array:
    """E[A_st A_s't'] of hidden layer ``number`` at leading order, [t, t', s, s'], in the basis."""
    force, cross = layer.moments.overlap, layer.moments.cross
    if chain.haar:
        # the part of u from the weights, given u: N(project u, rest)
        s_weights = sigma_w2 * chain.k(number - 1)
        project = s_weights @ layer.law.inverse
        rest = s_weights - project @ s_weights
        force = np.einsum("sa,tuab,vb->tusv", project, force, project)
        force = force + to_matrix(layer.m)[:, :, None, None] * rest
        cross = np.einsum("sa,tar->tsr", project, cross)
    through = np.einsum("tsa,tuab,uvb->tusv", cross, violation, cross, optimize=True)
    out: Array = sigma_w2 * above[:, :, None, None] * force + through
    return out


def tangent_kernel(
    chain: Chain, errors: list[Errors], sigma_w2: float, alpha: Array, beta: Array, beta_shift: Array
) -> Kernel:
    """Theta = sum_l B^l o (alpha_l K^(l-1) + beta_l + beta_shift_l / M); alpha, beta of the depth + 1 weight layers."""
    to_inputs = from_basis(chain.inputs)
    count = len(pairs(chain.inputs))
    limit, shift = np.zeros(count), np.zeros(count)
    response = np.zeros((count, len(chain.noise)))
    gradient = np.zeros(count)  # of Theta with respect to B^l
    cross = np.zeros((chain.inputs, chain.inputs))
    for number, error in enumerate(errors, start=1):
        k = to_inputs @ to_pairs(chain.k(number - 1))
        k_shift = to_inputs @ chain.k_shift(number - 1)
        k_response = to_inputs @ chain.k_response(number - 1)
        coupled = (error.response @ chain.noise * k_response).sum(axis=1)
        weight = alpha[number - 1] * k + beta[number - 1]
        limit += weight * error.b
        shift += weight * error.shift + alpha[number - 1] * (error.b * k_shift + coupled)
        shift += beta_shift[number - 1] * error.b
        response += weight[:, None] * error.response + alpha[number - 1] * error.b[:, None] * k_response
        gradient = gradient + weight
        if number <= len(chain.layers):
            layer = chain.layers[number - 1]
            above = to_matrix(errors[number].b)
            readout_next = number == len(chain.layers)
            spread = _block_noise(layer, above, count, chain.haar and not readout_next)
            cross += (sigma_w2 * to_matrix(gradient)) ** 2 * spread
            gradient = sigma_w2 * layer.m * gradient
    return Kernel(limit, shift, response, cross)


def _block_noise(layer: Layer, above: Array, count: int, haar: bool) -> Array:
    """M times the variance of (1/M) sum_i p_a p_b gamma_1a gamma_2b of two outputs, (T, T)."""
    squares = to_matrix(np.diag(layer.moments.second)[count:])  # <p_a^2 p_b^2>
    if haar:
        squares = squares - to_matrix(layer.m) ** 2
    lengths = np.diag(above)
    return squares * np.outer(lengths, lengths)
