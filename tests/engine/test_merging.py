"""Merging: parts from several machines become the run that one machine makes; what is not of one plan is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from studies import resealed, study

import mcnet
from mcnet import files
from mcnet.commands.cli import main
from mcnet.engine import driver, status
from mcnet.engine.merge import merge
from mcnet.errors import DataError, UsageError
from mcnet.storage import directory as runfiles
from mcnet.storage import shard
from mcnet.storage.comparison import largest_difference

WIDE = study(widths=(8, 12, 16), networks=48)  # of 9 shards


def digest(directory: Path) -> str:
    with mcnet.open(directory) as tree:
        return str(tree.attrs["content_digest"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on one machine; not to be changed."""
    return mcnet.run(WIDE, tmp_path_factory.mktemp("merge") / "whole", workers=1, quiet=True)


def part(whole: Path, place: Path, keep: slice) -> Path:
    """A directory of the same plan that holds some of the shards."""
    (place / "shards").mkdir(parents=True)
    for name in ("plan.json", "scenario.toml"):
        shutil.copy(whole / name, place / name)
    for path in sorted((whole / "shards").iterdir())[keep]:
        shutil.copy(path, place / "shards")
    return place


def test_parts_become_the_whole(whole: Path, tmp_path: Path) -> None:
    parts = [part(whole, tmp_path / name, keep) for name, keep in (("a", slice(0, 5)), ("b", slice(3, 9)))]
    before = {path: path.read_bytes() for place in parts for path in place.rglob("*") if path.is_file()}
    report = merge(parts, tmp_path / "all")
    assert report == {"shards": 9, "shards_planned": 9, "copied": 9, "equal": 2, "rounded": 0, "damaged": []}
    driver.pack(tmp_path / "all")
    assert digest(tmp_path / "all") == digest(whole)
    assert status.verify(tmp_path / "all")["good"] == 9
    assert before == {path: path.read_bytes() for path in before}
    again = merge([*parts, tmp_path / "all"], tmp_path / "all")
    assert (again["copied"], again["shards"]) == (0, 9)


def test_a_part_that_has_grown_and_one_that_has_not(whole: Path, tmp_path: Path) -> None:
    """Each machine drew other points and numbers of networks of one plan."""
    small = mcnet.run(study(widths=(8, 12), networks=32), tmp_path / "small", workers=1, quiet=True)
    large = mcnet.run(study(widths=(16, 12), networks=48), tmp_path / "large", workers=1, quiet=True)
    report = merge([small, large], tmp_path / "all")
    assert (report["shards"], report["shards_planned"], report["equal"]) == (8, 8, 2)
    state = status.status(tmp_path / "all")
    assert [(p["parameters"]["width"], p["networks"]) for p in state["points"]] == [(8, 32), (12, 48), (16, 48)]
    mcnet.run(WIDE, tmp_path / "all", workers=1, quiet=True)  # grows on
    assert digest(tmp_path / "all") == digest(whole)


