"""Backward and tangent passes over the tape of a sampled program.

Cotangents of a network are divided by a power of two of its own where they leave a comfortable range at the answer of a
matrix, so that they neither overflow nor vanish in float32 however fast they grow: an array comes with exponents (N,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mcnet.backend import Backend
from mcnet.programs.tape import Vector

Array = Any
Visit = Callable[[Vector, Array, Array], None]
"""Called with a vector, all of its cotangents (N, K, T, P, M), and their exponents (N,)."""

RANGE = 32.0
"""Cotangents are divided by a power of two where their largest entry leaves 2^-RANGE to 2^RANGE."""


def reverse(
    backend: Backend,
    tape: Sequence[Vector],
    start: tuple[Vector, Array],
    wanted: Iterable[Vector],
    visit: Visit,
    scaled: bool = True,
) -> None:
    """Cotangents of all vectors on the way from one to those wanted, the last made first.

    Parameters
    ----------
    backend : Backend
    tape : sequence of Vector
        In the order in which they were made.
    start : tuple of Vector and Array (N or 1, K, T, P, M)
        Where cotangents begin.
    wanted : iterable of Vector
        Nothing is propagated that does not lead to one of them: no matrix is asked for it.
    visit : callable
    scaled : bool
        Whether cotangents that leave a comfortable range are divided by a power of two.
    """
    xp = backend.xp
    leading = _leading({id(v) for v in wanted}, tape)
    top, cotangent = start
    known: dict[int, tuple[Array, Array]] = {id(top): (cotangent, backend.place(np.zeros(1)))}
    for v in reversed(tape):
        if id(v) not in known:
            continue
        c, exponent = known.pop(id(v))
        if v.answer and scaled:
            c, exponent = _in_range(xp, c, exponent)
        visit(v, c, exponent)
        if v.pull is None or not any(id(parent) in leading for parent in v.parents):
            continue
        for parent, part in zip(v.parents, v.pull(c), strict=True):
            if id(parent) in leading:
                other = known.get(id(parent))
                known[id(parent)] = (part, exponent) if other is None else _sum(xp, (part, exponent), other)


def tangents(
    tape: Sequence[Vector],
    starts: Mapping[int, Array],
    output: Vector,
    inputs: int,
    own: Callable[[Vector], Array | None],
) -> Array | None:
    """The tangent (N, K, T', P, M) of one vector from those of others; None where it is zero.

    Parameters
    ----------
    tape : sequence of Vector
    starts : mapping of id to Array
        Tangents at vectors where the way begins.
    output : Vector
    inputs : int
        T', how many of the inputs take part.
    own : callable
        What a vector adds by itself, where weights move; None for nothing.
    """
    needed = _ancestors(output, tape)
    known: dict[int, Array] = dict(starts)
    for v in tape:
        if id(v) not in needed or id(v) in starts:
            continue
        total: Array | None = None
        moving = next((known[id(parent)] for parent in v.parents if id(parent) in known), None)
        if moving is not None:
            parts = [known.get(id(parent), parent.value[:1, None, :1, ...] * 0.0) for parent in v.parents]
            assert v.push is not None
            total = v.push(parts, inputs)
        added = own(v)
        if added is not None:
            total = added if total is None else total + added
        if total is not None:
            known[id(v)] = total
        if v is output:
            break
    return known.get(id(output))


def _leading(wanted: set[int], tape: Sequence[Vector]) -> set[int]:
    """Those wanted and all that are made from them."""
    found = set(wanted)
    for v in tape:
        if any(id(parent) in found for parent in v.parents):
            found.add(id(v))
    return found


def _ancestors(output: Vector, tape: Sequence[Vector]) -> set[int]:
    found = {id(output)}
    for v in reversed(tape):
        if id(v) in found:
            found.update(id(parent) for parent in v.parents)
    return found


def reached(output: Vector, tape: Sequence[Vector]) -> set[int]:
    """Ids of the vectors that an output depends on, itself included."""
    return _ancestors(output, tape)


def powers(xp: Any, exponent: Array, like: Array) -> Array:
    """2^exponent (N,), of the type of an array and to be multiplied with it."""
    factor = xp.astype(xp.pow(xp.full_like(exponent, 2.0), exponent), like.dtype)
    return xp.reshape(factor, (-1, *[1] * (like.ndim - 1)))


def _in_range(xp: Any, c: Array, exponent: Array) -> tuple[Array, Array]:
    size = xp.astype(xp.max(xp.abs(c), axis=tuple(range(1, c.ndim))), xp.float64)
    usable = (size > 0.0) & xp.isfinite(size)
    level = xp.log2(xp.where(usable, size, xp.ones_like(size)))
    shift = xp.where(xp.abs(level) > RANGE, xp.floor(level), xp.zeros_like(level))
    if not bool(xp.any(shift != 0.0)):
        return c, exponent
    return c * powers(xp, -shift, c), exponent + shift


def _sum(xp: Any, a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """The sum of two cotangents, each divided by a power of two."""
    if a[1] is b[1]:
        return a[0] + b[0], a[1]
    exponent = xp.maximum(a[1], b[1])
    scaled = [c * powers(xp, own - exponent, c) for c, own in (a, b)]
    return scaled[0] + scaled[1], exponent
