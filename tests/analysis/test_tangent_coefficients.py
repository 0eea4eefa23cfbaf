"""Predicted against measured coefficients of 1/M through the whole house: sampled, analysed, judged.

Eight settings, two inputs: lengths, errors, every entry of the tangent kernel, smallest eigenvalue, Fisher spectrum.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from mcnet_analysis.analyze import Analysis, judge
from mcnet_analysis.statistics.verdict import combine

import mcnet
from mcnet.predictions import dense
from mcnet.theory.expansion import backward

GAUSSIAN = {"width": [32, 64, 128, 256], "networks": 60_000}
HAAR = {"weights": "orthogonal", "width": [32, 64, 128], "networks": 3_000}
SETTINGS: list[dict[str, Any]] = [
    {"activation": "tanh", "sigma_w2": 1.7, "sigma_b2": 0.1, **GAUSSIAN},
    {"activation": "tanh", "sigma_w2": 3.0, "sigma_b2": 0.64, "depth": 2, "parameterization": "standard", **GAUSSIAN},
    {"activation": "relu", "sigma_w2": 2.0, "sigma_b2": 0.0, **GAUSSIAN},
    {"activation": "relu", "sigma_w2": 1.8, "sigma_b2": 0.1, "depth": 4, "parameterization": "pdlt", **GAUSSIAN},
    {"activation": "gelu", "sigma_w2": 2.0, "sigma_b2": 0.1, "c0": -0.3, **GAUSSIAN},
    {"activation": "tanh", "sigma_w2": 1.2, "sigma_b2": 0.3, "c0": 0.9, "train_biases": False, **GAUSSIAN},
    {"activation": "tanh", "sigma_w2": 1.7, "sigma_b2": 0.1, **HAAR},
    {"activation": "relu", "sigma_w2": 1.8, "sigma_b2": 0.0, "depth": 2, **HAAR},
]


@cache
def sampled(place: int) -> Any:
    setting = {"weights": "gaussian", "depth": 3, "parameterization": "ntk", "c0": 0.6} | SETTINGS[place]
    networks, widths, c0 = (setting.pop(name) for name in ("networks", "width", "c0"))
    study = {
        "mcnet": 1,
        "network": {"outputs": 1, "train_biases": True} | setting,
        "inputs": {"kind": "pair", "q0": 1.0, "c0": c0},
        "sweep": {"width": widths},
        "sampling": {"networks": networks, "seed": 20261124, "sampler": "conditioned"},
        "measure": {"q": {}, "q_tilde": {}, "ntk": {}, "fim": {}},
        "analyze": {"theory": ["mean-field", "1/M"]},
    }
    return mcnet.sample(study)


def judged() -> list[Analysis]:
    return [judge(sampled(place)) for place in range(len(SETTINGS))]


def coefficients(found: list[Analysis]) -> list[dict[str, Any]]:
    rows = [row for one in found for judged in one.families for row in judged.comparisons]
    return [row for row in rows if row["statistic"] in ("a1", "v1") and row["order"] == "1/M"]


def check(found: list[Analysis]) -> None:
    scores = np.array([row["z"] for row in coefficients(found) if np.isfinite(row["z"])])
    assert scores.size >= 150
    assert np.abs(scores).max() < 4.5
    assert combine(one.verdict for one in found).p_value > 0.001


def test_predicted_and_measured_coefficients_agree() -> None:
    found = judged()
    check(found)
    kernel = [(row["observable"], row["statistic"]) for row in coefficients(found)]
    for statistic in ("a1", "v1"):
        assert kernel.count(("ntk", statistic)) == 3 * len(SETTINGS)


@pytest.fixture
def afresh() -> Iterator[None]:
    """Theory that is computed anew, and forgotten: a mutant must neither hide behind what is known nor stay."""
    dense._coefficients.cache_clear()
    yield
    dense._coefficients.cache_clear()


@pytest.mark.usefixtures("afresh")
def test_the_check_rejects_gradient_independence(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = backward._trace
    monkeypatch.setattr(backward, "_trace", lambda *given: 0.0 * trace(*given))
    with pytest.raises(AssertionError):
        check(judged())