def test_adaptive_parts(tmp_path: Path) -> None:
    from warm import ADAPTIVE

    one = mcnet.run(ADAPTIVE, tmp_path / "one", workers=1, quiet=True)
    cut = part(one, tmp_path / "cut", slice(0, 3))
    shutil.copytree(one / "rounds", cut / "rounds")
    (cut / "rounds" / sorted(os.listdir(cut / "rounds"))[-1]).unlink()
    report = merge([cut, one], tmp_path / "all")
    assert report["shards"] == report["shards_planned"]
    assert status.status(tmp_path / "all")["complete"]
    first = cut / "rounds" / "0001.json"
    content = json.loads(first.read_text())
    content["networks"] = {key: stop + 1 for key, stop in content["networks"].items()}
    first.write_text(resealed(json.dumps(content, indent=1)))
    with pytest.raises(DataError, match=r"decided other rounds|in other ranges"):
        merge([cut, one], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_damaged_shards_are_left_out(whole: Path, tmp_path: Path) -> None:
    one, two = part(whole, tmp_path / "a", slice(0, 5)), part(whole, tmp_path / "b", slice(3, 9))
    for place, number in ((one, 4), (two, 5)):  # the first of them is in the other directory too
        path = sorted((place / "shards").iterdir())[number]
        raw = bytearray(path.read_bytes())
        raw[-200] ^= 1
        path.write_bytes(raw)
    report = merge([one, two], tmp_path / "all")
    assert (report["shards"], len(report["damaged"])) == (8, 2)
    driver.resume(tmp_path / "all", workers=1, quiet=True)
    assert digest(tmp_path / "all") == digest(whole)


def forged(path: Path, factor: float) -> None:
    """A shard with a right digest and other numbers."""
    header, quality = shard.verify(path)
    with shard.open_shard(path) as file:
        changed: Any = [(variable, data[...] * factor) for variable, data in shard.variables(file)]
    content = shard.build(changed, header.start, header.stop, {})
    _, record = shard.seal(content, header.point, header.start, header.stop, header.plan, quality)
    files.commit(path.parent, path.name, [content, record])


def test_what_conflicts_is_refused(whole: Path, tmp_path: Path) -> None:
    other = part(whole, tmp_path / "other", slice(0, 5))
    forged(sorted((other / "shards").iterdir())[0], 1.001)
    cases = {
        other: r"holds other numbers than .* for the same networks \(largest relative difference 1\.0e-03\)",
        mcnet.run(study(seed=6), tmp_path / "seed", workers=1, quiet=True): "sampling.seed 5 -> 6",
        mcnet.run(study(networks=40), tmp_path / "ranges", workers=1, quiet=True): "in other ranges",
        tmp_path: "is no run directory",
    }
    for place, told in cases.items():
        with pytest.raises(DataError, match=told):
            merge([whole, place], tmp_path / "none")
        assert not (tmp_path / "none").exists()
    biases = study(widths=(8, 12, 16), networks=48)
    biases["network"]["train_biases"] = False
    biased = mcnet.run(biases, tmp_path / "biases", workers=1, quiet=True)
    with pytest.raises(DataError, match=r"network\.train_biases true -> false"):
        merge([whole, biased], tmp_path / "none")
    with pytest.raises(UsageError, match="nothing to merge"):
        merge([whole], whole)


def test_an_overlap_that_no_plan_has_is_refused(whole: Path, tmp_path: Path) -> None:
    one = part(whole, tmp_path / "a", slice(0, 5))
    key = runfiles.load_plan(one).points[0].key
    (one / "shards" / shard.shard_name(key, 8, 24)).touch()
    with pytest.raises(DataError, match="holds networks that the plan draws in other ranges"):
        merge([one], tmp_path / "all")


def test_the_command(whole: Path, tmp_path: Path) -> None:
    one = part(whole, tmp_path / "a", slice(0, 5))
    done = CliRunner().invoke(main, ["merge", str(one), str(whole), "--out", str(tmp_path / "all")])
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (
        f"{tmp_path}/all: 9/9 shards, 9 copied, 5 in several directories. Next: mcnet pack {tmp_path}/all\n"
    )
    assert CliRunner().invoke(main, ["merge", "--out", "x"]).exit_code == 64


def test_largest_difference() -> None:
    one = {"x": np.array([1.0, np.nan, 4.0]), "n": np.array([1, 2])}
    assert largest_difference(one, {**one}) == 0
    assert largest_difference({**one, "x": np.array([1.0, np.nan, 5.0])}, one) == 0.25
    assert largest_difference({**one, "n": np.array([1, 3])}, one) == 0.5
    for wrong in ({"x": np.array([1.0, 2.0, 4.0])}, {"x": np.zeros(2)}, {"y": np.zeros(1)}):
        assert largest_difference({**one, **wrong}, one) == np.inf
