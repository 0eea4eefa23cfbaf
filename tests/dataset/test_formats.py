"""What released versions wrote is read: plans, rounds, shards and datasets of every format, kept in tests/data."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mcnet
from mcnet.dataset import checks
from mcnet.dataset.packing import pack
from mcnet.engine import driver, status
from mcnet.engine.rerun import rerun
from mcnet.plan import format
from mcnet.storage import directory, rounds
from mcnet.storage import shard as shards

DATA = Path(__file__).resolve().parents[1].joinpath("data")
FORMATS = sorted(DATA.glob("format-*"))


@pytest.fixture(params=FORMATS, ids=lambda folder: folder.name)
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the files of a format."""
    return Path(shutil.copytree(request.param, tmp_path / "files"))


def expected(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "expected.json").read_text()))


def test_there_are_files_of_every_format() -> None:
    newest = max(format.FORMAT_VERSION, rounds.FORMAT_VERSION, checks.FORMAT_VERSION)
    assert [folder.name for folder in FORMATS] == [f"format-{number}" for number in range(1, newest + 1)]
    for folder in FORMATS:
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 200_000


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_the_files_are_as_they_were_written(folder: Path) -> None:
    for name, digest in expected(folder)["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_the_dataset_is_read(files: Path) -> None:
    known = expected(files)
    with mcnet.open(files / "run") as tree:
        assert tree.attrs["content_digest"] == known["content_digest"]
        for name, told in known["variables"].items():
            values = tree[name].values
            assert (list(values.shape), str(values.dtype)) == (told["shape"], told["dtype"]), name
            sums = (float(np.nansum(values)), float(np.nansum(values.astype(np.float64) ** 2)))
            assert sums == pytest.approx((told["sum"], told["sum_of_squares"]), rel=1e-12)
            assert values.reshape(-1)[-1] == pytest.approx(told["last"], rel=1e-15)
        assert tree["activation"].values.tolist() == ["leaky-relu(slope=0.1)"]
        assert tree["fresh"].values.tolist() == [False]


def test_plan_and_shards_are_read(files: Path) -> None:
    known = expected(files)
    state = status.status(files / "run")
    assert (state["shards"], state["complete"], state["damaged"]) == (2, True, [])
    assert directory.load_plan(files / "run").digest == known["plan_digest"]
    (files / "run" / "dataset.h5").unlink()
    plan = directory.load_plan(files / "run")
    report = pack(files / "run", plan, directory.scenario_text(files / "run", plan))
    assert report["content_digest"] == known["content_digest"]
    shard = next((files / "run" / "shards").iterdir())
    assert shards.read(shard)["signal/q"].shape[1:] == (2, 3)


def test_the_networks_are_the_same(files: Path) -> None:
    """To the bit where the processor and the libraries are those of the files, within rounding elsewhere."""
    report = status.verify(files / "run", recompute=2)
    assert report["recomputed"] == 2
    assert report["verdict"] in ("identical", "within rounding")
    assert report["largest_difference"] < 1e-5
    result = rerun(files / "run" / "dataset.h5", files / "again", workers=1, quiet=True)
    assert result["verdict"] in ("identical", "within rounding")


def test_rounds_are_read(files: Path) -> None:
    """The run goes on where its rounds say, without a decision of its own."""
    run = files / "adaptive"
    assert directory.load_plan(run).points[0].stops == (64, 128)
    driver.resume(run, workers=1, quiet=True)
    assert len(rounds.read(run)) == 2
    assert status.status(run)["target"]["outcome"].startswith("targets reached: 2 of 2, mean of q at layer 2")
    with mcnet.open(run) as tree:
        means = [float(tree["signal/q"].values[i, :, 0, 2].mean()) for i in range(2)]
    assert means == pytest.approx([result["value"] for result in rounds.read(run)[-1]["results"]], rel=1e-5)
