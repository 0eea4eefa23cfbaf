"""Moments of Jacobians of blocks and of residual networks: predictions against built networks, extrapolated in 1/M."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from extrapolation import limit_of
from mcnet_analysis import analyze

import mcnet
from mcnet import predictions
from mcnet.architectures import of
from mcnet.predictions import jacobian as predicted
from mcnet.scenario.loading import load
from mcnet.theory import residual
from mcnet.theory.free.slope_law import slope_law

MEASURE: dict[str, Any] = {"block_jacobian": {}, "jacobian": {"keep": "moments", "moments": 2}}
LAWS: dict[str, dict[str, Any]] = {
    "dense": {},
    "post": {"architecture": "residual", "branch": 0.8},
    "post, orthogonal": {"architecture": "residual", "branch": 0.8, "weights": "orthogonal"},
    "two": {"architecture": "residual", "block": "two", "sigma_v2": 1.2, "sigma_c2": 0.1, "branch": 0.7},
    "pre": {"architecture": "residual", "block": "pre", "skip": 0.9},
    "pre, orthogonal": {"architecture": "residual", "block": "pre", "skip": 0.9, "weights": "orthogonal"},
    "recurrent": {"architecture": "recurrent"},
    "leaky": {"architecture": "recurrent", "leak": 0.5},
    "minimal-rnn": {"architecture": "minimal-rnn", "tied": False, "gate_bias": 0.5, "sigma_v2": 0.5},
    "gru": {"architecture": "gru", "tied": False},
    "convolution": {"architecture": "convolution", "positions": 3},
}


def study(widths: list[int], networks: int, depth: int = 2, **network: Any) -> dict[str, Any]:
    law = {"activation": "tanh", "weights": "gaussian", "sigma_w2": 1.6, "sigma_b2": 0.1}
    return {
        "mcnet": 1,
        "network": {**law, "depth": depth, **network},
        "inputs": {"kind": "single", "q0": 1.0},
        "sweep": {"width": widths},
        "sampling": {"networks": networks, "seed": 8, "sampler": "explicit"},
        "measure": MEASURE,
    }


def limits(name: str, content: dict[str, Any], first_order: bool = False) -> Any:
    ensemble = predictions.Ensemble.of(load(content).points()[-1])
    return predictions.predict(name, ensemble if first_order else ensemble.of_limits())


@pytest.mark.parametrize("law", LAWS)
def test_limits_of_single_blocks(law: str) -> None:
    """500 networks of widths 20 and 40 (convolution: 60): errors of 0.5 to 2 %; what is neglected is of order 1/M^2.

    Refused: a first moment 10 % larger, a second one 15 % larger.
    """
    content = study([20, 40], 60 if law == "convolution" else 500, **LAWS[law])
    tree = mcnet.sample(content)["block_jacobian"]["block_jacobian_moment"].values
    for order in (1, 2):
        found, error = limit_of([tree[point, :, order - 1, 1:] for point in (0, 1)], [20, 40])
        limit = limits(f"block_mu_{order}", content).limit[1:]
        z = (found - np.array([[1.0], [1.15 if order == 2 else 1.1]]) * limit) / np.hypot(error, limit * 4.0 / 40**2)
        assert np.abs(z[0]).max() < 4.5, (order, z)
        assert np.abs(z[1]).max() > 4.5, (order, z)


RIGHT = residual.block_moments


def _without_spread(block: residual.Block, q: float, weights: str = "gaussian") -> residual.JacobianMoments:
    right = RIGHT(block, q, weights)
    first, fourth = slope_law(block.phi, q).moments(2)
    return residual.JacobianMoments(right.mean, right.second - block.branch**4 * block.gain**2 * (fourth - first**2))


def _gaussian(block: residual.Block, q: float, weights: str = "gaussian") -> residual.JacobianMoments:
    return RIGHT(block, q, "gaussian")


@pytest.mark.parametrize(("mutant", "keys"), [
    (None, {"architecture": "residual", "skip": 0.5}),
    (_without_spread, {"architecture": "residual", "skip": 0.5}),
    (None, {"weights": "orthogonal", "architecture": "residual", "skip": 0.5}),
    (_gaussian, {"weights": "orthogonal", "architecture": "residual", "skip": 0.5}),
])  # fmt: skip
def test_the_verdict_sees_a_wrong_second_moment(
    mutant: Any, keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if mutant is not None:
        monkeypatch.setattr(predicted.residual, "block_moments", mutant)
    content = study([20, 40, 80], 400, **keys)
    content["measure"] = {"block_jacobian": {}}
    verdict = analyze.judge(mcnet.sample(content)).verdict
    assert verdict.dof >= 2
    assert (verdict.p_value > 1e-3) == (mutant is None)


def free(block: residual.Block, length_0: float, depth: int, weights: str = "gaussian") -> residual.JacobianMoments:
    """D_L prod (a + s W D) E as if all factors were free: what blocks `pre` are not."""
    path = residual.signal(block, length_0, depth)
    first, fourth = slope_law(block.phi, float(path.length[-1])).moments(2)
    mean, ratio = first, fourth / first**2 + 1.0
    for q in path.q:
        one = RIGHT(block, float(q))
        mean, ratio = mean * one.mean, ratio + one.second / one.mean**2 - 1.0
    return residual.JacobianMoments(mean, mean**2 * ratio)


def test_whole_networks_of_pre_blocks_are_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two widths, four blocks: mu_2/mu_1^2 to 2 %; the free formula is 11 % low, and refused."""
    content = study([40, 60], 1000, 4, architecture="residual", block="pre", sigma_w2=1.0)
    content["measure"] = {"jacobian": MEASURE["jacobian"]}
    tree = mcnet.sample(content)
    ratios = []  # with the influence of each network, which has the error of the ratio
    for moments in tree["jacobian"]["jacobian_moment"].values:
        first, second = moments.mean(0)
        ratios.append(
            (second / first**2) * (1.0 + (moments[:, 1:] / second - 1.0) - 2.0 * (moments[:, :1] / first - 1.0))
        )
    found, error = limit_of(ratios, [40, 60])

    def score() -> float:
        first, second = (limits(f"jacobian_mu_{order}", content).limit[0] for order in (1, 2))
        return float((found[0] - second / first**2) / error[0])

    assert abs(score()) < 4.0
    (judged,) = analyze.judge(tree).families
    rows = {row["k"]: row for row in judged.comparisons}
    assert {row["order"] for row in rows.values()} == {"limit"}
    assert max(abs(row["z"]) for row in rows.values()) < 4.0
    assert any("first two moments have limits" in note for note in judged.notes)
    monkeypatch.setattr(predicted.residual, "network_moments", free)
    assert score() > 4.0


