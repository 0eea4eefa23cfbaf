"""Gaussian matrices that are asked, in float32: the state is the questions themselves and small factors in float64.

The law, the streams and their rows are those of :class:`mcnet.weights.conditioned.ConditionedGaussian`, which keeps an
orthonormal basis of its questions in float64. Here the basis is implied: with questions Q as rows, Q Q^T = C C^T by
Cholesky and A = C^-1 Q, so that a question costs a few passes over its entries. What lies in the span of the questions
before to 3e-6 of its length counts as inside; answers carry the rounding of float32. Where there are as many questions
as dimensions, and the basis is all but singular, vectors are float64 inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mcnet import streams
from mcnet.kernels import asking
from mcnet.kernels.vectors import combined, overlaps
from mcnet.weights.bartlett import forward_normals
from mcnet.weights.conditioned import conditioned_matrix
from mcnet.weights.factors import RANK_TOLERANCE, Corner, Factor, Square
from mcnet.weights.laws import AbstractMatrix, Array, Ensemble, Layer


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
        self._later: Callable[[], Array] | None = None
        self._own = False
        self.count = 0

    def add(self, rows: Array) -> None:
        """Add rows (N or 1, r, n)."""
        count = self.count + rows.shape[1]
        self._make()
        if self._block is None and count >= self._expected:
            self._block = rows
        else:
            self._reserve(count, rows)
            assert self._block is not None
            self._block[:, self.count : count, :] = rows
        self.count = count

    def add_later(self, count: int, make: Callable[[], Array]) -> None:
        """Add the first rows: they are made if ever they are read."""
        assert not self.count
        self._later, self.count = make, count

    def _make(self) -> None:
        if self._later is not None:
            self._block, self._later = self._later(), None

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
        self._make()
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
        self._layer, self._ensemble, self._expected = layer, ensemble, (forward, backward)
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
        other = self._back_questions
        if not known and not other.count and not layer.turned and asking.fits(xp, x, layer.units):
            return self._first_from_the_right(x, constants, corner.c)
        fresh = forward_normals(layer, self._ensemble, known, x.shape[1], self._dtype)
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
        self._answers.add(fresh)
        return self._answered(x, constants, answer)

    def _first_from_the_right(self, x: Array, constants: Array, c: Array) -> Array:
        """The answer in one pass, where nothing was asked before."""
        answered = partial(asking.forward, c, self._layer.units, self._place)
        last = self._expected == (x.shape[1], 0)  # nobody will read what the answer was made of
        answer, fresh = answered(keep=not last)
        if last:
            self._answers.add_later(x.shape[1], lambda: answered(keep=True)[1])
        else:
            self._answers.add(fresh)
        return self._answered(x, constants, answer)

    def _answered(self, x: Array, constants: Array, answer: Array) -> Array:
        """The answer, noted with its question."""
        self._questions.add(x)
        self._constants = self._xp.concat([self._constants, constants])
        return self._xp.astype(answer, self._ensemble.dtype, copy=False)

    def apply_transpose(self, d: Array) -> Array:
        """W^T d; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp, layer, own = self._xp, self._layer, self._back_questions
        d = xp.astype(d, self._dtype, copy=False)
        known = own.count
        if not known and self._questions.count and self._fit(d):
            return self._first_from_the_left(d)
        square = overlaps(xp, d, d)
        before = overlaps(xp, d, own.rows) if known else xp.zeros_like(square[:, :, :0])
        below, corner = self._back_factor.grow(before, square)
        fresh = self._ensemble.normals(
            streams.BACKWARD, layer.index, d.shape[1], layer.inputs, dtype=self._dtype, first=(known, 0)
        )
        bias = self._biases(d.shape[1], known)
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
        self._back_answers.add(fresh)
        there = xp.linalg.diagonal(corner.c) > 0.0
        return self._answered_back(d, xp.where(there, bias, xp.zeros_like(bias)), answer)

    def _fit(self, d: Array) -> bool:
        """Whether a first question from the left has a program of its own."""
        return all(asking.fits(self._xp, part, self._layer.inputs) for part in (d, self._questions.rows))

    def _first_from_the_left(self, d: Array) -> Array:
        """The answer in one pass, where nothing was asked from this side before."""
        layer = self._layer
        factors = (layer.entry_deviation, math.sqrt(layer.sigma_b2))
        asked = asking.Asked(self._answers.rows, self._questions.rows, self._factor.inverse, self._constants, *factors)
        biases = self._biases(d.shape[1], 0)
        answered = partial(asking.backward, d, biases, asked, RANK_TOLERANCE, self._place)
        made = answered(keep=False)
        self._back_factor.begin(Corner.known(self._xp, made.c, made.inverse))
        self._back_answers.add_later(d.shape[1], lambda: answered(keep=True).fresh)
        self._settle(self._xp.matrix_transpose(made.told), 2)
        return self._answered_back(d, made.bias, made.answer)

    def _answered_back(self, d: Array, bias: Array, answer: Array) -> Array:
        """The answer, noted with its question."""
        self._back_questions.add(d)
        self._back_bias = _beside(self._xp, self._back_bias, bias, 1)
        return self._xp.astype(answer, self._ensemble.dtype, copy=False)

    @property
    def _place(self) -> asking.Place:
        ensemble = self._ensemble
        return asking.Place(ensemble.key, ensemble.start, ensemble.count, self._layer.index)

    def _biases(self, rows: int, known: int) -> Array:
        """Bias coordinates of fresh backward normals, (N, r), float64; zero where there are no biases."""
        xp, ensemble, layer = self._xp, self._ensemble, self._layer
        if layer.sigma_b2 > 0.0:
            where = (known, streams.BIAS_COLUMN)
            return ensemble.normals(streams.BACKWARD, layer.index, rows, 1, dtype=xp.float64, first=where)[:, :, 0]
        return ensemble.backend.place(np.zeros((ensemble.count, rows)))

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
