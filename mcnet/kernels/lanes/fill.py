"""Program: arrays of normals or uniforms, sixteen counters at a time (see :mod:`mcnet.kernels.lanes.programs`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.kernels.lanes.generator import normals_of, uniforms_of, words16
from mcnet.kernels.lanes.simd import Vector, compiled, i4, inlined, lane_numbers, load, store, store_interleaved


@inlined
def _drawn(
    uniform: bool, c0: Vector, c1: Vector, c2: Vector, c3: Vector, k0: int, k1: int
) -> tuple[Vector, Vector, Vector, Vector]:
    x0, x1, x2, x3 = words16(c0, c1, c2, c3, k0, k1)
    return uniforms_of(x0, x1, x2, x3) if uniform else normals_of(x0, x1, x2, x3)


@inlined
def fill_row(
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
    c0 = lane_numbers() + first_block
    for start in range(-skip, columns, 64):
        a, b, c, d = _drawn(uniform, c0, c1, c2, c3, k0, k1)
        c0 = c0 + 16
        if start >= 0 and start + 64 <= columns:
            store_interleaved(out, place + start, a, b, c, d)
        else:
            store_interleaved(part, 0, a, b, c, d)
            for i in range(max(0, start), min(columns, start + 64)):
                out[place + i] = part[i - start]


@inlined
def _copy(source: NDArray[np.float32], start: int, target: NDArray[np.float32], place: int, count: int) -> None:
    for i in range(0, count - 15, 16):
        store(target, place + i, load(source, start + i))
    if count >= 16:
        store(target, place + count - 16, load(source, start + count - 16))
    else:
        for i in range(count):
            target[place + i] = source[start + i]


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
            fill_row(out, line * columns, columns, uniform, first_block, skip, part, c1, c2, i4(tag), k0, k1)
        return
    # Short rows: a group of whole rows at a time, made as one run of counters, then copied without what is beyond.
    group = 1024 // blocks
    c0s, c1s, c2s = np.empty(1040, np.int32), np.empty(1040, np.int32), np.empty(1040, np.int32)
    for j in range(group * blocks):
        c0s[j] = first_block + j % blocks
    padded = np.empty(4160, np.float32)
    row, net = first_row, network
    for first in range(0, networks * rows, group):
        count = min(group, networks * rows - first)
        for j in range(count):
            for b in range(j * blocks, (j + 1) * blocks, 16):  # what is too much is written over by the next row
                store(c1s, b, i4(row))
                store(c2s, b, i4(net))
            row += 1
            if row == first_row + rows:
                row = first_row
                net += 1
        for b in range(0, count * blocks, 16):
            x, y, z, w = _drawn(uniform, load(c0s, b), load(c1s, b), load(c2s, b), i4(tag), k0, k1)
            store_interleaved(padded, 4 * b, x, y, z, w)
        for j in range(count):
            _copy(padded, 4 * j * blocks + skip, out, (first + j) * columns, columns)
