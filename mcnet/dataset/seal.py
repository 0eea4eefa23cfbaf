"""The seal of a dataset: a last line, after the HDF5 part, with the SHA-256 of every byte before it.

Readers of HDF5 pay no attention to what follows the part that they know. Whoever changes the file by HDF5, were it one
attribute, cuts the seal off; a bit that flips anywhere makes it wrong.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from mcnet import files

_MAGIC = b"\nmcnet-dataset-sha256 "
LENGTH = len(_MAGIC) + 64 + 1
_PIECE = 1 << 20


def append(path: Path) -> None:
    """Seal a file that is complete.

    Raises
    ------
    OSError, DataError
        If it cannot be read or written.
    """
    with path.open("rb", buffering=0) as file:
        digest = _digest(file.fileno(), os.fstat(file.fileno()).st_size)
    files.append(path, _MAGIC + digest.encode() + b"\n")


def is_right(path: str | Path) -> bool | None:
    """Whether every byte is the one that was sealed; None if there is no seal.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with Path(path).open("rb", buffering=0) as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size - LENGTH
        line = os.pread(descriptor, LENGTH, max(size, 0))
        if size < 0 or not line.startswith(_MAGIC):
            return None
        return line == _MAGIC + _digest(descriptor, size).encode() + b"\n"


def _digest(descriptor: int, size: int) -> str:
    digest = hashlib.sha256()
    at = 0
    while at < size and (piece := os.pread(descriptor, min(_PIECE, size - at), at)):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()
