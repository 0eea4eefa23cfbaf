"""The tangent kernel of a dense network from its forward and backward Gram matrices, exact at any width.

    Theta = sum_l B^l o (alpha_l K^(l-1) + beta_l),     K^l = h^l.h^l / M_l,  B^l = d^l.d^l,

with o elementwise and K repeated over the blocks of outputs; output k, input a is row k T + a. It is the Gram matrix of
the gradients of the outputs with respect to the parameters (Jacot et al. 2018), which are never made.
"""

from __future__ import annotations

import numpy as np

from mcnet.backend import Backend
from mcnet.kernels.reference import TangentChain
from mcnet.networks.dense import layers
from mcnet.point import Point
from mcnet.weights.laws import Array

BLOCK_FROM = 64
"""Inputs from which the products of every two outputs are large enough to be made one by one."""


def scales(point: Point) -> tuple[tuple[float, float], ...]:
    """(alpha_l, beta_l) of layers 1..L in the point's parametrisation.

    ``standard`` (parameters W, b): M_(l-1) and 1. ``ntk`` (W = sqrt(sigma_w2/M) w, b = sqrt(sigma_b2) beta): sigma_w2
    and sigma_b2. ``pdlt``: 1 and 1. beta is 0 where biases are not trained.
    """
    found = []
    for layer in layers(point):
        alpha, beta = {
            "standard": (float(layer.inputs), 1.0),
            "ntk": (layer.sigma_w2, layer.sigma_b2),
            "pdlt": (1.0, 1.0),
        }[point.parameterization]
        found.append((alpha, beta if point.train_biases else 0.0))
    return tuple(found)


def with_hidden_term(
    backend: Backend, theta: Array, d: Array, exponent: Array, gram: Array, scale: tuple[float, float]
) -> Array:
    """theta + B^l o (alpha K^(l-1) + beta), the term of a hidden layer; theta itself may be overwritten.

    Of a large kernel only blocks k' <= k of outputs are added: see :func:`completed`.

    Parameters
    ----------
    backend : Backend
    theta : Array, shape (N, C T, C T), float64
    d : Array, shape (N, C, T, M), float64
        Errors at u^l of the inputs themselves, divided by 2^exponent.
    exponent : Array, shape (N,)
    gram : Array, shape (N or 1, T, T)
        K^(l-1) of the inputs themselves.
    scale : tuple of float
        (alpha_l, beta_l).

    Notes
    -----
    Products of two outputs are added while they are in the cache: passes over a large matrix would cost a good part
    of what the products cost.
    """
    xp = backend.xp
    networks, outputs, inputs, units = d.shape
    alpha, beta = scale
    factor = (alpha * gram + beta) * xp.reshape(4.0**exponent, (-1, 1, 1))  # (N, T, T)
    if not _by_blocks(outputs, inputs):
        rows = xp.reshape(d, (networks, outputs * inputs, units))
        b = xp.matmul(rows, xp.matrix_transpose(rows))
        blocks = xp.reshape(b, (networks, outputs, inputs, outputs, inputs))
        return theta + xp.reshape(blocks * factor[:, None, :, None, :], b.shape)
    for k, other in _pairs(outputs):
        block = xp.matmul(d[:, k, ...], xp.matrix_transpose(d[:, other, ...]))
        block *= factor
        theta[:, k * inputs : (k + 1) * inputs, other * inputs : (other + 1) * inputs] += block
    return theta


def completed(backend: Backend, theta: Array, outputs: int) -> Array:
    """The symmetric kernel, after the last hidden term."""
    inputs = theta.shape[1] // outputs
    if _by_blocks(outputs, inputs):
        for k, other in _pairs(outputs):
            here, there = slice(k * inputs, (k + 1) * inputs), slice(other * inputs, (other + 1) * inputs)
            theta[:, there, here] = backend.xp.matrix_transpose(theta[:, here, there])
    return theta


def _by_blocks(outputs: int, inputs: int) -> bool:
    return outputs > 1 and inputs >= BLOCK_FROM


def _pairs(outputs: int) -> list[tuple[int, int]]:
    """(k, k') with k' <= k."""
    return [(k, other) for k in range(outputs) for other in range(k + 1)]


