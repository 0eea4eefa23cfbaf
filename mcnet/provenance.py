"""What made a number: versions, source, host. Recorded with every shard and dataset, and in no digest."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_LIBRARIES = ("numpy", "scipy", "numba", "h5py", "xarray")


@cache
def library_version(name: str) -> str:
    """Version of an installed distribution, "" if there is none; nothing is imported."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@cache
def software() -> dict[str, str]:
    """Versions of mcnet, Python and the libraries that numbers depend on."""
    cupy = next(filter(None, (library_version(f"cupy-cuda{n}x") for n in (13, 12))), "")
    runtime = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12")
    return {
        "mcnet_version": library_version("mcnet"),
        "python": platform.python_version(),
        **{name: library_version(name) for name in _LIBRARIES},
        "cupy": cupy,
        "cuda_runtime": next(filter(None, map(library_version, runtime)), ""),
    }


@cache
def source() -> dict[str, str]:
    """Git commit of the source that runs and whether it was changed since; "" where it is no checkout."""
    package = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(package), *arguments], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # The repository must hold this very package: an environment may lie inside an unrelated one.
    commit = git("rev-parse", "HEAD") if git("ls-files", "--error-unmatch", "__init__.py") is not None else None
    if not commit:
        return {"git_commit": "", "git_dirty": ""}
    return {"git_commit": commit, "git_dirty": "yes" if git("status", "--porcelain", "--", ".") else "no"}


def summary() -> str:
    """Versions in one line, for the record of a shard."""
    return ", ".join(f"{name.removesuffix('_version')} {number}" for name, number in software().items() if number)
