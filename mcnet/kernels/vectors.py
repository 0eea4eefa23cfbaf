"""Passes over sets of vectors: on the CPU by programs of their own, elsewhere by functions of the array namespace.

Rows are float32 or float64, (N or 1, rows, n); sums over the units are float64. What is done to one network does not
depend on the networks beside it.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.activations.table import Activation

Array = Any

COLUMNS = 1 << 12
"""Columns of which overlaps are summed at a time."""

PART = 1 << 18
"""Entries of vectors whose overlaps are taken at a time."""

LARGE = 1 << 16
"""Entries of the rows of one network from which its products are a call of their own."""

FEW_ROWS = 16
"""Up to so many rows on one side programs are faster than BLAS: its calls take time, and copies in float64."""

LANES = 16
"""Units that a program for an activation reads and writes at once; it has no room in shorter rows."""

LONG_ROWS = 128
"""Units from which it pays to compile a program for an activation."""


def overlaps(xp: Any, a: Array, b: Array) -> Array:
    """a.b of all rows, summed in float64: (N or 1, r, n), (N or 1, k, n) -> (N, r, k)."""
    if _single(xp, a) and _single(xp, b) and min(a.shape[1], b.shape[1]) <= FEW_ROWS:
        out = np.zeros((max(a.shape[0], b.shape[0]), a.shape[1], b.shape[1]))
        if a.size and b.size:
            (first, step), (second, other) = in_line(a), in_line(b)
            _program("vectors").overlaps(out, first, second, (step, other), a.shape[2], a is b)
        return out
    return _in_parts(xp, a, b)


def _in_parts(xp: Any, a: Array, b: Array) -> Array:
    """The same in parts that stay in the cache, float64 copies included."""
    lead, columns = max(a.shape[0], b.shape[0]), a.shape[2]
    together = max(1, PART // ((a.shape[1] + b.shape[1]) * min(columns, COLUMNS)))
    found = []
    for first in range(0, lead, together):
        some = slice(first, min(first + together, lead))
        ours, theirs = (rows if rows.shape[0] == 1 else rows[some, ...] for rows in (a, b))
        total: Array = None
        for column in range(0, columns, COLUMNS):
            here = slice(column, min(column + COLUMNS, columns))
            part = _overlaps(xp, ours[:, :, here], None if a is b else theirs[:, :, here])
            total = part if total is None else total + part
        found.append(total)
    return found[0] if len(found) == 1 else xp.concat(found, axis=0)


def _overlaps(xp: Any, a: Array, b: Array | None) -> Array:
    """The same of one part; None: of a with itself."""
    a = xp.astype(a, xp.float64, copy=False)
    b = a if b is None else xp.astype(b, xp.float64, copy=False)
    return xp.matmul(a, xp.matrix_transpose(b))


def combined(xp: Any, coefficients: Array, rows: Array, to: Array | None = None, lower: bool = False) -> Array:
    """Sums of rows, (N or 1, r, k), (N or 1, k, n) -> (N, r, n), in the type of the rows; added in place to ``to``.

    ``lower``: coefficients right of the diagonal are zero.
    """
    coefficients = xp.astype(coefficients, rows.dtype, copy=False)
    if _single(xp, rows) and max(coefficients.shape[1:]) <= FEW_ROWS:
        lead = max(coefficients.shape[0], rows.shape[0])
        out = np.empty((lead, coefficients.shape[1], rows.shape[2]), np.float32) if to is None else to
        out = np.ascontiguousarray(out)
        (flat, step), (table, other) = in_line(rows), in_line(np.ascontiguousarray(coefficients))
        sizes = (*out.shape, rows.shape[1])
        _program("vectors").combined(out.reshape(-1), table, flat, (other, step), *sizes, to is not None, lower)
        return out
    if rows.shape[1] * rows.shape[2] < LARGE:
        found = xp.matmul(coefficients, rows)
    else:
        lead = max(coefficients.shape[0], rows.shape[0])  # a product of one network is faster as a call of its own
        each = [[part[n if part.shape[0] > 1 else 0, ...] for part in (coefficients, rows)] for n in range(lead)]
        products = [xp.matmul(*pair) for pair in each]
        found = products[0][None, ...] if lead == 1 else xp.stack(products, axis=0)
    return found if to is None else to + found


def cholesky(xp: Any, square: Array, size: Array, tolerance: float) -> tuple[Array, Array]:
    """Lower Cholesky factor of (N, r, r), and the inverse of its diagonal (N, r); zero where there is no pivot.

    A pivot is one above ``tolerance`` times the squared length ``size`` (N or 1, r) of the full row.
    """
    rest = xp.asarray(square, copy=True)
    c, scales = xp.zeros_like(rest), xp.zeros_like(rest[:, :, 0])
    if xp is np and rest.dtype == np.float64:
        full = np.ascontiguousarray(np.broadcast_to(size, scales.shape))
        _program("vectors").cholesky(c, scales, rest, full, tolerance)
        return c, scales
    one = xp.ones_like(rest[:, 0, 0])
    for t in range(rest.shape[1]):
        pivot = rest[:, t, t]
        there = pivot > tolerance * size[:, t]
        scale = xp.where(there, 1.0 / xp.sqrt(xp.where(there, pivot, one)), 0.0 * one)
        c[:, t:, t] = rest[:, t:, t] * scale[:, None]
        below = c[:, t + 1 :, t]
        rest[:, t + 1 :, t + 1 :] -= below[:, :, None] * below[:, None, :]
        scales[:, t] = scale
    return c, scales


def activated(
    xp: Any, activation: Activation, u: Array, slopes: bool, least: int = LONG_ROWS
) -> tuple[Array, Array | None] | None:
    """phi(u) in the difference basis and, where wanted, phi'(u) of the inputs themselves, (N, T, n), in one pass.

    None where there is no program for it (one works on sixteen units at a time), or (n below ``least``) too little work
    to compile one.
    """
    if not _single(xp, u) or u.shape[2] < max(least, LANES):
        return None
    u = np.ascontiguousarray(u)
    h, slope = np.empty_like(u), np.empty_like(u) if slopes else None
    flat = h.reshape(-1)
    _layer(activation).layer(flat, flat if slope is None else slope.reshape(-1), u.reshape(-1), *u.shape, slopes)
    return h, slope


def through_slope(xp: Any, slope: Array, y: Array) -> Array:
    """p(t) y(t) in the difference basis: slopes (N or 1, T, n), vectors (N or 1, K, T, n) -> (N, K, T, n).

    p(t) y(t) - p(0) y(0) = p(t) [y(t) - y(0)] + [p(t) - p(0)] y(0).
    """
    if _single(xp, slope) and _single(xp, y):
        shape = (max(slope.shape[0], y.shape[0]), *y.shape[1:])
        p, c = np.ascontiguousarray(slope), np.ascontiguousarray(y)
        out = np.empty(shape, np.float32)
        steps = tuple(part[0].size if part.shape[0] > 1 else 0 for part in (p, c))
        if out.size:
            _program("vectors").through_slope(out.reshape(-1), p.reshape(-1), c.reshape(-1), steps, *shape)
        return out
    p = xp.expand_dims(slope, axis=1)
    first, rest = p[:, :, :1, :], p[:, :, 1:, :]
    y_first = y[:, :, :1, :]
    return xp.concat([first * y_first, rest * y[:, :, 1:, :] + (rest - first) * y_first], axis=2)


def _single(xp: Any, a: Array) -> bool:
    return xp is np and a.dtype == np.float32


def _program(name: str) -> Any:
    from mcnet.kernels.lanes.programs import program  # Numba, which other devices do without

    return program(name)


@functools.cache
def _layer(activation: Activation) -> Any:
    from mcnet.kernels.lanes.programs import program

    return program("layer", activation)


def in_line(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Rows (N or 1, r, n) as one line of memory, and how far networks lie apart in it; 0 where there is one."""
    networks, count, size = rows.shape
    if rows.flags.c_contiguous:
        return rows.reshape(-1), count * size if networks > 1 else 0
    step, line, one = (stride // rows.itemsize for stride in rows.strides)
    if one != 1 or (count > 1 and line != size) or (networks > 1 and step < count * size):
        rows, step = np.ascontiguousarray(rows), count * size
    length = (networks - 1) * step + count * size
    return np.lib.stride_tricks.as_strided(rows, (length,), (rows.itemsize,)), step if networks > 1 else 0
