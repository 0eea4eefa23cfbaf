"""Finite-time Lyapunov exponents: QR of the Jacobians themselves, exact linear networks, limits, built networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import program_zoo as zoo
import pytest
from network_points import measured
from same_law import assert_same_law
from scores import assert_standard_normal
from strict_backend import STRICT

import mcnet
from mcnet import predictions
from mcnet.backend import get_backend
from mcnet.errors import ScenarioError
from mcnet.programs.growth import stretches
from mcnet.scenario.loading import load
from mcnet.theory import exact

CASES = [
    zoo.shipped("recurrent", leak=0.5),
    zoo.shipped("gru", depth=3),
    zoo.shipped("lstm", depth=3),
    zoo.shipped("residual", block="post"),
    zoo.shipped("transformer", tokens=2, heads=2, depth=2),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_the_qr_decomposition_of_the_jacobian(case: zoo.Case) -> None:
    """Leaky states and cells carry changes beside h; of built networks the Jacobian of every layer is there."""
    trace = zoo.run(case, "explicit", 3)
    layers = sorted(key[1] for key in trace.seen if key[0] == "h" and key[1] > 0)
    jacobians = [np.asarray(trace.jacobian(("h", layer)).entries()) for layer in layers]
    size = jacobians[0].shape[2]
    start = np.linalg.qr(np.random.default_rng(0).normal(size=(size, 3)))[0].T[None]
    stops = {id(trace.vector(("h", layer))): layer - 1 for layer in layers}
    tape = trace.jacobian().tape
    found = np.cumsum(np.log(stretches(trace.ensemble.backend, tape, start, stops, len(layers))), axis=-1)
    for place, jacobian in enumerate(jacobians):
        r = np.linalg.qr(jacobian @ start[0].T)[1]
        expected = np.log(np.abs(np.diagonal(r, axis1=1, axis2=2)))
        np.testing.assert_allclose(found[:, :, place], expected, rtol=1e-8, atol=1e-8)
    values = np.prod(np.asarray(trace.stretches(3)), axis=-1)
    assert not np.allclose(np.log(values), found[..., -1])  # its own random directions


def study(networks: int = 4, sampler: str = "conditioned", options: Any = None, **network: Any) -> dict[str, Any]:
    law = {"architecture": "recurrent", "activation": "erf", "weights": "gaussian", "depth": 5, "sigma_w2": 2.5}
    width = network.pop("width", 64)
    return {
        "mcnet": 1,
        "network": {**law, "sigma_b2": 0.1, "width": width, **network},
        "inputs": {"kind": "single", "q0": 0.9},
        "sampling": {"networks": networks, "sampler": sampler, "seed": 4},
        "measure": {"lyapunov": options or {"exponents": 3}},
    }


def exponents(content: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(mcnet.sample(content)["dynamics"]["lyapunov"].values[0][..., 1:])


def check_linear(values: np.ndarray[Any, Any], width: int, sigma_w2: float) -> None:
    """1000 networks: means to 1 %, variances to 5 %."""
    for number in (1, 2, 3):
        for steps in (1, 5):
            mean, variance = exact.linear_lyapunov(sigma_w2, width, steps, number)
            z = (values[:, number - 1, steps - 1] - mean) / np.sqrt(variance)
            assert_standard_normal(z[:, None], f"exponent {number} after {steps} steps")


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
def test_linear_networks_exactly(sampler: str) -> None:
    values = exponents(study(1000, sampler, activation="linear", tied=False, width=12))
    check_linear(values, 12, 2.5)
    with pytest.raises(AssertionError, match="the variance"):
        check_linear(values, 16, 2.5)
    with pytest.raises(AssertionError, match="the mean"):
        check_linear(values, 12, 2.8)
    with pytest.raises(AssertionError, match="exponent 1"):
        check_linear(values[:, ::-1], 12, 2.5)


@pytest.mark.parametrize("keys", [{"leak": 0.5}, {"architecture": "gru"}])
def test_asked_networks_have_the_law_of_built_ones(keys: dict[str, Any]) -> None:
    asked, built = (exponents(study(1000, sampler, width=7, **keys)) for sampler in ("conditioned", "explicit"))
    assert_same_law(asked, built, str(keys))


@pytest.mark.parametrize("keys", [
    {},
    {"leak": 0.4},
    {"architecture": "residual", "block": "post", "skip": 0.9},
    {"architecture": "gru", "activation": "tanh", "tied": False, "width": 1000},
    {"architecture": "minimal-rnn", "tied": False, "gate_bias": 0.5, "width": 2000},
])  # fmt: skip
def test_limits(keys: dict[str, Any]) -> None:
    """60 networks of width 3000 (gates less): errors of 0.1 to 0.3 %, neglected 1/M. A tenth more weight is refused."""
    keys = {"width": 3000, **keys}

    def deviations(values: np.ndarray[Any, Any], sigma_w2: float) -> np.ndarray[Any, Any]:
        point = load(study(**{**keys, "sigma_w2": sigma_w2})).points()[0]
        limit = predictions.predict("lyapunov", predictions.Ensemble.of(point), (0,)).limit[1:]
        error = np.hypot(values.std(0) / np.sqrt(60), 1.0 / keys["width"])
        return np.asarray((values.mean(0) - limit) / error)

    values = exponents(study(60, **keys))
    assert np.abs(deviations(values, 2.5)).max() < 4.5
    assert np.abs(deviations(values, 2.75)).max() > 8.0


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"architecture": "dense"}, 'not through "dense"'),
        ({"options": {"exponents": 65}}, "there are at most 64"),
        ({"options": {"exponents": 0}}, "whole number from 1"),
    ],
)
def test_what_is_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        load(study(**keys))


def test_of_gates_nothing_is_predicted_and_the_reason_is_said() -> None:
    point = load(study(architecture="gru")).points()[0]
    found = predictions.predict("lyapunov", predictions.Ensemble.of(point), (0,))
    assert np.isnan(found.limit).all()
    assert "only measured" in found.why_not


@pytest.mark.parametrize(
    ("architecture", "measures", "keys"),
    [
        ("lstm", ("lyapunov", "two_time"), {}),
        (
            "transformer",
            ("lyapunov", "token_similarity", "attention_entropy", "autocorrelation"),
            {"tokens": 3, "heads": 2},
        ),
    ],
)
def test_the_code_is_that_of_any_array_library(
    architecture: str, measures: tuple[str, ...], keys: dict[str, Any]
) -> None:
    content = study(architecture=architecture, width=9, depth=2, **keys)
    content["measure"] = {name: {} for name in measures}
    point = load(content).points()[0]
    for sampler in ("conditioned", "explicit"):
        ours, theirs = (
            measured(point, sampler, content["measure"], 0, 2, backend=backend)
            for backend in (get_backend("cpu"), STRICT)
        )
        for name, values in ours.items():
            np.testing.assert_allclose(theirs[name], values, rtol=1e-10, atol=1e-12, err_msg=name)
