"""Sampled networks against what is known exactly at small width: relu residual blocks, linear and relu convolutions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import mcnet
from mcnet.theory import exact

SAMPLERS = ("conditioned", "explicit")
RING = [[[1.0, 0.0, 0.5], [0.0, 0.6, 0.0], [0.3, 0.0, 1.2], [0.0, 0.8, 0.4]]]
TAPS = [0.2, 0.5, 0.3]


def sampled(sampler: str, measure: dict[str, Any], inputs: dict[str, Any], networks: int, **network: Any) -> Any:
    law = {"weights": "gaussian", "width": 5, "depth": 2, "sigma_w2": 1.6, "sigma_b2": 0.0}
    sampling = {"networks": networks, "seed": 11, "sampler": sampler}
    content = {"mcnet": 1, "network": {**law, **network}, "inputs": inputs, "sampling": sampling, "measure": measure}
    return mcnet.sample(content)


def scores(values: np.ndarray[Any, Any], expected: Any) -> np.ndarray[Any, Any]:
    return np.asarray((values.mean(0) - expected) * math.sqrt(len(values)) / values.std(0))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_kernel_of_relu_blocks_has_its_mean_of_infinite_width(sampler: str) -> None:
    """Width 5, 20 000 networks, an error of 1 %. Refused: 6 % more."""
    law = {
        "architecture": "residual",
        "block": "two",
        "sigma_v2": 1.2,
        "skip": 0.9,
        "branch": 0.7,
        "activation": "relu",
    }
    how = {"outputs": 1, "parameterization": "ntk"}
    single = {"kind": "single", "q0": 1.0}
    tree = sampled(sampler, {"ntk": {"eigenvalues": False}, "q": {}}, single, 20_000, **law, **how)
    gain, s2 = 0.9**2 + 0.7**2 * 1.6 * 1.2 / 2, 0.7**2
    # readout sigma_w2 K^L; a block adds s^2 B sigma_v2 Phi and y.y sigma_w2 K, each s^2 sigma_v2 sigma_w2^2 K^(L-1)/2
    theta = 1.6 * gain**2 + 2 * 2 * s2 * 1.2 * 1.6 * 1.6 / 2 * gain
    z = scores(tree["ntk"]["ntk"].values[0].reshape(-1, 1), theta)
    assert abs(z[0]) < 4.5
    assert abs(scores(tree["ntk"]["ntk"].values[0].reshape(-1, 1), 1.06 * theta)[0]) > 5.0
    lengths = tree["signal"]["q_hat"].values[0, :, 0, 1:]
    moments = [exact.relu_residual_lengths(1.6, 1.2, 0.9, 0.7, 5, layer) for layer in (1, 2)]
    assert np.abs(scores(lengths, [m.mean for m in moments])).max() < 4.5
    assert np.abs(scores(lengths**2, [m.second for m in moments])).max() < 4.5


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_lengths_of_relu_convolutions_have_their_mean_of_infinite_width(sampler: str) -> None:
    """Width 5, 4 positions of unequal lengths, uneven taps. Refused: even taps."""
    law = {"architecture": "convolution", "positions": 4, "activation": "relu", "taps": TAPS}
    tree = sampled(sampler, {"q": {}}, {"kind": "values", "values": RING}, 20_000, **law)
    values = tree["signal"]["q_hat"].values[0, :, 0, :, 2]
    start = (np.array(RING[0]) ** 2).sum(1) / 3
    assert np.abs(scores(values, exact.relu_convolution_lengths(1.6, TAPS, start, 2))).max() < 4.5
    assert np.abs(scores(values, exact.relu_convolution_lengths(1.6, [1 / 3] * 3, start, 2))).max() > 6.0


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_linear_convolutions_have_the_exact_second_moments(sampler: str) -> None:
    """Squares and products of lengths at two positions, two layers of width 5. Refused: independent positions."""
    law = {"architecture": "convolution", "positions": 4, "activation": "linear", "taps": TAPS}
    tree = sampled(sampler, {"q": {}}, {"kind": "values", "values": RING}, 20_000, **law)
    values = tree["signal"]["q_hat"].values[0, :, 0, :, 2]
    x = np.array(RING[0])
    known = exact.linear_convolution_grams(1.6, TAPS, x @ x.T / 3, 5, 2)
    second = np.array([[known.second[a, a, b, b] for b in range(4)] for a in range(4)])
    products = values[:, :, None] * values[:, None, :]
    assert np.abs(scores(products, second)).max() < 4.5
    apart = np.outer(np.diag(known.mean), np.diag(known.mean))
    assert np.abs(scores(products, apart)).max() > 6.0
