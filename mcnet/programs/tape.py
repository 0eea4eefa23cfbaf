"""Vectors of the sampled interpretation, and how cotangents and tangents pass through the operations on them.

A vector holds its value (N or 1, T, P, M), rows in the difference basis (:mod:`mcnet.programs.rows`), and, where a
backward pass may follow, two functions: ``pull`` takes the cotangents of the vector to those of what it was made from,
``push`` takes tangents of those to its own. Tangents (N, K, T, P, M), K directions, are in the difference basis; one
with T = 1 is the same for all inputs.

Cotangents (N, K, T, P, M) are those of K functionals. Where the program does not mix inputs, functional k means one for
each input, (k, t), whose cotangent lives on the rows of input t alone: they are stored together and in the difference
basis, and vectors that do not depend on the inputs have T rows of cotangents all the same. Where it mixes inputs there
is one functional for each (k, t), K in all, and rows are plain.

Both functions serve the first T' inputs alone where that is what they are given; the program must not mix inputs then.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mcnet.activations import Activation
from mcnet.backend import Backend
from mcnet.kernels import vectors
from mcnet.kernels.windows import Windows
from mcnet.programs import rows
from mcnet.programs.names import INPUT
from mcnet.programs.rows import RowMap
from mcnet.programs.vocabulary import AbstractInterpreter, AbstractVector, Axes, Matrix

Array = Any
Pull = Callable[[Array], Sequence[Array]]
Push = Callable[[Sequence[Array], int], Array]


@dataclass(eq=False)
class Vector(AbstractVector):
    """A vector of N networks.

    Attributes
    ----------
    made : Array, shape (N or 1, T, P, M), or Windows
        The value, or the windows that it consists of until it is asked for.
    parents : tuple of Vector
        What it was made from; empty where no backward pass is to follow.
    taps : tuple of float
        Of patches: variance of the taps, which take equal shares of the units in turn.
    answer : bool
        Whether it is the answer of a matrix.
    units : int
        M; the value has fewer where the rest is not looked at (:mod:`mcnet.programs.shapes`).
    """

    interpreter: AbstractInterpreter
    axes: Axes
    made: Array | Windows
    fan: int
    parents: tuple[Vector, ...] = ()
    pull: Pull | None = None
    push: Push | None = None
    taps: tuple[float, ...] = ()
    answer: bool = False
    units: int = 0

    def __post_init__(self) -> None:
        self.units = self.units or int(self.made.shape[3])

    @property
    def value(self) -> Array:
        """Its entries, (N or 1, T, P, M)."""
        if isinstance(self.made, Windows):
            self.made = self.made.rows()
        return self.made


class Step(NamedTuple):
    """What an operation makes: the value (an array, or windows), and how cotangents and tangents pass it."""

    value: Array | Windows
    pull: Pull
    push: Push


@dataclass(frozen=True)
class Operations:
    """The operations on vectors that ask no matrix.

    Attributes
    ----------
    backend : Backend
    mixing : bool
        Whether the program mixes inputs: what cotangents are.
    one_functional : bool
        Whether cotangents of one functional are wanted, again and again: slopes are made with the values, and programs
        for activations at any width.
    """

    backend: Backend
    mixing: bool
    one_functional: bool = False

    def combination(self, terms: Sequence[tuple[float, Vector]], constant: float, axes: Axes) -> Step:
        """Sum of multiples, plus a constant."""
        xp, inputs = self.backend.xp, rows.inputs_of(axes)
        total = self._summed([(a, v.value, v.axes) for a, v in terms], axes, inputs)
        if constant:
            first = total[:, :1, ...] + constant
            total = first if total.shape[1] == 1 else xp.concat([first, total[:, 1:, ...]], axis=1)

        def pull(c: Array) -> list[Array]:
            parts = []
            for a, v in terms:
                part = rows.gathered(xp, c, v.axes, axes, not self.mixing)
                parts.append(part if a == 1.0 else a * part)
            return parts

        def push(tangents: Sequence[Array], inputs: int) -> Array:
            moved = [(a, t, v.axes) for (a, v), t in zip(terms, tangents, strict=True)]
            return self._summed(moved, axes, inputs if INPUT in axes else 1)

        return Step(total, pull, push)

    def _summed(self, terms: Sequence[tuple[float, Array, Axes]], axes: Axes, inputs: int) -> Array:
        xp = self.backend.xp
        total: Array = None
        for a, value, own in terms:
            part = rows.with_inputs(xp, rows.expanded(xp, value, own, axes), inputs)
            part = part if a == 1.0 else a * part
            total = part if total is None else total + part
        return total

    def product(self, a: Vector, b: Vector, axes: Axes) -> Step:
        """Site by site."""
        xp = self.backend.xp
        wide = [rows.expanded(xp, v.value, v.axes, axes) for v in (a, b)]
        plain = [rows.to_plain(xp, value) for value in wide]
        value = rows.multiplied(xp, wide[0], plain[1], wide[1])

        def pull(c: Array) -> list[Array]:
            parts = []
            for this, other in ((a, 1), (b, 0)):
                part = self._through(c, plain[other], wide[other])
                parts.append(rows.gathered(xp, part, this.axes, axes, not self.mixing))
            return parts

        def push(tangents: Sequence[Array], inputs: int) -> Array:
            moved = []
            inputs = inputs if INPUT in axes else 1
            for tangent, this, other in zip(tangents, (a, b), (1, 0), strict=True):
                t = rows.expanded(xp, tangent, this.axes, axes)
                t = rows.with_inputs(xp, t, inputs)
                moved.append(rows.multiplied(xp, t, *self._first(inputs, plain[other], wide[other])))
            return moved[0] + moved[1]

        return Step(value, pull, push)

    def elementwise(self, activation: Activation, v: Vector, slopes: bool) -> Step:
        """An activation; ``slopes``: whether a backward pass may follow."""
        xp = self.backend.xp
        shape = v.value.shape
        least = 1 if self.one_functional else vectors.LONG_ROWS
        made = vectors.activated(xp, activation, xp.reshape(v.value, (*shape[:2], -1)), slopes, least)
        if made is not None:
            value, known = (None if part is None else xp.reshape(part, shape) for part in made)
        elif self.one_functional and slopes and xp is np:
            value, known = activation.both(rows.to_plain(xp, v.value))
            value = rows.to_difference(xp, value)
        else:
            plain = rows.to_plain(xp, v.value)
            value, known = rows.to_difference(xp, activation.phi(plain, self.backend.mathematics(plain))), None

        def slope() -> Array:
            nonlocal known
            if known is None:
                u = rows.to_plain(xp, v.value)
                known = activation.dphi(u, self.backend.mathematics(u))
            return known

        def pull(c: Array) -> list[Array]:
            p = slope()
            if self.mixing:
                return [c * p[:, None, ...]]
            inputs = c.shape[2]
            flat = xp.reshape(p[:, :inputs, ...], (p.shape[0], inputs, -1))
            found = vectors.through_slope(xp, flat, xp.reshape(c, (*c.shape[:3], -1)))
            return [xp.reshape(found, (found.shape[0], *c.shape[1:]))]

        def push(tangents: Sequence[Array], inputs: int) -> Array:
            (t,) = tangents
            t = rows.with_inputs(xp, t, inputs if INPUT in v.axes else 1)
            return rows.multiplied(xp, t, *self._first(t.shape[-3], slope(), None))

        return Step(value, pull, push)

    def _first(self, inputs: int, plain: Array, difference: Array | None) -> tuple[Array, Array | None]:
        """Factors (N, T, P, M) of the first inputs, with an axis for directions."""
        factors = (plain, difference)
        cut = [None if part is None else part[:, None, : min(inputs, part.shape[1]), :, :] for part in factors]
        return cut[0], cut[1]

    def _through(self, c: Array, plain: Array, difference: Array | None) -> Array:
        """Cotangents times a factor, site by site."""
        factor, change = self._first(c.shape[-3], plain, difference)
        if self.mixing:
            return c * factor
        return rows.multiplied(self.backend.xp, c, factor, change)

    def mapped(self, matrix: Matrix, v: Vector, axis: str) -> Step:
        """A linear map along an axis."""
        if axis == INPUT:
            return self._inputs_mapped(matrix, v)
        move = RowMap(self.backend, matrix, v.axes, axis)
        return Step(move.apply(v.value), lambda c: [move.transposed(c)], lambda tangents, _: move.apply(tangents[0]))

    def _inputs_mapped(self, matrix: Matrix, v: Vector) -> Step:
        """The same along the inputs; cotangents are plain."""
        xp = self.backend.xp
        a = xp.astype(self.backend.place(matrix), v.value.dtype)

        def along(a: Array, value: Array) -> Array:
            flat = xp.reshape(value, (*value.shape[:-2], -1))
            out = xp.matmul(a, flat)
            return xp.reshape(out, (*out.shape[:-1], *value.shape[-2:]))

        def push(tangents: Sequence[Array], inputs: int) -> Array:
            tangent = rows.with_inputs(xp, tangents[0], inputs)
            return rows.to_difference(xp, along(a, rows.to_plain(xp, tangent)))

        value = rows.to_difference(xp, along(a, rows.to_plain(xp, v.value)))
        return Step(value, lambda c: [along(xp.matrix_transpose(a), c)], push)

    def patches(
        self, v: Vector, axes: Sequence[str], taps: Sequence[tuple[int, ...]], variances: Sequence[float]
    ) -> Step:
        """Taps side by side, made where they are asked for."""
        names = [name for name in v.axes if name != INPUT]
        offsets = tuple(
            tuple(sum(step for axis, step in zip(axes, tap, strict=True) if axis == name) for name in names)
            for tap in taps
        )
        scales = tuple(share**0.5 for share in variances)
        windows = Windows(self.backend.xp, v.value, tuple(rows.others_of(v.axes)), offsets, scales)
        return Step(windows, lambda c: [windows.transposed(c)], lambda tangents, _: windows.of(tangents[0]).rows())

    def concat(self, vectors: Sequence[Vector]) -> Step:
        """Units side by side."""
        xp = self.backend.xp
        ends = [0]
        for v in vectors:
            ends.append(ends[-1] + v.units)

        def join(parts: Sequence[Array], inputs: int) -> Array:
            parts = [rows.with_inputs(xp, part, inputs) for part in parts]
            lead = tuple(max(sizes) for sizes in zip(*(part.shape[:-1] for part in parts), strict=True))
            return xp.concat([xp.broadcast_to(part, (*lead, part.shape[-1])) for part in parts], axis=-1)

        def pull(c: Array) -> list[Array]:
            return [c[..., a:b] for a, b in itertools.pairwise(ends)]

        axes = vectors[0].axes

        def push(tangents: Sequence[Array], inputs: int) -> Array:
            return join(tangents, inputs if INPUT in axes else 1)

        return Step(join([v.value for v in vectors], rows.inputs_of(axes)), pull, push)

    def halves(self, first: Vector, second: Vector, axes: Axes) -> Step:
        """First half of the units of one, second half of those of another."""
        xp, middle = self.backend.xp, first.units // 2
        sides = ((first, slice(None, middle)), (second, slice(middle, None)))

        def join(parts: Sequence[Array], inputs: int) -> Array:
            halved = []
            for part, (v, half) in zip(parts, sides, strict=True):
                halved.append(rows.with_inputs(xp, rows.expanded(xp, part[..., half], v.axes, axes), inputs))
            lead = tuple(max(sizes) for sizes in zip(*(part.shape[:-1] for part in halved), strict=True))
            return xp.concat([xp.broadcast_to(part, (*lead, middle)) for part in halved], axis=-1)

        def pull(c: Array) -> list[Array]:
            found = []
            for v, half in sides:
                part = rows.gathered(xp, c[..., half], v.axes, axes, not self.mixing)
                nothing = xp.zeros_like(part)
                found.append(xp.concat([part, nothing] if half.start is None else [nothing, part], axis=-1))
            return found

        def push(tangents: Sequence[Array], inputs: int) -> Array:
            return join(tangents, inputs if INPUT in axes else 1)

        return Step(join([first.value, second.value], rows.inputs_of(axes)), pull, push)
