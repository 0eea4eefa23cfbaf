"""Gaussian moments of one layer that the expansion in 1/M needs, for one or two inputs.

Products of two activations are taken in the basis (half sum, difference) of
:mod:`mcnet.theory.expansion.pair_law`, products of two slopes as they stand: entries (11, 12, 22).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcnet.activations.table import Activation
from mcnet.theory.expansion import nodes
from mcnet.theory.expansion.pair_law import Array, PairLaw, basis, pairs

_CHUNK = 1 << 14


@dataclass(frozen=True)
class LayerMoments:
    """Moments under u ~ N(0, S); P = T (T + 1)/2 pairs, features F = (h_a h_b in the basis, p_a p_b), p = phi'(u).

    Attributes
    ----------
    mean : ndarray, shape (2 P,)
        <F>.
    second : ndarray, shape (2 P, 2 P)
        <F F^T>, not centred.
    jacobian : ndarray, shape (2 P, P)
        d<F>/dS by the entries of S in the basis.
    hessian : ndarray, shape (2 P, P, P)
        Second derivatives.
    cross : ndarray, shape (T, T, T)
        <u_s p_t h_r> as [t, s, r]; s and r in the basis.
    overlap : ndarray, shape (T, T, T, T)
        <u_s p_t u_s' p_t'> as [t, t', s, s']; s and s' in the basis.

    Notes
    -----
    Derivatives are Hermite moments, so phi may have kinks: with u = A z and D^T A = 1,

        d<F>          = (1/2) (D^T dS D)_ij <F He_ij(z)>
        d^2<F>        = (1/4) (D^T dS D)_ij (D^T dS D)_kl <F He_ijkl(z)>

    Relative accuracy 1e-11 for entries of natural size; derivatives lose a further factor of the cancellation in
    phi(u_1) - phi(u_2), that is about eps / sqrt(1 - c).
    """

    mean: Array
    second: Array
    jacobian: Array
    hessian: Array
    cross: Array
    overlap: Array

    @property
    def covariance(self) -> Array:
        """N = <F F^T> - <F> <F>^T, shape (2 P, 2 P)."""
        return self.second - np.outer(self.mean, self.mean)


def layer_moments(activation: Activation, law: PairLaw) -> LayerMoments:
    """All moments of a layer whose pre-activations have the given law."""
    inputs, rank = law.factor.shape
    z, weight = _nodes_of(activation, law)
    count = len(pairs(inputs))
    hermite_rows = {0: 0, 1: 2, 2: 8}[rank]
    mean = np.zeros(2 * count)
    second = np.zeros((2 * count, 2 * count))
    hermite = np.zeros((2 * count, hermite_rows))
    cross = np.zeros((inputs * inputs, inputs))
    overlap = np.zeros((inputs * inputs, inputs * inputs))
    transform = basis(inputs)
    for start in range(0, weight.size, _CHUNK):  # the chunk stays in the cache
        part = slice(start, start + _CHUNK)
        x, w = z[:, part], weight[part]
        u = law.factor @ x  # (T, n)
        h = transform @ activation.phi(u)  # (T, n)
        p = activation.dphi(u)  # (T, n)
        features = np.stack([h[a] * h[b] for a, b in pairs(inputs)] + [p[a] * p[b] for a, b in pairs(inputs)])
        force = ((law.factor_basis @ x)[:, None] * p[None, :]).reshape(inputs * inputs, -1)  # (s t, n)
        weighted = features * w
        mean += weighted.sum(axis=1)
        second += weighted @ features.T
        hermite += weighted @ _hermite(x).T
        cross += (force * w) @ h.T
        overlap += (force * w) @ force.T
    jacobian, hessian = _derivatives(hermite, law.dual)
    shape = (inputs,) * 4
    return LayerMoments(
        mean,
        second,
        jacobian,
        hessian,
        cross.reshape(inputs, inputs, inputs).transpose(1, 0, 2),
        overlap.reshape(shape).transpose(1, 3, 0, 2),
    )


def _nodes_of(activation: Activation, law: PairLaw) -> tuple[Array, Array]:
    rank = law.factor.shape[1]
    if rank == 0:
        return np.zeros((0, 1)), np.ones(1)
    if rank == 2 and not activation.kinks:  # the half sum moves u farther than the difference, or less
        first, second = (nodes.resolution(activation, _rounded(law.factor[:, axis])) for axis in (0, 1))
        return nodes.grid(first, second, nodes.has_parity(activation))
    resolution = nodes.resolution(activation, _rounded(law.lengths))
    if rank == 1:
        return nodes.line(activation, resolution, law.factor[:, 0])
    return nodes.plane(activation, resolution, law.factor)


def _rounded(lengths: Array) -> float:
    """The largest, rounded up in steps of 1/4 octave: layers near a fixed point share one grid. At least 1/64."""
    largest = max(float(np.abs(lengths).max()), 1.0 / 64.0)
    return float(2.0 ** (np.ceil(4.0 * np.log2(largest)) / 4.0))


def _hermite(z: Array) -> Array:
    """Hermite polynomials of degree 2 and 4 of r normals, (rows, n); rows as :func:`_derivatives` reads them."""
    if len(z) == 0:
        return np.zeros((0, 1))
    square = z * z  # no powers: NumPy's pow is twenty times slower than a product
    two = square - 1.0
    four = square * (square - 6.0) + 3.0
    if len(z) == 1:
        return np.concatenate([two, four])
    x, y = z
    three = z * (square - 3.0)
    return np.stack([two[0], x * y, two[1], four[0], three[0] * y, two[0] * two[1], x * three[1], four[1]])


def _derivatives(hermite: Array, dual: Array) -> tuple[Array, Array]:
    """Jacobian (F, P) and Hessian (F, P, P) with respect to the entries of S, from Hermite moments (F, rows)."""
    features = len(hermite)
    inputs, rank = dual.shape
    index = pairs(inputs)
    if rank == 0:
        return np.zeros((features, len(index))), np.zeros((features, len(index), len(index)))
    # number of times that the second normal occurs among the indices
    second_order = np.add.outer(np.arange(rank), np.arange(rank))
    fourth_order = np.add.outer(second_order, second_order)
    offset = 1 if rank == 1 else 3
    two = hermite[:, second_order]  # (F, r, r)
    four = hermite[:, offset + fourth_order]  # (F, r, r, r, r)
    # each entry of S moves D^T dS D by this matrix
    moves = np.stack(
        [
            np.outer(dual[a], dual[b]) if a == b else np.outer(dual[a], dual[b]) + np.outer(dual[b], dual[a])
            for a, b in index
        ]
    )  # (P, r, r)
    flat = moves.reshape(len(index), rank * rank)
    jacobian = 0.5 * (two.reshape(features, rank * rank) @ flat.T)
    hessian = 0.25 * (flat @ four.reshape(features, rank * rank, rank * rank) @ flat.T)
    return jacobian, hessian
