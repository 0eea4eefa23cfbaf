"""The files of docs/extending.md as they stand there: one file each, through run, analyze and report."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcnet_analysis.analyze import judge

import mcnet
from mcnet.observables import catalog
from mcnet.predictions import registry

ROOT = Path(__file__).resolve().parents[1]
FILES = dict(
    re.findall(r'```python title="(\w+\.py)"\n(.*?)```', (ROOT / "docs" / "extending.md").read_text("utf-8"), re.DOTALL)
)

STUDY = """
mcnet = 1
[network]
architecture = "{architecture}"
activation = "{activation}"
weights = "{weights}"
depth = 3
sigma_w2 = 1.5
sigma_b2 = 0.1
outputs = 1
[inputs]
kind = "pair"
q0 = 1.0
c0 = 0.5
[sweep]
width = [32, 64, 128]
[sampling]
networks = {networks}
seed = 3
[measure]
{measures}
"""
EXAMPLES: dict[str, dict[str, Any]] = {
    "gated.py": {  # uniform weights have no 1/M theory, which takes its time where there are gates
        "architecture": "gated",
        "weights": "uniform",
        "networks": 40,
        "measures": "q = {}\nc = {}\nq_tilde = {}\nntk = {}\nfim = {}",
    },
    "active.py": {"measures": "active = {}", "networks": 6000},
    "rootphi.py": {"activation": "square-root", "measures": "q = {}\nc = {}", "networks": 1000},
}


def command(folder: Path, *words: str) -> str:
    state = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "mcnet", *words], cwd=folder, env=state, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def analysis(folder: Path, file: str, text: str) -> dict[str, Any]:
    usual = {"architecture": "dense", "activation": "tanh", "weights": "gaussian"}
    (folder / file).write_text(text)
    (folder / "study.toml").write_text(STUDY.format(**{**usual, **EXAMPLES[file]}))
    command(folder, "run", "study.toml", "--plugin", file.removesuffix(".py"), "--out", "run", "--quiet")
    command(folder, "analyze", "run", "--quiet")
    return dict(json.loads((folder / "run" / "analysis.json").read_text()))


def test_the_page_has_the_three_examples() -> None:
    assert set(FILES) == set(EXAMPLES)


@pytest.mark.parametrize("file", EXAMPLES)
def test_an_example_is_one_file_from_the_scenario_to_the_report(tmp_path: Path, file: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in (ROOT / "mcnet").rglob("*.py")}
    document = analysis(tmp_path, file, FILES[file])
    command(tmp_path, "report", "run", "--quiet")
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert written == {file, "study.toml"}  # one file beside the scenario, and none of mcnet
    assert {path: path.stat().st_mtime_ns for path in (ROOT / "mcnet").rglob("*.py")} == before
    held = json.loads(command(tmp_path, "inspect", "run", "--json"))
    assert held["rows"]
    if file != "gated.py":  # of gates theory may know the limits alone
        assert document["summary"]["comparisons"] > 5
    if document["summary"]["p_value"] is not None:
        assert document["summary"]["p_value"] > 1e-3


@pytest.fixture(scope="module")
def active() -> Iterator[Any]:
    """Networks of the second example, sampled once; what it registers is forgotten."""
    observed, predicted = dict(catalog.OBSERVABLES), {name: list(found) for name, found in registry._TABLE.items()}
    exec(FILES["active.py"], {"__name__": "active"})
    usual = {"architecture": "dense", "activation": "tanh", "weights": "gaussian"}
    yield mcnet.sample(tomllib.loads(STUDY.format(**usual, **EXAMPLES["active.py"])))
    for table, before in ((catalog.OBSERVABLES, observed), (registry._TABLE, predicted)):
        table.clear()
        table.update(before)


MUTANTS = {
    "threshold": ("z = THRESHOLD / np.sqrt(s)", "z = 1.03 * THRESHOLD / np.sqrt(s)"),
    "spread": ("p * (1 - p) +", "1.2 * p * (1 - p) +"),
}


@pytest.mark.parametrize("mutant", [None, *MUTANTS])
def test_a_wrong_prediction_of_active_units_is_seen(active: Any, mutant: str | None) -> None:
    """A threshold 3 % off (1.5 % of the fraction; errors 0.1 %), a variance 20 % off (errors 2 %)."""
    text = FILES["active.py"]
    if mutant is not None:
        right, wrong = MUTANTS[mutant]
        assert right in text
        text = text.replace(right, wrong)
    exec(text, {"__name__": "active"})
    p_value = judge(active).verdict.p_value
    assert p_value > 1e-3 if mutant is None else p_value < 1e-6
