"""Tasks on Dask: a cluster of this machine, or any scheduler that is there already.

A window of tasks is with the cluster and no more, so that its memory holds thousands of tasks never and their results
not at all: a result is one word, because shards go to the disk that all workers share. A task whose shard is there is
not drawn again, whoever asks: a lost worker costs the batch it had in hand.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import cache
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mcnet import errors
from mcnet.engine.local import ATTEMPTS, ONE_THREAD, Done, Failed, Outcome
from mcnet.engine.signals import SIGNALS
from mcnet.errors import DataError, McnetError, Stopped, UsageError
from mcnet.plan.plan import Plan
from mcnet.plan.tasks import Task

if TYPE_CHECKING:
    from distributed import Client

    Future = Any  # distributed declares no types for its methods

WINDOW = 3  # tasks with each worker: one that it works on, two that keep it busy until the next are sent
RETRIES = 2  # of a task that ends in an unexpected error
_CONFIG = {
    "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
    "distributed.scheduler.http.routes": [],  # nothing is served without keys
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,  # what nobody looks at, many times a second
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
}
_POLL_SECONDS = 0.2
_COUNT_SECONDS = 2.0  # how often the workers are counted
_PATIENCE_SECONDS = 30.0  # before it is said that there are no workers


def on_dask(
    directory: Path,
    plan: Plan,
    tasks: Sequence[Task],
    device: str,
    stop: Callable[[], bool],
    *,
    workers: int,
    scheduler: str | None,
    say: Callable[[str], None],
) -> Iterator[Outcome]:
    """An executor as in :mod:`mcnet.engine.local`, on Dask.

    Parameters
    ----------
    device : str
        ``cuda:0,cuda:1``: the workers of a cluster of this machine take them in turn.
    workers : int
        Worker processes of a cluster of this machine.
    scheduler : str or None
        Address or scheduler file of a cluster that is there; None: one for this run, on this machine.
    say : callable
        Tells the user something in a line.

    Raises
    ------
    UsageError
        If Dask is not installed, or the scheduler cannot be reached.
    Stopped
        If the scheduler is gone.
    McnetError
        What a worker says went wrong.
    """
    if importlib.util.find_spec("distributed") is None:
        raise UsageError('executor "dask" needs the library distributed. Install it with: pip install "mcnet[dask]"')
    connected = _own_cluster(workers) if scheduler is None else _given_cluster(scheduler)
    with _without_logs(), connected as client:
        try:
            yield from _Window(client, directory, plan, device, say).work(tasks, stop)
        except (_Gone, OSError, CancelledError) as error:  # whichever call of the client was the first to notice
            raise Stopped(
                "the Dask scheduler is gone; all committed shards are safe. Start one, then continue with: "
                f"mcnet resume {directory} --executor dask"
            ) from error


class _Gone(Exception):
    """A task was lost with its scheduler."""


@contextlib.contextmanager
def _without_logs() -> Iterator[None]:
    """What the client has to say of a lost connection is told by us, in a sentence."""
    import distributed  # noqa: F401  (it sets its handlers up)

    levels = {handler: handler.level for handler in logging.getLogger("distributed").handlers}
    for handler in levels:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)


@contextlib.contextmanager
def _own_cluster(workers: int) -> Iterator[Client]:
    """A cluster of processes of this machine, its ports closed to everyone else."""
    import dask
    from distributed import Client, LocalCluster

    # A Dask port runs what it is sent. On a machine with other users it must not be open to them: hence the keys.
    secured = importlib.util.find_spec("cryptography") is not None
    if not secured:
        raise UsageError('executor "dask" needs the library cryptography. Install it with: pip install "mcnet[dask]"')
    with (
        dask.config.set(_CONFIG),
        contextlib.ExitStack() as stack,
    ):
        with _signals_blocked():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                security=True,
                env=ONE_THREAD,
                memory_limit=0,  # batches are sized by the plan; a worker must not be ended for one
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # until it is closed: on any free port
                silence_logs=50,  # what matters of the death of a worker is told by us
                preload=[__name__],
            )
        stack.enter_context(cluster)
        cluster.sync(_close_http, cluster.scheduler)
        yield stack.enter_context(Client(cluster, set_as_default=False))


async def _close_http(node: Any) -> None:
    """Close the port on which a scheduler or a worker tells its state to everybody, without keys."""
    node.http_server.stop()


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Threads that are begun here, and the workers that they begin, now or later, do not see Ctrl-C.

    Until :func:`dask_setup` has been called a worker would end with a traceback. This thread sees it afterwards.
    """
    resource_tracker.ensure_running()  # where multiprocessing begins it, it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _given_cluster(scheduler: str) -> Iterator[Client]:
    from distributed import Client

    where = {"scheduler_file": scheduler} if scheduler.endswith(".json") else {"address": scheduler}
    if "scheduler_file" in where and not Path(scheduler).is_file():
        raise UsageError(f"scheduler {scheduler}: cannot be reached: there is no such file.")
    try:
        client = Client(**where, set_as_default=False, timeout=_PATIENCE_SECONDS)
    except (OSError, ValueError) as error:
        raise UsageError(f"scheduler {scheduler}: cannot be reached ({error}).") from error
    with client:
        yield client


