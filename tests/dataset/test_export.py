"""A dataset taken elsewhere: as Zarr for readers without mcnet, and as the seed of the same run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from studies import study

import mcnet
from mcnet.commands.cli import main
from mcnet.dataset import seal, zarr
from mcnet.engine import status
from mcnet.engine.rerun import rerun
from mcnet.errors import DataError, UsageError
from mcnet.streams import STREAM_VERSION

STUDY = study(networks=40)
del STUDY["network"]["depth"]
STUDY["sweep"]["depth"] = [2, 4]
STUDY["measure"]["jacobian"] = {"keep": "histogram", "moments": 2, "bins": 8, "range": [0.01, 10.0]}
STUDY["sampling"]["sampler"] = "explicit"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of points of two depths; not to be changed."""
    return mcnet.run(STUDY, tmp_path_factory.mktemp("export") / "run", workers=1, quiet=True)


READER = """
import sys, warnings
import numpy as np
warnings.simplefilter("error")
import xarray

zarr = xarray.open_datatree(sys.argv[1], engine="zarr")
hdf5 = xarray.open_datatree(sys.argv[2], engine="h5netcdf")
assert set(zarr.groups) == set(hdf5.groups), zarr.groups
for name in hdf5.groups:
    one, other = zarr[name].to_dataset().load(), hdf5[name].to_dataset().load()
    xarray.testing.assert_equal(one, other)
    for variable in other.variables:
        assert one[variable].dtype.kind == other[variable].dtype.kind or one[variable].dtype.kind in "UO", variable
        assert one[variable].attrs == other[variable].attrs, variable
    assert {k: v for k, v in one.attrs.items()} == {k: getattr(v, "item", lambda: v)() for k, v in other.attrs.items()}
signal = xarray.open_dataset(sys.argv[1], engine="zarr", group="signal")
assert signal.q.dims == ("point", "network", "input", "layer")
assert signal.activation.values.tolist() == ["tanh"] * 4
assert np.isnan(signal.q.values[0, :, :, 3:]).all()
assert "mcnet" not in sys.modules
"""


def test_zarr_is_read_by_xarray_alone(run: Path, tmp_path: Path) -> None:
    store = tmp_path / "study.zarr"
    done = CliRunner().invoke(main, ["export", str(run), "--zarr", str(store)])
    assert (done.exit_code, done.stdout) == (0, f"{store}\n"), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.zarr"]
    read = subprocess.run(
        [sys.executable, "-c", READER, str(store), str(run / "dataset.h5")], capture_output=True, text=True
    )
    assert read.returncode == 0, read.stderr
    with pytest.raises(UsageError, match="is there already"):
        zarr.export(run, store)


def test_zarr_in_blocks(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks far smaller than the arrays give the same."""
    monkeypatch.setattr(zarr, "BLOCK_BYTES", 1000)
    zarr.export(run / "dataset.h5", tmp_path / "small.zarr")
    import xarray

    with mcnet.open(run) as tree, xarray.open_datatree(tmp_path / "small.zarr", engine="zarr") as other:
        for name in ("/signal", "/jacobian"):
            xarray.testing.assert_equal(tree[name].to_dataset().load(), other[name].to_dataset().load())


def test_without_zarr(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    done = CliRunner().invoke(main, ["export", str(run), "--zarr", str(tmp_path / "x.zarr")])
    assert done.exit_code == 64
    assert 'needs the package zarr. Install it: pip install "mcnet[zarr]"' in done.stderr
    assert not list(tmp_path.iterdir())
    for wrong in (tmp_path, tmp_path / "none.h5"):
        with pytest.raises((DataError, UsageError)):
            zarr.export(wrong, tmp_path / "x.zarr")


def test_a_run_is_repeated_from_its_dataset_alone(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "published.h5"
    alone.write_bytes((run / "dataset.h5").read_bytes())
    done = CliRunner().invoke(main, ["rerun", str(alone), "--out", str(tmp_path / "again"), "--workers", "1", "--json"])
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    with mcnet.open(run) as tree:
        digest = tree.attrs["content_digest"]
    assert (result["verdict"], result["content_digest"], result["expected"]) == ("identical", digest, digest)
    assert (tmp_path / "again" / "scenario.toml").read_text() == (run / "scenario.toml").read_text()
    assert (tmp_path / "again" / "plan.json").read_text() == (run / "plan.json").read_text()
    assert status.status(tmp_path / "again")["complete"]
    again = rerun(alone, tmp_path / "again", quiet=True)  # nothing is left to do
    assert again["verdict"] == "identical"


def test_a_dataset_of_other_numbers_is_told(run: Path, tmp_path: Path) -> None:
    """A forged dataset, its digest and its seal right for what it holds."""
    from mcnet.dataset.file import read_back

    again = shutil.copytree(run, tmp_path / "again")
    for factor, verdict in ((1 + 1e-5, "within rounding"), (1.5, "different")):
        forged = tmp_path / f"{verdict}.h5"
        forged.write_bytes((run / "dataset.h5").read_bytes())
        with h5py.File(forged, "r+") as file:
            file["signal/q"][...] = file["signal/q"][...] * factor
        digest = read_back(forged)
        with h5py.File(forged, "r+") as file:
            file.attrs["content_digest"] = digest
        seal.append(forged)
        result = rerun(forged, again, quiet=True)
        assert result["verdict"] == verdict
        assert result["largest_difference"] == pytest.approx(1 - 1 / factor, rel=1e-3)
    with h5py.File(forged, "r+") as file:
        file.attrs["rng"] = f"stream version {STREAM_VERSION + 1}:"
    seal.append(forged)
    with pytest.raises(DataError, match="was drawn from other random streams"):
        rerun(forged, tmp_path / "none", quiet=True)
    with h5py.File(forged, "r+") as file:
        del file["quality/plan"]
    seal.append(forged)
    with pytest.raises(DataError, match="does not hold the plan"):
        rerun(forged, tmp_path / "none", quiet=True)
    assert not (tmp_path / "none").exists()


def test_a_run_with_a_target_is_repeated_with_its_rounds(tmp_path: Path) -> None:
    from warm import ADAPTIVE

    from mcnet.storage import rounds

    first = mcnet.run(ADAPTIVE, tmp_path / "first", workers=1, quiet=True)
    result = rerun(first, tmp_path / "again", workers=1, quiet=True)
    assert result["verdict"] == "identical"
    assert rounds.read(tmp_path / "again") == rounds.read(first)


def test_a_dataset_packed_early_is_not_compared(run: Path, tmp_path: Path) -> None:
    from mcnet.engine import driver

    early = shutil.copytree(run, tmp_path / "early")
    next((early / "shards").iterdir()).unlink()
    driver.pack(early)
    result = rerun(early, tmp_path / "again", workers=1, quiet=True)
    assert (result["verdict"], result["largest_difference"]) == (None, None)
    with mcnet.open(run) as tree:
        assert result["content_digest"] == tree.attrs["content_digest"]
    assert np.isfinite(status.status(tmp_path / "again")["networks"])
