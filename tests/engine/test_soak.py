"""A short soak: the long one is ``make soak``."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from studies import study

import mcnet
from mcnet.dataset import seal, vetting
from mcnet.plan import format as plan_format
from tools import soak_drills, soak_faults, soak_flips

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the soak looks for processes in /proc")
def test_a_short_soak(tmp_path: Path) -> None:
    """One directory under kills, signals, full disks, clock jumps, flipped bits and lost pages; then compared."""
    folder = tmp_path / "soak"
    words = [sys.executable, "-m", "tools.soak", "0.1", str(folder), "--without-faults"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["wrong"] == []
    assert summary["done"]["runs"] == 1
    flipped = {name: count for name, count in summary["done"].items() if name.startswith("single flips")}
    assert sum(flipped.values()) == soak_flips.DATASET_FLIPS + soak_flips.PLAN_FLIPS
    assert not [name for name in flipped if name.endswith("silent")]
    assert summary["done"]["SIGKILL"] >= 1
    assert summary["done"]["flipped bits"] >= 40
    assert summary["done"]["lost-page states"] >= 5


def test_the_campaign_sees_what_a_checksum_would_have_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: seals that nobody compares, over plain bits of names and numbers."""
    run = mcnet.run(study(), tmp_path / "run", workers=1, quiet=True)
    rng = random.Random(2)
    assert soak_flips.campaign(run, rng, 20, 20) == {"dataset.h5: refused": 20, "plan.json: refused": 20}
    monkeypatch.setattr(plan_format, "_CHECKSUM", re.compile("(never)"))
    monkeypatch.setattr(plan_format, "SEALED_SINCE", 100)
    told = soak_flips.campaign(run, rng, 0, 60)
    assert told["plan.json: silent"] >= 3
    monkeypatch.setattr(seal, "is_right", lambda path: True)
    monkeypatch.setattr(vetting, "_structure", lambda *_: ("", ""))
    with h5py.File(run / "dataset.h5") as file:
        first = file["signal/layer"].id.get_offset()
    monkeypatch.setattr(rng, "randrange", lambda bits: 8 * first)  # a bit of a coordinate
    assert soak_flips.campaign(run, rng, 1, 0)["dataset.h5: silent"] == 1


def test_planted_faults_are_found(tmp_path: Path) -> None:
    """Two of the nine, of which one only lost entries of a directory show; ``make soak`` plants all of them."""
    drills = ["power", "living_files"]
    assert soak_faults.drilled(soak_faults.copied(tmp_path / "without", None), drills) == ""
    for what in ("no fsync of the directory", "files of living processes are removed"):
        fault = next(fault for fault in soak_faults.FAULTS if fault.what == what)
        found = soak_faults.drilled(soak_faults.copied(tmp_path / what, fault), [fault.drill])
        assert found.startswith(f"{fault.drill}: "), what


@pytest.mark.parametrize("fault", soak_faults.FAULTS, ids=lambda fault: fault.what)
def test_faults_can_be_planted(fault: soak_faults.Fault) -> None:
    """The text in which a fault is planted stands in its file."""
    assert fault.text in (ROOT / fault.file).read_text()
    assert fault.drill in soak_drills.DRILLS
