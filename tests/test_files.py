"""Files are written in one way: new, under a name that nobody knows before, through no link; whole or not at all."""

from __future__ import annotations

import ast
import errno
import os
import secrets
import socket
from pathlib import Path

import pytest

from mcnet import files
from mcnet.errors import DataError, DiskError

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    str(path.relative_to(ROOT)): path
    for folder in ("mcnet", "analysis")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path != ROOT / "mcnet" / "files.py"
}
WRITERS = {"write_text", "write_bytes", "touch", "tofile", "savez", "savez_compressed", "savetxt", "savefig"}
WRITERS |= {"mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory", "mkdir", "makedirs"}
WRITERS |= {"symlink", "symlink_to", "hardlink_to", "mkfifo", "copytree", "copy2", "copyfile"}
OF_OTHERS = {"rename", "replace", "copy", "link", "move", "truncate"}  # also what texts, arrays and records have
WRITERS |= OF_OTHERS
MODULES = {"os", "shutil"}
OPENERS = {"open", "fdopen", "File", "memmap", "open_memmap"}
MODES = {"w", "x", "a", "+"}

# What looks like writing to a path and is not, or is where nobody else can be.
ALLOWED = {
    ("mcnet/commands/group.py", "os.open"): "the null device",
    (
        "mcnet/commands/doctor.py",
        "TemporaryDirectory",
    ): "a new folder of a random name, which this process alone enters",
    ("mcnet/kernels/lanes/programs.py", "mkdtemp"): "a new folder of a random name, which this process alone enters",
    ("mcnet/kernels/lanes/programs.py", "mkdir"): "the cache of the user",
    ("mcnet/plugins.py", "mkdir"): "the home of the user",
    ("mcnet/engine/worker.py", "fdopen"): "a pipe",
    ("mcnet/dataset/file.py", "File x"): "HDF5 makes the file exclusively, under the name that mcnet.files has given",
    ("mcnet/storage/shard.py", "File w"): "a buffer in memory",
    ("mcnet/storage/shard.py", "rename"): "a damaged shard is given another name in its folder",
    ("mcnet/engine/driver.py", "TemporaryDirectory"): "a new folder of a random name, which this process alone enters",
    ("analysis/draw/style.py", "savefig"): "a buffer in memory",
    ("analysis/kept.py", "savez_compressed"): "a buffer in memory",
    ("analysis/plot.py", "savefig"): "a buffer in memory",
}


def writing(text: str) -> set[str]:
    """The calls in a source text that make, open for writing or replace a file."""
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    return {told for node in calls if (told := _written_by(node))}


def _written_by(node: ast.Call) -> str:
    """What a call writes with; "" if it writes nothing."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    if (owner, name) == ("os", "open"):
        return "os.open"
    if name in OPENERS:
        after_path = node.args[0 if name == "open" and owner not in ("", "io", "os") else 1 :]
        given = [*after_path[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
        modes = "".join(a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str))
        told = name if name == "fdopen" else f"{name} {modes}"
        return told if MODES & set(modes) else ""
    if name in OF_OTHERS and owner not in MODULES:  # a text's replace has two arguments, a path's has one
        of_path = len(node.args) == 1 and not node.keywords and bool(owner)
        return name if of_path and name in {"rename", "replace"} else ""
    return name if name in WRITERS or (owner, name) == ("np", "save") else ""


@pytest.mark.parametrize("name", SOURCES)
def test_nobody_else_opens_a_file_for_writing(name: str) -> None:
    assert {what for what in writing(SOURCES[name].read_text()) if (name, what) not in ALLOWED} == set()


def test_every_exception_is_needed() -> None:
    assert {(name, what) for name in SOURCES for what in writing(SOURCES[name].read_text())} >= ALLOWED.keys()


@pytest.mark.parametrize(
    "line",
    [
        "path.write_text('x')",
        "open('x', 'w')",
        "open('x', mode='r+b')",
        "path.open('ab')",
        "os.open('x', os.O_WRONLY | os.O_CREAT)",
        "os.replace('a', 'b')",
        "path.rename(other)",
        "h5py.File('x.h5', 'r+')",
        "np.save('x.npy', array)",
        "shutil.copy('a', 'b')",
        "tempfile.NamedTemporaryFile('w')",
        "path.symlink_to(other)",
    ],
)
def test_writing_is_seen(line: str) -> None:
    assert writing(line)
    assert not writing(
        "text.replace('a', 'b'); open('x'); open('x', 'rb'); replace(plan, points=()); h5py.File(p, 'r')"
    )


def test_a_link_of_the_very_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even whoever guessed the random part gets nothing: another name is taken."""
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    parts = iter(["a" * 16, "b" * 16, "c" * 16])
    monkeypatch.setattr(secrets, "token_hex", lambda count: next(parts))
    for letter, target in (("a", precious), ("b", tmp_path / "nowhere")):
        monkeypatch.setattr(secrets, "token_hex", lambda count, letter=letter: letter * 16)
        (tmp_path / files._temporary_name()).symlink_to(target)
    monkeypatch.setattr(secrets, "token_hex", lambda count: next(parts))
    files.commit(tmp_path, "told.txt", [b"told"])
    assert (tmp_path / "told.txt").read_text() == "told"
    assert (precious.read_text(), (tmp_path / "nowhere").exists()) == ("precious", False)


