"""By whom the tasks of a run are worked off: devices, processes, schedulers, as they were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from mcnet.engine.local import Outcome, in_process, processes
from mcnet.errors import UsageError
from mcnet.plan.tasks import parse_part
from mcnet.progress import Progress


class Machines(NamedTuple):
    """By whom the tasks are worked off; ``workers`` None: chosen by the work there is; ``title`` of the progress."""

    workers: int | None
    part: tuple[int, int]
    executor: str
    scheduler: str | None
    title: str = ""


def asked(workers: int | None, executor: str, part: str | None, scheduler: str | None, device: str) -> Machines:
    """Machines as they were asked for; what does not go together is refused."""
    if executor not in ("local", "dask"):
        raise UsageError(f'executor "{executor}" is not known; write "local" or "dask".')
    if workers is not None and workers < 1:
        raise UsageError(f"workers = {workers}: must be at least 1.")
    if scheduler is not None and executor != "dask":
        raise UsageError(f'scheduler {scheduler}: is for executor "dask".')
    if scheduler is not None and workers is not None:
        raise UsageError(f"workers = {workers}: scheduler {scheduler} has its own; give one of the two.")
    devices = device.split(",")
    if len(devices) > 1 and (scheduler is not None or (workers is not None and workers < len(devices))):
        raise UsageError(f'device "{device}": {len(devices)} devices need as many workers of this machine.')
    return Machines(workers, (1, 1) if part is None else parse_part(part), executor, scheduler)


def chosen_devices(device: str, machines: Machines, quiet: bool) -> str:
    """The devices of this machine that do the work; one that is not there is refused before anything is written.

    ``auto`` takes all CUDA devices, but no more than there are workers, else the CPU, and says so.
    """
    if machines.scheduler is not None:
        return device
    from mcnet.backend import cuda_devices, get_backend

    if device == "auto":
        count = cuda_devices()
        device = ",".join(f"cuda:{n}" for n in range(min(count, machines.workers or count))) or "cpu"
        if not quiet:
            Progress.say(f"device: {device}")
    elif device != "cpu":
        for name in device.split(","):
            get_backend(name)
    return device


def execution(machines: Machines, count: int, quiet: bool) -> Callable[..., Iterator[Outcome]]:
    """What works tasks off: this process, ``count`` processes of this machine, or a Dask cluster."""
    if machines.executor == "local":
        return in_process if count == 1 else partial(processes, workers=count)
    from mcnet.engine.dask import on_dask

    say = (lambda text: None) if quiet else Progress.say
    return partial(on_dask, workers=count, scheduler=machines.scheduler, say=say)
