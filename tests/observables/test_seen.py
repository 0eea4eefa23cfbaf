"""Means over units, residual branches, Fourier modes: against other observables, theory by hand, networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mcnet
from mcnet import predictions
from mcnet.errors import ScenarioError
from mcnet.predictions import Ensemble
from mcnet.scenario.loading import load
from mcnet.theory import residual
from mcnet.theory.exact import relu_convolution_lengths

SINGLE = {"kind": "single", "q0": 0.8}
BUMP = [[[2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]]
"""One input of four positions; position 0 is longer."""


def study(measure: dict[str, Any], networks: int, inputs: dict[str, Any], **network: Any) -> dict[str, Any]:
    law = {"weights": "gaussian", "width": 400, "depth": 4, "sigma_w2": 1.6, "sigma_b2": 0.1}
    sampling = {"networks": networks, "seed": 8}
    return {"mcnet": 1, "network": {**law, **network}, "inputs": inputs, "sampling": sampling, "measure": measure}


def blocks(kind: str, **other: Any) -> dict[str, Any]:
    second = {"sigma_v2": 1.3, "sigma_c2": 0.2} if kind == "two" else {}
    return {"architecture": "residual", "block": kind, "skip": 0.9, "branch": 0.7, **second, **other}


def predicted(content: dict[str, Any], name: str) -> np.ndarray[Any, Any]:
    (point,) = load(content).points()
    return np.asarray(predictions.predict(name, Ensemble.of(point), (0,)).limit)


def by_hand(kind: str, activation: str) -> residual.Signal:
    second = (1.3, 0.2) if kind == "two" else (None, None)
    block = residual.Block(kind, activation, 1.6, 0.1, 0.9, 0.7, *second)
    return residual.signal(block, 0.8, 4)


@pytest.mark.parametrize("kind", ["post", "two"])
def test_means_and_branches_in_the_limit_are_those_by_hand(kind: str) -> None:
    content = study({"mean": {}, "branch_energy": {}}, 1, SINGLE, activation="relu", **blocks(kind))
    known = by_hand(kind, "relu")
    np.testing.assert_allclose(predicted(content, "h_mean"), known.mean, rtol=1e-9, atol=1e-12)
    mixed = np.diff(known.length) - (0.9**2 - 1.0) * known.length[:-1]  # 2 a s <h f> + s^2 R
    between = 2 * 0.9 * known.mean[:-1] * (known.mean[1:] - 0.9 * known.mean[:-1])
    energy = (mixed - between) / (0.9**2 * known.length[:-1])
    np.testing.assert_allclose(predicted(content, "branch_energy")[1:], energy, rtol=1e-8)
    overlap = between / (2 * 0.9) / np.sqrt((mixed - between) * known.length[:-1])
    np.testing.assert_allclose(predicted(content, "branch_overlap")[1:], overlap, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("kind", ["post", "pre", "two"])
def test_networks_have_these_means_and_branches(kind: str) -> None:
    """Width 1000, fresh inputs; the error is 0.3 to 1 %, the 1/M term below it. Refused: 10 % more."""
    inputs = {"kind": "gaussian", "count": 1, "q0": 0.8, "fresh": True}
    measure = {"mean": {}, "branch_energy": {}}
    content = study(measure, 100, inputs, activation="relu", **{**blocks(kind), "width": 1000})
    tree = mcnet.sample(content)["signal"]
    for name in ("h_mean", "branch_energy", "branch_overlap"):
        values, limit = tree[name].values[0, :, 0, 1:], predicted(content, name)[1:]
        error = np.hypot(values.std(0) / np.sqrt(len(values)), 2.0 / 1000)
        assert np.abs((values.mean(0) - limit) / error).max() < 4.5, name
        if np.abs(limit).max() > 0.1:
            assert np.abs((values.mean(0) - 1.1 * limit) / error).max() > 5.0, name


def test_means_of_dense_networks_are_those_of_the_vectors() -> None:
    """Linear, one unit: its mean is the unit, and q_hat its square."""
    tree = mcnet.sample(study({"mean": {}, "q": {}}, 5, SINGLE, activation="linear", width=1))["signal"]
    np.testing.assert_allclose(tree["h_mean"].values ** 2, tree["q_hat"].values, rtol=1e-5)


@pytest.mark.parametrize(("change", "sentence"), [
    ({"architecture": "dense"}, 'not off "dense"'),
    (blocks("post", skip=0.0), "skip = 0: there is no skip"),
])  # fmt: skip
def test_networks_without_a_skip_have_no_branches(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        load(study({"branch_energy": {}}, 1, SINGLE, activation="tanh", **change)).points()


def ring(networks: int, modes: int = 2, **network: Any) -> dict[str, Any]:
    measure = {"q": {}, "q_tilde": {}, "fourier": {"modes": modes}, "fourier_gradient": {"modes": modes}}
    law = {"architecture": "convolution", "positions": 4, "activation": "relu", "outputs": 1, **network}
    return study(measure, networks, {"kind": "values", "values": BUMP}, **law)


def test_modes_are_cosines_of_lengths_and_gradients() -> None:
    tree = mcnet.sample(ring(3, width=20))
    for name, modes in (("q", "q_mode"), ("q_tilde", "q_tilde_mode")):
        values = tree["signal"][name]
        assert values.dims[-2:] == ("position", "layer")
        whole = np.fft.fft(values.values[..., 1:], axis=-2).real / 4
        for k in range(3):
            found = tree["fourier"][f"{modes}_{k}"].values
            np.testing.assert_allclose(found[..., 1:], whole[..., k, :], atol=1e-9 * np.abs(whole).max())
            assert np.isnan(found[..., 0]).all()


def test_modes_on_two_axes_run_along_the_first() -> None:
    content = ring(2, positions=[4, 3], modes=1)
    content["inputs"] = {"kind": "single", "q0": 1.0}
    tree = mcnet.sample(content)
    waves = np.cos(np.pi * np.arange(4) / 2)
    whole = np.einsum("p,abcpql->abcl", waves, tree["signal"]["q"].values[..., 1:]) / 12
    np.testing.assert_allclose(tree["fourier"]["q_mode_1"].values[..., 1:], whole, atol=1e-9)


def test_modes_in_the_limit_are_those_of_relu_networks() -> None:
    """Without biases E K is the same at every width: the taps average lengths."""
    content = ring(1, sigma_b2=0.0, taps=[0.2, 0.5, 0.3])
    below = relu_convolution_lengths(1.6, [0.2, 0.5, 0.3], [1.0, 0.25, 0.25, 0.25], 3)
    lengths = 1.6 * sum(v * np.roll(below, -b) for v, b in ((0.2, -1), (0.5, 0), (0.3, 1)))
    for k in range(3):
        np.testing.assert_allclose(predicted(content, f"q_mode_{k}")[4], np.fft.fft(lengths).real[k] / 4, atol=1e-12)


def test_modes_of_networks_are_those_of_the_limit_and_first_order() -> None:
    """Width 50, 3000 networks, errors 0.5 %; variances to 4 %, with higher orders of 10 to 20 %."""
    content = ring(3000, width=50, depth=2, sigma_b2=0.0)
    tree, gram = mcnet.sample(content)["fourier"], Ensemble.of(load(content).points()[0]).gram
    square = {**content, "inputs": {"kind": "single", "q0": 1.0}}  # 1/M terms are those of inputs of the width
    ensemble = Ensemble(load(square).points()[0], gram, False)
    for name in ("q_mode_0", "q_mode_1", "q_tilde_mode_0"):
        values = tree[name].values[0, :, 0, 1:]
        found = predictions.predict(name, ensemble, (0,))
        error = values.std(0) / np.sqrt(len(values))
        z = (values.mean(0) - found.limit[1:] - found.a1[1:] / 50) / error
        assert np.abs(z).max() < 4.5, name
        spread = 50 * values.var(0) / found.v1[1:]
        assert np.abs(spread - 1.0).max() < 0.25, name


@pytest.mark.parametrize(("change", "sentence"), [
    ({"modes": 3}, "4 positions have modes up to 2"),
    ({"architecture": "dense"}, "networks with positions"),
])  # fmt: skip
def test_modes_that_are_not_there_are_refused(change: dict[str, Any], sentence: str) -> None:
    content = ring(1, **{key: value for key, value in change.items() if key == "modes"})
    if "architecture" in change:
        content = study({"fourier": {}}, 1, SINGLE, activation="tanh")
    with pytest.raises(ScenarioError, match=sentence):
        load(content).points()
