"""Every byte of a dataset counts: what is not as it was written is refused by whoever opens it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from studies import study

import mcnet
from mcnet.commands.cli import main
from mcnet.dataset import seal, vetting
from mcnet.errors import DataError, Stopped

STUDY = study(networks=40)
STUDY["network"]["activation"] = {"name": "leaky-relu", "slope": 0.1}
STUDY["measure"]["jacobian"] = {"keep": "histogram", "moments": 2, "bins": 8, "range": [0.01, 10.0]}
STUDY["sampling"]["sampler"] = "explicit"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = mcnet.run(STUDY, tmp_path_factory.mktemp("seal") / "run", workers=1, quiet=True)
    assert CliRunner().invoke(main, ["prune", str(run), "--quiet"]).exit_code == 0
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of a run that was pruned: the dataset is its only record."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def tried(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert "internal error" not in done.stderr
    return done.exit_code, done.stderr + done.stdout


def flip(path: Path, place: int) -> None:
    with open(path, "r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, place // 8)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 1 << place % 8]), place // 8)


def test_flipped_bits_anywhere(run: Path) -> None:
    path = run / "dataset.h5"
    vetting.require_readable(path)
    size = path.stat().st_size
    rng = np.random.default_rng(1)
    places = [*rng.integers(0, 8 * (size - seal.LENGTH), 300), *range(8 * (size - 65), 8 * size, 5)]
    for place in map(int, places):
        flip(path, place)
        assert seal.is_right(path) is False, place
        with pytest.raises(DataError, match="its checksum differs"):
            vetting.require_readable(path, afresh=True)
        flip(path, place)
    for place in (8 * (size - seal.LENGTH), 8 * (size - 66) + 3):  # where the seal says that it is one
        flip(path, place)
        with pytest.raises(DataError, match="it has no checksum"):
            vetting.require_readable(path, afresh=True)
        flip(path, place)
    vetting.require_readable(path, afresh=True)


def slope(file: h5py.File) -> None:
    told = file.attrs["activations_json"].replace("0.1", "0.5")
    assert told != file.attrs["activations_json"]
    file.attrs["activations_json"] = told


def numbers(file: h5py.File) -> None:
    file["signal/q"][...] = np.nan


def edges(file: h5py.File) -> None:
    file["jacobian/bin_edge"][3] *= 1.5


def order(file: h5py.File) -> None:
    file["jacobian/order"][...] = file["jacobian/order"][...][::-1]


def definition(file: h5py.File) -> None:
    file["signal/q"].attrs["definition"] = "something else"


CHANGES = (slope, numbers, edges, order, definition)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_was_changed_is_refused_by_all(run: Path, tmp_path: Path, change: Callable[[h5py.File], None]) -> None:
    path = run / "dataset.h5"
    with h5py.File(path, "r+") as file:
        change(file)
    for words in (
        ("analyze", run, "--quiet"),
        ("report", run, "--quiet"),
        ("inspect", run),
        ("verify", run),
        ("pack", run),
        ("rerun", path, "--out", tmp_path / "again", "--quiet"),
        ("export", path, "--zarr", tmp_path / "x.zarr"),
    ):
        code, told = tried(*words)
        assert (code, "it has no checksum" in told) == (65, True), (words, told)
    with pytest.raises(DataError, match="it has no checksum"):
        mcnet.open(path)
    assert not (run / "analysis.json").exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run"]


def test_a_bit_of_an_attribute_that_analysis_reads(run: Path) -> None:
    """0.1 that reads 0.5: one bit, in the text of an attribute."""
    path = run / "dataset.h5"
    raw = path.read_bytes()
    place = raw.index(b'"slope": 0.1') + len('"slope": 0.')
    flip(path, 8 * place + 2)
    assert path.read_bytes()[place : place + 1] == b"5"
    for words in (("analyze", run), ("report", run), ("verify", run)):
        code, told = tried(*words)
        assert (code, "its checksum differs" in told) == (65, True), told


def test_a_sealed_file_is_what_readers_of_hdf5_know(run: Path) -> None:
    path = run / "dataset.h5"
    assert seal.is_right(path) is True
    with h5py.File(path) as file:
        assert file["signal/q"].shape[1] == 40
    os.truncate(path, path.stat().st_size - seal.LENGTH)
    assert seal.is_right(path) is None
    with h5py.File(path) as file:
        assert file["signal/q"].shape[1] == 40
    for size in (0, 10, seal.LENGTH):
        os.truncate(path, size)
        assert seal.is_right(path) is None


def dying(number: int) -> str:
    return f"import os; os.kill(os.getpid(), {number})"


def test_a_killed_child_says_nothing_of_the_file(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = vetting._LOOK
    for number in (signal.SIGKILL, signal.SIGTERM):
        monkeypatch.setattr(vetting, "_LOOK", dying(number))
        with pytest.raises(Stopped, match=f"was not read: .* was killed by signal {int(number)}") as caught:
            vetting.require_readable(run / "dataset.h5", afresh=True)
        assert caught.value.exit_code == 75
        assert "damaged" not in str(caught.value)
    monkeypatch.setattr(vetting, "_LOOK", look)
    vetting.require_readable(run / "dataset.h5")  # nothing was remembered
    monkeypatch.setattr(vetting, "_LOOK", dying(signal.SIGSEGV))
    vetting._structure.cache_clear()
    with pytest.raises(DataError, match=r"is damaged: HDF5 cannot read it \(it ended with signal 11\)"):
        vetting.require_readable(run / "dataset.h5", afresh=True)
    vetting._structure.cache_clear()


def test_a_file_without_end_is_the_fault_of_the_file(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on the time of the child ends it by a signal of its own, not by one that may be anybody's."""
    code = "from mcnet.dataset import checks, vetting\nimport sys\nvetting.CPU_SECONDS = 1\n"
    code += "def endless(*_):\n    while True: pass\nchecks.require_version = endless\nvetting.look(*sys.argv[1:])"
    monkeypatch.setattr(vetting, "_LOOK", code)
    vetting._structure.cache_clear()
    with pytest.raises(DataError, match=f"ended with signal {int(signal.SIGXCPU)}"):
        vetting.require_readable(run / "dataset.h5", afresh=True)
    vetting._structure.cache_clear()


def test_numbers_of_two_runs_are_one_whatever_their_seals(finished: Path, tmp_path: Path) -> None:
    """The seal is of a file; the content digest, of what was measured, stays what it was."""
    again = mcnet.run(STUDY, tmp_path / "again", workers=1, quiet=True)
    digests, seals = set(), set()
    for run in (finished, again):
        with mcnet.open(run) as tree:
            digests.add(tree.attrs["content_digest"])
        seals.add((run / "dataset.h5").read_bytes()[-seal.LENGTH :])
    assert (len(digests), len(seals)) == (1, 2)
    note = json.loads((finished / "pruned.json").read_text())
    assert digests == {note["content_digest"]}
