"""Signals at the wrong moment: before a run has its own handlers, while libraries are imported, in an export."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from studies import study

import mcnet
from mcnet import files
from mcnet.scenario.loading import load

SLOW = "import pathlib, time; pathlib.Path('here').touch(); time.sleep(60)\n"
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


def wait_for(path: Path) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def stopped(words: list[str], place: Path, number: signal.Signals, path: str = "") -> str:
    """What a command says that gets a signal once ``here`` is there; it must end with code 75."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (path, *sys.path)))}
    command = [sys.executable, "-P", "-m", "mcnet", *words]
    process = subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(place / "here")
    process.send_signal(number)
    _, told = process.communicate()
    assert process.returncode == 75, told
    assert "Traceback" not in told
    return told


@pytest.mark.parametrize("number", SIGNALS)
def test_while_libraries_are_imported(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "click.py").write_text(SLOW)  # in the place of the library
    assert stopped(["doctor"], tmp_path, number, str(tmp_path / "slow")).endswith("stopped\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_before_a_run_has_its_handlers(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "study.toml").write_text(load(study()).text)
    (tmp_path / "plug.py").write_text(SLOW)
    told = stopped(["run", "study.toml", "--out", "run", "--plugin", "plug"], tmp_path, number)
    assert told.endswith("stopped\n")
    assert not (tmp_path / "run").exists()


def test_an_export_that_is_stopped_or_killed(tmp_path: Path) -> None:
    """A signal removes what was begun; what a kill leaves, the next export removes."""
    mcnet.run(study(), tmp_path / "run", workers=1, quiet=True)
    (tmp_path / "plug").mkdir()
    (tmp_path / "plug" / "sitecustomize.py").write_text(
        "import sys, threading, time, pathlib\n"
        "def slow():\n"
        "    while not hasattr(module := sys.modules.get('mcnet.dataset.zarr'), '_blocks'):\n"
        "        time.sleep(0.001)\n"
        "    def blocks(data):\n"
        "        pathlib.Path('here').touch()\n"
        "        time.sleep(60)\n"
        "    module._blocks = blocks\n"
        "if 'export' in sys.orig_argv: threading.Thread(target=slow, daemon=True).start()\n"
    )
    words = ["export", "run", "--zarr", "x.zarr"]
    stopped(words, tmp_path, signal.SIGTERM, str(tmp_path / "plug"))
    assert not list(tmp_path.glob(".mcnet-*")) + list(tmp_path.glob("*.zarr"))
    (tmp_path / "here").unlink()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "plug"), *sys.path])}
    command = [sys.executable, "-P", "-m", "mcnet", *words]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment)
    wait_for(tmp_path / "here")
    process.kill()
    process.wait()
    assert len(list(tmp_path.glob(".mcnet-*.tmp"))) == 1
    subprocess.run([sys.executable, "-m", "mcnet", *words, "--quiet"], cwd=tmp_path, check=True)
    assert not list(tmp_path.glob(".mcnet-*"))
    assert (tmp_path / "x.zarr" / ".zmetadata").exists()
    assert files.remove_stale(tmp_path) == 0
