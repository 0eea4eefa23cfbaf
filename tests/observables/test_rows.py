"""Observables of inputs that are several rows: named axes, against dense networks that see every row alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mcnet
from mcnet.errors import ScenarioError
from mcnet.scenario.loading import load

WIDTH, NETWORKS, POSITIONS = 16, 500, 3
LENGTHS = np.array([[0.5, 1.0, 2.0], [1.5, 0.3, 0.8]])  # of input and position
ALIKE = np.array([0.9, 0.0, -0.9])  # correlation of the two inputs at a position
X = np.random.default_rng(4).normal(size=(2, POSITIONS, WIDTH))
X[1] = ALIKE[:, None] * X[0] + np.sqrt(1 - ALIKE**2)[:, None] * X[1]
X *= np.sqrt(LENGTHS)[..., None]
MEASURES: dict[str, Any] = {"q": {}, "c": {"q_ab": True}, "q_tilde": {}, "chi": {}, "ntk": {}, "fim": {}}


def study(values: Any, seed: int = 1, measures: Any = MEASURES, **network: Any) -> dict[str, Any]:
    law = {"activation": "tanh", "weights": "gaussian", "depth": 2, "sigma_w2": 1.5, "sigma_b2": 0.1, "outputs": 1}
    return {
        "mcnet": 1,
        "network": {**law, "width": WIDTH, **network},
        "inputs": {"kind": "values", "values": values.tolist()},
        "sampling": {"networks": NETWORKS, "seed": seed},
        "measure": measures,
    }


def convolution(values: Any = X, seed: int = 1, **changes: Any) -> dict[str, Any]:
    """A window of one tap: a dense network at every position, the same for all of them."""
    return study(values, seed, architecture="convolution", positions=POSITIONS, kernel=1, **changes)


def largest_score(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    error = np.sqrt((a.var(0) + b.var(0)) / NETWORKS)
    moves = error > 1e-9
    return float(np.max(np.abs(a.mean(0) - b.mean(0))[moves] / error[moves]))


@pytest.mark.parametrize("name", ["q", "q_hat"])
def test_every_row_has_its_own_length(name: str) -> None:
    found = mcnet.sample(convolution())["signal"][name]
    assert found.dims == ("point", "network", "input", "position", "layer")
    rows = mcnet.sample(study(X.reshape(2 * POSITIONS, WIDTH), seed=2))["signal"][name].values[0]
    alone = rows.reshape(NETWORKS, 2, POSITIONS, 3)
    here = found.values[0]
    assert largest_score(here[..., 1:], alone[..., 1:]) < 5.0
    mixed_up = np.moveaxis(rows.reshape(NETWORKS, POSITIONS, 2, 3), 1, 2)  # rows read position by position
    assert largest_score(here[..., 1:], mixed_up[..., 1:]) > 5.0


def test_pairs_are_of_inputs_at_one_row() -> None:
    found = mcnet.sample(convolution())["signal"]
    assert found["c"].dims == found["q_ab"].dims == ("point", "network", "pair", "position", "layer")
    rows = mcnet.sample(study(X.reshape(2 * POSITIONS, WIDTH), seed=2))["signal"]["q_ab"].values[0]
    a, b = np.triu_indices(2 * POSITIONS, 1)
    same = [int(np.flatnonzero((a == p) & (b == p + POSITIONS))[0]) for p in range(POSITIONS)]
    here = found["q_ab"].values[0, :, 0]
    assert largest_score(here[..., 1:], rows[:, same, 1:]) < 5.0
    assert largest_score(here[..., 1:], rows[:, same[::-1], 1:]) > 5.0


def test_gradients_and_kernels_have_the_rows_and_the_inputs() -> None:
    tree = mcnet.sample(convolution())
    q_tilde, chi = (tree["signal"][name].values[0] for name in ("q_tilde", "chi"))
    assert q_tilde.shape == chi.shape == (NETWORKS, 2, POSITIONS, 3)
    assert np.isnan(q_tilde[..., 0]).all()
    assert np.isfinite(chi[..., 2]).all()
    np.testing.assert_allclose(chi[..., 2], q_tilde[..., 1] / q_tilde[..., 2], rtol=1e-5)
    assert tree["ntk"]["ntk"].dims == ("point", "network", "input_a", "input_b")
    np.testing.assert_allclose(
        tree["fim"]["fim_trace"].values[0], np.trace(tree["ntk"]["ntk"].values[0], axis1=1, axis2=2) / 2, rtol=1e-6
    )


def test_layers_that_a_program_does_not_see_are_absent() -> None:
    found = mcnet.sample(study(X[:, 0], architecture="residual", block="pre"))["signal"]
    assert np.isfinite(found["q"].values[..., 0]).all()  # u^0 = E x is seen
    assert np.isnan(mcnet.sample(study(X[:, 0]))["signal"]["q"].values[..., 0]).all()


def test_what_is_of_no_use_for_rows_is_refused() -> None:
    with pytest.raises(ScenarioError, match="conjugate_kernel: it is over inputs of one vector each"):
        load(convolution(measures={"conjugate_kernel": {}}))
    with pytest.raises(ScenarioError, match='it is read off dense networks, not off "convolution"'):
        load(convolution(measures={"conditional_fim": {}}))


def test_runs_are_stored_and_analysed(tmp_path: Path) -> None:
    content = {**convolution(), "analyze": {"theory": ["mean-field"]}}
    mcnet.run(content, tmp_path / "run", quiet=True)
    stored = mcnet.open(tmp_path / "run")["signal"]["q"]
    assert stored.dims == ("point", "network", "input", "position", "layer")
    document = mcnet.analyze(tmp_path / "run")
    assert document["summary"]["comparisons"] > 0
    assert (tmp_path / "run" / "analysis.json").exists()
    assert mcnet.report(tmp_path / "run").exists()
