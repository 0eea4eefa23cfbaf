"""From shards to ``dataset.h5``: written to a temporary name, read back, compared, renamed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py

from mcnet import files
from mcnet.dataset import file as dataset_file
from mcnet.dataset import plan as plan_record
from mcnet.dataset import seal, vetting
from mcnet.dataset.schema import Content, build
from mcnet.errors import DataError, DiskError
from mcnet.plan.plan import Plan
from mcnet.plan.tasks import ranges
from mcnet.storage import ledger, rounds
from mcnet.storage import shard as shards
from mcnet.storage.directory import DATASET, SHARDS, is_pruned
from mcnet.storage.scan import scan
from mcnet.storage.shard import Header, ShardName


def pack(directory: Path, plan: Plan, scenario_toml: str) -> dict[str, Any]:
    """Write ``dataset.h5`` from all shards that are there.

    Returns
    -------
    dict
        ``content_digest``, ``shards`` and ``shards_planned``, ``written`` (False if the dataset was up to date).

    Raises
    ------
    DataError
        If a shard is damaged (it is set aside) or foreign, if there is none, or if the dataset reads back wrong.
    DiskError
        If the disk is full.
    """
    target = directory / DATASET
    if is_pruned(directory):
        count = len(plan.tasks)
        return {"shards": count, "shards_planned": count, "content_digest": verify_dataset(target), "written": False}
    present, found, planned = _collect(directory, plan)
    report = {"shards": len(found), "shards_planned": planned}
    past = rounds.read(directory)
    digest = _source_digest(present, found, past)
    current = digests_of(target)
    if current is not None and current[0] == digest:
        return {**report, "content_digest": current[1], "written": False}
    _require_space(directory, sum(header.nbytes for header, _ in found.values()))
    contents = _contents(directory, present, found)
    schema = build(plan, contents, scenario_toml)

    def source(index: int) -> Iterator[Mapping[str, Any]]:
        names = [f"{variable.group}/{variable.name}" for variable, _ in contents[index].layouts]
        for shard in present[index]:
            path = directory / SHARDS / shards.shard_name(*shard)
            with shards.open_shard(path) as file:
                _require_layouts(file, contents[index], shard)
                yield {name: file[name] for name in names}
            if shards.verify(path) != found[shard]:
                raise DataError(f"{path}: changed while it was read. Continue with: mcnet resume {directory}")

    facts = {"shards_digest": digest, **plan_record.attributes(plan, past)}
    try:
        with files.replacement(target) as temporary:
            written = dataset_file.write(temporary, schema, source, facts)
            if dataset_file.read_back(temporary) != written:
                raise DataError(f"{target}: reads back other than it was written, and was not kept. Check the disk.")
            seal.append(temporary)
    except OSError as error:
        raise DiskError(f"{target}: cannot be written ({error}). The shards are safe.") from error
    missing = {name for names in _expected(plan) for name in names} - found.keys()
    if any((directory / SHARDS / shards.shard_name(*name)).exists() for name in missing):
        return pack(directory, plan, scenario_toml)  # a dataset of these may just have been replaced by this one
    return {**report, "content_digest": written, "written": True}


def require_packed(directory: Path, plan: Plan) -> str:
    """The content digest of a dataset that holds all shards of a complete run, both read again to the last byte.

    Raises
    ------
    DataError
        If it does not.
    """
    present, found, planned = _collect(directory, plan)
    if len(found) < planned:
        raise DataError(f"{directory}: {planned - len(found)} of {planned} shards are missing; nothing was removed.")
    target = directory / DATASET
    try:
        if target.exists():
            vetting.require_readable(target, afresh=True)
        current = digests_of(target)
    except DataError as error:
        raise DataError(f"{error} {_KEPT} {directory}") from error
    if current is None or current[0] != _source_digest(present, found, rounds.read(directory)):
        raise DataError(f"{directory}: {DATASET} is not made of these shards. First: mcnet pack {directory}")
    try:
        return verify_dataset(target)
    except DataError as error:
        raise DataError(f"{error} {_KEPT} {directory}") from error


_KEPT = "Nothing was removed. Remove the file, then: mcnet pack"


def verify_dataset(path: Path) -> str:
    """The content digest of a dataset, after all of it was read and found to agree with it.

    Raises
    ------
    DataError
        If it does not.
    """
    vetting.require_readable(path, afresh=True)
    told = digests_of(path)
    if told is None:
        raise DataError(f"{path}: is damaged.")
    return told[1]


Found = dict[ShardName, tuple[Header, dict[str, Any]]]


def _collect(directory: Path, plan: Plan) -> tuple[list[list[ShardName]], Found, int]:
    """Shards of the result by point, headers and records of all that are there, how many are planned."""
    expected = _expected(plan)
    everything = [name for names in expected for name in names]
    folder = directory / SHARDS
    known, noted = ledger.read(directory), list[str]()

    def check(path: str) -> tuple[Header, dict[str, Any]]:
        line = ledger.line(path, plan.digest)  # before it is read: what changes it later changes the line
        checked = shards.verify(path)
        if line is not None and line not in known:
            noted.append(line)
        return checked

    looked = scan(folder, everything, plan.digest, check, lambda checked: checked[0].plan, os.cpu_count() or 1)
    if looked.damaged:
        for name in looked.damaged:
            shards.set_aside(folder / shards.shard_name(*name))
        raise DataError(
            f"{next(iter(looked.damaged.values()))} Moved to *.bad, {len(looked.damaged)} in all; "
            f"their networks will be drawn again by: mcnet resume {directory}"
        )
    if not looked.found:
        raise DataError(f"{directory}: holds no shards.")
    ledger.add(directory, noted)
    first = plan.first_network
    present = [[name for name in names if name in looked.found and name.start >= first] for names in expected]
    if not any(present):
        raise DataError(f"{directory}: holds nothing but a pilot so far. Continue with: mcnet resume {directory}")
    return present, looked.found, len(everything)


def _expected(plan: Plan) -> list[list[ShardName]]:
    """The shards of a plan, by point."""
    return [[ShardName(p.key, *span) for span in ranges(p.stops, p.batch)] for p in plan.points]


def _contents(directory: Path, present: Sequence[Sequence[ShardName]], found: Found) -> list[Content]:
    beginnings = {name.point: name for name in found if name.start == 0}
    return [
        _content(
            directory / SHARDS,
            [(name, {**found[name][1], "sha256": found[name][0].sha256}) for name in names],
            beginnings,
        )
        for names in present
    ]


def _source_digest(present: Sequence[Sequence[ShardName]], found: Found, past: Sequence[rounds.Round]) -> str:
    """Digest of the shards of the result, and of the rounds that led to them."""
    digest = shards_digest(found[name][0] for names in present for name in names)
    return hashlib.sha256(f"{digest} {json.dumps(past)}".encode()).hexdigest() if past else digest


def shards_digest(headers: Iterable[Header]) -> str:
    """Digest of a set of shards: tells whether a dataset was made of them."""
    return hashlib.sha256("\n".join(sorted(f"{h.name} {h.sha256}" for h in headers)).encode()).hexdigest()


def digests_of(path: Path) -> tuple[str, str] | None:
    """Digests of the shards and of the content of a dataset; None if it is absent, damaged or too old to tell."""
    try:
        vetting.require_readable(path, afresh=True)
        with h5py.File(path, "r", locking=False) as file:
            return str(file.attrs["shards_digest"]), str(file.attrs["content_digest"])
    except (DataError, OSError, KeyError):
        return None


def _require_layouts(file: h5py.File, content: Content, name: ShardName) -> None:
    """Refuse a shard whose variables are not those of the point's first, for all its networks."""
    found = [(variable, data.shape) for variable, data in shards.variables(file)]
    rows = name.stop - name.start
    if found != [(variable, (1 if variable.per_shard else rows, *shape)) for variable, shape in content.layouts]:
        raise DataError(f"{file.filename}: holds other variables than the shards beside it. It was not made by mcnet.")


def _require_space(directory: Path, payload: int) -> None:
    needed, free = 1.3 * payload, files.free_space(directory)
    if free < needed:
        raise DiskError(
            f"{directory}: for the dataset {files.shortage(needed, free)}. All shards are safe. "
            f"Free space, then: mcnet pack {directory}"
        )


def _content(
    folder: Path, found: Sequence[tuple[ShardName, Mapping[str, Any]]], beginnings: Mapping[str, ShardName]
) -> Content:
    """What there is of a point; its first shard shows the variables, which all have in common."""
    if not found:
        return Content((), (), None, ())
    with shards.open_shard(folder / shards.shard_name(*found[0][0])) as file:
        layouts = tuple((variable, tuple(data.shape[1:])) for variable, data in shards.variables(file))
    gram = None
    beginning = beginnings.get(found[0][0].point)
    if beginning is not None:  # it may be a pilot, whose networks do not count
        with shards.open_shard(folder / shards.shard_name(*beginning)) as file:
            gram = file["input_gram"][...] if "input_gram" in file else None
    return Content(
        tuple((name.start, name.stop) for name, _ in found), layouts, gram, tuple(record for _, record in found)
    )
