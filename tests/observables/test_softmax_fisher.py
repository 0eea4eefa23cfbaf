"""Fisher matrix of a softmax output: the dual against the matrix over all parameters, and means against theory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from network_points import PlainNetwork, measured, point
from strict_backend import STRICT

import mcnet
from mcnet import predictions
from mcnet.observables import costs
from mcnet.observables.catalog import OBSERVABLES
from mcnet.predictions import softmax_fisher
from mcnet.request import Request

MEASURES: dict[str, dict[str, Any]] = {"fim_softmax_eigenvalue": {}}


@pytest.mark.parametrize("case", [{"parameterization": "standard"}, {"parameterization": "ntk", "train_biases": True}])
def test_the_dual_has_the_eigenvalues_of_the_whole_matrix(case: dict[str, Any]) -> None:
    """Label by label, p_k times the square of the gradient of log p_k, over all parameters."""
    where = point(5, width=6, depth=2, outputs=3, fresh=True, **case)
    plain = PlainNetwork(where, 6, seed=11)
    f, slopes = plain.activity()[2], plain.slopes()  # (T, C), (P, T, C)
    p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
    fisher = np.zeros((len(slopes),) * 2)
    for t in range(5):
        for label in range(3):
            score = slopes[:, t] @ (np.eye(3)[label] - p[t])
            fisher += p[t, label] / 5 * np.outer(score, score)
    expected = np.linalg.eigvalsh(fisher)[::-1]
    for backend in (None, STRICT):
        got = measured(where, "explicit", MEASURES, 6, 7, backend=backend)
        np.testing.assert_allclose(got["fim_softmax_eigenvalue"][0], expected[:3], rtol=1e-7)
        np.testing.assert_allclose(got["fim_softmax_top"][0], expected[:2].mean(), rtol=1e-7)
        np.testing.assert_allclose(got["fim_softmax_trace"][0], np.trace(fisher), rtol=1e-7)


def test_networks_of_other_architectures_have_it_too() -> None:
    """No eigenvalue of Q exceeds 1/2: the largest of F is at most that of Theta / (2 T)."""
    where = point(4, outputs=2, architecture="recurrent", depth=2)
    got = measured(where, "explicit", {**MEASURES, "ntk": {"blocks": "all"}}, 0, 3)
    theta = got["ntk"].transpose(0, 1, 3, 2, 4).reshape(3, 8, 8)
    assert np.all(got["fim_softmax_eigenvalue"][:, 0] <= np.linalg.eigvalsh(theta)[:, -1] / 8)


def test_the_kernel_is_made_beside_extremes_of_another_matrix() -> None:
    """Where ``fim`` alone would be found by products."""
    where = point(200, 220, width=8, depth=1, outputs=3)
    fim: dict[str, dict[str, Any]] = {"fim": {"trace2": False, "eigenvalue": False}}
    assert "tangent" not in costs.needs_at(where, Request(fim, 0, "explicit", "float64"))
    assert "tangent" in costs.needs_at(where, Request(fim | MEASURES, 0, "explicit", "float64"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"outputs": None}, "need a readout"),
        ({"outputs": 1}, "give at least two"),
        ({"outputs": 3, "normalization": "last-mean"}, 'not "last-mean"'),
        ({"outputs": 300}, "needs the kernel of 1200 outputs times inputs; at most 1024"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], match: str) -> None:
    (told,) = OBSERVABLES["fim_softmax_eigenvalue"].check(point(4, **changes), {})
    assert match in told


@pytest.fixture(scope="module")
def tree() -> Any:
    """3000 networks a width: at infinite width means are known to 0.5 %, and 4 % are 7 standard errors."""
    return mcnet.sample(
        {
            "mcnet": 1,
            "network": {
                "activation": "tanh",
                "weights": "gaussian",
                "depth": 2,
                "sigma_w2": 0.6,
                "sigma_b2": 0.1,
                "outputs": 3,
                "parameterization": "standard",
            },
            "inputs": {"kind": "gaussian", "count": 12, "fresh": True},
            "sweep": {"width": [48, 96, 192]},
            "sampling": {"networks": 3000, "seed": 5},
            "measure": MEASURES,
        }
    )


def scores(tree: Any) -> dict[str, float]:
    rows = mcnet.analyze(tree)["comparisons"]
    return {row["observable"]: row["z"] for row in rows if row["order"] == "limit" and row["z"] is not None}


def test_theory_predicts_outliers_and_trace(tree: Any) -> None:
    found = scores(tree)
    assert set(found) == {"fim_softmax_top", "fim_softmax_trace"}
    assert max(map(abs, found.values())) < 4.5
    analysis = mcnet.analyze(tree)
    assert analysis["summary"]["p_value"] > 1e-3
    assert {fit["statistic"] for fit in analysis["fits"]} == {"mean"}  # the logits stay random: no v1/M


Matrices = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
WRONG: dict[str, Matrices] = {
    "equal probabilities": lambda theta, covariance: (theta, 0.0 * covariance),
    "a kernel without its diagonal": lambda theta, covariance: (np.full_like(theta, theta[0, 1]), covariance),
    "a kernel 4 % too large": lambda theta, covariance: (1.04 * theta, covariance),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_comparison_rejects(tree: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = softmax_fisher._means

    def another(theta: bytes, covariance: bytes, inputs: int, outputs: int) -> Any:
        parts = WRONG[name](*(np.frombuffer(part).reshape(inputs, inputs) for part in (theta, covariance)))
        return own(*(part.tobytes() for part in parts), inputs, outputs)

    monkeypatch.setattr(softmax_fisher, "_means", another)
    found = scores(tree)
    assert all(abs(z) > 5.0 for z in found.values()), found


def test_where_there_is_no_prediction() -> None:
    def why(**changes: Any) -> str:
        return predictions.predict("fim_softmax_top", predictions.Ensemble.of(point(**changes))).why_not

    assert "dense networks without normalisation" in why(count=4, outputs=3, normalization="hidden-batch")
    assert "up to 256 outputs times inputs" in why(count=100, outputs=3)
    assert "up to 256" not in why(count=4, outputs=3)
