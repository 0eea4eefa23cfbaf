"""Eigenvalues that nearly meet: the expansion grows with the inverse gap, and no cliff removes what can be judged."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from mcnet_analysis.analyze import judge
from mcnet_analysis.predict import fisher
from scipy import stats

import mcnet


@cache
def sampled(c0: float, widths: tuple[int, ...], networks: int, seed: int, measures: tuple[str, ...] = ("ntk",)) -> Any:
    return mcnet.sample(
        {
            "mcnet": 1,
            "network": {"activation": "tanh", "weights": "gaussian", "depth": 2, "sigma_w2": 1.5, "sigma_b2": 0.0}
            | {"outputs": 1, "parameterization": "ntk", "train_biases": False},
            "inputs": {"kind": "pair", "q0": 1.0, "c0": c0},
            "sweep": {"width": list(widths)},
            "sampling": {"networks": networks, "seed": seed},
            "measure": {name: {} for name in measures},
        }
    )


def check() -> None:
    """Five studies where the gap is a sixth of the eigenvalue: without the gap in the growth, p < 0.01 in most."""
    found = [judge(sampled(0.1, (150, 300, 600), 80_000, seed)).summary["p_value"] for seed in range(1, 6)]
    together = stats.combine_pvalues(found).pvalue
    assert 1e-3 < together < 1 - 1e-3, found


def test_studies_near_the_meeting_of_two_eigenvalues_agree() -> None:
    check()


def test_the_check_rejects_a_growth_without_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = fisher.curve
    monkeypatch.setattr(fisher, "curve", lambda *values, room=0.0, **more: curve(*values, **more))
    with pytest.raises(AssertionError):
        check()


def test_a_narrow_width_more_takes_no_row_away() -> None:
    wide, wider = ((256, 512, 1024), (32, 256, 512, 1024))
    rows = [
        {
            (row["observable"], row["statistic"])
            for judged in judge(sampled(0.15, widths, 2000, 3, ("ntk", "fim"))).families
            for row in judged.comparisons
            if row["statistic"] in ("a1", "v1")
        }
        for widths in (wide, wider)
    ]
    assert rows[0] == rows[1]
    assert {("ntk_lambda_min", "a1"), ("learning_rate_bound", "v1"), ("fim_lambda_max", "a1")} <= rows[0]


def test_eigenvalues_that_meet_are_left_out_with_the_reason() -> None:
    left_out = judge(sampled(0.0, (64, 128, 256), 500, 4, ("ntk", "fim"))).summary["left_out"]
    reasons = [what for what in left_out if "no expansion in 1/M" in what]
    for name in ("ntk_lambda_min", "fim_lambda_max", "learning_rate_bound"):
        assert sum(name in what for what in reasons) == 2  # means and v1


def test_chi_square_grows_with_the_misfit() -> None:
    """Theory at a wrong sigma_w2: what is weighed does not depend on how wrong, and chi-square is its square."""
    tree = sampled(0.6, (32, 64, 128, 256), 60_000, 4)
    found = []
    for factor in (1.0, 1.0025, 1.005, 1.01, 1.02):
        wrong = tree.copy(deep=True)
        wrong.coords["sigma_w2"][...] = 1.5 * factor
        found.append(judge(wrong).summary)
    assert len({summary["dof"] for summary in found}) == 1
    chi2 = [summary["chi2"] for summary in found]
    assert chi2 == sorted(chi2)
    assert 3.5 < chi2[4] / chi2[3] < 4.5
