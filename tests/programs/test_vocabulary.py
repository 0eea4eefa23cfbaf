"""Names, laws and checks of programs, the same for every interpretation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mcnet.programs.names import INPUT, ProgramError, found_by_name, key_of, text_of
from mcnet.programs.parameters import Law, Laws, Parameters, called, laws_of
from mcnet.programs.vocabulary import AbstractInterpreter, AbstractVector, joint_axes


class Row(AbstractVector):
    """A vector that knows only its shape."""

    def __init__(self, w: AbstractInterpreter, axes: dict[str, int], units: int, fan: int | None = None) -> None:
        self.interpreter, self.axes, self.units, self.fan = w, axes, units, fan or units


class Shapes(AbstractInterpreter):
    interpretation = "shapes"

    def _combination(self, terms: Any, constant: float) -> Row:
        vectors = [v for _, v in terms]
        return Row(self, joint_axes("a sum", vectors), vectors[0].units)

    def _product(self, a: Any, b: Any) -> Row:
        return Row(self, joint_axes("a product", [a, b]), a.units)

    def _ask(self, key: Any, matrix: Any, v: Any) -> Row:
        return Row(self, v.axes, matrix.units)

    def _rows(self, matrix: Any, v: Any, axis: str, axes: dict[str, int]) -> Row:
        return Row(self, axes, v.units)

    def _see(self, key: Any, v: Any) -> None:
        pass


def interpreter(**values: Any) -> tuple[Shapes, Row]:
    w = Shapes(Parameters({"outputs": 3, "activation": "tanh", **values}), 8)
    return w, Row(w, {"input": 2, "position": 4}, 8)


@pytest.mark.parametrize(
    ("name", "key", "text"),
    [
        ("W", ("W",), "W"),
        ("W3", ("W", 3), "W3"),
        (("W", 3), ("W", 3), "W3"),
        ("block2value", ("block2value",), "block2value"),
        (("W", 1, 2), ("W", 1, 2), "W/1/2"),
        ("W12", ("W", 12), "W12"),
    ],
)
def test_one_name_is_kept_one_way(name: Any, key: Any, text: str) -> None:
    assert key_of(name) == key
    assert text_of(key) == text


@pytest.mark.parametrize("name", [3, "", (), (1, "W"), ("W", 1.5), ("W", True), None])
def test_what_is_no_name(name: Any) -> None:
    with pytest.raises(ProgramError, match="a name"):
        key_of(name)


def test_things_are_found_by_name() -> None:
    things = {("u", 1): "a", ("u", 2): "b", ("h", 0): "c"}
    assert found_by_name(things, "u2", "vector") == "b"
    assert found_by_name(things, "h", "vector") == "c"
    with pytest.raises(ProgramError, match='vector "u" is seen more than once; there are: u1, u2'):
        found_by_name(things, "u", "vector")
    with pytest.raises(ProgramError, match='vector "h7" is not seen; there are: u1, u2, h0'):
        found_by_name(things, ("h", 7), "vector")


def test_laws_of_one_matrix_of_a_family_and_of_the_rest() -> None:
    p = Parameters({"sigma_w2": 2, "sigma_b2": 0.1, "weights": "orthogonal", "readout": "uniform"})
    laws = laws_of(p, {"W3": (1.0, 0.0), ("V",): (0.5, 0.2, "gaussian")})
    assert laws.of("W3") == laws.of(("W", 3)) == Law(1.0, 0.0, "orthogonal")
    assert laws.of(("V", 9)) == laws.of("V9") == Law(0.5, 0.2, "gaussian")
    assert laws.of("W4") == Law(2.0, 0.1, "orthogonal")
    assert laws.of("readout") == Law(2.0, 0.1, "uniform")
    with pytest.raises(ProgramError, match='no law is given for the matrix "W4"'):
        Laws({"V": (1, 0)}).of("W4")


@pytest.mark.parametrize("law", [(-1.0, 0.0), (1.0, float("nan")), (1.0,), "xy", (True, 0.0), (float("inf"), 1.0)])
def test_what_is_no_law(law: Any) -> None:
    with pytest.raises(ProgramError, match='the matrix "W"'):
        Laws({"W": law})


def test_parameters_that_are_missing_are_named() -> None:
    p = Parameters({"depth": 3})
    assert p.depth == 3
    assert p.replaced(depth=4).depth == 4
    with pytest.raises(ProgramError, match=r"p\.skip, which is not among its parameters: depth"):
        _ = p.skip


def test_programs_with_and_without_parameters() -> None:
    assert called(lambda w, x: (w, x), 1, 2, "p") == (1, 2)
    assert called(lambda w, x, p: (w, x, p), 1, 2, "p") == (1, 2, "p")


def test_arithmetic_and_axes() -> None:
    w, x = interpreter()
    drawn = Row(w, {"position": 4}, 8)
    assert (2 * x - x / 3 + 1).axes == x.axes
    assert (np.float64(2) * x).axes == (1 - x).axes == x.axes
    assert (drawn * x).axes == (x + drawn).axes == {"input": 2, "position": 4}
    assert list((drawn + Row(w, {"input": 2}, 8)).axes) == ["input", "position"]
    assert w.mean(x, "position").axes == {"input": 2}
    assert not w.mixes_inputs
    assert w.mean(x, INPUT).axes == {"position": 4}
    assert w.mixes_inputs
    assert w.rows(np.ones((3, 4)), x, "position").axes == {"input": 2, "position": 3}


def test_matrices_are_numbered_by_their_first_question() -> None:
    w, x = interpreter()
    h = w.ask("W1", x)
    w.ask("readout", w.ask(("W", 1), h))
    assert [(key, matrix.order, matrix.units) for key, matrix in w.matrices.items()] == [
        (("W", 1), 1, 8),
        (("readout",), 2, 3),
    ]


MISTAKES = {
    "a product: vectors of 8 and of 5 units": lambda w, x: x * Row(w, x.axes, 5),
    'the axis "position" has size 4 and 3': lambda w, x: x + Row(w, {"position": 3}, 8),
    "a summand is a number or a vector of the program, not str": lambda w, x: x + "1",
    "a factor is not finite": lambda w, x: x * float("nan"),
    "divided by zero": lambda w, x: x / 0,
    'mean: the vector has no axis "time"; it has "input", "position"': lambda w, x: w.mean(x, "time"),
    r"rows: a matrix \(new size, 4\)": lambda w, x: w.rows(np.eye(3), x, "position"),
    "shift: steps is a whole number": lambda w, x: w.shift(x, "position", 0.5),
    "patches: every tap has one offset": lambda w, x: w.patches(x, "position", [0, 1], [1.0]),
    "variances of taps are not negative": lambda w, x: w.patches(x, "position", [0], [-1.0]),
    "concat: there must be at least one": lambda w, x: w.concat([]),
    "concat: vectors have different rows": lambda w, x: w.concat([x, w.mean(x, "position")]),
    "halves: vectors of 8 and of 6 units": lambda w, x: w.halves(x, Row(w, x.axes, 6)),
    "halves: 5 units have no halves": lambda w, x: w.halves(Row(w, x.axes, 5), Row(w, x.axes, 5)),
    'halves: the axis "position" has size 4 and 3': lambda w, x: w.halves(x, Row(w, {"position": 3}, 8)),
    "the interpretation shapes has no halves": lambda w, x: w.halves(x, x),
    'the matrix "W" has 8 columns when first asked and 5 later': lambda w, x: (
        w.ask("W", x),
        w.ask("W", Row(w, x.axes, 5)),
    ),
    "units must be a whole number of at least 1": lambda w, x: w.ask("W", x, 0),
    "ask: int where a vector of the program belongs": lambda w, x: w.ask("W", 3),
    "a vector of another run": lambda w, x: w.phi(interpreter()[1]),
    'apply: activation "no" is not known': lambda w, x: w.apply("no", x),
    "attention: rows differ": lambda w, x: w.attention(x, Row(w, {"position": 4}, 8), x, "position", scale=1.0),
    'draw: .* has no axis "input"': lambda w, x: w.draw("x", 1.0, {"input": 2}),
    '"u1" is the name of two vectors': lambda w, x: (w.see("u", 1, x), w.see("u", 1, x)),
    "the interpretation shapes has no phi, apply: use the sampled interpretation": lambda w, x: w.phi(x),
    "the interpretation shapes has no batch_norm": lambda w, x: w.batch_norm(x),
    "epsilon is not negative": lambda w, x: w.layer_norm(x, -1.0),
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_mistakes_are_told(sentence: str) -> None:
    with pytest.raises(ProgramError, match=sentence):
        MISTAKES[sentence](*interpreter())
