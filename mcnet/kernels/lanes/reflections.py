"""Program: Householder vectors of normals and the triangles of their blocks (see :mod:`mcnet.kernels.reflections`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.kernels.lanes.simd import compiled, f8, fma, like, load, store, sum_lanes, wide

Real = NDArray[Any]
"""float32 or float64."""


@compiled
def householder(v: Real, signs: Real, halves: NDArray[np.float64], size: int) -> None:
    """Make normals the vectors of their reflections, in place.

    ``v``: flat (N, b, size), row k from its column k on; what lies before becomes zero. ``signs`` (N, b): the last
    factors of Q. ``halves`` (N, b): half the squared lengths of the vectors.
    """
    networks, rows = signs.shape
    for n in range(networks):
        for k in range(rows):
            row = (n * rows + k) * size
            for i in range(k):
                v[row + i] = 0
            total = f8(0.0)
            i = 0
            while i + 16 <= size:
                x = wide(load(v, row + i))
                total = fma(x, x, total)
                i += 16
            square = sum_lanes(total)
            while i < size:
                square += np.float64(v[row + i]) * np.float64(v[row + i])
                i += 1
            leading = np.float64(v[row + k])
            length = math.sqrt(square)
            sign = -1.0 if leading < 0.0 else 1.0
            v[row + k] = leading + sign * length
            signs[n, k] = -sign
            halves[n, k] = square + length * abs(leading)


@compiled
def inverted(out: Real, gram: Real, halves: NDArray[np.float64], width: int) -> None:
    """Inverses of the strict upper triangles of ``gram`` (N, b, b) with ``halves`` on the diagonal.

    ``out``: flat (N, b, width) of zeros, ``width`` a multiple of 16 and at least b; row by row from the last one.
    """
    networks, rows = halves.shape
    for n in range(networks):
        for k in range(rows - 1, -1, -1):
            place = (n * rows + k) * width
            inverse = 1.0 / halves[n, k]
            for i in range(k // 16 * 16, width, 16):
                total = load(out, place + i)
                for j in range(k + 1, rows):
                    row = load(out, (n * rows + j) * width + i)
                    total = fma(row, like(row, -gram[n, k, j]), total)
                store(out, place + i, total * inverse)
            out[place + k] = inverse
