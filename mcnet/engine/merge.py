"""One run from several: directories of one plan, made on several machines, and their shards in one directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcnet import files
from mcnet.errors import DataError, DiskError, UsageError
from mcnet.plan.plan import Plan, PlannedPoint, difference
from mcnet.plan.tasks import ranges
from mcnet.storage import directory, rounds, shard
from mcnet.storage.directory import PLAN, SCENARIO, SHARDS
from mcnet.storage.scan import Shards, scan
from mcnet.storage.shard import Header, ShardName

Found = dict[ShardName, tuple[Path, Header]]
Scanned = Shards[tuple[Header, dict[str, Any]]]


def merge(sources: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> dict[str, Any]:
    """Bring the shards of several directories into one.

    Every shard is read to its last byte before it is copied. The sources stay as they are.

    Parameters
    ----------
    sources : sequence of path
        Directories of one plan; they may hold different points and numbers of networks of it, and the same shard.
    out : path
        A new directory, or one of the same plan, whose shards count too.

    Returns
    -------
    dict
        ``shards`` and ``shards_planned`` of the directory now, ``copied``, ``equal`` (shards that several directories
        hold, counted once), ``rounded`` (those that another processor drew: their numbers differ by what rounding can
        make of them, and the first is kept), ``damaged`` (what is wrong with each that was left out).

    Raises
    ------
    UsageError
        If there is nothing to merge.
    DataError
        If a directory is no run or of another plan, or two of them hold the same networks in different ranges or with
        different numbers. Nothing was written.
    DiskError
        If the disk is full; what was copied is good, and the same command goes on.
    """
    target = Path(out)
    places = list({os.path.realpath(source): Path(source) for source in sources}.values())
    if not [place for place in places if not _is(place, target)]:
        raise UsageError("nothing to merge: name the directories that hold the parts of the run.")
    if (target / PLAN).exists() and not any(_is(place, target) for place in places):
        places.append(target)
    plans = [_plan(place) for place in places]
    plan = plans[0]
    for place, other in zip(places[1:], plans[1:], strict=True):
        plan = joined(plan, other, places[0], place)
    past = _rounds(places)
    own_first = sorted(places, key=lambda place: not _is(place, target))
    found, equal, rounded, damaged = _collect(own_first, plan)
    copied = _write(target, plan, past, found, places)
    return {
        "shards": len(found),
        "shards_planned": len(plan.tasks),
        "copied": copied,
        "equal": equal,
        "rounded": rounded,
        "damaged": damaged,
    }


def joined(plan: Plan, other: Plan, first: Path, second: Path) -> Plan:
    """The plan that holds the networks of two.

    Raises
    ------
    DataError
        If they are not of one plan, or draw the same networks in different ranges.
    """
    shared = {planned.key for planned in plan.points} & {planned.key for planned in other.points}
    pair = [replace(one, points=tuple(p for p in one.points if p.key in shared)) for one in (plan, other)]
    told = difference(_without_counts(pair[0]), _without_counts(pair[1]))
    if told:
        raise DataError(f"{second}: was made by another plan than {first} ({told}). They cannot be merged.")
    theirs = {planned.key: planned for planned in other.points}
    points = [
        planned if planned.key not in theirs else _longer(planned, theirs.pop(planned.key), first, second)
        for planned in plan.points
    ]
    plugins = tuple(dict.fromkeys((*plan.plugins, *other.plugins)))
    return replace(plan, points=(*points, *theirs.values()), plugins=plugins)


def _is(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _without_counts(plan: Plan) -> Plan:
    return replace(plan, points=tuple(replace(planned, stops=(1,)) for planned in plan.points))


def _longer(one: PlannedPoint, other: PlannedPoint, first: Path, second: Path) -> PlannedPoint:
    """Of two plans of a point the one with more networks, if the other draws a part of its ranges."""
    spans = [list(ranges(planned.stops, planned.batch)) for planned in (one, other)]
    short, long = sorted(spans, key=len)
    if one.sampler != other.sampler or long[: len(short)] != short:
        told = [" then ".join(map(str, planned.stops)) for planned in (one, other)]
        raise DataError(
            f"{second}: draws networks of point {one.key} in other ranges than {first} (up to {told[1]} in shards of "
            f"{other.batch}, there up to {told[0]} in shards of {one.batch}). Which of them to count would be a guess."
        )
    return one if long is spans[0] else other


def _plan(place: Path) -> Plan:
    plan = directory.load_plan(place)
    if directory.is_pruned(place):
        raise DataError(f"{place}: was pruned, its shards are gone; it cannot be merged.")
    return plan


def _rounds(places: Sequence[Path]) -> list[rounds.Round]:
    """The rounds of the directory that has most of them; the others must have decided the same."""
    known = [(place, rounds.read(place)) for place in places]
    first, longest = max(known, key=lambda entry: len(entry[1]))
    for place, past in known:
        if past != longest[: len(past)]:
            raise DataError(f"{place}: decided other rounds than {first}. They cannot be merged.")
    return longest


def _collect(places: Sequence[Path], plan: Plan) -> tuple[Found, int, int, list[str]]:
    """The shards of all directories, how many stand in several, equal and to rounding, and what is damaged."""
    expected = [
        ShardName(planned.key, *span) for planned in plan.points for span in ranges(planned.stops, planned.batch)
    ]
    found: Found = {}
    equal = rounded = 0
    damaged: list[str] = []
    planned = {point.key: point for point in plan.points}
    for place in places:
        folder = place / SHARDS
        looked: Scanned = scan(
            folder, expected, plan.digest, shard.verify, lambda checked: checked[0].plan, os.cpu_count() or 1
        )
        damaged += looked.damaged.values()
        for name, (header, _) in looked.found.items():
            path = folder / header.name
            before = found.setdefault(name, (path, header))
            if before[1].sha256 != header.sha256:
                _require_rounding(before[0], path, planned[name.point], plan)
                rounded += 1
            else:
                equal += before[0] != path
    if not found:
        raise DataError("the directories hold no shards.")
    return found, equal, rounded, damaged


def _require_rounding(first: Path, second: Path, planned: PlannedPoint, plan: Plan) -> None:
    """Refuse two shards of the same networks that differ by more than another processor makes of them.

    Raises
    ------
    DataError
    """
    from mcnet.engine import repeat
    from mcnet.scenario.rounding import LOST, difference
    from mcnet.storage.comparison import compare

    found = compare(shard.read(first), shard.read(second), planned.point.depth)
    expected = min(difference(planned.point, planned.sampler, plan.request.precision), LOST)
    if 0.0 < found.difference < expected or repeat.verdict(found, planned, plan) == "same weights, same law":
        return
    raise DataError(
        f"{second}: holds other numbers than {first} for the same networks (largest relative difference "
        f"{found.difference:.1e}). They were drawn by other versions or on other hardware; move one of the two away."
    )


def _write(target: Path, plan: Plan, past: Sequence[rounds.Round], found: Found, places: Sequence[Path]) -> int:
    """Make the directory and copy what it lacks; how many shards that were."""
    folder = target / SHARDS
    lacking = [(path, header) for path, header in found.values() if not _is(path.parent, folder)]
    size = sum(header.nbytes for _, header in lacking)
    text = directory.scenario_text(places[0], plan)
    files.make_folder(folder)
    free = files.free_space(folder)
    if free < size:
        raise DiskError(f"{target}: {files.shortage(size, free)}.")
    files.remove_stale(folder)
    for content in past[len(rounds.read(target)) :]:
        rounds.publish(target, content)
    files.commit(target, SCENARIO, [text.encode()])
    files.commit(target, PLAN, [plan.to_json().encode()])  # before the shards: a directory with shards has a plan
    for path, header in lacking:
        length = shard.USER_BLOCK + header.nbytes + header.quality
        files.commit(folder, header.name, [files.read(path, length)])
    directory.log(target, "merged", sources=[str(place) for place in places], copied=len(lacking))
    return len(lacking)
