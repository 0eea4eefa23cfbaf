"""Program: arrays of normals or uniforms, sixteen counters at a time (see :mod:`mcnet.kernels.programs`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.kernels.generator import normals16, uniforms16
from mcnet.kernels.simd import Vector, compiled, i4, inlined, lane_numbers, load, store_interleaved


@inlined
def _store64(
    out: NDArray[np.float32],
    place: int,
    uniform: bool,
    c0: Vector,
    c1: Vector,
    c2: Vector,
    c3: Vector,
    k0: int,
    k1: int,
) -> None:
    if uniform:
        a, b, c, d = uniforms16(c0, c1, c2, c3, k0, k1)
    else:
        a, b, c, d = normals16(c0, c1, c2, c3, k0, k1)
    store_interleaved(out, place, a, b, c, d)


@inlined
def _fill_row(
    out: NDArray[np.float32],
    place: int,
    columns: int,
    uniform: bool,
    first_block: int,
    skip: int,
    part: NDArray[np.float32],
    c1: Vector,
    c2: Vector,
    c3: Vector,
    k0: int,
    k1: int,
) -> None:
    """One long row: sixteen neighbouring counters in the lanes."""
    for start in range(-skip, columns, 64):
        c0 = lane_numbers() + (first_block + (start + skip) // 4)
        if start >= 0 and start + 64 <= columns:
            _store64(out, place + start, uniform, c0, c1, c2, c3, k0, k1)
        else:
            _store64(part, 0, uniform, c0, c1, c2, c3, k0, k1)
            for i in range(max(0, start), min(columns, start + 64)):
                out[place + i] = part[i - start]


@compiled
def fill(
    out: NDArray[np.float32],
    networks: int,
    rows: int,
    columns: int,
    uniform: bool,
    k0: int,
    k1: int,
    network: int,
    tag: int,
    first_row: int,
    first_column: int,
) -> None:
    """Fill ``out``, the flat form of an array (networks, rows, columns)."""
    skip = first_column % 4
    first_block = first_column // 4
    blocks = (skip + columns + 3) // 4
    if blocks >= 64:
        part = np.empty(64, np.float32)
        for line in range(networks * rows):
            c1, c2 = i4(first_row + line % rows), i4(network + line // rows)
            _fill_row(out, line * columns, columns, uniform, first_block, skip, part, c1, c2, i4(tag), k0, k1)
        return
    # Short rows: a group of whole rows at a time, made as one run of counters, then copied without what is beyond.
    group = 1024 // blocks
    c0s, c1s, c2s = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.int32)
    for j in range(group * blocks):
        c0s[j] = first_block + j % blocks
    padded = np.empty(4096, np.float32)
    for first in range(0, networks * rows, group):
        count = min(group, networks * rows - first)
        for j in range(count):
            row, net = first_row + (first + j) % rows, network + (first + j) // rows
            for b in range(j * blocks, (j + 1) * blocks):
                c1s[b] = row
                c2s[b] = net
        for b in range(0, count * blocks, 16):
            _store64(padded, 4 * b, uniform, load(c0s, b), load(c1s, b), load(c2s, b), i4(tag), k0, k1)
        for j in range(count):
            source, target = 4 * j * blocks + skip, (first + j) * columns
            for i in range(columns):
                out[target + i] = padded[source + i]
