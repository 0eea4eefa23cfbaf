"""Directories of runs as an attacker would hand them on: no code of theirs runs, nothing outside is touched."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import study

import mcnet
from mcnet import files
from mcnet.commands.cli import main
from mcnet.dataset import packing
from mcnet.errors import DataError
from mcnet.plan.format import sealed
from mcnet.storage import directory
from mcnet.storage import shard as shards
from mcnet.variables import Measured, Variable
from tools import fuzz, fuzz_targets

COMMANDS = (
    ("status",),
    ("resume", "--workers", "1", "--quiet"),
    ("verify",),
    ("pack", "--quiet"),
    ("prune", "--quiet"),
    ("analyze", "--quiet"),
    ("report", "--quiet"),
)
READERS = ("analyze", "report")
"""They need the dataset alone."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mcnet.run(study(), tmp_path_factory.mktemp("runs") / "run", workers=1, quiet=True)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, beside a folder that must stay as it is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.txt").write_text("precious")
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def outside(run: Path) -> Path:
    return run.parent / "outside"


def tried(run: Path, *words: str) -> tuple[int, str]:
    """Exit code of a command and what it said on stderr: sentences that can be printed."""
    done = CliRunner().invoke(main, [words[0], str(run), *words[1:]])
    assert all(line.isprintable() and len(line) < 1000 for line in done.stderr.splitlines()), done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    return done.exit_code, done.stderr


def untouched(outside: Path) -> bool:
    return {path.name: path.read_text() for path in outside.iterdir()} == {"precious.txt": "precious"}


@pytest.mark.parametrize("name", ["plan.json", "shards", "rounds"])
def test_links_in_the_place_of_what_decides(run: Path, outside: Path, name: str) -> None:
    if (run / name).exists():
        shutil.move(run / name, run.parent / "moved")
    os.symlink(run.parent / "moved" if name != "rounds" else outside, run / name)
    for words in COMMANDS:
        code, told = tried(run, *words)
        assert code == (0 if words[0] in READERS else 65), words
        assert "is a link" in told or words[0] in READERS
    assert untouched(outside)


def predictable(folder: Path) -> list[Path]:
    """Names that somebody may know before they are used: what is written, and temporary names of this process."""
    host, pid = os.uname().nodename, os.getpid()
    published = ("plan.json", "scenario.toml", "dataset.h5", "analysis.json", "report.html", "pruned.json", "0001.json")
    names = [f".{name}{owner}.{pid}.tmp" for name in published for owner in ("", f".{host}")]
    return [folder / name for name in names]


def test_links_of_predictable_names(run: Path, outside: Path, tmp_path: Path) -> None:
    """Each command that writes, where links to a file and to nothing stand under every name that can be known."""
    targets = [outside / "precious.txt", outside / "new.txt"]
    for folder in (run, run / "shards"):
        for number, path in enumerate(predictable(folder)):
            path.symlink_to(targets[number % 2])
    (run / "figures").mkdir()
    results = (
        "analysis.json",
        "report.html",
        "log.jsonl",
        "shards.txt",
        "comparisons.csv",
        "fits.tex",
        "figures/01-scores.svg",
    )
    for number, name in enumerate(results):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(targets[number % 2])
    for name in (".out.zarr", ".merged"):
        (tmp_path / f"{name}.{os.getpid()}.tmp").symlink_to(outside)
    merged = tmp_path / "merged"
    merged.mkdir()
    for number, name in enumerate(("plan.json", "scenario.toml")):
        (merged / name).symlink_to(targets[number])
    code, told = tried(run, "merge", "--out", str(merged))
    assert (code, "is a link" in told) == (65, True)
    for name in ("plan.json", "scenario.toml"):
        (merged / name).unlink()
    for words in (
        ("run", "--out", str(run), "--workers", "1", "--quiet"),
        ("analyze", "--csv", "--latex", "--quiet"),
        ("report", "--figures", "svg", "--quiet"),
        ("export", "--zarr", str(tmp_path / "out.zarr"), "--quiet"),
        ("merge", "--out", str(merged), "--quiet"),
        ("pack", "--quiet"),
        ("verify",),
        ("prune", "--quiet"),
    ):
        place = run / "scenario.toml" if words[0] == "run" else run
        code, told = tried(place, *words)
        assert code == 0, (words, told)
        assert untouched(outside), words
    for name in ("analysis.json", "report.html", "comparisons.csv"):
        assert (run / name).stat().st_size > 100
        assert not (run / name).is_symlink()


def test_figures_are_not_written_through_a_link(run: Path, outside: Path) -> None:
    (run / "figures").symlink_to(outside)
    code, told = tried(run, "report", "--figures", "svg", "--quiet")
    assert (code, "figures: is a link" in told) == (65, True)
    assert untouched(outside)


