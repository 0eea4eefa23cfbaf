"""Mean cosine of tokens: against vectors themselves, the limit, built networks; refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mcnet_analysis.analyze import judge
from same_law import assert_same_law

import mcnet
from mcnet import predictions
from mcnet.errors import ScenarioError
from mcnet.observables.token_similarity import Cosines
from mcnet.predictions import registry
from mcnet.scenario.loading import load
from mcnet.theory import attention


def study(networks: int = 4, sampler: str = "conditioned", **network: Any) -> dict[str, Any]:
    law = {"architecture": "transformer", "activation": "tanh", "weights": "gaussian", "depth": 3, "sigma_w2": 2.0}
    keys = {"tokens": 4, "softmax_scale": "1/n", "normalization": "post-layer", "attention": 0.5}
    width = network.pop("width", [32])
    whole = {**law, "sigma_b2": 0.1, **keys, **network}
    if network.get("architecture") == "dense":
        whole = {**law, "sigma_b2": 0.1, "architecture": "dense"}
    return {
        "mcnet": 1,
        "network": whole,
        "inputs": {"kind": "gaussian", "count": 1, "fresh": True},
        "sweep": {"width": width},
        "sampling": {"networks": networks, "sampler": sampler, "seed": 4},
        "measure": {"token_similarity": {}},
    }


def test_it_is_the_mean_cosine_of_pairs() -> None:
    point = load(study()).points()[0]
    rows = np.random.default_rng(0).normal(size=(2, 1, 4, 32))
    collector = Cosines(point, {"layers": [1]})
    collector.see("h", 1, rows)
    collector.see("h", 2, rows)
    unit = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    pairs = [(unit[..., a, :] * unit[..., b, :]).sum(-1) for a in range(4) for b in range(a)]
    (found,) = collector.values()
    np.testing.assert_allclose(found.values[..., 1], np.mean(pairs, axis=0), rtol=1e-12)
    assert np.isnan(found.values[..., [0, 2, 3]]).all()


def test_the_limit_is_that_of_uniform_attention() -> None:
    point = load(study()).points()[0]
    found = predictions.predict("token_similarity", predictions.Ensemble.of(point).of_limits(), (0,))
    start = np.eye(4).reshape(1, 4, 1, 4)
    grams = attention.grams("tanh", 2.0, 0.1, start, 3, 0.5, 1.0, "post-layer").reshape(4, 4, 4)
    expected = (grams.sum((1, 2)) - 4) / 12  # of length 1 after every block
    np.testing.assert_allclose(found.limit, expected, atol=1e-10)


def test_asked_networks_have_the_law_of_built_ones() -> None:
    asked, built = (
        mcnet.sample(study(800, sampler, width=[7], depth=2))["similarity"]["token_similarity"].values[0]
        for sampler in ("conditioned", "explicit")
    )
    assert_same_law(asked, built, "similarity")


@pytest.fixture(scope="module")
def tree() -> Any:
    return mcnet.sample(study(300, width=[32, 64, 128, 256]))


@pytest.mark.parametrize("factor", [1.0, 1.08])
def test_a_prediction_that_is_wrong_is_seen(factor: float, tree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits fitted free over the widths, errors 1 to 3 %."""
    if factor != 1.0:

        def wrong(ensemble: Any, inputs: Any, known: Any = registry._TABLE["token_similarity"][0]) -> Any:
            found = known(ensemble, inputs)
            return found._replace(limit=factor * found.limit)

        monkeypatch.setitem(registry._TABLE, "token_similarity", [wrong])
    verdict = judge(tree).verdict
    assert verdict.dof >= 1
    assert verdict.p_value > 1e-3 if factor == 1.0 else verdict.p_value < 1e-6


@pytest.mark.parametrize(
    ("keys", "told"), [({"tokens": 1}, "one token is like no other"), ({"architecture": "dense"}, "off the tokens")]
)
def test_what_is_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        load(study(**keys))
