"""Run, resume, sample: from a scenario to a directory of shards and a dataset, or to a tree in memory."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mcnet import files
from mcnet import plugins as plugin_modules
from mcnet.engine import budget
from mcnet.engine.adaptive import next_round, outcome
from mcnet.engine.local import ATTEMPTS, Child, Failed
from mcnet.engine.machines import Machines, asked, chosen_devices, execution
from mcnet.engine.signals import SIGNALS, StopRequest
from mcnet.errors import DataError, DiskError, McnetError, Stopped, UsageError
from mcnet.plan.plan import Plan, PlannedPoint, make_plan, plan_points
from mcnet.plan.tasks import Task, order
from mcnet.progress import Progress, counted
from mcnet.storage import directory as runfiles
from mcnet.storage import members, rounds, shard
from mcnet.storage.scan import scan
from mcnet.storage.shard import ShardName

if TYPE_CHECKING:
    import xarray

    from mcnet.scenario.loading import Scenario
    from mcnet.scenario.members import Members

    Study = str | os.PathLike[str] | Mapping[str, Any] | Scenario


def run(
    scenario: Study | Members,
    out: str | os.PathLike[str],
    *,
    device: str = "auto",
    workers: int | None = None,
    executor: str = "local",
    part: str | None = None,
    scheduler: str | None = None,
    plugins: Sequence[str] = (),
    quiet: bool = False,
    overrides: Sequence[str] = (),
) -> Path:
    """Draw the networks of a scenario, store what is measured, and pack it into ``dataset.h5``.

    In a directory that holds a part of the same run it goes on; with more networks or points the run grows.

    Parameters
    ----------
    scenario : path, mapping, Scenario or Members
        Of one with members each is a run of its own, in the folder ``members`` of the directory.
    out : path
        The directory of the run.
    device : str
        ``auto``, ``cpu``, ``cuda:N``, or several as in ``cuda:0,cuda:1``: one worker each.
    workers : int, optional
        1: everything in this process; more: so many processes with one thread each. By default one for every core
        that this process may use, and 1 where the work would be done before they have started. The content of the
        result does not depend on it.
    executor : str
        ``local``: this process, or worker processes of this machine. ``dask``: a Dask cluster, of this machine or the
        one of ``scheduler``.
    part : str, optional
        ``i/n``: one of n runs of the same scenario into the same directory, by a job array for instance. It begins
        with its own share and then helps the others; whoever finishes packs.
    scheduler : str, optional
        Address (or scheduler file) of a running Dask scheduler; its workers must see the directory.
    plugins : sequence of str
        Modules to import first, in every worker too, and again when the run is resumed.
    quiet : bool
        Say nothing but errors.
    overrides : sequence of str
        ``section.key=value`` changes to the scenario.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    ScenarioError
        If the scenario has mistakes; nothing was run.
    DataError
        If the directory belongs to another plan, or a shard was damaged while it ran.
    DiskError
        If the disk is full; what was committed is safe.
    Stopped
        If a signal asked for it; what was committed is safe and :func:`resume` goes on.
    McnetError
        If a measured number is not finite, or tasks ended their workers again and again.
    """
    from mcnet.scenario.loading import Scenario
    from mcnet.scenario.members import load

    machines = asked(workers, executor, part, scheduler, device)
    plugin_modules.load(plugins)
    study = load(scenario, overrides, quiet=quiet)
    device = chosen_devices(device, machines, quiet)
    directory = Path(out)
    alone = isinstance(study, Scenario)
    studies = {"": study} if isinstance(study, Scenario) else study.studies
    plans = {name: make_plan(each, plugins) for name, each in studies.items()}
    if not alone:
        members.require_growth(directory, plans)
    if part is None and not directory.exists():  # nothing is written where it cannot end
        parent = next(folder for folder in directory.absolute().parents if folder.is_dir())
        budget.require_space(parent, sum(sum(budget.costs(plan, plan.tasks)[1]) for plan in plans.values()))
    runs: _Runs = {}
    for name, plan in plans.items():
        place = directory if alone else members.place(directory, name)
        runs[name] = (place, runfiles.begin(place, plan, studies[name].text))
    if not alone:
        members.write(directory, members.Record(study.title, tuple(studies), study.text))
    return _carry_out(directory, runs, device, machines, quiet)


_Runs = dict[str, tuple[Path, Plan]]
"""Directory and plan of each member; of a run without members its own, with no name."""


def resume(
    directory: str | os.PathLike[str],
    *,
    device: str = "auto",
    workers: int | None = None,
    executor: str = "local",
    part: str | None = None,
    scheduler: str | None = None,
    quiet: bool = False,
) -> Path:
    """Go on with a run that was stopped, killed or damaged; parameters, result and errors as for :func:`run`."""
    machines = asked(workers, executor, part, scheduler, device)
    device = chosen_devices(device, machines, quiet)
    whole = Path(directory)
    places = members.places(whole) if members.are_in(whole) else {"": whole}
    runs = {name: (place, runfiles.load_plan(place)) for name, place in places.items()}
    return _carry_out(whole, runs, device, machines, quiet)


def pack(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Write ``dataset.h5`` of a run, in a process of its own (HDF5 may crash where a disk is full).

    Returns
    -------
    dict
        ``content_digest``, ``shards``, ``shards_planned``, ``written`` (False if it was up to date).

    Raises
    ------
    DataError
        If a shard is damaged or foreign, or there is none.
    DiskError
        If the dataset cannot be written.
    """
    place = Path(directory)
    runfiles.load_plan(place)
    child = Child(place, "cpu")
    try:
        child.send("pack")
        answer = child.receive()
    except BaseException:
        child.kill()
        raise
    child.close()
    if answer is None:
        files.remove_stale(place)
        told = f"{place}: the dataset could not be written: its writer {child.ending()}."
        if child.ending() in _KILLED:
            raise Stopped(f"{told} All shards are safe. Say the command again; if it happens again, free some memory.")
        raise DiskError(told)
    report: dict[str, Any] = answer[0]
    return report


