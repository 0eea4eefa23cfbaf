"""Reports and figures: whole, self-contained, and saying what was found; and a run of the engine from end to end."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from mcnet_analysis import analyze, report
from mcnet_analysis.draw.all import drawings
from mcnet_analysis.draw.map import critical_line, order_chaos
from mcnet_analysis.draw.style import svg

import mcnet
from mcnet import activations
from tests.analysis_datasets import ensemble

TINY = {
    "mcnet": 1,
    "title": "Tiny <script>alert(1)</script>",
    "network": {"activation": "tanh", "weights": "gaussian", "depth": 3, "sigma_b2": 0.05},
    "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5},
    "sweep": {"width": [32, 64, 128], "sigma_w2": [1.0, 2.5]},
    "sampling": {"networks": 600, "seed": 5},
    "measure": {"q": {}, "c": {}, "q_tilde": {}, "chi": {}},
    "analyze": {"fit": [{"observable": "q", "layer": 3, "model": "a0 + a1/M"}]},
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A run by the engine, through the real writer."""
    path = tmp_path_factory.mktemp("run") / "tiny"
    mcnet.run(TINY, path, quiet=True)
    return path


@pytest.fixture(scope="module")
def page(directory):
    return report.write(directory).read_text(encoding="utf-8")


def test_a_run_of_the_engine_agrees_with_theory(directory):
    document = analyze.analyze(directory)
    assert document == json.loads((directory / "analysis.json").read_text())
    assert document["summary"]["dof"] > 20
    assert document["summary"]["p_value"] > 1e-4
    assert document["summary"]["max_abs_z"] < 5
    assert {row["observable"] for row in document["comparisons"]} == {"q", "q_hat", "c", "q_tilde", "chi"}
    assert not list(directory.glob(".*.tmp"))
    asked = [fit for fit in document["fits"] if "model" in fit]
    assert len(asked) == 4


def test_the_page_needs_nothing_from_outside(page):
    assert page.startswith("<!DOCTYPE html>")
    # Only names of XML namespaces may look like addresses.
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", page))
    assert all(
        address.startswith(("http://www.w3.org/", "http://purl.org/", "http://creativecommons.org/"))
        for address in addresses
    )
    assert not re.search(r"<(script|link|img|iframe)\b", page)
    assert "@import" not in page


def test_the_page_says_what_was_found(page):
    assert "Tiny &lt;script&gt;" in page
    for text in (
        "degrees of freedom",
        "Largest deviations",
        "Provenance",
        "Scenario",
        "sigma_w2",
        "Fits of the scenario",
    ):
        assert text in page
    assert page.count("<svg") == page.count("<figcaption>") >= 5


def test_figures_are_well_formed_reproducible_and_keep_their_ids_apart(directory):
    families = analyze.judge_directory(directory).families
    first, second = ([svg(d.figure, f"figure {i}") for i, d in enumerate(drawings(families[:1]))] for _ in range(2))
    assert first == second
    clips = []
    for text in first:
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg")
        clips.append({e.attrib["id"] for e in root.iter() if e.tag.endswith("clipPath")})
    assert all(a.isdisjoint(b) for i, a in enumerate(clips) for b in clips[:i])


@pytest.mark.parametrize("biases", [(0.05,), (0.0, 0.05, 0.1, 0.2)], ids=["curves", "plane"])
def test_a_sweep_of_the_variances_gives_a_map(biases):
    laws = [{"sigma_w2": s, "sigma_b2": b, "depth": 2} for b in biases for s in (0.5, 1.0, 1.5, 2.0, 2.5)]
    maps = order_chaos(analyze.judge(ensemble((16,), 20, seed=51, laws=laws)).families)
    assert len(maps) == 1
    assert "critical" in maps[0].caption
    labels = [axis.get_ylabel() for axis in maps[0].figure.axes]
    assert any("sigma_b^2" in label for label in labels) == (len(biases) > 1)


def test_critical_line_of_tanh_and_where_there_is_none():
    line = critical_line(activations.get("tanh"), np.array([0.0, 0.05]))
    assert line == pytest.approx([1.0, 1.7609546], rel=1e-6)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "agree"),
        ({"p_value": 1e-3}, "doubtful"),
        ({"p_value": 1e-9}, "disagree"),
        ({"outliers": 2}, "doubtful"),
        ({"dof": 0, "p_value": float("nan")}, "open"),
        ({"weak_test": "2 degrees of freedom"}, "weak"),
        ({"weak_test": "2 degrees of freedom", "p_value": 1e-9}, "disagree"),
    ],
)
def test_verdict_in_a_sentence(change, kind):
    summary = {"chi2": 90.0, "dof": 100, "p_value": 0.75, "groups": 2, "outliers": 0, **change}
    said = report.verdict(summary)
    assert said["kind"] == kind
    assert said["sentence"].endswith(".")


def test_a_dataset_without_theory_still_has_a_report():
    page = report.render(analyze.judge(ensemble((16,), 3, seed=52, laws=[{"weights": "uniform"}])))
    assert "No verdict" in page
    assert "no 1/M theory for uniform weights" in page
