"""The ledger saves status the headers, and nothing believes it that could be misled by it.

Mutants that are caught: a line without its length (a truncated shard counts), one without its time (a flipped bit
counts), one without the plan (foreign shards count), lines noted of shards that were not read, a torn ledger that ends
the command.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studies import study

import mcnet
from mcnet.engine import driver, merge, status
from mcnet.errors import DataError
from mcnet.storage import directory, ledger, shard


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mcnet.run(study(networks=48), tmp_path_factory.mktemp("runs") / "run", workers=1, quiet=True)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))  # with the times of the files


@pytest.fixture
def headers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shards whose header is read."""
    read: list[str] = []

    def noted(path: str) -> shard.Header:
        read.append(os.path.basename(path))
        return original(path)

    original = shard.read_header
    monkeypatch.setattr(shard, "read_header", noted)
    return read


def told(run: Path) -> dict[str, Any]:
    return {name: value for name, value in status.status(run).items() if name != "seconds_since_last"}


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "shards").glob("*.h5"))


def content(run: Path) -> str:
    with mcnet.open(run) as tree:
        return str(tree.attrs["content_digest"])


def test_a_run_notes_its_shards_and_status_reads_no_header(run: Path, headers: list[str]) -> None:
    plan = directory.load_plan(run).digest
    lines = {ledger.line(run / "shards" / name, plan) for name in names(run)}
    assert len(lines) == 6
    assert ledger.read(run) == lines
    with_ledger = told(run)
    assert headers == []
    (run / ledger.LEDGER).unlink()
    assert told(run) == with_ledger
    assert sorted(headers) == names(run)
    assert with_ledger["complete"]


def truncated(path: Path) -> None:
    state = path.stat()
    path.write_bytes(path.read_bytes()[:-1])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[100] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def replaced_by_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("damage", [truncated, flipped, replaced_by_a_link])
def test_status_sees_a_shard_that_was_changed(run: Path, headers: list[str], damage: Callable[[Path], None]) -> None:
    name = names(run)[2]
    damage(run / "shards" / name)
    seen = status.status(run)
    assert headers == [name]
    assert (len(seen["damaged"]), seen["shards"], seen["complete"]) == (1, 5, False)
    assert name in seen["damaged"][0]


def test_a_bit_that_flips_on_the_disk_is_seen_by_all_that_count(run: Path, tmp_path: Path) -> None:
    """Name, length and time are as they were: status cannot know it, and nothing else asks the ledger."""
    path = run / "shards" / names(run)[0]
    state, raw, before = path.stat(), bytearray(path.read_bytes()), content(run)
    raw[1000] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert status.status(run)["complete"]
    assert path.name in status.verify(run)["damaged"][0]
    (run / "dataset.h5").unlink()
    assert merge.merge([run], tmp_path / "merged")["shards"] == 5
    driver.resume(run, workers=1, quiet=True)
    assert (run / "shards" / f"{path.name}.bad").exists()
    assert content(run) == before
    assert ledger.line(path, directory.load_plan(run).digest) in ledger.read(run)
    assert status.verify(run)["good"] == 6


def test_whatever_the_ledger_says_status_is_the_same(run: Path, tmp_path: Path, headers: list[str]) -> None:
    """Torn at any place, flipped, doubled, empty, not text, too long, a folder, a link, a pipe, not there."""
    path, expected, dice = run / ledger.LEDGER, told(run), random.Random(3)
    raw = path.read_bytes()
    texts = [raw[: dice.randrange(len(raw))] for _ in range(5)]
    for _ in range(20):
        changed = bytearray(raw)
        changed[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        texts.append(bytes(changed))
    for text in (*texts, raw + raw, b"", bytes(range(256)) * 50, raw[60:] + raw):
        path.write_bytes(text)
        assert told(run) == expected
    assert headers  # of the shards that lost their line
    with open(path, "r+b") as file:
        file.truncate(ledger.MAX_BYTES + 1)
    assert told(run) == expected
    (tmp_path / "outside").write_bytes(raw)
    for make in (lambda: path.mkdir(), lambda: path.symlink_to(tmp_path / "outside"), lambda: os.mkfifo(path)):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        make()
        assert told(run) == expected


def test_shards_of_another_plan_are_refused(run: Path, tmp_path: Path) -> None:
    """Their line is there, and is of their plan."""
    other = mcnet.run(study(networks=48, seed=6), tmp_path / "other", workers=1, quiet=True)
    name = names(other)[0]
    shutil.copy2(other / "shards" / name, run / "shards" / name)
    with open(run / ledger.LEDGER, "ab") as file:
        file.write((other / ledger.LEDGER).read_bytes())
    with pytest.raises(DataError, match="was made by another plan"):
        status.status(run)


def test_a_run_of_before_is_noted_when_it_is_packed(run: Path, headers: list[str]) -> None:
    """Also a copy, whose files have other times; damaged shards are not."""
    (run / ledger.LEDGER).unlink()
    flipped(run / "shards" / names(run)[0])
    with pytest.raises(DataError, match=r"Moved to \*\.bad"):
        driver.pack(run)
    assert not (run / ledger.LEDGER).exists()
    driver.pack(run)
    headers.clear()
    assert status.status(run)["shards"] == 5
    assert headers == []
    before = (run / ledger.LEDGER).read_bytes()
    driver.pack(run)
    assert (run / ledger.LEDGER).read_bytes() == before


def test_a_disk_that_takes_no_ledger_does_not_end_a_run(tmp_path: Path) -> None:
    place = tmp_path / "run"
    (place / ledger.LEDGER).mkdir(parents=True)
    mcnet.run(study(), place, workers=1, quiet=True)
    assert status.status(place)["complete"]
