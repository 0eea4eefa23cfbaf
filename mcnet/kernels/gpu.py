"""Kernels of the GPU: CUDA programs compiled at their first use; names as in the reference.

Everything above a launch is written against an array namespace and :class:`mcnet.kernels.modules.AbstractModule`, so
that the same code runs where the programs are built for the host and the arrays are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from mcnet.kernels.modules import AbstractModule, Program
from mcnet.streams import Key

Array = Any
"""An array of the device."""

FILL_THREADS = 128
RUNS = 8
"""Counters of a row that one thread of the fill makes before another block takes a share of the row."""


@dataclass(frozen=True)
class Kernels:
    """Random streams and fused kernels of one device.

    Attributes
    ----------
    xp : namespace
        Of the arrays of the device.
    compiled : callable
        The module of a program; remembers those it has compiled.
    """

    xp: Any
    compiled: Callable[[Program], AbstractModule]

    def normals(
        self,
        key: Key,
        start: int,
        stop: int,
        role: int,
        layer: int,
        rows: int,
        columns: int,
        *,
        first_row: int = 0,
        first_column: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> Array:
        """Standard normals of networks start to stop - 1, (N, rows, columns); see :func:`mcnet.streams.normals`."""
        return self._filled(0, key, start, stop, role, layer, rows, columns, first_row, first_column, dtype)

    def uniforms(
        self,
        key: Key,
        start: int,
        stop: int,
        role: int,
        layer: int,
        rows: int,
        columns: int,
        *,
        first_row: int = 0,
        first_column: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> Array:
        """Uniform numbers on (-1, 1), (N, rows, columns); see :func:`mcnet.streams.uniforms`."""
        return self._filled(1, key, start, stop, role, layer, rows, columns, first_row, first_column, dtype)

    def _filled(
        self,
        uniform: int,
        key: Key,
        start: int,
        stop: int,
        role: int,
        layer: int,
        rows: int,
        columns: int,
        first_row: int,
        first_column: int,
        dtype: DTypeLike,
    ) -> Array:
        double = int(np.dtype(dtype) == np.float64)
        out = self.xp.empty((stop - start, rows, columns), dtype=self.xp.float64 if double else self.xp.float32)
        lines, counters = (stop - start) * rows, (first_column % 4 + columns + 3) // 4
        if not lines or not columns:
            return out
        passes = -(-counters // FILL_THREADS)
        along = -(-counters // passes)
        across = max(1, FILL_THREADS // along)
        grid = (-(-lines // across), min(-(-passes // RUNS), 65535))
        macros = (("MC_BLOCK", FILL_THREADS), ("MC_DOUBLE", double), ("MC_UNIFORM", uniform))
        self.compiled(Program("fill", macros)).launch(
            "mc_fill",
            grid,
            (along, across),
            out,
            *words(stop - start, rows, columns, counters, start, role << 24 | layer, first_row, first_column, *key),
        )
        return out


def words(*values: int) -> tuple[np.uint32, ...]:
    """Integers as kernels take them."""
    return tuple(np.uint32(value) for value in values)
