"""Tangent kernel and Fisher information in the analysis: growth exponents, predictions, and which figures there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mcnet_analysis.analyze import Analysis, judge
from mcnet_analysis.draw.all import drawings
from mcnet_analysis.judge.fisher import growth_exponent

import mcnet
from mcnet.theory import fisher


def analysed(
    network: dict[str, Any], sweep: dict[str, Any], inputs: dict[str, Any], measure: dict[str, Any]
) -> Analysis:
    law = {"activation": "tanh", "weights": "gaussian", "sigma_w2": 3.0, "sigma_b2": 0.64}
    study = {
        "mcnet": 1,
        "network": law | {"outputs": 1} | network,
        "inputs": inputs,
        "sweep": sweep,
        "sampling": {"networks": 40, "seed": 3},
        "measure": measure,
    }
    return judge(mcnet.sample(study))


def titles(found: Analysis) -> list[str]:
    return [drawing.title for drawing in drawings(found.families)]


def test_growth_exponent() -> None:
    widths = np.array([32.0, 64.0, 128.0, 256.0])
    slope, error = growth_exponent(widths, 3.0 * widths**0.7, 0.01 * widths**0.7)
    assert slope == pytest.approx(0.7, abs=1e-12)
    assert error == pytest.approx(0.01 / 3 / np.sqrt(np.sum(np.log(widths / np.sqrt(64 * 128)) ** 2)), rel=1e-9)
    rng = np.random.default_rng(1)
    slopes, errors = np.array(
        [growth_exponent(widths, widths * np.exp(0.05 * rng.normal(size=4)), 0.05 * widths) for _ in range(400)]
    ).T
    assert abs(slopes.mean() - 1.0) < 5 * slopes.std() / 20
    assert np.std((slopes - 1.0) / errors) < 1.1


def test_ten_outliers_are_predicted_and_drawn() -> None:
    found = analysed(
        {"depth": 2, "outputs": 3, "parameterization": "standard"},
        {"width": [32, 64, 128]},
        {"kind": "gaussian", "count": 6, "fresh": True},
        {"fim": {}},
    )
    rows = [row for judged in found.families for row in judged.comparisons]
    predicted = {row["point"]["width"]: row["predicted"] for row in rows if row["statistic"] == "lambda_max"}
    assert sorted(predicted) == [32, 64, 128]
    for width, value in predicted.items():
        formula = fisher.eigenvalue_statistics("tanh", 3.0, 0.64, 2, width, 6, 3, 1.0, 0.0, True)
        assert value == pytest.approx(formula.lambda_max, rel=1e-9)
    assert all(abs(row["z"]) < 5 for row in rows if row["z"] is not None and np.isfinite(row["z"]))
    for title in ("largest eigenvalue against the width", "spectrum and outliers", "the 3 largest eigenvalues"):
        assert f"Fisher information: {title}" in titles(found)
    assert "Learning-rate bound over networks" in titles(found)


def test_normalisations_are_told_apart() -> None:
    found = analysed(
        {"depth": 2, "outputs": 3, "parameterization": "standard"},
        {"normalization": ["none", "last-mean"], "points": [{"width": w, "count": w} for w in (24, 48, 96)]},
        {"kind": "gaussian", "fresh": True},
        {"fim": {}},
    )
    first = drawings(found.families)[0]
    labels = [text.get_text() for text in first.figure.legends[0].get_texts()]
    assert [label.split()[0] for label in labels] == ["none", "last-mean"]
    exponents = [float(part.split(":")[1].split("±")[0]) for part in first.caption.split("widths: ")[1].split(";")]
    assert exponents[0] > exponents[1] + 0.3


def test_depth_against_width_and_the_coefficients() -> None:
    found = analysed(
        {"activation": "relu", "sigma_w2": 2.0, "sigma_b2": 0.0, "parameterization": "ntk"},
        {"depth": [1, 2, 4], "width": [16, 32, 64]},
        {"kind": "single", "q0": 1.0},
        {"ntk": {"eigenvalues": False}},
    )
    shown = titles(found)
    assert "Tangent kernel: fluctuation against depth/width" in shown
    assert "Tangent kernel: measured and predicted coefficients, and gradient independence" in shown
