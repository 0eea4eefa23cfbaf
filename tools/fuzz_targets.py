"""What is fuzzed: a function for each reader of files that others wrote, and good files to begin with.

A target takes bytes and gives them to a reader. Those of ``plan`` and ``dataset`` are no file but the changes to make
in a good one, so that whatever the fuzzer thinks of gets past JSON and HDF5 to what mcnet itself checks.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
Target = Callable[[bytes], None]
Item = TypeVar("Item")

VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 2**31, 2**64, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "a", "critical"),
    *("\x1b[31m", "../../x", "0" * 16, "f" * 64, [], {}, [[]], [1, 2], [2, 1], ["a"], {"a": 1}, {"name": "tanh"}),
    *("tanh", {"name": "leaky-relu", "slope": 1e300}, "orthogonal", "gaussian", ["os"], [[1.0, 2.0]], "x" * 5000),
]
TOKENS = [
    *(b"[network]", b"[[sweep.points]]", b"[inputs]", b"[sweep]", b"[sampling]", b"[measure]", b"[analyze]"),
    *(b'"critical"', b'"fixed-point"', b"{ start = 1, stop = 9, num = 3 }", b"nan", b"-inf", b"1e400", b"9" * 30),
    *(b"0x" + b"f" * 99, b"[[[[", b"{a={a={", b'"\\u001b[31m"', b"a.b.c.d", b"'''", b'"""', b"1979-05-27T07:32:00Z"),
    *(b"\xff", b"true", b"-1", b"0", b"1_0", b'"../../../etc/passwd"', b'"/dev/zero"', b"\\", b"\n", b"=", b",", b"{}"),
]


