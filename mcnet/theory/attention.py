"""Transformer blocks where attention is uniform: infinitely wide heads with scores q.k/n.

Queries and keys of one vector are independent, so with the softmax scale 1/n the scores of wide heads vanish as
n^(-1/2) and every token attends to all tokens alike. (With the scale 1/sqrt(n) the scores stay random in the limit, and
Gram matrices are no longer determined by those below.) The architecture is that of mcnet's ``transformer``: matrices of
variance sigma_w2, biases in the feed-forward branch, branches of strengths ``attention`` and ``feedforward``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mcnet import activations
from mcnet.activations import Activation
from mcnet.theory import gaussian
from mcnet.theory.gaussian import ActivationLike, Floats

NORMALIZATIONS = ("none", "pre-layer", "post-layer")


def grams(
    activation: ActivationLike,
    sigma_w2: float,
    sigma_b2: float,
    gram: ArrayLike,
    depth: int,
    attention: float,
    feedforward: float,
    normalization: str,
) -> Floats:
    """Gram matrices of the stream over all inputs and tokens, block by block.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float
    gram : array_like, shape (T, S, T, S)
        Of the embedded inputs, ``h^0_a(s) . h^0_b(s') / M``: equal to that of the inputs over M_0.
    depth : int
        Number of blocks.
    attention, feedforward : float
        Strengths of the branches.
    normalization : {"none", "pre-layer", "post-layer"}
        Of nothing, of what enters a branch, of the stream after each branch.

    Returns
    -------
    ndarray, shape (depth + 1, T, S, T, S)

    Raises
    ------
    ValueError
        If normalization is another word, or the shape is.

    Notes
    -----
    With N the normalisation where there is one, ``mean K`` the average over the tokens of both inputs:

        K <- N[K + attention^2 sigma_w2^2 mean K] ,
        K <- N[K + feedforward^2 (sigma_w2 E phi phi + sigma_b2)] at the covariance sigma_w2 K + sigma_b2 ,

    and ``pre-layer`` takes correlations for K inside the branches. Accuracy: widths and head sizes to infinity; the
    mean at width M differs by O(1/n).
    """
    start = np.asarray(gram, dtype=np.float64)
    if start.ndim != 4 or start.shape[:2] != start.shape[2:]:
        raise ValueError(f"gram must have shape (T, S, T, S), inputs and tokens, got {start.shape}")
    if normalization not in NORMALIZATIONS:
        raise ValueError(f'normalization = "{normalization}": it must be one of {", ".join(NORMALIZATIONS)}')
    phi = activations.get(activation)
    pre, post = normalization == "pre-layer", normalization == "post-layer"
    result, k = [start], start
    for _ in range(depth):
        seen = _correlation(k) if pre else k
        k = k + attention**2 * sigma_w2**2 * seen.mean((1, 3), keepdims=True)
        k = _correlation(k) if post else k
        seen = _correlation(k) if pre else k
        k = k + feedforward**2 * (sigma_w2 * _products(phi, sigma_w2 * seen + sigma_b2) + sigma_b2)
        k = _correlation(k) if post else k
        result.append(k)
    return np.array(result)


def collapse_factor(
    activation: ActivationLike, sigma_w2: float, sigma_b2: float, attention: float, feedforward: float
) -> float:
    """Factor of 1 - c of two almost equal tokens over one ``post-layer`` block.

    Parameters as in :func:`grams`.

    Notes
    -----
    At c = 1, with u ~ N(0, sigma_w2 + sigma_b2),

        (1 + f^2 sigma_w2^2 E phi'^2) / [(1 + a^2 sigma_w2^2)(1 + f^2 (sigma_w2 E phi^2 + sigma_b2))] :

    below 1 the tokens become equal exponentially (rank collapse), above 1 they stay apart. Attention always collapses;
    only a feed-forward branch in its chaotic phase can hold against it.

    References
    ----------
    Dong, Cordonnier, Loukas 2021, arXiv:2103.03404; Noci et al. 2022, arXiv:2206.03126.
    """
    phi = activations.get(activation)
    q = sigma_w2 + sigma_b2
    branch = sigma_w2 * float(gaussian.square(phi, q)) + sigma_b2
    apart = 1.0 + feedforward**2 * sigma_w2**2 * float(gaussian.derivative_square(phi, q))
    return apart / ((1.0 + attention**2 * sigma_w2**2) * (1.0 + feedforward**2 * branch))


def _correlation(k: Floats) -> Floats:
    size = k.shape[0] * k.shape[1]
    square = k.reshape(size, size)
    deviation = np.sqrt(np.diagonal(square))
    if not np.all(deviation > 0.0):
        raise ValueError("a token of zero length cannot be normalised")
    result = np.clip(square / np.outer(deviation, deviation), -1.0, 1.0)
    np.fill_diagonal(result, 1.0)
    return np.asarray(result.reshape(k.shape))


def _products(phi: Activation, s: Floats) -> Floats:
    """E phi phi for all pairs of rows."""
    size = s.shape[0] * s.shape[1]
    square = s.reshape(size, size)
    one = np.diagonal(square)
    result = np.empty_like(square)
    np.fill_diagonal(result, gaussian.square(phi, one))
    a, b = np.triu_indices(size, 1)
    result[a, b] = result[b, a] = gaussian.product(phi, one[a], one[b], square[a, b])
    return result.reshape(s.shape)
