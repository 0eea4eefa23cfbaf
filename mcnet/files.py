"""Files of a run directory, opened as if somebody else had put them there; nobody else here opens a file for writing.

A directory may come from anywhere. No link in it leads the program to another place, no pipe or device makes it wait or
fills its memory. What is written goes to a new file under a name that nobody can know before (a random one, made
exclusively), is synced, and only then takes its place by a rename, which replaces a link and does not follow it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mcnet.errors import DataError, DiskError

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = _WRITE | os.O_EXCL
_TEMPORARY = re.compile(r"\.mcnet-([0-9a-f]{12})-(\d{1,10})-[0-9a-f]{16}\.tmp")
STALE_SECONDS = 24 * 3600.0
ATTEMPTS = 3  # to publish a file that somebody takes for the remains of a dead process and removes

Part = bytes | memoryview


def open_regular(path: str | Path) -> tuple[int, int]:
    """Descriptor and length of a regular file, open for reading.

    Raises
    ------
    DataError
        If it is a link, a directory, a pipe or a device.
    OSError
        If it cannot be opened.
    """
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        if os.path.islink(path):
            raise DataError(f"{path}: is a link. Put the file itself there.") from error
        raise
    return descriptor, _regular(descriptor, path).st_size


def _regular(descriptor: int, path: str | Path) -> os.stat_result:
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        raise DataError(f"{path}: is no regular file.")
    return state


def read(path: str | Path, limit: int) -> bytes:
    """All of a regular file of at most ``limit`` bytes; errors as for :func:`open_regular`."""
    descriptor, length = open_regular(path)
    with open(descriptor, "rb") as file:
        content = b"" if length > limit else file.read(limit + 1)
    if max(length, len(content)) > limit:
        raise DataError(f"{path}: is larger than {limit >> 20} MB.")
    return content


def listed(folder: str | Path) -> list[str]:
    """Names in a folder; none if it is not there.

    Raises
    ------
    DiskError
        If it cannot be read.
    """
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(folder, error) from error


def commit(directory: Path, name: str, parts: Sequence[Part]) -> None:
    """Publish a file, all of it or nothing: temporary name, fsync, rename, fsync of the directory.

    Raises
    ------
    DiskError
        If the disk is full or refuses; nothing is left behind.
    """
    target = directory / name
    try:
        for left in reversed(range(ATTEMPTS)):
            temporary = _written(directory, parts)
            try:
                os.rename(temporary, target)
                break
            except FileNotFoundError:
                if not left:
                    raise
            finally:
                _remove(temporary)
        sync_directory(directory)
    except OSError as error:
        raise refusal(target, error, _length(parts)) from error


def publish(directory: Path, name: str, parts: Sequence[Part]) -> None:
    """As :func:`commit`, unless something has that name already: then that stays."""
    target = directory / name
    try:
        temporary = _written(directory, parts)
        try:
            os.link(temporary, target)  # unlike a rename it replaces nothing
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            if not os.path.lexists(target):
                os.rename(temporary, target)
        finally:
            _remove(temporary)
        sync_directory(directory)
    except OSError as error:
        raise refusal(target, error, _length(parts)) from error


@contextlib.contextmanager
def replacement(target: Path) -> Iterator[Path]:
    """A free name in the folder of ``target``; the file or folder made under it takes the place of ``target``.

    Where the block ends in an error, what was made is removed. For writers that need a path, HDF5 and Zarr; they must
    make what they write exclusively.

    Raises
    ------
    OSError
    """
    temporary = target.with_name(_temporary_name())
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, target)
        sync_directory(target.parent)
    finally:
        _remove(temporary)


def make_new_folder(path: Path) -> None:
    """Make a folder that is not there: a link of its name is no place to write to.

    Raises
    ------
    OSError
    """
    os.mkdir(path, 0o755)


def append(path: Path, text: str | bytes) -> None:
    """Append to a regular file that has no second name, made if it is not there; nothing is written anywhere else.

    Raises
    ------
    DataError, OSError
        As for :func:`open_regular`.
    """
    descriptor = os.open(path, _WRITE | os.O_APPEND, 0o644)
    if _regular(descriptor, path).st_nlink > 1:
        os.close(descriptor)
        raise DataError(f"{path}: has other names too. Put a file of its own there.")
    with open(descriptor, "ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def write(path: Path, content: str | bytes) -> None:
    """Publish a file as :func:`commit` does, in a folder that is there."""
    commit(path.parent, path.name, [content.encode() if isinstance(content, str) else content])


def make_folder(path: Path, may_be_link: bool = False) -> None:
    """Make a folder unless it is there; one that the user names may be a link, one of a run may not.

    Raises
    ------
    DataError
        If a link or something else has its name.
    DiskError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=may_be_link)
    except FileExistsError:
        require_folder(path)
    except OSError as error:
        raise DiskError(f"{path}: cannot be made: {error.strerror}.") from error


