"""Random matrices that are built: any law, from the counter-based stream, kept or made again for each product."""

from __future__ import annotations

import math

import numpy as np

from mcnet import streams
from mcnet.kernels import reflections
from mcnet.kernels.linalg import transpose
from mcnet.kernels.reflections import Frame
from mcnet.kernels.windows import Windows
from mcnet.weights.laws import Array, Ensemble, Layer, biases, with_bias

BLOCK_BYTES = 1 << 29
"""A matrix larger than this is made and multiplied in blocks of rows."""


class ExplicitMatrix:
    """[W, b] built from the stream of role 0 (row = output unit, column = input unit) and role 1.

    Parameters
    ----------
    layer : Layer
        Gaussian: sqrt(sigma_w2/n) times normals. Uniform: sqrt(3 sigma_w2/n) times uniforms on (-1, 1). Orthogonal:
        :func:`mcnet.kernels.reflections.frame` of the normals (its transpose where units < inputs), never made.
    ensemble : Ensemble
    keep : bool
        Keep W after the first product (for a second one), or make it again each time.
    """

    def __init__(self, layer: Layer, ensemble: Ensemble, keep: bool) -> None:
        self._layer = layer
        self._ensemble = ensemble
        self._keep = keep
        self._kept: Array | None = None
        self._kept_frame: Frame | None = None
        scales = {"gaussian": layer.entry_deviation, "uniform": math.sqrt(3.0) * layer.entry_deviation}
        self.scale = scales.get(layer.law, layer.singular_value)
        self._bias = biases(layer, ensemble, ensemble.dtype) if layer.sigma_b2 > 0.0 else None

    def apply(self, x: Array, constants: Array) -> Array:
        """W x + constant b; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp = self._ensemble.backend.xp
        if self._in_registers(x):
            product = self._made_and_applied(x, transpose=False)
        elif self._layer.law == "orthogonal":
            product = transpose(xp, self._rotated(transpose(xp, x * self.scale), self._wide))
        else:
            x = x * self.scale
            parts = [xp.matmul(x, transpose(xp, self._rows(first, stop))) for first, stop in self._blocks()]
            product = parts[0] if len(parts) == 1 else xp.concat(parts, axis=2)
        return product if self._bias is None else with_bias(xp, product, constants, self._bias)

    def apply_to_windows(self, windows: Windows, constants: Array) -> Array:
        """W x + constant b for all windows of a grid, (N, T P, units); large ones are never made."""
        xp, layer = self._ensemble.backend.xp, self._layer
        networks, inputs, sites, units = windows.shape
        if not windows.large or layer.law == "orthogonal" or len(self._blocks()) > 1:
            return self.apply(xp.reshape(windows.rows(), (networks, inputs * sites, units)), constants)
        product = windows.product(self._rows(0, layer.units), self.scale)
        return product if self._bias is None else with_bias(xp, product, constants, self._bias)

    def apply_transpose(self, d: Array) -> Array:
        """W^T d; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp = self._ensemble.backend.xp
        if self._in_registers(d):
            return self._made_and_applied(d, transpose=True)
        d = d * self.scale
        if self._layer.law == "orthogonal":
            return transpose(xp, self._rotated(transpose(xp, d), not self._wide))
        parts = [xp.matmul(d[:, :, first:stop], self._rows(first, stop)) for first, stop in self._blocks()]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def product(self, x: Array, factor: Array | None = None) -> tuple[Array, float]:
        """W x without a factor, and the factor, for whole matrices: (N, inputs, k) -> (N, units, k); no bias.

        A pass over a matrix costs a good part of the product: the factor can join another one, as can one for each row
        of x, (N, inputs, 1), that x waits for.
        """
        xp, layer = self._ensemble.backend.xp, self._layer
        if layer.law == "orthogonal" and not self._wide:
            return reflections.apply(xp, self._frame(), x, factor), self.scale
        x = x if factor is None else x * factor
        if layer.law == "orthogonal":
            return reflections.apply_transpose(xp, self._frame(), x), self.scale
        return xp.matmul(self._rows(0, layer.units), x), self.scale

    @property
    def turns(self) -> bool:
        """Whether W is a multiple of a square orthogonal matrix."""
        return self._layer.law == "orthogonal" and self._layer.units == self._layer.inputs

    def entries(self) -> Array:
        """W itself, (N, units, inputs)."""
        rows, scale = self.unscaled()
        return rows * scale

    def unscaled(self) -> tuple[Array, float]:
        """W without a factor, and the factor."""
        xp, layer = self._ensemble.backend.xp, self._layer
        if layer.law != "orthogonal":
            return self._rows(0, layer.units), self.scale
        one = xp.astype(self._ensemble.backend.place(np.eye(layer.inputs)[None]), self._ensemble.dtype)
        return self._rotated(xp.broadcast_to(one, (self._ensemble.count, *one.shape[1:])), self._wide), self.scale

    @property
    def _wide(self) -> bool:
        return self._layer.units < self._layer.inputs

    def _rotated(self, x: Array, backwards: bool) -> Array:
        """Q x or, backwards, Q^T x; the frame Q has as many rows as the longer side of W: (N, m, k) -> (N, n, k)."""
        xp = self._ensemble.backend.xp
        turn = reflections.apply_transpose if backwards else reflections.apply
        return turn(xp, self._frame(), x)

    def _frame(self) -> Frame:
        if self._kept_frame is not None:
            return self._kept_frame
        layer, ensemble = self._layer, self._ensemble

        def draw(first: int, rows: int, columns: int) -> Array:
            where = (first, first)
            return ensemble.normals(streams.WEIGHTS, layer.index, rows, columns, dtype=ensemble.dtype, first=where)

        sides = max(layer.units, layer.inputs), min(layer.units, layer.inputs)
        frame = reflections.frame(ensemble.backend.xp, draw, *sides)
        if self._keep:
            self._kept_frame = frame
        return frame

    def _in_registers(self, vectors: Array) -> bool:
        """Whether a product is faster with weights that are never stored."""
        few = vectors.shape[1] <= self._ensemble.backend.register_vectors
        return few and self._kept is None and self._layer.law != "orthogonal"

    def _made_and_applied(self, vectors: Array, *, transpose: bool) -> Array:
        layer, ensemble = self._layer, self._ensemble
        return ensemble.backend.kernels.apply_weights(
            ensemble.key,
            ensemble.start,
            ensemble.stop,
            vectors,
            law=layer.law,
            layer=layer.index,
            units=layer.units,
            inputs=layer.inputs,
            scale=self.scale,
            transpose=transpose,
        )

    def _blocks(self) -> list[tuple[int, int]]:
        """Ranges of rows made at a time; they depend on the shape of the matrix alone."""
        layer = self._layer
        itemsize = 4 if self._ensemble.precision == "mixed" else 8
        rows = max(1, BLOCK_BYTES // (itemsize * layer.inputs))
        return [(first, min(first + rows, layer.units)) for first in range(0, layer.units, rows)]

    def _rows(self, first: int, stop: int) -> Array:
        """Rows first..stop of W / scale, (N, stop - first, inputs)."""
        if self._kept is not None:
            return self._kept[:, first:stop, :]
        rows = self._made(first, stop)
        if self._keep and stop - first == self._layer.units:
            self._kept = rows
        return rows

    def _made(self, first: int, stop: int) -> Array:
        layer, ensemble = self._layer, self._ensemble
        made = ensemble.uniforms if layer.law == "uniform" else ensemble.normals
        shape = (layer.index, stop - first, layer.inputs)
        return made(streams.WEIGHTS, *shape, dtype=ensemble.dtype, first=(first, 0))
