"""What a run will need: time, disk, and how many workers are worth their start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mcnet import files
from mcnet.errors import DiskError
from mcnet.plan.plan import Plan
from mcnet.plan.tasks import Task

SHARD_OVERHEAD = 8192.0  # bytes of a shard beside its numbers
SHARD_SECONDS = 0.012  # of a core: to prepare, build, seal and commit a shard, to read it again and pack it
WORKER_SECONDS = 2.0  # about what a worker process takes to start; for less work it is not worth it


def costs(plan: Plan, tasks: Sequence[Task]) -> tuple[list[float], list[float]]:
    """Estimated seconds and stored bytes of some tasks."""
    if not tasks:
        return [], []
    from mcnet.observables.measure import Estimates

    estimates = Estimates()
    each = [estimates(planned.point, plan.request_of(planned))[1] for planned in plan.points]
    networks = [(each[task.point_index], task.stop - task.start) for task in tasks]
    return (
        [SHARD_SECONDS + cost.seconds_per_network * count for cost, count in networks],
        [
            SHARD_OVERHEAD + cost.stored_bytes_per_shard + cost.stored_bytes_per_network * count
            for cost, count in networks
        ],
    )


def require_space(directory: Path, stored: float) -> None:
    """Refuse to begin what cannot end: shards and a dataset of as much.

    Raises
    ------
    DiskError
        If there is less.
    """
    needed = 2.3 * stored
    free = files.free_space(directory)
    if free < needed:
        raise DiskError(
            f"{directory}: about {files.shortage(needed, free)}; nothing was run. "
            "Take fewer networks, layers or measures, or another disk."
        )


def default_workers(seconds: float, tasks: int, device: str) -> int:
    """One worker per core of this process; 1 where the work is small or a GPU does it; one for each of several."""
    if "," in device:
        return device.count(",") + 1
    if seconds < 2 * WORKER_SECONDS or device.startswith("cuda"):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, tasks))
