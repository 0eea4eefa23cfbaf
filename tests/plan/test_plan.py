"""The plan: ranges cover every network once, the digest changes with what matters, growth keeps all shards."""

from __future__ import annotations

import gc
import hashlib
import json
import time
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studies import resealed

from mcnet import activations
from mcnet.errors import DataError, UsageError
from mcnet.observables import costs, measure
from mcnet.plan import entries
from mcnet.plan.plan import Plan, PlannedPoint, automatic_batch, difference, grow, plan_points
from mcnet.plan.tasks import Task, order, parse_part, ranges
from mcnet.point import Inputs, Point
from mcnet.request import Request

REQUEST = Request(measures={"q": {}, "c": {"layers": [1, 2]}}, seed=20240611)


def point(width: int = 8, **changes: object) -> Point:
    inputs = Inputs(kind="pair", count=2, dimension=width, q0=1.0, c0=0.6)
    tanh = activations.get("tanh")
    return replace(Point("dense", tanh, "gaussian", width, 3, 1.5, 0.05, inputs, train_biases=True), **changes)  # type: ignore[arg-type]


def planned(given: Point, *stops: int, batch: int = 8) -> PlannedPoint:
    return PlannedPoint(given, stops or (20,), batch, "conditioned")


def plan(*points: PlannedPoint, request: Request = REQUEST, batch: int | None = None) -> Plan:
    return Plan(points or (planned(point(8)), planned(point(16))), request, batch, title="a study")


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(1, 20))
def test_ranges_cover_every_network_once(steps: list[int], batch: int) -> None:
    stops = [sum(steps[: k + 1]) for k in range(len(steps))]
    covered = [n for start, stop in ranges(stops, batch) for n in range(start, stop)]
    assert covered == list(range(stops[-1]))
    assert all(0 < stop - start <= batch for start, stop in ranges(stops, batch))
    earlier = list(ranges(stops[:-1], batch))  # growing changes no range that is there
    assert list(ranges(stops, batch))[: len(earlier)] == earlier


def test_tasks_go_round_the_points() -> None:
    tasks = plan(planned(point(8)), planned(point(16), 9)).tasks
    assert tasks == (Task(0, 0, 8), Task(1, 0, 8), Task(0, 8, 16), Task(1, 8, 9), Task(0, 16, 20))


@given(st.integers(0, 50), st.integers(1, 7), st.data())
def test_a_part_begins_with_its_share_and_misses_nothing(tasks: int, parts: int, data: st.DataObject) -> None:
    shares = [order(range(tasks), (i, parts)) for i in range(1, parts + 1)]
    assert all(sorted(share) == list(range(tasks)) for share in shares)
    own = [tasks * i // parts - tasks * (i - 1) // parts for i in range(1, parts + 1)]
    assert sorted(n for share, count in zip(shares, own, strict=True) for n in share[:count]) == list(range(tasks))


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "-1/3", "1/3/4", "a/b", ""])
def test_wrong_parts(text: str) -> None:
    with pytest.raises(UsageError, match="i from 1 to n"):
        parse_part(text)
    assert parse_part("3/16") == (3, 16)


def test_round_trip() -> None:
    values = ((1.0, 0.1), (2.0, 1e-300), (3.0, 1 / 3))
    leaky = activations.get({"name": "leaky-relu", "slope": 0.1})
    points = (
        planned(point(8)),
        planned(point(16, inputs=Inputs("values", 3, 2, values=values), activation=leaky, outputs=10), 5, 9),
    )
    before = replace(plan(*points, batch=8), plugins=("one", "two.three"))
    after = Plan.from_json(before.to_json())
    assert (after.points, after.digest, after.tasks) == (before.points, before.digest, before.tasks)
    assert after.points[1].point.inputs.values == values
    assert (after.title, after.plugins) == ("a study", ("one", "two.three"))
    assert after.to_json() == before.to_json()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format_version": 2', '"format_version": 3', "has format 3; this mcnet reads formats up to 2"),
        ('"format_version": 2', '"format_version": 0', "has format 0; this mcnet reads formats up to 2"),
        ("mcnet-plan", "other", "is not a plan"),
        ('"width": 8', '"width": 9', "was changed after it was written"),
        ('"seed": 20240611', '"seed": 7', "was changed after it was written"),
        ("tanh(u)", "cos(u)", 'activation "tanh" was another formula'),
        ('"points"', '"dots"', "its points are not those of a plan"),
        ("{", "", "is not JSON"),
    ],
)
def test_a_changed_plan_is_refused(old: str, new: str, message: str) -> None:
    """What it says is judged even where its checksum was made right again."""
    text = plan().to_json()
    assert old in text
    changed = text.replace(old, new, 1) if old == "{" else text.replace(old, new)
    with pytest.raises(DataError, match="its checksum differs"):
        Plan.from_json(changed)
    with pytest.raises(DataError, match=message):
        Plan.from_json(resealed(changed))


