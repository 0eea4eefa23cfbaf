"""What can be asked of a run: how far it is, whether all is good, and to remove what is stored twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mcnet import files
from mcnet.collector import collector_off
from mcnet.errors import DataError, Stopped, UsageError
from mcnet.plan.tasks import Task, ranges
from mcnet.storage import directory as runfiles
from mcnet.storage import ledger, rounds, shard
from mcnet.storage.directory import DATASET, SHARDS
from mcnet.storage.scan import scan
from mcnet.storage.shard import ShardName


@collector_off()
def status(directory: str | Path) -> dict[str, Any]:
    """How far a run is; headers are read where the ledger does not know the file, contents are not.

    Returns
    -------
    dict
        ``title``, ``shards``, ``shards_planned``, ``networks``, ``networks_planned``, ``damaged`` (names, including
        what was set aside), ``dataset`` (whether ``dataset.h5`` is there), ``pruned``, ``seconds_since_last`` (None
        before the first shard), ``points`` (for each: ``parameters``, ``networks``, ``networks_planned``),
        ``complete``; with a target ``target``: what was ``asked``, the ``rounds`` that were decided, the ``results`` of
        the last one, and the ``outcome`` in a line once it is known.

    Raises
    ------
    DataError
        If the directory is no run, or holds shards of another plan.
    """
    place = Path(directory)
    document = runfiles.plan_document(place)
    spans = [
        [ShardName(entry["key"], *span) for span in ranges(entry["stops"], entry["batch"])]
        for entry in document["points"]
    ]
    pruned, packed = runfiles.is_pruned(place), (place / DATASET).exists()
    expected = [name for names in spans for name in names]
    damaged = sorted(f"{SHARDS}/{name}: set aside" for name in files.listed(place / SHARDS) if name.endswith(".bad"))
    if pruned and packed:
        done = set(expected)
    else:
        looked = scan(place / SHARDS, expected, document["digest"], _reader(place, document["digest"]), str)
        done, damaged = set(looked.found), [*sorted(looked.damaged.values()), *damaged]
    if pruned and not packed:
        damaged.insert(0, f"{DATASET}: is gone, and the shards that it held were removed")
    points = [
        {
            "parameters": entry["parameters"],
            "networks": sum(name.stop - name.start for name in names if name in done),
            "networks_planned": entry["stops"][-1],
        }
        for entry, names in zip(document["points"], spans, strict=True)
    ]
    planned = sum(len(names) for names in spans)
    past, keys = rounds.read(place), [entry["key"] for entry in document["points"]]
    decided = rounds.ended(past, document.get("target"), keys)
    return {
        "title": document["title"],
        "shards": len(done),
        "shards_planned": planned,
        "networks": sum(point["networks"] for point in points),
        "networks_planned": sum(point["networks_planned"] for point in points),
        "damaged": damaged,
        "dataset": packed,
        "pruned": pruned,
        "seconds_since_last": _age(place / SHARDS) if done else None,
        "points": points,
        "complete": len(done) == planned and decided,
        **({} if document.get("target") is None else {"target": _target(document["target"], past, decided)}),
    }


def _reader(place: Path, plan: str) -> Callable[[str], str]:
    """Gives the digest of a shard's plan: from its header, unless the ledger says that this file was seen good."""
    known = ledger.read(place)

    def look(path: str) -> str:
        return plan if ledger.line(path, plan) in known else shard.read_header(path).plan

    return look


def _target(asked: Mapping[str, Any], past: Sequence[rounds.Round], decided: bool) -> dict[str, Any]:
    """How far the target of a run is."""
    return {
        "asked": dict(asked),
        "rounds": len(past),
        "results": past[-1]["results"] if past else [],
        "outcome": rounds.reached_text(past[-1]) if decided else None,
    }


