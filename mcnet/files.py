"""Files of a run directory, opened as if somebody else had put them there.

A directory may come from anywhere. No link in it leads the program to another place, no pipe or device makes it wait or
fills its memory, and what it writes it writes to files that it has just made.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from mcnet.errors import DataError

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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
    return descriptor, _regular(descriptor, path)


def _regular(descriptor: int, path: str | Path) -> int:
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        raise DataError(f"{path}: is no regular file.")
    return state.st_size


def read(path: str | Path, limit: int) -> bytes:
    """All of a regular file of at most ``limit`` bytes; errors as for :func:`open_regular`."""
    descriptor, length = open_regular(path)
    with open(descriptor, "rb") as file:
        content = b"" if length > limit else file.read(limit + 1)
    if max(length, len(content)) > limit:
        raise DataError(f"{path}: is larger than {limit >> 20} MB.")
    return content


def create(path: Path) -> int:
    """Descriptor of a new file; what had the name, a link for instance, is removed."""
    path.unlink(missing_ok=True)
    return os.open(path, _WRITE | os.O_EXCL, 0o644)


def append(path: Path, text: str) -> None:
    """Append to a regular file, made if it is not there; nothing is written anywhere else.

    Raises
    ------
    DataError, OSError
        As for :func:`open_regular`.
    """
    descriptor = os.open(path, _WRITE | os.O_APPEND, 0o644)
    _regular(descriptor, path)
    with open(descriptor, "ab") as file:
        file.write(text.encode())


def make_folder(path: Path) -> None:
    """Make a folder unless it is there.

    Raises
    ------
    DataError
        If a link or something else has its name.
    OSError
        If it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(parents=True)
    require_folder(path)


def require_folder(path: Path) -> None:
    """Refuse a folder of a run that is a link: what it leads to is not ours.

    Raises
    ------
    DataError
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise DataError(f"{path}: is a link or no folder. Give a directory that holds its own files.")
