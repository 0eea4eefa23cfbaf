"""Jacobians of single blocks: finite differences, products of blocks, plain networks, exact moments, refusals."""

from __future__ import annotations

import math
from typing import Any

import network_points
import numpy as np
import program_zoo as zoo
import pytest
from same_law import assert_same_law
from strict_backend import STRICT

import mcnet
from mcnet.backend import get_backend
from mcnet.errors import ScenarioError
from mcnet.programs.blocks import Blocks, blocks
from mcnet.scenario.loading import load
from mcnet.theory import exact
from mcnet.theory.exact.jacobian import second_moments

WHOLE = [
    zoo.shipped("residual", block="post"),
    zoo.shipped("residual", block="two", sigma_v2=1.2),
    zoo.shipped("residual", block="pre"),
    zoo.shipped("convolution", positions=3, depth=2),
    zoo.shipped("recurrent", leak=1.0),
    zoo.shipped("recurrent", leak=0.4),
    zoo.shipped("minimal-rnn"),
    zoo.shipped("gru"),
    zoo.shipped("transformer", tokens=2, heads=2, depth=2),
]
LSTM = zoo.shipped("lstm")


def found(case: zoo.Case) -> Blocks:
    return blocks(zoo.run(case, "explicit").count)


def test_which_vectors_everything_passes() -> None:
    letters = {case.name: (found(case).letter, found(case).whole) for case in (*WHOLE, LSTM)}
    assert letters["lstm"] == ("h", False)
    assert {name for name, pair in letters.items() if pair == ("u", True)} == {"residual pre", "recurrent 0.4"}
    assert all(whole for name, (_, whole) in letters.items() if name != "lstm")
    assert found(WHOLE[5]).steps[1] == (("h", 0), ("u", 1))


