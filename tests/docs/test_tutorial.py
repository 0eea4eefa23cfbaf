"""The files of docs/tutorial.md as they stand there: scenarios that load, and code that runs on a small run of them."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import mcnet
from mcnet.scenario import load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
FILES = dict(re.findall(r'```\w+ title="([\w.]+)"\n(.*?)```', PAGE.read_text("utf-8"), re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_these_files() -> None:
    assert list(FILES) == ["gelu.toml", "critical.py", "figure.py", "data.py", "digits.toml"]


def test_theorist(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path("critical.py")
    q0 = float(capsys.readouterr().out.split()[-1])
    assert f"q0 = {q0:.8f} " in FILES["gelu.toml"]
    mcnet.run("gelu.toml", "data/runs/gelu", workers=1, quiet=True, overrides=["sampling.networks=400"])
    runpy.run_path("figure.py")
    assert (folder / "ntk.pdf").stat().st_size > 1000
    assert "a_1" in (folder / "ntk.tex").read_text("utf-8")


def test_experimentalist(folder: Path) -> None:
    runpy.run_path("data.py")
    with np.load("digits.npz") as data:
        assert data["images"].shape == (100, 64)
    assert load("digits.toml").title == "Largest eigenvalue of the Fisher information of a hundred digits"
    mcnet.run("digits.toml", "data/runs/digits", workers=1, quiet=True,
              overrides=["sampling.networks=8", "sweep.width=[32, 64]"])  # fmt: skip
    assert mcnet.plot.fisher_largest("data/runs/digits").axes[0].get_lines()
