"""Program: answers of Gaussian matrices to the first questions from either side, all of one network after the other.

What stays in the fastest cache: the normals of a network, the vectors that they are multiplied with, the small factors.
Sums and products are those of :mod:`mcnet.kernels.lanes.vectors`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.kernels.lanes.fill import fill_row
from mcnet.kernels.lanes.simd import compiled, i4, inlined, shared
from mcnet.kernels.lanes.vectors import sum_rows, tile

BLOCK = 4096
"""Columns worked off at a time."""

Singles = NDArray[np.float32]
Matrix = NDArray[np.float64]


@shared
def _factored(c: Matrix, inverse: Matrix, at: int, rest: Matrix, size: Matrix, rows: int, tolerance: float) -> None:
    """Lower Cholesky factor and its inverse on the rows with a pivot, at ``at`` among zeros; ``rest`` is used up."""
    for t in range(rows):
        pivot = rest[t * rows + t]
        there = pivot > tolerance * size[t]
        scale = 1.0 / np.sqrt(pivot) if there else 0.0
        for q in range(t, rows):
            c[at + q * rows + t] = rest[q * rows + t] * scale
        for q in range(t + 1, rows):
            for r in range(t + 1, rows):
                rest[q * rows + r] -= c[at + q * rows + t] * c[at + r * rows + t]
        for q in range(t + 1):
            before = 0.0
            for r in range(q, t):
                before += c[at + t * rows + r] * inverse[at + r * rows + q]
            inverse[at + t * rows + q] = scale if q == t else -scale * before


@inlined
def _fill(
    z: Singles, place: int, rows: int, columns: int, start: int, size: int, part: Singles, where: tuple[int, ...]
) -> None:
    """Normals of all rows on columns ``start`` to ``start + size``; ``where``: network, tag and keys."""
    network, tag, k0, k1 = where
    for r in range(rows):
        at = place + r * columns + start
        fill_row(z, at, size, False, start // 4, 0, part, i4(r), i4(network), i4(tag), k0, k1)


@inlined
def _drop(z: Singles, place: int, c: Matrix, at: int, rows: int, columns: int) -> None:
    """Zero where a question lay in the span of those before."""
    for r in range(rows):
        if not c[at + r * rows + r] > 0.0:
            z[place + r * columns : place + (r + 1) * columns] = 0.0


@compiled
def forward(
    answer: Singles,
    fresh: Singles,
    c: Matrix,
    networks: int,
    rows: int,
    columns: int,
    start: int,
    tag: int,
    k0: int,
    k1: int,
) -> None:
    """C z with fresh normals z, (networks, rows, columns) each, flat.

    ``c``: of each network, or one for all; its size tells. ``fresh`` may have room for one network alone.
    """
    part, table = np.empty(64, np.float32), np.empty(rows * rows, np.float32)
    factors, kept = c.size // (rows * rows), fresh.size == answer.size
    for n in range(networks):
        place, at = n * rows * columns, (n if factors > 1 else 0) * rows * rows
        z = place if kept else 0
        for i in range(rows * rows):
            table[i] = c[at + i]
        for first in range(0, columns, BLOCK):
            some = min(BLOCK, columns - first)
            _fill(fresh, z, rows, columns, first, some, part, (start + n, tag, k0, k1))
            for r in range(rows):
                to = place + r * columns + first
                sum_rows(answer, to, table, r * rows, fresh, z + first, r + 1, columns, some, False)
        if kept:
            _drop(fresh, place, c, at, rows, columns)


@shared
def _products(
    out: Matrix,
    a: Singles,
    b: Singles,
    places: tuple[int, int],
    counts: tuple[int, int],
    line: int,
    start: int,
    stop: int,
) -> None:
    """Add the products of rows of a and of b on columns ``start`` to ``stop``; all rows are ``line`` apart."""
    rows, others = counts
    for i in range(0, rows, 2):
        for j in range(0, others, 2):
            i_more, j_more = i + 1 < rows, j + 1 < others
            at, beside = places[0] + i * line, places[1] + j * line
            first, second = (at, at + line * i_more), (beside, beside + line * j_more)
            s, t, u, v = tile(a, b, first, second, start, stop)
            out[i * others + j] += s
            if j_more:
                out[i * others + j + 1] += t
            if i_more:
                out[(i + 1) * others + j] += u
            if i_more and j_more:
                out[(i + 1) * others + j + 1] += v


@compiled
def backward(
    answer: Singles,
    fresh: Singles,
    c: Matrix,
    inverse: Matrix,
    told: Matrix,
    bias: Matrix,
    d: Singles,
    answers: Singles,
    questions: Singles,
    forward_inverse: Matrix,
    constants: Matrix,
    steps: tuple[int, int, int],
    networks: int,
    counts: tuple[int, int],
    units: int,
    inputs: int,
    deviation: float,
    shift: float,
    tolerance: float,
    start: int,
    tag: int,
    k0: int,
    k1: int,
) -> None:
    """Answers to first questions d (networks, rows, units) from the left, after some from the right.

    With forward questions x and answers U of their orthonormal ones, D^T D = C C^T of d and fresh normals z of
    ``inputs`` units, all as in :class:`mcnet.weights.asked.AskedGaussian`:

        told = C^-1 d U^T,    coefficients = (told - (deviation z x^T + shift bias constants^T) C_x^-T) C_x^-1,
        z <- z + deviation coefficients x,    bias <- bias + shift coefficients constants,    answer = deviation C z .

    ``fresh`` may have room for one network alone. ``steps``: how far networks lie apart in d, U and x, 0 where there is
    one for all; ``counts``: rows of d, of x.
    """
    rows, others = counts
    part, table = np.empty(64, np.float32), np.empty(rows * rows, np.float32)
    rest, size = np.empty(rows * rows), np.empty(rows)
    asked, surplus, turned = np.empty(rows * others), np.empty(rows * others), np.empty(rows * others)
    moved = np.empty(rows * others, np.float32)
    factors, kept = forward_inverse.size // (others * others), fresh.size == answer.size
    for n in range(networks):
        place, at, to = n * rows * inputs, n * rows * rows, n * rows * others
        z = place if kept else 0
        own, there, x = n * steps[0], n * steps[1], n * steps[2]
        f = (n if factors > 1 else 0) * others * others
        rest[:] = 0.0
        asked[:] = 0.0
        surplus[:] = 0.0
        for first in range(0, units, BLOCK):
            stop = min(first + BLOCK, units)
            _products(rest, d, d, (own, own), (rows, rows), units, first, stop)
            _products(asked, d, answers, (own, there), counts, units, first, stop)
        for r in range(rows):
            size[r] = rest[r * rows + r]
        _factored(c, inverse, at, rest, size, rows, tolerance)
        for first in range(0, inputs, BLOCK):
            some = min(BLOCK, inputs - first)
            _fill(fresh, z, rows, inputs, first, some, part, (start + n, tag, k0, k1))
            _products(surplus, fresh, questions, (z, x), counts, inputs, first, first + some)
        for r in range(rows):
            for t in range(others):
                total = 0.0
                for q in range(r + 1):
                    total += inverse[at + r * rows + q] * asked[q * others + t]
                told[to + r * others + t] = total
                surplus[r * others + t] = deviation * surplus[r * others + t] + shift * (
                    bias[n * rows + r] * constants[t]
                )
        for r in range(rows):
            for t in range(others):
                total = told[to + r * others + t]
                for q in range(t + 1):
                    total -= surplus[r * others + q] * forward_inverse[f + t * others + q]
                turned[r * others + t] = total
        for r in range(rows):
            for t in range(others):
                total = 0.0
                for q in range(t, others):
                    total += turned[r * others + q] * forward_inverse[f + q * others + t]
                bias[n * rows + r] += shift * (total * constants[t])
                moved[r * others + t] = deviation * total
        for i in range(rows * rows):
            table[i] = c[at + i] * deviation
        for first in range(0, inputs, BLOCK):
            some = min(BLOCK, inputs - first)
            for r in range(rows):
                here, entry = z + r * inputs + first, r * others
                sum_rows(fresh, here, moved, entry, questions, x + first, others, inputs, some, True)
            for r in range(rows):
                here, entry = place + r * inputs + first, r * rows
                sum_rows(answer, here, table, entry, fresh, z + first, r + 1, inputs, some, False)
        if kept:
            _drop(fresh, place, c, at, rows, inputs)
        for r in range(rows):
            if not c[at + r * rows + r] > 0.0:
                bias[n * rows + r] = 0.0
