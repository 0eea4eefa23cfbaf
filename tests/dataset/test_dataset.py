"""The dataset: whatever order the shards came in, one content; readable without mcnet; padding is no data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray

from mcnet import activations, files
from mcnet.dataset.open import assemble, open_dataset
from mcnet.dataset.packing import pack
from mcnet.dataset.schema import Content, build
from mcnet.errors import DataError, DiskError
from mcnet.plan.plan import Plan, PlannedPoint
from mcnet.plan.tasks import ranges
from mcnet.point import Inputs, Point
from mcnet.request import Request
from mcnet.storage import shard
from mcnet.variables import Measured, Variable

INPUTS = Inputs(kind="pair", count=2, dimension=8, q0=1.0, c0=0.6)
POINTS = (
    Point("dense", activations.get("tanh"), "gaussian", 8, 2, 1.5, 0.05, INPUTS, train_biases=True),
    Point("dense", activations.get({"name": "leaky-relu", "slope": 0.1}), "orthogonal", 8, 4, 1 / 3, 0.0, INPUTS, 3),
    Point("dense", activations.get("erf"), "gaussian", 6, 1, 1.5, 0.05, replace(INPUTS, fresh=True, c0=None)),
)
GRAM = np.array([[1.0, 0.6], [0.6, 1.0]])
TOML = "mcnet = 1\n# a comment\n" + "x" * 100_000


def plan(*networks: int, seed: int = 7) -> Plan:
    counts = networks or (21, 40, 0)[: len(POINTS)]
    points = tuple(
        PlannedPoint(point, (count,), 8, "conditioned") for point, count in zip(POINTS, counts, strict=False) if count
    )
    return Plan(points, Request({"q": {}}, seed), None, "a study of è")


def variable(name: str, group: str, *dims: str, **more: Any) -> Variable:
    texts = {key: f"{key} of {name}" for key in ("long_name", "symbol", "definition", "normalisation", "reference")}
    return Variable(name, group, dims, **texts, **more)


def draw(point: Point, start: int, stop: int) -> list[Measured]:
    """Numbers that name their place: network + layer/100 + input/10, with NaN where a measurement may have it."""
    networks = np.arange(start, stop)[:, None, None]
    q = networks + np.arange(point.depth + 1) / 100 + np.arange(2)[:, None] / 10
    q[:, :, 0] = np.nan
    rank = 2 * point.depth
    return [
        Measured(variable("q", "signal", "input", "layer"), q),
        Measured(variable("c", "signal", "pair", "layer"), q[:, :1]),
        Measured(variable("jacobian_sv", "jacobian", "rank"), np.sqrt(networks[:, 0] + 1 / np.arange(1, rank + 1))),
        Measured(
            variable("jacobian_count", "jacobian", "bin", dtype="int64", per_shard=True),
            np.array([[stop - start, 0, start]]),
        ),
    ]


def commit_all(directory: Path, of: Plan, *, order: int = 1, host: str = "here") -> None:
    (directory / "shards").mkdir(parents=True, exist_ok=True)
    tasks = [(p, *span) for p in of.points for span in ranges(p.stops, p.batch)]
    for planned, start, stop in tasks[::order]:
        gram = {} if planned.point.inputs.fresh else {"input_gram": GRAM}
        content = shard.build(draw(planned.point, start, stop), start, stop, {}, gram)
        facts = {"host": host, "wall_seconds": 0.25, "pid": 4}
        header, record = shard.seal(content, planned.key, start, stop, of.digest, facts)
        files.commit(directory / "shards", header.name, [content, record])


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    commit_all(tmp_path, plan())
    report = pack(tmp_path, plan(), TOML)
    assert (report["shards"], report["shards_planned"], report["written"]) == (8, 8, True)
    return tmp_path


def test_every_number_is_in_its_place(packed: Path) -> None:
    with open_dataset(packed) as tree:
        signal = tree["signal"]
        assert dict(signal.to_dataset(inherit=False).sizes) == {
            "point": 2,
            "network": 40,
            "input": 2,
            "layer": 5,
            "pair": 1,
        }
        for index, (planned, count) in enumerate(zip(plan().points, (21, 40), strict=True)):
            depth = planned.point.depth
            expected = draw(planned.point, 0, count)
            q = signal["q"].values[index]
            np.testing.assert_array_equal(q[:count, :, : depth + 1], expected[0].values)
            assert np.isnan(q[count:]).all()
            assert np.isnan(q[:, :, depth + 1 :]).all()
            sv = tree["jacobian/jacobian_sv"].values[index]
            np.testing.assert_array_equal(sv[:count, : 2 * depth], expected[2].values)
            assert np.isnan(sv[count:]).all()
        counts = tree["jacobian/jacobian_count"]
        assert (counts.dtype, counts.dims) == (np.int64, ("point", "shard", "bin"))
        np.testing.assert_array_equal(counts.values[0], [[8, 0, 0], [8, 0, 8], [5, 0, 16], [0, 0, 0], [0, 0, 0]])
        assert tree["jacobian"]["n_rank"].values.tolist() == [4, 8]
        assert tree["jacobian"]["n_shards"].values.tolist() == [3, 5]


def test_coordinates_and_attributes(packed: Path) -> None:
    with open_dataset(packed / "dataset.h5") as tree:
        for name in ("/", "signal", "jacobian", "quality"):  # each group can be used alone
            group = tree[name]
            assert group["width"].values.tolist() == [8, 8]
            assert group["depth"].values.tolist() == [2, 4]
            assert group["sigma_w2"].values.tolist() == [1.5, 1 / 3]
            assert group["activation"].values.tolist() == ["tanh", "leaky-relu(slope=0.1)"]
            assert group["weights"].values.tolist() == ["gaussian", "orthogonal"]
            assert group["readout"].values.tolist() == ["", "gaussian"]
            assert group["outputs"].values.tolist() == [0, 3]
            assert group["train_biases"].values.tolist() == [True, False]
            assert group["train_biases"].dtype == bool
            assert group["n_networks"].values.tolist() == [21, 40]
            assert group["point_key"].values.tolist() == [planned.key for planned in plan().points]
            assert set(group.coords) >= {
                "q0",
                "c0",
                "inputs",
                "input_dimension",
                "input_kind",
                "normalization",
                "sampler",
            }
        signal = tree["signal"]
        assert signal["layer"].values.tolist() == [0, 1, 2, 3, 4]
        assert (signal["input_a"].values.tolist(), signal["input_b"].values.tolist()) == ([0], [1])
        assert signal["input_a"].dims == ("pair",)
        assert tree["jacobian"]["rank"].values.tolist() == list(range(1, 9))
        assert signal["q"].attrs["definition"] == "definition of q"
        assert signal["q"].attrs["units"] == "1"
        np.testing.assert_array_equal(tree["input_gram"].values, [GRAM, GRAM])
        assert tree.attrs["title"] == "a study of è"
        assert tree.attrs["scenario_toml"] == TOML
        assert tree.attrs["seed"] == 7
        assert tree.attrs["plan_digest"] == plan().digest
        assert tree.attrs["sampler"] == "conditioned"
        labels = json.loads(tree.attrs["activations_json"])
        assert [activations.get(labels[x]) for x in tree["activation"].values] == [p.activation for p in POINTS[:2]]
        for name in (
            "Conventions",
            "mcnet_version",
            "git_commit",
            "git_dirty",
            "format_version",
            "content_digest",
            "rng",
        ):
            assert name in tree.attrs
        for name in ("precision", "created_utc", "license", "python", "numpy", "numba", "cupy", "h5py", "hdf5"):
            assert name in tree.attrs
        quality = tree["quality"]
        assert quality["host"].values[0].tolist() == ["here", "here", "here", "", ""]
        assert quality["start"].values[0].tolist() == [0, 8, 16, -1, -1]
        assert quality["wall_seconds"].values[0, 0] == 0.25


def test_the_largest_seed_and_fresh_inputs(tmp_path: Path) -> None:
    large = plan(8, 8, 9, seed=2**64 - 1)
    commit_all(tmp_path, large)
    pack(tmp_path, large, "")
    with open_dataset(tmp_path) as tree:
        assert int(tree.attrs["seed"]) == 2**64 - 1
        np.testing.assert_array_equal(tree["input_gram"].values, [GRAM, GRAM, np.full((2, 2), np.nan)])
        assert tree["fresh"].values.tolist() == [False, False, True]
        assert np.isnan(tree["c0"].values[2])


def test_numbers_are_read_when_asked_for(packed: Path) -> None:
    with open_dataset(packed) as tree:
        for group in tree.subtree:
            for name in group.data_vars:
                assert not group[name].variable._in_memory, name


READ_ALONE = """
import sys
sys.modules["mcnet"] = None  # an import of mcnet fails
import numpy as np, xarray
signal = xarray.open_dataset(sys.argv[1], engine="h5netcdf", group="signal")
first = signal.where(signal.activation == "tanh", drop=True)
assert first.sizes["point"] == 1 and float(first.q.isel(network=3, input=1).sel(layer=2).squeeze()) == 3.12
grid = signal.drop_vars("point").set_index(point=["depth", "sigma_w2"]).unstack("point")
assert grid.q.sel(depth=2, sigma_w2=1.5).isel(network=5, input=0).sel(layer=1) == 5.01
tree = xarray.open_datatree(sys.argv[1], engine="h5netcdf")
assert sorted(tree.children) == ["jacobian", "quality", "signal"]
print(signal.sizes["network"])
"""


def test_xarray_alone_can_read_it(packed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ_ALONE, str(packed / "dataset.h5")], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("40\n", "")


def test_one_content_whatever_the_history(tmp_path: Path, packed: Path) -> None:
    other = tmp_path / "other"
    commit_all(other, plan(), order=-1, host="elsewhere")
    report = pack(other, plan(), "another text")
    with open_dataset(packed) as one, open_dataset(other) as two:
        assert one.attrs["content_digest"] == two.attrs["content_digest"] == report["content_digest"]
        xarray.testing.assert_identical(one["signal"].to_dataset(), two["signal"].to_dataset())
    assert pack(other, plan(), "another text") == {**report, "written": False}


@pytest.mark.parametrize("mutant", ["value", "networks", "point"])
def test_another_content_has_another_digest(
    tmp_path: Path, packed: Path, mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    changed = plan(22, 40) if mutant == "networks" else plan()
    if mutant == "point":
        point = replace(POINTS[0], sigma_w2=np.nextafter(1.5, 2))
        changed = replace(changed, points=(replace(changed.points[0], point=point), changed.points[1]))
    commit_all(other, changed)
    if mutant == "value":
        name = next(iter(sorted((other / "shards").iterdir())))
        parsed = shard.parse_name(name.name)
        assert parsed is not None
        arrays = draw(POINTS[[p.key for p in changed.points].index(parsed.point)], parsed.start, parsed.stop)
        arrays[0].values[0, 0, 1] = np.nextafter(arrays[0].values[0, 0, 1], 9e9)
        content = shard.build(arrays, parsed.start, parsed.stop, {}, {"input_gram": GRAM})
        header, record = shard.seal(content, *parsed, changed.digest, {})
        files.commit(other / "shards", header.name, [content, record])
    with open_dataset(packed) as tree:
        assert pack(other, changed, TOML)["content_digest"] != tree.attrs["content_digest"]


def test_what_is_there_is_packed(tmp_path: Path) -> None:
    """An unfinished run: the rows are the networks that exist, in order; /quality says which."""
    commit_all(tmp_path, plan())
    keys = [planned.key for planned in plan().points]
    (tmp_path / "shards" / shard.shard_name(keys[0], 8, 16)).unlink()
    for span in ranges((40,), 8):
        (tmp_path / "shards" / shard.shard_name(keys[1], *span)).unlink()
    report = pack(tmp_path, plan(), TOML)
    assert (report["shards"], report["shards_planned"]) == (2, 8)
    with open_dataset(tmp_path) as tree:
        assert tree["n_networks"].values.tolist() == [13, 0]
        assert (tree.attrs["networks_present"], tree.attrs["networks_planned"]) == (13, 61)
        first = tree["signal/q"].values[0, :, 0, 1]
        np.testing.assert_array_equal(first, [*np.arange(8) + 0.01, *np.arange(16, 21) + 0.01])
        assert tree["quality/start"].values.tolist() == [[0, 16], [-1, -1]]


def test_damaged_and_foreign_shards_stop_the_packing(packed: Path) -> None:
    victim = sorted((packed / "shards").iterdir())[3]
    raw = bytearray(victim.read_bytes())
    raw[-200] ^= 1
    victim.write_bytes(raw)
    with pytest.raises(DataError, match=r"checksum differs\. Moved to \*\.bad, 1 in all"):
        pack(packed, plan(), TOML)
    assert not victim.exists()
    assert len(list((packed / "shards").glob("*.bad"))) == 1
    commit_all(packed, plan(seed=8))
    with pytest.raises(DataError, match="made by another plan"):
        pack(packed, plan(), TOML)


def test_a_shard_that_changes_while_it_is_packed_is_noticed(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (packed / "dataset.h5").unlink()
    verify, seen = shard.verify, list[str]()

    def changing(path: str | Path) -> tuple[shard.Header, dict[str, Any]]:
        header, record = verify(path)
        seen.append(str(path))
        return header, record if seen.count(str(path)) == 1 else {**record, "pid": 5}

    monkeypatch.setattr(shard, "verify", changing)
    with pytest.raises(DataError, match=r"changed while it was read\. Continue with: mcnet resume"):
        pack(packed, plan(), TOML)
    assert not (packed / "dataset.h5").exists()


def test_a_dataset_is_believed_only_when_it_reads_back(packed: Path) -> None:
    with h5py.File(packed / "dataset.h5", "r+") as file:
        file["signal/q"][0, 3, 0, 1] += 1e-9
    report = pack(packed, plan(), TOML)
    assert report["written"]
    with open_dataset(packed) as tree:
        assert tree["signal/q"].values[0, 3, 0, 1] == 3.01
        assert tree.attrs["content_digest"] == report["content_digest"]


def test_a_shard_that_changes_while_it_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_all(tmp_path, plan())
    opened, last = shard.open_shard, max((tmp_path / "shards").iterdir())

    def flipped(path: Path) -> Any:
        if Path(path) == last:
            raw = bytearray(last.read_bytes())
            raw[-300] ^= 1
            last.write_bytes(raw)
        return opened(path)

    monkeypatch.setattr(shard, "open_shard", flipped)
    with pytest.raises(DataError, match="checksum differs"):
        pack(tmp_path, plan(), TOML)
    assert not list(tmp_path.glob("*.h5"))


def test_shards_that_come_while_it_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset of fewer shards may have taken the place of a whole one; it is made again."""
    from mcnet.dataset import file as dataset_file

    commit_all(tmp_path, plan())
    late = max((tmp_path / "shards").iterdir())
    raw, write = late.read_bytes(), dataset_file.write
    late.unlink()

    def while_others_work(*arguments: Any) -> str:
        late.write_bytes(raw)
        return write(*arguments)

    monkeypatch.setattr(dataset_file, "write", while_others_work)
    assert pack(tmp_path, plan(), TOML)["shards"] == 8