@pytest.mark.parametrize("publish", [files.commit, files.publish])
def test_a_link_in_the_place_of_the_target(tmp_path: Path, publish: object) -> None:
    precious, target = tmp_path / "precious.txt", tmp_path / "target"
    precious.write_text("precious")
    for aim in (precious, tmp_path / "nowhere"):
        target.unlink(missing_ok=True)
        target.symlink_to(aim)
        publish(tmp_path, "target", [b"told"])  # type: ignore[operator]
        assert target.is_symlink() == (publish is files.publish)  # what is there stays
    assert (precious.read_text(), (tmp_path / "nowhere").exists()) == ("precious", False)


def test_appending_writes_nowhere_else(tmp_path: Path) -> None:
    precious, link = tmp_path / "precious.txt", tmp_path / "log"
    precious.write_text("precious")
    link.symlink_to(precious)
    with pytest.raises(OSError, match="Too many levels"):
        files.append(link, "x")
    link.unlink()
    os.link(precious, link)
    with pytest.raises(DataError, match="has other names too"):
        files.append(link, "x")
    assert precious.read_text() == "precious"


def test_no_two_names_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers of one host name, in which processes have the same numbers."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    names = {files._temporary_name() for _ in range(1000)}
    assert len(names) == 1000
    descriptor, path = files.create(tmp_path)
    os.close(descriptor)
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[1]")  # another namespace, where no process has this number
    monkeypatch.setattr(files, "_alive", lambda pid: False)
    assert files.remove_stale(tmp_path) == 0
    assert path.exists()


def test_what_was_taken_for_stale_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, seen = os.rename, list[int]()

    def removed_before(source: Path, target: Path) -> None:
        if not seen:
            source.unlink()
        seen.append(1)
        rename(source, target)

    monkeypatch.setattr(os, "rename", removed_before)
    files.commit(tmp_path, "a.h5", [b"abc"])
    assert ((tmp_path / "a.h5").read_bytes(), len(seen)) == (b"abc", 2)
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(FileNotFoundError(errno.ENOENT, "gone")))
    with pytest.raises(DiskError, match=r"b\.h5 \(3 B\) cannot be written: gone"):
        files.commit(tmp_path, "b.h5", [b"abc"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "folder"]


def test_stale_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    host, here = socket.gethostname(), os.getpid()

    def name(pid: int, host: str = host) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: pid)
            patch.setattr(socket, "gethostname", lambda: host)
            return tmp_path / files._temporary_name()

    gone, mine, recent, old, folder = name(dead), name(here), name(1, "other"), name(1, "other"), name(dead)
    folder.mkdir()
    (folder / "chunk").touch()
    kept = [mine, recent, tmp_path / f".notes.{host}.{dead}.tmp", tmp_path / ".mcnet-x.tmp"]
    for path in (gone, old, *kept):
        path.touch()
    os.utime(old, (0, 0))
    link = name(dead)
    link.symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    assert files.remove_stale(tmp_path) == 4
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "kept"])
    os.utime(mine, (0, 0))  # a clock that has jumped
    assert files.remove_stale(tmp_path) == 0


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    files.publish(tmp_path, "0001.json", [b"first"])
    files.publish(tmp_path, "0001.json", [b"second"])
    assert (tmp_path / "0001.json").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["0001.json"]


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "open"])
def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refused)
        with pytest.raises(DiskError, match=r"disk full; a\.h5 \(1\.0 kB\) does not fit") as caught:
            files.commit(tmp_path, "a.h5", [bytes(1000)])
    assert caught.value.exit_code == 74
    assert not list(tmp_path.iterdir())


def test_sizes_are_told_so_that_they_differ() -> None:
    assert files.shortage(3e6, 2e3) == "3.0 MB are needed and 2.0 kB are free"
    assert files.shortage(4_012_000, 3_998_000) == "4.0 MB are needed and 4.0 MB are free (14 kB too few)"
