"""Datasets are looked at before they are opened: every byte against the seal, the structure in a process of its own.

The HDF5 library loops, crashes or takes all memory on some damaged files. That must not happen to a notebook or a run:
what is not as it was sealed is never given to it, and as a right seal does not say who made it, a child with limits on
time and memory opens the file first and reads its structure, its attributes and its points.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from mcnet.dataset import seal
from mcnet.errors import DataError, DiskError, Stopped

CPU_SECONDS, WALL_SECONDS = 20, 300
MEMORY_BYTES = 4 * 2**30
KILLS = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1}
"""Signals that somebody sends; all others come from what a process does."""
_LOOK = "import sys; from mcnet.dataset.vetting import look; sys.exit(look(*sys.argv[1:]))"
_READ = "import sys; from mcnet.dataset.file import read_back; print(read_back(sys.argv[1]))"
_SEALED, _UNSEALED = "sealed", "unsealed"


def require_readable(path: Path, afresh: bool = False) -> None:
    """Refuse a file that is no dataset of mcnet, is not as it was written, or does harm to who opens it.

    Parameters
    ----------
    path : Path
    afresh : bool
        Compare every byte with the seal again. Else it is done once in the life of a process, unless the file changes.

    Raises
    ------
    DataError
    DiskError
        If the system does not let it be read.
    Stopped
        If the process that looked at it was killed.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: there is no such file.")
        if not path.is_file():
            raise DataError(f"{path}: is no regular file.")
        state = path.stat()
        judge = _verdict.__wrapped__ if afresh else _verdict
        told = judge(str(path), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise DiskError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if told:
        raise DataError(told)


@lru_cache(maxsize=256)
def _verdict(path: str, *state: int) -> str:
    """What is wrong with a file; "" if nothing is. ``state`` names its content."""
    sealed = seal.is_right(path)
    if sealed is False:
        return f"{path}: is damaged, or was changed after it was written: its checksum differs."
    told, digest = _structure(path, bool(sealed), *state)
    if told or sealed:
        return told
    # Of a format that had no seal: the numbers and the points against the digest that the file carries.
    return "" if content_digest(Path(path)) == digest else f"{path}: is damaged."


@lru_cache(maxsize=256)
def _structure(path: str, sealed: bool, *state: int) -> tuple[str, str]:
    """What is wrong with what HDF5 finds in a file, "" if nothing is; and the content digest that it carries."""
    try:
        child = _child(path, WALL_SECONDS, _LOOK, path, _SEALED if sealed else _UNSEALED)
    except subprocess.TimeoutExpired:
        return f"{path}: is damaged: HDF5 does not come to an end with it.", ""
    told = child.stdout.decode(errors="replace").strip()
    if child.returncode == 0:
        return "", told
    if child.returncode == DataError.exit_code and told:
        return told, ""
    ending = f"signal {-child.returncode}" if child.returncode < 0 else f"code {child.returncode}"
    return f"{path}: is damaged: HDF5 cannot read it (it ended with {ending}).", ""


def content_digest(path: Path) -> str:
    """The content digest of a dataset, all of it read in a child; "" if it is damaged."""
    child = _child(str(path), None, _READ, str(path))
    return child.stdout.decode().strip() if child.returncode == 0 else ""


def _child(path: str, seconds: float | None, code: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    places = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    child = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": places},
        timeout=seconds,
    )
    if -child.returncode in KILLS:
        raise Stopped(
            f"{path}: was not read: the process that looked at it was killed by signal {-child.returncode}. Say the "
            "command again; if it happens again, free some memory."
        )
    return child


def look(path: str, sealed: str) -> int:
    """What the child does; its exit code. It says what is wrong, or the content digest that the file carries."""
    # The hard limit above the soft one: SIGXCPU, which is the file's fault, and not SIGKILL, which may be anybody's.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import h5py

    from mcnet.dataset import checks

    try:
        with h5py.File(path, "r", locking=False) as file:
            version = checks.require_version(file, path)
            if version >= checks.SEALED_SINCE and sealed != _SEALED:
                raise DataError(f"{path}: was changed after it was written, or its end is missing: it has no checksum.")
            checks.require_sound(file, path)
            sys.stdout.write(str(file.attrs.get("content_digest", "")))
    except DataError as error:
        sys.stdout.write(str(error))
        return error.exit_code
    except (OSError, RuntimeError) as error:
        sys.stdout.write(f"{path}: is damaged, or no HDF5 file ({' '.join(str(error).split())[:150]!a}).")
        return DataError.exit_code
    return 0
