"""Windows of a circular grid: the rows at shifted places side by side, as the question of a convolution.

    question(p) = (s_1 v(p + o_1), s_2 v(p + o_2), ...)

Side by side they are as many times larger than v as there are taps, and copying them takes as long as a product of few
channels. A product needs less: taps with one offset along the first axis of the grid are side by side in a slab, which
with a margin of rows serves every such offset,

    sum_taps W_tap s_tap v(p + o_tap) = sum_a W_a slab(p + a) ,

as a view of other rows of it. A window of three by three is copied three times, not nine.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
Offsets = tuple[int, ...]

LARGE = 1 << 16
"""Entries of the windows of one network from which a product takes them from slabs; fewer stay in the cache."""


@dataclass(frozen=True)
class Windows:
    """Windows of vectors, which exist where they are asked for.

    Attributes
    ----------
    xp : namespace
    value : Array, shape (..., P, M)
        v.
    sizes : tuple of int
        Of the axes that P stands for.
    offsets : tuple of tuple of int
        For each tap one for each of these axes, 0 where the window has no extent.
    scales : tuple of float
        Factors of the taps.
    """

    xp: Any
    value: Array
    sizes: tuple[int, ...]
    offsets: tuple[Offsets, ...]
    scales: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of :meth:`rows`."""
        return (*self.value.shape[:-1], len(self.offsets) * self.value.shape[-1])

    @property
    def large(self) -> bool:
        """Whether a product with them is faster from slabs."""
        return math.prod(self.shape[1:]) > LARGE

    def rows(self) -> Array:
        """All taps side by side, (..., P, taps M)."""
        units = self.value.shape[-1]
        grid = self.xp.reshape(self.value, (*self.value.shape[:-2], *self.sizes, units))
        out = _room(self.xp, (*grid.shape[:-1], len(self.offsets), units), grid)
        for tap, (offsets, scale) in enumerate(zip(self.offsets, self.scales, strict=True)):
            _put(out[..., tap, :], grid, self.sizes, offsets, scale)
        return self.xp.reshape(out, self.shape)

    def product(self, weights: Array, factor: float) -> Array:
        """Of ``factor`` times each window of v (N or 1, T, P, M) with a matrix: (N, units, taps M) -> (N, T P, units).

        ``rows`` times the transpose of ``weights``, to rounding: the sum over taps is taken in another order.
        """
        xp = self.xp
        networks, inputs, sites, units = self.value.shape
        moved = (axis for axis, size in enumerate(self.sizes) if any(offsets[axis] % size for offsets in self.offsets))
        axis = next(moved, 0)
        outer, size = inputs * math.prod(self.sizes[:axis]), self.sizes[axis]
        inner = self.sizes[axis + 1 :]
        grid = xp.reshape(self.value, (networks, outer, size, *inner, units))
        places = [_near(offsets[axis], size) for offsets in self.offsets]
        low, high = max(0, -min(places)), max(0, *places)
        slabs: dict[Any, Array] = {}
        total: Array = None
        part: Array = None  # memory of the products beside the first
        first = 0
        transposed = xp.matrix_transpose(weights)[:, None, :, :]  # (N, 1, taps M, units)
        for place, group in itertools.groupby(zip(places, self.offsets, self.scales, strict=True), lambda tap: tap[0]):
            taps = tuple((offsets[axis + 1 :], scale * factor) for _, offsets, scale in group)
            if taps not in slabs:
                slabs[taps] = _slab(xp, grid, inner, taps, (low, high))
            rows = slabs[taps][:, :, low + place : low + place + size, ...]
            wide = len(taps) * units
            flat = xp.reshape(rows, (networks, outer, -1, wide))
            some = transposed[:, :, first : first + wide, :]
            if total is None:
                total = xp.matmul(flat, some)
            elif xp is np:
                part = np.matmul(flat, some, out=part)
                total += part
            else:
                total += xp.matmul(flat, some)
            first += wide
        return xp.reshape(total, (total.shape[0], inputs * sites, total.shape[-1]))

    def transposed(self, cotangent: Array) -> Array:
        """Cotangents of v from those of the windows: (..., P, taps M) -> (..., P, M)."""
        xp, units = self.xp, self.value.shape[-1]
        lead = cotangent.shape[:-2]
        split = xp.reshape(cotangent, (*lead, *self.sizes, len(self.offsets), units))
        total = _room(xp, (*lead, *self.sizes, units), cotangent)
        for tap, (offsets, scale) in enumerate(zip(self.offsets, self.scales, strict=True)):
            back = tuple(-offset for offset in offsets)
            _put(total, split[..., tap, :], self.sizes, back, scale, add=tap > 0)
        return xp.reshape(total, (*lead, -1, units))

    def of(self, value: Array) -> Windows:
        """The same windows of other vectors on this grid."""
        return Windows(self.xp, value, self.sizes, self.offsets, self.scales)


def _room(xp: Any, shape: Sequence[int], like: Array) -> Array:
    """An array to be written to, of the type and place of another."""
    if xp is np:
        return np.empty(shape, like.dtype)
    return xp.reshape(xp.tile(xp.reshape(like, (-1,))[:1], (math.prod(shape),)), shape)


def _near(offset: int, size: int) -> int:
    """The same place of a circle, at most half of it away."""
    return (offset + size // 2) % size - size // 2


def _pieces(size: int, offset: int) -> list[tuple[slice, slice]]:
    """Where rows p and p + offset of a circle stand: one piece, or two."""
    start = offset % size
    whole = [(slice(0, size - start), slice(start, size)), (slice(size - start, size), slice(0, start))]
    return whole if start else whole[:1]


def _put(out: Array, grid: Array, sizes: Sequence[int], offsets: Offsets, scale: float, add: bool = False) -> None:
    """Write or add scale v(p + offset) for all p: arrays (..., sizes, M)."""
    for pieces in itertools.product(*(_pieces(*axis) for axis in zip(sizes, offsets, strict=True))):
        here: Any = (..., *(target for target, _ in pieces), slice(None))
        there: Any = (..., *(source for _, source in pieces), slice(None))
        if add:
            out[here] += scale * grid[there]
        elif isinstance(out, np.ndarray):
            np.multiply(grid[there], scale, out=out[here])  # one pass
        else:
            out[here] = scale * grid[there]


def _slab(
    xp: Any,
    grid: Array,
    inner: tuple[int, ...],
    taps: Sequence[tuple[Offsets, float]],
    margins: tuple[int, int],
) -> Array:
    """Taps side by side, rows of the other end at both: (N, outer, low + size + high, *inner, taps, M)."""
    networks, outer, size = grid.shape[:3]
    units = grid.shape[-1]
    low, high = margins
    slab = _room(xp, (networks, outer, low + size + high, *inner, len(taps), units), grid)
    middle = slab[:, :, low : low + size, ...]
    for tap, (offsets, scale) in enumerate(taps):
        _put(middle[..., tap, :], grid, inner, offsets, scale)
    if low:
        slab[:, :, :low, ...] = slab[:, :, size : size + low, ...]
    if high:
        slab[:, :, low + size :, ...] = slab[:, :, low : low + high, ...]
    return slab
