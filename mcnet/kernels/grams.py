"""Gram matrices in the difference basis (input 0, input t - input 0): pure functions of arrays of any library.

Close inputs have nearly equal rows and columns in the plain basis, and what distinguishes them is lost in rounding; in
the difference basis it stands in entries of its own.
"""

from __future__ import annotations

from typing import Any

Array = Any


def to_difference(gram: Array) -> Array:
    """x_a.x_b -> y_a.y_b with y_0 = x_0, y_t = x_t - x_0; shape (..., T, T). Digits lost before stay lost."""
    first = gram[..., :1, :1]
    row, column = gram[..., :1, 1:], gram[..., 1:, :1]
    return _blocks(first, row - first, column - first, gram[..., 1:, 1:] - row - column + first)


def to_plain(gram: Array) -> Array:
    """y_a.y_b in the difference basis -> x_a.x_b; shape (..., T, T)."""
    first = gram[..., :1, :1]
    row, column = gram[..., :1, 1:], gram[..., 1:, :1]
    return _blocks(first, first + row, first + column, first + (row + column) + gram[..., 1:, 1:])


def _blocks(first: Array, row: Array, column: Array, rest: Array) -> Array:
    xp = rest.__array_namespace__()
    return xp.concat([xp.concat([first, row], axis=-1), xp.concat([column, rest], axis=-1)], axis=-2)


def one_minus_correlations(gram: Array) -> Array:
    """1 - c of all pairs of a difference-basis Gram matrix, shape (..., T, T); NaN where a length is zero.

    Notes
    -----
    With lengths a, b of two inputs and D their squared distance, ``1 - c = (D - (a - b)^2) / (2 a b)``. The relative
    error of 1 - c stays at rounding level for pairs with input 0, and for others that are not much closer to each other
    than to input 0, unless the lengths differ by far more than the directions. By Cauchy and Schwarz it lies in [0, 2];
    what rounding makes of a pair at either end is put there.
    """
    xp = gram.__array_namespace__()
    plain = to_plain(gram)
    first, rest = gram[..., :1, :1] * 0, gram[..., 1:, 1:]
    inner = _blocks(first, gram[..., :1, 1:] * 0, gram[..., 1:, :1] * 0, rest)  # (x_a - x_0).(x_b - x_0)
    square = xp.linalg.diagonal(inner)
    excess = square + 2 * xp.concat([first[..., 0, :], gram[..., 0, 1:]], axis=-1)  # |x_t|^2 - |x_0|^2
    distance = square[..., :, None] + square[..., None, :] - 2 * inner
    length = xp.sqrt(xp.linalg.diagonal(plain))
    product, total = length[..., :, None] * length[..., None, :], length[..., :, None] + length[..., None, :]
    undefined = product == 0
    one = xp.ones_like(product)
    product, total = xp.where(undefined, one, product), xp.where(undefined, one, total)
    stretch = (excess[..., :, None] - excess[..., None, :]) / total
    found = (distance - stretch * stretch) / (2 * product)
    return xp.where(undefined, one * xp.nan, xp.clip(found, 0.0, 2.0))


def correlations(gram: Array) -> Array:
    """Correlations c of all pairs of a difference-basis Gram matrix, shape (..., T, T); NaN where a length is zero."""
    return 1 - one_minus_correlations(gram)


def correlations_of_inputs(gram: Array) -> Array:
    """The same of the Gram matrix of the inputs themselves."""
    xp = gram.__array_namespace__()
    length = xp.sqrt(xp.linalg.diagonal(gram))
    product = length[..., :, None] * length[..., None, :]
    undefined = product == 0
    one = xp.ones_like(product)
    return xp.where(undefined, one * xp.nan, xp.clip(gram / xp.where(undefined, one, product), -1.0, 1.0))
