"""What a worker does with a task, and the worker process: requests come in on stdin, answers go out on stdout.

A worker process is a fresh interpreter (never a fork: CUDA and threads do not survive one). It ends when its stdin is
closed, hence also when the process that started it dies, after the batch in hand. It ignores the signals that ask a
run to stop, because the process that started it decides that. Where nobody is left to hear an answer it ends with the
code of a run that was stopped, and says nothing.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet import files, provenance
from mcnet.backend import Backend, get_backend
from mcnet.errors import DataError, McnetError, Stopped, kind
from mcnet.networks import inputs
from mcnet.observables.measure import measure
from mcnet.plan.plan import Plan, PlannedPoint
from mcnet.plan.tasks import Task
from mcnet.storage import comparison, ledger, shard
from mcnet.storage import directory as runfiles
from mcnet.storage.comparison import Comparison
from mcnet.variables import Measured


class Drawn(NamedTuple):
    """A batch: what was measured, what holds for the point as a whole, who measured it."""

    measured: list[Measured]
    constants: dict[str, NDArray[Any]]
    quality: dict[str, Any]


def draw(plan: Plan, task: Task, backend: Backend) -> Drawn:
    """Draw the networks of a task and measure them."""
    planned = plan.points[task.point_index]
    request = plan.request_of(planned)
    started, wall, cpu = datetime.now(UTC), time.perf_counter(), time.process_time()
    measured = measure(planned.point, request, task.start, task.stop, backend)
    quality = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "device": backend.device,
        "started_utc": started.isoformat(timespec="milliseconds"),
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "software": f"{provenance.summary()}, {_computed_by(backend)}",
    }
    return Drawn(measured, _constants(planned, request.seed, task, backend), quality)


def _computed_by(backend: Backend) -> str:
    """Backend, driver and libraries of the device, and the version of the streams, in one line."""
    return ", ".join(f"{name} {fact}" for name, fact in backend.describe().items() if name != "device")


def _constants(planned: PlannedPoint, seed: int, task: Task, backend: Backend) -> dict[str, NDArray[Any]]:
    """The Gram matrix of inputs that all networks share, kept with the first shard of the point."""
    given = planned.point.inputs
    if task.start > 0 or (given.kind == "gaussian" and given.fresh):
        return {}
    gram = backend.fetch(inputs.gram_of_inputs(planned.point, seed, 0, 1, backend))
    return {"input_gram": np.asarray(gram[0], dtype=np.float64)}


def make_shard(directory: Path, plan: Plan, task: Task, backend: Backend) -> bool:
    """Make sure that the shard of a task is there and good; True if it had to be made.

    Raises
    ------
    McnetError
        If a measured number is not finite.
    DiskError
        If the shard cannot be written.
    """
    planned = plan.points[task.point_index]
    folder = directory / runfiles.SHARDS
    path = folder / shard.shard_name(planned.key, task.start, task.stop)
    try:
        header, _ = shard.verify(path)
        if header.plan != plan.digest:
            raise DataError(f"{path}: was made by another plan. Use another directory.")
        return False
    except FileNotFoundError:
        pass
    except shard.Damaged:
        shard.set_aside(path)
    content, quality = build(plan, task, draw(plan, task, backend))
    header, record = shard.seal(content, planned.key, task.start, task.stop, plan.digest, quality)
    files.commit(folder, header.name, [content, record])
    ledger.add(directory, [ledger.line(path, plan.digest)])
    return True


def build(plan: Plan, task: Task, drawn: Drawn) -> tuple[memoryview, dict[str, Any]]:
    """The bytes of a shard before it is sealed, and its quality record."""
    point = plan.points[task.point_index].point
    facts = {"physics": json.dumps(point.physics, sort_keys=True)}
    try:
        return shard.build(drawn.measured, task.start, task.stop, facts, drawn.constants), drawn.quality
    except ValueError as error:
        raise McnetError(f"{error} ({facts['physics']})") from error


def compare(directory: Path, plan: Plan, task: Task, backend: Backend) -> Comparison:
    """Draw the networks of a shard again and compare the two."""
    planned = plan.points[task.point_index]
    stored = shard.read(directory / runfiles.SHARDS / shard.shard_name(planned.key, task.start, task.stop))
    again = {
        f"{variable.group}/{variable.name}": np.asarray(values, variable.dtype)
        for variable, values in draw(plan, task, backend).measured
    }
    return comparison.compare(again, stored, planned.point.depth)


def serve(arguments: Sequence[str]) -> int:
    """Serve requests until stdin ends: ``{"do": "make" | "compare", "task": [point, start, stop]}`` or ``pack``."""
    directory, device = Path(arguments[0]), arguments[1]
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(asked_to_stop, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)  # unbuffered: nothing is left to be written at the exit
    os.dup2(2, 1)  # what a plug-in prints must not look like an answer

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content).encode() + b"\n")

    try:
        return _serve(directory, device, answer)
    except BrokenPipeError:  # nobody listens any more
        return Stopped.exit_code


def _serve(directory: Path, device: str, answer: Callable[..., None]) -> int:
    """Answer the requests; the exit code."""
    try:
        plan = runfiles.load_plan(directory)
        backend: Backend | None = None
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "pack":
                from mcnet.dataset.packing import pack

                answer(result=pack(directory, plan, runfiles.scenario_text(directory, plan)))
                continue
            backend = backend or get_backend(device)
            function = {"make": make_shard, "compare": compare}[request["do"]]
            answer(result=function(directory, plan, Task(*request["task"]), backend))
    except McnetError as error:
        answer(error=kind(error), message=str(error))
        return error.exit_code
    return 0
