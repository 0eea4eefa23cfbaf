"""Tangent kernel and Fisher information in the analysis: growth exponents, predictions, and which figures there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
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


def measured(figure: Any) -> dict[str, Any]:
    """Label -> (x, y) of every series with error bars."""
    return {
        str(container.get_label()): np.asarray(container.lines[0].get_xydata())
        for axis in figure.axes
        for container in axis.containers
        if isinstance(container, ErrorbarContainer)
    }


def test_normalisations_are_told_apart_by_what_is_drawn() -> None:
    found = analysed(
        {"depth": 2, "outputs": 3, "parameterization": "standard"},
        {"normalization": ["none", "last-mean"], "points": [{"width": w, "count": w} for w in (24, 48, 96)]},
        {"kind": "gaussian", "fresh": True},
        {"fim": {}},
    )
    figure = {drawing.name: drawing.figure for drawing in drawings(found.families)}["fisher-largest"]
    shown = measured(figure)
    named = {word: points for label, points in shown.items() for word in ("no norm", "last-mean") if word in label}
    assert len(shown) == len(named) == 2
    top = {}
    for judged in found.families:
        place = [column.observable for column in judged.columns].index("fim_lambda_top")
        for setting, m in zip(judged.family.settings, judged.moments, strict=True):
            top[setting.law["normalization"], setting.width] = setting.width * m.mean[place]
    for word, law in (("no norm", "none"), ("last-mean", "last-mean")):
        np.testing.assert_allclose(named[word], [[w, top[law, w]] for w in (24, 48, 96)])
    growth = {word: float(label.split("M^{")[1].split(" ")[0]) for label in shown for word in named if word in label}
    assert growth["no norm"] > growth["last-mean"] + 0.3


def test_depth_against_width_and_the_coefficients_as_drawn() -> None:
    found = analysed(
        {"activation": "relu", "sigma_w2": 2.0, "sigma_b2": 0.0, "parameterization": "ntk"},
        {"depth": [1, 2, 4], "width": [16, 32, 64]},
        {"kind": "single", "q0": 1.0},
        {"ntk": {"eigenvalues": False}},
    )
    figures = {drawing.name: drawing.figure for drawing in drawings(found.families)}
    shown = measured(figures["kernel-spread"])
    assert [label for label in shown if label.startswith("depth")] == ["depth 1", "depth 2", "depth 4"]
    for judged in found.families:
        depth = judged.family.first.depth
        points = zip(judged.family.widths, judged.moments, strict=True)
        expected = [(depth / width, m.variance[0] / m.mean[0] ** 2) for width, m in points]
        np.testing.assert_allclose(shown[f"depth {depth}"], expected)
    exact = next(line for line in figures["kernel-spread"].axes[0].get_lines() if "any width" in str(line.get_label()))
    ratio, spread = np.asarray(exact.get_xydata()).T
    deep = shown["depth 4"]
    predicted = np.exp(np.interp(np.log(deep[:, 0]), np.log(ratio[::-1]), np.log(spread[::-1])))
    assert (np.abs(np.log(deep[:, 1] / predicted)) < 5 * np.sqrt(30 / 40)).all()  # 40 networks, kurtosis below 30
    assert (np.diff(ratio) < 0).all()
    assert (np.diff(spread) < 0).all()
    coefficients = figures["kernel-coefficients"]
    assert [label.get_text() for label in coefficients.axes[0].get_yticklabels()] == ["depth 1", "depth 2", "depth 4"]
    fits = [row["measured"] / judged.predicted.limit[0] for judged in found.families for row in judged.comparisons
            if row["statistic"] == "a1"]  # fmt: skip
    drawn = [container.lines[0].get_xdata()[0] for container in coefficients.axes[0].containers]
    np.testing.assert_allclose(drawn, fits)