class _Window:
    """The tasks that are with a cluster, and what becomes of them."""

    def __init__(self, client: Client, directory: Path, plan: Plan, device: str, say: Callable[[str], None]) -> None:
        self._client, self._plan, self._say = client, plan, say
        self._run = uuid4().hex  # on a worker that serves others too, this run has a name of its own
        self._order = (str(directory.resolve()), plan.digest, len(plan.tasks), plan.plugins, device, self._run)
        self._running: dict[Future, Task] = {}
        self._ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._room, self._counted, self._alone_since = 0, -_COUNT_SECONDS, time.monotonic()

    def work(self, tasks: Sequence[Task], stop: Callable[[], bool]) -> Iterator[Outcome]:
        """Work off tasks.

        A worker that dies takes the tasks in its queue under suspicion with the one that killed it. So a task that
        Dask gives up is tried again after all others, alone; what kills its worker then has failed.
        """
        waiting, suspects = deque(tasks), deque[Task]()
        doubtful: set[int] = set()  # points with a suspect
        given_up: set[int] = set()
        judged: Task | None = None  # the suspect that has the cluster for itself
        stopped = False
        while True:
            if stop() and not stopped:
                stopped = True
                waiting.clear()
                suspects.clear()
                self._client.run(_forget, self._run)
            while waiting and len(self._running) < self._window():
                task = waiting.popleft()
                (suspects.append if task.point_index in doubtful else self._submit)(task)
            while suspects and not waiting and not self._running:
                judged = suspects.popleft()
                if judged.point_index not in given_up:
                    self._submit(judged)
            if not self._running and not waiting:
                return
            ended = self._next()
            if ended is None:
                continue
            task, outcome = ended
            if isinstance(outcome, Done):
                yield outcome
            elif isinstance(outcome, Failed):
                if task == judged or outcome.reason != _KILLED:
                    given_up.add(task.point_index)
                    yield outcome
                else:
                    suspects.append(task)
                doubtful.add(task.point_index)

    def _window(self) -> int:
        """How many tasks may be with the cluster: it may grow and shrink."""
        now = time.monotonic()
        if now - self._counted > _COUNT_SECONDS:
            self._counted, count = now, len(self._client.nthreads())
            self._room = WINDOW * count
            if count or self._running:
                self._alone_since = now
            elif now - self._alone_since > _PATIENCE_SECONDS:
                self._alone_since = now
                self._say("waiting for workers of the scheduler...")
        return self._room

    def _submit(self, task: Task) -> None:
        future = self._client.submit(_make, *self._order, task, pure=False, retries=RETRIES)
        self._running[future] = task
        future.add_done_callback(self._ended.put)

    def _next(self) -> tuple[Task, Outcome | None] | None:
        """The next task that has ended, with None if it was not begun because of a stop; None after a while."""
        try:
            future = self._ended.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            return None
        task = self._running.pop(future)
        if future.status == "finished":
            what, told = future.result()
            future.release()
            if what in ("made", "found"):
                return task, Done(task, what == "made")
            if what == "stopped":
                return task, None
            raise errors.of_kind(what, told)
        if future.status != "error":
            raise _Gone
        return task, Failed(task, _reason(future))


_KILLED = "it killed its workers"


def _reason(future: Future) -> str:
    from distributed import KilledWorker

    error = future.exception()
    future.release()
    if isinstance(error, KilledWorker):
        return _KILLED
    told = str(error).splitlines()
    return f"its worker told {type(error).__name__}" + (f": {told[0]}" if told else "")


# What follows runs in the workers.


class _Worker:
    """What a worker process keeps between tasks; one task at a time, whatever its number of threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stopped: set[str] = set()


@cache
def _worker() -> _Worker:
    return _Worker()


@cache
def _plan(directory: str, digest: str, count: int) -> Plan:
    from mcnet.storage.directory import load_plan

    plan = load_plan(Path(directory))
    if (plan.digest, len(plan.tasks)) != (digest, count):
        raise DataError(f"{directory}: a worker sees another plan there. All workers need the same file system.")
    return plan


@cache
def _backend(device: str) -> Any:
    from mcnet.backend import get_backend

    return get_backend(device)


def _make(
    directory: str, digest: str, count: int, plugins: Sequence[str], devices: str, run: str, task: Task
) -> tuple[str, str]:
    """Make a shard; errors that tell the user something come back as their name and sentence, and are not retried."""
    from distributed import get_worker

    from mcnet import plugins as plugin_modules
    from mcnet.engine.worker import make_shard

    state = _worker()
    with state.lock:
        if run in state.stopped:
            return "stopped", ""
        try:
            plugin_modules.load(plugins)
            names = devices.split(",")
            device = names[int(get_worker().name) % len(names)] if len(names) > 1 else devices
            made = make_shard(Path(directory), _plan(directory, digest, count), Task(*task), _backend(device))
        except McnetError as error:
            return errors.kind(error), str(error)
        return ("made" if made else "found"), ""


def _forget(run: str) -> None:
    """Begin no more tasks of a run; the one in hand is finished."""
    _worker().stopped.add(run)


def dask_setup(worker: Any) -> None:
    """Called by Dask when a worker starts: signals that ask a run to stop are for the process that started it, and no
    port is open to others."""
    worker.http_server.stop()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
