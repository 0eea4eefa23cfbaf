"""Gaussian matrices that are asked, in float32: the state is the questions themselves and small factors in float64.

The law, the streams and their rows are those of :class:`mcnet.weights.conditioned.ConditionedGaussian`, which keeps an
orthonormal basis of its questions in float64. Here the basis is implied: with questions Q as rows, Q Q^T = C C^T by
Cholesky and A = C^-1 Q, so that a question costs a few passes over its entries. What lies in the span of the questions
before to 3e-6 of its length counts as inside; answers carry the rounding of float32. Where there are as many questions
as dimensions, and the basis is all but singular, vectors are float64 inside.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mcnet import streams
from mcnet.backend import Backend
from mcnet.kernels.vectors import cholesky, combined, overlaps
from mcnet.weights.bartlett import forward_normals
from mcnet.weights.conditioned import conditioned_matrix
from mcnet.weights.laws import AbstractMatrix, Array, Ensemble, Layer

RANK_TOLERANCE = 1e-11
"""A pivot below this share of a question's squared length is zero: what is left of a float32 vector inside a span."""


def asked_matrix(layer: Layer, ensemble: Ensemble, forward: int = 0, backward: int = 0) -> AbstractMatrix:
    """The layer as a matrix that is asked; laws :data:`mcnet.weights.laws.CONDITIONED_LAWS`.

    Parameters
    ----------
    layer : Layer
    ensemble : Ensemble
    forward, backward : int
        How many questions to expect from either side: memory is taken once, and grows where there are more.
    """
    if layer.law == "gaussian" and ensemble.precision == "mixed":
        return AskedGaussian(layer, ensemble, forward, backward)
    return conditioned_matrix(layer, ensemble)


class Square:
    """Products of the rows of one block of questions; the factors of several matrices that begin with it are one.

    Parameters
    ----------
    backend : Backend
    products : Array, shape (N or 1, r, r), float64
    """

    def __init__(self, backend: Backend, products: Array) -> None:
        self._xp, self.products = backend.xp, products
        self._corners: dict[tuple[float, float], Corner] = {}

    def corner(self, scale: float, bias: float, constants: Array) -> Corner:
        """Of scale x.x + bias c c^T."""
        known = self._corners.get((scale, bias))
        if known is None:
            square = scale * self.products + bias * (constants[:, None] * constants[None, :])
            known = self._corners[scale, bias] = Corner(self._xp, square, self._xp.linalg.diagonal(square))
        return known


class Corner:
    """Lower Cholesky factor of products, rows inside the span before without pivot, and its inverse where it is needed.

    Parameters
    ----------
    xp : namespace
    square : Array, shape (N, r, r)
        Products of what is left of the rows.
    size : Array, shape (N, r)
        Their squared lengths before anything was taken away.
    tolerance : float
        See :data:`RANK_TOLERANCE`.
    """

    def __init__(self, xp: Any, square: Array, size: Array, tolerance: float = RANK_TOLERANCE) -> None:
        self._xp = xp
        self.c, self._scales = cholesky(xp, square, size, tolerance)
        self._inverse: Array = None

    @property
    def inverse(self) -> Array:
        """C^-1 on the rows with a pivot, zero elsewhere: (N, r, r)."""
        if self._inverse is None:
            self._inverse = _inverted(self._xp, self.c, self._scales)
        return self._inverse


class Factor:
    """Q Q^T = C C^T of questions that come one block after the other; rows inside the span before have no pivot."""

    def __init__(self, backend: Backend) -> None:
        self._xp = backend.xp
        self._first: Corner | None = None
        self._inverse: Array = None

    @property
    def inverse(self) -> Array:
        """C^-1 on the rows with a pivot (zero elsewhere), (N or 1, k, k), float64."""
        if self._inverse is None:
            assert self._first is not None
            self._inverse = self._first.inverse
        return self._inverse

    def begin(self, corner: Corner) -> None:
        """The first questions."""
        self._first = corner

    def grow(self, before: Array, square: Array) -> tuple[Array, Corner]:
        """Add r questions.

        Parameters
        ----------
        before : Array, shape (N or 1, r, k)
            Their products with the questions before.
        square : Array, shape (N or 1, r, r)
            Their products with each other.

        Returns
        -------
        tuple of Array and Corner
            The new rows of C: (N, r, k) and the square beside them.
        """
        xp = self._xp
        if not before.shape[2]:
            self.begin(Corner(xp, square, xp.linalg.diagonal(square)))
            assert self._first is not None
            return before, self._first
        below = xp.matmul(before, xp.matrix_transpose(self.inverse))
        rest = square - xp.matmul(below, xp.matrix_transpose(below))
        corner = Corner(xp, rest, xp.linalg.diagonal(square))
        down = -xp.matmul(corner.inverse, xp.matmul(below, self.inverse))
        self._inverse = _joined(xp, self.inverse, down, corner.inverse)
        return below, corner


