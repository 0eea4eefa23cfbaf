"""Uniform weights: 1/M terms of the lengths, which those of Gaussian weights are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mcnet
from mcnet.predictions import Ensemble, predict, uniform
from mcnet.scenario.loading import load
from mcnet.theory import uniform_weights


def study(weights: str = "uniform", fresh: bool = True) -> dict[str, Any]:
    return {
        "mcnet": 1,
        "network": {"activation": "tanh", "weights": weights, "depth": 2, "sigma_w2": 2.0, "sigma_b2": 0.0},
        "inputs": {"kind": "single", "q0": 1.0, "fresh": fresh},
        "sweep": {"width": [12, 24, 48]},
        "sampling": {"networks": 12_000, "seed": 9},
        "measure": {"q": {}},
    }


def test_few_coordinates_have_gaussian_moments() -> None:
    x, y = uniform.gaussian_coordinates(2)
    moments = [(x**a * y**b).mean() for a, b in ((2, 0), (1, 1), (4, 0), (3, 1), (2, 2), (1, 0), (2, 1))]
    assert np.allclose(moments, [1, 0, 3, 0, 1, 0, 0], atol=1e-14)


def test_lengths_are_shifted(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = mcnet.sample(study())

    def scores() -> dict[int, float]:
        rows = mcnet.analyze(tree)["comparisons"]
        return {row["layer"]: row["z"] for row in rows if row["observable"] == "q_hat" and row["statistic"] == "a1"}

    right = scores()
    assert set(right) == {1, 2}
    assert max(map(abs, right.values())) < 4.5
    law = uniform_weights.q_hat
    monkeypatch.setattr(uniform_weights, "q_hat", lambda *a, **k: law(*a, **k, excess_kurtosis=0.0))
    uniform._shift.cache_clear()
    assert abs(scores()[1]) > 5.0  # as if the weights were Gaussian
    uniform._shift.cache_clear()


def test_inputs_of_unknown_fourth_moments_have_a_limit_alone() -> None:
    found = predict("q_hat", Ensemble.of(load(study(fresh=False)).points()[0]), (0,))
    assert np.isfinite(found.limit).all()
    assert np.isnan(found.a1[1:]).all()
    assert found.why_not == "no 1/M theory for uniform weights"
