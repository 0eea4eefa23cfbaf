"""The input-output Jacobian J = D_L W_L ... D_1 W_1 of the hidden layers, as one matrix per network, and its spectrum.

How the singular values are found depends on what they need, network by network:

* from the float64 Gram matrix J J^T (route 0), where the smallest is above 1e-6 of the largest, and always for float32
  products, in which anything smaller is rounding;
* by an SVD of J (route 1), where it is above 1e-12;
* else from the factors, by QR accumulation (route 2, :mod:`mcnet.kernels.graded`); the network is drawn again for it.

Zeros are not counted by their size: rounding makes 1e-8 of them. Almost surely rank J = min(M_0, min_l n_l), n_l the
number of units with phi' != 0, and the values beyond it are exactly zero. A slope is zero on the flat pieces of phi
between its kinks; that of a smooth phi is zero nowhere (saturated units are small numbers that rounding takes).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet.backend import Backend
from mcnet.kernels import graded, linalg
from mcnet.networks import dense, inputs
from mcnet.point import Point
from mcnet.weights.explicit import ExplicitMatrix
from mcnet.weights.laws import AbstractMatrix, Array, Ensemble

GRAM, SVD, ACCUMULATED = 0, 1, 2
GRAM_RATIO, SVD_RATIO = 1e-6, 1e-12
"""Smallest ratios of singular values that a Gram matrix and an SVD give to three digits."""


RESCALED_EVERY = 4
"""Layers between two divisions by a power of two: a look at every entry costs a twentieth of a product."""


class Product(NamedTuple):
    """The Jacobian up to some layer.

    Attributes
    ----------
    j : Array, shape (N, M, M_0)
        Divided by 2^exponent.
    exponent : Array, shape (N,), float64
    rank : Array, shape (N,), int64
        Fewest units with phi' != 0 of a layer so far, at most M_0.
    layers : int
    """

    j: Array
    exponent: Array
    rank: Array
    layers: int


class Spectrum(NamedTuple):
    """Singular values of J.

    Attributes
    ----------
    values : ndarray, shape (N, min(M, M_0))
        The largest first, divided by 2^exponent; exactly zero beyond the rank.
    exponent : ndarray, shape (N,)
    rank : ndarray of int64, shape (N,)
    route : ndarray of int64, shape (N,)
        0 Gram matrix, 1 SVD, 2 QR accumulation.
    """

    values: NDArray[np.float64]
    exponent: NDArray[np.float64]
    rank: NDArray[np.int64]
    route: NDArray[np.int64]


def slopes(point: Point, u: Array, backend: Backend) -> Array:
    """phi' of input 0, from its pre-activations in the difference basis: (N, T, M) -> (N, M, 1)."""
    first = u[:, 0, :]
    return point.activation.dphi(first, backend.mathematics(first))[:, :, None]


def _live(point: Point, u: Array, backend: Backend) -> Array:
    """Number of units with phi' != 0 at input 0, (N,)."""
    xp = backend.xp
    if not point.activation.kinks:
        return backend.place(np.full(u.shape[0], u.shape[2]))
    return xp.count_nonzero(slopes(point, xp.astype(u[:, :1, :], xp.float64), backend), axis=(1, 2))


def through_layer(point: Point, below: Product | None, matrix: AbstractMatrix, u: Array, backend: Backend) -> Product:
    """D_l W_l times the product below (the identity at the input), at input 0.

    Parameters
    ----------
    point : Point
    below : Product or None
    matrix : AbstractMatrix
        W_l, a built one: all its entries are needed.
    u : Array, shape (N, T, M)
        Pre-activations u^l in the difference basis.
    backend : Backend
    """
    assert isinstance(matrix, ExplicitMatrix)
    xp: Any = backend.xp
    slope = slopes(point, u, backend)
    live = _live(point, u, backend)  # (N,)
    if below is None:
        entries, scale = matrix.unscaled()
        known = backend.place(np.full(1, point.inputs.dimension))
        rank = xp.where(live < known, live, known)
        return Product(entries * (slope * scale), backend.place(np.zeros(u.shape[0])), rank, 1)
    j, scale = matrix.product(below.j)
    factor, exponent, layers = slope * scale, below.exponent, below.layers + 1
    if layers % RESCALED_EVERY == 0:  # one power of two per network keeps float32 in range
        shift = _magnitude(xp, j)  # (N,)
        factor = factor * xp.astype(xp.pow(xp.full_like(shift, 2.0), -shift), j.dtype)[:, None, None]
        exponent = exponent + shift
    j *= factor
    return Product(j, exponent, xp.where(live < below.rank, live, below.rank), layers)


