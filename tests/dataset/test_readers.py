"""Who reads a dataset without mcnet: xarray with both engines, netCDF4, ncdump, h5dump, h5py, on any file system."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from refusing import environment
from studies import study

import mcnet

STUDY = study(networks=40)
del STUDY["network"]["activation"]
STUDY["network"]["outputs"] = 2
STUDY["sweep"]["activation"] = ["tanh", {"name": "leaky-relu", "slope": 0.1}]
STUDY["measure"] |= {"jacobian": {"keep": "histogram", "moments": 2}, "ntk": {"spectrum": "values"}, "fim": {}}
STUDY["sampling"]["sampler"] = "explicit"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mcnet.run(STUDY, tmp_path_factory.mktemp("readers") / "run", workers=1, quiet=True) / "dataset.h5"


READERS = {
    "netCDF4": """
import sys, warnings
warnings.simplefilter("error")
import netCDF4
def walk(group):
    for variable in group.variables.values():
        variable[...]
    for child in group.groups.values():
        yield from walk(child)
    yield group.path
with netCDF4.Dataset(sys.argv[1]) as file:
    assert set(walk(file)) == {"/", "/signal", "/jacobian", "/ntk", "/fim", "/quality"}
    words = file["signal"]["activation"][:]
    assert words.tolist() == ["tanh", "leaky-relu(slope=0.1)"] * 2, words
    assert file["normalization"][:].tolist() == ["none"] * 4
    assert file["quality"]["software"].shape == (4, 3)
    assert file["signal"]["q"].dimensions == ("point", "network", "input", "layer")
    assert file["signal"]["q"].definition.strip()
    print(repr(float(file["signal"]["q"][1, 2, 1, 3])))
""",
    "xarray": """
import sys, warnings
warnings.simplefilter("error")
import xarray
found = set()
for engine in (None, "h5netcdf", "netcdf4"):
    with xarray.open_dataset(sys.argv[1], engine=engine, group="signal") as signal:
        chosen = signal.where(signal.activation == "leaky-relu(slope=0.1)", drop=True)
        assert chosen.sizes["point"] == 2, (engine, signal.activation)
        found.add(repr(float(signal.q[1, 2, 1, 3])))
    for name in ("quality", "ntk", "fim", "jacobian", None):
        with xarray.open_dataset(sys.argv[1], engine=engine, group=name) as group:
            group.load()
            assert group.normalization.values.tolist() == ["none"] * 4
print(*found)
""",
    "h5py": """
import sys, h5py
with h5py.File(sys.argv[1]) as file:
    assert file["activation"].asstr()[...].tolist() == ["tanh", "leaky-relu(slope=0.1)"] * 2
    assert file["activation"][0] == b"tanh"
    print(repr(float(file["signal/q"][1, 2, 1, 3])))
""",
}


@pytest.mark.parametrize("reader", READERS)
def test_libraries(dataset: Path, reader: str) -> None:
    with mcnet.open(dataset) as tree:
        known = repr(float(tree["signal/q"].values[1, 2, 1, 3]))
    words = [sys.executable, "-c", READERS[reader], str(dataset)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, known), done.stderr


@pytest.mark.parametrize("program", ["ncdump", "h5dump"])
def test_programs(dataset: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian: netcdf-bin, hdf5-tools)")
    done = subprocess.run([program, str(dataset)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count('"leaky-relu(slope=0.1)"') >= 2 * 6  # at each of two points, in each group
    assert "point" in done.stdout


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EACCES], ids=errno.errorcode.get)
def test_file_systems_without_locks_and_links(dataset: Path, tmp_path: Path, error: int) -> None:
    """Everything that opens a dataset, and export, whose Zarr makes hard links."""
    code = "from mcnet.commands.cli import main; main()"
    system = environment(flock=error, link=errno.EPERM)
    seen = subprocess.run(
        [sys.executable, "-c", "import fcntl; fcntl.flock(0, 1)"], env=system, capture_output=True, text=True
    )
    assert seen.returncode == 1, "the system does refuse"
    run = dataset.parent
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "dataset.h5").unlink()
    for words in (
        ("pack", "run", "--quiet"),
        ("inspect", "run", "--json"),
        ("analyze", "run", "--quiet"),
        ("verify", "run"),
        ("export", "run", "--zarr", "x.zarr", "--quiet"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], env=system, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, (words, done.stderr)
    assert (tmp_path / "x.zarr" / ".zmetadata").exists()
