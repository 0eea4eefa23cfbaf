"""Verdicts on networks with positions, tokens and times: predictions are those of the inputs that were drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mcnet_analysis import analyze, study

import mcnet
from mcnet.predictions import cumulants

CONVOLUTION = {"architecture": "convolution", "positions": 3}
TRANSFORMER = {"architecture": "transformer", "tokens": 2, "softmax_scale": "1/n", "normalization": "post-layer"}


def sampled(network: dict[str, Any], networks: int, widths: list[int], **changes: Any) -> Any:
    laws = {"activation": "tanh", "weights": "gaussian", "sigma_w2": 1.6, "sigma_b2": 0.1, "parameterization": "ntk"}
    return mcnet.sample(
        {
            "mcnet": 1,
            "title": "rows",
            "network": {**laws, "depth": 2, "outputs": 1, **network},
            "inputs": {"kind": "single", "q0": 1.0, **changes.get("inputs", {})},
            "sweep": {"width": widths},
            "sampling": {"networks": networks, "seed": 11, "sampler": "conditioned"},
            "measure": changes.get("measure", {"q": {}, "ntk": {}}),
            "analyze": changes.get("analyze", {}),
        }
    )


def test_the_gram_matrix_of_all_rows_is_that_of_the_inputs() -> None:
    """Drawn from their stream: other positions overlap by M^(-1/2), every position has the length given."""
    (setting,) = study.settings(sampled(CONVOLUTION, 2, [64]))
    gram = setting.ensemble.gram
    np.testing.assert_allclose(np.diagonal(gram), 1.0, rtol=1e-12)
    away = gram[np.triu_indices(3, 1)]
    assert 0.0 < np.abs(away).max() < 4 / 64**0.5
    assert not setting.ensemble.fluctuating
    (fresh,) = study.settings(sampled(CONVOLUTION, 2, [64], inputs={"fresh": True}))
    assert fresh.ensemble.fluctuating
    np.testing.assert_allclose(fresh.ensemble.gram, np.eye(3))


def test_a_convolution_agrees_with_theory_and_not_with_other_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """1/M terms of the kernel with its mean over positions, which sees overlaps of positions."""
    tree = sampled(CONVOLUTION, 1500, [64, 128, 256])
    found = analyze.judge(tree)
    judged = {(row["observable"], row["statistic"]) for row in found.families[0].comparisons}
    assert {("ntk", "a1"), ("ntk", "v1"), ("q", "a1"), ("q_hat", "v1")} <= judged
    assert found.verdict.p_value > 1e-3
    monkeypatch.setattr(study, "row_grams", lambda tree: [np.eye(3)] * 3)
    assert analyze.judge(tree).verdict.p_value < 1e-3


def test_tokens_have_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = sampled(TRANSFORMER, 1500, [64, 128, 256])
    assert analyze.judge(tree).verdict.p_value > 1e-3
    monkeypatch.setattr(study, "row_grams", lambda tree: [np.eye(2) + 0.3 * (1 - np.eye(2))] * 3)
    assert analyze.judge(tree).verdict.p_value < 1e-3


def test_terms_of_order_1_over_m_are_not_computed_where_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: Any, **how: Any) -> Any:
        raise AssertionError("an expansion was made")

    monkeypatch.setattr("mcnet.predictions.programs.expansion", never)
    tree = sampled({"architecture": "residual"}, 20, [8, 16], analyze={"theory": ["mean-field"]})
    (judged,) = analyze.judge(tree).families
    assert np.isfinite(judged.predicted.limit).any()
    assert np.isnan(judged.predicted.a1).all()
    assert any("1/M" in why for why in judged.predicted.why_not)


def test_correlators_of_outputs_and_kernel_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """V, D, A and B of dense networks with two outputs; theory with twice the correlators is rejected."""
    tree = sampled({"outputs": 2}, 4000, [128, 256], measure={"q": {}, "ntk": {"blocks": "all"}})

    def scores() -> dict[str, float]:
        (judged,) = analyze.judge(tree).families
        mine = [
            row for row in judged.comparisons if row["observable"] == "ntk_cumulant" and row["point"]["width"] == 256
        ]
        assert all(row["left_out"] for row in mine)
        return {row["statistic"]: row["z"] for row in mine}

    found = scores()
    assert set(found) == {"V", "D", "A", "B"}
    assert max(map(abs, found.values())) < 4
    right = cumulants.correlators

    def doubled(ensemble: Any, index: int) -> Any:
        made = right(ensemble, index)
        return replace(made, **{name: 2 * getattr(made, name) for name in ("V", "D", "A", "B")})

    monkeypatch.setattr(cumulants, "correlators", doubled)
    assert min(map(abs, scores().values())) > 4
