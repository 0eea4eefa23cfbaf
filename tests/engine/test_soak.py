"""A short soak: the long one is ``make soak``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the soak looks for processes in /proc")
def test_a_short_soak(tmp_path: Path) -> None:
    """One directory under kills, signals, full disks, clock jumps, flipped bits and lost pages; then compared."""
    folder = tmp_path / "soak"
    words = [sys.executable, "-m", "tools.soak", "0.1", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["wrong"] == []
    assert summary["done"]["runs"] == 1
    assert summary["done"]["SIGKILL"] >= 1
    assert summary["done"]["flipped bits"] >= 40
    assert summary["done"]["lost-page states"] >= 5
