"""Rows of vectors as arrays (..., T, P, M): inputs, the other axes together, units.

Along the inputs rows are kept in the difference basis (v(0), v(1) - v(0), ..., v(T-1) - v(0)): a small distance between
two inputs keeps its relative precision through sums, multiples, products, maps of the other axes and matrices. A vector
that does not depend on the inputs has T = 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mcnet.programs.names import INPUT
from mcnet.programs.vocabulary import Axes, Matrix

Array = Any


def inputs_of(axes: Axes) -> int:
    """T."""
    return axes.get(INPUT, 1)


def others_of(axes: Axes) -> list[int]:
    """Sizes of the axes beside the input."""
    return [size for name, size in axes.items() if name != INPUT]


def sites_of(axes: Axes) -> int:
    """P, the rows of one input."""
    return math.prod(others_of(axes))


def to_plain(xp: Any, rows: Array) -> Array:
    """From the difference basis to the inputs themselves; axis -3."""
    if rows.shape[-3] == 1:
        return rows
    out = xp.asarray(rows, copy=True)
    out[..., 1:, :, :] += rows[..., :1, :, :]
    return out


def to_difference(xp: Any, rows: Array) -> Array:
    """From the inputs themselves to the difference basis; axis -3."""
    if rows.shape[-3] == 1:
        return rows
    out = xp.asarray(rows, copy=True)
    out[..., 1:, :, :] -= rows[..., :1, :, :]
    return out


def plain_lengths(xp: Any, inputs: int, sites: int, products: Array) -> Array:
    """Squared lengths of the inputs themselves from products in the difference basis: (N, T P, T P) -> (N, T P)."""
    own = xp.linalg.diagonal(products)
    if inputs == 1:
        return own
    split = xp.reshape(products, (-1, inputs, sites, inputs, sites))
    cross = xp.linalg.diagonal(split[:, :, :, 0, :])  # with the first input, (N, T, P)
    own = xp.reshape(own, (-1, inputs, sites))
    first = own[:, :1, :]
    lengths = xp.concat([first, first + 2.0 * cross[:, 1:, :] + own[:, 1:, :]], axis=1)
    return xp.reshape(lengths, (-1, inputs * sites))


def multiplied(xp: Any, rows: Array, plain: Array, difference: Array | None = None) -> Array:
    """Site by site: rows in the difference basis times a factor that is given plainly, in the difference basis.

    p(t) y(t) - p(0) y(0) = p(t) [y(t) - y(0)] + [p(t) - p(0)] y(0). Either may have T = 1.

    Parameters
    ----------
    rows : Array, shape (..., T or 1, P, M)
    plain : Array, shape (..., T or 1, P, M or 1)
    difference : Array, shape as ``plain``
        The factor in the difference basis where that is known more precisely than from ``plain``.
    """
    if plain.shape[-3] == 1 or (rows.shape[-3] == 1 and difference is not None):
        return rows * (plain if plain.shape[-3] == 1 else difference)
    first, rest = plain[..., :1, :, :], plain[..., 1:, :, :]
    change = rest - first if difference is None else difference[..., 1:, :, :]
    y = rows[..., :1, :, :]
    below = change * y
    if rows.shape[-3] > 1:
        below = below + rest * rows[..., 1:, :, :]
    return xp.concat([first * y, below], axis=-3)


def expanded(xp: Any, rows: Array, axes: Axes, wanted: Axes) -> Array:
    """Rows of a vector that is constant along the axes that it lacks: (..., T or 1, P, M); T stays as it is."""
    if others_of(axes) == others_of(wanted):
        return rows
    lead, units = rows.shape[:-2], rows.shape[-1]
    there = [size if name in axes else 1 for name, size in wanted.items() if name != INPUT]
    split = xp.reshape(rows, (*lead, *there, units))
    grown = xp.broadcast_to(split, (*lead, *others_of(wanted), units))
    return xp.reshape(grown, (*lead, sites_of(wanted), units))


def with_inputs(xp: Any, rows: Array, inputs: int) -> Array:
    """In the difference basis of T inputs: zeros below a vector that does not depend on them."""
    if rows.shape[-3] == inputs:
        return rows
    return xp.concat([rows, *[xp.zeros_like(rows)] * (inputs - 1)], axis=-3)


def gathered(xp: Any, cotangent: Array, axes: Axes, wanted: Axes, same_inputs: bool) -> Array:
    """The transpose of :func:`expanded`: sums over the axes that ``axes`` lacks; (..., T, P, M) of ``wanted``.

    ``same_inputs``: cotangents of one input live on its own rows, so nothing is summed over inputs.
    """
    if INPUT in wanted and INPUT not in axes and not same_inputs:
        cotangent = xp.sum(cotangent, axis=-3, keepdims=True)
    missing = [name for name in wanted if name not in axes and name != INPUT]
    if not missing:
        return cotangent
    lead, units = cotangent.shape[:-2], cotangent.shape[-1]
    names = [name for name in wanted if name != INPUT]
    split = xp.reshape(cotangent, (*lead, *others_of(wanted), units))
    total = xp.sum(split, axis=tuple(len(lead) + names.index(name) for name in missing))
    return xp.reshape(total, (*lead, sites_of(axes), units))


class RowMap:
    """A linear map of the rows along one axis that is not the input, applied to arrays (..., T, P, M).

    Parameters
    ----------
    backend : Backend
    matrix : ndarray, shape (new, old)
    axes : dict
        Of the vector mapped.
    axis : str
    """

    def __init__(self, backend: Any, matrix: Matrix, axes: Axes, axis: str) -> None:
        self._xp = backend.xp
        names = [name for name in axes if name != INPUT]
        sizes = others_of(axes)
        place = names.index(axis)
        self._before, self._after = math.prod(sizes[:place]), math.prod(sizes[place + 1 :])
        self._index = self._back = None
        new, old = matrix.shape
        picks = np.argmax(matrix, axis=1)
        if new == old and np.array_equal(matrix, np.eye(old)[picks]) and np.unique(picks).size == old:
            self._index, self._back = backend.place(picks), backend.place(np.argsort(picks))
        self._matrix = backend.place(matrix)

    def apply(self, rows: Array) -> Array:
        """A v."""
        return self._mapped(rows, self._matrix, self._index)

    def transposed(self, cotangent: Array) -> Array:
        """A^T c."""
        return self._mapped(cotangent, self._xp.matrix_transpose(self._matrix), self._back)

    def _mapped(self, rows: Array, matrix: Array, index: Array | None) -> Array:
        xp = self._xp
        lead, units = rows.shape[:-2], rows.shape[-1]
        if index is not None:
            split = xp.reshape(rows, (*lead, self._before, index.shape[0], self._after, units))
            return xp.reshape(xp.take(split, index, axis=-3), rows.shape)
        new, old = matrix.shape
        split = xp.reshape(rows, (*lead, self._before, old, self._after * units))
        mapped = xp.matmul(xp.astype(matrix, rows.dtype, copy=False), split)
        return xp.reshape(mapped, (*lead, self._before * new * self._after, units))
