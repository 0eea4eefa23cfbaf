"""Faults that are planted on purpose, each in a copy of the tree: a soak that does not find them finds nothing.

Every fault is one that the promises of docs/reliability.md exclude. The drill of :mod:`tools.soak_drills` that is named
with it must find it, and none may find anything in a copy without a fault.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("mcnet", "tools")
_IN_PLACE = """descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for part in (content, record):
        os.write(descriptor, part)
    os.fsync(descriptor)
    os.close(descriptor)
    files.sync_directory(folder)"""


class Fault(NamedTuple):
    """A text of a file, what stands there instead, and the drill that must find it."""

    what: str
    file: str
    text: str
    instead: str
    drill: str


FAULTS = (
    Fault(
        "a shard is written in place",
        "mcnet/engine/worker.py",
        "files.commit(folder, header.name, [content, record])",
        _IN_PLACE,
        "power",
    ),
    Fault(
        "no fsync of the file", "mcnet/files.py", "            os.fsync(descriptor)\n", "            pass\n", "power"
    ),
    Fault(
        "no fsync of the directory",
        "mcnet/files.py",
        "    descriptor = os.open(directory, os.O_RDONLY)\n    try:\n        os.fsync(descriptor)\n",
        "    descriptor = os.open(directory, os.O_RDONLY)\n    try:\n        pass\n",
        "power",
    ),
    Fault(
        "no checksum of the content",
        "mcnet/storage/shard.py",
        "if digest.hexdigest() != header.sha256 or",
        "if",
        "bits_of_numbers",
    ),
    Fault(
        "no CRC of the header",
        "mcnet/storage/shard.py",
        " or _with_crc(block[:-_CRC]) != block:",
        ":",
        "bits_of_headers",
    ),
    Fault(
        "any dataset is taken as up to date",
        "mcnet/dataset/packing.py",
        "if current is not None and current[0] == digest:",
        "if current is not None:",
        "growth",
    ),
    Fault(
        "the task of a dead worker is dropped",
        "mcnet/engine/local.py",
        "waiting.append(task)",
        "pass",
        "dead_worker",
    ),
    Fault(
        "files of living processes are removed",
        "mcnet/files.py",
        "else not _alive(int(match[2]))",
        "else True",
        "living_files",
    ),
    Fault("a signal is ignored", "mcnet/engine/signals.py", "        self._asked = True\n", "", "signals"),
)


def copied(folder: Path, fault: Fault | None) -> Path:
    """A copy of the tree with a fault in it.

    Raises
    ------
    ValueError
        If the text in which it is planted does not stand once in its file: then it is to be planted anew.
    """
    for package in _PACKAGES:
        shutil.copytree(ROOT / package, folder / package)
    if fault is not None:
        file = folder / fault.file
        text = file.read_text()
        if text.count(fault.text) < 1:
            raise ValueError(f"{fault.what}: {fault.file} does not hold {fault.text!r} any more")
        file.write_text(text.replace(fault.text, fault.instead))
    return folder


def drilled(tree: Path, drills: list[str]) -> str:
    """What drills find in a copy of the tree, "" if nothing."""
    words = [sys.executable, "-P", "-m", "tools.soak_drills", str(tree / "runs"), *drills]
    done = subprocess.run(words, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True)
    return done.stdout.strip() or (f"ended with code {done.returncode}" if done.returncode else "")


def missed(folder: Path) -> dict[str, str]:
    """Plant every fault in turn; what was found of each goes to stdout, what was not is returned with the reason."""
    wrong = {}
    clean = drilled(copied(folder / "without", None), [])
    print(f"without a fault: {clean or 'nothing found'}", flush=True)
    if clean:
        wrong["without a fault"] = clean
    for number, fault in enumerate(FAULTS):
        tree = folder / str(number)
        found = drilled(copied(tree, fault), [fault.drill])
        shutil.rmtree(tree)
        print(f"{fault.what}: {found or 'NOT FOUND'}", flush=True)
        if not found:
            wrong[fault.what] = "was planted and not found"
    return wrong
