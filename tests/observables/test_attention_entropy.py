"""Entropy of attention: against weights themselves, uniform and random attention, built networks; refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from same_law import assert_same_law

import mcnet
from mcnet import predictions
from mcnet.errors import ScenarioError
from mcnet.observables.attention_entropy import Entropies
from mcnet.scenario.loading import load


def study(networks: int = 4, sampler: str = "conditioned", **network: Any) -> dict[str, Any]:
    law = {"architecture": "transformer", "activation": "tanh", "weights": "gaussian", "depth": 2, "sigma_w2": 1.5}
    keys = {"tokens": 4, "heads": 2} if "architecture" not in network else {}
    width = network.pop("width", 32)
    return {
        "mcnet": 1,
        "network": {**law, "sigma_b2": 0.1, **keys, "width": width, **network},
        "inputs": {"kind": "gaussian", "count": 1, "fresh": True},
        "sampling": {"networks": networks, "sampler": sampler, "seed": 4},
        "measure": {"attention_entropy": {}},
    }


def entropies(content: dict[str, Any]) -> np.ndarray[Any, Any]:
    group = mcnet.sample(content)["similarity"]["attention_entropy"]
    assert group.dims == ("point", "network", "input", "head", "layer")
    return np.asarray(group.values[0, :, 0, :, 1:])


def test_it_is_the_entropy_of_the_weights() -> None:
    collector = Entropies(load(study()).points()[0], {"layers": [1]})
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(4), size=(2, 3, 1, 4))  # (heads, N, T, S, S)
    weights[0, 0, 0, 1] = [0.0, 1.0, 0.0, 0.0]
    for layer in (1, 2):
        for head in weights:
            collector.attend(head)
        collector.see("h", layer, np.empty(0))
    (found,) = collector.values()
    flat = weights.transpose(1, 2, 0, 3, 4)
    expected = -np.where(flat > 0, flat * np.log(np.maximum(flat, 1e-300)), 0.0).sum(-1).mean(-1)
    np.testing.assert_allclose(found.values[..., 1], expected, rtol=1e-12)
    assert np.isnan(found.values[..., [0, 2]]).all()


def test_asked_networks_have_the_law_of_built_ones() -> None:
    asked, built = (entropies(study(800, sampler, width=8)) for sampler in ("conditioned", "explicit"))
    assert_same_law(asked, built, "entropy")


def deviation(sigma_w2: float, values: np.ndarray[Any, Any], **network: Any) -> float:
    """z of the first block of 200 networks of width 512: what is neglected is 1 %, of the second order in scores."""
    point = load(study(width=512, **{"sigma_w2": sigma_w2, **network})).points()[0]
    limit = predictions.predict("attention_entropy", predictions.Ensemble.of(point).of_limits(), (0,)).limit[1]
    one = values[:, :, 0].mean(1)
    return float((one.mean() - limit) / np.hypot(one.std() / math.sqrt(one.size), 0.005))


def test_random_attention_in_the_first_block() -> None:
    """A quarter more weight is refused."""
    values = entropies(study(200, width=512, depth=1))
    assert abs(deviation(1.5, values)) < 4.0
    assert abs(deviation(1.9, values)) > 8.0


def test_uniform_attention() -> None:
    point = load(study(softmax_scale="1/n")).points()[0]
    found = predictions.predict("attention_entropy", predictions.Ensemble.of(point).of_limits(), (0,))
    np.testing.assert_allclose(found.limit[1:], math.log(4), rtol=1e-12)
    values = entropies(study(120, width=512, softmax_scale="1/n")).mean(1)  # (N, layer)
    z = (values.mean(0) - math.log(4) - found.a1[1:] / 512) / (values.std(0) / math.sqrt(120))
    assert np.abs(z).max() < 4.5
    assert np.abs(z + found.a1[1:] / 3 / 512 / (values.std(0) / math.sqrt(120))).min() > 6.0  # a third off


def test_what_is_refused() -> None:
    with pytest.raises(ScenarioError, match="off the heads"):
        load(study(architecture="gru"))
