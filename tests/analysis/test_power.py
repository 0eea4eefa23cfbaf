"""What a verdict could have seen: said beside it, true of studies that are wrong by so much; none is no agreement."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mcnet_analysis import analyze, report
from mcnet_analysis.judge import power
from mcnet_analysis.predict.prediction import Theory
from mcnet_analysis.predict.spectra import Laws
from mcnet_analysis.statistics.estimate import moments
from mcnet_analysis.statistics.power import LEVEL, PROBABILITY, detectable
from mcnet_analysis.statistics.verdict import judge

from tests.analysis_datasets import ensemble

NARROW, WIDTHS = (24, 48, 96), (64, 128, 256)


def larger(share):
    """All values of q larger by a share."""

    def change(values):
        return {**values, "q": values["q"] * (1.0 + share)}

    return change


def test_a_deviation_of_the_size_that_is_said_is_seen():
    """Nine of ten; with 30 studies less than 20 is out of the question, and so is more than 24 at half of it."""
    said = {
        (row["observable"], row["of"]): row["relative"]
        for row in analyze.judge(ensemble(NARROW, 600, seed=61)).summary["power"]
    }
    assert said["q", "values"] < 0.03
    once = Theory(), Laws(())

    def seen(share):
        studies = (ensemble(NARROW, 600, seed=100 + k, change=larger(share)) for k in range(30))
        return sum(analyze.judge(study, predictions=once).verdict.p_value < 0.01 for study in studies)

    assert seen(said["q", "values"]) >= 20
    assert seen(0.5 * said["q", "values"]) <= 24


def test_errors_grow_with_the_values():
    """One value with an error of 5 %: 25 % too large is seen in nine of ten. The mutant: its share of today's error."""
    rng = np.random.default_rng(66)
    trials, networks = 800, 100
    rows = {"right": 0, "mutant": 0}
    for _ in range(trials):
        sample = rng.normal(1.0, 0.5, size=(networks, 1))
        found = moments(sample)
        verdict = judge(found.mean - 1.0, found.covariance[:1, :1], networks, patterns=[[1.0]])
        information = float(verdict.information[0])
        [row] = power.power_table({("q", "values"): information}, 1)
        for which, share in (("right", row["relative"]), ("mutant", detectable(information, 1))):
            wrong = moments((1.0 + share) * sample)
            rows[which] += judge(wrong.mean - 1.0, wrong.covariance[:1, :1], networks).p_value < LEVEL
    error = np.sqrt(PROBABILITY * (1 - PROBABILITY) / trials)
    assert rows["right"] / trials == pytest.approx(PROBABILITY, abs=4 * error)
    assert rows["mutant"] / trials < PROBABILITY - 8 * error


def test_what_is_never_seen_has_no_share():
    """Errors of a quarter and more of the value grow as fast as it does."""
    [row] = power.power_table({("q", "values"): 10.0}, 1)
    assert row["relative"] == np.inf
    assert power.is_blind(row)


def test_coefficients_without_power_are_named():
    summary = analyze.judge(ensemble(WIDTHS, 1000, seed=62)).summary
    blind = {(row["of"], row["observable"]) for row in summary["power"] if row["of"] == "a1" and row["relative"] > 1}
    assert blind
    assert {f"{of} of {name}" for of, name in blind} <= set(summary["untested"])
    many = analyze.judge(ensemble((16, 24, 32, 64), 60_000, seed=63, laws=[{"depth": 1}])).summary
    assert "v1 of q" not in many["untested"]
    said = report.verdict({**summary, "p_value": 0.5})
    assert said["kind"] == "agree"
    assert (
        f"Not tested, since a deviation of its own size would not have been seen: {summary['untested'][0]}"
        in (said["sentence"])
    )


def test_few_degrees_of_freedom_are_a_weak_test():
    law = {"depth": 1, "inputs": 1, "input_kind": "single", "c0": np.nan}
    found = analyze.judge(ensemble(WIDTHS, 200, seed=64, laws=[law]))
    assert found.summary["weak_test"] == f"{found.summary['dof']} degrees of freedom"
    assert report.verdict(found.summary)["kind"] == "weak"
    assert "Weak test" in report.render(found)
    document = json.loads(json.dumps(analyze.plain(found.document), allow_nan=False))
    keys = {"observable", "of", "relative", "level", "probability"}
    assert all(keys <= row.keys() for row in document["summary"]["power"])


def test_no_power_is_a_weak_test():
    blind = {"observable": "q", "of": "values", "relative": 0.6}
    assert power.weakness([blind], 40) is not None
    assert power.weakness([blind, {"observable": "q", "of": "v1", "relative": 0.4}], 40) is None
    assert power.weakness([], 0) is None


@pytest.mark.parametrize(("networks", "variance"), [(120, 8.0), (1500, 100.0)])
def test_a_sample_without_a_tail_is_not_believed_to_have_none(networks, variance):
    """Two-valued samples have the largest support there is; a small sample of a heavy tail looks like one."""
    flat = np.where(np.random.default_rng(65).random((networks, 1)) < 0.2, 1.0, 0.0)
    found = moments(flat)
    assert found.variance_support[0] <= variance
    assert found.mean_support[0] <= networks / 3
