"""Vectors at the sites with their derivatives by the numbers of the network, and the Gram entries that they make.

With m(z) what a site contributes to an entry, a function of its normals z and of numbers t of the network (Gram
entries and what is made of them), an entry of a network of M sites is the mean of m over the sites, and

    response = d E m/dt . response of t + e,        e the noise of the entry itself, M Cov e = Cov m ;
    shift    = d E m/dt . shift of t + 1/2 E d2m/dt2 : Cov(t) + E [dm/dt(z) . t(z)] ,

where t(z) is what the site itself does to the numbers, its influence function. The last term is there where sites keep
their normals from layer to layer: the memory term (a von Mises expansion; van der Vaart 1998, chapter 20).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mcnet.programs.names import ProgramError
from mcnet.theory.program.quantities import Noise, Quantity, padded
from mcnet.theory.program.sites import (
    Bank,
    Group,
    Parts,
    Products,
    Scores,
    centred,
    covariance,
    elementwise,
    joined,
    zeros,
)

Floats = NDArray[np.float64]
Index = NDArray[np.intp]
Values = Callable[[Floats], Floats]


@dataclass(frozen=True, eq=False)
class Slope:
    """Derivatives of some rows of a vector by k numbers: row a of ``rows`` by number c is row a k + c of ``parts``."""

    rows: Index
    parts: Parts


@dataclass(frozen=True, eq=False)
class Jet:
    """A vector at a site.

    Attributes
    ----------
    value : Parts
    slopes : mapping of int to Slope
        Derivatives by blocks of numbers.
    bend : Parts
        Half its second derivatives with the covariance of the numbers.
    origin : tuple of Jet and ndarray, or None
        Where its rows are a linear map of those of another vector.
    """

    value: Parts
    slopes: Mapping[int, Slope]
    bend: Parts
    origin: tuple[Jet, Floats] | None = None

    @property
    def rows(self) -> int:
        """R."""
        return self.value.rows

    @cached_property
    def dead(self) -> NDArray[np.bool_]:
        """Rows that are zero whatever the network."""
        dead: NDArray[np.bool_] = np.asarray(self.value.constant == 0.0)
        for f in self.value.functions.values():
            dead &= ~f.any(axis=(1, 2))
        for slope in self.slopes.values():
            dead[slope.rows] = False
        return dead

    def groups(self) -> set[int]:
        """Groups on which it lives."""
        return set(self.value.functions)


Derivatives = tuple[Quantity | None, Parts | None, list[int]]
"""Numbers on which a row depends by value, its derivatives by them, and their blocks."""

RECENT = 32
"""Rows whose derivatives are kept: those of the vectors whose products are being measured."""


def kron(a: Floats, b: Floats) -> Floats:
    """Kronecker product."""
    return np.asarray(np.kron(a, b), np.float64)


def plain(value: Parts) -> Jet:
    """A vector that depends on no number by value."""
    return Jet(value, {}, zeros(value.rows))


@dataclass(eq=False)
class Sites:
    """The groups of normals of a site and all that was measured on them.

    Attributes
    ----------
    groups : list of Group
    persistent : bool
        Whether all normals are in one group.
    expanded : bool
        Whether 1/M terms are wanted; else numbers are those at infinite width, and all derivatives are left out.
    most : int or None
        Gram entries beyond which their 1/M terms are refused.
    noise : Noise
    blocks : list of Quantity
        Numbers on which vectors depend by value.
    """

    groups: list[Group]
    persistent: bool
    expanded: bool
    most: int | None = None
    noise: Noise = field(default_factory=Noise)
    blocks: list[Quantity] = field(default_factory=list)
    _entries: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    _echoes: dict[int, Floats] = field(default_factory=dict)
    _grams: dict[tuple[int, int], tuple[Quantity, Jet, Jet]] = field(default_factory=dict)
    _weights: dict[int, Floats] = field(default_factory=dict)
    _recent: dict[tuple[int, int], tuple[Jet, Derivatives]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._bank = Bank(self.groups)

    # ------------------------------------------------------------ vectors
    def mapped(self, v: Jet, matrix: Floats | float, origin: bool = False) -> Jet:
        """A linear map of the rows."""
        if isinstance(matrix, float) and matrix == 1.0:
            return v
        slopes = {}
        full = matrix * np.eye(v.rows) if isinstance(matrix, float) else matrix
        for block, slope in v.slopes.items():
            some = np.flatnonzero(full[:, slope.rows].any(axis=1))
            if some.size:
                move = full[np.ix_(some, slope.rows)]
                slopes[block] = Slope(some, slope.parts.mapped(move, self.blocks[block].value.size))
        base, before = v.origin or (v, np.eye(v.rows))
        return Jet(v.value.mapped(matrix), slopes, v.bend.mapped(matrix), (base, full @ before) if origin else None)

    def taken(self, v: Jet, index: Index) -> Jet:
        """Some rows in an order."""
        if len(index) == v.rows and (index == np.arange(v.rows)).all():
            return v
        slopes = {}
        for block, slope in v.slopes.items():
            place = np.full(v.rows, -1, np.intp)
            place[slope.rows] = np.arange(slope.rows.size)
            some = np.flatnonzero(place[index] >= 0)
            if some.size:
                count = self.blocks[block].value.size
                of = place[index[some]][:, None] * count + np.arange(count)
                slopes[block] = Slope(some, slope.parts.taken(of.ravel()))
        return Jet(v.value.taken(index), slopes, v.bend.taken(index))

    def summed(self, a: Jet, b: Jet) -> Jet:
        """a + b."""
        slopes = dict(a.slopes)
        for block, slope in b.slopes.items():
            slopes[block] = self._added(slopes[block], slope, block) if block in slopes else slope
        return Jet(a.value + b.value, slopes, a.bend + b.bend)

    def _added(self, a: Slope, b: Slope, block: int) -> Slope:
        if np.array_equal(a.rows, b.rows):
            return Slope(a.rows, a.parts + b.parts)
        rows = np.union1d(a.rows, b.rows)
        count = self.blocks[block].value.size
        parts = []
        for one in (a, b):
            place = np.zeros((rows.size, one.rows.size))
            place[np.searchsorted(rows, one.rows), np.arange(one.rows.size)] = 1.0
            parts.append(one.parts.mapped(place, count))
        return Slope(rows, parts[0] + parts[1])

    def side_by_side(self, vectors: list[Jet]) -> Jet:
        """Rows of all, one after the other."""
        if len(vectors) == 1:
            return vectors[0]
        slopes: dict[int, Slope] = {}
        start = 0
        for v in vectors:
            for block, slope in v.slopes.items():
                moved = Slope(slope.rows + start, slope.parts)
                slopes[block] = self._added(slopes[block], moved, block) if block in slopes else moved
            start += v.rows
        return Jet(joined([v.value for v in vectors]), slopes, joined([v.bend for v in vectors]))

    def combined(self, numbers: Quantity, basis: Jet, mask: NDArray[np.bool_]) -> Jet:
        """Sums over the rows of a basis with numbers (R, B) as coefficients, which are zero outside the mask."""
        matrix = numbers.value
        base = self.mapped(Jet(basis.value, basis.slopes, basis.bend), matrix)
        if not self.expanded:
            return base
        slopes, bend = dict(base.slopes), base.bend
        for block, slope in basis.slopes.items():
            other = self.blocks[block]
            shape = (*matrix.shape, other.value.size)
            both = self.noise.between(numbers.response, other.response).reshape(shape)
            bend = bend + slope.parts.mapped(both[:, slope.rows].reshape(len(matrix), -1))
        for row in range(len(matrix)):
            columns = np.flatnonzero(mask[row])
            if columns.size:
                flat = row * matrix.shape[1] + columns
                self.blocks.append(numbers.taken(flat))
                slopes[len(self.blocks) - 1] = Slope(np.array([row]), basis.value.taken(columns))
        return Jet(base.value, slopes, bend)

    def applied(self, v: Jet, f: Values, df: Values, ddf: Values) -> Jet:
        """A function of a vector, site by site."""
        value = elementwise(self.groups, f, v.value)
        if not v.slopes:
            return plain(value)
        slope = elementwise(self.groups, df, v.value)
        slopes = {block: self._scaled(one, slope, block) for block, one in v.slopes.items()}
        bend = self._times(slope, v.bend)
        curve = elementwise(self.groups, ddf, v.value).mapped(0.5)
        return Jet(value, slopes, bend + self._times(curve, self._spread(v, v)))

    def multiplied(self, a: Jet, b: Jet) -> Jet:
        """a b, site by site."""
        slopes = {block: self._scaled(one, b.value, block) for block, one in a.slopes.items()}
        for block, one in b.slopes.items():
            other = self._scaled(one, a.value, block)
            slopes[block] = self._added(slopes[block], other, block) if block in slopes else other
        bend = self._times(a.bend, b.value) + self._times(a.value, b.bend)
        return Jet(self._times(a.value, b.value), slopes, bend + self._spread(a, b))

    def _times(self, a: Parts, b: Parts) -> Parts:
        return elementwise(self.groups, np.multiply, a, b)

    def _scaled(self, slope: Slope, factor: Parts, block: int) -> Slope:
        count = self.blocks[block].value.size
        return Slope(slope.rows, self._times(slope.parts, factor.taken(np.repeat(slope.rows, count))))

    def _spread(self, a: Jet, b: Jet) -> Parts:
        """Sum of the derivatives of a and b with the covariance of the numbers, row by row."""
        total = zeros(a.rows)
        if not a.slopes or not b.slopes:
            return total
        for row in range(a.rows):
            (first, x, _), (second, y, _) = self._derivatives(a, row), self._derivatives(b, row)
            if x is None or y is None or first is None or second is None:
                continue
            both = self.noise.between(first.response, second.response)
            one = self._times(x, y.mapped(both)).mapped(np.ones((1, x.rows)))
            place = np.zeros((a.rows, 1))
            place[row] = 1.0
            total = total + one.mapped(place)
        return total

    def _derivatives(self, v: Jet, row: int) -> Derivatives:
        """All numbers on which a row depends by value, and its derivatives by them."""
        key = (id(v), row)
        if key in self._recent:
            return self._recent[key][1]
        found = self._gathered(v, row)
        if len(self._recent) >= RECENT:
            del self._recent[next(iter(self._recent))]
        self._recent[key] = (v, found)
        return found

    def _gathered(self, v: Jet, row: int) -> Derivatives:
        numbers, parts, blocks = [], [], []
        for block, slope in v.slopes.items():
            found = np.flatnonzero(slope.rows == row)
            if found.size:
                count = self.blocks[block].value.size
                blocks.append(block)
                numbers.append(self.blocks[block])
                parts.append(slope.parts.taken(found[0] * count + np.arange(count)))
        if not numbers:
            return None, None, []
        responses = padded([one.response for one in numbers])
        values = np.concatenate([one.value.ravel() for one in numbers])
        shifts = np.concatenate([one.shift for one in numbers])
        return Quantity(values, np.concatenate(responses), shifts), joined(parts), blocks

    # ------------------------------------------------------------ densities
    def weigh(self, g: int, numbers: Quantity, first: Floats, second: Callable[[Floats], Floats]) -> None:
        """Numbers on which the density of a group depends.

        Parameters
        ----------
        g : int
        numbers : Quantity, shape (k,)
        first : ndarray, shape (k, n, 1)
            Scores: derivatives of the density over the density.
        second : callable
            Takes a covariance (k, k) of the numbers to half the sum of the second derivatives with it, (1, n, 1).
        """
        group = self.groups[g]
        own = self.noise.between(numbers.response, numbers.response)
        weight = second(own) + np.einsum("k,knm->nm", numbers.shift, first)[None]
        for other in group.scores:
            both = self.noise.between(numbers.response, other.numbers.response)
            weight = weight + np.einsum("kl,knm,lnm->nm", both, first, other.first, optimize=True)[None]
        if self.persistent:
            weight = weight + np.sum(first * self._echo(numbers), axis=0, keepdims=True)
        group.scores.append(Scores(numbers, first, weight))
        self._weights[g] = self._weights.get(g, 0.0) + weight

    def _echo_of(self, block: int) -> Floats:
        """The same for a block, which does not change with later entries."""
        if block not in self._echoes:
            numbers = self.blocks[block]
            shape = (numbers.value.size, len(self.groups[0].weights), len(self.groups[0].linear))
            self._echoes[block] = np.broadcast_to(self._echo(numbers), shape)
        return self._echoes[block]

    def _echo(self, numbers: Quantity) -> Floats:
        """What a site itself does to numbers: (k, n, m); one group alone."""
        return self._bank.combined(0, self._by_entry(numbers))

    def _by_entry(self, numbers: Quantity) -> Floats:
        """Responses to the noise of measured entries alone, (k, as many as were measured then)."""
        known = self._entries[: np.searchsorted(self._entries, numbers.response.shape[1])]
        return np.asarray(numbers.response[:, known])

    # ------------------------------------------------------------ Gram entries
    def gram(self, a: Jet, b: Jet) -> Quantity:
        """Means over the sites of a_r b_s: shape (R, S)."""
        if a.origin or b.origin:
            (base_a, move_a), (base_b, move_b) = (v.origin or (v, np.eye(v.rows)) for v in (a, b))
            return self.gram(base_a, base_b).mapped(kron(move_a, move_b), (a.rows, b.rows))
        if (id(b), id(a)) in self._grams:
            return self._grams[id(b), id(a)][0].T
        key = (id(a), id(b))
        if key not in self._grams:
            rows = np.arange(a.rows)
            if a is b:
                left, right = np.triu_indices(a.rows)
                place = np.zeros((a.rows, a.rows), np.intp)
                place[left, right] = place[right, left] = np.arange(left.size)
                found = self.measured(a, b, left, right).taken(place)
            else:
                left, right = np.repeat(rows, b.rows), np.tile(np.arange(b.rows), a.rows)
                found = self.measured(a, b, left, right).reshaped(a.rows, b.rows)
            self._grams[key] = (found, a, b)
        return self._grams[key][0]

    def known(self, v: Jet, gram: Floats) -> None:
        """A vector whose Gram matrix does not scatter."""
        self._grams[id(v), id(v)] = (Quantity.constant(gram), v, v)

    def measured(self, a: Jet, b: Jet, left: Index, right: Index) -> Quantity:
        """New entries: means over the sites of a_r b_s for pairs of rows (r, s)."""
        if not self.expanded:
            return Quantity.constant(self._means(a.value, b.value)[left, right])
        if self.most is not None and self.noise.size + len(left) > self.most:
            raise ProgramError(
                f"expansion: more than {self.most} Gram entries of inputs, positions and layers, forward and backward; "
                "take fewer inputs, or call mcnet.theory.program.expansion without an accuracy, which has no such bound"
            )
        entries = Products(self.groups, a.value.taken(left), b.value.taken(right))
        own = covariance(entries, entries)
        with_old = np.zeros((len(left), self.noise.size))
        with_old[:, self._entries] = self._bank.covariance(entries)
        response, shift = self._drift(entries, a, b, left, right)
        index = self.noise.extend(with_old, own)
        response = np.concatenate([response, np.eye(len(left))], axis=1)
        self._bank.add(entries)
        self._entries = np.concatenate([self._entries, index])
        return Quantity(entries.mean, response, shift)

    def _drift(self, entries: Products, a: Jet, b: Jet, left: Index, right: Index) -> tuple[Floats, Floats]:
        """Response to the numbers, and the shift."""
        count = len(left)
        response, shift = np.zeros((count, self.noise.size)), np.zeros(count)
        sides = ((a, b, left, right), (b, a, right, left))
        if self.persistent:
            for one, other, mine, its in sides:
                self._by_value(one, other, mine, its, response, shift)
        for one, other, mine, its in () if self.persistent else sides:
            if one.bend.functions or one.bend.constant.any():
                shift += Products(self.groups, one.bend.taken(mine), other.value.taken(its)).mean
            for row in np.unique(mine):
                numbers, slopes, _ = self._derivatives(one, int(row))
                if numbers is None or slopes is None:
                    continue
                some = np.flatnonzero(mine == row)
                size = slopes.rows
                of_slopes = np.tile(np.arange(size), some.size)
                partner = other.value.taken(np.repeat(its[some], size))
                changes = Products(self.groups, slopes.taken(of_slopes), partner)
                gain = changes.mean.reshape(some.size, size)
                response[some, : numbers.response.shape[1]] += gain @ numbers.response
                shift[some] += gain @ numbers.shift
                shift[some] += self._memory(changes, numbers, some.size)
        shift += self._both(a, b, left, right)
        for g, group in enumerate(self.groups):
            for scores in group.scores:
                gain = entries.scored(g, scores.first)
                response[:, : scores.numbers.response.shape[1]] += gain @ scores.numbers.response
            if g in self._weights:
                shift += entries.scored(g, self._weights[g])[:, 0]
        if not self.persistent and not entries.alone:
            shift += self._across(entries)
        return response, shift

    def _by_value(self, one: Jet, other: Jet, mine: Index, its: Index, response: Floats, shift: Floats) -> None:
        """What the numbers do to entries through the rows of one vector; all sites are in one group.

        Everything that multiplies the other vector is a function of the site: it is summed up first.
        """
        partner = other.value
        for row in np.unique(mine):
            some = np.flatnonzero(mine == row)
            tilt = one.bend.taken(np.array([row]))
            numbers, slopes, blocks = self._derivatives(one, int(row))
            if numbers is not None and slopes is not None:
                gain = self._means(partner, slopes)[its[some]]
                response[some, : numbers.response.shape[1]] += gain @ numbers.response
                tilt = tilt + slopes.mapped(numbers.shift[None]) + self._memory_of_site(numbers, slopes, blocks)
            shift[some] += self._means(partner, tilt)[its[some], 0]

    def _memory_of_site(self, numbers: Quantity, slopes: Parts, blocks: list[int]) -> Parts:
        """Sum over the numbers of a derivative times what the site does to the number, by value and by weight."""
        moved = np.concatenate([self._echo_of(block) for block in blocks])
        for scores in self.groups[0].scores:
            both = self.noise.between(numbers.response, scores.numbers.response)
            first = scores.first - self.groups[0].mean(scores.first)[:, None, None]
            moved = moved + np.einsum("cq,qnm->cnm", both, first)
        values = slopes.constant[:, None, None] + slopes.functions.get(0, 0.0)
        return centred(self.groups, 0, np.sum(values * moved, axis=0, keepdims=True))

    def _memory(self, changes: Products, numbers: Quantity, count: int) -> Floats:
        """E [dm/dt(z) . t(z)], and E d2m/dt2 : Cov between numbers by value and numbers by weight; many groups."""
        size = numbers.value.size
        factors = self._by_entry(numbers)
        each = self._bank.covariance(changes)[:, : factors.shape[1]].reshape(count, size, -1)
        total = np.asarray(np.einsum("pcq,cq->p", each, factors))
        for g in changes.functions:
            for scores in self.groups[g].scores:
                both = self.noise.between(numbers.response, scores.numbers.response)
                each = changes.scored(g, scores.first).reshape(count, size, -1)
                total += np.einsum("pcq,cq->p", each, both)
        return total

    def _both(self, a: Jet, b: Jet, left: Index, right: Index) -> Floats:
        """E (da/dt)(db/dt) : Cov(t)."""
        total = np.zeros(len(left))
        if not a.slopes or not b.slopes:
            return total
        for r in np.unique(left):
            numbers, slopes, _ = self._derivatives(a, int(r))
            if numbers is None:
                continue
            pushed = self.noise.pushed(numbers.response)
            for entry in np.flatnonzero(left == r):
                others, theirs, _ = self._derivatives(b, int(right[entry]))
                if others is not None:
                    both = pushed[:, : others.response.shape[1]] @ others.response.T
                    total[entry] = np.sum(both * self._means(slopes, theirs))
        return total

    def _means(self, x: Parts | None, y: Parts | None) -> Floats:
        """E x_c y_d."""
        assert x is not None
        assert y is not None
        total = np.outer(x.constant, y.constant)
        for g in x.functions.keys() & y.functions.keys():
            total += self.groups[g].inner(x.functions[g], y.functions[g])
        return total

    def _across(self, entries: Products) -> Floats:
        """What the densities of two groups, or of one and the past of another, do to products over both."""
        total = np.zeros(len(entries.mean))
        scored = [(g, group) for g, group in enumerate(self.groups) if group.scores]
        means = [  # E v s_c of each group
            {g: self._with_scores(v, g) for g, _ in scored if g in v.functions} for v in (entries.left, entries.right)
        ]
        for g, gains in means[0].items():
            for h, others in means[1].items():
                if g != h:
                    both = self.noise.between(self._numbers(g).response, self._numbers(h).response)
                    total += np.einsum("pc,cd,pd->p", gains, both, others)
        for side, other in ((0, entries.right), (1, entries.left)):
            found = {g: self._bank.overlap("product", g, f) for g, f in other.functions.items()}
            overlaps = {g: x for g, x in found.items() if x is not None}
            whole = sum(overlaps.values(), np.zeros((len(total), self._bank.size)))
            for g, gains in means[side].items():
                factors = self._by_entry(self._numbers(g))
                rest = (whole - overlaps.get(g, 0.0))[:, : factors.shape[1]]
                total += np.sum((gains @ factors) * rest, axis=1)
        return total

    def _numbers(self, g: int) -> Quantity:
        (scores,) = self.groups[g].scores
        return scores.numbers

    def _with_scores(self, v: Parts, g: int) -> Floats:
        (scores,) = self.groups[g].scores
        return self.groups[g].inner(v.functions[g], scores.first)

    def at(self, g: int, values: Floats) -> Jet:
        """Values (R, n, m) at the nodes of a group."""
        return plain(centred(self.groups, g, values))
