"""Operations of the sampled interpretation that look at several rows or units at once: normalisation, attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from mcnet.backend import Backend
from mcnet.programs import rows
from mcnet.programs.names import INPUT
from mcnet.programs.tape import Step, Vector
from mcnet.programs.vocabulary import Axes

Array = Any


def batch_norm(backend: Backend, v: Vector, epsilon: float) -> Step:
    """(v - mean) / sqrt(variance + epsilon) over the inputs, unit by unit; cotangents are plain.

    Differences of inputs are differences of the answer times the standard deviation, whatever the mean: close inputs
    keep what distinguishes them.
    """
    xp, inputs = backend.xp, v.value.shape[1]

    def centred(changes: Array) -> Array:
        """v(t) - mean from the rows in the difference basis, of which the first is not looked at."""
        away = xp.concat([xp.zeros_like(changes[..., :1, :, :]), changes[..., 1:, :, :]], axis=-3)
        return away - xp.sum(away, axis=-3, keepdims=True) / inputs

    rest = centred(v.value)
    wide = xp.astype(rest, xp.float64, copy=False)
    variance = xp.sum(wide * wide, axis=1, keepdims=True) / inputs + epsilon
    there = variance > 0.0
    inverse = xp.where(there, 1.0 / xp.sqrt(xp.where(there, variance, xp.ones_like(variance))), xp.nan * variance)
    inverse = xp.astype(inverse, v.value.dtype, copy=False)  # (N, 1, P, M)
    unit = rest * inverse
    value = xp.concat([unit[:, :1, ...], v.value[:, 1:, ...] * inverse], axis=1)
    scale, direction = inverse[:, None, ...], unit[:, None, ...]

    def pull(c: Array) -> list[Array]:
        mean = xp.sum(c, axis=-3, keepdims=True) / inputs
        along = xp.sum(c * direction, axis=-3, keepdims=True) / inputs
        return [(c - mean - direction * along) * scale]

    def push(tangents: Sequence[Array], inputs: int) -> Array:
        t = rows.with_inputs(xp, tangents[0], inputs)
        c = centred(t)
        along = xp.sum(c * direction, axis=-3, keepdims=True) / inputs
        return rows.to_difference(xp, (c - direction * along) * scale)

    return Step(value, pull, push)


def layer_norm(backend: Backend, v: Vector, epsilon: float, mixing: bool) -> Step:
    """Each row minus its mean over the units, divided by sqrt(variance + epsilon)."""
    xp, units, dtype = backend.xp, v.units, v.value.dtype

    def centred(a: Array) -> Array:
        wide = xp.astype(a, xp.float64, copy=False)
        return wide - xp.sum(wide, axis=-1, keepdims=True) / units

    wide = centred(v.value)  # in the difference basis
    plain = rows.to_plain(xp, wide)
    variance = xp.expand_dims(xp.vecdot(plain, plain), axis=-1) / units + epsilon  # (N, T, P, 1)
    there = variance > 0.0
    size = xp.sqrt(xp.where(there, variance, xp.nan * variance))
    inverse = 1.0 / size
    first = size[:, :1, ...]
    grown = xp.expand_dims(xp.vecdot(wide, plain + plain[:, :1, ...]), axis=-1) / units  # s(t)^2 - s(0)^2
    change = -grown[:, 1:, ...] / (size[:, 1:, ...] * first * (size[:, 1:, ...] + first))
    difference = xp.concat([inverse[:, :1, ...], change], axis=1)
    value = xp.astype(rows.multiplied(xp, wide, inverse, difference), dtype, copy=False)
    unit = xp.astype(plain * inverse, dtype, copy=False)[:, None, ...]
    scale, steps = (xp.astype(a, dtype, copy=False)[:, None, ...] for a in (inverse, difference))

    def through(c: Array, plainly: bool) -> Array:
        """(1 - 1 1^T / M - u u^T / M) c / s: the derivative is symmetric."""
        inputs = c.shape[-3]
        factor, change = (a[:, :, :inputs, ...] for a in (scale, steps))
        direction = unit[:, :, :inputs, ...]
        full = c if plainly else rows.to_plain(xp, c)
        along = xp.expand_dims(xp.vecdot(*xp.broadcast_arrays(full, direction)), axis=-1) / units
        part = direction * along
        c = c - xp.sum(c, axis=-1, keepdims=True) / units
        if plainly:
            return (c - part) * factor
        return rows.multiplied(xp, c - rows.to_difference(xp, part), factor, change)

    def push(tangents: Sequence[Array], inputs: int) -> Array:
        return through(rows.with_inputs(xp, tangents[0], inputs if INPUT in v.axes else 1), False)

    return Step(value, lambda c: [through(c, mixing)], push)


def attention(
    backend: Backend,
    query: Vector,
    key: Vector,
    value: Vector,
    axis: str,
    scale: float,
    mixing: bool,
    note: Callable[[Array], None] | None = None,
) -> Step:
    """Rows of value mixed along an axis by softmax of scale * query.key.

    Scores and weights are float64; rows are plain on the way, and differences of inputs as precise as their type.
    ``note`` is called with the weights, (N, T, rest, n, n).
    """
    xp, dtype = backend.xp, value.value.dtype
    along = Axis(xp, value.axes, axis)

    def opened(a: Array, plainly: bool) -> Array:
        """(..., T, P, M) -> (..., T, rest, n, M) with the axis before the units, plain and float64."""
        wide = xp.astype(a, xp.float64, copy=False)
        return along.opened(wide if plainly else rows.to_plain(xp, wide))

    def closed(a: Array, plainly: bool) -> Array:
        out = along.closed(a)
        return xp.astype(out if plainly else rows.to_difference(xp, out), dtype, copy=False)

    def turned(a: Array) -> Array:
        return xp.matrix_transpose(a)

    q, k, v = (opened(part.value, False) for part in (query, key, value))
    scores = scale * xp.matmul(q, turned(k))
    weights = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
    weights = weights / xp.sum(weights, axis=-1, keepdims=True)  # (N, T, rest, n, n)
    if note is not None:
        note(weights)
    parts = [a[:, None, ...] for a in (q, k, v, weights)]

    def through(change: Array, w: Array) -> Array:
        """Derivative of the softmax, symmetric."""
        return scale * w * (change - xp.sum(w * change, axis=-1, keepdims=True))

    def cut(inputs: int) -> list[Array]:
        return [a[:, :, :inputs, ...] for a in parts]

    def pull(c: Array) -> list[Array]:
        q, k, v, w = cut(c.shape[-3])
        c = opened(c, mixing)
        change = through(xp.matmul(c, turned(v)), w)
        found = (xp.matmul(change, k), xp.matmul(turned(change), q), xp.matmul(turned(w), c))
        return [closed(a, mixing) for a in found]

    def push(tangents: Sequence[Array], inputs: int) -> Array:
        inputs = inputs if INPUT in value.axes else 1
        q, k, v, w = cut(inputs)
        dq, dk, dv = (opened(rows.with_inputs(xp, t, inputs), False) for t in tangents)
        change = through(xp.matmul(dq, turned(k)) + xp.matmul(q, turned(dk)), w)
        return closed(xp.matmul(w, dv) + xp.matmul(change, v), False)

    return Step(closed(xp.matmul(weights, v), False), pull, push)


class Axis:
    """One axis beside the input brought before the units, and back.

    Parameters
    ----------
    xp : namespace
    axes : dict
    axis : str
    """

    def __init__(self, xp: Any, axes: Axes, axis: str) -> None:
        names = [name for name in axes if name != INPUT]
        sizes = rows.others_of(axes)
        place = names.index(axis)
        self._xp, self._size = xp, sizes[place]
        self._before, self._after = math.prod(sizes[:place]), math.prod(sizes[place + 1 :])

    def opened(self, a: Array) -> Array:
        """(..., T, P, M) -> (..., T, P / n, n, M)."""
        xp, lead, units = self._xp, a.shape[:-2], a.shape[-1]
        split = xp.reshape(a, (*lead, self._before, self._size, self._after, units))
        moved = self._turned(split)
        return xp.reshape(moved, (*lead, self._before * self._after, self._size, units))

    def closed(self, a: Array) -> Array:
        """The way back."""
        xp, lead, units = self._xp, a.shape[:-3], a.shape[-1]
        split = xp.reshape(a, (*lead, self._before, self._after, self._size, units))
        moved = self._turned(split)
        return xp.reshape(moved, (*lead, self._before * self._size * self._after, units))

    def _turned(self, split: Array) -> Array:
        axes = list(range(split.ndim))
        axes[-3], axes[-2] = axes[-2], axes[-3]
        return self._xp.permute_dims(split, tuple(axes))
