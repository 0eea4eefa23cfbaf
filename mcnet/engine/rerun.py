"""``mcnet rerun``: a run made again from its dataset alone, and compared with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mcnet import files, plugins
from mcnet.dataset import plan as plan_record
from mcnet.engine import driver, repeat
from mcnet.errors import DataError
from mcnet.plan.format import read_document
from mcnet.plan.plan import Plan
from mcnet.storage import directory, rounds
from mcnet.storage.comparison import Comparison, compare
from mcnet.streams import STREAM_VERSION

_ROWS = 4096  # networks compared at once


def rerun(
    dataset: str | os.PathLike[str], out: str | os.PathLike[str], *, plugin_names: Sequence[str] = (), **machine: Any
) -> dict[str, Any]:
    """Draw the networks of a dataset again and compare.

    The dataset holds the plan of its run, its scenario and the rounds of its sampling; nothing else is needed.

    Parameters
    ----------
    dataset : path
        A dataset, or the directory of a run that holds ``dataset.h5``.
    out : path
        Directory of the new run; one that was stopped goes on.
    plugin_names : sequence of str
        Modules that the run was made with, where this user has not named them before.
    **machine
        As for :func:`mcnet.engine.resume`.

    Returns
    -------
    dict
        ``content_digest`` and ``expected``, ``largest_difference`` (relative; 0 where the digests agree) and
        ``verdict``: ``identical``, ``within rounding`` (another device, processor or library version), ``same weights,
        same law`` (where the layers let rounding grow, see :mod:`mcnet.scenario.rounding`), ``different``;
        None if the dataset was packed before its run was complete, so that the two hold different networks.

    Raises
    ------
    DataError
        If the dataset is damaged, does not hold its plan, or was drawn from other random streams; or if ``out`` holds
        another run.
    UsageError, DiskError, Stopped, McnetError
        As for :func:`mcnet.engine.run`.
    """
    from mcnet.dataset.packing import verify_dataset

    source, target = Path(dataset), Path(out)
    if source.is_dir():
        directory.require_one(source)
        source = source / directory.DATASET
    text, scenario, past = plan_record.read(source)
    _require_streams(source)
    plugins.load(plugin_names)
    document = read_document(text, f"{source}: plan")
    plugins.load_named(document["plugins"], str(source))
    plan = Plan.from_document(document, f"{source}: plan")
    for number, content in enumerate(past, 1):
        rounds.check(content, f"{source}: round {number}", number)
    expected = verify_dataset(source)
    files.make_folder(target)
    for content in past[len(rounds.read(target)) :]:  # before the plan: with the plan all is there
        rounds.publish(target, content)
    directory.begin(target, plan, scenario)
    driver.resume(target, **machine)
    made = verify_dataset(target / directory.DATASET)
    size: float | None = 0.0
    verdict: str | None = "identical"
    if made != expected:
        found = _compare(source, target / directory.DATASET, plan)
        size = None if found is None else max((each.difference for each in found), default=0.0)
        verdict = None
        if found is not None:
            pairs = zip(found, plan.points, strict=True)
            verdict = repeat.worst([repeat.verdict(each, planned, plan) for each, planned in pairs])
    return {"content_digest": made, "expected": expected, "largest_difference": size, "verdict": verdict}


def _require_streams(path: Path) -> None:
    with h5py.File(path, "r", locking=False) as file:
        told = str(file.attrs.get("rng", ""))
    if f"stream version {STREAM_VERSION}:" not in told:
        raise DataError(
            f"{path}: was drawn from other random streams than those of this mcnet (version {STREAM_VERSION}). "
            "Use the version that its attribute mcnet_version names."
        )


def _compare(one: Path, other: Path, plan: Plan) -> list[Comparison] | None:
    """The measured numbers of every point compared; None if the datasets hold different networks."""
    worst = [Comparison(0.0, 0.0, 0.0)] * len(plan.points)
    with h5py.File(one, "r", locking=False) as before, h5py.File(other, "r", locking=False) as again:
        counts = [file["n_networks"][...] for file in (before, again)]
        if not np.array_equal(*counts):
            return None
        for group in (child for child in before.values() if isinstance(child, h5py.Group)):
            if group.name == "/quality":
                continue
            for data in group.values():
                if not isinstance(data, h5py.Dataset) or data.is_scale or data.ndim < 2:
                    continue
                theirs = again.get(data.name)
                if not isinstance(theirs, h5py.Dataset) or theirs.shape != data.shape:
                    return [Comparison(np.inf, np.inf, np.inf)] * len(plan.points)
                name = data.name.lstrip("/")
                for index, planned in enumerate(plan.points):
                    for first in range(0, data.shape[1], _ROWS):
                        part = (index, slice(first, first + _ROWS))
                        found = compare({name: theirs[part]}, {name: data[part]}, planned.point.depth)
                        worst[index] = Comparison(*map(max, worst[index], found))
    return worst