@pytest.mark.parametrize("law", ["post", "two", "post, orthogonal", "recurrent"])
def test_whole_networks(law: str) -> None:
    content = study([20, 40], 600, **LAWS[law])
    tree = mcnet.sample(content)["jacobian"]["jacobian_moment"].values
    for order in (1, 2):
        found, error = limit_of([tree[point, :, order - 1 : order] for point in (0, 1)], [20, 40])
        (limit,) = limits(f"jacobian_mu_{order}", content).limit
        assert abs(found[0] - limit) < 4.5 * np.hypot(error[0], limit * 8.0 / 40**2)


def test_one_over_m_of_dense_layers() -> None:
    """6000 networks of width 16: a1 of layer 1 is exact, with scores of 10; refused without what rows know of u."""
    content = study([16], 6000)
    content["measure"] = {"block_jacobian": {}}
    values = mcnet.sample(content)["block_jacobian"]["block_jacobian_moment"].values[0, :, 0, 1:]
    ensemble = predictions.Ensemble.of(load(content).points()[0])
    found = predictions.predict("block_mu_1", ensemble)
    error = values.std(0) / np.sqrt(len(values))
    z = (values.mean(0) - found.limit[1:] - found.a1[1:] / 16) / np.hypot(error, 0.3 * np.abs(found.a1[1:]) / 16**2)
    assert np.abs(z).max() < 4.0
    alone = np.abs(values.mean(0) - found.limit[1:]) / error
    assert alone.min() > 8.0


def test_variance_of_dense_layers() -> None:
    """2500 networks of widths 24 and 48: v1 to 8 %; 40 % less is refused."""
    content = study([24, 48], 2500, 2, sigma_w2=3.0)
    content["measure"] = {"block_jacobian": {}}
    tree = mcnet.sample(content)["block_jacobian"]["block_jacobian_moment"].values[:, :, 0, 2:]
    squares = [width * (part - part.mean(0)) ** 2 for width, part in zip((24, 48), tree, strict=True)]
    (found,), (error,) = limit_of(squares, [24, 48])
    v1 = limits("block_mu_1", content, first_order=True).v1[2]
    assert abs(found - v1) < 4.0 * error
    assert abs(found - 0.6 * v1) > 4.0 * error


@pytest.mark.parametrize(("keys", "told"), [
    ({"architecture": "gru"}, "tied = false"),
    ({"architecture": "gru", "tied": False, "activation": "erf"}, "known for tanh"),
    ({"architecture": "lstm"}, 'single blocks of "lstm"'),
    ({"weights": "uniform"}, "not for uniform"),
    ({"normalization": "hidden-layer"}, 'with normalization "hidden-layer"'),
])  # fmt: skip
def test_why_nothing_is_predicted(keys: dict[str, Any], told: str) -> None:
    content = study([16], 2, **keys)
    content["measure"] = {"q": {}}
    found = limits("block_mu_2", content)
    assert np.isnan(found.limit).all()
    assert told in found.why_not


def test_blocks_of_a_residual_network_follow_its_keys() -> None:
    point = load(study([16], 2, **LAWS["two"])).points()[0]
    block = predicted.residual_block(predictions.Ensemble.of(point))
    assert (block.kind, block.branch, block.sigma_v2, block.sigma_c2) == ("two", 0.7, 1.2, 0.1)
    assert of(point).parameters.branch == 0.7