def require_folder(path: Path) -> None:
    """Refuse a folder of a run that is a link: what it leads to is not ours.

    Raises
    ------
    DataError
    DiskError
        If the system does not let it be looked at.
    """
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise DataError(f"{path}: is a link or no folder. Give a directory that holds its own files.")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise unreadable(path, error) from error


def sync_directory(directory: Path) -> None:
    """Make renames in a directory permanent."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(directory: Path) -> int:
    """Remove what processes of this machine that are gone were writing, and what others left there a day ago.

    Returns the number of files and folders.
    """
    removed, here, now = 0, owner(), time.time()
    for path in directory.glob(".mcnet-*.tmp"):
        match = _TEMPORARY.fullmatch(path.name)
        if match is None:
            continue
        try:
            old = now - path.lstat().st_mtime > STALE_SECONDS
            if old if match[1] != here else not _alive(int(match[2])):
                _remove(path, strict=True)
                removed += 1
        except OSError:  # its process has just published or removed it, or the disk is read-only
            continue
    return removed


def refusal(target: Path, error: OSError, needed: int | None = None) -> DiskError:
    """What a disk that does not take a file says, as an error of ours."""
    amount = "" if needed is None else f" ({size_text(needed)})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError(f"{target.parent}: disk full; {target.name}{amount} does not fit.")
    return DiskError(f"{target.parent}: {target.name}{amount} cannot be written: {error.strerror or error}.")


def unreadable(path: str | Path, error: OSError) -> DiskError:
    """What a disk that does not let something be read says, as an error of ours: nothing is known of what it holds."""
    return DiskError(f"{path}: cannot be read: {error.strerror or error}.")


def free_space(folder: Path) -> int:
    """Bytes that are free where a folder lies.

    Raises
    ------
    DiskError
        If the system does not say it.
    """
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise DiskError(f"{folder}: cannot be written: {error.strerror}.") from error


def shortage(needed: float, free: float) -> str:
    """``1.2 GB are needed and 0.9 GB are free``."""
    told = f"{size_text(needed)} are needed and {size_text(free)} are free"
    return told if size_text(needed) != size_text(free) else f"{told} ({size_text(needed - free)} too few)"


def size_text(count: float) -> str:
    """``12 kB``, ``1.2 GB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def _written(directory: Path, parts: Sequence[Part]) -> Path:
    """A new file under a temporary name, with all parts in it and synced."""
    descriptor, temporary = create(directory)
    try:
        try:
            for part in parts:
                view = memoryview(part).cast("B")
                while view.nbytes:
                    view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        _remove(temporary)
        raise
    return temporary


def create(directory: Path) -> tuple[int, Path]:
    """Descriptor and path of a new file, made under a random name; links of that name are neither followed nor
    removed."""
    while True:
        temporary = directory / _temporary_name()
        with contextlib.suppress(FileExistsError):
            return os.open(temporary, _NEW, 0o644), temporary


def _temporary_name() -> str:
    return f".mcnet-{owner()}-{os.getpid()}-{secrets.token_hex(8)}.tmp"


def owner() -> str:
    """Names who may ask whether a process is alive: a host since it was started, and its namespace of processes.

    Containers of one host name have processes of the same numbers, each its own.
    """
    known = [socket.gethostname()]
    with contextlib.suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        known.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(known).encode()).hexdigest()[:12]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _remove(path: Path, strict: bool = False) -> None:
    """Remove a file, a link or a folder of ours; a disk that is read-only keeps it, and ``remove_stale`` finds it."""
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        if strict:
            raise


def _length(parts: Sequence[Part]) -> int:
    return sum(memoryview(part).nbytes for part in parts)
