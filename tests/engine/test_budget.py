"""What a run is said to cost: shards count, however little they hold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import mcnet
from mcnet import activations
from mcnet.commands import check
from mcnet.engine import budget
from mcnet.observables.measure import estimate
from mcnet.plan.plan import make_plan
from mcnet.progress import counted
from mcnet.request import Request
from mcnet.scenario import measures, points, range
from mcnet.scenario.loading import load
from mcnet.theory import mean_field


def many(count: int, **network: Any) -> dict[str, Any]:
    """Points of milliseconds."""
    return {
        "mcnet": 1,
        "network": {"activation": "tanh", "weights": "gaussian", "depth": 3, "width": 16, "sigma_b2": 0.05, **network},
        "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5},
        "sweep": {"sigma_w2": {"start": 1.0, "stop": 2.0, "num": count}},
        "sampling": {"networks": 100, "sampler": "explicit"},
        "measure": {"q": {}, "c": {}},
    }


def test_shards_count_in_time_and_in_the_choice_of_workers() -> None:
    """5 000 points of 100 networks: 74 s were measured, of which the networks are one."""
    plan = make_plan(load(many(5000)))
    found = check.cost(plan)
    assert 5000 * 0.005 < found.seconds < 5000 * 0.05
    seconds = sum(budget.costs(plan, plan.tasks)[0])
    assert found.seconds == pytest.approx(seconds)
    few = sum(budget.costs(plan, plan.tasks[:100])[0])
    assert budget.default_workers(few, 100, "cpu") == 1
    assert seconds > 2 * budget.WORKER_SECONDS  # worth workers


def test_the_disk_that_is_told_is_taken(tmp_path: Path) -> None:
    study = many(40)
    told = 2 * check.cost(make_plan(load(study))).stored_bytes
    run = mcnet.run(study, tmp_path / "run", workers=1, quiet=True)
    taken = sum(path.stat().st_size for path in run.rglob("*.h5"))
    assert 0.7 < taken / told < 1.3


def test_histograms_count_once_a_shard() -> None:
    """They are no part of what a network takes, and most of what a shard does."""
    bins = 50_000
    measure: dict[str, Any] = {"jacobian": {"keep": "histogram", "bins": bins}}
    point = load({**many(2), "measure": measure}).points()[0]
    assert estimate(point, Request(measure, 1)).stored_bytes_per_shard == 8 * (bins + 2)
    plan = make_plan(load({**many(3), "measure": measure}))
    assert check.cost(plan).stored_bytes > 3 * 8 * bins
    assert sum(budget.costs(plan, plan.tasks)[1]) > 3 * 8 * bins


def test_progress_where_points_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of resolving "critical" and "fixed-point", and of the checks of measures: told unless it shall be quiet."""
    told: list[tuple[str, int, bool]] = []

    def watched(items: Any, what: str, quiet: bool) -> Any:
        told.append((what, len(items), quiet))
        return counted(items, what, quiet)

    monkeypatch.setattr(points, "counted", watched)
    monkeypatch.setattr(measures, "counted", watched)
    load(many(3), quiet=False)
    load(many(2))
    assert told == [
        ("points resolved", 3, False),
        *((f"points checked for {name}", 3, False) for name in ("q", "c")),
        ("points resolved", 2, True),
        *((f"points checked for {name}", 2, True) for name in ("q", "c")),
    ]


def test_deep_jacobians_are_checked_on_few_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand layers took 85 ms; those whose lengths have settled are like the last."""
    followed: list[int] = []

    def lengths(*arguments: Any) -> Any:
        followed.append(arguments[-1])
        return original(*arguments)

    original = mean_field.lengths

    tanh = activations.get("tanh")
    growth = range._growth.__wrapped__
    exact = growth(tanh, 1.5, 0.05, 1.0, 64) + 936 * math.log10(mean_field.chi_1(tanh, 1.5, 0.05))
    monkeypatch.setattr("mcnet.theory.mean_field.lengths", lengths)
    assert growth(tanh, 1.5, 0.05, 1.0, 1000) == pytest.approx(exact, rel=1e-6)
    assert followed == [64]
    growth(tanh, 1.0, 0.0, 1.0, 1000)  # at criticality they never settle
    assert followed == [64, 64, 1000]