def of_one_output(backend: Backend, point: Point, start: Array, chain: TangentChain) -> Array:
    """The kernel of one output from the Gram matrices of the fused pass.

    Parameters
    ----------
    backend : Backend
    point : Point
    start : Array, shape (N or 1, T, T)
        Gram matrices of the inputs in the difference basis.
    chain : TangentChain

    Returns
    -------
    Array, shape (N, T, T), float64

    Notes
    -----
    Entry by entry and layer by layer on arrays of N numbers: T is small and N is large.
    """
    xp, alphas_betas = backend.xp, scales(point)
    b = chain.b
    if bool(xp.any(chain.exponent != 0.0)):
        b = b * (4.0**chain.exponent)[:, :, None, None]
    inputs = b.shape[-1]
    entries: dict[tuple[int, int], Array] = {}
    for i in range(inputs):
        for j in range(i + 1):
            alpha, beta = alphas_betas[-1]
            theta = alpha * _plain_entry(chain.h[:, -1, ...], i, j) + beta
            for layer in range(point.depth):
                alpha, beta = alphas_betas[layer]
                k = _plain_entry(chain.h[:, layer - 1, ...] if layer else start, i, j)
                theta = theta + b[:, layer, i, j] * (alpha * k + beta)
            entries[i, j] = entries[j, i] = theta
    rows = [entries[i, j] for i in range(inputs) for j in range(inputs)]
    return xp.reshape(xp.stack(rows, axis=1), (-1, inputs, inputs))


def _plain_entry(gram: Array, i: int, j: int) -> Array:
    """Entry (i, j) of the plain Gram matrix: (N, T, T) in the difference basis -> (N,)."""
    value = gram[:, 0, 0]
    for a, b in {(i, 0), (0, j), (i, j)} - {(0, 0)}:
        value = value + gram[:, a, b]
    return value


def readout_term(backend: Backend, outputs: int, gram: Array, scale: tuple[float, float]) -> Array:
    """The term of the readout, where d^L_k = e_k: alpha K^depth + beta on the diagonal blocks; (N, C T, C T).

    ``gram`` is K^depth of the inputs themselves.
    """
    alpha, beta = scale
    factor = alpha * gram + beta  # (N, T, T)
    inputs = factor.shape[1]
    size = outputs * inputs
    theta = backend.place(np.zeros((factor.shape[0], size, size)))
    for k in range(outputs):
        here = slice(k * inputs, (k + 1) * inputs)
        theta[:, here, here] = factor
    return theta


def normalized(backend: Backend, theta: Array, f: Array, normalization: str) -> Array:
    """The kernel of the outputs after a normalisation in the last layer: R Theta R.

    Parameters
    ----------
    backend : Backend
    theta : Array, shape (N, C T, C T)
    f : Array, shape (N, C, T), float64
        Outputs before the normalisation.
    normalization : str
        ``none``; ``last-mean``: minus the mean over the T inputs; ``last-batch``: mean and standard deviation over
        the inputs, for every output; ``last-layer``: mean and standard deviation over the outputs, for every input.

    Notes
    -----
    R is the derivative of the normalised outputs with respect to f (gain 1, shift 0, no epsilon): Pi = I - 11^T/T for
    the mean, and (1/sigma_k) (Pi - f~_k f~_k^T/T) with the standard deviation, f~ the normalised output (Karakida,
    Akaho, Amari, NeurIPS 2019); ``last-layer`` the same with outputs in place of inputs. NaN where sigma is zero.
    """
    if normalization == "none":
        return theta
    assert normalization in ("last-mean", "last-batch", "last-layer"), normalization
    xp = backend.xp
    over_inputs = normalization != "last-layer"
    rows = f if over_inputs else xp.matrix_transpose(f)  # normalised along the last axis, (N, C, T) or (N, T, C)
    count, size = rows.shape[1:]
    center = backend.place(np.eye(size) - 1.0 / size)
    if normalization == "last-mean":
        step = center[None, None, :, :]
    else:
        centered = rows - xp.mean(rows, axis=2, keepdims=True)
        sigma = xp.sqrt(xp.mean(centered * centered, axis=2, keepdims=True))
        sigma = xp.where(sigma > 0.0, sigma, xp.full_like(sigma, xp.nan))
        unit = centered / sigma
        step = (center - unit[..., :, None] * unit[..., None, :] / size) / sigma[..., None]  # (N, count, size, size)
    same = backend.place(np.eye(count))
    if over_inputs:
        r = step[:, :, :, None, :] * same[None, :, None, :, None]  # (N, C, T, C, T)
    else:
        r = xp.permute_dims(step, (0, 2, 1, 3))[:, :, :, :, None] * same[None, None, :, None, :]  # (N, C, T, C, T)
    r = xp.reshape(r, (-1, count * size, count * size))
    return xp.matmul(xp.matmul(r, theta), r)
