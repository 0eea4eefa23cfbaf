"""Who works off the tasks: this process, or worker processes of this machine.

An executor is a function of (directory, plan, tasks, device, ..., stop) that yields one :class:`Done` or
:class:`Failed` for each task it ended, until all are ended or a stop was asked for. It never loses a task that it took
and never counts on a worker to survive.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from mcnet import errors
from mcnet.plan.plan import Plan
from mcnet.plan.tasks import Task

ATTEMPTS = 3  # a task that ended its worker as often is given up, with its point
_SERVE = "import sys; from mcnet.engine.worker import serve; sys.exit(serve(sys.argv[1:]))"
_POLL_SECONDS = 0.2
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


class Done(NamedTuple):
    """A task whose shard is there; ``made`` is False if somebody else had made it."""

    task: Task
    made: bool


class Failed(NamedTuple):
    """A task that ended its workers."""

    task: Task
    reason: str


Outcome = Done | Failed


def in_process(
    directory: Path, plan: Plan, tasks: Sequence[Task], device: str, stop: Callable[[], bool]
) -> Iterator[Outcome]:
    """One task after the other, in this process."""
    from mcnet.backend import get_backend
    from mcnet.engine.worker import make_shard

    backend = get_backend(device)
    for task in tasks:
        if stop():
            return
        yield Done(task, make_shard(directory, plan, task, backend))


class Child:
    """A worker process (:mod:`mcnet.engine.worker`) and the two pipes to it."""

    def __init__(self, directory: Path, device: str) -> None:
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE, str(directory), device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C reaches the parent alone
        )
        self.device = device
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self.pid = self._process.pid

    def fileno(self) -> int:
        """Descriptor on which answers come in."""
        return self._answers.fileno()

    def send(self, what: str, task: Task | None = None) -> None:
        """Ask for something; a worker that is dead already is noticed by :meth:`receive`."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.write(json.dumps({"do": what, "task": task}) + "\n")
            self._requests.flush()

    def receive(self) -> tuple[Any] | None:
        """The answer, in a tuple; None if the worker died instead.

        Raises
        ------
        McnetError
            What went wrong, as the worker said it.
        """
        line = self._answers.readline()
        if not line.endswith("\n"):
            return None
        content = json.loads(line)
        if "error" in content:
            raise errors.of_kind(content["error"], content["message"])
        return (content["result"],)

    def ending(self) -> str:
        """How the worker died, in words."""
        code = self._process.wait()
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"

    def close(self) -> None:
        """Let an idle worker end, end a busy one."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()

    def kill(self) -> None:
        """End the worker at once; what it has not committed is lost."""
        self._process.kill()
        self.close()


def processes(
    directory: Path, plan: Plan, tasks: Sequence[Task], device: str, stop: Callable[[], bool], workers: int
) -> Iterator[Outcome]:
    """Worker processes, one task at a time each, with one thread each; several devices (``cuda:0,cuda:1``) in turn.

    A worker that dies is replaced and its task tried again after the others; after :data:`ATTEMPTS` deaths the task
    has failed, and the other tasks of its point are not begun.
    """
    waiting = deque(tasks)
    deaths: Counter[Task] = Counter()
    given_up: set[int] = set()
    idle: list[Child] = []
    busy: dict[Child, Task] = {}
    children: set[Child] = set()
    names = device.split(",")
    places = deque(names[number % len(names)] for number in range(workers))  # devices that wait for a worker
    with selectors.DefaultSelector() as selector:
        try:
            while True:
                while waiting and not stop() and (idle or places):
                    task = waiting.popleft()
                    if task.point_index in given_up:
                        continue
                    if not idle:
                        child = Child(directory, places.popleft())
                        children.add(child)
                        selector.register(child, selectors.EVENT_READ)
                        idle.append(child)
                    busy[child := idle.pop()] = task
                    child.send("make", task)
                if not busy:
                    break
                for key, _ in selector.select(timeout=_POLL_SECONDS):
                    child = cast(Child, key.fileobj)
                    answer = child.receive()
                    if answer is not None:
                        task = busy.pop(child)
                        idle.append(child)
                        yield Done(task, answer[0])
                        continue
                    selector.unregister(child)
                    children.remove(child)
                    places.append(child.device)
                    child.close()
                    if child in idle:  # it had nothing in hand; another one is started when it is needed
                        idle.remove(child)
                        continue
                    task = busy.pop(child)
                    deaths[task] += 1
                    if deaths[task] < ATTEMPTS:
                        waiting.append(task)
                    else:
                        given_up.add(task.point_index)
                        yield Failed(task, f"its worker {child.ending()}")
        except BaseException:
            for child in children:
                child.kill()
            raise
        for child in children:
            child.close()
