"""Exit codes where the system refuses: 74 and the place, never "a fault of mcnet", and nothing is taken for damaged."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from studies import study

import mcnet
from mcnet.commands.cli import main

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2
COMMANDS = """
import json, sys
from click.testing import CliRunner
from mcnet.commands.cli import main
told = []
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, words)
    told.append([done.exit_code, done.stderr])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mcnet.run(study(), tmp_path_factory.mktemp("codes") / "run", workers=1, quiet=True)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def as_anybody() -> None:
    """Modes of files hold for this process and its children, were it root's."""
    if os.getuid() == 0:
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def commands(*given: tuple[str | Path, ...]) -> list[tuple[int, str]]:
    """Exit codes and errors of some commands, one after the other."""
    words = json.dumps([list(map(str, each)) for each in given])
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, words], capture_output=True, text=True, preexec_fn=as_anybody
    )
    assert done.returncode == 0, done.stderr
    return [(code, told) for code, told in json.loads(done.stdout)]


@pytest.mark.parametrize("place", ["shards", "a shard", "rounds", ".", "..", "plan.json"])
def test_what_cannot_be_read(run: Path, place: str) -> None:
    (run / "rounds").mkdir()
    path = min((run / "shards").iterdir()) if place == "a shard" else run / place
    mode = path.stat().st_mode
    before = sorted(entry.name for entry in run.rglob("*"))
    path.chmod(0)
    words = [("status", run), ("verify", run), ("pack", run), ("resume", run, "--workers", "1", "--quiet")]
    told = commands(*words)
    path.chmod(mode)
    for (code, error), command in zip(told, words, strict=True):
        if place == "rounds" and command[0] != "status":
            continue  # without a target nobody else reads it
        if place == "a shard" and command[0] == "status":
            assert (code, error) == (0, "")  # the ledger knows its length and time: status opens no shard
            continue
        assert (code, str(run) in error, "Permission denied" in error) == (74, True, True), (command, error)
        assert "internal error" not in error
    assert sorted(entry.name for entry in run.rglob("*")) == before  # nothing was set aside


def test_results_where_nothing_may_be_written(run: Path, tmp_path: Path) -> None:
    dataset = run / "dataset.h5"
    out, folder, inner = tmp_path / "told.json", tmp_path / "results", tmp_path / "results" / "page.html"
    run.chmod(0o555)
    told = commands(
        ("analyze", run, "--quiet"),
        ("report", run, "--quiet"),
        ("analyze", run, "--quiet", "--out", out),
        ("analyze", run, "--quiet", "--csv", "--out", folder),
        ("report", run, "--quiet", "--figures", "svg", "--out", inner),
    )
    run.chmod(0o755)
    for code, error in told[:2]:
        assert (code, "cannot be written: Permission denied. For another place: --out PATH." in error) == (74, True)
    assert told[2:] == [(0, "")] * 3
    assert json.loads(out.read_text()) == json.loads((folder / "analysis.json").read_text())
    assert inner.stat().st_size > 1000
    assert (folder / "comparisons.csv").exists()
    assert len(list((folder / "figures").glob("*.svg"))) >= 1
    assert not list(run.glob("*.json.tmp")) + list(run.glob("report.html"))
    dataset.chmod(0)
    for code, error in commands(("analyze", run), ("inspect", run), ("export", run, "--zarr", tmp_path / "x.zarr")):
        assert (code, "dataset.h5: cannot be read: Permission denied" in error) == (74, True), error


def test_results_on_a_full_disk(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on file sizes refuses in the middle of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for words in (("analyze", str(run), "--quiet"), ("report", str(run), "--quiet")):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
            done = CliRunner().invoke(main, words)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (done.exit_code, "cannot be written: File too large" in done.stderr) == (74, True), done.stderr
    assert not [path for path in run.iterdir() if path.name.startswith(".") or path.suffix in (".html",)]
    assert not (run / "analysis.json").exists()


def test_names_that_are_too_long(run: Path) -> None:
    long = str(run.parent / ("x" * 300))
    for words in (
        ("run", str(run / "scenario.toml"), "--out", long, "--workers", "1"),
        ("status", long),
        ("analyze", long),
        ("analyze", str(run), "--quiet", "--out", long + ".json"),
        ("merge", str(run), "--out", long),
    ):
        done = CliRunner().invoke(main, words)
        assert (done.exit_code, "File name too long" in done.stderr) == (74, True), (words, done.stderr)
        assert "internal error" not in done.stderr
