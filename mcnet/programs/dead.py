"""Vectors that are exactly zero, as in a dead layer, and products of rows that know of them."""

from __future__ import annotations

from typing import Any

from mcnet.kernels.vectors import overlaps
from mcnet.programs import rows

Array = Any

DEAD = 1e-9
"""A row is looked at whether it is exactly zero where its squared length is below this share of another one."""


def dead(xp: Any, value: Array) -> Array | None:
    """Rows (..., T, P, 1) whose vector is exactly zero, as in a dead layer; None where there is none."""
    for few in (8, 64):
        some = rows.to_plain(xp, value[..., : min(few, value.shape[-1])])
        if not bool(xp.any(xp.all(some == 0.0, axis=-1))):  # most often, told by a few units
            return None
    return xp.max(xp.abs(rows.to_plain(xp, value)), axis=-1, keepdims=True) == 0.0


def zero_where_asked_zero(xp: Any, question: Array, answer: Array) -> Array:
    """The answer to a vector that is exactly zero: exactly zero, not zero up to rounding.

    In the difference basis its row is minus the row of input 0; rounding would turn phi'(0) on and off at random.
    """
    nothing = dead(xp, question)
    return answer if nothing is None else xp.where(nothing, _nothing(xp, answer), answer)


def _nothing(xp: Any, value: Array) -> Array:
    """Rows of zero vectors in the difference basis, where row 0 is as it is: (..., 1 or T, P, M)."""
    first = value[..., :1, :, :]
    if value.shape[-3] == 1:
        return xp.zeros_like(first)
    return xp.concat([xp.zeros_like(first), *[-first] * (value.shape[-3] - 1)], axis=-3)


def zero_where_dead(xp: Any, value: Array, products: Array) -> Array:
    """Of a vector that is exactly zero the length is exactly zero, whatever the order of the sums; (N, R, R)."""
    lengths = rows.plain_lengths(xp, value.shape[1], value.shape[2], products)
    if not bool(xp.any(lengths <= DEAD * xp.max(lengths, axis=1, keepdims=True))):
        return products
    nothing = dead(xp, value)
    if nothing is None:
        return products
    lead, inputs, sites, _ = value.shape
    flat = xp.reshape(nothing, (lead, inputs * sites, 1))
    for _ in range(2):
        split = xp.reshape(products, (products.shape[0], inputs, sites, products.shape[2]))
        products = xp.where(flat, xp.reshape(_nothing(xp, split), products.shape), products)
        products = xp.matrix_transpose(products)
    return products


def products_at_sites(xp: Any, value: Array, better: Array) -> Array:
    """Products of the inputs per unit at every site of a vector (N, T, P, M): (N or 1, P, T, T), float64.

    ``better``: the same vector in a better precision, or as it is, in any shape.
    """
    (_, inputs, sites, units), networks = value.shape, better.shape[0]
    split = xp.reshape(better, (networks, inputs, sites, units))
    apart = xp.reshape(xp.permute_dims(split, (0, 2, 1, 3)), (networks * sites, inputs, 1, units))
    flat = apart[:, :, 0, :]
    products = zero_where_dead(xp, apart, overlaps(xp, flat, flat) / units)
    return xp.reshape(products, (networks, sites, inputs, inputs))


def at_sites(xp: Any, gram: Array, inputs: int, sites: int) -> Array:
    """Of products of all rows those of the inputs at one site: (N, T P, T P) -> (N, P, T, T)."""
    split = xp.reshape(gram, (-1, inputs, sites, inputs, sites))
    return xp.permute_dims(xp.linalg.diagonal(xp.permute_dims(split, (0, 1, 3, 2, 4))), (0, 3, 1, 2))
