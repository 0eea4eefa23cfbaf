"""Datasets are looked at in a process of their own before this one opens them.

The HDF5 library loops, crashes or takes all memory on some damaged files. That must not happen to a notebook or a run:
a child with limits on time and memory opens the file first and reads its structure, its attributes and its points.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from mcnet.errors import DataError

CPU_SECONDS, WALL_SECONDS = 20, 300
MEMORY_BYTES = 4 * 2**30
_LOOK = "import sys; from mcnet.dataset.vetting import look; sys.exit(look(sys.argv[1]))"
_READ = "import sys; from mcnet.dataset.file import read_back; print(read_back(sys.argv[1]))"


def require_readable(path: Path) -> None:
    """Refuse a file that is no dataset of mcnet, is damaged, or does harm to who opens it.

    A file is looked at once in the life of a process, unless it changes.

    Raises
    ------
    DataError
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such file.")
    if not path.is_file():
        raise DataError(f"{path}: is no regular file.")
    state = path.stat()
    told = _verdict(str(path), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    if told:
        raise DataError(told)


@lru_cache(maxsize=256)
def _verdict(path: str, *state: int) -> str:
    """What is wrong with a file; "" if nothing is. ``state`` names its content."""
    try:
        child = _child(_LOOK, path, WALL_SECONDS)
    except subprocess.TimeoutExpired:
        return f"{path}: is damaged: HDF5 does not come to an end with it."
    if child.returncode == 0:
        return ""
    if child.returncode == DataError.exit_code and child.stdout:
        return child.stdout.decode(errors="replace").strip()
    ending = f"signal {-child.returncode}" if child.returncode < 0 else f"code {child.returncode}"
    return f"{path}: is damaged: HDF5 cannot read it (it ended with {ending})."


def content_digest(path: Path) -> str:
    """The content digest of a dataset, all of it read in a child; "" if it is damaged."""
    child = _child(_READ, str(path), None)
    return child.stdout.decode().strip() if child.returncode == 0 else ""


def _child(code: str, path: str, seconds: float | None) -> subprocess.CompletedProcess[bytes]:
    places = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return subprocess.run(
        [sys.executable, "-P", "-c", code, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": places},
        timeout=seconds,
    )


def look(path: str) -> int:
    """What the child does; its exit code."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import h5py

    from mcnet.dataset import checks

    try:
        with h5py.File(path, "r", locking=False) as file:
            checks.require_version(file, path)
            checks.require_sound(file, path)
    except DataError as error:
        sys.stdout.write(str(error))
        return error.exit_code
    except (OSError, RuntimeError) as error:
        sys.stdout.write(f"{path}: is damaged, or no HDF5 file ({' '.join(str(error).split())[:150]!a}).")
        return DataError.exit_code
    return 0
