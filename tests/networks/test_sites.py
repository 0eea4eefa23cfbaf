"""Inputs of several sites (positions, tokens): what is said of two inputs holds at each, and sites are independent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from network_points import point

from mcnet.backend import get_backend
from mcnet.errors import ScenarioError
from mcnet.networks import inputs
from mcnet.point import Inputs
from mcnet.scenario.loading import load

CPU = get_backend("cpu")


@pytest.mark.parametrize("kind", ["single", "pair"])
def test_lengths_and_correlation_hold_at_each_site(kind: str) -> None:
    where = replace(point(), inputs=Inputs(kind, 1 if kind == "single" else 2, 50, 1.7, 0.3))
    x = inputs.draw(where, 3, 0, 1, CPU, 4).reshape(-1, 4, 50)
    products = np.einsum("apm,bpm->pab", x, x) / 50
    expected = 1.7 * np.array([[1.0, 0.3], [0.3, 1.0]])[: len(x), : len(x)]
    np.testing.assert_allclose(products, np.broadcast_to(expected, products.shape), atol=1e-13)
    between = np.einsum("apm,aqm->apq", x, x)[:, *np.triu_indices(4, 1)] / (1.7 * 50)
    assert 0.0 < abs(between).max() < 5 / np.sqrt(50)


def test_sites_of_gaussian_inputs_are_independent() -> None:
    where = replace(point(), inputs=Inputs("gaussian", 3, 4000, 0.8, 0.4))
    x = inputs.draw(where, 3, 0, 1, CPU, 2).reshape(6, 4000)
    gram = x @ x.T / 4000
    law = 0.8 * (0.6 * np.eye(3) + 0.4)
    expected = np.kron(law, np.eye(2))
    spread = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / 4000)
    assert abs((gram - expected) / spread).max() < 4.5
    overlap = inputs.gram(where, 3, 0, 1, CPU, 2)[0]
    plain = inputs.draw(where, 3, 0, 1, CPU, 2)[0]
    np.testing.assert_allclose(overlap[0, 0], (plain[0] ** 2).mean(), rtol=1e-12)


def study(values: Any, **keys: Any) -> dict[str, Any]:
    network = {"activation": "tanh", "weights": "gaussian", "width": 8, "depth": 1, "sigma_w2": 1.5, "sigma_b2": 0.0}
    return {
        "mcnet": 1,
        "network": {**network, "architecture": "convolution", "kernel": 1, **keys},
        "inputs": {"kind": "values", "values": values},
        "sampling": {"networks": 2},
        "measure": {"q": {}},
    }


@pytest.mark.parametrize(("positions", "shape"), [(4, (2, 4, 3)), ([2, 2], (2, 2, 2, 3))])
def test_vectors_for_each_position(positions: Any, shape: tuple[int, ...]) -> None:
    x = np.arange(24.0).reshape(shape)
    nested, flat = (
        load(study(values, positions=positions)).points()[0] for values in (x.tolist(), x.reshape(2, -1).tolist())
    )
    assert nested.key == flat.key
    assert (nested.inputs.count, nested.inputs.dimension) == (2, 3)
    assert np.array_equal(inputs.draw(nested, 0, 0, 1, CPU, 4)[0], x.reshape(2, 12))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            np.ones((2, 7)).tolist(),
            "has 7 numbers for each input, which are no 4 vectors of one length. Give 2 x 4",
        ),
        ([[[1.0, 2.0], [3.0]]], "input 1 has vectors of different lengths"),
        ([[[1.0], [2.0], [3.0], [4.0]], [[1.0], [2.0], [3.0]]], "has 3 numbers, vector 1 has 4"),
        ([[[1.0], ["a"], [3.0], [4.0]]], "expected a number"),
    ],
)
def test_vectors_that_do_not_fit(values: Any, sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        load(study(values, positions=4))