def test_a_disk_that_forgets_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_all(tmp_path, plan())
    from mcnet.dataset import file as dataset_file

    write = dataset_file.write

    def forgetful(path: Path, *arguments: Any) -> str:
        digest = write(path, *arguments)
        with h5py.File(path, "r+") as file:
            file["signal/q"][0, 3, 0, 1] = 3.5
        return digest

    monkeypatch.setattr(dataset_file, "write", forgetful)
    with pytest.raises(DataError, match="reads back other than it was written"):
        pack(tmp_path, plan(), TOML)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(DiskError, match="All shards are safe"):
        pack(tmp_path, plan(), TOML)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shards", "shards.txt"]


def test_what_cannot_be_read_is_said_in_a_sentence(packed: Path, tmp_path: Path) -> None:
    whole = (packed / "dataset.h5").read_bytes()
    file = tmp_path / "copy.h5"
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"is damaged, or no HDF5 file|its end is missing"):
            open_dataset(file)
    with h5py.File(file, "w") as foreign:
        foreign["x"] = 1
    with pytest.raises(DataError, match="is not a dataset of mcnet"):
        open_dataset(file)
    file.write_bytes(whole)
    with h5py.File(file, "r+") as newer:
        newer.attrs["format_version"] = 3
        newer.attrs["mcnet_version"] = "7.1.0"
    with pytest.raises(DataError, match=r"was written by mcnet 7\.1\.0 in format 3.*Install mcnet 7\.1\.0 or newer"):
        open_dataset(file)
    with pytest.raises(DataError, match="there is no such file"):
        open_dataset(tmp_path / "none.h5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no dataset\.h5\. Make it with: mcnet pack"):
        open_dataset(tmp_path / "empty")