def factored(xp: Any, square: Array, size: Array, tolerance: float = RANK_TOLERANCE) -> tuple[Array, Array]:
    """Lower Cholesky factor of (N, r, r), and its inverse on the rows with a pivot; ``size`` (N, r): of full rows."""
    corner = Corner(xp, square, size, tolerance)
    return corner.c, corner.inverse


def _inverted(xp: Any, c: Array, scales: Array) -> Array:
    """Row t of the inverse: (e_t - sum_s c_ts row_s) / c_tt."""
    inverse = xp.zeros_like(c)
    for t in range(c.shape[1]):
        inverse[:, t, t] = scales[:, t]
        if t:
            before = xp.matmul(c[:, t : t + 1, :t], inverse[:, :t, :t])
            inverse[:, t, :t] = -scales[:, t][:, None] * before[:, 0, :]
    return inverse


def _joined(xp: Any, corner: Array, below: Array, square: Array) -> Array:
    """[[corner, 0], [below, square]]."""
    if not corner.shape[1]:
        return square
    lead = max(corner.shape[0], below.shape[0], square.shape[0])
    corner, below, square = (xp.broadcast_to(part, (lead, *part.shape[1:])) for part in (corner, below, square))
    zero = xp.zeros_like(xp.matrix_transpose(below))
    return xp.concat([xp.concat([corner, zero], axis=2), xp.concat([below, square], axis=2)], axis=1)


class Rows:
    """Vectors that are added block by block, each block a set of rows.

    The first block is kept as it is; where more come they are copied to one array.

    Parameters
    ----------
    ensemble : Ensemble
    expected : int
        Rows in all, as far as known.
    """

    def __init__(self, ensemble: Ensemble, expected: int) -> None:
        self._xp, self._networks, self._expected = ensemble.backend.xp, ensemble.count, expected
        self._block: Array | None = None
        self._own = False
        self.count = 0

    def add(self, rows: Array) -> None:
        """Add rows (N or 1, r, n)."""
        count = self.count + rows.shape[1]
        if self._block is None and count >= self._expected:
            self._block = rows
        else:
            self._reserve(count, rows)
            assert self._block is not None
            self._block[:, self.count : count, :] = rows
        self.count = count

    def _reserve(self, count: int, like: Array) -> None:
        if self._block is not None and self._own and self._block.shape[1] >= count:
            return
        size = max(count, self._expected, 2 * self.count)
        if self._xp is np:
            grown = np.empty((self._networks, size, like.shape[2]), like.dtype)
        else:
            grown = self._xp.tile(like[:1, :1, :], (self._networks, size, 1))  # in C order, as a broadcast one is not
        if self._block is not None:
            grown[:, : self.count, :] = self._block[:, : self.count, :]
        self._block, self._own = grown, True

    @property
    def rows(self) -> Array:
        """All of them, (N or 1, count, n)."""
        assert self._block is not None
        return self._block[:, : self.count, :]

    def added(self, to: Array, coefficients: Array) -> Array:
        """``to`` + coefficients @ rows, in place where that is possible."""
        return combined(self._xp, coefficients, self.rows, to)


