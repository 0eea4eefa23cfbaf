"""The table of architectures: keys, laws and axes of one, and what is refused when it registers."""

from __future__ import annotations

from typing import Any

import numpy as np
import program_zoo as zoo
import pytest

from mcnet import architectures
from mcnet.architectures import choice, custom, number, registry, whole
from mcnet.programs import verifying
from mcnet.programs.names import ProgramError
from mcnet.programs.parameters import Law


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten."""
    monkeypatch.setattr(registry, "_TABLE", dict(registry._TABLE))


def gated(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in range(1, p.depth + 1):
        gate = w.apply("sigmoid", w.ask(("G", layer), h))
        h = p.skip * gate * h + (1 - gate) * w.phi(w.ask(("W", layer), h))
        w.see("h", layer, h)
    return w.ask("readout", h)


def pooled(w: Any, x: Any, p: Any) -> Any:
    h = w.phi(w.ask("W", w.patches(x, "position", [0, 1], [0.5, 0.5])))
    w.see("h", 1, h)
    return w.ask("readout", w.mean(h, "position"))


@pytest.mark.parametrize("name", architectures.names())
def test_shipped_ones_pass_the_trial(name: str) -> None:
    registry._try(
        architectures.lookup(name), {"convolution": {"positions": 4}, "transformer": {"tokens": 3}}.get(name, {})
    )


@pytest.mark.parametrize("case", zoo.CASES, ids=lambda case: case.name)
def test_programs_of_all_kinds_register(case: zoo.Case) -> None:
    laws = {"embedding": (1.0, 0.0)}
    architectures.register(f"{case.name.replace('_', '-')}-again", case.network, laws=laws, axes=case.axes)


def test_keys_laws_and_axes_reach_the_program() -> None:
    keys = {"skip": 1.0, "sigma_g2": number(2.0, minimum=0.0), "mode": choice("a", "which", "a", "b")}
    architectures.register(
        "gated", gated, keys=keys, laws={"G": ("sigma_g2", 0.5), "readout": (1.0, 0.0, "orthogonal")}
    )
    found = architectures.lookup("gated")
    common = {**verifying.COMMON, "width": 8, "outputs": 1}
    p = found.parameters(common, {"skip": 0.5})
    assert (p.skip, p.sigma_g2, p.mode, p.width) == (0.5, 2.0, "a", 8)
    of = found.laws_of(p).of
    assert of(("G", 2)) == Law(2.0, 0.5)
    assert of("W1") == Law(1.5, 0.1)
    assert of("readout") == Law(1.0, 0.0, "orthogonal")
    assert list(found.count(p, 2, 8).matrices) == [("G", 1), ("W", 1), ("G", 2), ("W", 2), ("readout",)]

    architectures.register("pooled", pooled, keys={"positions": 4}, axes={"position": "positions"})
    found = architectures.lookup("pooled")
    p = found.parameters(common, {"positions": 7})
    assert found.axes_of(p, 3) == {"input": 3, "position": 7}
    matrix = found.count(p, 3, 8).matrices["W",]
    assert (matrix.asked.units, matrix.asked.columns, matrix.asked.fan, matrix.forward) == (8, 16, 8, 21)


def test_values_that_depend_on_others() -> None:
    scale = custom(
        "1/sqrt(depth)",
        'a number or "1/sqrt(depth)"',
        lambda value: None if isinstance(value, float) or value == "1/sqrt(depth)" else "must be a number or that",
        lambda value, p: p.depth**-0.5 if isinstance(value, str) else value,
    )
    architectures.register(
        "gated", gated, keys={"skip": scale}, check=lambda p: ["skip is large"] if p.skip > 1 else []
    )
    found = architectures.lookup("gated")
    common = {**verifying.COMMON, "width": 8, "outputs": 1, "depth": 4}
    assert found.parameters(common, {}).skip == 0.5
    assert found.parameters(common, {"skip": 0.25}).skip == 0.25
    with pytest.raises(ProgramError, match='architecture "gated": skip is large'):
        found.parameters(common, {"skip": 2.0})
    with pytest.raises(ProgramError, match='"skip" must be a number or that'):
        found.parameters(common, {"skip": "half"})


def test_complaints_name_the_key() -> None:
    keys = {"skip": number(1.0, maximum=1.0), "taps": whole(explanation="how many"), "mode": choice("a", "", "a", "b")}
    architectures.register("gated", gated, keys=keys, example={"taps": 3})
    found = architectures.lookup("gated")
    assert found.complaints({"taps": 1}) == []
    given = {"skip": 2.0, "mode": "c", "other": 1}
    assert found.complaints(given) == [
        ("skip", '"skip" must be at most 1'),
        ("mode", '"mode" must be one of "a", "b"'),
        ("other", 'key "other" is not known (skip, taps, mode, epsilon)'),
        ("taps", '"taps" is missing: how many'),
    ]
    for value in (True, 1.5, "3", 0):
        assert found.complaints({"taps": value})


def seen(network: Any) -> Any:
    """A program that also sees a vector."""

    def both(w: Any, x: Any, p: Any) -> Any:
        w.see("h", 1, w.phi(w.ask("seen", x)))
        return network(w, x, p)

    return both


def counting(w: Any, x: Any, p: Any) -> Any:
    for step in range(p.width):
        w.ask(("W", step), x)
    return w.ask("readout", x)


LIES: dict[str, Any] = {
    'architecture "lie": w.tanh is not an operation; there are ask, phi': seen(lambda w, x, p: w.tanh(x)),
    'mean: the vector has no axis "position"; it has "input"': seen(lambda w, x, p: w.mean(x, "position")),
    r"p\.skip, which is not among its parameters": seen(lambda w, x, p: p.skip * x),
    "fails on a small network: TypeError": seen(lambda w, x, p: np.tanh(x)),
    "fails on a small network: NameError": seen(lambda w, x, p: undefined),  # type: ignore[name-defined]  # noqa: F821
    "fails on a small network: ZeroDivisionError": seen(lambda w, x, p: 1 / 0),
    "the program returns tuple": seen(lambda w, x, p: (x, x)),
    "gives 6 units where 2 outputs are wanted": seen(lambda w, x, p: w.ask("W", x)),
    r"without outputs it must return w.ask\(\"readout\", h\)": seen(lambda w, x, p: 2 * w.ask("readout", x)),
    "rows or matrices depend on the width": seen(counting),
    "nothing can be observed of it": lambda w, x, p: w.ask("readout", x),
    'the vector "h1" is not finite': lambda w, x, p: (w.see("h", 1, 1e200 * x), w.ask("readout", x))[1],
    "the outputs are not finite": seen(lambda w, x, p: w.ask("readout", 1e200 * (1e200 * x))),
    "the outputs do not depend|do not depend on the input": seen(lambda w, x, p: w.ask("readout", w.draw("z", 1.0))),
}


@pytest.mark.parametrize("sentence", LIES)
def test_lies_are_refused_by_name(sentence: str) -> None:
    with pytest.raises(ProgramError, match=sentence) as error:
        architectures.register("lie", LIES[sentence])
    assert str(error.value).startswith('architecture "lie": ')
    assert "lie" not in architectures.names()


def test_programs_that_normalise_themselves() -> None:
    asked: list[str] = []

    def network(w: Any, x: Any, p: Any) -> Any:
        kind = p.get("normalization", "none")
        asked.append(kind)
        h = w.ask("W", w.layer_norm(x) if kind == "pre-layer" else x)
        w.see("h", 1, h)
        return w.ask("readout", h if kind == "none" else w.layer_norm(h, "a text" if kind == "post-layer" else 0.1))

    architectures.register("normed", network, normalizations=("none", "pre-layer"))
    assert architectures.lookup("normed").normalizations == ("none", "pre-layer")
    assert {*asked} == {"none", "pre-layer"}  # the trial is made with each
    with pytest.raises(ProgramError, match="epsilon is a number"):
        architectures.register("normed", network, normalizations=("none", "pre-layer", "post-layer"))
    for wrong in (("pre-layer",), ("none", "group")):
        with pytest.raises(ProgramError, match='normalizations are "none" and some of'):
            architectures.register("normed", network, normalizations=wrong)


def test_what_is_no_registration() -> None:
    for name in ("Gated", "my net", "", 3):
        with pytest.raises(ProgramError, match="use lower-case letters"):
            architectures.register(name, gated)  # type: ignore[arg-type]
    with pytest.raises(ProgramError, match='architecture "dense" exists already'):
        architectures.register("dense", gated)
    with pytest.raises(ProgramError, match="network must be a function"):
        architectures.register("gated", "network")  # type: ignore[arg-type]
    with pytest.raises(ProgramError, match='key "width" means something for every architecture'):
        architectures.register("gated", gated, keys={"width": 3})
    with pytest.raises(ProgramError, match='key "Skip": use lower-case letters'):
        architectures.register("gated", gated, keys={"Skip": 3})
    with pytest.raises(ProgramError, match='key "skip": give a default number or flag'):
        architectures.register("gated", gated, keys={"skip": "one"})
    with pytest.raises(ProgramError, match=r'key "skip": its default .* must be at most 1'):
        architectures.register("gated", gated, keys={"skip": number(2.0, maximum=1.0)})
    with pytest.raises(ProgramError, match="give an example value of skip"):
        architectures.register("gated", gated, keys={"skip": number()})
    with pytest.raises(ProgramError, match='did you mean "dense"'):
        architectures.lookup("dens")
    architectures.register("gated", gated, keys={"skip": 1.0})
    architectures.register("gated", gated, keys={"skip": 0.5})  # a cell of a notebook run again
    assert architectures.lookup("gated").keys["skip"].default == 0.5
