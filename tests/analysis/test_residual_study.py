"""Residual networks of relu blocks as the analysis sees them: keys, exact moments at width 100 and depth 64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from mcnet_analysis import study
from mcnet_analysis.predict import exact
from mcnet_analysis.study import Column, Setting

import mcnet
from mcnet.scenario import shipped

NETWORKS = 8000


@pytest.fixture(scope="module")
def deep() -> Any:
    """Branches of weight 1/sqrt(64), no bias, sigma_w2 sigma_v2 = 2."""
    changes = ["sweep.width=[100]", "sweep.points=[{branch='1/sqrt(depth)', depth=64}]"]
    changes += [f"sampling.networks={NETWORKS}", "measure={q={layers=[64]}, q_tilde={layers=[1]}}"]
    return mcnet.sample(shipped.find("residual_finite_width"), overrides=tuple(changes))


def scores(values: np.ndarray[Any, Any], mean: float, variance: float) -> tuple[float, float]:
    """Of the mean and the variance of a sample, in standard errors."""
    centred = values - values.mean()
    error = math.sqrt(np.mean(centred**4) - np.mean(centred**2) ** 2)
    z = (values.mean() - mean) * math.sqrt(values.size / values.var())
    return float(z), float((values.var() - variance) * math.sqrt(values.size) / error)


@pytest.mark.parametrize(("observable", "layer"), [("q_hat", 64), ("q", 64), ("q_tilde", 1)])
def test_moments_at_depth_64_and_width_100_are_exact(deep: Any, observable: str, layer: int) -> None:
    (setting,) = study.settings(deep)
    values = deep["signal"][observable].values[0, :, 0, layer]
    known = (exact.gradient if observable == "q_tilde" else exact.length)(setting, Column(observable, (0,), layer))
    assert known is not None
    assert np.abs(scores(values, *known)).max() < 4.0
    wrong_mean, _ = scores(values, 1.02 * known.mean, known.variance)  # sigma_v2 two per cent larger
    _, wrong_variance = scores(values, known.mean, known.variance / 1.2)  # the variance of width 120
    assert abs(wrong_mean) > 5.0
    assert wrong_variance > 4.0


def test_the_variance_saturates() -> None:
    (setting, column) = _setting(1.0 / 8.0, 64), Column("q_hat", (0,), 64)
    found = exact.length(setting, column)
    assert found is not None
    assert abs(found.variance / found.mean**2 - 0.0408) < 0.002
    grown = exact.length(_setting(1.0, 64), column)
    assert grown is not None
    assert abs(grown.variance / grown.mean**2 - 4.8) < 0.05


@pytest.mark.parametrize("change", [{"sigma_b2": 0.1}, {"activation": "tanh"}, {"weights": "orthogonal"}])
def test_others_are_not_exact(change: dict[str, Any]) -> None:
    assert exact.length(_setting(0.5, 4, **change), Column("q", (0,), 3)) is None
    assert exact.gradient(_setting(0.5, 4, **change), Column("q_tilde", (0,), 3)) is None


def test_a_key_may_be_a_number_here_and_a_text_there() -> None:
    found = study.settings(_tree([{"branch": 0.5, "depth": 2}, {"branch": "1/depth", "depth": 2}]))
    assert [setting.keys["branch"] for setting in found] == [0.5, "1/depth"]
    assert [setting.ensemble.program.parameters.branch for setting in found] == [0.5, 0.5]


def _setting(branch: float, depth: int, **network: Any) -> Setting:
    return study.settings(_tree([{"branch": branch, "depth": depth}], **network))[0]


def _tree(points: list[dict[str, Any]], **network: Any) -> Any:
    common = {"architecture": "residual", "block": "two", "activation": "relu", "weights": "gaussian"}
    variances = {"sigma_w2": 2.0, "sigma_v2": 1.0, "sigma_b2": 0.0, "outputs": 1}
    return mcnet.sample(
        {
            "mcnet": 1,
            "network": {**common, **variances, "width": 100, **network},
            "inputs": {"kind": "single", "q0": 1.0},
            "sweep": {"points": points},
            "sampling": {"networks": 1},
            "measure": {"q": {"layers": [1]}},
        }
    )
