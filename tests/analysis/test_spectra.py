"""Spectra judged: distances by brute force, edges and atoms by closed forms, runs of known law from end to end."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from mcnet_analysis import analyze, report, study
from mcnet_analysis.draw.all import drawings
from mcnet_analysis.judge import elementary, moment_fits
from mcnet_analysis.judge.spectra import judge_spectra, power_law
from mcnet_analysis.predict.prediction import Theory
from mcnet_analysis.predict.spectra import Laws, edge_amplitude, exact_products
from mcnet_analysis.statistics import distance

import mcnet
from mcnet.commands.directory import analysis_text
from mcnet.errors import ScenarioError
from mcnet.scenario.loading import load
from mcnet.theory import jacobian
from mcnet.theory.exact import dead_units


def scenario(**sections: dict[str, Any]) -> dict[str, Any]:
    """Linear Gaussian networks of depth 2 and two widths, with changes."""
    usual: dict[str, Any] = {
        "mcnet": 1,
        "network": {"activation": "linear", "weights": "gaussian", "depth": 2, "sigma_w2": 1.0, "sigma_b2": 0.0},
        "inputs": {"kind": "single", "q0": 1.0},
        "sweep": {"width": [20, 40]},
        "sampling": {"networks": 400, "seed": 1},
        "measure": {"jacobian": {}},
        "analyze": {"theory": "free-probability"},
    }
    for name, section in sections.items():
        usual[name] = section if name == "measure" else usual[name] | section
    if "depth" in usual["sweep"]:
        del usual["network"]["depth"]
    return usual


@pytest.mark.parametrize(
    ("activation", "weights", "sigma_w2", "depth"),
    [("linear", "gaussian", 1.0, 2), ("relu", "gaussian", 2.0, 2), ("hard-tanh", "orthogonal", 1.05, 3)],
)
def test_distances_by_brute_force(activation: str, weights: str, sigma_w2: float, depth: int) -> None:
    law = jacobian.spectrum(activation, weights, sigma_w2, 0.0, depth, 0.3)
    table = distance.LawTable(law)
    assert table.quantiles.partial[-1] == pytest.approx(law.mean, rel=1e-5)
    rng = np.random.default_rng(3)
    values = rng.choice([0.0, *rng.gamma(1.0, 1.0, 40), law.lambda_max], size=(3, 50))
    x = np.linspace(0.0, max(values.max(), law.lambda_max) * 1.01, 400001)
    for row, w1 in zip(values, distance.w1(values, table), strict=True):
        gap = np.abs(np.searchsorted(np.sort(row), x, side="right") / row.size - law.cdf(x))
        assert w1 == pytest.approx(np.trapezoid(gap, x), rel=2e-4)
    rest, shares = distance.without_atoms(values, table)
    for (place, _), share in zip(table.atoms, shares, strict=True):
        np.testing.assert_allclose(share, np.isclose(values, place, rtol=1e-6).mean(1))
    ks = distance.kolmogorov_smirnov(rest, table)
    for row, found in zip(rest, ks, strict=True):
        left = row[np.isfinite(row)]
        f = table.below(x) / table.continuous
        empirical = np.searchsorted(np.sort(left), x, side="right") / left.size
        assert found == pytest.approx(np.abs(empirical - f).max(), abs=2e-3)


def test_logarithmic_distance() -> None:
    law = jacobian.spectrum("linear", "gaussian", 1.0, 0.0, 1)
    table = distance.LawTable(law)
    quantiles = np.interp((np.arange(20000) + 0.5) / 20000, law.cdf(law.x), law.x)
    assert distance.w1(quantiles[None], table)[0] < 2e-3
    assert distance.w1(quantiles[None], table, logarithmic=True)[0] < 2e-3
    # twice the law: the logarithms are log 2 away, the numbers by their mean
    assert distance.w1(2 * quantiles[None], table)[0] == pytest.approx(1.0, abs=2e-3)
    shifted = distance.w1(2 * quantiles[None], table, logarithmic=True)[0]
    assert shifted == pytest.approx(math.log(2), abs=2e-3)


@pytest.mark.parametrize("depth", [1, 4])
def test_edge_amplitude_of_linear_networks(depth: int) -> None:
    """z = (1 + m)^(L+1)/m: minimum at m = 1/L, d^2 log z/d(log m)^2 = L/(L+1) there."""
    top = (depth + 1) ** (depth + 1) / depth**depth
    exact = math.sqrt(2 * (depth + 1) / depth / top) / depth / top
    table = distance.LawTable(jacobian.spectrum("linear", "gaussian", 1.0, 0.0, depth))
    assert edge_amplitude(table) == pytest.approx(exact, rel=1e-4)


def test_zero_mass_by_enumeration() -> None:
    shares = [
        max(map(sum, (first, second))) / 3
        for first in product((0, 1), repeat=3)
        for second in product((0, 1), repeat=3)
    ]
    found = dead_units.zero_mass(0.5, 2, 3)
    assert found.mean == pytest.approx(np.mean(shares), rel=1e-14)
    assert found.variance == pytest.approx(np.var(shares), rel=1e-13)


def test_power_law() -> None:
    widths = np.array([10.0, 20.0, 40.0, 80.0])
    rng = np.random.default_rng(1)
    scores = []
    for _ in range(300):
        y = 3.0 * widths**-0.7
        fitted = power_law(widths, y * (1 + 0.02 * rng.normal(size=4)), 0.02 * y)
        scores.append((fitted["exponent"] + 0.7) / fitted["error"])
    assert abs(np.mean(scores)) < 5 / math.sqrt(300)
    assert 0.7 < np.std(scores) < 1.1  # the error grows where the scatter asks for it


@pytest.mark.parametrize(
    "network",
    [{}, {"activation": "relu", "sigma_w2": 2.0}, {"activation": "relu", "sigma_w2": 2.0, "weights": "orthogonal"}],
)
def test_exact_moments_make_the_verdict(network: dict[str, Any]) -> None:
    tree = mcnet.sample(scenario(network=network))
    judged = analyze.judge(tree)
    exact = [row for row in judged.document["comparisons"] if row["order"] == "exact"]
    assert {(row["observable"], row["statistic"], row.get("k")) for row in exact} >= {
        ("jacobian_moment", "moment", 1),
        ("jacobian_moment", "moment", 2),
        ("jacobian_moment", "variance", 1),
    }
    assert ("jacobian_zero" in {row["observable"] for row in exact}) == (network != {})
    scores = {row["k"]: [] for row in exact if row["observable"] == "jacobian_product"}
    for row in exact:
        if row["observable"] == "jacobian_product":
            assert row["left_out"] is not None
            scores[row["k"]].append(row["z"])
    assert {1, 2, 3} <= scores.keys()
    assert np.nanmax(np.abs(np.concatenate(list(scores.values())))) < 5
    assert judged.verdict.dof >= 4
    assert judged.verdict.p_value > 1e-3
    family = judged.families[0].family
    wrong = [replace(s, law=s.law | {"sigma_w2": 1.02 * s.law["sigma_w2"]}) for s in family.settings]
    (mutant,) = judge_spectra(tree, study.Family(tuple(wrong)), Laws(()))
    assert mutant.rows.verdict.p_value < 1e-6  # weights 2 % too large in the prediction are seen


def test_products_of_eigenvalues_by_brute_force() -> None:
    values = np.random.default_rng(4).gamma(1.0, 1.0, size=(3, 6))
    traces = np.stack([(values**k).mean(1) for k in range(1, 5)], axis=1)
    direct = [[np.mean([np.prod(c) for c in combinations(row, k)]) for k in range(1, 5)] for row in values]
    np.testing.assert_allclose(elementary.products(traces, 6), direct, rtol=1e-12)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_products_of_eigenvalues_are_those_of_the_characteristic_polynomial(weights: str) -> None:
    """Narrow networks, exactly. The mutant: the other law of weights."""
    network = {"activation": "relu", "sigma_w2": 2.0, "weights": weights, "depth": 1}
    kept = {"jacobian": {"keep": "moments", "moments": 4}}
    tree = mcnet.sample(
        scenario(network=network, sweep={"width": [12, 14]}, sampling={"networks": 4000, "seed": 3}, measure=kept)
    )
    judged = analyze.judge(tree)
    found = [row for row in judged.document["comparisons"] if row["statistic"] == "product"]
    assert [row["k"] for row in found] == [1, 2, 3, 4] * 2
    assert max(abs(row["z"]) for row in found) < 5
    other = "orthogonal" if weights == "gaussian" else "gaussian"
    for row, setting in zip(found[2::4], judged.families[0].family.settings, strict=True):
        wrong = exact_products(replace(setting, law=setting.law | {"weights": other}), 3)
        assert wrong is not None
        assert abs(row["measured"] - wrong[2]) > 5 * row["error"]
    assert "mean product of 3 different eigenvalues" in report.render(judged)


def test_entries_figures_and_page_of_a_run(tmp_path: Any) -> None:
    tree = mcnet.sample(scenario(sampling={"networks": 150}, sweep={"width": [20, 40], "depth": [1, 2]}))
    judged = analyze.judge(tree)
    entries = judged.document["spectra"]
    points = [entry for entry in entries if "rates" not in entry]
    assert len(points) == 4
    assert all({"law", "lambda_max", "w1", "w1_log", "ks", "atoms", "heavy_tail"} <= entry.keys() for entry in points)
    assert all(entry["lambda_max"]["predicted_mean"] < entry["lambda_max"]["limit"] for entry in points)
    rates = [entry["rates"] for entry in entries if "rates" in entry]
    assert all(rate["w1"]["exponent"] < 0 for rate in rates)
    figures = {drawing.name: drawing.figure for drawing in drawings(judged.families, judged.spectra)}
    assert {"spectrum-jacobian", "spectrum-depth-jacobian-1", "distance-jacobian", "edge-jacobian"} <= figures.keys()
    above = figures["edge-jacobian"].axes[0]
    drawn = {str(c.get_label()): np.asarray(c.lines[0].get_xydata()) for c in above.containers}
    for depth in (1, 2):
        mine = [entry for entry in points if entry["point"]["depth"] == depth]
        expected = [[e["point"]["width"], e["lambda_max"]["mean"] / e["lambda_max"]["limit"]] for e in mine]
        np.testing.assert_allclose(drawn[f"depth {depth}"], expected)
    page = report.render(judged)
    assert "moment 2" in page
    assert "W₁/mean, all" in page


def test_heavy_tails_stay_out_of_the_verdict() -> None:
    judged = analyze.judge(mcnet.sample(scenario(network={"depth": 5}, sampling={"networks": 200})))
    assert judged.verdict.dof == 0
    assert any("heavy tails" in note for note in judged.families[0].notes)
    assert any("heavy tails" in what for what in judged.summary["left_out"])


def test_other_spectra_and_what_is_kept() -> None:
    asked: dict[str, Any] = {
        "jacobian": {"keep": "histogram", "bins": 30},
        "jacobian_lambda_max": {},
        "conditional_fim": {},
        "conjugate_kernel": {},
        "q": {},
    }
    inputs = {"kind": "gaussian", "count": 20, "fresh": True}
    network = {"activation": "tanh", "train_biases": False, "sigma_b2": 0.01, "sigma_w2": 1.2}
    tree = mcnet.sample(scenario(measure=asked, inputs=inputs, network=network, sampling={"networks": 30}))
    edges = tree["jacobian"].to_dataset()["bin_edge"].values
    np.testing.assert_allclose(edges, np.linspace(0, 5, 31))
    judged = analyze.judge(tree)
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for entry in judged.document["spectra"]:
        if "rates" not in entry:
            by_kind.setdefault(entry["observable"], []).append(entry)
    assert all(0 < entry["ks_at_edges"] < 0.1 for entry in by_kind["jacobian"])
    distances = [entry["w1"]["pooled"] for entry in by_kind["conditional_fim"]]  # over the mean of the law
    assert distances[1] < distances[0] < 0.1
    ratios = [entry["law"]["lambda_max"] for entry in by_kind["conjugate_kernel"]]
    assert ratios[0] > ratios[1]  # T/M = 1 and 1/2: another law at each width, so no rates
    assert not any(
        "rates" in entry and entry["observable"] == "conjugate_kernel" for entry in judged.document["spectra"]
    )
    assert drawings(judged.families, judged.spectra)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampling": {"sampler": "conditioned"}}, "jacobian_lambda_max needs products only"),
        ({"network": {"weights": "uniform"}}, "laws for gaussian and orthogonal weights"),
        ({"network": {"depth": 200, "activation": "relu", "sigma_w2": 0.5}}, "leaves the range of a double"),
    ],
)
def test_refusals_say_why_and_what_instead(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load(scenario(**changes)).points()


def test_the_printed_table_takes_numbers_that_do_not_exist():
    point = {"width": 64, "activation": "hard-tanh", "weights": "orthogonal"}
    entry = {
        "observable": "jacobian",
        "point": point,
        "w1": {"mean": 0.25, "error": None},
        "ks": {"mean": None, "error": None, "pooled": None, "pooled_error": None},
        "lambda_max": {"mean": 1.5, "error": 0.25, "limit": 1.75},
    }
    summary = {"comparisons": 0, "p_value": None, "left_out": {}}
    told = analysis_text({"comparisons": [], "fits": [], "spectra": [entry], "families": [], "summary": summary})
    assert "0.25" in told
    assert "1.5(3)" in told or "1.50(25)" in told
    assert "1.75" in told


@pytest.mark.parametrize(
    "network",
    [
        {"activation": "tanh", "sigma_w2": 1.6, "sigma_b2": 0.1},
        {"activation": "sin", "sigma_w2": 1.5, "weights": "orthogonal"},
    ],
)
def test_terms_of_first_order_of_moments_make_the_verdict(network: dict[str, Any], monkeypatch: Any) -> None:
    """a1 and v1 of the first two moments of J J^T. The mutants: a1 wrong by three times itself, v1 half as large."""
    networks = {"networks": 2000, "seed": 9}
    moments = {"jacobian": {"keep": "moments", "moments": 3}}
    both = {"theory": ["free-probability", "1/M"]}
    asked = scenario(network=network, sweep={"width": [32, 64, 96]}, sampling=networks, measure=moments, analyze=both)
    tree = mcnet.sample(asked)
    once = Theory(), Laws(("free-probability", "1/M"))
    judged = analyze.judge(tree, predictions=once)
    rows = {(row["statistic"], row["k"]): row for row in judged.document["comparisons"]}
    assert set(rows) == {("a1", 1), ("a1", 2), ("v1", 1), ("v1", 2), ("moment", 3)}
    assert [rows[key]["order"] for key in (("a1", 1), ("v1", 2), ("moment", 3))] == ["1/M", "1/M", "limit"]
    assert {statistic for (statistic, _), row in rows.items() if row["left_out"] is None} >= {"a1", "v1"}
    assert judged.verdict.p_value > 1e-3
    power = {row["of"]: row["relative"] for row in judged.summary["power"]}
    assert power["a1"] < 2.5
    assert power["v1"] < 0.5
    page = report.render(judged)
    assert "a1 of moment 1" in page
    assert "v1 of moment 2" in page
    right = moment_fits.moment_coefficients
    for change in ({"mean": -2.0}, {"variance": 0.5}):

        def wrong(setting: study.Setting, change: dict[str, float] = change) -> Any:
            found = right(setting)
            assert found is not None
            return found._replace(**{name: factor * getattr(found, name) for name, factor in change.items()})

        monkeypatch.setattr(moment_fits, "moment_coefficients", wrong)
        assert analyze.judge(tree, predictions=once).verdict.p_value < 1e-3, change