@pytest.mark.parametrize("name", ["shards", "rounds"])
def test_a_folder_that_is_a_link_is_not_written_to(run: Path, outside: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "new").mkdir()
    for place in (run, tmp_path / "new"):
        if (place / name).exists():
            shutil.move(place / name, tmp_path / "moved")
        (place / name).symlink_to(outside)
    assert tried(run / "scenario.toml", "run", "--out", str(run), "--workers", "1", "--quiet")[0] == 65
    assert tried(tmp_path / "new", "pack")[0] == 65
    shutil.rmtree(tmp_path / "moved", ignore_errors=True)
    if name == "shards":
        code, told = tried(run / "scenario.toml", "run", "--out", str(tmp_path / "new"), "--workers", "1", "--quiet")
        assert (code, "is a link" in told) == (65, True)
    assert untouched(outside)


def test_links_are_not_followed(run: Path, outside: Path) -> None:
    shard = min((run / "shards").glob("*.h5"))
    for path in (
        shard,
        run / "log.jsonl",
        run / "shards.txt",
        run / "scenario.toml",
        run / "dataset.h5",
        *predictable(run),
    ):
        path.unlink(missing_ok=True)
        os.symlink(outside / "precious.txt", path)
    assert tried(run, "resume", "--workers", "1", "--quiet")[0] == 0
    for path in (shard, run / "dataset.h5"):  # made again, as files
        assert path.is_file()
        assert not path.is_symlink()
    assert untouched(outside)


def test_a_grown_run_writes_through_no_link(run: Path, outside: Path) -> None:
    for name in ("log.jsonl", "shards.txt", "dataset.h5"):
        (run / name).unlink()
        os.symlink(outside / f"new-{name}", run / name)
    mcnet.run(study(networks=56), run, workers=1, quiet=True)
    assert untouched(outside)
    assert not (run / "dataset.h5").is_symlink()


@pytest.mark.parametrize(
    "names", [["plan.json"], ["log.jsonl", "shards.txt", "dataset.h5", "a shard"]], ids=["plan", "others"]
)
def test_pipes_are_not_waited_for(run: Path, names: list[str]) -> None:
    for name in names:
        path = min((run / "shards").glob("*.h5")) if name == "a shard" else run / name
        path.unlink()
        os.mkfifo(path)
    watch = threading.Timer(120.0, os._exit, (3,))  # or the test would hang
    watch.start()
    for words in COMMANDS[:2]:
        assert tried(run, *words)[0] in (0, 65)
    watch.cancel()