def moved(case: zoo.Case, below: Any, above: Any, change: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A vector of input 0 where an earlier one was changed as soon as it was seen."""
    kept: dict[Any, Any] = {}

    def observe(key: Any, v: Any) -> None:
        if key == below:
            v.value[:, 0] += change
        elif below[0] == "u" and key == ("h", below[1]):  # made before u was seen
            v.value[:, 0] = np.tanh(kept[below])
        kept[key] = np.array(v.value[0, 0])

    zoo.run(case, "explicit", backward=False, options={"observe": observe})
    return np.asarray(kept[above])


@pytest.mark.parametrize("case", [*WHOLE, LSTM], ids=lambda case: case.name)
def test_it_is_what_a_change_of_the_vector_before_does(case: zoo.Case) -> None:
    """Vectors changed in place while the program runs, the rest of it held fixed; of the cell of an LSTM too."""
    trace, rng = zoo.run(case, "explicit"), np.random.default_rng(1)
    for layer, (below, above) in found(case).steps.items():
        if below == ("h", 0) and case.network != "transformer":
            continue  # the input itself: its products are those from end to end
        jacobian = trace.jacobian(above, below)
        change = 1e-6 * rng.normal(size=trace.vector(below).value[0, 0].shape)
        expected = (moved(case, below, above, change) - moved(case, below, above, -change)).ravel() / 2.0
        product = np.asarray(jacobian.product(change.reshape(1, 1, -1)))[0, 0]
        np.testing.assert_allclose(product, expected, rtol=1e-5, atol=1e-12, err_msg=f"layer {layer}")
        np.testing.assert_allclose(product, np.asarray(jacobian.entries())[0] @ change.ravel(), rtol=1e-10, atol=1e-16)
        back = rng.normal(size=expected.size)
        transposed = np.asarray(jacobian.transposed(back.reshape(1, 1, -1)))[0, 0]
        np.testing.assert_allclose(transposed @ change.ravel(), back @ product, rtol=1e-9)


def multiplied(case: zoo.Case) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The product of all blocks, and the Jacobian of the last vector with respect to the first."""
    trace, steps = zoo.run(case, "explicit"), found(case).steps
    first, last = steps[min(steps)][0], steps[max(steps)][1]
    product = np.eye(trace.jacobian(last, first).shape[1])
    for below, above in steps.values():
        product = np.asarray(trace.jacobian(above, below).entries())[0] @ product
    return product, np.asarray(trace.jacobian(last, first).entries())[0]


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_blocks_multiply_to_the_whole(case: zoo.Case) -> None:
    product, whole = multiplied(case)
    np.testing.assert_allclose(product, whole, rtol=1e-9, atol=1e-12)


def test_steps_of_an_lstm_do_not_for_its_cell_passes_them_by() -> None:
    product, whole = multiplied(LSTM)
    assert not np.allclose(product, whole, rtol=1e-2)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal", "uniform"])
def test_dense_layers_are_slopes_times_matrices(weights: str) -> None:
    point = network_points.point(1, weights=weights)
    measures: dict[str, dict[str, Any]] = {"block_jacobian": {"keep": "values", "moments": 3}}
    measures["block_jacobian_lambda_max"] = {}
    values = network_points.measured(point, "explicit", measures, 3, 5)
    plain = network_points.PlainNetwork(point, 4, 11)
    u, _, _ = plain.activity()
    for layer, (matrix, at) in enumerate(zip(plain.weights[:-1], u, strict=True), 1):
        s = np.linalg.svd(point.activation.dphi(at[0])[:, None] * matrix, compute_uv=False)
        np.testing.assert_allclose(values["block_jacobian_sv"][1, :, layer], s, rtol=1e-9)
        moments = [np.mean(s ** (2 * k)) for k in (1, 2, 3)]
        np.testing.assert_allclose(values["block_jacobian_moment"][1, :, layer], moments, rtol=1e-9)
    alone = network_points.measured(point, "explicit", {"block_jacobian_lambda_max": {}}, 3, 5)
    top = values["block_jacobian_sv"][:, 0] ** 2
    np.testing.assert_allclose(alone["block_jacobian_lambda_max"][:, 1:], top[:, 1:], rtol=2e-3)
    assert np.isnan(alone["block_jacobian_lambda_max"][:, 0]).all()


def study(measure: dict[str, Any], networks: int = 4, sampler: str = "auto", **network: Any) -> dict[str, Any]:
    law = {"activation": "tanh", "weights": "gaussian", "width": 8, "depth": 2, "sigma_w2": 1.4, "sigma_b2": 0.0}
    return {
        "mcnet": 1,
        "network": {**law, **network},
        "inputs": {"kind": "single", "q0": 1.0},
        "sampling": {"networks": networks, "seed": 3, "sampler": sampler},
        "measure": measure,
    }


@pytest.mark.parametrize("keys", [
    {}, {"architecture": "residual", "block": "pre"}, {"architecture": "recurrent", "leak": 0.5},
])  # fmt: skip
def test_asked_networks_have_the_law_of_built_ones(keys: dict[str, Any]) -> None:
    measure: dict[str, Any] = {"block_jacobian_lambda_max": {}}
    asked, built = (
        mcnet.sample(study(measure, 800, sampler, **keys))["block_jacobian"]["block_jacobian_lambda_max"].values[0]
        for sampler in ("conditioned", "explicit")
    )
    assert_same_law(asked[:, 1:], built[:, 1:], str(keys))
    with pytest.raises(AssertionError, match="differs by"):
        assert_same_law(1.2 * asked[:, 1:], built[:, 1:], str(keys))


def scores(moments: np.ndarray[Any, Any], mean: float, second: float) -> np.ndarray[Any, Any]:
    """Of the means of mu_1 and mu_2 at all layers: (N, 2, layers) -> (2 layers,)."""
    away = moments.mean(0) - np.array([[mean], [second]])
    return np.asarray(away * math.sqrt(len(moments)) / moments.std(0)).ravel()


@pytest.mark.parametrize("name", ["relu", "residual", "convolution"])
def test_exact_moments(name: str) -> None:
    """6000 networks of width 6: errors of 0.2 to 0.8 %. Refused: moments of width 3, and of the limit."""
    keys: dict[str, dict[str, Any]] = {
        "relu": {"activation": "relu", "sigma_b2": 0.3},
        "residual": {"architecture": "residual", "activation": "linear", "skip": 0.9, "branch": 0.6, "block": "pre"},
        "convolution": {"architecture": "convolution", "activation": "linear", "positions": 4, "taps": [0.2, 0.5, 0.3]},
    }
    group = mcnet.sample(study({"block_jacobian": {}}, 6000, width=6, **keys[name]))["block_jacobian"]
    moments = group["block_jacobian_moment"].values[0, :, :, 1:]

    def law(width: int) -> tuple[float, float]:
        if name == "relu":
            return second_moments("relu", "gaussian", 1.4, 1, width)[:2]
        if name == "residual":
            return exact.linear_residual_jacobian(1.4, 0.9, 0.6, width, 1)[:2]
        return 1.4, exact.linear_convolution_spread(1.4, [0.2, 0.5, 0.3], 4, width)

    assert np.abs(scores(moments, *law(6))).max() < 4.5
    assert np.abs(scores(moments, *law(3))).max() > 4.5
    assert np.abs(scores(moments, *law(10**6))).max() > 4.5


def test_histograms_count_all_values_layer_by_layer() -> None:
    group = mcnet.sample(study({"block_jacobian": {"keep": "histogram", "bins": 7, "range": [0.1, 2.0]}}))
    counts = group["block_jacobian"]["block_jacobian_count"].values[0, 0]
    values = mcnet.sample(study({"block_jacobian": {"keep": "values"}}))["block_jacobian"]["block_jacobian_sv"].values
    edges = [-np.inf, *np.linspace(0.1, 2.0, 8), np.inf]
    assert group["block_jacobian"]["bin_edge"].size == 8
    assert (counts[0] == 0).all()
    for layer in (1, 2):
        np.testing.assert_array_equal(counts[layer], np.histogram(values[0, :, :, layer], edges)[0])


@pytest.mark.parametrize(
    ("measure", "keys", "told"),
    [
        ({"block_jacobian": {}}, {"sampler": "conditioned"}, "block_jacobian_lambda_max needs products only"),
        ({"block_jacobian": {"bins": 3}}, {}, 'bins is for keep = "histogram"'),
        ({"block_jacobian": {"moments": 21}}, {}, "whole number from 1 to 20"),
        ({"block_jacobian": {"keep": "all"}}, {}, "must be one of"),
        ({"block_jacobian": {}}, {"normalization": "hidden-batch"}, "the network mixes its inputs"),
        ({"block_jacobian_lambda_max": {}}, {"normalization": "hidden-batch"}, "the network mixes its inputs"),
    ],
)
def test_what_is_refused(measure: dict[str, Any], keys: dict[str, Any], told: str) -> None:
    content = study(measure, **keys)
    if "normalization" in keys:
        content["inputs"] = {"kind": "gaussian", "count": 4, "q0": 1.0}
    with pytest.raises(ScenarioError, match=told):
        load(content).points()


@pytest.mark.parametrize("keys", [{}, {"architecture": "transformer", "tokens": 2}])
def test_the_code_is_that_of_any_array_library(keys: dict[str, Any]) -> None:
    point = load(study({"block_jacobian": {}}, **keys)).points()[0]
    for sampler, name in (("explicit", "block_jacobian"), ("conditioned", "block_jacobian_lambda_max")):
        ours, theirs = (
            network_points.measured(point, sampler, {name: {}}, 0, 2, backend=backend)
            for backend in (get_backend("cpu"), STRICT)
        )
        for variable, values in ours.items():
            np.testing.assert_allclose(theirs[variable], values, rtol=1e-10, err_msg=variable)
