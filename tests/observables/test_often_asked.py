"""Asked networks in ``mixed`` are those of float64, where questions of a matrix are many or nearly the same."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import mcnet
from mcnet.observables import drawing


def lengths(precision: str, depth: int, width: int = 100) -> NDArray[np.float64]:
    """q of 60 leaky chaotic networks, whose states are nearly parallel from one step to the next: (N, depth)."""
    network = {
        "architecture": "recurrent",
        "activation": "erf",
        "weights": "gaussian",
        "leak": 0.25,
        "sigma_w2": 9.0,
        "sigma_b2": 0.0,
        "depth": depth,
        "width": width,
    }
    sampling = {"networks": 60, "sampler": "conditioned", "precision": precision}
    study = {"mcnet": 1, "network": network, "inputs": {"kind": "single", "q0": 1.0}, "sampling": sampling}
    found = mcnet.sample({**study, "measure": {"q": {}}})
    return np.asarray(found["signal"]["q"]).reshape(60, -1)[:, 1:]


@pytest.mark.parametrize("depth", [12, 64])
def test_lengths_are_those_of_float64(depth: int) -> None:
    np.testing.assert_allclose(lengths("mixed", depth), lengths("float64", depth), rtol=1e-5)


def test_float32_alone_would_lose_them(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = lengths("float64", 64)
    monkeypatch.setattr(drawing, "SHARE", 0)
    assert np.max(np.abs(lengths("mixed", 64) / exact - 1.0)) > 1e-3


def gradients(precision: str) -> NDArray[np.float64]:
    """q_tilde of 8 transformers of two inputs and three blocks."""
    network = {"architecture": "transformer", "activation": "tanh", "weights": "gaussian", "tokens": 3, "heads": 2}
    laws = {"sigma_w2": 1.2, "sigma_b2": 0.1, "depth": 3, "width": 32}
    sampling = {"networks": 8, "sampler": "conditioned", "precision": precision}
    study = {"mcnet": 1, "network": {**network, **laws}, "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5}}
    found = mcnet.sample({**study, "sampling": sampling, "measure": {"q_tilde": {}}})
    return np.asarray(found["signal"]["q_tilde"])[..., 1:]


def test_gradients_of_attention_are_those_of_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = gradients("float64")
    np.testing.assert_allclose(gradients("mixed"), exact, rtol=1e-5)
    monkeypatch.setattr(drawing, "_delicate", lambda *_: False)
    assert np.max(np.abs(gradients("mixed") / exact - 1.0)) > 1e-3
