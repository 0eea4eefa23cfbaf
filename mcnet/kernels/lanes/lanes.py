"""Parts that the fused kernels share: normals of a layer, Gram sums, and the algebra of small matrices in lanes.

Everything is a flat array of vectors of sixteen lanes: element (row, column) of a small matrix stands at
``16 * (row * columns + column)``, and a row of units at ``row * stride``. Gram matrices are lower triangles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.kernels.lanes.generator import normals16
from mcnet.kernels.lanes.simd import (
    Vector,
    f8,
    fma,
    half_power,
    i4,
    inlined,
    lane_numbers,
    like,
    load,
    shared,
    sqrt,
    store,
    sum_lanes,
    where,
    wide,
)

RANK_TOLERANCE = 1e-13  # a pivot below this share of its diagonal entry is none
Matrix = NDArray[np.float64]
Units = NDArray[Any]
"""Float32 or float64, as the precision says."""


@inlined
def fill(
    z: Units,
    place: int,
    first: int,
    blocks: int,
    units: int,
    united: bool,
    network: int,
    tag: int,
    row: int,
    k0: int,
    k1: int,
) -> None:
    """Normals of ``blocks`` counters from block ``first``; those of units beyond ``units`` are zero."""
    if united:
        for b in range(blocks):
            c0 = lane_numbers() + 16 * (first + b)
            n0, n1, n2, n3 = normals16(c0, i4(row), i4(network), i4(tag), k0, k1)
            at = place + 64 * b
            if 64 * (first + b + 1) > units:
                unit = c0 << 2
                n0, n1 = where(unit < units, n0, 0.0), where(unit + 1 < units, n1, 0.0)
                n2, n3 = where(unit + 2 < units, n2, 0.0), where(unit + 3 < units, n3, 0.0)
            store(z, at, n0)
            store(z, at + 16, n1)
            store(z, at + 32, n2)
            store(z, at + 48, n3)
    else:
        networks = lane_numbers() + network
        for b in range(blocks):
            n0, n1, n2, n3 = normals16(i4(first + b), i4(row), networks, i4(tag), k0, k1)
            at = place + 64 * b
            store(z, at, n0)
            store(z, at + 16, n1)
            store(z, at + 32, n2)
            store(z, at + 48, n3)


@shared
def add_gram(x: Units, place: int, stride: int, rows: int, count: int, gram: Matrix) -> None:
    """Add the Gram matrix of ``rows`` (an even number of) rows of ``count`` vectors; the lower triangle only."""
    for p in range(0, rows, 2):
        for q in range(0, p + 1, 2):
            zero = like(load(x, place), 0.0)
            a, b, c, d = zero, zero, zero, zero
            x0, x1 = place + p * stride, place + (p + 1) * stride
            y0, y1 = place + q * stride, place + (q + 1) * stride
            if p == q:
                for i in range(0, 16 * count, 16):
                    u, v = load(x, x0 + i), load(x, x1 + i)
                    a, c, d = fma(u, u, a), fma(u, v, c), fma(v, v, d)
            else:
                for i in range(0, 16 * count, 16):
                    u, v = load(x, x0 + i), load(x, x1 + i)
                    s, t = load(x, y0 + i), load(x, y1 + i)
                    a, b, c, d = fma(u, s, a), fma(u, t, b), fma(v, s, c), fma(v, t, d)
            at = 16 * (p * rows + q)
            store(gram, at, load(gram, at) + wide(a))
            store(gram, at + 16, load(gram, at + 16) + wide(b))
            store(gram, at + 16 * rows, load(gram, at + 16 * rows) + wide(c))
            store(gram, at + 16 * rows + 16, load(gram, at + 16 * rows + 16) + wide(d))


@shared
def factor(s: Matrix, inputs: int, size: int, a: Matrix, rows: int) -> None:
    """Lower Cholesky factor a (inputs x rows) of s (inputs x size), both sixteen times; a pivot of no size is zero.

    An input whose plain length is exactly zero (a dead layer) has minus the row of input 0: its u is exactly zero.
    """
    for t in range(inputs):
        total = load(s, 0) + load(s, 16 * t * size) * 2.0 + load(s, 16 * t * (size + 1))
        for q in range(t + 1):
            x = load(s, 16 * (t * size + q))
            for r in range(q):
                x = x - load(a, 16 * (t * rows + r)) * load(a, 16 * (q * rows + r))
            if q < t:
                pivot = load(a, 16 * q * (rows + 1))
                x = where(pivot > 0.0, x / pivot, 0.0)
                x = where(total == 0.0, 0.0 - load(a, 16 * q), x) if q == 0 else where(total == 0.0, 0.0, x)
            else:
                x = where(x > load(s, 16 * t * (size + 1)) * RANK_TOLERANCE, sqrt(x), 0.0)
                if t > 0:
                    x = where(total == 0.0, 0.0, x)
            store(a, 16 * (t * rows + q), x)


@shared
def orthonormalise(a: Matrix, inputs: int, rows: int, c: Matrix) -> None:
    """a <- a c^-1 for lower triangular a (inputs x rows) and c (the same layout)."""
    for t in range(inputs):
        for q in range(t, -1, -1):
            x = load(a, 16 * (t * rows + q))
            for r in range(q + 1, t + 1):
                x = x - load(a, 16 * (t * rows + r)) * load(c, 16 * (r * rows + q))
            pivot = load(c, 16 * q * (rows + 1))
            store(a, 16 * (t * rows + q), where(pivot > 0.0, x / pivot, 0.0))


@shared
def add_lanes(gram: Matrix) -> None:
    """Sum over the lanes, put into all of them."""
    for at in range(0, gram.size, 16):
        store(gram, at, f8(sum_lanes(load(gram, at))))


@inlined
def limited_power(x: Vector) -> Vector:
    """Power of two near 1/sqrt(x), in the range of float32."""
    x = where(x < 2.0**-240, 2.0**-240, x)
    return half_power(where(x > 2.0**240, 2.0**240, x))
