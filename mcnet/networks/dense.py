"""Dense networks, forward and backward, on matrices that are built or asked.

Vectors of T inputs are rows in the difference basis (h(0), h(1) - h(0), ..., h(T-1) - h(0)): a small distance between
two inputs keeps its relative precision through every layer, in float32 too. Where the ensemble's basis says so they are
the inputs themselves (:mod:`mcnet.kernels.basis`). Arrays are (N, T, M), errors (N, C, T, M).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mcnet import streams
from mcnet.backend import Backend
from mcnet.kernels.basis import DIFFERENCES, Basis
from mcnet.point import Point
from mcnet.weights.asked import AskedGaussian
from mcnet.weights.asked_haar import AskedHaar
from mcnet.weights.conditioned import conditioned_matrix
from mcnet.weights.explicit import ExplicitMatrix
from mcnet.weights.laws import AbstractMatrix, Array, Ensemble, Layer


class Activity(NamedTuple):
    """One hidden layer.

    Attributes
    ----------
    u, h : Array, shape (N, T, M)
        Pre-activations and activations, in the basis of the ensemble.
    slope : Array or None, shape (N, T, M)
        phi'(u) of the inputs themselves, for the way back; None where it was not asked for.
    u_gram, h_gram : Array, shape (N, T, T), float64
        Overlaps per unit, see :func:`gram`.
    """

    u: Array
    h: Array
    slope: Array | None
    u_gram: Array
    h_gram: Array


class Errors(NamedTuple):
    """Back-propagated errors at the pre-activations of one layer.

    Attributes
    ----------
    d : Array, shape (N, C, T, M)
        In the basis of the ensemble, divided by 2^exponent.
    exponent : Array, shape (N,), float64
        One power of two per network keeps the errors in the range of float32 however fast they grow or vanish.
    """

    d: Array
    exponent: Array


def layers(point: Point) -> tuple[Layer, ...]:
    """The weight layers of a network, 1..depth and the readout if there is one."""
    variances = point.sigma_w2, point.sigma_b2
    first = Layer(1, point.width, point.inputs.dimension, point.weights, *variances)
    hidden = (Layer(index, point.width, point.width, point.weights, *variances) for index in range(2, point.depth + 1))
    readout = (Layer(point.depth + 1, point.outputs, point.width, point.readout, *variances),) if point.outputs else ()
    return (first, *hidden, *readout)


LONG_VECTORS = 2048
"""Units and inputs from which a matrix that is asked hundreds of questions keeps float32 vectors."""


def matrices(
    point: Point, sampler: str, ensemble: Ensemble, keep: bool, many: bool = False
) -> Iterator[AbstractMatrix]:
    """The weight matrices, one by one.

    ``keep`` says whether built ones stay in memory for a second product, ``many`` whether asked ones get hundreds of
    questions.
    """
    for layer in layers(point):
        if sampler != "conditioned":
            yield ExplicitMatrix(layer, ensemble, keep)
        elif many and ensemble.precision == "mixed" and min(layer.units, layer.inputs) >= LONG_VECTORS:
            yield AskedHaar(layer, ensemble) if layer.law == "orthogonal" else AskedGaussian(layer, ensemble, 0, 0)
        else:
            yield conditioned_matrix(layer, ensemble)


def biased(inputs: int, backend: Backend, basis: Basis) -> Array:
    """Multiples of the bias in the rows of T inputs."""
    return backend.place(basis.multiples(inputs))


def activity(
    point: Point, matrix: AbstractMatrix, h: Array, backend: Backend, basis: Basis, slopes: bool = False
) -> Activity:
    """One hidden layer: u = W h + b and phi(u), from and to the basis.

    In one pass where the backend has a kernel for it; ``slopes`` says whether phi'(u) will be needed.
    """
    xp = backend.xp
    u = matrix.apply(h, biased(h.shape[1], backend, basis))  # (N, T, M)
    if point.sigma_b2 == 0.0:
        u = _zero_where_asked_zero(xp, h, u, basis)
    if backend.fused_activation and basis.differences:
        made = backend.kernels.activate(point.activation, u)
        u_gram, h_gram = (_zero_where_dead(xp, rows, sums) for rows, sums in ((u, made.u_gram), (made.h, made.h_gram)))
        return Activity(u, made.h, made.slope if slopes else None, u_gram, h_gram)
    plain = basis.to_inputs(xp, u)
    mathematics = backend.mathematics(plain)
    h = basis.from_inputs(xp, point.activation.phi(plain, mathematics))
    slope = point.activation.dphi(plain, mathematics) if slopes else None
    return Activity(u, h, slope, gram(xp, u, basis), gram(xp, h, basis))


def gram(xp: Any, rows: Array, basis: Basis) -> Array:
    """Rows.rows / size in float64: (N, T, M) -> (N, T, T), in the basis."""
    wide = xp.astype(rows, xp.float64)
    overlaps = xp.matmul(wide, xp.matrix_transpose(wide)) / rows.shape[2]
    return _zero_where_dead(xp, rows, overlaps) if basis.differences else overlaps


def _zero_where_dead(xp: Any, rows: Array, overlaps: Array) -> Array:
    """Of a vector that is exactly zero (a dead layer) the length is exactly zero, whatever the order of the sums.

    Rows and overlaps in the difference basis.
    """
    dead = xp.max(xp.abs(DIFFERENCES.to_inputs(xp, rows)), axis=2, keepdims=True) == 0.0  # (N, T, 1)
    overlaps = xp.where(dead, -overlaps[:, :1, :], overlaps)
    return xp.where(xp.matrix_transpose(dead), -overlaps[:, :, :1], overlaps)


def probe(point: Point, ensemble: Ensemble) -> Array:
    """The error at h^depth where there is no readout: i.i.d. N(0, 1/M), the same for all inputs; (N, 1, M).

    Role 6, row 0, in the place of a readout: its layer is depth + 1.
    """
    normals = ensemble.normals(streams.PROBES, point.depth + 1, 1, point.width, dtype=ensemble.dtype, first=(0, 0))
    return normals / math.sqrt(point.width)


def backward(point: Point, weights: list[AbstractMatrix], slopes: list[Array], ensemble: Ensemble) -> Iterator[Errors]:
    """Errors of all outputs at u^depth, ..., u^1.

    Parameters
    ----------
    point : Point
    weights : list of AbstractMatrix
        Of layers 1..L, those of the forward pass.
    slopes : list of Array
        phi'(u^1), ..., phi'(u^depth) of the forward pass, (N, T, M). Both lists are emptied on the way, so that the
        memory of a layer is free once it is passed.
    ensemble : Ensemble

    Yields
    ------
    Errors
        d^l_k(t) = df_k(t)/du^l from the readout, C outputs; or of the one probe at h^depth without a readout.

    Notes
    -----
    d^l = p^l o (W^(l+1))^T d^(l+1), p = phi'(u). Output k and input t make question k T + t of a matrix; differences
    of inputs are questions of their own, and the zero ones next to the readout use no random number.
    """
    xp, backend, basis = ensemble.backend.xp, ensemble.backend, ensemble.basis
    inputs = point.inputs.count
    if point.outputs:
        unit = xp.astype(backend.place(np.eye(point.outputs)), ensemble.dtype)
        y = _error_below(xp, weights.pop(), _same_for_all_inputs(xp, unit[None, :, :], inputs, basis), basis)
    else:
        y = _same_for_all_inputs(xp, probe(point, ensemble), inputs, basis)  # (N, 1, T, M)
    exponent = backend.place(np.zeros(ensemble.count))
    for index in range(point.depth, 0, -1):
        d, shift = rescaled(xp, _through_slope(xp, slopes.pop(), y, basis))
        exponent = exponent + shift
        yield Errors(d, exponent)
        if index > 1:
            y = _error_below(xp, weights.pop(), d, basis)


def _same_for_all_inputs(xp: Any, vectors: Array, inputs: int, basis: Basis) -> Array:
    """(N, C, M) -> (N, C, T, M): the vector T times, in the difference basis the vector and T - 1 zeros."""
    first = xp.expand_dims(vectors, axis=2)
    return xp.concat([first] + [xp.zeros_like(first) if basis.differences else first] * (inputs - 1), axis=2)


def _error_below(xp: Any, matrix: AbstractMatrix, d: Array, basis: Basis) -> Array:
    """W^T d for errors (N, C, T, m) -> (N, C, T, n)."""
    _, outputs, inputs, units = d.shape
    y = matrix.apply_transpose(xp.reshape(d, (-1, outputs * inputs, units)))
    return _zero_where_asked_zero(xp, d, xp.reshape(y, (-1, outputs, inputs, y.shape[2])), basis)


def _zero_where_asked_zero(xp: Any, question: Array, answer: Array, basis: Basis) -> Array:
    """The answer for an input whose vector is exactly zero (a dead layer): exactly zero, not zero up to rounding.

    In the difference basis its row is minus the row of input 0; rounding would turn phi'(0) on and off at random.
    """
    if not basis.differences:
        return answer
    some = DIFFERENCES.to_inputs(xp, question[..., : min(64, question.shape[-1])])
    if not bool(xp.any(xp.all(some == 0.0, axis=-1))):  # most often, told by a few units
        return answer
    size = xp.max(xp.abs(DIFFERENCES.to_inputs(xp, question)), axis=-1, keepdims=True)  # (..., T, 1)
    return xp.where(size == 0.0, -answer[..., :1, :], answer)


def _through_slope(xp: Any, slope: Array, y: Array, basis: Basis) -> Array:
    """p(t) y(t); in the difference basis p(t) [y(t) - y(0)] + [p(t) - p(0)] y(0) below the first row."""
    p = xp.expand_dims(slope, axis=1)  # (N, 1, T, M)
    if not basis.differences:
        return p * y
    first, rest = p[:, :, :1, :], p[:, :, 1:, :]
    y_first, y_rest = y[:, :, :1, :], y[:, :, 1:, :]
    return xp.concat([first * y_first, rest * y_rest + (rest - first) * y_first], axis=2)


def rescaled(xp: Any, d: Array) -> tuple[Array, Array]:
    """Arrays (N, ...) divided by 2^exponent, one per network, so that the largest entry lies in [1, 2); and (N,)."""
    size = xp.astype(xp.max(xp.abs(d), axis=tuple(range(1, d.ndim))), xp.float64)
    usable = (size > 0.0) & xp.isfinite(size)
    exponent = xp.where(usable, xp.floor(xp.log2(xp.where(usable, size, xp.ones_like(size)))), xp.zeros_like(size))
    factor = xp.astype(xp.pow(xp.full_like(exponent, 2.0), -exponent), d.dtype)
    return d * xp.reshape(factor, (-1, *[1] * (d.ndim - 1))), exponent
