"""What a disk does to files: bits flip, pages are lost, and time stamps are of any time."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path


def shards(directory: Path) -> list[Path]:
    """The committed shards of a run, in their order."""
    return sorted((directory / "shards").glob("*.h5"))


def flip_bits(directory: Path, rng: random.Random, most: int) -> int:
    """Flip a bit in each of some shards, now and then in the dataset; how many were flipped."""
    files = shards(directory)
    chosen = rng.sample(files, min(len(files), most))
    if rng.random() < 0.2:
        chosen.append(directory / "dataset.h5")
    return sum(_change(path, lambda content: _flipped(content, rng)) for path in chosen)


def lose_pages(directory: Path, rng: random.Random, most: int) -> int:
    """Bring some files into a state that a power cut leaves where a disk lies; how many were changed."""
    files = [*shards(directory), *(directory / "shards").glob(".*.tmp")]
    chosen = rng.sample(files, min(len(files), most))
    if rng.random() < 0.1:
        chosen.append(directory / "dataset.h5")
    return sum(_change(path, lambda content: _with_lost_pages(content, rng)) for path in chosen)


def change_times(directory: Path, rng: random.Random) -> int:
    """Give files time stamps of other decades."""
    for path in rng.sample(shards(directory), min(4, len(shards(directory)))):
        with contextlib.suppress(OSError):
            os.utime(path, (0, rng.randrange(2**32)))
    return 1


def _change(path: Path, change: Callable[[bytes], bytes]) -> bool:
    """Change a file where it lies; whether it was there and is another one now."""
    try:
        with open(path, "r+b", buffering=0) as file:
            before = file.read()
            after = change(before)
            file.seek(0)
            file.write(after)
            file.truncate(len(after))
    except OSError:  # gone in the meantime, or on a disk that is full
        return False
    return after != before


def _flipped(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return content
    place = rng.randrange(8 * len(content))
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def _with_lost_pages(content: bytes, rng: random.Random) -> bytes:
    """Some pages are zeros: all from one on, or any; or the end is missing, or everything."""
    page = rng.choice((512, 4096))
    count = -(-len(content) // page)
    first = rng.randrange(count + 1)
    match rng.randrange(4):
        case 0:
            lost = set(range(first, count))
        case 1:
            lost = {number for number in range(count) if rng.random() < 0.5}
        case 2:
            return content[: first * page]
        case _:
            return b""
    changed = bytearray(content)
    for number in lost:
        part = slice(number * page, min((number + 1) * page, len(content)))
        changed[part] = bytes(part.stop - part.start)
    return bytes(changed)
