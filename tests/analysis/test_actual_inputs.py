"""Inputs as they are: theory of the Gram matrix of the actual vectors, one family for a fixed input dimension."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from mcnet_analysis.analyze import Analysis, judge

import mcnet
from mcnet.theory import tangent

WIDTHS = (32, 64, 128, 256)
NETWORK = {"activation": "relu", "weights": "gaussian", "depth": 2, "sigma_w2": 2.0, "sigma_b2": 0.3, "outputs": 1}
VECTORS = np.random.default_rng(9).normal(size=(6, 24)) * np.linspace(0.6, 1.4, 6)[:, None]


def study(**changes: Any) -> dict[str, Any]:
    return {
        "mcnet": 1,
        "network": {**NETWORK, "parameterization": "standard", **changes.pop("network", {})},
        "inputs": {"kind": "values", "values": VECTORS.tolist(), **changes.pop("inputs", {})},
        "sweep": {"width": list(WIDTHS)},
        "sampling": {"networks": 600, "seed": 9},
        "measure": {"q": {}, "c": {}, "ntk": {}, "fim": {}},
        **changes,
    }


@cache
def measured(network: tuple[tuple[str, Any], ...] = ()) -> Any:
    return mcnet.sample(study(network=dict(network)))


def spoiled(name: str, factor: float, group: str = "fim") -> Analysis:
    tree = measured().copy(deep=True)
    tree[group][name][...] = tree[group][name] * factor
    return judge(tree)


def rows(found: Analysis, observable: str, statistic: str) -> list[dict[str, Any]]:
    return [
        row
        for judged in found.families
        for row in judged.comparisons
        if (row["observable"], row["statistic"]) == (observable, statistic)
    ]


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
def test_vectors_of_a_fixed_dimension_are_one_family_and_agree(weights: str, parameterization: str) -> None:
    found = judge(measured((("weights", weights), ("parameterization", parameterization))))
    assert [judged.family.widths.tolist() for judged in found.families] == [list(WIDTHS)]
    weighed = found.summary["judged"]
    assert {"q", "q_hat", "c", "ntk", "fim_trace", "fim_lambda_max"} <= weighed.keys()
    assert weighed["ntk"]["a1"] >= 4
    assert found.summary["p_value"] > 1e-3
    assert found.summary["outliers"] == 0


def test_the_largest_eigenvalue_is_that_of_the_kernel_of_the_vectors() -> None:
    found = judge(measured())
    gram = VECTORS @ VECTORS.T / 24
    at_widths = rows(found, "fim_lambda_max", "lambda_max")
    assert [row["point"]["width"] for row in at_widths] == list(WIDTHS)
    for row in at_widths:
        theta = tangent.kernel(gram, "relu", 2.0, 0.3, 2, "standard", True, row["point"]["width"], input_dimension=24)
        assert row["predicted"] == pytest.approx(np.linalg.eigvalsh(theta)[-1] / 6, rel=1e-9)
    power = {row["observable"]: row["relative"] for row in found.summary["power"] if row["of"] == "values"}
    assert power["fim_lambda_max"] < 0.05


@pytest.mark.parametrize("factor", [0.95, 1.05])
@pytest.mark.parametrize("name", ["fim_lambda_max", "fim_trace"])
def test_five_per_cent_of_an_eigenvalue_are_seen(name: str, factor: float) -> None:
    """The error of each is 1 %; the power table says so too."""
    assert spoiled(name, factor).summary["p_value"] < 1e-3


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_one_and_a_half_times_the_largest_eigenvalue_is_seen(factor: float) -> None:
    """Whatever becomes of the scale of the neglected orders, which comes from the same values."""
    assert spoiled("fim_lambda_max", factor).summary["p_value"] < 1e-9


@pytest.mark.parametrize("factor", [1.03, 0.97])
def test_three_per_cent_of_the_kernel_are_seen(factor: float) -> None:
    assert spoiled("ntk", factor, "ntk").summary["p_value"] < 1e-4


def test_a_fixed_dimension_of_drawn_inputs_is_one_family_too() -> None:
    inputs = {"kind": "pair", "q0": 1.0, "c0": 0.4, "dimension": 300, "values": None}
    settings = study(inputs=inputs, measure={"ntk": {}}, sampling={"networks": 2000, "seed": 10})
    settings["inputs"].pop("values")
    found = judge(mcnet.sample(settings))
    assert len(found.families) == 1
    assert found.summary["judged"]["ntk"] == {"a1": 3, "v1": 3}
    assert found.summary["p_value"] > 1e-3
    wrong = mcnet.sample(settings)
    wrong.coords["input_dimension"][...] = 290  # the mutant: another dimension, 3 % of alpha_1
    assert judge(wrong).summary["p_value"] < 1e-4


def test_one_set_of_inputs_for_each_dimension_is_one_family() -> None:
    inputs = {"kind": "gaussian", "count": 3, "values": None}
    settings = study(inputs=inputs, measure={"q": {}, "c": {}, "fim": {}})
    settings["inputs"].pop("values")
    found = judge(mcnet.sample(settings))
    assert [judged.family.widths.tolist() for judged in found.families] == [list(WIDTHS)]
    assert found.summary["p_value"] > 1e-3
    assert found.summary["judged"]["c"]["a1"] > 3


def test_each_row_says_whether_it_was_weighed_and_everything_left_out_is_counted() -> None:
    found = judge(measured())
    summary = found.summary
    every = [row for judged in found.families for row in judged.comparisons]
    weighed = [row for row in every if row["left_out"] is None]
    assert len(weighed) == summary["dof"] == sum(sum(of.values()) for of in summary["judged"].values())
    reasons: dict[str, int] = {}
    for row in every:
        if row["left_out"] is not None:
            reasons[row["left_out"]] = reasons.get(row["left_out"], 0) + 1
    assert all(summary["left_out"][reason] == number for reason, number in reasons.items())
    assert any(what.startswith("v1 of fim_lambda_max (its 1/M terms are known for") for what in summary["left_out"])


def test_no_row_stands_twice() -> None:
    every = [
        (row["observable"], str(row["point"]), row["layer"], row.get("pair"), row.get("input"), row["statistic"])
        for judged in judge(measured()).families
        for row in judged.comparisons
    ]
    assert len([repr(row) for row in every]) == len({repr(row) for row in every})
    at_one_width = [row for row in every if row[0] == "fim_lambda_max" and "'width':" in row[1]]
    assert {row[5] for row in at_one_width} <= {"lambda_max", "variance"}
