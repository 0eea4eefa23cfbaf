"""Architectures in scenarios: their keys as coordinates, sweeps, plans; what is refused, and where it is told."""

from __future__ import annotations

from typing import Any

import pytest

from mcnet import architectures
from mcnet.architectures import custom, number, registry
from mcnet.coordinates import REQUIRED
from mcnet.errors import ScenarioError
from mcnet.plan.plan import Plan, make_plan
from mcnet.scenario.loading import load


def residual(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in range(1, p.depth + 1):
        h = p.skip * h + p.branch * w.phi(w.ask(("W", layer), h))
        w.see("h", layer, h)
    return w.ask("readout", h)


SCALE = custom(
    "1/sqrt(depth)",
    'a number or "1/sqrt(depth)"',
    lambda value: None if isinstance(value, float) or value == "1/sqrt(depth)" else 'must be a number or "1/sqrt"',
    lambda value, p: p.depth**-0.5 if isinstance(value, str) else value,
)
TAPS = custom(None, "a list", lambda value: None if value is None or len(value) < 3 else "must be short")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TABLE", dict(registry._TABLE))
    architectures.register(
        "plain-residual",
        residual,
        keys={"skip": number(1.0, minimum=0.0, maximum=2.0), "branch": SCALE, "taps": TAPS},
        check=lambda p: ["skip has no meaning without a branch"] if p.branch == 0.0 else [],
        weights=("gaussian",),
    )


def study(
    network: dict[str, Any] | None = None, sweep: dict[str, Any] | None = None, architecture: str = "plain-residual"
) -> dict[str, Any]:
    law = {"activation": "tanh", "weights": "gaussian", "depth": 4, "sigma_w2": 1.5, "sigma_b2": 0.1, "outputs": 1}
    return {
        "mcnet": 1,
        "network": {"architecture": architecture, **law, **(network or {})},
        "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5},
        "sweep": {"width": [8, 16], **(sweep or {})},
        "sampling": {"networks": 4},
        "measure": {"q": {}},
    }


def test_keys_are_coordinates_with_their_defaults() -> None:
    points = load(study({"skip": 0.9})).points()
    assert [dict(point.parameters) for point in points] == [{"branch": "1/sqrt(depth)", "skip": 0.9}] * 2
    assert points[0].physics["parameters"] == {"branch": "1/sqrt(depth)", "skip": 0.9}
    assert points[0].coordinates["skip"] == 0.9
    assert architectures.of(points[0]).parameters.branch == 0.5
    said = load(study({"skip": 0.9, "branch": "1/sqrt(depth)"})).points()
    assert said == points  # a default that is written down is the same point


def test_a_dense_point_knows_nothing_of_keys() -> None:
    point = load(study(architecture="dense")).points()[0]
    assert point.parameters == ()
    assert "parameters" not in point.physics


def test_keys_may_be_swept_and_enter_the_key_of_a_point() -> None:
    points = load(study(sweep={"skip": [0.5, 1.0], "branch": {"start": 0.1, "stop": 0.3, "num": 3}})).points()
    assert len({point.key for point in points}) == 2 * 2 * 3
    together = study(sweep={"points": [{"depth": 1, "skip": 0.5}, {"depth": 9, "skip": 1.0}]})
    del together["network"]["depth"]
    found = [(point.width, point.depth, dict(point.parameters)["skip"]) for point in load(together).points()]
    assert found == [(8, 1, 0.5), (8, 9, 1.0), (16, 1, 0.5), (16, 9, 1.0)]


def test_lists_and_tables_reach_the_program_and_come_back_from_a_plan() -> None:
    plan = make_plan(load(study({"taps": [0.25, 0.75]})))
    assert Plan.from_json(plan.to_json()).points == plan.points
    assert architectures.of(plan.points[0].point).parameters.taps == [0.25, 0.75]
    content = study({"gate_bias": {"update": 0.5}, "tied": False}, architecture="gru")
    plan = make_plan(load(content))
    again = Plan.from_json(plan.to_json()).points
    assert again == plan.points
    assert architectures.of(again[0].point).parameters.gate_bias == {"update": 0.5, "reset": 0.0}
    swept = load(study(sweep={"gate_bias": [0.5, {"reset": 1.0}]}, architecture="gru")).points()
    assert len({point.key for point in swept}) == 4


MISTAKES = {
    "network.skip: must lie from 0 to 2, got 3.0": {"skip": 3.0},
    'network.skipp: unknown key. Did you mean "skip"?': {"skipp": 1.0},
    "network.branch: must be a number": {"branch": "1/depth"},
    "network.skip: skip has no meaning without a branch.": {"branch": 0.0},
    "network.taps: must be short": {"taps": [1, 2, 3]},
    "network.taps: expected numbers or words": {"taps": [float("nan")]},
    'network.weights: "uniform" is not known': {"weights": "uniform"},
    'Did you mean "plain-residual"?': {"architecture": "plain-residul", "skip": 1.0},
    "network.skip: unknown key": {"architecture": "dense", "skip": 1.0},
    '"critical" is that of dense networks': {"sigma_w2": "critical"},
    "network.positions: missing. Write positions": {"architecture": "convolution"},
    "network.kernel: kernel = 4 has no centre": {"architecture": "convolution", "positions": 9, "kernel": 4},
}


@pytest.mark.parametrize("told", MISTAKES)
def test_mistakes_are_told_with_their_place(told: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load(study(MISTAKES[told]))
    assert told in str(error.value)


def test_a_program_that_does_not_fit_a_point_is_told_before_anything_runs() -> None:
    content = study()
    content["inputs"]["dimension"] = 12
    with pytest.raises(ScenarioError, match=r'network.architecture: architecture "plain-residual": .*units.*width 8'):
        load(content)


def test_a_required_key_must_be_given() -> None:
    architectures.register("needy", residual, keys={"skip": number(REQUIRED), "branch": 1.0}, example={"skip": 1.0})
    with pytest.raises(ScenarioError, match=r"network\.skip: missing"):
        load(study(architecture="needy"))
    assert load(study({"skip": 1.0}, architecture="needy")).points()
    assert load(study(sweep={"skip": [0.5, 1.0]}, architecture="needy")).points()


def test_a_zero_last_matrix_is_not_trained_in_the_ntk_parametrisation() -> None:
    blocks = {"block": "two", "zero_last": True}
    assert load(study(blocks, architecture="residual")).points()
    with pytest.raises(ScenarioError, match=r'"ntk" never trains the second matrix; use "standard"'):
        load(study({**blocks, "parameterization": "ntk"}, architecture="residual")).points()
