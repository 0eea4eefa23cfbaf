"""The counted interpretation: a program run on shapes alone, in microseconds.

It tells, before anything is sampled, which matrices there are and what they are asked, whether inputs are mixed, how
much memory and time a network takes with matrices built or asked, and whether asking pays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mcnet.activations import Activation
from mcnet.programs.names import INPUT, Key, ProgramError
from mcnet.programs.parameters import Laws, Network, Parameters, called
from mcnet.programs.shapes import Ask, Shape, turned
from mcnet.programs.vocabulary import AbstractInterpreter, AbstractVector, Asked, Axes, Matrix, joint_axes


@dataclass(frozen=True)
class MatrixCount:
    """A matrix and what it is asked.

    Attributes
    ----------
    asked : Asked
        Its order, units, columns and fan.
    asks : int
        How many times.
    forward, backward : int
        Questions W x and W^T d of one network: rows of all asks.
    kept : tuple of int
        Units of answers and of questions that asked networks keep in a forward pass.
    """

    asked: Asked
    asks: int
    forward: int
    backward: int
    kept: tuple[int, int]


@dataclass(frozen=True)
class Count:
    """What a program takes.

    Attributes
    ----------
    matrices : mapping of name to MatrixCount
        In the order of first questions.
    output : Shape
        Shape of the outputs; of the vector that is probed where there is no readout.
    probed : bool
    mixes_inputs : bool
    seen : mapping of name to Shape
    vectors : tuple of Shape
        All vectors, in the order in which they are made.
    functionals : int
        Functionals of which cotangents are propagated: outputs times rows of an input, and times inputs where the
        program mixes them.
    in_float64 : tuple of int
        Numbers of the largest vector that is normalised or attended to: its copies on the way are float64. In full, and
        as a forward pass keeps it where matrices are asked.
    turned : mapping of name to int
        Matrices whose answers asked networks give in their own frame (:mod:`mcnet.programs.shapes`), and their units.
    """

    matrices: Mapping[Key, MatrixCount]
    output: Shape
    probed: bool
    mixes_inputs: bool
    seen: Mapping[Key, Shape]
    vectors: tuple[Shape, ...]
    functionals: int
    in_float64: tuple[int, int]
    turned: Mapping[Key, int]

    def of_one_functional(self) -> Count:
        """The same with the cotangents of a single function of all outputs."""
        matrices = {key: replace(matrix, backward=matrix.forward) for key, matrix in self.matrices.items()}
        return replace(self, functionals=1, matrices=matrices)

    def widest(self, sampler: str, backward: bool) -> int:
        """Numbers of the largest vector of one network."""
        if sampler == "conditioned" and not backward:
            return max(v.size_kept for v in self.vectors)
        return max(v.size for v in self.vectors)

    def numbers(self, sampler: str, backward: bool) -> int:
        """Numbers of vectors that one network holds at a time: all of them where a backward pass follows."""
        if not backward:
            return 4 * self.widest(sampler, backward)
        cotangents = 3 * self.functionals * max(_cotangent_rows(self, v) * v.units for v in self.vectors)
        return sum(v.size for v in self.vectors) + cotangents

    def bytes_per_network(self, sampler: str, itemsize: int, backward: bool) -> int:
        """Working memory of one network, within a factor of about two."""
        full, kept = self.in_float64
        wide = kept if sampler == "conditioned" and not backward else full
        total = self.numbers(sampler, backward) * itemsize + 4 * 8 * wide
        passing = 0  # a built matrix that is used once is gone before the next one
        for matrix in self.matrices.values():
            units, columns = matrix.asked.units, matrix.asked.columns
            asked = matrix.forward + (matrix.backward if backward else 0)
            again = backward or matrix.asks > 1
            if sampler == "explicit" and again:
                total += units * columns * itemsize
            elif sampler == "explicit":
                passing = max(passing, units * columns * itemsize)
            elif again:
                total += asked * (units + columns) * itemsize + 5 * 8 * asked**2
        return int(total + passing + (self._kernel_bytes(itemsize) if backward else 0))

    def _kernel_bytes(self, itemsize: int) -> int:
        """Cotangents of a shared matrix wait for each other; what they meet in is float64."""
        waiting = [m.backward * m.asked.units * itemsize for m in self.matrices.values() if m.asks > 1]
        meeting = [8 * (2 * m.backward * m.asked.units + m.forward * m.asked.columns) for m in self.matrices.values()]
        return int(sum(waiting) + max(meeting))

    def seconds_per_network(self, sampler: str, backward: bool) -> float:
        """Time of one network on one core, within a factor of about three."""
        kept = sampler == "conditioned" and not backward
        total = 3e-9 * sum(v.size_kept if kept else v.size for v in self.vectors)
        if backward:
            total += (
                6e-9 * self.functionals * sum(_cotangent_rows(self, v) * v.units for v in self.vectors if v.answers)
            )
        for matrix in self.matrices.values():
            total += seconds_of_matrix(matrix, sampler, backward)
        return total

    def asking_pays(self, backward: bool) -> bool:
        """Whether asked matrices are faster than built ones."""
        asked, built = (
            sum(seconds_of_matrix(matrix, sampler, backward) for matrix in self.matrices.values())
            for sampler in ("conditioned", "explicit")
        )
        return asked <= built


def seconds_of_matrix(matrix: MatrixCount, sampler: str, backward: bool) -> float:
    """Time that the products with one matrix take, random numbers included."""
    units, columns = int(matrix.asked.units), int(matrix.asked.columns)
    back = matrix.backward if backward else 0
    asked = matrix.forward + back
    if sampler == "explicit":
        products = matrix.asks * (2 if back else 1)  # each is a pass over the matrix
        return 1e-9 * units * columns * (1.9 + 0.5 * products + 0.06 * asked)
    if not back:
        units, columns = matrix.kept
    entries: float = matrix.forward * (units + 0.5 * columns) + back * (columns + 0.5 * units)
    return 1e-9 * entries * (3.0 + 0.6 * asked) + 1e-9 * asked**3


def _cotangent_rows(count: Count, v: Shape) -> int:
    """Rows of cotangents of one functional; see :mod:`mcnet.programs.tape`."""
    if count.mixes_inputs or INPUT in v.axes:
        return v.rows
    return v.rows * count.output.axes.get(INPUT, 1)


class Counted(AbstractInterpreter):
    """The interpreter of shapes."""

    interpretation = "counted"

    def __init__(self, parameters: Parameters, width: int) -> None:
        super().__init__(parameters, width)
        self.vectors: list[Shape] = []
        self.asks: list[Ask] = []
        self.seen: dict[Key, Shape] = {}
        self.probed: Shape | None = None
        self.wide: list[Shape] = []

    def input(self, axes: Axes, units: int) -> Shape:
        """The input vector."""
        return self._made(axes, units)

    def _made(self, axes: Axes, units: int, *sources: Any, fan: int | None = None, by: str = "") -> Shape:
        made = Shape(self, dict(axes), units, units if fan is None else fan, sources, by == "ask", by)
        self.vectors.append(made)
        return made

    def _with_copies(self, axes: Axes, units: int, *sources: Any, by: str = "") -> Shape:
        """A vector that is made in float64."""
        made = self._made(axes, units, *sources, by=by)
        self.wide.append(made)
        return made

    def _combination(self, terms: list[tuple[float, Any]], constant: float) -> Shape:
        vectors = [v for _, v in terms]
        return self._made(joint_axes("a sum", vectors), vectors[0].units, *vectors)

    def _product(self, a: Any, b: Any) -> Shape:
        return self._made(joint_axes("a product", [a, b]), a.units, a, b)

    def _ask(self, key: Key, matrix: Asked, v: Any) -> Shape:
        answer = self._made(v.axes, matrix.units, v, by="ask")
        self.asks.append(Ask(key, v, answer))
        return answer

    def _probed(self, v: Any) -> Shape:
        self.probed = v
        return v  # type: ignore[no-any-return]

    def _apply(self, activation: Activation, v: Any) -> Shape:
        return self._made(v.axes, v.units, v)

    def _rows(self, matrix: Matrix, v: Any, axis: str, axes: Axes) -> Shape:
        return self._made(axes, v.units, v)

    def _patches(self, v: Any, axes: tuple[str, ...], taps: list[tuple[int, ...]], variances: list[float]) -> Shape:
        return self._made(v.axes, v.units * len(taps), v, fan=v.fan)

    def _concat(self, vectors: list[Any]) -> Shape:
        units = sum(v.units for v in vectors)
        return self._made(vectors[0].axes, units, *vectors, by="concat")

    def _halves(self, first: Any, second: Any) -> Shape:
        return self._made(joint_axes("halves", [first, second]), first.units, first, second)

    def _batch_norm(self, v: Any, epsilon: float) -> Shape:
        return self._with_copies(v.axes, v.units, v)

    def _layer_norm(self, v: Any, epsilon: float) -> Shape:
        return self._with_copies(v.axes, v.units, v)

    def _attention(self, query: Any, key: Any, value: Any, axis: str, scale: float) -> Shape:
        return self._with_copies(value.axes, value.units, query, key, value, by="attention")

    def _draw(self, key: Key, variance: float, axes: Axes) -> Shape:
        return self._made(axes, self.width)

    def _see(self, key: Key, v: Any) -> None:
        self.seen[key] = v


def count(network: Network, parameters: Parameters, laws: Laws, axes: Axes, dimension: int) -> Count:
    """Run a program on shapes.

    Parameters
    ----------
    network : callable
    parameters : Parameters
    laws : Laws
        Of its matrices: each must have one.
    axes : dict
        Row axes of the input, ``{"input": T, ...}``.
    dimension : int
        M_0, units of the input.

    Raises
    ------
    ProgramError
        If the program uses an operation wrongly, or returns anything but one of its vectors.
    """
    w = Counted(parameters, parameters.width)
    x = w.input(axes, dimension)
    output = called(network, w, x, parameters)
    check_output(w, output)
    w.seen.setdefault(("h", 0), x)
    sites = output.rows // output.axes.get(INPUT, 1)
    functionals = sites * (1 if output is w.probed else output.units)
    if w.mixes_inputs:
        functionals *= output.axes.get(INPUT, 1)
    back: Callable[[Ask], int] = lambda ask: functionals * _back_rows(ask, w, output) if ask.question.answers else 0  # noqa: E731
    vectors = tuple(w.vectors)
    for key in w.matrices:
        laws.of(key)
    frames = turned(vectors, w.asks, {id(v) for v in (output, *w.seen.values())}, laws)
    matrices = {}
    for key, asked in w.matrices.items():
        mine = [ask for ask in w.asks if ask.key == key]
        kept = mine[0].answer.kept, mine[0].question.kept
        rows = sum(ask.question.rows for ask in mine)
        matrices[key] = MatrixCount(asked, len(mine), rows, sum(map(back, mine)), kept)
    in_float64 = max((v.size for v in w.wide), default=0), max((v.size_kept for v in w.wide), default=0)
    return Count(matrices, output, output is w.probed, w.mixes_inputs, w.seen, vectors, functionals, in_float64, frames)


def _back_rows(ask: Ask, w: Counted, output: Shape) -> int:
    if w.mixes_inputs or INPUT in ask.answer.axes:
        return ask.answer.rows
    return ask.answer.rows * output.axes.get(INPUT, 1)


def check_output(w: AbstractInterpreter, output: Any) -> None:
    """Refuse what a program must not return.

    Raises
    ------
    ProgramError
        If it is no vector of this run, or does not depend on the inputs.
    """
    if not isinstance(output, AbstractVector) or output.interpreter is not w:
        raise ProgramError(
            f'the program returns {type(output).__name__}; it must return its outputs: return w.ask("readout", h)'
        )
    if INPUT not in output.axes:
        raise ProgramError(f'the outputs have no axis "input" (rows {output.axes}): they do not depend on the input')
