"""The interpretation of a program at infinite width: Gram matrices forward and backward, the tangent kernel.

Its vectors are fields (:mod:`mcnet.theory.program.fields`); a backward pass follows the tape of the program with the
same fields. Not covered are functions of vectors that are not Gaussian, products and batch norm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.activations import Activation
from mcnet.programs.axes import Axes, joint_axes
from mcnet.programs.names import INPUT, Key, ProgramError
from mcnet.programs.parameters import Law, Laws, Parameters
from mcnet.programs.vocabulary import AbstractInterpreter, AbstractVector, Asked, Matrix
from mcnet.theory.program import layout
from mcnet.theory.program.fields import Algebra, Atom, Field, Halves, Question, Sum
from mcnet.theory.program.means import Shape

Floats = NDArray[np.float64]


class NeedsPopulation(ProgramError):
    """An operation that bivariate Gaussian means do not cover."""


@dataclass(frozen=True)
class Part:
    """Units that are alike.

    Attributes
    ----------
    share : float
        How many they are, over the fan of the vector.
    units : number
        How many they are.
    field : Field
    tap : float
        Of patches: the variance of the tap, whose root the field carries.
    """

    share: float
    units: float
    field: Field
    tap: float = 1.0


Cotangent = list[Field]
"""One field for each part of a vector."""

Pull = Callable[[Cotangent], list[Cotangent]]


@dataclass(eq=False)
class Vector(AbstractVector):
    """A vector of infinitely many units.

    Attributes
    ----------
    parts : tuple of Part
    parents : tuple of Vector
    pull : callable or None
        Takes its cotangent to those of its parents.
    """

    interpreter: AbstractInterpreter
    axes: Axes
    units: float
    fan: float
    parts: tuple[Part, ...]
    parents: tuple[Vector, ...] = ()
    pull: Pull | None = None

    @property
    def question(self) -> Question:
        """As a question."""
        return Question(tuple((part.share, part.field) for part in self.parts))


@dataclass(frozen=True)
class Ask:
    """One question and its answer."""

    key: Key
    law: Law
    question: Vector
    answer: Vector


class LimitInterpreter(AbstractInterpreter):
    """A program at infinite width, forward.

    Attributes
    ----------
    tape : list of Vector
        In the order in which they were made.
    asks : list of Ask
    seen : dict of name to Vector
    curved : set of names
        Matrices on whose answers activations act.
    """

    interpretation = "limit"

    def __init__(self, parameters: Parameters, laws: Laws, inputs: int) -> None:
        super().__init__(parameters, parameters.width)
        self.laws, self.algebra, self.inputs = laws, Algebra(), inputs
        self.tape: list[Vector] = []
        self.asks: list[Ask] = []
        self.seen: dict[Key, Vector] = {}
        self.curved: set[Key] = set()
        self._functionals = 0

    def input(self, gram: Floats, axes: Axes) -> Vector:
        """The input vector: Gaussian sites."""
        return self._made(axes, self.width, self.algebra.given("input", gram))

    def _made(
        self, axes: Axes, units: float, one: Field, parents: Sequence[Vector] = (), pull: Pull | None = None
    ) -> Vector:
        return self._keep(axes, units, units, (Part(1.0, units, one),), parents, pull)

    def _keep(
        self,
        axes: Axes,
        units: float,
        fan: float,
        parts: tuple[Part, ...],
        parents: Sequence[Vector],
        pull: Pull | None,
    ) -> Vector:
        v = Vector(self, axes, units, fan, parts, tuple(parents), pull)
        self.tape.append(v)
        return v

    # ------------------------------------------------------------ rows of cotangents
    @property
    def _alone(self) -> int | None:
        """The number of inputs where the program does not mix them."""
        return None if self.mixes_inputs else self.inputs

    def _back(self, axes: Axes, matrix: Floats | float) -> Floats | float:
        return layout.on_functionals(self._functionals, matrix)

    def _cot_axes(self, axes: Axes) -> Axes:
        return layout.of_cotangents(axes, self._alone)

    def _gathering(self, own: Axes, joint: Axes, factor: float = 1.0) -> Floats | float:
        """A factor times the sum over the axes that a vector lacks, for rows of cotangents."""
        move = layout.spread(self._cot_axes(own), self._cot_axes(joint))
        return self._back(joint, _times(factor, move if isinstance(move, float) else move.T))

    # ------------------------------------------------------------ operations
    def _combination(self, terms: list[tuple[float, Any]], constant: float) -> Vector:
        vectors = [v for _, v in terms]
        axes = joint_axes("a sum", vectors)
        first = vectors[0]
        for v in vectors:
            if [part.units for part in v.parts] != [part.units for part in first.parts]:
                raise ProgramError("limit: a sum of vectors put side by side in different ways")
        moves = [_times(a, layout.spread(v.axes, axes)) for a, v in terms]
        algebra, parts = self.algebra, []
        for place, part in enumerate(first.parts):
            summands = [(move, v.parts[place].field) for move, v in zip(moves, vectors, strict=True)]
            parts.append(Part(part.share, part.units, algebra.sum(summands, constant)))

        def pull(c: Cotangent) -> list[Cotangent]:
            return [[algebra.sum([(self._gathering(v.axes, axes, a), one)]) for one in c] for a, v in terms]

        return self._keep(axes, first.units, first.fan, tuple(parts), vectors, pull)

    def _product(self, a: Any, b: Any) -> Any:
        raise NeedsPopulation(self._sentence("the product of two vectors"))

    def _apply(self, activation: Activation, v: Any) -> Vector:
        shape = Shape(activation)
        if not all(part.field.gaussian for part in v.parts):
            raise NeedsPopulation(self._sentence(f"{activation.label} of a vector that is not Gaussian"))
        algebra = self.algebra
        self.curved |= {key for part in v.parts for key in self._matrices_of(part.field)}
        parts = tuple(Part(part.share, part.units, algebra.function(shape, part.field)) for part in v.parts)

        def pull(c: Cotangent) -> list[Cotangent]:
            places = layout.places(v.axes, self._alone, self._functionals)
            if not all(one.gaussian for one in c):
                raise NeedsPopulation(self._sentence("a slope times a slope"))
            pairs = zip(v.parts, c, strict=True)
            return [[algebra.slope(shape.derivative, part.field, places, one) for part, one in pairs]]

        return self._keep(v.axes, v.units, v.fan, parts, [v], pull)

    def _rows(self, matrix: Matrix, v: Any, axis: str, axes: Axes) -> Vector:
        move = layout.along(matrix, v.axes, axis)
        algebra = self.algebra
        parts = tuple(Part(part.share, part.units, algebra.sum([(move, part.field)])) for part in v.parts)

        def pull(c: Cotangent) -> list[Cotangent]:
            back = layout.along(matrix, self._cot_axes(v.axes), axis).T
            return [[algebra.sum([(self._back(axes, back), one)]) for one in c]]

        return self._keep(axes, v.units, v.fan, parts, [v], pull)

    def _patches(self, v: Any, axes: tuple[str, ...], taps: list[tuple[int, ...]], variances: list[float]) -> Vector:
        algebra, window = self.algebra, list(zip(taps, variances, strict=True))
        parts = tuple(
            Part(part.share, part.units, algebra.sum([(layout.tap(v.axes, axes, *tap), part.field)]), tap[1])
            for tap in window
            for part in v.parts
        )

        def pull(c: Cotangent) -> list[Cotangent]:
            count = len(v.parts)
            backs = [self._back(v.axes, layout.tap(self._cot_axes(v.axes), axes, *tap).T) for tap in window]
            return [
                [algebra.sum([(back, c[k * count + j]) for k, back in enumerate(backs)]) for j in range(count)],
            ]

        return self._keep(v.axes, v.units * len(taps), v.fan, parts, [v], pull)

    def _batch_norm(self, v: Any, epsilon: float) -> Any:
        raise NeedsPopulation(self._sentence("batch_norm"))

    def _concat(self, vectors: list[Any]) -> Vector:
        fan = sum(v.units for v in vectors)
        parts = tuple(Part(part.units / fan, part.units, part.field) for v in vectors for part in v.parts)

        def pull(c: Cotangent) -> list[Cotangent]:
            found, start = [], 0
            for v in vectors:
                found.append(c[start : start + len(v.parts)])
                start += len(v.parts)
            return found

        return self._keep(vectors[0].axes, fan, fan, parts, vectors, pull)

    def _halves(self, first: Any, second: Any) -> Vector:
        if max(len(v.parts) for v in (first, second)) > 1:
            raise ProgramError("limit: halves of vectors put side by side")
        axes, algebra = joint_axes("halves", [first, second]), self.algebra
        wide = [algebra.sum([(layout.spread(v.axes, axes), v.parts[0].field)]) for v in (first, second)]

        def pull(c: Cotangent) -> list[Cotangent]:
            nothing = algebra.given("nothing", np.zeros((c[0].rows, c[0].rows)))
            pairs = ((first, (c[0], nothing)), (second, (nothing, c[0])))
            return [[algebra.sum([(self._gathering(v.axes, axes), algebra.halves(*pair))])] for v, pair in pairs]

        return self._made(axes, first.units, algebra.halves(*wide), [first, second], pull)

    def _layer_norm(self, v: Any, epsilon: float) -> Vector:
        """Means over the units are numbers; what a cotangent loses along 1 and the vector itself is of order 1/M."""
        if len(v.parts) > 1:
            raise ProgramError("limit: layer_norm of vectors put side by side")
        algebra, field = self.algebra, v.parts[0].field
        variance = algebra.variances(field) + epsilon
        if not (variance > 0.0).all():
            raise ProgramError("limit: layer_norm of a vector of variance zero")
        scale = variance**-0.5
        unit = algebra.sum([(np.diag(scale), field)], -scale * field.mean)

        def pull(c: Cotangent) -> list[Cotangent]:
            places = layout.places(v.axes, self._alone, self._functionals)
            return [[algebra.sum([(np.diag(scale[places]), one)]) for one in c]]

        return self._keep(v.axes, v.units, v.fan, (Part(1.0, v.units, unit),), [v], pull)

    def _attention(self, query: Any, key: Any, value: Any, axis: str, scale: float) -> Vector:
        """Scores are numbers; cotangents through them are of order M^(-1/2)."""
        strength = attention_strength(scale, query.units)
        if max(len(v.parts) for v in (query, key, value)) > 1:
            raise ProgramError("limit: attention of vectors put side by side")
        algebra, size = self.algebra, value.axes[axis]
        others = layout.along(np.ones((size, size)), value.axes, axis) > 0.0
        scores = strength * algebra.gram(query.parts[0].field, key.parts[0].field)
        weights = np.where(others, np.exp(scores - np.where(others, scores, -np.inf).max(axis=1, keepdims=True)), 0.0)
        weights /= weights.sum(axis=1, keepdims=True)
        mixed = algebra.sum([(weights, value.parts[0].field)])

        def pull(c: Cotangent) -> list[Cotangent]:
            back: Floats = weights.T
            if self._alone is not None and INPUT not in value.axes:
                back = np.asarray(np.kron(np.eye(self.inputs), weights.T), np.float64)
            none = [algebra.sum([(0.0, one)]) for one in c]
            return [none, none, [algebra.sum([(self._back(value.axes, back), one)]) for one in c]]

        parts = (Part(1.0, value.units, mixed),)
        return self._keep(value.axes, value.units, value.fan, parts, [query, key, value], pull)

    def _draw(self, key: Key, variance: float, axes: Axes) -> Vector:
        rows = layout.size_of(axes)
        return self._made(axes, self.width, self.algebra.given(("draw", key), variance * np.eye(rows)))

    def _ask(self, key: Key, matrix: Asked, v: Any) -> Vector:
        law, algebra = self.laws.of(key), self.algebra
        answer = algebra.answer(("answer", key), v.question, law.sigma_w2, law.sigma_b2)
        shares = [part.share for part in v.parts]

        def pull(c: Cotangent) -> list[Cotangent]:
            told = Question(((1.0, c[0]),))
            families = [("back", key, place) for place in range(len(shares))]
            pairs = zip(families, shares, strict=True)
            return [[algebra.answer(family, told, law.sigma_w2 * share, 0.0) for family, share in pairs]]

        made = self._made(v.axes, matrix.units, answer, [v], pull)
        self.asks.append(Ask(key, law, v, made))
        return made

    def _probed(self, v: Any) -> Any:
        return v

    def _see(self, key: Key, v: Any) -> None:
        self.seen[key] = v

    def _matrices_of(self, one: Field) -> set[Key]:
        """Matrices whose answers are in a Gaussian field."""
        if isinstance(one, Halves):
            return self._matrices_of(one.first) | self._matrices_of(one.second)
        if isinstance(one, Sum):
            return {key for _, part in one.terms for key in self._matrices_of(part)}
        assert isinstance(one, Atom)
        return {one.family[1]} if isinstance(one.family, tuple) and one.family[0] == "answer" else set()

    def _sentence(self, operation: str) -> str:
        return f"the limit by Gaussian means of pairs has no {operation}"

    # ------------------------------------------------------------ backward
    def cotangents(self, output: Vector, probed: bool) -> dict[int, Cotangent]:
        """Cotangents of the rows of the output at all vectors that they reach, by id.

        Parameters
        ----------
        output : Vector
            What the program returned.
        probed : bool
            Whether its products with a random probe, of expected squared length 1, are the outputs.
        """
        if len(output.parts) > 1:
            raise ProgramError("limit: the outputs are vectors put side by side; ask a readout")
        top_axes = self._cot_axes(output.axes)
        rows = layout.size_of(top_axes)
        self._functionals = rows if self.mixes_inputs else rows // self.inputs
        count = self._functionals * rows
        if self.mixes_inputs:
            ones = np.eye(rows).reshape(count)
        else:
            sites = rows // self.inputs
            ones = np.repeat(np.eye(sites)[:, None, :], self.inputs, axis=1).reshape(count)
        # of a readout: one unit, the cotangent is 1; of a probe: the same random direction for all inputs
        top = self.algebra.given("top", np.outer(ones, ones))
        found: dict[int, Cotangent] = {id(output): [top]}
        for v in reversed(self.tape):
            if id(v) not in found or v.pull is None:
                continue
            for parent, part in zip(v.parents, v.pull(found[id(v)]), strict=True):
                known = found.get(id(parent))
                found[id(parent)] = (
                    part
                    if known is None
                    else [self.algebra.sum([(1.0, a), (1.0, b)]) for a, b in zip(known, part, strict=True)]
                )
        return found


def attention_strength(scale: float, units: float) -> float:
    """The factor of the mean over the units of query . key.

    Raises
    ------
    ProgramError
        If it grows with the units.
    """
    strength = scale * units
    if units > 4 and abs(strength) >= 0.5 * units**0.5:
        raise ProgramError(
            f"attention: with a scale of {scale:.3g} for {units} units scores do not average themselves out at "
            "infinite width; a scale of order one over the units has a limit"
        )
    return strength


def _times(a: float, matrix: Floats | float) -> Floats | float:
    return a * matrix
