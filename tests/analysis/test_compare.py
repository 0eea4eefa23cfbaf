"""Whole analyses of ensembles whose law is known: calibrated where theory is true, rejected where it is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mcnet_analysis import analyze, study
from mcnet_analysis.judge.family import judge_family
from mcnet_analysis.predict.prediction import Theory
from scipy import stats

from mcnet.predictions import dense
from tests.analysis_datasets import dataset, ensemble, point, sample_lengths

WIDTHS = (32, 64, 128, 256)


def linear_networks(rng, networks, widths=WIDTHS, depth=3, scale=1.0, spread=1.0):
    """Deep linear networks: q^l = q^(l-1) chi^2_M / M exactly. Mutants: all lengths, or all fluctuations, scaled."""
    points, values = [], []
    for width in widths:
        law = {"activation": "linear", "sigma_w2": 1.0, "sigma_b2": 0.0, "depth": depth, "input_kind": "single"}
        points.append(point(width, networks, **law, inputs=1, c0=np.nan))
        q = np.cumprod(rng.gamma(width / 2, 2 / width, size=(networks, 1, depth)), axis=2)
        q = scale * (1.0 + spread * (q - 1.0))
        values.append({"q": np.concatenate([np.full((networks, 1, 1), np.nan), q], axis=2)})
    return dataset(points, values)


def p_value(tree):
    return analyze.judge(tree).verdict.p_value


def test_p_value_is_uniform_for_a_true_theory():
    rng = np.random.default_rng(31)
    p_values = [p_value(linear_networks(rng, 1000)) for _ in range(150)]
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("mutant", [{"scale": 1.02}, {"spread": 1.01}], ids=["length 2 %", "variance 2 %"])
def test_a_theory_that_is_two_per_cent_wrong_is_rejected(mutant):
    """Errors: limit 0.02 %, v1 0.3 % at 200 000 networks and widths 128 to 1024, where 2 % are six and more sigma."""
    rng = np.random.default_rng(32)
    widths, networks = (128, 256, 512, 1024), 200_000
    assert p_value(linear_networks(rng, networks, widths)) > 1e-3
    assert p_value(linear_networks(rng, networks, widths, **mutant)) < 1e-6


@pytest.fixture(scope="module")
def signal():
    """tanh and relu networks, two inputs, sampled independently of the engine."""
    laws = [{}, {"activation": "relu", "sigma_w2": 2.0}]
    scenario = 'mcnet = 1\n[analyze]\nfit = { observable = "q", layer = 4, model = "a0 + a1/M + a2/M^2" }\n'
    return ensemble(WIDTHS, 2000, seed=33, laws=laws, scenario=scenario)


def test_networks_of_the_right_law_agree_with_theory(signal):
    analysis = analyze.judge(signal)
    summary = analysis.summary
    assert summary["groups"] == 2
    assert summary["dof"] > 40
    assert summary["p_value"] > 1e-3
    assert summary["max_abs_z"] < 5
    assert summary["outliers"] == 0


@pytest.mark.parametrize("name", ["q", "q_hat", "c"])
def test_one_wrong_observable_is_seen(signal, name):
    spoiled = signal.copy(deep=True)
    values = spoiled["signal"][name]
    values[...] = values * 1.02
    assert p_value(spoiled) < 1e-4


def test_the_first_layer_is_marked_exact_and_compared_at_every_width(signal):
    rows = analyze.judge(signal).families[0].comparisons
    first = [row for row in rows if row["layer"] == 1 and row["observable"] == "q" and "width" in row["point"]]
    assert {row["order"] for row in first} == {"exact"}
    assert len(first) == len(WIDTHS) * 2 * 2  # widths, inputs, mean and variance
    width = first[0]["point"]["width"]
    s = 1.5 * 1.0 + 0.1
    assert first[0]["predicted"] == pytest.approx(s)
    variance = next(row for row in first if row["statistic"] == "variance" and row["point"]["width"] == width)
    assert variance["predicted"] == pytest.approx(2 * s**2 / width)


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_means_of_homogeneous_networks_are_exact_at_width_three(activation):
    """E|h|^2 is linear in |h|^2 of the layer below, biases included: no 1/M at all, even where 1/M is 1/3."""
    laws = [{"activation": activation, "sigma_w2": 2.0, "sigma_b2": 0.3, "inputs": 1, "input_kind": "single"}]
    judged = analyze.judge(ensemble((3,), 40_000, seed=44, laws=laws)).families[0]
    rows = [row for row in judged.comparisons if row["statistic"] == "mean"]
    assert len(rows) == 8  # q and q_hat of four layers
    assert all(row["order"] == "exact" and row["neglected"] == 0 for row in rows)
    deviations = [(row["measured"] - row["predicted"]) / row["error"] for row in rows]
    assert np.abs(deviations).max() < 5


def test_points_are_left_out_where_the_next_order_is_larger_than_the_error(signal):
    judged = analyze.judge(signal).families[0]
    rows = [row for row in judged.comparisons if "width" in row["point"]]
    assert all(row["neglected"] <= row["statistical"] for row in rows)
    assert all(row["error"] == pytest.approx(np.hypot(row["neglected"], row["statistical"])) for row in rows)
    assert judged.left_out


def test_the_fit_of_the_scenario_is_made(signal):
    fits = analyze.judge(signal).asked_fits
    assert len(fits) == 4  # two laws, two inputs
    for fit in fits:
        assert list(fit["coefficients"]) == ["a0", "a1", "a2"]
        assert abs(fit["coefficients"]["a0"] - fit["predicted"]) < 5 * fit["errors"]["a0"]
        assert fit["dof"] == 1


def test_document_is_strict_json_of_the_promised_form(signal):
    text = json.dumps(analyze.plain(analyze.judge(signal).document), allow_nan=False)
    document = json.loads(text)
    assert document["format"] == "mcnet-analysis-1"
    keys = {
        "observable", "point", "layer", "statistic", "order", "measured", "error", "predicted", "z", "networks"
    }  # fmt: skip
    assert all(keys <= row.keys() for row in document["comparisons"])
    assert {row["statistic"] for row in document["comparisons"]} == {"mean", "variance", "a1", "v1", "limit"}
    assert {"comparisons", "rms_z", "max_abs_z", "chi2", "dof", "p_value"} <= document["summary"].keys()
    scored = [row for row in document["comparisons"] if row["z"] is not None]
    assert len(scored) == document["summary"]["comparisons"]
    for row in scored:
        assert row["z"] == pytest.approx((row["measured"] - row["predicted"]) / row["error"], rel=1e-4, abs=1e-6)


def test_mean_field_alone_gives_limits_only():
    tree = ensemble((64, 128, 256), 500, seed=34, scenario='mcnet = 1\n[analyze]\ntheory = ["mean-field"]\n')
    judged = analyze.judge(tree).families[0]
    assert {row["order"] for row in judged.comparisons} == {"limit"}
    assert judged.verdict.dof > 0
    assert judged.verdict.p_value > 1e-3
    assert any("1/M is not among the theories asked for" in note for note in judged.notes)


def test_what_has_no_theory_is_said():
    judged = analyze.judge(ensemble((64, 128), 300, seed=35, laws=[{"weights": "uniform"}])).families[0]
    assert any("no 1/M theory for uniform weights" in note for note in judged.notes)
    assert {row["statistic"] for row in judged.comparisons} <= {"mean", "limit"}


@pytest.mark.parametrize("networks", [1, 2, 3, 12])
def test_few_networks_are_no_error(networks):
    analysis = analyze.judge(ensemble((16, 32), networks, seed=36))
    json.dumps(analyze.plain(analysis.document), allow_nan=False)
    if networks == 1:
        assert all(np.isnan(row["error"]) for row in analysis.families[0].comparisons)
        assert analysis.summary["dof"] == 0


def test_three_inputs_are_compared_pair_by_pair():
    tree = ensemble((64, 128, 256), 1000, seed=37, laws=[{"inputs": 3, "input_kind": "gaussian", "depth": 3}])
    analysis = analyze.judge(tree)
    pairs = {tuple(row["pair"]) for row in analysis.families[0].comparisons if "pair" in row}
    assert pairs == {(0, 1), (0, 2), (1, 2)}
    assert analysis.summary["p_value"] > 1e-3


def test_undefined_values_are_counted_and_reported():
    def kill(values):
        values["c"][::100, :, 3:] = np.nan
        return values

    judged = analyze.judge(ensemble((64, 128), 1000, seed=38, change=kill)).families[0]
    assert any("width 64: c is undefined (a dead layer) in up to 10 of 1000 networks" in note for note in judged.notes)
    row = next(row for row in judged.comparisons if row["observable"] == "c" and row["layer"] == 4)
    assert row["networks"] in (990, 2000)


def test_what_was_not_measured_is_passed_over():
    def leave_out(values):
        values["q"][:, :, 1:3] = np.nan
        return {"q": values["q"]}

    analysis = analyze.judge(ensemble((64, 128), 500, seed=39, change=leave_out))
    rows = analysis.families[0].comparisons
    assert {row["observable"] for row in rows} == {"q"}
    assert {row["layer"] for row in rows} <= {3, 4}
    assert not any("undefined" in note for note in analysis.families[0].notes)


def test_what_does_not_fluctuate_has_no_score():
    """Two equal inputs: the correlation is 1 in every network."""
    judged = analyze.judge(ensemble((64, 128), 200, seed=40, laws=[{"c0": 1.0}])).families[0]
    assert {row["observable"] for row in judged.comparisons} == {"q", "q_hat"}


def test_families_differ_in_width_only():
    tree = ensemble((16, 32), 20, seed=41, laws=[{"sigma_w2": 1.0}, {"sigma_w2": 2.0}])
    families = study.families(study.settings(tree))
    assert [len(family.settings) for family in families] == [2, 2]
    assert [family.widths.tolist() for family in families] == [[16, 32], [16, 32]]


def test_theory_is_computed_once_for_each_setting():
    theory = Theory()
    tree = ensemble((16, 32), 50, seed=42)
    dense._signal.cache_clear()
    for family in study.families(study.settings(tree)):
        judge_family(tree, family, theory)
        before = dense._signal.cache_info()
        judge_family(tree, family, theory)
        after = dense._signal.cache_info()
        assert (after.misses, after.hits > before.hits) == (before.misses, True)
    assert after.misses == 1  # that of the pair, at both widths and for both inputs


def test_random_numbers_used_twice_are_noticed():
    """The mutant: every network drawn twice has half the information, and chi2 is twice too large."""
    rng = np.random.default_rng(43)
    chi2 = dof = 0.0
    for _ in range(20):
        values = sample_lengths(rng, 300, 64, np.eye(1), "tanh", 1.5, 0.1, 3)
        twice = {name: np.repeat(v, 2, axis=0) for name, v in values.items() if name == "q"}
        law = {"depth": 3, "inputs": 1, "input_kind": "single", "c0": np.nan}
        verdict = analyze.judge(dataset([point(64, 600, **law)], [twice])).verdict
        chi2, dof = chi2 + verdict.chi2, dof + verdict.dof
    assert dof > 60
    assert stats.chi2.sf(chi2, dof) < 1e-4
