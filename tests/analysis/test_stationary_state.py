"""Recurrent chaos in the analysis: stationary state over the widths, overlaps of two times; mutants are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mcnet_analysis import analyze
from mcnet_analysis.predict import stationary

import mcnet
from mcnet import predictions
from mcnet.theory import recurrent

STUDY: dict[str, Any] = {
    "mcnet": 1,
    "network": {
        "architecture": "recurrent",
        "activation": {"name": "erf", "scale": 0.886226925452758},
        "weights": "gaussian",
        "sigma_w2": 9.0,
        "sigma_b2": 0.0,
        "leak": 0.8,
        "depth": 40,
    },
    "inputs": {"kind": "single", "q0": 5.6},
    "sweep": {"width": [500, 2000, 8000]},
    "sampling": {"networks": 60, "seed": 6, "sampler": "conditioned"},
    "measure": {"autocorrelation": {}},
    "analyze": {"theory": ["mean-field"]},
}


@pytest.fixture(scope="module")
def tree() -> Any:
    return mcnet.sample(STUDY)


def rows(tree: Any) -> list[dict[str, Any]]:
    (judged,) = analyze.judge(tree).families
    found = [row for row in judged.comparisons if row["statistic"] in ("Delta(0)", "C(tau)/C(0)")]
    assert any("stationary chaos at leak 0.8: Delta(0) = 5." in note for note in judged.notes)
    assert all(row["left_out"] for row in found)
    return found


def in_continuous_time(activation: Any, sigma_w2: float, leak: float, lags: int) -> np.ndarray[Any, Any]:
    return np.asarray(recurrent.continuous(activation, sigma_w2).autocovariance(leak * np.arange(lags + 1)))


def of_a_stronger_gain(activation: Any, sigma_w2: float, leak: float, lags: int) -> np.ndarray[Any, Any]:
    return np.asarray(SOLVED(activation, 1.03 * sigma_w2, leak, lags))


SOLVED = stationary.solved


def test_the_stationary_state_is_found(tree: Any) -> None:
    """Errors of 0.2 % of Delta(0), of 0.003 to 0.008 of the ratios: 0.0055 of that is left of the first state."""
    found = rows(tree)
    assert found[0]["statistic"] == "Delta(0)"
    assert found[0]["layer"] == 40
    assert len(found) > 5
    assert max(abs(row["z"]) for row in found) < 4.0
    assert found[0]["error"] < 0.005 * found[0]["predicted"]


@pytest.mark.parametrize("mutant", [in_continuous_time, of_a_stronger_gain])
def test_another_state_is_refused(tree: Any, mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = stationary._solved.__wrapped__
    right = known(*_arguments(tree))
    wrong = mutant(*_arguments(tree)[:3], 40)
    changed = right._replace(variance=float(wrong[0]), overlap=wrong)
    monkeypatch.setattr(stationary, "_solved", lambda *_: changed)
    assert max(abs(row["z"]) for row in rows(tree)) > 4.0


def _arguments(tree: Any) -> tuple[Any, float, float, float, int]:
    setting = analyze.judge(tree).families[0].family.first
    return setting.activation, 9.0, 0.8, 5.6, 40


@pytest.mark.parametrize("change", [{"leak": 1.0}, {"tied": False}, {"sigma_b2": 0.1}, {"sigma_w2": 0.9}])
def test_networks_without_such_a_state_have_no_rows(change: dict[str, Any]) -> None:
    network = {**STUDY["network"], "depth": 3, **change}
    few = {**STUDY, "network": network, "sweep": {"width": [16, 32]}}
    (judged,) = analyze.judge(mcnet.sample(few)).families
    assert not any(row["statistic"] == "Delta(0)" for row in judged.comparisons)


def test_overlaps_of_two_times_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaky networks; refused: overlaps of networks with new matrices at every step."""
    network = {**STUDY["network"], "sigma_w2": 3.0, "sigma_b2": 0.1, "depth": 5, "leak": 0.5}
    study = {**STUDY, "network": network, "measure": {"two_time": {}}, "sweep": {"width": [100, 300, 1000]}}
    tree = mcnet.sample({**study, "sampling": {**STUDY["sampling"], "networks": 300}})
    found = analyze.judge(tree)
    names = {row["observable"] for row in found.families[0].comparisons}
    assert names == {f"two_time{hat}_{time}" for hat in ("", "_hat") for time in (1, 2, 4)}
    assert found.verdict.p_value > 1e-3
    right = predictions.predict

    def untied(name: str, ensemble: Any, inputs: tuple[int, ...] = ()) -> Any:
        curve = right(name, ensemble, inputs)
        time = int(name.rsplit("_", 1)[1])
        return curve._replace(limit=np.where(np.arange(6) == time, curve.limit, 0.0))

    monkeypatch.setattr(predictions, "predict", untied)
    assert analyze.judge(tree).verdict.p_value < 1e-3