class Choices:
    """Decisions read from bytes; when they are used up, all are the first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def below(self, count: int) -> int:
        """A number from 0 to ``count - 1``."""
        self._at += 2
        return int.from_bytes(self._data[self._at - 2 : self._at], "little") % count

    def of(self, items: Sequence[Item]) -> Item:
        """One of some things."""
        return items[self.below(len(items))]


@cache
def run() -> Path:
    """The directory of a small run; it stays until the process ends."""
    import mcnet

    small = ("sampling.networks=4", "sampling.batch=4", "network.depth=2", "analyze.fit.layer=2", "sweep.width=[8, 12]")
    folder = Path(tempfile.mkdtemp(prefix="mcnet-fuzz-"))
    return mcnet.run(ROOT / "scenarios" / "quickstart.toml", folder / "run", workers=1, quiet=True, overrides=small)


def scenario(data: bytes) -> None:
    """The text of a scenario."""
    from mcnet.scenario import members
    from mcnet.scenario.loading import Content, parsed

    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    members.checked(Content("fuzz.toml", text, parsed("fuzz.toml", text), Path()))


def plan(data: bytes) -> None:
    """Values of plan.json that were changed, as a resumed run and ``mcnet status`` read them."""
    from mcnet.engine import status
    from mcnet.plan.format import sealed
    from mcnet.plan.plan import Plan

    text = sealed(json.dumps(changed_plan(Choices(data))))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "plan.json").write_text(text)
        try:
            status.status(folder)
        finally:
            assert len(Plan.from_json(text).tasks) < 2_000_000


def changed_plan(choices: Choices) -> Any:
    """The plan of a good run with one to four values changed."""
    document = json.loads((run() / "plan.json").read_text())
    for _ in range(1 + choices.below(4)):
        place, key = document, choices.of(list(document))
        while isinstance(place[key], dict | list) and place[key] and choices.below(10):
            place = place[key]
            key = choices.of(list(place)) if isinstance(place, dict) else choices.below(len(place))
        if isinstance(place, dict) and not choices.below(10):
            del place[key]
        else:
            place[key] = json.loads(json.dumps(choices.of(VALUES)))
        if not document:
            break
    return document


def shard(data: bytes) -> None:
    """The bytes of a shard's HDF5 part, with checksums made right."""
    from mcnet.storage import shard as shards

    record = shards._with_crc(b'{"host": "a", "pid": 1, "wall_s": 0.25}')
    sealed = shards.Header(
        "0123456789abcdef", 0, 4, "ab" * 32, len(data), hashlib.sha256(data).hexdigest(), len(record)
    )
    header = (shards.MAGIC + json.dumps(sealed._asdict()).encode()).ljust(shards.USER_BLOCK - 9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / sealed.name
        path.write_bytes(shards._with_crc(header) + data + record)
        shards.verify(path)
        with shards.open_shard(path) as file:
            for _, values in shards.variables(file):
                _ = values[...]


def dataset(data: bytes) -> None:
    """A dataset with groups, arrays, links and attributes changed; one that passes is opened and read."""
    from mcnet.dataset import checks

    buffer = io.BytesIO((run() / "dataset.h5").read_bytes())
    with h5py.File(buffer, "r+") as file:
        choices = Choices(data)
        for _ in range(1 + choices.below(3)):
            change_dataset(file, choices)
    with h5py.File(buffer, "r") as file:
        checks.require_version(file, "fuzz.h5")
        checks.require_sound(file, "fuzz.h5")
    read_dataset(buffer.getvalue())


def change_dataset(file: h5py.File, choices: Choices) -> None:
    """One change of a dataset, such as somebody with HDF5 at hand can make."""
    groups = [file, *(child for child in file.values() if isinstance(child, h5py.Group))]
    place = choices.of(groups)
    names = sorted(place)
    name = choices.of(names) if names else "x"
    shape = choices.of([(), (0,), (2,), (3,), (2, 4), (2**40,), (2, 2**33), (1,) * 9])
    dtype = choices.of(["f8", "f4", "i1", "u8", "S5", "S0", "c16", "f2", h5py.string_dtype(), h5py.ref_dtype, "V7"])
    match choices.below(7):
        case 0 | 1:
            target = place[name] if names and choices.below(3) else place
            attribute = choices.of([*sorted(target.attrs), "scale_factor", "units", "_FillValue", "a b", "\x1b"])
            value = choices.of([*VALUES, np.float64(2), np.int8(1), b"\xff\xfe", "days since 0", np.ones(3)])
            if value is None:
                target.attrs.pop(attribute, None)
            else:
                try:
                    target.attrs[attribute] = value
                except (TypeError, OverflowError, ValueError, OSError):
                    return  # HDF5 has no way to say it
        case 2:
            if names:
                del place[name]
        case 3:
            if names:
                del place[name]
            place[name] = choices.of(
                [h5py.SoftLink("/width"), h5py.SoftLink("/"), h5py.ExternalLink("other.h5", "/x"), file["width"], file]
            )
        case 4 if names:
            del place[name]
            try:
                place.create_dataset(name, shape, dtype, chunks=True if shape and choices.below(2) else None)
            except (TypeError, ValueError, OSError):
                return
        case 5 if (
            names and isinstance(place[name], h5py.Dataset) and place[name].size and place[name].dtype.kind != "O"
        ):
            values = np.array(place[name])
            values.reshape(-1).view("u1")[choices.below(values.nbytes)] ^= 1 << choices.below(8)
            try:
                place[name][...] = values
            except OSError:
                return
        case _:
            place.require_group(choices.of(["x", "a b", "signal", "deep/er"]))


def read_dataset(content: bytes) -> None:
    """Open a dataset that was found sound as users do, and read all of it."""
    from mcnet.dataset import vetting
    from mcnet.dataset.open import open_dataset

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset.h5"
        path.write_bytes(content)
        with (
            mock.patch.object(vetting, "require_readable"),  # that was done
            contextlib.suppress(OSError),  # a piece whose checksum is wrong: told when it is read
            open_dataset(path) as tree,
        ):
            tree.load()


def dataset_bytes(data: bytes) -> None:
    """The bytes of dataset.h5, looked at as the child does that reads it before :func:`mcnet.open`."""
    from mcnet.dataset import vetting
    from mcnet.errors import DataError

    resource.setrlimit(resource.RLIMIT_CPU, (vetting.CPU_SECONDS, vetting.CPU_SECONDS))
    sys.stdout = said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset.h5"
        path.write_bytes(data)
        if vetting.look(str(path), "sealed"):
            raise DataError(said.getvalue())
    read_dataset(data)


def seeds(target: str) -> list[bytes]:
    """Good files, or choices, to begin with."""
    if target == "scenario":
        return [path.read_bytes() for path in sorted((ROOT / "scenarios").glob("*.toml"))]
    if target == "dataset-bytes":
        return [(run() / "dataset.h5").read_bytes()]
    if target == "shard":
        from mcnet.storage import shard as shards

        path = min((run() / "shards").glob("*.h5"))
        return [path.read_bytes()[shards.USER_BLOCK :][: shards.read_header(path).nbytes]]
    return [bytes(range(40)), hashlib.sha512(target.encode()).digest()]


TARGETS: dict[str, Target] = {
    "scenario": scenario,
    "plan": plan,
    "dataset": dataset,
    "dataset-bytes": dataset_bytes,
    "shard": shard,
}
GUIDED = ("scenario", "plan", "dataset")
"""Targets that read in Python, which coverage can guide; the others read in HDF5, which may crash: in a child."""
