"""Vectors on shapes alone, and which of them a program looks at through their products alone.

Queries, keys and values of attention are turned by any orthogonal matrix of the units of a head without a change of
anything else: scores are products of queries and keys, and a Gaussian output matrix sees of the mixed values their
products alone. So asked networks draw keys and values in their own frame (:mod:`mcnet.weights.bartlett`), in which all
but as many units as there are rows are zero. Queries have the same normals there as anywhere, and those beyond that
frame meet zeros: a forward pass makes none of them, whatever the size of a head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mcnet.programs.names import Key
from mcnet.programs.parameters import Laws
from mcnet.programs.vocabulary import AbstractInterpreter, AbstractVector, Axes


@dataclass(eq=False)
class Shape(AbstractVector):
    """A vector without numbers.

    Attributes
    ----------
    answers : bool
        Whether it depends on an answer of a matrix: only then cotangents reach it on their way to matrices.
    made_from : tuple of Shape
    made_by : str
        ``ask``, ``attention`` or ``concat``; empty for other operations.
    kept : int
        Units that asked networks keep of it in a forward pass: fewer where its products alone are looked at.
    """

    interpreter: AbstractInterpreter
    axes: Axes
    units: int
    fan: int
    made_from: tuple[Shape, ...] = ()
    answers: bool = False
    made_by: str = ""
    kept: int = 0

    def __post_init__(self) -> None:
        self.kept = self.kept or self.units
        self.answers = self.answers or any(v.answers for v in self.made_from)

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return math.prod(self.axes.values())

    @property
    def size(self) -> int:
        """Numbers of one network."""
        return self.rows * self.units

    @property
    def size_kept(self) -> int:
        """The same where a forward pass asks."""
        return self.rows * self.kept


class Ask(NamedTuple):
    """One ask of a matrix."""

    key: Key
    question: Shape
    answer: Shape


def turned(vectors: Sequence[Shape], asks: Sequence[Ask], others: set[int], laws: Laws) -> Mapping[Key, int]:
    """Matrices whose answers are given in their own frame, with the units of these; sets what shapes are kept.

    Keys: where query and key are answers of Gaussian matrices that are asked once, and nobody looks at them but the
    attention. Values: where the same holds of them, and what they are mixed to is asked of one Gaussian matrix, alone
    or side by side with other vectors, that is asked nothing else. Both where they have more units than rows: else
    there is nothing to leave out.

    Parameters
    ----------
    vectors : sequence of Shape
    asks : sequence of Ask
    others : set of int
        Ids of vectors that somebody looks at: outputs, and those seen.
    laws : Laws
    """
    use = _Uses(vectors, asks, others, laws)
    found: dict[Key, int] = {}
    for v in vectors:
        if v.made_by != "attention":
            continue
        query, key, value = v.made_from
        if key.rows < key.units and use.alone(query) and use.alone(key):
            found[use.matrix(key)] = key.units
            query.kept = key.kept = key.rows
        if value.rows < value.units and use.alone(value) and use.asked_in_the_end(v):
            found[use.matrix(value)] = value.units
            value.kept = v.kept = value.rows
    for v in vectors:
        if v.made_by == "concat":
            v.kept = sum(part.kept for part in v.made_from)
    return found


class _Uses:
    """Who looks at each vector."""

    def __init__(self, vectors: Sequence[Shape], asks: Sequence[Ask], others: set[int], laws: Laws) -> None:
        self._users: dict[int, list[Shape]] = {}
        for v in vectors:
            for source in v.made_from:
                self._users.setdefault(id(source), []).append(v)
        self._others = others
        keys = [ask.key for ask in asks]
        self._matrix = {
            id(ask.answer): ask.key for ask in asks if keys.count(ask.key) == 1 and laws.of(ask.key).law == "gaussian"
        }

    def matrix(self, v: Shape) -> Key:
        """The Gaussian matrix whose only answer it is."""
        return self._matrix[id(v)]

    def alone(self, v: Shape) -> bool:
        """Whether it is the only answer of a Gaussian matrix, and used once."""
        return id(v) in self._matrix and self._next(v) is not None

    def asked_in_the_end(self, v: Shape) -> bool:
        """Whether it is the only question of a Gaussian matrix, or a part of it, and nothing else."""
        after = self._next(v)
        if after is not None and after.made_by == "concat":
            after = self._next(after)
        return after is not None and id(after) in self._matrix

    def _next(self, v: Shape) -> Shape | None:
        """What is made from it, if that is one vector and nobody else looks at it."""
        users = self._users.get(id(v), [])
        return users[0] if len(users) == 1 and id(v) not in self._others else None
