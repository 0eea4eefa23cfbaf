"""The shard file: every cut and every flipped bit is seen, a full disk leaves nothing, equal content is equal bytes."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from mcnet import files
from mcnet.errors import DiskError
from mcnet.storage import shard
from mcnet.variables import Measured, Variable

POINT = "00112233445566ff"
PLAN = "ab" * 32


def variable(name: str, *dims: str, group: str = "signal", **more: object) -> Variable:
    texts = dict.fromkeys(("long_name", "symbol", "definition", "normalisation", "reference"), name)
    return Variable(name, group, dims, **texts, **more)  # type: ignore[arg-type]


def measured(start: int, stop: int) -> list[Measured]:
    numbers = np.arange(start, stop)[:, None] + np.linspace(0, 1, 4)
    numbers[:, 0] = np.nan
    counts = np.array([[stop - start, 0, 7]])
    return [
        Measured(variable("q", "layer"), numbers),
        Measured(variable("count", "bin", group="jacobian", dtype="int64", per_shard=True), counts),
    ]


def make(directory: Path, start: int = 0, stop: int = 6, quality: dict[str, object] | None = None) -> Path:
    content = shard.build(measured(start, stop), start, stop, {"physics": "{}"})
    header, record = shard.seal(content, POINT, start, stop, PLAN, quality or {"host": "here", "seconds": 0.5})
    files.commit(directory, header.name, [content, record])
    return directory / header.name


def test_a_shard_comes_back(tmp_path: Path) -> None:
    path = make(tmp_path)
    header, quality = shard.verify(path)
    assert (header.point, header.start, header.stop, header.plan) == (POINT, 0, 6, PLAN)
    assert quality == {"host": "here", "seconds": 0.5}
    assert shard.parse_name(path.name) == (POINT, 0, 6)
    arrays = shard.read(path)
    np.testing.assert_array_equal(arrays["signal/q"], measured(0, 6)[0].values)
    np.testing.assert_array_equal(arrays["jacobian/count"], [[6, 0, 7]])
    with shard.open_shard(path) as file:
        assert [found for found, _ in shard.variables(file)] == [
            measured(0, 6)[1].variable,
            measured(0, 6)[0].variable,
        ]
    with h5py.File(path) as plain:  # a reader that knows nothing of mcnet
        assert plain["signal/q"].shape == (6, 4)
    assert not list(tmp_path.glob(".*"))


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    first = make(one, quality={"host": "a", "seconds": 1.0})
    time.sleep(1.1)  # a time stamp in the file would have its seconds changed
    second = make(two, quality={"host": "elsewhere", "seconds": 2.5})
    headers = [shard.verify(path)[0] for path in (first, second)]
    assert headers[0].sha256 == headers[1].sha256
    end = shard.USER_BLOCK + headers[0].nbytes
    assert first.read_bytes()[shard.USER_BLOCK : end] == second.read_bytes()[shard.USER_BLOCK : end]


def test_every_prefix_is_detected(tmp_path: Path) -> None:
    path = make(tmp_path)
    length = path.stat().st_size
    for size in reversed(range(length)):
        os.truncate(path, size)
        with pytest.raises(shard.Damaged):
            shard.read_header(path)  # what `mcnet status` reads is enough to see it


def test_every_flipped_bit_is_detected(tmp_path: Path) -> None:
    path = make(tmp_path)
    whole = path.read_bytes()
    everywhere = [(byte, bit) for byte in range(shard.USER_BLOCK) for bit in range(8)]
    rng = np.random.default_rng(5)
    beyond = np.unique(rng.integers(8 * shard.USER_BLOCK, 8 * len(whole), 1000))
    everywhere += [(int(place) // 8, int(place) % 8) for place in beyond]
    everywhere += [(len(whole) - 1 - byte, bit) for byte in range(60) for bit in range(8)]
    with open(path, "r+b", buffering=0) as file:
        for byte, bit in everywhere:
            os.pwrite(file.fileno(), bytes([whole[byte] ^ (1 << bit)]), byte)
            with pytest.raises(shard.Damaged):
                shard.verify(path)
            os.pwrite(file.fileno(), whole[byte : byte + 1], byte)
    shard.verify(path)


def test_lost_pages_are_detected(tmp_path: Path) -> None:
    content = shard.build([Measured(variable("q", "unit"), np.random.default_rng(1).normal(size=(64, 300)))], 0, 64, {})
    header, record = shard.seal(content, POINT, 0, 64, PLAN, {})
    files.commit(tmp_path, header.name, [content, record])
    path = tmp_path / header.name
    whole = path.read_bytes()
    for page in range(0, len(whole), 4096):
        lost = whole[:page] + bytes(len(whole[page : page + 4096])) + whole[page + 4096 :]
        path.write_bytes(lost)
        with pytest.raises(shard.Damaged):
            shard.verify(path)


def test_a_shard_under_another_name_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path)
    moved = path.rename(tmp_path / shard.shard_name(POINT, 6, 12))
    with pytest.raises(shard.Damaged, match="wrong name"):
        shard.verify(moved)


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    earlier = make(tmp_path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(DiskError, match=r"disk full; .*\.h5 \(.* kB\) does not fit") as caught:
        make(tmp_path, 6, 12)
    assert caught.value.exit_code == 74
    assert sorted(tmp_path.iterdir()) == [earlier]


def test_a_disk_that_turns_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by the soak: what was begun cannot be removed either."""

    def refused(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    path = make(tmp_path)
    for call in ("write", "rename", "unlink"):
        monkeypatch.setattr(os, call, refused)
    with pytest.raises(DiskError, match="cannot be written: Read-only file system"):
        make(tmp_path, 6, 12)
    with pytest.raises(DiskError, match="is damaged and cannot be set aside"):
        shard.set_aside(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 999_999_999)  # of a process that is gone
        descriptor, _ = files.create(tmp_path)
        os.close(descriptor)
    assert files.remove_stale(tmp_path) == 0


def test_two_that_set_one_shard_aside(tmp_path: Path) -> None:
    """Found by the soak."""
    path = make(tmp_path)
    shard.set_aside(path)
    shard.set_aside(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"{path.name}.bad"]


def test_a_short_write_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:1000]))
    shard.verify(make(tmp_path))


def test_the_system_refuses_to_write(tmp_path: Path) -> None:
    """A real refusal in the middle of a file: the limit on file sizes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        with pytest.raises(DiskError, match="cannot be written"):
            make(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())
    make(tmp_path)


def test_wrong_batches_are_not_stored() -> None:
    q = variable("q", "layer")
    with pytest.raises(ValueError, match=r"shape \(5, 4\)"):
        shard.build([Measured(q, np.zeros((5, 4)))], 0, 6, {})
    values = np.zeros((6, 4))
    values[2, 3] = np.inf
    with pytest.raises(ValueError, match="q: is not finite in network 10 at layer 3"):
        shard.build([Measured(q, values)], 8, 14, {})


def test_damaged_shards_are_kept_aside(tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        names.append(shard.set_aside(make(tmp_path)).name)
    assert [name[-9:] for name in names] == ["06.h5.bad", ".h5.2.bad"]
    assert len(list(tmp_path.glob("*.bad"))) == 2
