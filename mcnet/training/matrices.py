"""Matrices that are trained: built ones change in place, asked ones remember their steps.

A step subtracts rate sum_a g_a x_a^T from W and rate sum_a c_a g_a from b, with the questions x_a, the cotangents g_a
of their answers, and c_a the multiple of the bias in an answer. An asked matrix keeps g_a and x_a: W_t = W_0 - (a sum
of known products), so that only W_0 is asked, about directions that are new: exact in distribution at any width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from mcnet.kernels.updates import add_outer, applied
from mcnet.kernels.vectors import combined, overlaps
from mcnet.programs.moves import Move
from mcnet.training.optimizers import Rule, scaled
from mcnet.training.scaling import Factors
from mcnet.weights.asked import Rows, asked_matrix
from mcnet.weights.explicit import ExplicitMatrix
from mcnet.weights.laws import AbstractMatrix, Ensemble, Layer, biases, with_bias

Array = Any


class TrainedMatrix(AbstractMatrix, Protocol):
    """A matrix [W, b] that moves."""

    def step(self, move: Move, x: Array, rates: Array) -> None:
        """A step of training.

        Parameters
        ----------
        move : Move
        x : Array, shape (N or 1, r, n)
            Its questions, with the weights of taps.
        rates : Array, shape (N,)
            Learning rates of the networks; 0 for one that rests.
        """
        ...


class BuiltMatrix:
    """A matrix whose entries are there.

    Parameters
    ----------
    layer : Layer
    ensemble : Ensemble
    factors : Factors
    rule : callable or None
        Makes a rule for the weights and one for the biases; None for plain steps.
    """

    def __init__(self, layer: Layer, ensemble: Ensemble, factors: Factors, rule: Callable[[], Rule] | None) -> None:
        self._xp, self._factors = ensemble.backend.xp, factors
        self._w = ExplicitMatrix(layer, ensemble, keep=False).entries()
        there = layer.sigma_b2 > 0.0 or factors.bias > 0.0
        self._b = biases(layer, ensemble, ensemble.dtype) if there else None
        self._rules = (rule(), rule()) if rule else None

    def apply(self, x: Array, constants: Array) -> Array:
        """W x + constant b; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        product = applied(self._xp, self._w, x)
        return product if self._b is None else with_bias(self._xp, product, constants, self._b)

    def apply_transpose(self, d: Array) -> Array:
        """W^T d; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        return self._xp.matmul(d, self._w)

    def step(self, move: Move, x: Array, rates: Array) -> None:
        """See :class:`TrainedMatrix`."""
        xp = self._xp
        if self._rules is None:
            alpha, beta = scaled(self._factors)
            g = move.times(xp, -alpha * rates)
            add_outer(xp, self._w, g, x)
            if self._b is not None:
                self._b = self._b + (beta / alpha) * _of_bias(xp, g, move.constants)
            return
        g = move.times(xp, xp.ones_like(rates))
        rates = (self._factors.rate * rates)[:, None, None]
        of_weights, of_biases = self._rules
        gradient = xp.matmul(xp.matrix_transpose(g), x)
        self._w = self._w - rates * of_weights.change(xp, gradient, self._factors.weight)
        if self._b is not None:
            change = of_biases.change(xp, _of_bias(xp, g, move.constants), self._factors.bias)
            self._b = self._b - rates * change


class AskedMatrix:
    """A matrix that is asked, and the sum of its steps; plain steps only.

    Parameters
    ----------
    layer : Layer
    ensemble : Ensemble
    factors : Factors
    forward, backward : int
        Questions to expect over the training.
    """

    def __init__(self, layer: Layer, ensemble: Ensemble, factors: Factors, forward: int, backward: int) -> None:
        self._xp, self._factors = ensemble.backend.xp, factors
        self._start = asked_matrix(layer, ensemble, forward, backward)
        self._g, self._x = Rows(ensemble, forward), Rows(ensemble, forward)
        self._moved: Array = None  # of the bias
        self._first: tuple[Array, Array] | None = None  # a question that comes again, the inputs, and its answer
        self._of_first: Array = None  # the sum of its cotangents

    def apply(self, x: Array, constants: Array) -> Array:
        """W x + constant b; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp = self._xp
        if self._first is not None and _same(x, self._first[0]):
            answer = self._first[1]
        else:
            answer = self._start.apply(x, constants)
        if self._first is None:
            self._first = x, answer
        if self._of_first is not None:
            products = overlaps(xp, x, self._first[0])
            answer = combined(xp, products, self._of_first, xp.asarray(answer, copy=True))
        if self._x.count:
            answer = self._g.added(answer, overlaps(xp, x, self._x.rows))
        return answer if self._moved is None else with_bias(xp, answer, constants, self._moved)

    def apply_transpose(self, d: Array) -> Array:
        """W^T d; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp, answer = self._xp, self._start.apply_transpose(d)
        if self._of_first is not None:
            assert self._first is not None
            answer = combined(xp, overlaps(xp, d, self._of_first), self._first[0], answer)
        return self._x.added(answer, overlaps(xp, d, self._g.rows)) if self._x.count else answer

    def step(self, move: Move, x: Array, rates: Array) -> None:
        """See :class:`TrainedMatrix`."""
        alpha, beta = scaled(self._factors)
        g = move.times(self._xp, -alpha * rates)
        if self._first is not None and _same(x, self._first[0]):
            self._of_first = g if self._of_first is None else self._of_first + g
        else:
            self._g.add(g)
            self._x.add(x)
        if beta > 0.0:
            moved = (beta / alpha) * _of_bias(self._xp, g, move.constants)
            self._moved = moved if self._moved is None else self._moved + moved


def _of_bias(xp: Any, g: Array, constants: Array) -> Array:
    """sum_a c_a g_a, (N, 1, m)."""
    return combined(xp, constants[None, None, :], g)


def _same(a: Array, b: Array) -> bool:
    """Whether two arrays are one in memory; vectors are never changed where they are."""
    if a is b:
        return True
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return False
    return a.ctypes.data == b.ctypes.data and (a.shape, a.strides, a.dtype) == (b.shape, b.strides, b.dtype)
