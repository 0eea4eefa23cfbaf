"""Normalisation inside networks: exact facts of batch and layer norm, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import program_zoo as zoo
import pytest

import mcnet
from mcnet.errors import ScenarioError
from mcnet.programs.questions import Parameterization


def grams(normalization: str, sampler: str, sigma_w2: float, sigma_b2: float) -> Any:
    """Products of h of a dense network, layers 1 to 3."""
    case = zoo.shipped("dense", normalization=normalization, inputs=5)
    trace = zoo.run(case, sampler, 3, sigma_w2=sigma_w2, sigma_b2=sigma_b2, width=24)
    return np.stack([trace.gram(("h", layer)) for layer in (1, 2, 3)])


@pytest.mark.parametrize("normalization", ["hidden-batch", "hidden-layer"])
@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
def test_the_scale_in_front_of_a_norm_does_not_matter(normalization: str, sampler: str) -> None:
    first, other = (grams(normalization, sampler, sigma_w2, 0.0) for sigma_w2 in (1.0, 2.7))
    np.testing.assert_allclose(first, other, rtol=1e-9, atol=1e-10)


def test_biases_matter_in_front_of_layer_norm_only() -> None:
    for normalization, alike in (("hidden-batch", True), ("hidden-layer", False)):
        without, large = (grams(normalization, "explicit", 1.0, sigma_b2) for sigma_b2 in (0.0, 0.5))
        assert np.allclose(without, large, rtol=1e-6) == alike


def test_lengths_after_batch_norm_are_those_of_unit_variance() -> None:
    case = zoo.shipped("dense", normalization="hidden-batch", inputs=6)
    trace = zoo.run(case, "explicit", 2, width=50, activation="linear")
    gram = trace.gram(("h", 2))
    to_plain = np.eye(6)
    to_plain[:, 0] = 1.0
    plain = to_plain @ gram @ to_plain.T
    np.testing.assert_allclose(np.trace(plain, axis1=1, axis2=2), 6.0, rtol=1e-12)  # each unit has variance 1 over T
    np.testing.assert_allclose(plain.sum(axis=(1, 2)), 0.0, atol=1e-10)  # and mean 0


def test_biases_in_front_of_batch_norm_have_no_gradient() -> None:
    case = zoo.shipped("dense", normalization="hidden-batch", inputs=5)
    trace = zoo.run(case, "explicit", 2)
    with_biases, without = (trace.backward(Parameterization("ntk", flag)).kernel for flag in (True, False))
    np.testing.assert_allclose(with_biases - without, np.full_like(without, 0.1), atol=1e-12)  # sigma_b2: the readout's


def study(**network: Any) -> dict[str, Any]:
    common = {"activation": "tanh", "weights": "gaussian", "width": 12, "depth": 2, "sigma_w2": 1.5, "sigma_b2": 0.1}
    return {
        "mcnet": 1,
        "network": {**common, "outputs": 1, **network},
        "inputs": {"kind": "gaussian", "count": 5},
        "sampling": {"networks": 6},
        "measure": {"q": {}, "q_tilde": {}, "ntk": {}, "fim": {}},
    }


@pytest.mark.parametrize(
    "network",
    [
        {"normalization": "hidden-batch"},
        {"normalization": "hidden-layer"},
        {"normalization": "hidden-batch", "architecture": "residual"},
        {"normalization": "post-layer", "architecture": "transformer", "tokens": 2},
        {"normalization": "last-mean", "architecture": "recurrent"},
    ],
    ids=lambda network: " ".join(map(str, network.values())),
)
def test_they_are_sampled_and_stored(network: dict[str, Any]) -> None:
    tree = mcnet.sample(study(**network))
    theta = tree["ntk"]["ntk"].values[0]
    assert np.isfinite(theta).all()
    total = abs(theta.sum(axis=(1, 2))) / np.trace(theta, axis1=1, axis2=2)
    assert (total.max() < 1e-10) == (network["normalization"] == "last-mean")  # only then do outputs have mean 0


@pytest.mark.parametrize(
    ("network", "inputs", "sentence"),
    [
        ({"normalization": "hidden-batch"}, 3, "needs at least 4 inputs, there are 3"),
        ({"normalization": "pre-layer"}, 5, '"pre-layer" does not go with "dense"'),
        ({"normalization": "hidden-batch", "architecture": "transformer", "tokens": 2}, 5, '"none", "pre-layer"'),
        ({"normalization": "last-mean", "architecture": "transformer", "tokens": 2}, 5, '"none", "pre-layer"'),
    ],
)
def test_what_is_refused(network: dict[str, Any], inputs: int, sentence: str) -> None:
    document = study(**network)
    document["inputs"]["count"] = inputs
    with pytest.raises(ScenarioError, match=sentence):
        mcnet.sample(document)
