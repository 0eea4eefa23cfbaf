"""Batch normalisation inside the network: what is measured is what it says, and theory predicts it."""

from __future__ import annotations

from typing import Any

import numpy as np
import program_zoo as zoo
import pytest

import mcnet
from mcnet import predictions
from mcnet.errors import ScenarioError
from mcnet.predictions import registry
from mcnet.scenario.loading import load
from mcnet.theory import normalization


def study(count: int = 16, widths: tuple[int, ...] = (64, 128, 256), networks: int = 400, **changes: Any) -> Any:
    return {
        "mcnet": 1,
        "network": {
            "activation": "relu",
            "weights": "gaussian",
            "depth": 4,
            "sigma_w2": 2.0,
            "sigma_b2": 0.3,
            "outputs": 1,
            "normalization": "hidden-batch",
            **changes,
        },
        "inputs": {"kind": "gaussian", "count": count, "fresh": True},
        "sweep": {"width": list(widths)},
        "sampling": {"networks": networks, "seed": 3},
        "measure": {"bn_gradient_growth": {}, "bn_gram": {}, "fim_constant_mode": {}},
    }


@pytest.mark.parametrize("name", ["dense", "residual_two", "batch_norm"])
def test_lengths_of_one_functional(name: str) -> None:
    """Those of the sum of the cotangents of all outputs, each with its number."""
    trace = zoo.run(zoo.BY_NAME[name], "explicit", 2)
    v = np.random.default_rng(4).normal(size=trace.outputs.shape)
    keys = [key for key in trace.seen if key[0] == "u"]
    assert keys
    back = trace.backward(cotangents=keys)
    found = trace.functional_lengths(v, "u")
    for key in keys:
        whole = np.einsum("nq,nqtpm->ntpm", v.reshape(len(v), -1), back.cotangents[key])
        length, exponent = found[key]
        assert np.allclose(length * 4.0**exponent, (whole**2).sum((1, 2, 3)), rtol=1e-10), (name, key)


def test_the_constant_mode_is_that_of_the_kernel() -> None:
    scenario = study(6, (16,), 4, outputs=3)
    scenario["measure"] |= {"ntk": {}, "fim": {}}
    scenario["sampling"]["precision"] = "float64"
    tree = mcnet.sample(scenario)
    theta = tree["ntk/ntk"].values[0]  # (N, C, T, T)
    v = np.full(6, 6**-0.5)
    expected = np.einsum("a,ncab,b->n", v, theta, v) / 6 / 3
    assert np.allclose(tree["fim/fim_constant_mode"].values[0], expected, rtol=1e-12)
    assert np.all(tree["fim/fim_constant_mode"].values <= tree["fim/fim_lambda_max"].values * (1 + 1e-9))


def rows_of(tree: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    analysis = mcnet.analyze(tree)
    rows = [row for row in analysis["comparisons"] if row["order"] == "limit" and row["z"] is not None]
    return rows, analysis["summary"]


@pytest.fixture(scope="module")
def tree() -> Any:
    return mcnet.sample(study())


def test_theory_predicts_it(tree: Any) -> None:
    rows, summary = rows_of(tree)
    growth = [row for row in rows if row["observable"] == "bn_gradient_growth"]
    assert {row["layer"] for row in growth} == {1, 2, 3}
    predicted = [row["predicted"] for row in growth if row["layer"] > 1]
    assert np.allclose(predicted, normalization.chi("relu", 16), rtol=1e-9)
    assert {row["observable"] for row in rows} >= {"bn_gram_diagonal", "bn_gram_off_diagonal", "fim_constant_mode"}
    assert max(abs(row["z"]) for row in rows) < 4.5
    assert summary["p_value"] > 1e-3


@pytest.mark.parametrize(
    ("observable", "factor"),
    [
        ("bn_gradient_growth", 13 / 12),  # E 1/sigma^2 of one degree of freedom fewer
        ("bn_gram_off_diagonal", 1 / (2 * np.pi) / normalization.gram("relu", 16)[1]),  # of a large batch
        (
            "fim_constant_mode",
            normalization.fim("relu", 16, 4).lambda_1 / normalization.fim("relu", 16, 5).lambda_1,  # of one layer fewer
        ),
    ],
)
def test_the_comparison_rejects(tree: Any, observable: str, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    own = registry._TABLE[observable][0]

    def another(ensemble: Any, inputs: tuple[int, ...]) -> Any:
        found = own(ensemble, inputs)
        return found._replace(limit=found.limit * factor)

    monkeypatch.setitem(registry._TABLE, observable, [another])
    rows, _ = rows_of(tree)
    assert max(abs(row["z"]) for row in rows if row["observable"] == observable) > 5.0


def test_where_there_is_no_prediction() -> None:
    def why(scenario: Any, observable: str = "bn_gradient_growth") -> str:
        return predictions.predict(observable, predictions.Ensemble.of(load(scenario).points()[0])).why_not

    assert "no variance" in why(study(5))
    assert "for epsilon = 0, not 0.001" in why(study(epsilon=1e-3))
    values = study(8)
    values["inputs"] = {"kind": "values", "values": np.random.default_rng(0).normal(size=(8, 16)).tolist()}
    assert "not exchangeable" in why(values)
    with pytest.raises(ScenarioError, match=r'set network\.normalization = "hidden-batch"'):
        load(study(normalization="none"))