def test_code_of_others_is_not_run(run: Path, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan names a plug-in, and the module lies in the directory that one works in."""
    monkeypatch.chdir(run.parent)
    (run.parent / "evil.py").write_text("import pathlib; pathlib.Path('owned').touch()")
    document = json.loads((run / "plan.json").read_text())
    for names in (["evil"], ["os.path", "evil"], ["../evil"], ["evil; import os"], ["outside/x"]):
        (run / "plan.json").write_text(sealed(json.dumps({**document, "plugins": names})))
        for words in COMMANDS[:-2]:  # the others read the dataset alone
            code, told = tried(run, *words)
            assert code in (64, 65) or words[0] == "status"
        assert "evil" in told or "module name" in told or "have not named" in told
    assert not (run.parent / "owned").exists()


def changed(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((run / "plan.json").read_text())
    change(document)
    (run / "plan.json").write_text(sealed(json.dumps(document)))


PLANS: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("networks", lambda plan: plan["points"][0].update(stops=[2**32 - 1], batch=1)),
    ("shards", lambda plan: plan["points"][0].update(stops=list(range(1, 20_000)))),
    ("stops that go back", lambda plan: plan["points"][0].update(stops=[40, 20])),
    ("a batch of nothing", lambda plan: plan["points"][0].update(batch=0)),
    ("a key with a path", lambda plan: plan["points"][0].update(key="../../outside/x")),
    ("a width", lambda plan: plan["points"][0]["parameters"].update(width=10**30)),
    ("a depth", lambda plan: plan["points"][0]["parameters"].update(depth=10**9)),
    ("a variance", lambda plan: plan["points"][0]["parameters"].update(sigma_w2=float("nan"))),
    ("an activation", lambda plan: plan["points"][0]["parameters"].update(activation="os.system")),
    ("a title", lambda plan: plan.update(title="\x1b[2J")),
    ("a digest", lambda plan: plan.update(digest="../" * 20 + "xxxx")),
    ("no points", lambda plan: plan.update(points=[])),
    ("points that are none", lambda plan: plan.update(points=[None, 3, "x"])),
    ("identity", lambda plan: plan.update(identity={"a": [[[[]]]]})),
    ("a target", lambda plan: plan.update(target={"observable": "q"})),
    ("a version", lambda plan: plan.update(format_version=10**30)),
]


@pytest.mark.parametrize("change", [case[1] for case in PLANS], ids=[case[0] for case in PLANS])
def test_plans(run: Path, outside: Path, change: Callable[[dict[str, Any]], None]) -> None:
    changed(run, change)
    before = sorted(path.name for path in run.rglob("*"))
    began = time.process_time()
    for words in COMMANDS[1:3]:
        code, told = tried(run, *words)
        assert code == 65, told
        assert "plan.json" in told or str(run) in told
    assert time.process_time() - began < 5
    assert sorted(path.name for path in run.rglob("*")) == before
    assert untouched(outside)


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "{}", "null", '{"format": "mcnet-plan"}', "\x00", "1" * 6000, '"' + "x" * 10**6]
)
def test_plans_that_are_none(run: Path, text: str) -> None:
    (run / "plan.json").write_text(text)
    for words in COMMANDS:
        code, told = tried(run, *words)
        assert code == (0 if words[0] in READERS else 65), told


def put_shard(run: Path, content: memoryview, **quality: Any) -> Path:
    """A sealed shard, its checksums right, in the place of the first of a run."""
    path = min((run / "shards").glob("*.h5"))
    header = shards.read_header(path)
    _, record = shards.seal(content, header.point, header.start, header.stop, header.plan, quality)
    files.commit(path.parent, path.name, [content, record])
    return path


def shard_with(change: Callable[[h5py.File], None], stop: int = 16) -> memoryview:
    """The HDF5 part of a shard that somebody has changed."""
    import io

    texts = dict.fromkeys(("long_name", "symbol", "definition", "normalisation", "reference"), "q")
    q = Variable("q", "signal", ("input", "layer"), **texts)
    raw = bytes(shards.build([Measured(q, np.ones((stop, 2, 4)))], 0, stop, {}))
    buffer = io.BytesIO(raw)
    with h5py.File(buffer, "r+") as file:
        change(file)
    return buffer.getbuffer()


def external(file: h5py.File) -> None:
    del file["signal/q"]
    file.create_dataset("signal/q", (16, 8), "u1", external=[("/etc/passwd", 0, 128)])


def bomb(file: h5py.File) -> None:
    del file["signal/q"]
    file.create_dataset("signal/q", (2**40, 2, 4), "f8", chunks=(1, 2, 4))


SHARDS: list[tuple[str, Callable[[h5py.File], None]]] = [
    ("external data", external),
    ("a size that is declared", bomb),
    ("another file", lambda file: file.__setitem__("signal/x", h5py.ExternalLink("/etc/passwd", "/"))),
    ("a link", lambda file: file.__setitem__("signal/x", h5py.SoftLink("/signal"))),
    ("a circle", lambda file: file.__setitem__("signal/x", file["signal"])),
    ("other numbers", lambda file: file["signal"].create_dataset("r", data=np.ones(16))),
    ("a description", lambda file: file["signal/q"].attrs.__setitem__("variable", "[" * 50_000)),
    ("a name", lambda file: file["signal/q"].attrs.__setitem__("variable", '{"name": "../x", "group": "/"}')),
    ("an escape", lambda file: file["signal/q"].attrs.__setitem__("variable", '{"name": "\\u001b[2J"}')),
]


@pytest.mark.parametrize("change", [case[1] for case in SHARDS], ids=[case[0] for case in SHARDS])
def test_sealed_shards(run: Path, outside: Path, change: Callable[[h5py.File], None]) -> None:
    """A right checksum does not say who made it."""
    put_shard(run, shard_with(change), host="x")
    before = (run / "dataset.h5").read_bytes()
    with pytest.raises(DataError, match="was not made by mcnet") as caught:
        packing.pack(run, directory.load_plan(run), "")
    assert str(caught.value).isprintable()
    assert (run / "dataset.h5").read_bytes() == before
    assert untouched(outside)


@pytest.mark.parametrize("quality", [{"a b": 1}, {"host": "\x1b[2J"}, {"host": [1]}, {"x": 10**30}, {"host": {"a": 1}}])
def test_records_of_shards(run: Path, quality: dict[str, Any]) -> None:
    path = put_shard(run, shard_with(lambda file: None), **quality)
    with pytest.raises(shards.Damaged, match="its quality record"):
        shards.verify(path)


def test_any_plan(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values changed in a good plan: an error in a sentence, or a plan."""
    monkeypatch.setattr(fuzz_targets, "run", lambda: finished)

    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(st.binary(min_size=8, max_size=60))
    def judged(changes: bytes) -> None:
        assert fuzz.judged(fuzz_targets.plan, changes) == ""

    judged()


def test_any_bytes_of_a_shard(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes changed in a shard whose checksums were made right again, read in a child."""
    monkeypatch.setattr(fuzz_targets, "run", lambda: finished)
    good = fuzz_targets.seeds("shard")[0]

    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(st.randoms(use_true_random=False))
    def judged(rng: Any) -> None:
        told = fuzz.in_child(fuzz_targets.shard, fuzz.mutated(good, rng))
        assert told == "" or told.startswith("ended by signal")

    judged()