_KILLED = {f"was killed by signal {int(number)}" for number in (signal.SIGKILL, *SIGNALS)}
"""What somebody did to a process, rather than the disk."""


def sample(
    scenario: Study,
    networks: int | None = None,
    seed: int | None = None,
    device: str = "auto",
    *,
    plugins: Sequence[str] = (),
    overrides: Sequence[str] = (),
    workers: int | None = None,
    quiet: bool = True,
) -> xarray.DataTree:
    """The dataset of a scenario, made in memory: for notebooks and small studies.

    Parameters
    ----------
    scenario : path, mapping or Scenario
        Or the name of a shipped one, for example ``"order_chaos"``.
    networks : int, optional
        Networks at every point; as the scenario says if left out.
    seed : int, optional
        Likewise.
    device, plugins, overrides
        As for :func:`run`.
    workers : int, optional
        More than 1: so many processes, through a directory that is removed again. By default this process alone.
    quiet : bool
        False: tell on stderr how far it is.

    Returns
    -------
    xarray.DataTree
        The same numbers as those of :func:`run`.

    Raises
    ------
    ScenarioError
        If the scenario has mistakes.
    UsageError
        If ``networks`` or ``seed`` is no number of networks or seed.
    """
    from mcnet.scenario import loading as scenarios

    plugin_modules.load(plugins)
    study = scenarios.load(scenario, overrides)
    count = study.fixed_networks() if networks is None else _whole("networks", networks, 1)
    request = study.request()
    if seed is not None:
        request = replace(request, seed=_whole("seed", seed, 0))
    if workers is not None and _whole("workers", workers, 1) > 1:
        given = [f"sampling.networks={count}", f"sampling.seed={request.seed}"]
        return _sample_by_workers(scenarios.load(study, given), workers, device, plugins, quiet)
    plan = replace(plan_points(study.points(), request, count, study.batch), title=study.title)
    return _in_memory(plan, study, device, quiet)


