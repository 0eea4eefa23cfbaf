"""Single bits that flip where a run lies still: in its dataset and in its plan. Refused, or nothing has changed."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATASET_FLIPS, PLAN_FLIPS = 2000, 400


def campaign(run: Path, rng: random.Random, dataset_flips: int, plan_flips: int) -> Counter[str]:
    """Flip bits of a finished run, one at a time, each flipped back.

    Returns
    -------
    Counter
        For ``dataset.h5`` and ``plan.json``: how many were ``refused``, made no difference (``equal``), or changed what
        is read without a word (``silent``).
    """
    told: Counter[str] = Counter()
    for name, flips, read in (("dataset.h5", dataset_flips, dataset), ("plan.json", plan_flips, plan)):
        path = run / name
        known, bits = read(run), 8 * path.stat().st_size
        for place in (rng.randrange(bits) for _ in range(flips)):
            _flip(path, place)
            told[f"{name}: {_judged(read, run, known)}"] += 1
            _flip(path, place)
        if read(run) != known:
            told[f"{name}: silent"] += 1  # the flips were not undone: nothing of the above can be trusted
    return told


def _judged(read: Callable[[Path], Any], run: Path, known: Any) -> str:
    from mcnet.errors import DataError

    try:
        return "equal" if read(run) == known else "silent"
    except DataError:
        return "refused"


def dataset(run: Path) -> Any:
    """All that ``mcnet.open`` gives: groups, arrays with their types and bytes, coordinates, attributes."""
    from mcnet.dataset import vetting
    from mcnet.dataset.open import open_dataset

    vetting.require_readable(run / "dataset.h5", afresh=True)  # a flip may be faster than the clock of the disk
    with open_dataset(run) as tree:
        return {
            group.path: (repr(group.attrs), {name: _array(array) for name, array in group.variables.items()})
            for group in tree.subtree
        }


def _array(array: Any) -> tuple[Any, ...]:
    values = array.values
    held = values.tolist() if values.dtype.kind in "OU" else values.tobytes()
    return array.dims, str(values.dtype), held, repr(array.attrs)


def plan(run: Path) -> Any:
    """How far the run is, what is damaged, and what it would draw."""
    from mcnet.engine.status import status
    from mcnet.storage.directory import load_plan

    told = {name: value for name, value in status(run).items() if name != "seconds_since_last"}
    held = load_plan(run)
    return told, held.digest, held.tasks, held.points, held.title, held.scenario


def _flip(path: Path, place: int) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        byte = os.pread(descriptor, 1, place // 8)[0]
        os.pwrite(descriptor, bytes([byte ^ 1 << place % 8]), place // 8)
    finally:
        os.close(descriptor)
