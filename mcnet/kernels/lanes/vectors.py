"""Program: products and sums of rows of float32 vectors, network by network; products and factors are float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.kernels.lanes.simd import compiled, f4, f8, fma, inlined, load, store, sum_lanes, wide

BLOCK = 4096
"""Columns worked off at a time: a few rows of them stay in the fastest cache."""


@inlined
def tile(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    first: tuple[int, int],
    second: tuple[int, int],
    start: int,
    stop: int,
) -> tuple[float, float, float, float]:
    """Products of two rows with two others on columns start..stop; ``first``, ``second``: where the rows begin."""
    s, t, u, v = f8(0.0), f8(0.0), f8(0.0), f8(0.0)
    i = start
    while i + 16 <= stop:
        x, y = wide(load(a, first[0] + i)), wide(load(a, first[1] + i))
        p, q = wide(load(b, second[0] + i)), wide(load(b, second[1] + i))
        s, t, u, v = fma(x, p, s), fma(x, q, t), fma(y, p, u), fma(y, q, v)
        i += 16
    s0, t0, u0, v0 = sum_lanes(s), sum_lanes(t), sum_lanes(u), sum_lanes(v)
    while i < stop:
        xi, yi = np.float64(a[first[0] + i]), np.float64(a[first[1] + i])
        pi, qi = np.float64(b[second[0] + i]), np.float64(b[second[1] + i])
        s0, t0, u0, v0 = s0 + xi * pi, t0 + xi * qi, u0 + yi * pi, v0 + yi * qi
        i += 1
    return s0, t0, u0, v0


@inlined
def _one(a: NDArray[np.float32], b: NDArray[np.float32], first: int, second: int, start: int, stop: int) -> float:
    """The product of one row with one other on columns start..stop, as in a tile."""
    s = f8(0.0)
    i = start
    while i + 16 <= stop:
        s = fma(wide(load(a, first + i)), wide(load(b, second + i)), s)
        i += 16
    total = sum_lanes(s)
    while i < stop:
        total += np.float64(a[first + i]) * np.float64(b[second + i])
        i += 1
    return float(total)


@compiled
def overlaps(
    out: NDArray[np.float64],
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    steps: tuple[int, int],
    size: int,
    symmetric: bool,
) -> None:
    """Add to ``out`` (N, r, k) the products of rows of ``a`` and ``b``, flat, networks ``steps`` apart (0: shared)."""
    networks, rows, others = out.shape
    for n in range(networks):
        for start in range(0, size, BLOCK):
            stop = min(start + BLOCK, size)
            for i in range(0, rows, 2):
                for j in range(0, i + 1 if symmetric else others, 2):
                    at, beside = n * steps[0] + i * size, n * steps[1] + j * size
                    i_more, j_more = i + 1 < rows, j + 1 < others
                    if not (i_more or j_more):
                        out[n, i, j] += _one(a, b, at, beside, start, stop)
                        continue
                    first = (at, at + size * i_more)
                    second = (beside, beside + size * j_more)
                    s, t, u, v = tile(a, b, first, second, start, stop)
                    out[n, i, j] += s
                    if j_more:
                        out[n, i, j + 1] += t
                    if i_more:
                        out[n, i + 1, j] += u
                    if i_more and j_more:
                        out[n, i + 1, j + 1] += v
        if symmetric:
            for i in range(rows):
                for j in range(i):
                    out[n, j, i] = out[n, i, j]


@inlined
def sum_rows(
    out: NDArray[np.float32],
    at: int,
    table: NDArray[np.float32],
    entry: int,
    rows: NDArray[np.float32],
    place: int,
    count: int,
    line: int,
    size: int,
    add: bool,
) -> None:
    """Put or add to ``out`` at ``at`` the sum of ``count`` rows, ``line`` apart, coefficients from ``entry`` on."""
    i = 0
    while i + 16 <= size:
        total = load(out, at + i) if add else f4(0.0)
        for k in range(count):
            total = fma(f4(table[entry + k]), load(rows, place + k * line + i), total)
        store(out, at + i, total)
        i += 16
    while i < size:
        rest = out[at + i] if add else np.float32(0.0)
        for k in range(count):
            rest += table[entry + k] * rows[place + k * line + i]
        out[at + i] = rest
        i += 1


@compiled
def combined(
    out: NDArray[np.float32],
    table: NDArray[np.float32],
    rows: NDArray[np.float32],
    steps: tuple[int, int],
    networks: int,
    wanted: int,
    size: int,
    count: int,
    add: bool,
    lower: bool,
) -> None:
    """Put or add to ``out`` (networks, wanted, size) sums of ``count`` rows; flat arrays, networks ``steps`` apart.

    ``lower``: row r is a sum of the first r + 1 alone, the other coefficients being zero.
    """
    for n in range(networks):
        for r in range(wanted):
            entry = n * steps[0] + r * count
            some = min(r + 1, count) if lower else count
            sum_rows(out, (n * wanted + r) * size, table, entry, rows, n * steps[1], some, size, size, add)


@compiled
def through_slope(
    out: NDArray[np.float32],
    slope: NDArray[np.float32],
    y: NDArray[np.float32],
    steps: tuple[int, int],
    networks: int,
    functionals: int,
    inputs: int,
    size: int,
) -> None:
    """p(t) y(t) in the difference basis, flat arrays (networks, functionals, inputs, size); slopes are plain."""
    for n in range(networks):
        for k in range(functionals):
            here, there = (n * functionals + k) * inputs * size, n * steps[1] + k * inputs * size
            p = n * steps[0]
            for t in range(inputs):
                line = t * size
                i = 0
                while i + 16 <= size:
                    first, other = load(slope, p + i), load(slope, p + line + i)
                    if t == 0:
                        store(out, here + i, first * load(y, there + i))
                    else:
                        x = other * load(y, there + line + i)
                        store(out, here + line + i, fma(other - first, load(y, there + i), x))
                    i += 16
                while i < size:
                    x = slope[p + line + i] * y[there + line + i]
                    if t > 0:
                        x += (slope[p + line + i] - slope[p + i]) * y[there + i]
                    out[here + line + i] = x
                    i += 1


@compiled
def cholesky(
    c: NDArray[np.float64],
    scales: NDArray[np.float64],
    rest: NDArray[np.float64],
    size: NDArray[np.float64],
    tolerance: float,
) -> None:
    """Lower factors (N, r, r) and inverse diagonals (N, r) of ``rest``, which is used up; ``c``, ``scales`` begin as 0.

    A pivot that is not above ``tolerance`` times ``size`` (N, r) is none. Every operation is rounded by itself, in the
    order of the plain function: the numbers are the same to the bit.
    """
    networks, rows, _ = rest.shape
    for n in range(networks):
        for t in range(rows):
            pivot = rest[n, t, t]
            if not pivot > tolerance * size[n, t]:
                continue
            scale = 1.0 / np.sqrt(pivot)
            scales[n, t] = scale
            for i in range(t, rows):
                c[n, i, t] = rest[n, i, t] * scale
            for i in range(t + 1, rows):
                for j in range(t + 1, i + 1):
                    rest[n, i, j] = rest[n, i, j] - c[n, i, t] * c[n, j, t]