def _whole(name: str, value: Any, least: int) -> int:
    """A whole number, NumPy's too; a sentence that says so for anything else."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not least <= int(value) < 2**64:
        raise UsageError(f"{name} = {value}: must be a whole number from {least} to 2^64 - 1.")
    return int(value)


def _sample_by_workers(
    study: Scenario, workers: int, device: str, plugins: Sequence[str], quiet: bool
) -> xarray.DataTree:
    from mcnet.dataset.open import open_dataset

    with TemporaryDirectory() as folder:
        run(study, Path(folder) / "run", device=device, workers=workers, plugins=plugins, quiet=quiet)
        with open_dataset(Path(folder) / "run") as tree:
            return tree.load()


def _in_memory(plan: Plan, study: Scenario, device: str, quiet: bool) -> xarray.DataTree:
    from mcnet.backend import get_backend
    from mcnet.dataset import schema
    from mcnet.dataset.open import assemble
    from mcnet.engine import worker

    backend = get_backend(device)
    drawn: list[list[worker.Drawn]] = [[] for _ in plan.points]
    spans: list[list[tuple[int, int]]] = [[] for _ in plan.points]
    for task in counted(plan.tasks, "shards", quiet):
        drawn[task.point_index].append(worker.draw(plan, task, backend))
        spans[task.point_index].append((task.start, task.stop))

    def source(index: int) -> Iterator[Mapping[str, Any]]:
        for batch in drawn[index]:
            yield {f"{variable.group}/{variable.name}": values for variable, values in batch.measured}

    contents = [
        schema.Content(
            tuple(ranges),
            tuple((variable, values.shape[1:]) for variable, values in batches[0].measured),
            batches[0].constants.get("input_gram"),
            tuple(batch.quality for batch in batches),
        )
        for ranges, batches in zip(spans, drawn, strict=True)
    ]
    return assemble(schema.build(plan, contents, study.text), source)


def _carry_out(directory: Path, runs: _Runs, device: str, machines: Machines, quiet: bool) -> Path:
    """Carry out the runs one after the other; what fails in a member does not keep the others from their networks."""
    failures: list[str] = []
    with StopRequest(_announcer(quiet)) as stop:
        for number, (name, (place, plan)) in enumerate(runs.items(), 1):
            try:
                title = f"{name} ({number}/{len(runs)})" if name else ""
                failures += _carry_out_one(place, plan, device, machines._replace(title=title), quiet, stop)
            except Stopped as error:
                raise Stopped(f"member {name}: {error}" if name else str(error)) from error
            except McnetError as error:
                if not name or type(error) is not McnetError:
                    raise
                failures.append(f"member {name}: {error}")
    if failures:
        raise McnetError("\n".join(failures))
    return directory


def _carry_out_one(
    directory: Path, plan: Plan, device: str, machines: Machines, quiet: bool, stop: Callable[[], bool]
) -> list[str]:
    """Make all shards of the plan that are not there, and of its further rounds, then the dataset; what failed."""
    if runfiles.is_pruned(directory):
        runfiles.require_record(directory)
        return []
    done, failed = _make_shards(directory, plan, device, machines, quiet, stop)
    while done == len(plan.tasks) and (following := next_round(directory, plan)) is not None:
        plan, told = following
        if not quiet:
            Progress.say(told)
        done, failed = _make_shards(directory, plan, device, machines, quiet, stop)
    planned = len(plan.tasks)
    if done:
        report = pack(directory)
        runfiles.log(directory, "packed", **report)
        if report["shards"] < done:
            raise DataError(
                f"{directory}: {done - report['shards']} of its shards were damaged or removed while it ran. "
                f"Continue with: mcnet resume {members.whole(directory)}"
            )
        if not quiet:
            Progress.say(f"{directory / runfiles.DATASET}: {done} of {planned} shards")
    if not quiet and (told := outcome(directory, plan)):
        Progress.say(told)
    return [_told(plan, failed, directory, planned - done)] if failed else []


def _make_shards(
    directory: Path, plan: Plan, device: str, machines: Machines, quiet: bool, stop: Callable[[], bool]
) -> tuple[int, list[Failed]]:
    """Make all shards of the plan that are not there; how many there are now, and the tasks that failed."""
    files.make_folder(directory / runfiles.SHARDS)
    for folder in (directory, directory / runfiles.SHARDS, directory / rounds.ROUNDS):
        files.remove_stale(folder)
    todo = _todo(directory, plan, machines.part, quiet)
    seconds, stored = budget.costs(plan, todo)
    budget.require_space(directory, sum(stored))
    planned, total = len(plan.tasks), sum(seconds)
    count = machines.workers or budget.default_workers(total, len(todo), device)
    execute = execution(machines, count, quiet)
    runfiles.log(directory, "begin", shards=planned - len(todo), shards_planned=planned, workers=count, device=device)
    done = planned - len(todo)
    cost = dict(zip(todo, seconds, strict=True))
    failed: list[Failed] = []
    try:
        with Progress(planned, done, total, quiet, title=machines.title) as progress:
            for outcome in execute(directory, plan, todo, device, stop):
                task = outcome.task
                if isinstance(outcome, Failed):
                    failed.append(outcome)
                    runfiles.log(directory, "failed", task=task, reason=outcome.reason)
                    continue
                done += 1
                progress.advance(task.stop - task.start if outcome.made else 0, cost[task])
    except DiskError as error:
        needed = sum(stored[done - planned + len(todo) :])
        raise DiskError(
            f"{error} {done} of {planned} shards are safe. {files.size_text(needed)} more are needed in {directory}. "
            f"Free space, then: mcnet resume {members.whole(directory)}"
        ) from error
    except McnetError as error:
        runfiles.log(directory, "end", reason=str(error), shards=done)
        raise
    if stop() and done + len(failed) < planned:
        runfiles.log(directory, "stopped", shards=done)
        raise Stopped(f"{done} of {planned} shards are safe. Continue with: mcnet resume {members.whole(directory)}")
    return done, failed


def _todo(directory: Path, plan: Plan, part: tuple[int, int], quiet: bool) -> list[Task]:
    """Tasks whose shard is not there, or is damaged, in the order of this part."""
    names = {ShardName(plan.points[task.point_index].key, task.start, task.stop): task for task in plan.tasks}
    folder = directory / runfiles.SHARDS
    looked = scan(folder, names, plan.digest, shard.verify, lambda checked: checked[0].plan, os.cpu_count() or 1)
    for name, message in looked.damaged.items():
        shard.set_aside(folder / shard.shard_name(*name))
        runfiles.log(directory, "damaged", message=message)
        if not quiet:
            Progress.say(f"{message} Moved to *.bad; {name.stop - name.start} networks will be drawn again.")
    found = {names[name] for name in looked.found}
    return [task for task in order(plan.tasks, part) if task not in found]


def _announcer(quiet: bool) -> Any:
    def announce() -> None:
        if not quiet:
            os.write(2, b"finishing the batch...\n")  # in a signal handler: print may be interrupted in itself

    return announce


def _told(plan: Plan, failed: Sequence[Failed], directory: Path, missing: int) -> str:
    lines = [
        f"{_name(plan.points[task.point_index])}: given up after {ATTEMPTS} attempts at networks {task.start} to "
        f"{task.stop - 1}; {reason}."
        for task, reason in failed
    ]
    again = f"mcnet resume {members.whole(directory)}"
    ending = f"{missing} shards are missing, all others are packed. To try again: {again}"
    return "\n".join([*lines, ending])


def _name(planned: PlannedPoint) -> str:
    point = planned.point
    return (
        f"point {planned.key} (width {point.width}, depth {point.depth}, {point.activation.label}, "
        f"sigma_w2 {point.sigma_w2:g}, sigma_b2 {point.sigma_b2:g})"
    )
