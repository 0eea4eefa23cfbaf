"""What rounding makes of a network on another processor: the bound against a network that is nudged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from network_points import point

from mcnet.scenario import rounding

CHAOS: dict[str, Any] = {"weights": "uniform", "sigma_w2": 9.0, "sigma_b2": 0.1, "width": 100}


def nudged(depth: int, sigma_w2: float, epsilon: float) -> float:
    """Relative distance after some layers of a tanh network and its copy with a relative error of every sum."""
    rng = np.random.default_rng(depth)
    found = []
    for _ in range(20):
        h = rng.normal(size=100)
        other = h.copy()
        for _ in range(depth):
            matrix = rng.uniform(-1, 1, size=(100, 100)) * math.sqrt(3 * sigma_w2 / 100)
            bias = math.sqrt(0.1) * rng.normal(size=100)
            u, v = matrix @ h + bias, matrix @ other + bias
            v = v + epsilon * np.sqrt(np.mean(u**2)) * rng.normal(size=100)
            h, other = np.tanh(u), np.tanh(v)
        found.append(np.sum((u - v) ** 2) / np.sum(u**2))
    return math.sqrt(float(np.mean(found)))


@pytest.mark.parametrize(("depth", "sigma_w2"), [(10, 9.0), (30, 9.0), (60, 9.0), (40, 1.5)])
def test_the_growth_is_that_of_a_nudged_network(depth: int, sigma_w2: float) -> None:
    where = point(1, **{**CHAOS, "depth": depth, "sigma_w2": sigma_w2})
    expected = rounding.difference(where, "explicit", "float64") / rounding.UNIT["float64"] / rounding.SAFETY
    assert nudged(depth, sigma_w2, 1e-13) / 1e-13 == pytest.approx(expected, rel=0.5)  # 1e8 at depth 60


def test_where_the_promise_changes() -> None:
    deep = point(2, **CHAOS, depth=80)
    assert rounding.difference(deep, "explicit", "mixed") == 1.0
    assert rounding.difference(deep, "conditioned", "mixed") == 0.0
    assert rounding.difference(point(2, **CHAOS, depth=3), "explicit", "mixed") < 1e-4
    assert rounding.difference(point(2, depth=80, sigma_w2=1.0), "explicit", "mixed") < 1e-4
    assert "same law" in rounding.promise([(deep, "explicit")], "mixed")
    assert "1 of 2 points" in rounding.promise([(deep, "explicit"), (deep, "conditioned")], "mixed")
    assert "same law" not in rounding.promise([(deep, "conditioned")], "mixed")
