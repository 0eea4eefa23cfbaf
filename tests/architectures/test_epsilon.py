"""The key ``epsilon``: of every normalisation inside the network, 0 unless given, recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mcnet
from mcnet import observables, streams
from mcnet.backend import get_backend
from mcnet.errors import ScenarioError
from mcnet.observables.programs import draw
from mcnet.scenario.loading import load
from mcnet.weights.laws import Ensemble


def study(normalization: Any, architecture: str = "dense", **network: Any) -> dict[str, Any]:
    tokens = {"tokens": 3} if architecture == "transformer" else {}
    return {
        "mcnet": 1,
        "network": {
            "architecture": architecture,
            "activation": "linear",
            "weights": "gaussian",
            "depth": 2,
            "sigma_w2": 1.5,
            "sigma_b2": 0.1,
            **tokens,
            **network,
        },
        "inputs": {"kind": "gaussian", "count": 6, "dimension": 12},
        "sweep": {"width": [12], "normalization": normalization},
        "sampling": {"networks": 3, "precision": "float64"},
        "measure": {"q": {}, "q_tilde": {}},
    }


def test_it_is_recorded_where_it_means_something() -> None:
    tree = mcnet.sample(study(["none", "hidden-batch"]))
    assert np.array_equal(tree["epsilon"].values, [np.nan, 0.0], equal_nan=True)
    tree = mcnet.sample(study(["none", "hidden-layer"], epsilon=0.5))
    assert np.array_equal(tree["epsilon"].values, [np.nan, 0.5], equal_nan=True)
    assert "epsilon" not in mcnet.sample(study(["none"])).variables
    unset, zero = (load(study(["hidden-batch"], **keys)).points()[0] for keys in ({}, {"epsilon": 0.0}))
    assert unset == zero
    assert load(study(["hidden-batch"], epsilon=1e-5)).points()[0].key != zero.key


def test_it_is_refused_where_it_means_nothing() -> None:
    for kind in ("none", "last-batch"):
        with pytest.raises(ScenarioError, match=r"network\.epsilon: belongs to a normalization inside the network"):
            load(study([kind], epsilon=1e-5, outputs=3))
    with pytest.raises(ScenarioError, match=r"network\.epsilon: must lie from 0"):
        load(study(["hidden-batch"], epsilon=-1.0))


@pytest.mark.parametrize("kind", ["hidden-batch", "hidden-layer"])
@pytest.mark.parametrize("architecture", ["dense", "residual"])
def test_what_it_does(kind: str, architecture: str) -> None:
    """Linear networks: the variance s of what is normalised becomes s/(s + epsilon)."""
    seen: dict[str, Any] = {}

    class Seen:
        def see(self, name: str, layer: int, rows: Any) -> None:
            seen[f"{name}{layer}"] = rows.copy()

        def values(self) -> tuple[observables.Values, ...]:
            return ()

    point = load(study([kind], architecture, epsilon=0.5)).points()[0]
    who = Ensemble(get_backend("cpu"), streams.point_key(1, point.key), 0, 2, "float64")
    draw(point, 1, "explicit", {"vectors"}, who, True, {"seen": Seen()})
    u, h = seen["u2"], seen["h2"]
    if architecture == "residual":
        h = h - seen["h1"]
    axis = 1 if kind == "hidden-batch" else -1
    variance = u.var(axis, keepdims=True)
    expected = (u - u.mean(axis, keepdims=True)) / np.sqrt(variance + 0.5)
    assert np.allclose(h, expected, rtol=1e-10, atol=1e-12)
