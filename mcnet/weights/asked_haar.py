"""Haar matrices that are asked, in float32: few questions of long vectors, the state in rows and small factors.

The law, the streams and their rows are those of :class:`mcnet.weights.conditioned.ConditionedHaar`, which keeps two
orthonormal lists in float64. Here they are float32, answers carry its rounding, and what lies in the span of the
questions before to 1e-5 of its length counts as inside.
"""

from __future__ import annotations

from typing import NamedTuple

from mcnet import streams
from mcnet.kernels.vectors import combined, overlaps
from mcnet.weights.asked import Rows
from mcnet.weights.factors import factored
from mcnet.weights.laws import Array, Ensemble, Layer, biases, with_bias

SPAN_TOLERANCE = 1e-10
"""A question whose part outside the span has less than this share of its squared length is inside: rounding is near."""


class Outside(NamedTuple):
    """Rows x = inside A + corner ``unit`` beside a list A: (N, r, k), (N, r, r), (N, r, n); unit rows or zero."""

    inside: Array
    corner: Array
    unit: Array


class Orthonormal:
    """Orthonormal vectors of float32, or zero; they grow block by block."""

    def __init__(self, ensemble: Ensemble) -> None:
        self._xp = ensemble.backend.xp
        self.rows = Rows(ensemble, 0)
        self.asked = 0

    def split(self, x: Array) -> Outside:
        """Inside and outside of the list, orthogonalised twice (Cholesky QR)."""
        xp = self._xp
        first = self.once(x)
        again = self.once(first.unit)
        return Outside(
            first.inside + xp.matmul(first.corner, again.inside), xp.matmul(first.corner, again.corner), again.unit
        )

    def once(self, x: Array) -> Outside:
        """The same, orthogonal to rounding over the share of x that is outside."""
        xp, square = self._xp, overlaps(self._xp, x, x)
        size, inside = xp.linalg.diagonal(square), square[:, :, :0]
        if self.rows.count:
            inside = overlaps(xp, x, self.rows.rows)
            x = self.rows.added(xp.broadcast_to(x, (inside.shape[0], *x.shape[1:])) + 0.0, -inside)  # a copy
            square = overlaps(xp, x, x)
        corner, inverse = factored(xp, square, size, SPAN_TOLERANCE)
        return Outside(inside, corner, combined(xp, inverse, x))


class AskedHaar:
    """W = s O with O Haar on the orthogonal group (or a block of it), asked from both sides; independent biases.

    Parameters
    ----------
    layer : Layer
    ensemble : Ensemble

    Notes
    -----
    O A_i = B_i for orthonormal lists A of inputs and B of outputs. A forward question x = a A + p A_new, p A_new what
    is outside the list, is answered by a B + p B_new, B_new the normalised part of a row of normals outside B; backward
    questions exchange the lists. Bases that are only implied (as in :mod:`mcnet.weights.asked`) do not serve: where
    slopes are near 1, questions and answers of neighbouring layers nearly depend, more so with every step. A row of
    normals is nearly outside by itself where questions are few beside the size; so is this class for those.
    """

    def __init__(self, layer: Layer, ensemble: Ensemble) -> None:
        self._layer, self._ensemble = layer, ensemble
        self._size = max(layer.units, layer.inputs)
        self._domain, self._image = Orthonormal(ensemble), Orthonormal(ensemble)
        self._bias = biases(layer, ensemble, ensemble.dtype) if layer.sigma_b2 > 0.0 else None

    def apply(self, x: Array, constants: Array) -> Array:
        """W x + constant b; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        answer = self._ask(self._domain, self._image, streams.FORWARD, x)
        product = answer[:, :, : self._layer.units] * self._layer.singular_value
        return product if self._bias is None else with_bias(self._ensemble.backend.xp, product, constants, self._bias)

    def apply_transpose(self, d: Array) -> Array:
        """W^T d; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        answer = self._ask(self._image, self._domain, streams.BACKWARD, d)
        return answer[:, :, : self._layer.inputs] * self._layer.singular_value

    def _ask(self, own: Orthonormal, other: Orthonormal, role: int, x: Array) -> Array:
        """O x, or O^T x where ``own`` is the image: (N or 1, r, n) -> (N, r, size)."""
        xp, ensemble, rows = self._ensemble.backend.xp, self._ensemble, x.shape[1]
        question = own.split(self._padded(xp.astype(x, ensemble.dtype, copy=False)))
        where = (own.asked, 0)
        fresh = ensemble.normals(role, self._layer.index, rows, self._size, dtype=ensemble.dtype, first=where)
        there = xp.expand_dims(xp.linalg.diagonal(question.corner) > 0.0, axis=2)  # (N or 1, r, 1)
        if not bool(xp.all(there)):  # questions inside the span use nothing of their row
            fresh = xp.where(there, fresh, xp.zeros_like(fresh))
        unit = other.once(fresh).unit
        answer = combined(xp, question.corner, unit)
        if other.rows.count:
            answer = other.rows.added(answer, question.inside)
        own.asked += rows
        if bool(xp.any(there)):  # else rows of zeros
            own.rows.add(question.unit)
            other.rows.add(unit)
        return answer

    def _padded(self, vectors: Array) -> Array:
        xp = self._ensemble.backend.xp
        missing = self._size - vectors.shape[2]
        if not missing:
            return vectors
        zero = xp.broadcast_to(xp.zeros_like(vectors[:, :, :1]), (*vectors.shape[:2], missing))
        return xp.concat([vectors, zero], axis=2)
