"""Errors foreseen by ``check``: those that the analysis then finds."""

from __future__ import annotations

import numpy as np
import pytest
from mcnet_analysis import analyze

import mcnet
from mcnet.commands import check

STUDY = {
    "mcnet": 1,
    "network": {"activation": "tanh", "weights": "gaussian", "depth": 3, "sigma_b2": 0.05, "outputs": 1},
    "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5},
    "sweep": {"width": [32, 64, 128], "sigma_w2": [1.0, 2.0]},
    "sampling": {"networks": 2000, "seed": 7},
    "measure": {"q": {}, "c": {}, "q_tilde": {}, "ntk": {}},
}


def _foreseen(study: dict) -> dict:
    rows = check.check(study, (), (), disk=False)["forecast"]
    return {(row["observable"], row["point"].get("sigma_w2")): row for row in rows if row["observable"] != "ntk"}


def test_the_errors_of_coefficients_are_those_of_the_fits():
    foreseen = _foreseen(STUDY)
    assert {name for name, _ in foreseen} == {"q", "c", "q_tilde"}
    ratios = {"a1": [], "v1": []}
    for judged in analyze.judge(mcnet.sample(STUDY)).families:
        law = judged.family.first.law
        for row in judged.comparisons:
            first = row.get("input", 0) == 0 and row["layer"] == 3
            key = (row["observable"], law["sigma_w2"])
            if first and key in foreseen and row["statistic"] in ratios:
                known = foreseen[key]
                assert row["predicted"] == pytest.approx(known[row["statistic"]], rel=1e-9)
                ratios[row["statistic"]].append(known[f"{row['statistic']}_error"] / row["error"])
    assert len(ratios["a1"]) == len(ratios["v1"]) == 6
    # the error of a mean of 2000 is known to 2 %, of a variance to about 5 %; a shape that is not normal adds to it
    assert np.abs(np.log(ratios["a1"])).max() < 0.08
    assert np.abs(np.log(ratios["v1"])).max() < 0.4
    assert not np.abs(np.log(1.4 * np.array(ratios["a1"]))).max() < 0.08  # twice the networks would be seen


def test_more_networks_halve_the_error_and_one_width_has_no_forecast():
    few = _foreseen(STUDY)["c", 2.0]
    many = _foreseen({**STUDY, "sampling": {"networks": 8000, "seed": 7}})["c", 2.0]
    assert many["a1_error"] < 0.6 * few["a1_error"]
    assert _foreseen({**STUDY, "sweep": {"width": [32], "sigma_w2": [1.0, 2.0]}}) == {}
    uniform = {"activation": "tanh", "weights": "uniform", "depth": 3, "sigma_b2": 0.05}
    assert _foreseen({**STUDY, "network": uniform, "measure": {"q": {}}}) == {}


def test_check_tells_what_will_be_seen():
    said = check.text(check.check("quickstart", (), (), disk=False))
    first, head, *families = said.splitlines()
    assert first.endswith("OK")
    assert "expected coefficients of 1/M at the last layer" in head
    assert len(families) == 3
    assert all("c(0,1) a1" in line and "±" in line and "sigma_w2 = " in line for line in families)
    assert "c(0,1) a1 1.8 ± 0.8, v1" in families[2]
    assert "c(0,1) a1 -0.0017 ± 0.04*, v1" in families[0]
