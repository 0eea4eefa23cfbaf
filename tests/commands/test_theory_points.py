"""Fixed points of many points of a scenario are those of each, and what has none keeps its reason."""

from __future__ import annotations

import pytest
from network_points import point

from mcnet.commands.fixed_points import fixed_point, fixed_points
from mcnet.commands.theory import of_point
from mcnet.point import Point
from mcnet.request import Request


def points() -> list[Point]:
    tanh = [point(sigma_w2=w, sigma_b2=b) for w in (0.5, 1.5, 3.0) for b in (0.0, 0.2)]
    relu = [point(activation="relu", sigma_w2=w, sigma_b2=0.1) for w in (0.5, 1.9, 2.1, 2.5)]
    return [*tanh, *relu, point(activation="gelu")]


def test_together_as_one_by_one() -> None:
    known = fixed_points(points())
    assert len(known) == 8
    for variances, found in known.items():
        alone = fixed_point(*variances)
        assert found["phase"] == alone["phase"]
        for name in ("q_star", "c_star", "chi_1", "xi_q", "xi_c"):
            assert found[name] == pytest.approx(alone[name], rel=1e-8, abs=1e-12)


def test_points_without_a_length_keep_their_reason() -> None:
    every = points()
    known = fixed_points(every)
    told = [of_point(each, Request({"q": {}}, 1), known=known) for each in every]
    assert [told[n]["mean_field"] == of_point(every[n], Request({"q": {}}, 1))["mean_field"] for n in (6, 7)]
    assert ["mean_field" in each for each in told] == [True] * 8 + [False] * 2 + [True]
    assert all("lengths grow without bound" in "".join(each["notes"]) for each in told[8:10])
