"""Random matrices that are asked, not built: every answer is drawn from its law given all answers before.

A Gaussian or Haar matrix answers forward questions W x and backward questions W^T d, in any order and any number,
exactly in distribution at any finite size. k questions cost O(k^2 (m + n)) and O(k (m + n)) memory; W is never made.

Which normals answer which question is fixed: question number r of a direction (counted from 0 over the life of the
matrix, forward and backward apart, dropped questions included) takes row r of the stream of role 4 (forward) or 5
(backward) and of the layer's tag. A question that lies in the span of those before uses nothing of its row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mcnet import streams
from mcnet.kernels import linalg
from mcnet.weights.bartlett import forward_normals
from mcnet.weights.laws import AbstractMatrix, Array, Ensemble, Layer, biases, with_bias


def conditioned_matrix(layer: Layer, ensemble: Ensemble) -> AbstractMatrix:
    """The layer as a matrix that is asked; laws :data:`mcnet.weights.laws.CONDITIONED_LAWS`."""
    return ConditionedHaar(layer, ensemble) if layer.law == "orthogonal" else ConditionedGaussian(layer, ensemble)


class ConditionedGaussian:
    """[W, b] with independent Gaussian entries, asked from both sides.

    Parameters
    ----------
    layer : Layer
    ensemble : Ensemble

    Notes
    -----
    Weights and bias are one matrix V = [W, b] D^-1 of standard normals, D = diag(sqrt(sigma_w2/n), ...,
    sqrt(sigma_b2)). With orthonormal questions A and their answers U = V A, and orthonormal backward questions D with
    Y = V^T D,

        V = U A^T + D Y^T (I - A A^T) + (I - D D^T) G (I - A A^T),      G a fresh Gaussian matrix,

    so a new unit question q orthogonal to A is answered by g - D (D^T g) + D (Y^T q), g fresh. State in float64.
    """

    def __init__(self, layer: Layer, ensemble: Ensemble) -> None:
        self._layer = layer
        self._ensemble = ensemble
        self._extended = layer.sigma_b2 > 0.0  # a coordinate for the bias
        size = layer.inputs + self._extended
        self._questions, self._answers = _empty(ensemble, size), _empty(ensemble, layer.units)  # A, U as rows
        self._back_questions, self._back_answers = _empty(ensemble, layer.units), _empty(ensemble, size)  # D, Y as rows

    def apply(self, x: Array, constants: Array) -> Array:
        """W x + constant b; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp, layer = self._ensemble.backend.xp, self._layer
        question = xp.astype(x, xp.float64) * layer.entry_deviation
        if self._extended:
            last = xp.reshape(constants * math.sqrt(layer.sigma_b2), (1, -1, 1))
            last = xp.broadcast_to(last, (*question.shape[:2], 1))
            question = xp.concat([question, last], axis=2)
        known = self._questions.shape[1]
        fresh = forward_normals(layer, self._ensemble, known, x.shape[1], xp.float64)
        if not known:  # as many coordinates as it is given
            self._questions = _empty(self._ensemble, question.shape[2])
        self._questions, self._answers, answer = _ask_gaussian(
            xp, (self._questions, self._answers), (self._back_questions, self._back_answers), question, fresh
        )
        return xp.astype(answer, self._ensemble.dtype)

    def apply_transpose(self, d: Array) -> Array:
        """W^T d; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp, layer = self._ensemble.backend.xp, self._layer
        tag, row, rows = layer.index, self._back_questions.shape[1], d.shape[1]
        normals = self._ensemble.normals
        fresh = normals(streams.BACKWARD, tag, rows, layer.inputs, dtype=xp.float64, first=(row, 0))
        if self._extended:
            last = normals(streams.BACKWARD, tag, rows, 1, dtype=xp.float64, first=(row, streams.BIAS_COLUMN))
            fresh = xp.concat([fresh, last], axis=2)
        self._back_questions, self._back_answers, answer = _ask_gaussian(
            xp,
            (self._back_questions, self._back_answers),
            (self._questions, self._answers),
            xp.astype(d, xp.float64),
            fresh,
        )
        return xp.astype(answer[:, :, : layer.inputs] * layer.entry_deviation, self._ensemble.dtype)


class ConditionedHaar:
    """W = s O with O Haar on the orthogonal group (or a block of it), asked from both sides; independent biases.

    Parameters
    ----------
    layer : Layer
    ensemble : Ensemble

    Notes
    -----
    A backward answer is forward knowledge (O^T d = y means O y = d), so the state is one pair of orthonormal lists P
    and R = O P. A question is mapped by R P^T inside the span of P, and its rest of length r to r times a uniformly
    random unit vector orthogonal to R: a row of normals, projected and normalised. A rectangular W is a block of the
    square O of the larger side d; the normals then have d columns, and the full answers stay in the state.
    """

    def __init__(self, layer: Layer, ensemble: Ensemble) -> None:
        self._layer = layer
        self._ensemble = ensemble
        self._size = max(layer.units, layer.inputs)
        self._domain, self._image = _empty(ensemble, self._size), _empty(ensemble, self._size)  # P, R as rows
        self._asked = [0, 0]  # forward, backward
        self._bias = biases(layer, ensemble, ensemble.dtype) if layer.sigma_b2 > 0.0 else None

    def apply(self, x: Array, constants: Array) -> Array:
        """W x + constant b; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp, layer = self._ensemble.backend.xp, self._layer
        fresh = self._fresh(streams.FORWARD, 0, x.shape[1])
        self._domain, self._image, answer = _ask_haar(xp, self._domain, self._image, self._padded(x), fresh)
        product = xp.astype(answer[:, :, : layer.units] * layer.singular_value, self._ensemble.dtype)
        return product if self._bias is None else with_bias(xp, product, constants, self._bias)

    def apply_transpose(self, d: Array) -> Array:
        """W^T d; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp, layer = self._ensemble.backend.xp, self._layer
        fresh = self._fresh(streams.BACKWARD, 1, d.shape[1])
        self._image, self._domain, answer = _ask_haar(xp, self._image, self._domain, self._padded(d), fresh)
        return xp.astype(answer[:, :, : layer.inputs] * layer.singular_value, self._ensemble.dtype)

    def _fresh(self, role: int, side: int, rows: int) -> Array:
        first = (self._asked[side], 0)
        self._asked[side] += rows
        dtype = self._ensemble.backend.xp.float64
        return self._ensemble.normals(role, self._layer.index, rows, self._size, dtype=dtype, first=first)

    def _padded(self, vectors: Array) -> Array:
        xp = self._ensemble.backend.xp
        vectors = xp.astype(vectors, xp.float64)
        missing = self._size - vectors.shape[2]
        if not missing:
            return vectors
        zero = xp.broadcast_to(xp.zeros_like(vectors[:, :, :1]), (*vectors.shape[:2], missing))
        return xp.concat([vectors, zero], axis=2)


def _empty(ensemble: Ensemble, size: int) -> Array:
    """No rows yet: shape (1, 0, size)."""
    return ensemble.backend.place(np.empty((1, 0, size)))


def _used(xp: Any, rows: Array) -> Array:
    """Which questions were new: (N, T, 1)."""
    return linalg.length(xp, rows) > 0.0


def _grown(xp: Any, rows: Array, more: Array) -> Array:
    """Rows joined, networks broadcast."""
    lead = max(rows.shape[0], more.shape[0])
    return xp.concat([xp.broadcast_to(part, (lead, *part.shape[1:])) for part in (rows, more)], axis=1)


def _ask_gaussian(
    xp: Any, own: tuple[Array, Array], other: tuple[Array, Array], question: Array, fresh: Array
) -> tuple[Array, Array, Array]:
    """Ask a matrix of standard normals from one side: new questions and answers of this side, and the answer."""
    questions, answers = own
    known = questions.shape[1]
    questions, coefficients = linalg.extend(xp, questions, question)
    new = questions[:, known:, :]  # (N, T, n)
    back_questions, back_answers = other
    if back_questions.shape[1]:
        told = xp.matmul(new, linalg.transpose(xp, back_answers))  # (N, T, j): what the other side has settled
        surplus = xp.matmul(fresh, linalg.transpose(xp, back_questions))
        fresh = fresh + xp.matmul(told - surplus, back_questions)
    fresh = xp.where(_used(xp, new), fresh, xp.zeros_like(fresh))
    answers = _grown(xp, answers, fresh)
    return questions, answers, xp.matmul(coefficients, answers)


def _ask_haar(xp: Any, own: Array, other: Array, question: Array, fresh: Array) -> tuple[Array, Array, Array]:
    """Ask a Haar matrix from one side: the list of this side, the list of the other, and the answer."""
    known = own.shape[1]
    own, coefficients = linalg.extend(xp, own, question)
    fresh = xp.where(_used(xp, own[:, known:, :]), fresh, xp.zeros_like(fresh))
    other = linalg.extend(xp, other, fresh).basis
    return own, other, xp.matmul(coefficients, other)