def verify(directory: str | Path, recompute: int = 0, device: str = "auto") -> dict[str, Any]:
    """Read every shard again and check its digest; draw some of them again and compare.

    Parameters
    ----------
    directory : path
    recompute : int
        How many shard, chosen at random, are drawn again.
    device : str
        Where they are drawn.

    Returns
    -------
    dict
        ``shards_planned``, ``good``, ``missing``, ``damaged`` (what is wrong with each that is), ``recomputed``,
        ``identical`` (how many of these are the same to the bit), ``largest_difference`` (relative, of all drawn
        again) and ``verdict``: ``identical``, ``within rounding`` (another device, processor or library version),
        ``same weights, same law`` (rounding grows beyond 1e-2 through the layers, see :mod:`mcnet.scenario.rounding`)
        or ``different``; None if nothing was drawn again.

    Raises
    ------
    DataError
        If the directory is no run, or holds shards of another plan.
    """
    from mcnet.engine.local import Child

    place = Path(directory)
    plan = runfiles.load_plan(place)
    if runfiles.is_pruned(place):
        return _verify_pruned(place, len(plan.tasks), recompute)
    tasks = {ShardName(plan.points[task.point_index].key, task.start, task.stop): task for task in plan.tasks}
    looked = scan(
        place / SHARDS, tasks, plan.digest, shard.verify, lambda checked: checked[0].plan, threads=os.cpu_count() or 1
    )
    chosen = random.SystemRandom().sample(sorted(looked.found), min(recompute, len(looked.found)))
    differences: list[float] = []
    verdicts: list[str] = []
    if chosen:
        from mcnet.engine import repeat
        from mcnet.storage.comparison import Comparison

        child = Child(place, device)
        try:
            for name in chosen:
                child.send("compare", Task(*tasks[name]))
                answer = child.receive()
                if answer is None:
                    told = f"{place}: the worker that drew {shard.shard_name(*name)} again {child.ending()}."
                    raise Stopped(f"{told} Nothing is known of that shard; say the command again.")
                found = Comparison(*answer[0])
                differences.append(found.difference)
                verdicts.append(repeat.verdict(found, plan.points[tasks[name].point_index], plan))
        finally:
            child.kill()
    return {
        "shards_planned": len(tasks),
        "good": len(looked.found),
        "missing": len(tasks) - len(looked.found) - len(looked.damaged),
        "damaged": sorted(looked.damaged.values()),
        "recomputed": len(differences),
        "identical": differences.count(0.0),
        "largest_difference": max(differences, default=None),
        "verdict": repeat.worst(verdicts) if verdicts else None,
    }


def _verify_pruned(place: Path, planned: int, recompute: int) -> dict[str, Any]:
    """A run whose dataset is its only record."""
    from mcnet.dataset.packing import verify_dataset

    if recompute:
        raise UsageError(f"{place}: was pruned; there are no shards to compare with. Verify it without recomputing.")
    damaged = []
    try:
        if verify_dataset(place / DATASET) != runfiles.pruned_content(place):
            raise DataError(f"{place / DATASET}: is not the one that held the shards when they were removed.")
    except DataError as error:
        damaged.append(str(error))
    return {
        "shards_planned": planned,
        "good": 0 if damaged else planned,
        "missing": 0,
        "damaged": damaged,
        "recomputed": 0,
        "identical": 0,
        "largest_difference": None,
        "verdict": None,
    }


def prune(directory: str | Path) -> int:
    """Remove the shards of a complete run, after the dataset was read again and found to hold all of them.

    Returns
    -------
    int
        How many were removed.

    Raises
    ------
    DataError
        If the run is not complete, or the dataset does not hold it; nothing was removed.
    """
    from mcnet.dataset.packing import require_packed

    place = Path(directory)
    plan = runfiles.load_plan(place)
    if not runfiles.is_pruned(place):
        if not rounds.ended(rounds.read(place), plan.target, [planned.key for planned in plan.points]):
            raise DataError(f"{place}: more networks may be needed; nothing was removed. First: mcnet resume {place}")
        digest = require_packed(place, plan)
        note = json.dumps({"content_digest": digest, "shards": len(plan.tasks)}) + "\n"
        files.commit(place, runfiles.PRUNED, [note.encode()])  # first: from here on the dataset is the record
        runfiles.log(place, "pruned", shards=len(plan.tasks))
    removed = 0
    for task in plan.tasks:
        path = place / SHARDS / shard.shard_name(plan.points[task.point_index].key, task.start, task.stop)
        if path.exists():
            path.unlink()
            removed += 1
    return removed


def _age(folder: Path) -> float | None:
    """Seconds since a file was last published in a folder; None if it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return max(0.0, time.time() - folder.stat().st_mtime)
    return None
