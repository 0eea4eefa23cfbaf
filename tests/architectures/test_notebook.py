"""An architecture written in a notebook, sampled through :func:`mcnet.sample` with both samplers from given inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mcnet
from mcnet import architectures
from mcnet.architectures import registry

WIDTH, NETWORKS = 12, 600
ROWS = np.random.default_rng(8).normal(size=(2, WIDTH))
MEASURED = {
    "signal": ("q", "q_hat", "c", "q_tilde"),
    "ntk": ("ntk", "ntk_lambda_min"),
    "fim": ("fim_lambda_max", "fim_trace", "fim_trace2"),
}


def gated(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in range(1, p.depth + 1):
        u = w.ask(("W", layer), h)
        gate = w.apply("sigmoid", w.ask(("G", layer), h) + p.shift)
        h = gate * w.phi(u) + (1 - gate) * h
        w.see("u", layer, u)
        w.see("h", layer, h)
    return w.ask("readout", h)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TABLE", dict(registry._TABLE))
    architectures.register("gated", gated, keys={"shift": 0.5})


def sample(sampler: str, seed: int, **network: Any) -> dict[str, np.ndarray[Any, Any]]:
    law = {"activation": "tanh", "weights": "gaussian", "depth": 3, "width": WIDTH, "sigma_w2": 1.5, "sigma_b2": 0.1}
    tree = mcnet.sample(
        {
            "mcnet": 1,
            "network": {"architecture": "gated", "outputs": 1, **law, **network},
            "inputs": {"kind": "values", "values": ROWS},
            "sampling": {"networks": NETWORKS, "sampler": sampler, "seed": seed},
            "measure": {"q": {}, "c": {}, "q_tilde": {}, "ntk": {}, "fim": {}},
        }
    )
    found = {name: tree[group][name].values[0] for group, names in MEASURED.items() for name in names}
    return {name: values.reshape(NETWORKS, -1) for name, values in found.items()}


def largest_score(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Of means and mean squares of every number that is defined and moves, in standard errors of their difference."""
    scores = []
    for name in a:
        for power in (1, 2):
            x, y = a[name] ** power, b[name] ** power
            error = np.sqrt((x.var(0) + y.var(0)) / NETWORKS)
            moves = error > 1e-9 * np.abs(x.mean(0))
            scores.append(np.abs(x.mean(0) - y.mean(0))[moves] / error[moves])
    return float(np.concatenate(scores).max())


def test_both_samplers_draw_the_same_law_of_everything_that_is_measured() -> None:
    asked, built = sample("conditioned", 1), sample("explicit", 2)
    assert np.isfinite(asked["c"][:, 1:]).all()
    assert np.isnan(asked["c"][:, 0]).all()
    assert largest_score(asked, built) < 5.0


@pytest.mark.parametrize("mutant", [{"shift": 0.0}, {"sigma_w2": 1.8}, {"sigma_b2": 0.3}], ids=str)
def test_another_law_is_seen(mutant: dict[str, float]) -> None:
    assert largest_score(sample("conditioned", 1), sample("explicit", 2, **mutant)) > 5.0
