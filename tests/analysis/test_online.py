"""Online training of isometric networks: the largest stable learning rate against 2/(L q)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mcnet_analysis.draw import training as figures
from mcnet_analysis.judge import training as judging
from mcnet_analysis.judge.online import boundary, turns
from mcnet_analysis.predict import training as theory

import mcnet
from mcnet.scenario import shipped

RATES = np.array([0.9, 1.0, 1.1])


def losses(networks: int, seed: int, at: float = 1.03) -> list[Any]:
    """Of networks whose losses grow by exp(3 (rate - at)) on average, with noise that all rates share."""
    rng = np.random.default_rng(seed)
    noise = rng.exponential(size=(networks, 4))
    return [noise * np.repeat([1.0, np.exp(3.0 * (rate - at))], 2) for rate in RATES]


def test_the_boundary_lies_where_the_mean_loss_turns() -> None:
    found = boundary(RATES, losses(200_000, 1), 2)
    assert found is not None
    assert abs(found.mean() - 1.03) < 4.5 * found.std() / np.sqrt(found.size) + 1e-3
    assert boundary(RATES, losses(1000, 1, at=1.5), 2) is None
    assert boundary(RATES, losses(1000, 1, at=0.5), 2) is None


def test_its_error_is_that_which_repeating_it_shows() -> None:
    found = [boundary(RATES, losses(400, seed), 2) for seed in range(300)]
    means = [each.mean() for each in found if each is not None]
    told = [each.std(ddof=1) / np.sqrt(each.size) for each in found if each is not None]
    assert len(means) > 280
    assert abs(np.std(means) / np.mean(told) - 1.0) < 5.0 * 0.06


def test_a_rate_at_which_a_network_diverges_takes_no_part() -> None:
    known = losses(1000, 1)
    known[2] = np.where(np.arange(1000)[:, None] == 7, np.nan, known[2])
    assert turns(RATES, [known], 2) is None
    assert turns(RATES[::-1], [losses(1000, 1)[::-1]], 2) is not None


@pytest.fixture(scope="module")
def online() -> Any:
    overrides = (
        *("sweep.depth=[1, 3]", "sweep.width=[128, 192, 256]", "sampling.networks=32"),
        "train.learning_rate=[0.46, 0.5, 0.543, 0.92, 1.0, 1.08]",
    )
    return mcnet.sample(shipped.find("online_isometry"), overrides=overrides)


def test_the_largest_stable_rate_falls_as_one_over_the_matrices(online: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = mcnet.judge(online)
    rows = [row for judged in analysis.families for row in judged.comparisons]
    assert [row["observable"] for row in rows] == ["online_boundary"] * 2
    assert [row["predicted"] for row in rows] == [1.0, 0.5]
    assert max(abs(row["z"]) for row in rows) < 4.5
    assert analysis.summary["p_value"] > 1e-3
    assert "online-boundary" in [drawing.name for drawing in figures.drawings(analysis.trained)]
    setting = analysis.trained[0].family.first
    gram = np.eye(2)
    how = theory.recipe(json.loads(online.attrs["train_json"]), setting)
    assert theory.online_boundary(setting, how, gram) == 1.0
    assert theory.online_boundary(replace(setting, law={**setting.law, "sigma_w2": 1.1}), how, gram) is None
    assert theory.online_boundary(setting, how, np.diag([1.0, 1.1])) is None
    law = theory.online_boundary

    def without_readout(setting: Any, how: Any, gram: Any) -> float | None:
        told = law(setting, how, gram)
        return None if told is None else told * (setting.depth + 1) / setting.depth

    monkeypatch.setattr(judging.theory, "online_boundary", without_readout)
    assert mcnet.judge(online).summary["p_value"] < 1e-6
