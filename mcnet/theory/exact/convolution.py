"""Convolutional networks at any finite width: Gram matrices of linear ones, lengths of relu ones, one linear layer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mcnet.theory.convolution import tap_modes
from mcnet.theory.gaussian import Floats


class GramMoments(NamedTuple):
    """First and second moments of K_ab = h(a) . h(b)/M over P positions.

    Attributes
    ----------
    mean : ndarray, shape (P, P)
    second : ndarray, shape (P, P, P, P)
        E K_ab K_cd.
    """

    mean: Floats
    second: Floats


def linear_convolution_grams(sigma_w2: float, taps: ArrayLike, gram: ArrayLike, width: int, depth: int) -> GramMoments:
    """Moments of the Gram over the positions of a linear convolutional network without biases, Gaussian weights.

    Parameters
    ----------
    sigma_w2 : float
    taps : array_like, shape (k,)
    gram : array_like, shape (P, P)
        x(p) . x(p') / M_0 of one fixed input on a ring.
    width, depth : int

    Notes
    -----
    Given K the channels of the next layer are independent with covariance S = sigma_w2 A K, so that

        X_abcd = E S_ab S_cd ,    E K_ab K_cd -> X_abcd + (X_acbd + X_adbc)/M .

    relu networks without biases: ``E K_pp -> (sigma_w2/2) (A E K)_pp``, see :func:`relu_convolution_lengths`.
    """
    start = np.asarray(gram, dtype=np.float64)
    v = np.asarray(taps, dtype=np.float64)
    tap_modes(v, len(start))  # checks
    offsets = np.arange(v.size) - v.size // 2
    mean, second = start, np.einsum("ab,cd->abcd", start, start)
    for _ in range(depth):
        mean = sigma_w2 * sum(w * np.roll(mean, (-b, -b), (0, 1)) for w, b in zip(v, offsets, strict=True))
        half = sum(w * np.roll(second, (-b, -b), (0, 1)) for w, b in zip(v, offsets, strict=True))
        x = sigma_w2**2 * sum(w * np.roll(half, (-b, -b), (2, 3)) for w, b in zip(v, offsets, strict=True))
        second = x + (np.einsum("acbd->abcd", x) + np.einsum("adbc->abcd", x)) / width
    return GramMoments(np.asarray(mean), np.asarray(second))


def relu_convolution_lengths(sigma_w2: float, taps: ArrayLike, lengths: ArrayLike, depth: int) -> Floats:
    """E |h^depth(p)|^2/M of a relu convolutional network without biases: the same at every width.

    Parameters
    ----------
    sigma_w2 : float
    taps : array_like, shape (k,)
    lengths : array_like, shape (P,)
        |x(p)|^2/M_0.
    depth : int

    Notes
    -----
    ``(sigma_w2/2)^depth`` times the average over the taps, depth times; the mean over the positions is multiplied by
    sigma_w2/2 a layer.
    """
    start = np.asarray(lengths, dtype=np.float64)
    spectrum = tap_modes(taps, len(start))  # sum_b v_b K(p + b) multiplies mode k of K by lambda_k
    return np.asarray((0.5 * sigma_w2) ** depth * np.fft.ifft(spectrum**depth * np.fft.fft(start)).real)


def linear_convolution_spread(sigma_w2: float, taps: ArrayLike, positions: int, width: int) -> float:
    """E Tr (C C^T)^2/(P M) of one linear Gaussian layer C, a matrix of size P M, on a ring.

    ``sigma_w2^2 [2 + (1/M) (1/P) sum_k |lambda_2k|^2]``: the limit of dense networks, and a smaller 1/M term, since
    most Fourier blocks of C are complex.
    """
    spectrum = tap_modes(taps, positions)
    double = spectrum[(2 * np.arange(positions)) % positions]
    return float(sigma_w2**2 * (2.0 + (np.abs(double) ** 2).mean() / width))