def test_memory_and_file_are_one_dataset(packed: Path) -> None:
    def source(index: int) -> Iterator[Mapping[str, Any]]:
        planned = plan().points[index]
        for start, stop in ranges(planned.stops, planned.batch):
            yield {f"{v.group}/{v.name}": values for v, values in draw(planned.point, start, stop)}

    contents = []
    for planned in plan().points:
        spans = tuple(ranges(planned.stops, planned.batch))
        layouts = tuple((v, values.shape[1:]) for v, values in draw(planned.point, 0, 8))
        contents.append(Content(spans, layouts, GRAM, ({"host": "here", "wall_seconds": 0.25, "pid": 4},) * len(spans)))
    with open_dataset(packed) as stored:
        made = assemble(build(plan(), contents, TOML), source)
        assert set(made.children) == set(stored.children)
        for name in ("/", "signal", "jacobian", "quality"):
            one = made[name].to_dataset()
            two = stored[name].to_dataset().load().drop_vars("sha256", errors="ignore")  # of what was sealed only
            xarray.testing.assert_equal(one, two)
            assert set(one.coords) == set(two.coords)
            for array in one.variables:
                assert one[array].attrs == two[array].attrs, array
        assert set(made.attrs) <= set(stored.attrs)


def test_points_that_lack_networks_take_no_disk(tmp_path: Path) -> None:
    uneven = plan(8, 80_000)
    uneven = replace(uneven, points=tuple(replace(planned, batch=8000) for planned in uneven.points))
    commit_all(tmp_path, uneven)
    pack(tmp_path, uneven, TOML)
    whole = 80_000 * (15 + 8) * 8  # bytes of the second point
    assert (tmp_path / "dataset.h5").stat().st_size < 1.3 * whole + 4e6