def test_the_digest_names_what_shards_have_in_common() -> None:
    base = plan()
    same = [
        plan(planned(point(8))),
        plan(planned(point(8), 100), planned(point(32))),
        replace(base, title="another", plugins=("p",)),
    ]
    other = [
        plan(request=replace(REQUEST, seed=7)),
        plan(request=replace(REQUEST, sampler="explicit")),
        plan(request=replace(REQUEST, precision="float64")),
        plan(request=replace(REQUEST, measures={"q": {}, "c": {"layers": [1, 3]}})),
        plan(request=replace(REQUEST, measures={"q": {}})),
        plan(batch=8),
    ]
    assert {changed.digest for changed in same} == {base.digest}
    assert len({base.digest, *(changed.digest for changed in other)}) == 1 + len(other)


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (plan(request=replace(REQUEST, seed=7)), "sampling.seed 20240611 -> 7"),
        (plan(request=replace(REQUEST, sampler="explicit")), "sampling.sampler auto -> explicit"),
        (plan(batch=64), "sampling.batch automatic -> 64"),
        (plan(request=replace(REQUEST, measures={"q": {}})), "measure.c.layers [1, 2] -> (absent)"),
        (plan(planned(point(8), 5), planned(point(16))), "sampling.networks 20 -> 5; it may grow, not shrink"),
        (plan(planned(point(8))), "width 8, 16 -> 8"),
        (plan(planned(point(8, depth=5)), planned(point(16, depth=5))), "depth 3 -> 5"),
        (plan(planned(point(8, train_biases=False)), planned(point(16))), "network.train_biases true -> false"),
    ],
)
def test_differences_are_told(new: Plan, told: str) -> None:
    assert difference(plan(), new) == told
    with pytest.raises(DataError, match=r"runs/a: was made by another plan \(.*\)\. Use another directory"):
        grow(plan(), new, "runs/a")


def test_growth_keeps_ranges_batch_and_sampler() -> None:
    new = plan(planned(point(8), 50, batch=32), planned(point(12), 50, batch=32), planned(point(16), 20, batch=32))
    grown = grow(plan(), new, "runs/a")
    assert [p.stops for p in grown.points] == [(20, 50), (50,), (20,)]
    assert [p.batch for p in grown.points] == [8, 32, 8]
    assert grown.digest == plan().digest

    def named(of: Plan) -> set[tuple[str, int, int]]:
        return {(of.points[i].key, start, stop) for i, start, stop in of.tasks}

    assert named(plan()) < named(grown)


@given(st.floats(1e-9, 1e3), st.floats(1, 1e9))
def test_automatic_batch(seconds: float, stored: float) -> None:
    batch = automatic_batch(seconds, stored)
    assert batch & (batch - 1) == 0
    assert batch == 1 or (batch * seconds <= 8.0 and batch * stored <= 256e6)
    assert 2 * batch * seconds > 8.0 or 2 * batch * stored > 256e6


def test_a_hundred_thousand_shards() -> None:
    started = time.process_time()
    large = plan(*(planned(point(width), 8000, batch=8) for width in range(1, 101)))
    assert len(large.tasks) == 100_000
    assert Plan.from_json(large.to_json()).tasks == large.tasks
    assert time.process_time() - started < 5


def test_points_of_one_kind_are_costed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of a variance has one cost; 10^5 points took 6 s to plan."""
    asked: list[Point] = []

    def estimate(one: Point, request: Request) -> costs.Estimate:
        asked.append(one)
        return original(one, request)

    original = measure.estimate
    monkeypatch.setattr(measure, "estimate", estimate)
    many = [replace(point(width), sigma_w2=1 + n / 100) for n in range(100) for width in (8, 16)]
    made = plan_points(many, Request({"q": {}}, 1), 10)
    assert [one.width for one in asked] == [8, 16]
    for kept in made.points:
        alone = plan_points([kept.point], Request({"q": {}}, 1), 10).points[0]
        assert (kept.batch, kept.sampler) == (alone.batch, alone.sampler)


def test_nothing_is_collected_while_points_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """All points are kept: looking for garbage among 10^5 of them took a seventh of the time."""
    collecting: list[tuple[str, bool]] = []

    def watched(module: ModuleType, name: str) -> None:
        original = getattr(module, name)

        def call(*given: Any) -> Any:
            collecting.append((name, gc.isenabled()))
            return original(*given)

        monkeypatch.setattr(module, name, call)

    watched(measure, "estimate")
    watched(entries, "lines")
    plan_points([point(8)], Request({"q": {}}, 1), 10).to_json()
    assert collecting == [("estimate", False), ("lines", False)]
    assert gc.isenabled()


CHANGES: list[dict[str, Any]] = [
    {},
    {"sigma_w2": 1e-300, "sigma_b2": 1e22},
    {"sigma_w2": 2, "inputs": Inputs("single", 1, 8, 1)},
    {"inputs": Inputs("gaussian", 3, 5, 0.1 + 0.2, 1 / 3, fresh=True), "outputs": 2},
    {"activation": activations.get({"name": "leaky-relu", "slope": 1})},
    {"outputs": True},
    {"outputs": 1},
    {"architecture": "residual", "parameters": (("block", "50 %s"), ("skip", 1.0))},
    {"inputs": Inputs("values", 1, 2, values=((0.5, 1.0),))},
    {"sigma_b2": 0.0, "inputs": Inputs("pair", 2, 8, 1.0, -0.0)},
    {"sigma_b2": -0.0, "inputs": Inputs("pair", 2, 8, 1.0, 0.0)},
    {"sigma_b2": False, "sigma_w2": True},
    {"width": True, "depth": 1},
    {"sigma_w2": float("inf"), "inputs": Inputs("pair", 2, 8, float("nan"), 1e-5)},
    {"inputs": Inputs("values", 2, 1, values=((0.5,), (1.0,)), labels=(0, 1), description='digits \u2013 "100 %"')},
    {"train_biases": False, "readout": "orthogonal", "parameterization": "100 %"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_entries_are_as_json_writes_them(changes: dict[str, Any]) -> None:
    one = planned(replace(point(8), **changes), 20, 31)
    assert list(entries.lines([one])) == [json.dumps(entries.entry(one), ensure_ascii=False)]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_keys_are_those_of_the_physics_as_text(changes: dict[str, Any]) -> None:
    one = replace(point(8), **changes)
    text = json.dumps(one.physics, sort_keys=True, separators=(",", ":"))
    assert one._canonical() == text
    assert one.key == int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
