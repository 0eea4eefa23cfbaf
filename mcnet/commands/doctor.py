"""Is this machine fit: versions, devices, disk, the random streams and a small sample, each checked in seconds."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mcnet import files, provenance
from mcnet.commands.text import duration, size
from mcnet.errors import DiskError, McnetError

_SEED = 0x123456789ABCDEF0
_NORMALS = "3efb0b8b9de3e588863216be46b70fb10b87da68169672fd2c55465c896d5a45"  # of the stream specification, version 1
_SLOW_FSYNC = 0.2
_LITTLE_SPACE = 10**9


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, whether that is good, and if not what to do."""

    name: str
    found: str
    good: bool = True
    advice: str = ""


def examine(folder: Path) -> list[Finding]:
    """Look at everything; ``folder`` is where runs would be written."""
    return [
        Finding("versions", provenance.summary()),
        *_devices(),
        *_disk(folder),
        _streams(),
        _sample(),
    ]


def as_dict(findings: list[Finding]) -> dict[str, Any]:
    """The findings as plain values."""
    return {"good": all(finding.good for finding in findings), "findings": [asdict(finding) for finding in findings]}


def text(findings: list[Finding]) -> str:
    """One line for each finding, and the verdict."""
    width = max(len(finding.name) for finding in findings)
    lines = [
        f"{'  ' if finding.good else '! '}{finding.name:{width}}  {finding.found}"
        + (f"\n  {'':{width}}  {finding.advice}" if finding.advice else "")
        for finding in findings
    ]
    bad = sum(not finding.good for finding in findings)
    return "\n".join([*lines, f"{bad} of {len(findings)} checks failed" if bad else "all good"])


def _devices() -> Iterator[Finding]:
    from mcnet.backend import cuda_devices, get_backend

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {size(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))} memory"
    yield Finding("cpu", f"{get_backend('cpu').device}, {cores} core{'s' * (cores != 1)}{memory}")
    count = cuda_devices()
    for number in range(count):
        facts = get_backend(f"cuda:{number}").describe()
        memory = size(int(facts["memory_bytes"]))
        software = ", ".join(f"{name} {facts[name]}" for name in ("driver", "cuda_runtime", "cupy"))
        yield Finding(f"cuda:{number}", f"{facts['device']}, {memory} memory, {software}")
    if not count:
        try:
            get_backend("cuda:0")
        except McnetError as error:
            yield Finding("cuda", f"not used: {error}")
    used = ", ".join(f"cuda:{number}" for number in range(count)) or "cpu"
    yield Finding("auto", f'device "auto" takes {used}')


def _disk(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    yield Finding(
        "disk",
        f"{size(free)} free in {folder}",
        free > _LITTLE_SPACE,
        "" if free > _LITTLE_SPACE else "Free some space.",
    )
    try:
        with _scratch(folder) as scratch:
            seconds = sorted(_write(scratch, f"{number}") for number in range(9))[4]
            slow = seconds > _SLOW_FSYNC
            yield Finding(
                "fsync",
                f"{1000 * seconds:.1f} ms for a small file, renamed",
                not slow,
                "Slow: choose larger batches, or a local disk." if slow else "",
            )
            yield _locks(scratch)
    except (OSError, DiskError) as error:
        yield Finding("fsync", f"cannot write in {folder}: {error}", False, "Choose another directory.")


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".mcnet-doctor-", dir=folder) as name:
        yield Path(name)


def _write(folder: Path, name: str) -> float:
    """Seconds to commit 4 kB, as the commit of a shard does."""
    began = time.perf_counter()
    files.commit(folder, name, [bytes(4096)])
    return time.perf_counter() - began


def _locks(folder: Path) -> Finding:
    """Whether files can be locked: HDF5 wants to, mcnet does not need it."""
    try:
        import fcntl
    except ImportError:
        return Finding("locks", "not looked at on this system; mcnet needs none")
    descriptor, _ = files.create(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return Finding("locks", f"refused ({error.strerror}); mcnet needs none, other readers may ask for them")
    finally:
        os.close(descriptor)
    return Finding("locks", "work; mcnet needs none")


def _streams() -> Finding:
    """The random streams against the known answer of their specification, in NumPy and on each device."""
    import numpy as np

    from mcnet import streams
    from mcnet.backend import cuda_devices, get_backend

    key = streams.seed_key(_SEED)
    found = {"NumPy": streams.normals(key, 5, streams.FORWARD, 2, 64, 130)}
    for name in ("cpu", *(f"cuda:{number}" for number in range(cuda_devices()))):
        backend = get_backend(name)
        found[f"the kernels of {name}"] = backend.fetch(backend.kernels.normals(key, 5, 6, streams.FORWARD, 2, 64, 130))
    wrong = [
        name
        for name, normals in found.items()
        if sha256(np.ascontiguousarray(normals, "<f4").tobytes()).hexdigest() != _NORMALS
    ]
    if wrong:
        return Finding(
            "streams", f"wrong numbers from {' and '.join(wrong)}", False, "Do not sample with this installation."
        )
    return Finding("streams", f"known answer from {', '.join(found)}; version {streams.STREAM_VERSION}")


def _sample() -> Finding:
    """The first layer of a small ensemble against its exact law: a sum of squares of independent normals."""
    from mcnet.backend import get_backend
    from mcnet.observables.measure import measure
    from mcnet.scenario.loading import load

    networks, width = 2000, 64
    study = load(
        {
            "mcnet": 1,
            "network": {
                "activation": "tanh",
                "weights": "gaussian",
                "depth": 3,
                "width": width,
                "sigma_w2": 1.5,
                "sigma_b2": 0.1,
            },
            "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5},
            "sampling": {"networks": networks},
            "measure": {"q": {}},
        }
    )
    began = time.perf_counter()
    found = measure(study.points()[0], study.request(), 0, networks, get_backend("cpu"))
    seconds = time.perf_counter() - began
    lengths = next(measured.values for measured in found if measured.variable.name == "q")[:, 0, 1]
    score = (float(lengths.mean()) / 1.6 - 1.0) * math.sqrt(networks * width / 2)
    good = abs(score) < 5
    told = f"first layer off by {score:+.1f} standard errors, {networks} networks in {duration(seconds)}"
    return Finding("sample", told, good, "" if good else "Do not sample with this installation.")
