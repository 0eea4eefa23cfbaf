"""Random matrices that are built: any law, from the counter-based stream, kept or made again for each product."""

from __future__ import annotations

import math

from mcnet import streams
from mcnet.kernels import linalg
from mcnet.weights.laws import Array, Ensemble, Layer, biases, with_bias

BLOCK_BYTES = 1 << 29
"""A matrix larger than this is made and multiplied in blocks of rows."""


class ExplicitMatrix:
    """[W, b] built from the stream of role 0 (row = output unit, column = input unit) and role 1.

    Parameters
    ----------
    layer : Layer
        Gaussian: sqrt(sigma_w2/n) times normals. Uniform: sqrt(3 sigma_w2/n) times uniforms on (-1, 1). Orthogonal:
        the Q factor, with R's diagonal positive, of the normals (of their transpose where units < inputs).
    ensemble : Ensemble
    keep : bool
        Keep W after the first product (for a second one), or make it again each time.
    """

    def __init__(self, layer: Layer, ensemble: Ensemble, keep: bool) -> None:
        self._layer = layer
        self._ensemble = ensemble
        self._keep = keep
        self._kept: Array | None = None
        scales = {"gaussian": layer.entry_deviation, "uniform": math.sqrt(3.0) * layer.entry_deviation}
        self._scale = scales.get(layer.law, layer.singular_value)
        self._bias = biases(layer, ensemble, ensemble.dtype) if layer.sigma_b2 > 0.0 else None

    def apply(self, x: Array, constants: Array) -> Array:
        """W x + constant b; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp = self._ensemble.backend.xp
        x = x * self._scale
        parts = [xp.matmul(x, linalg.transpose(xp, self._rows(first, stop))) for first, stop in self._blocks()]
        product = parts[0] if len(parts) == 1 else xp.concat(parts, axis=2)
        return product if self._bias is None else with_bias(xp, product, constants, self._bias)

    def apply_transpose(self, d: Array) -> Array:
        """W^T d; see :class:`mcnet.weights.laws.AbstractMatrix`."""
        xp = self._ensemble.backend.xp
        d = d * self._scale
        parts = [xp.matmul(d[:, :, first:stop], self._rows(first, stop)) for first, stop in self._blocks()]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def entries(self) -> Array:
        """W itself, (N, units, inputs)."""
        return self._rows(0, self._layer.units) * self._scale

    def _blocks(self) -> list[tuple[int, int]]:
        """Ranges of rows made at a time; they depend on the shape of the matrix alone."""
        layer = self._layer
        itemsize = 4 if self._ensemble.precision == "mixed" else 8
        rows = layer.units if layer.law == "orthogonal" else max(1, BLOCK_BYTES // (itemsize * layer.inputs))
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
        xp, shape = ensemble.backend.xp, (layer.index, stop - first, layer.inputs)
        if layer.law == "uniform":
            return ensemble.uniforms(streams.WEIGHTS, *shape, dtype=ensemble.dtype, first=(first, 0))
        if layer.law == "gaussian":
            return ensemble.normals(streams.WEIGHTS, *shape, dtype=ensemble.dtype, first=(first, 0))
        # float64, then rounded: a float32 factorisation would be orthogonal only to 1e-6 at width 1000
        frame = linalg.frame(xp, ensemble.normals(streams.WEIGHTS, *shape, dtype=xp.float64, first=(first, 0)))
        return xp.astype(frame, ensemble.dtype)