class AskedGaussian:
    """[W, b] with independent Gaussian entries, asked from both sides.

    Parameters
    ----------
    layer : Layer
    ensemble : Ensemble
    forward, backward : int
        See :func:`asked_matrix`.

    Notes
    -----
    As in :class:`mcnet.weights.conditioned.ConditionedGaussian`, V = [W, b] D^-1 has standard normal entries and a new
    unit question q orthogonal to A is answered by g - D (D^T g) + D (Y^T q). Here A = C^-1 Q and D = E^-1 B, so

        D (Y^T q - D^T g) = [(Y^T q - D^T g) E^-1] B,     A Y^T = C^-1 (Q Y^T - C_21 A Y^T),

    and the only passes over vectors are products with Q, B, U, Y and sums of their rows.
    """

    def __init__(self, layer: Layer, ensemble: Ensemble, forward: int, backward: int) -> None:
        self._layer, self._ensemble = layer, ensemble
        self._xp = ensemble.backend.xp
        few = max(forward, backward) < min(layer.inputs, layer.rows)
        self._dtype = ensemble.dtype if few else self._xp.float64
        self._questions = Rows(ensemble, forward)  # x as asked, without scale
        self._constants = ensemble.backend.place(np.empty(0))
        self._answers = Rows(ensemble, forward)  # U: of the orthonormal questions
        self._factor = Factor(ensemble.backend)
        self._back_questions = Rows(ensemble, backward)
        self._back_answers = Rows(ensemble, backward)  # Y without its bias coordinate
        self._back_bias = ensemble.backend.place(np.empty((1, 0)))
        self._back_factor = Factor(ensemble.backend)
        self._settled = ensemble.backend.place(np.empty((1, 0, 0)))  # A Y^T = U D^T

    def apply(self, x: Array, constants: Array, square: Square | None = None) -> Array:
        """W x + constant b; see :class:`mcnet.weights.laws.AbstractMatrix`.

        ``square``: the products of the rows of x with each other, where they are known.
        """
        xp, layer, own = self._xp, self._layer, self._questions
        x = xp.astype(x, self._dtype, copy=False)
        known = own.count
        scale, bias = layer.sigma_w2 / layer.inputs, layer.sigma_b2
        square = square or Square(self._ensemble.backend, overlaps(xp, x, x))
        if known:
            before = scale * overlaps(xp, x, own.rows) + bias * (constants[:, None] * self._constants[None, :])
            products = scale * square.products + bias * (constants[:, None] * constants[None, :])
            below, corner = self._factor.grow(before, products)
        else:
            corner = square.corner(scale, bias, constants)
            self._factor.begin(corner)
            below = corner.c[:, :, :0]
        fresh = forward_normals(layer, self._ensemble, known, x.shape[1], self._dtype)
        other = self._back_questions
        if other.count:
            asked = math.sqrt(scale) * overlaps(xp, x, self._back_answers.rows)
            asked = asked + math.sqrt(bias) * (constants[:, None] * self._back_bias[:, None, :])
            if known:
                asked = asked - xp.matmul(below, self._settled)
            told = xp.matmul(corner.inverse, asked)  # (N, r, j)
            surplus = xp.matmul(overlaps(xp, fresh, other.rows), xp.matrix_transpose(self._back_factor.inverse))
            fresh = other.added(fresh, xp.matmul(told - surplus, self._back_factor.inverse))
            self._settle(told, 1)
        fresh = self._used(corner.c, fresh)
        answer = combined(xp, corner.c, fresh, lower=True)
        if known:
            answer = self._answers.added(answer, below)
        own.add(x)
        self._constants = xp.concat([self._constants, constants])
        self._answers.add(fresh)
        return xp.astype(answer, self._ensemble.dtype, copy=False)

    def apply_transpose(self, d: Array) -> Array:
        """W^T d; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp, layer, own = self._xp, self._layer, self._back_questions
        d = xp.astype(d, self._dtype, copy=False)
        known = own.count
        square = overlaps(xp, d, d)
        before = overlaps(xp, d, own.rows) if known else xp.zeros_like(square[:, :, :0])
        below, corner = self._back_factor.grow(before, square)
        fresh = self._ensemble.normals(
            streams.BACKWARD, layer.index, d.shape[1], layer.inputs, dtype=self._dtype, first=(known, 0)
        )
        extended = layer.sigma_b2 > 0.0
        bias = xp.zeros_like(square[:, :, 0])
        if extended:
            where = (known, streams.BIAS_COLUMN)
            bias = self._ensemble.normals(streams.BACKWARD, layer.index, d.shape[1], 1, dtype=xp.float64, first=where)[
                :, :, 0
            ]
        other, deviation, shift = self._questions, layer.entry_deviation, math.sqrt(layer.sigma_b2)
        if other.count:
            asked = overlaps(xp, d, self._answers.rows)
            if known:
                asked = asked - xp.matmul(below, xp.matrix_transpose(self._settled))
            told = xp.matmul(corner.inverse, asked)  # (N, r, k)
            surplus = deviation * overlaps(xp, fresh, other.rows) + shift * (bias[:, :, None] * self._constants)
            surplus = xp.matmul(surplus, xp.matrix_transpose(self._factor.inverse))
            coefficients = xp.matmul(told - surplus, self._factor.inverse)
            fresh = other.added(fresh, deviation * coefficients)
            bias = bias + shift * xp.vecdot(coefficients, self._constants)
            self._settle(xp.matrix_transpose(told), 2)
        fresh = self._used(corner.c, fresh)
        answer = combined(xp, corner.c * deviation, fresh, lower=True)
        if known:
            answer = self._back_answers.added(answer, below * deviation)
        own.add(d)
        self._back_answers.add(fresh)
        there = xp.linalg.diagonal(corner.c) > 0.0
        self._back_bias = _beside(xp, self._back_bias, xp.where(there, bias, xp.zeros_like(bias)), 1)
        return xp.astype(answer, self._ensemble.dtype, copy=False)

    def _used(self, corner: Array, fresh: Array) -> Array:
        """Zero where a question lay in the span of those before."""
        xp = self._xp
        there = xp.linalg.diagonal(corner) > 0.0  # (N, r)
        if bool(xp.all(there)):
            return fresh
        return xp.where(there[:, :, None], fresh, xp.zeros_like(fresh))

    def _settle(self, told: Array, axis: int) -> None:
        """A Y^T (N, k, j) with the products of new forward (axis 1) or backward (axis 2) questions."""
        empty = not self._settled.shape[1] * self._settled.shape[2]
        self._settled = told if empty else _beside(self._xp, self._settled, told, axis)


def _beside(xp: Any, a: Array, b: Array, axis: int) -> Array:
    """Joined along an axis, networks broadcast."""
    lead = max(a.shape[0], b.shape[0])
    return xp.concat([xp.broadcast_to(part, (lead, *part.shape[1:])) for part in (a, b)], axis=axis)
