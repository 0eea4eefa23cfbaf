"""The file ``shards.txt``: a line for each shard that was seen good, with its length and the time of its last change.

It saves ``status`` the headers of a hundred thousand files, of which a cold disk reads a hundred megabytes in small
pieces. It decides nothing: who draws, packs, merges or verifies reads the shards themselves. A line counts only where
the file still has that name, length and time; where a line is lost, torn or says anything else, the header of the shard
is read. Lines are only ever appended, by every process that commits a shard.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from mcnet import files
from mcnet.errors import DataError

LEDGER = "shards.txt"
MAX_BYTES = 2**28  # two million shards


def read(directory: Path) -> frozenset[str]:
    """All lines; none where the file is missing, unreadable or too long to be one."""
    with contextlib.suppress(OSError, DataError):
        return frozenset(files.read(directory / LEDGER, MAX_BYTES).decode(errors="replace").splitlines())
    return frozenset()


def line(path: str | Path, plan: str) -> str | None:
    """What the ledger says of a shard of a plan that is as this file is now; None if it is no file to be looked at."""
    try:
        state = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    return f"{os.path.basename(path)} {state.st_size} {state.st_mtime_ns} {plan[:16]}"


def add(directory: Path, lines: Iterable[str | None]) -> None:
    """Append lines of shards that were just committed, or read to the end; a disk that refuses loses them."""
    text = "".join(f"{one}\n" for one in lines if one is not None)
    if text:
        with contextlib.suppress(OSError, DataError):
            files.append(directory / LEDGER, text)
