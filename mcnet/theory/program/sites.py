"""The sites of a network as weighted nodes, and vectors that are sums of functions of independent groups of normals.

A site carries standard normals in independent groups. A vector is a constant plus one function for each group: arrays
(R, n, m) on the nodes of the group, of which the first set (n) carries what activations act on and the second (m) what
enters linearly; an array with n = 1 or m = 1 does not depend on the set. Products of two vectors have covariances that
follow from the joint cumulants of four vectors, which add up over the groups.

Vectors depend on numbers of the network (factors of Gram matrices) in one of two ways. *By value*: a coefficient of a
sum; its derivative is a vector too. *By weight*: the values stay, and what depends on the number is the density of the
group's normals; derivatives of means are means with the scores of the density, so that kinks do no harm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mcnet.theory.program.quantities import Quantity

Floats = NDArray[np.float64]


@dataclass(eq=False)
class Group:
    """Independent normals of a site.

    Attributes
    ----------
    weights : ndarray, shape (n,)
        Of the nodes of the first set.
    linear : ndarray, shape (m,)
        Of the second set.
    halved : bool
        Whether the second set is the halves of the units, in which there are M/2 sites each, and no normals.
    """

    weights: Floats
    linear: Floats
    scores: list[Scores] = field(default_factory=list)
    halved: bool = False

    def mean(self, values: Floats) -> Floats:
        """Over the nodes: (..., n or 1, m or 1) -> (...)."""
        over = values @ self.linear if values.shape[-1] > 1 else values[..., 0]
        return np.asarray(over @ self.weights if over.shape[-1] > 1 else over[..., 0])

    def noise(self, values: Floats, mean: Floats) -> Floats:
        """Values (R, n, m) at a site without what does not scatter: the mean; where sites are halved that of each half.

        Of the mean over all sites the variance is that of this over M.
        """
        if not self.halved or values.shape[-1] == 1:
            return values - mean[:, None, None]
        over = self.weights @ values if values.shape[-2] > 1 else values[:, 0]  # (R, m)
        return np.asarray(values - over[:, None])

    def even(self, values: Floats) -> Floats:
        """Means over the second set: (P, n, m) -> (P, n, 1)."""
        return values @ self.linear[:, None] if values.shape[-1] > 1 else values

    def inner(self, a: Floats, b: Floats) -> Floats:
        """Means of products: (P, n, m), (Q, n, m) -> (P, Q)."""
        if a.shape[-1] != b.shape[-1]:
            a, b = (self.even(x) for x in (a, b))
        if a.shape[-2] != b.shape[-2]:
            a, b = (np.einsum("pnm,n->pm", x, self.weights)[:, None] if x.shape[-2] > 1 else x for x in (a, b))
        if a.shape[-2] > 1:
            a = a * self.weights[:, None]
        if a.shape[-1] > 1:
            a = a * self.linear
        return np.asarray(a.reshape(len(a), math.prod(a.shape[1:])) @ b.reshape(len(b), math.prod(b.shape[1:])).T)


@dataclass(eq=False)
class Scores:
    """Numbers on which the density of a group depends.

    Attributes
    ----------
    numbers : Quantity, shape (k,)
    first : ndarray, shape (k, n, 1)
        Derivatives of the density over the density.
    second : ndarray, shape (1, n, 1)
        The mean of its second derivatives: half their sum with the covariance of the numbers.
    """

    numbers: Quantity
    first: Floats
    second: Floats


Groups = Sequence[Group]


@dataclass(frozen=True, eq=False)
class Parts:
    """R numbers at a site: a constant plus functions of groups, each of mean zero.

    Attributes
    ----------
    constant : ndarray, shape (R,)
    functions : mapping of int to ndarray (R, n, m)
    """

    constant: Floats
    functions: Mapping[int, Floats]

    @property
    def rows(self) -> int:
        """R."""
        return len(self.constant)

    def taken(self, index: NDArray[np.intp]) -> Parts:
        """Some of the rows, in an order."""
        return Parts(self.constant[index], {g: f[index] for g, f in self.functions.items()})

    def mapped(self, matrix: Floats | float, count: int = 1) -> Parts:
        """A linear map of the rows, or of blocks of so many rows."""
        if isinstance(matrix, float):
            return Parts(matrix * self.constant, {g: matrix * f for g, f in self.functions.items()})
        functions = {}
        for g, f in self.functions.items():
            flat = f.reshape(matrix.shape[1], count * math.prod(f.shape[1:]))
            functions[g] = (matrix @ flat).reshape(len(matrix) * count, *f.shape[1:])
        return Parts((matrix @ self.constant.reshape(matrix.shape[1], count)).ravel(), functions)

    def __add__(self, other: Parts) -> Parts:
        functions = dict(self.functions)
        for g, f in other.functions.items():
            functions[g] = functions[g] + f if g in functions else f
        return Parts(self.constant + other.constant, functions)


def zeros(rows: int) -> Parts:
    """Nothing."""
    return Parts(np.zeros(rows), {})


def joined(parts: Sequence[Parts]) -> Parts:
    """Rows of all, one after the other."""
    if len(parts) == 1:
        return parts[0]
    functions: dict[int, Floats] = {}
    for g in sorted({g for one in parts for g in one.functions}):
        present = [one.functions[g] for one in parts if g in one.functions]
        shape = tuple(max(f.shape[axis] for f in present) for axis in (1, 2))
        functions[g] = np.concatenate(
            [np.broadcast_to(one.functions.get(g, np.zeros((1, 1, 1))), (one.rows, *shape)) for one in parts]
        )
    return Parts(np.concatenate([one.constant for one in parts]), functions)


def centred(groups: Groups, g: int, values: Floats) -> Parts:
    """Values (R, n, m) at the nodes of a group."""
    mean = groups[g].mean(values)
    return Parts(mean, {g: values - mean[:, None, None]})


def at_nodes(parts: Parts) -> tuple[int | None, Floats]:
    """The group of a vector that has but one, and the values at its nodes."""
    assert len(parts.functions) <= 1
    for g, f in parts.functions.items():
        return g, f + parts.constant[:, None, None]
    return None, parts.constant[:, None, None]


def elementwise(groups: Groups, function: Callable[..., Floats], *given: Parts) -> Parts:
    """A function of the values of vectors that live on one group together."""
    found = [at_nodes(one) for one in given]
    homes = {g for g, _ in found if g is not None}
    assert len(homes) <= 1
    values = function(*(v for _, v in found))
    if not homes:
        return Parts(values[:, 0, 0], {})
    return centred(groups, homes.pop(), values)


# ------------------------------------------------------------ products and their covariances


@dataclass(eq=False)
class Products:
    """Products of two vectors, row by row.

    Attributes
    ----------
    groups : sequence of Group
    left, right : Parts
    """

    groups: Groups
    left: Parts
    right: Parts
    mean: Floats = field(init=False)
    functions: dict[int, Floats] = field(init=False)

    def __post_init__(self) -> None:
        self.mean = self.left.constant * self.right.constant
        self.functions = {}
        a, b = self.left.constant[:, None, None], self.right.constant[:, None, None]
        for g in sorted({*self.left.functions, *self.right.functions}):
            x, y = self.left.functions.get(g), self.right.functions.get(g)
            if x is None or y is None:
                one = a * y if y is not None else b * (0.0 if x is None else x)
                if np.any(one):
                    self.functions[g] = self.groups[g].noise(one, np.zeros(len(self.mean)))
                continue
            together = x * y
            mean = self.groups[g].mean(together)
            self.mean = self.mean + mean
            self.functions[g] = self.groups[g].noise(a * y + b * x + together, mean)

    @property
    def alone(self) -> bool:
        """Whether each vector lives on the same one group."""
        return len({*self.left.functions, *self.right.functions}) <= 1

    def scored(self, g: int, scores: Floats) -> Floats:
        """Means of the products with functions (k, n, m) of mean zero of a group: (P, k)."""
        if g not in self.functions:
            return np.zeros((len(self.mean), len(scores)))
        return self.groups[g].inner(self.functions[g], scores)


def covariance(a: Products, b: Products) -> Floats:
    """Covariances (P, Q) of the products of two lists."""
    total = np.zeros((len(a.mean), len(b.mean)))
    for g in a.functions.keys() & b.functions.keys():
        total += a.groups[g].inner(a.functions[g], b.functions[g])
    if a.alone or b.alone:
        return total
    for x, y in ((b.left, b.right), (b.right, b.left)):
        first, second = _overlaps(a.groups, a.left, x), _overlaps(a.groups, a.right, y)
        if not first or not second:
            continue
        total += sum(first.values()) * sum(second.values())
        for g in first.keys() & second.keys():
            total -= first[g] * second[g]
    return total


def _overlaps(groups: Groups, a: Parts, b: Parts) -> dict[int, Floats]:
    return {g: groups[g].inner(a.functions[g], b.functions[g]) for g in a.functions.keys() & b.functions.keys()}


@dataclass(eq=False)
class Rows:
    """Arrays (k, n, m) of one shape that are added to, each with its number."""

    arrays: Floats
    numbers: NDArray[np.intp]
    size: int

    def add(self, values: Floats, numbers: NDArray[np.intp]) -> None:
        """More of them."""
        end = self.size + len(values)
        if end > len(self.arrays):
            arrays, old = np.empty((2 * end, *values.shape[1:])), np.empty(2 * end, np.intp)
            arrays[: self.size], old[: self.size] = self.arrays[: self.size], self.numbers[: self.size]
            self.arrays, self.numbers = arrays, old
        self.arrays[self.size : end], self.numbers[self.size : end] = values, numbers
        self.size = end


@dataclass(eq=False)
class Bank:
    """All products that were measured, by group, and their factors where these have several groups."""

    groups: Groups
    size: int = 0
    _kept: dict[tuple[str, int], dict[tuple[int, ...], Rows]] = field(default_factory=dict)
    _even: dict[tuple[str | int, ...], Rows] = field(default_factory=dict)

    def add(self, entries: Products) -> None:
        """New ones, numbered on."""
        numbers = np.arange(self.size, self.size + len(entries.mean))
        self.size += len(numbers)
        kinds: dict[str, Mapping[int, Floats]] = {"product": entries.functions}
        if not entries.alone:
            kinds |= {"left": entries.left.functions, "right": entries.right.functions}
        for kind, functions in kinds.items():
            for g, f in functions.items():
                rows = self._kept.setdefault((kind, g), {})
                if f.shape[1:] not in rows:
                    rows[f.shape[1:]] = Rows(np.empty((0, *f.shape[1:])), np.empty(0, np.intp), 0)
                rows[f.shape[1:]].add(f, numbers)
                if f.shape[-1] > 1:
                    even = self.groups[g].even(f)
                    none = Rows(np.empty((0, *even.shape[1:])), numbers[:0], 0)
                    known = self._even.setdefault((kind, g, *f.shape[1:]), none)
                    known.add(even, numbers)

    def overlap(self, kind: str, g: int, f: Floats) -> Floats | None:
        """Means (P, size) of functions of a group with the products, or their left or right factors."""
        found = self._kept.get((kind, g))
        if found is None:
            return None
        total = np.zeros((len(f), self.size))
        for shape, rows in found.items():
            if f.shape[-1] == 1 < shape[-1]:
                rows = self._even[kind, g, *shape]
            total[:, rows.numbers[: rows.size]] = self.groups[g].inner(f, rows.arrays[: rows.size])
        return total

    def combined(self, g: int, factors: Floats) -> Floats:
        """Sums of the products' functions of a group with factors (k, size or fewer): (k, n, m)."""
        total = np.zeros((len(factors), 1, 1))
        for shape, rows in self._kept.get(("product", g), {}).items():
            count = np.searchsorted(rows.numbers[: rows.size], factors.shape[1])
            some = factors[:, rows.numbers[:count]]
            flat = rows.arrays[:count].reshape(count, math.prod(shape))
            total = total + (some @ flat).reshape(len(factors), *shape)
        return total

    def covariance(self, entries: Products) -> Floats:
        """Covariances (P, size) of new products with all measured ones."""
        total = np.zeros((len(entries.mean), self.size))
        for g, f in entries.functions.items():
            found = self.overlap("product", g, f)
            if found is not None:
                total += found
        if entries.alone:
            return total
        for one, other in (("left", "right"), ("right", "left")):
            first = {g: self.overlap(one, g, f) for g, f in entries.left.functions.items()}
            second = {g: self.overlap(other, g, f) for g, f in entries.right.functions.items()}
            known = [{g: x for g, x in part.items() if x is not None} for part in (first, second)]
            if not known[0] or not known[1]:
                continue
            total += sum(known[0].values()) * sum(known[1].values())
            for g in known[0].keys() & known[1].keys():
                total -= known[0][g] * known[1][g]
        return total
