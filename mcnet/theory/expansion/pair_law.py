"""One or two pre-activations as functions of independent standard normals, in a basis that survives c -> 1.

Everything of two inputs is carried in the basis (half sum, difference), h_s = (h_1 + h_2)/2 and h_d = h_1 - h_2: its
Gram has entries of their natural size when two inputs almost agree, so 1 - c keeps its relative accuracy down to the
rounding of phi itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pairs(inputs: int) -> list[tuple[int, int]]:
    """Pairs (a, b), a <= b, in the order used everywhere: (0, 0), (0, 1), (1, 1) for two inputs."""
    return [(a, b) for a in range(inputs) for b in range(a, inputs)]


def basis(inputs: int) -> Array:
    """Rows are the basis vectors: 1 for one input; (half sum, difference) for two."""
    return np.array([[1.0]]) if inputs == 1 else np.array([[0.5, 0.5], [1.0, -1.0]])


def pair_map(transform: Array) -> Array:
    """Matrix on pair vectors of the map G -> transform G transform^T of symmetric matrices."""
    index = pairs(len(transform))
    out = np.empty((len(index), len(index)))  # (P, P)
    for i, (a, b) in enumerate(index):
        for j, (c, d) in enumerate(index):
            out[i, j] = transform[a, c] * transform[b, d]
            if c != d:
                out[i, j] += transform[a, d] * transform[b, c]
    return out


def from_basis(inputs: int) -> Array:
    """Matrix on pair vectors that leads from the basis back to the inputs: entries (11, 12, 22)."""
    return pair_map(np.array([[1.0]]) if inputs == 1 else np.array([[1.0, 0.5], [1.0, -0.5]]))


def to_pairs(matrix: Array) -> Array:
    """Symmetric (T, T) -> pair vector (P,)."""
    return np.array([matrix[a, b] for a, b in pairs(len(matrix))])


def to_matrix(vector: Array) -> Array:
    """Pair vectors (..., P) -> symmetric matrices (..., T, T)."""
    inputs = 1 if vector.shape[-1] == 1 else 2
    out = np.empty((*vector.shape[:-1], inputs, inputs))
    for i, (a, b) in enumerate(pairs(inputs)):
        out[..., a, b] = out[..., b, a] = vector[..., i]
    return out


def wick(gram: Array) -> Array:
    """Wis_(ab),(cd) = G_ac G_bd + G_ad G_bc: M times the covariance of a Wishart Gram of M normals, shape (P, P)."""
    index = pairs(len(gram))
    return np.array([[gram[a, c] * gram[b, d] + gram[a, d] * gram[b, c] for c, d in index] for a, b in index])


@dataclass(frozen=True)
class PairLaw:
    """A centred Gaussian vector of one or two inputs, of any rank.

    Attributes
    ----------
    lengths : ndarray, shape (T,)
        Standard deviations of the inputs.
    factor : ndarray, shape (T, r)
        u = factor z with z standard normal.
    factor_basis : ndarray, shape (T, r)
        The same in the basis (half sum, difference).
    dual : ndarray, shape (T, r)
        Left inverse, dual^T factor_basis = 1: v = dual z stands for S^-1 u. Where S is singular the null space is one
        of the whole ensemble (it belongs to the inputs), so no perturbation of S leaves the range and any left inverse
        is right.
    distance : float
        1 - c for two inputs of positive length, else NaN.
    """

    lengths: Array
    factor: Array
    factor_basis: Array
    dual: Array
    distance: float

    @property
    def inverse(self) -> Array:
        """Generalised inverse of the Gram in the basis, shape (T, T)."""
        return self.dual @ self.dual.T


def pair_law(gram: Array) -> PairLaw:
    """Factor a Gram given in the basis (half sum, difference); shape (1, 1) or (2, 2)."""
    if len(gram) == 1:
        length = math.sqrt(max(gram[0, 0], 0.0))
        if length == 0.0:
            return PairLaw(np.zeros(1), np.zeros((1, 0)), np.zeros((1, 0)), np.zeros((1, 0)), math.nan)
        factor = np.array([[length]])
        return PairLaw(np.array([length]), factor, factor, 1.0 / factor, math.nan)
    s, mixed, d = gram[0, 0], gram[0, 1], gram[1, 1]
    squares = np.array([s + mixed + 0.25 * d, s - mixed + 0.25 * d])
    # a length below the rounding of the other one is a zero input
    lengths = np.sqrt(np.where(squares > 1e-15 * squares.max(), squares, 0.0))
    one, two = lengths
    if one == 0.0 or two == 0.0:
        rank = int(lengths.max() > 0.0)
        factor = lengths[:, None][:, :rank]
        factor_basis = basis(2) @ factor
        dual = np.linalg.pinv(factor_basis).T if rank else np.zeros((2, 0))
        return PairLaw(lengths, factor, factor_basis, dual, math.nan)
    difference = 2.0 * mixed / (one + two)  # of the two lengths, without cancellation
    apart = (d - difference**2) / (2.0 * one * two)  # 1 - c
    together = (4.0 * s - difference**2) / (2.0 * one * two)  # 1 + c
    rounding = 64 * np.finfo(float).eps
    if apart <= rounding * (d + difference**2) / (one * two):
        factor = lengths[:, None]
        factor_basis = np.array([[0.5 * (one + two)], [difference]])
        return PairLaw(lengths, factor, factor_basis, factor_basis / np.sum(factor_basis**2), 0.0)
    if together <= rounding * (4.0 * s + difference**2) / (one * two):
        factor = np.array([[one], [-two]])
        factor_basis = np.array([[0.5 * difference], [one + two]])
        return PairLaw(lengths, factor, factor_basis, factor_basis / np.sum(factor_basis**2), 2.0)
    # the normalised inputs have an uncorrelated sum and difference
    alpha, beta = math.sqrt(0.5 * together), math.sqrt(0.5 * apart)
    factor = np.array([[alpha * one, beta * one], [alpha * two, -beta * two]])
    factor_basis = np.array(
        [[0.5 * alpha * (one + two), 0.5 * beta * difference], [alpha * difference, beta * (one + two)]]
    )
    (a, b), (e, f) = factor_basis
    dual = np.array([[f, -e], [-b, a]]) / (2.0 * alpha * beta * one * two)
    return PairLaw(lengths, factor, factor_basis, dual, apart)