def _magnitude(xp: Any, j: Array) -> Array:
    """Exponent of two of the largest entry of each matrix, 0 where there is none: (N, M, n) -> (N,), float64."""
    high, low = xp.max(j, axis=(1, 2)), xp.min(j, axis=(1, 2))
    size = xp.astype(xp.where(high > -low, high, -low), xp.float64)
    usable = (size > 0.0) & xp.isfinite(size)
    return xp.where(usable, xp.floor(xp.log2(xp.where(usable, size, xp.ones_like(size)))), xp.zeros_like(size))


def spectrum(point: Point, seed: int, product: Product, ensemble: Ensemble) -> Spectrum:
    """Singular values of J, each network by the route that its conditioning needs.

    Raises
    ------
    OverflowError
        If those of a network span more orders of magnitude than a double.
    """
    backend = ensemble.backend
    xp = backend.xp
    values = backend.fetch(linalg.singular_values(xp, product.j)).copy()
    exponent = backend.fetch(product.exponent).copy()
    rank = backend.fetch(product.rank).astype(np.int64)
    route = np.full(len(values), GRAM)
    if ensemble.precision == "float64":
        for n in np.flatnonzero(_ratio(values, rank) < GRAM_RATIO):
            values[n], route[n] = backend.fetch(xp.linalg.svdvals(product.j[int(n), ...])), SVD
        for n in np.flatnonzero((_ratio(values, rank) < SVD_RATIO) & (route == SVD)):
            found = _accumulated(point, seed, int(n), ensemble)
            exact = graded.singular_values(found)
            values[n], exponent[n], route[n] = 0.0, found.exponent, ACCUMULATED
            values[n, : exact.size] = exact
    values[np.arange(values.shape[1]) >= rank[:, None]] = 0.0
    return Spectrum(values, exponent, rank, route)


def _ratio(values: NDArray[np.float64], rank: NDArray[np.int64]) -> NDArray[np.float64]:
    """Smallest over largest of the singular values that are not zero; 1 where all are, or are not finite."""
    smallest = np.take_along_axis(values, np.maximum(rank - 1, 0)[:, None], axis=1)[:, 0]
    usable = (rank > 0) & np.isfinite(values[:, 0]) & (values[:, 0] > 0.0)
    return np.where(usable, smallest / np.where(usable, values[:, 0], 1.0), 1.0)


def _accumulated(point: Point, seed: int, which: int, ensemble: Ensemble) -> graded.Graded:
    """The Jacobian of one network of an ensemble, drawn again and kept in factors."""
    start = ensemble.start + which
    one = replace(ensemble, start=start, stop=start + 1)
    backend = one.backend
    h = backend.xp.astype(inputs.rows(point, seed, start, start + 1, backend, one.basis), one.dtype)
    product: graded.Graded | None = None
    for layer, matrix in enumerate(dense.matrices(point, "explicit", one, keep=True)):
        if layer == point.depth:
            break
        assert isinstance(matrix, ExplicitMatrix)
        u, h, *_ = dense.activity(point, matrix, h, backend, one.basis)
        image, scale = matrix.unscaled() if product is None else matrix.product(backend.place(product.q[None]))
        product = graded.split(backend.fetch(slopes(point, u, backend) * scale * image)[0], product)
    assert product is not None
    return product
