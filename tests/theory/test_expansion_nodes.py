"""Nodes of the expansion: a step for each direction, half of them where the integrands are even."""

from __future__ import annotations

import numpy as np
import pytest

from mcnet import activations
from mcnet.theory.expansion import layer_moments, nodes
from mcnet.theory.expansion.pair_law import basis, pair_law

PAIRS = [
    np.array([[1.3, 0.7], [0.7, 0.9]]),
    np.array([[2.0, 1.9999], [1.9999, 2.0]]),
    np.array([[1.0, -0.6], [-0.6, 1.1]]),
]


def check(name: str) -> None:
    """Against one fine grid for both directions."""
    phi = activations.get(name)
    for gram in PAIRS:
        law = pair_law(basis(2) @ gram @ basis(2).T)
        fine = nodes.resolution(phi, float(np.sqrt(gram.max()))) / 1.3
        z, weight = nodes.grid(fine, fine)
        h, p = basis(2) @ phi.phi(law.factor @ z), phi.dphi(law.factor @ z)
        features = np.stack([h[0] ** 2, h[0] * h[1], h[1] ** 2, p[0] ** 2, p[0] * p[1], p[1] ** 2])
        found = layer_moments.layer_moments(phi, law)
        size = np.sqrt(np.outer(*[(features**2) @ weight] * 2))
        np.testing.assert_allclose(
            found.mean / np.sqrt(np.diag(size)), features @ weight / np.sqrt(np.diag(size)), atol=1e-12
        )
        np.testing.assert_allclose(found.second / size, (features * weight) @ features.T / size, atol=1e-12)


@pytest.mark.parametrize("name", ["tanh", "erf", "sin", "gelu", "silu", "softplus"])
def test_steps_by_direction_lose_nothing(name: str) -> None:
    check(name)


def test_the_check_rejects_half_of_the_nodes_without_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "has_parity", lambda activation: True)
    with pytest.raises(AssertionError):
        check("gelu")


def test_the_check_rejects_a_step_that_is_twice_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    resolution = nodes.resolution
    monkeypatch.setattr(nodes, "resolution", lambda activation, length: 2.5 * resolution(activation, length))
    with pytest.raises(AssertionError):
        check("tanh")


def test_parity() -> None:
    names = ("tanh", "erf", "sin", "linear", "hard-tanh", "gelu", "silu", "relu", "sigmoid", "softplus")
    assert [nodes.has_parity(activations.get(name)) for name in names] == [True] * 5 + [False] * 5
