"""The input-output Jacobian J = D_L W_L ... D_1 W_1 of the hidden layers, as one matrix per network, and its spectrum.

How the singular values are found depends on what they need, network by network:

* from the float64 Gram matrix J J^T (route 0), where the smallest is above 1e-6 of the largest, and always for float32
  products, in which anything smaller is rounding;
* by an SVD of J (route 1), where it is above 1e-12;
* else from the factors, by QR accumulation (route 2, :mod:`mcnet.kernels.graded`); the network is drawn again for it,
  as soon as a look at the product shows that its digits are lost.

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


LOOKED_AT_EVERY = 4
LOST = 1e-14
"""Layers between two looks at the condition of a float64 product, and the reciprocal below which it is rounding."""

TOGETHER = 4
KEPT_TOGETHER = 1e-12
"""Layers that QR accumulation multiplies at a time, and the reciprocal condition from which that costs three digits."""

RESCALED_EVERY = 4
"""Layers between two divisions by a power of two: a look at every entry costs a twentieth of a product."""


class Product(NamedTuple):
    """The Jacobian up to some layer; from a first square orthogonal W_1 on, J W_1^T, of the same singular values.

    Attributes
    ----------
    j : Array, shape (N or 1, M, M_0)
        Divided by 2^exponent, without the slopes of the last layer.
    factor : Array, shape (N, M, 1)
        What its rows wait for: a pass over a matrix costs a good part of a product, and the next one makes one.
    exponent : Array, shape (N,), float64
    rank : Array, shape (N,), int64
        Fewest units with phi' != 0 of a layer so far, at most M_0.
    layers : int
    lost : ndarray of bool, shape (N,)
        Networks of which j is rounding: not even its condition can be told from it.
    """

    j: Array
    factor: Array
    exponent: Array
    rank: Array
    layers: int
    lost: NDArray[np.bool_]

    @property
    def matrix(self) -> Array:
        """J / 2^exponent, (N, M, M_0)."""
        return self.j * self.factor


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
        known = backend.place(np.full(1, point.inputs.dimension))
        rank = xp.where(live < known, live, known)
        if matrix.turns:
            entries, scale = xp.astype(backend.place(np.eye(point.width)[None]), u.dtype), matrix.scale
        else:
            entries, scale = matrix.unscaled()
        none = np.zeros(u.shape[0], bool)
        return Product(entries, slope * scale, backend.place(np.zeros(u.shape[0])), rank, 1, none)
    if below.lost.all():
        return below._replace(rank=xp.where(live < below.rank, live, below.rank), layers=below.layers + 1)
    j, scale = matrix.product(below.j, below.factor)
    factor, exponent, layers = slope * scale, below.exponent, below.layers + 1
    if layers % RESCALED_EVERY == 0:  # one power of two per network keeps float32 in range
        shift = _magnitude(xp, j)  # (N,)
        factor = factor * xp.astype(xp.pow(xp.full_like(shift, 2.0), -shift), j.dtype)[:, None, None]
        exponent = exponent + shift
    rank, lost = xp.where(live < below.rank, live, below.rank), below.lost
    if layers % LOOKED_AT_EVERY == 0 and xp is np and j.dtype == np.float64:
        lost = lost | _lost(j, rank)
    return Product(j, factor, exponent, rank, layers, lost)


def _lost(j: NDArray[np.float64], rank: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which square matrices of full rank are rounding beside their largest singular value: (N, M, M) -> (N,)."""
    full = (rank == j.shape[1]) & (j.shape[1] == j.shape[2])
    return np.array([bool(full[n]) and graded.reciprocal_condition(j[n]) < LOST for n in range(len(j))])


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
    exponent = backend.fetch(product.exponent).copy()
    rank = backend.fetch(product.rank).astype(np.int64)
    route = np.where(product.lost, ACCUMULATED, GRAM)
    values = np.zeros((rank.size, min(point.width, point.inputs.dimension)))
    if not product.lost.all():
        j = product.matrix
        values = backend.fetch(linalg.singular_values(xp, j)).copy()
        if ensemble.precision == "float64":
            for n in np.flatnonzero((_ratio(values, rank) < GRAM_RATIO) & ~product.lost):
                values[n], route[n] = backend.fetch(xp.linalg.svdvals(j[int(n), ...])), SVD
            route[(_ratio(values, rank) < SVD_RATIO) & (route == SVD)] = ACCUMULATED
    for n in np.flatnonzero(route == ACCUMULATED):
        found = _accumulated(point, seed, int(n), ensemble)
        exact = graded.singular_values(found)
        values[n], exponent[n] = 0.0, found.exponent
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
    waiting: list[_Factor] = []
    for layer, matrix in enumerate(dense.matrices(point, "explicit", one, keep=True), start=1):
        if layer > point.depth:
            break
        assert isinstance(matrix, ExplicitMatrix)
        u, h, *_ = dense.activity(point, matrix, h, backend, one.basis)
        waiting.append(_Factor(backend.fetch(slopes(point, u, backend))[0], matrix))
        if len(waiting) == TOGETHER or layer == point.depth:
            product, waiting = _split(waiting, product, backend), []
    assert product is not None
    return product


class _Factor(NamedTuple):
    """D_l, (M, 1), and W_l of one network."""

    slope: NDArray[np.float64]
    matrix: ExplicitMatrix

    def image(self, of: NDArray[np.float64] | None, backend: Backend) -> NDArray[np.float64]:
        """D_l W_l times a matrix, or D_l W_l itself."""
        image, scale = self.matrix.unscaled() if of is None else self.matrix.product(backend.place(of[None]))
        return np.asarray(self.slope * scale * backend.fetch(image)[0])


def _split(factors: list[_Factor], below: graded.Graded | None, backend: Backend) -> graded.Graded:
    """The product with some factors more: together if that loses no digits, else each half for itself."""
    image = None if below is None else below.q
    for factor in factors:
        image = factor.image(image, backend)
    assert image is not None
    if len(factors) == 1 or _keeps_digits(factors, image):
        return graded.split(image, below)
    half = len(factors) // 2
    return _split(factors[half:], _split(factors[:half], below, backend), backend)


def _keeps_digits(factors: list[_Factor], image: NDArray[np.float64]) -> bool:
    """Whether the image of an orthonormal basis has its small singular values, none of them zero, to three digits."""
    full = image.shape[0] == image.shape[1] and all(np.all(factor.slope != 0.0) for factor in factors)
    return full and graded.reciprocal_condition(image) > KEPT_TOGETHER
