"""Worker processes: one that dies idle is no loss, one that nobody listens to ends without a word."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from studies import study

from mcnet.engine import local
from mcnet.engine.local import Child, Done, Outcome
from mcnet.plan.plan import Plan, make_plan
from mcnet.plan.tasks import Task
from mcnet.scenario.loading import load

SCRIPT = """
import json, pathlib, sys, time
for line in sys.stdin:
    point, start, stop = json.loads(line)["task"]
    while point == 1 and not pathlib.Path(sys.argv[1], "go").exists():
        time.sleep(0.01)
    print(json.dumps({"result": True}), flush=True)
"""  # a worker that makes networks of point 0 at once and those of point 1 when it is let


@pytest.fixture
def plan() -> Plan:
    return make_plan(load(study()))


def next_of(outcomes: Iterator[Outcome]) -> Task:
    outcome = next(outcomes)
    assert isinstance(outcome, Done)
    return outcome.task


@pytest.mark.parametrize("both", [False, True])
def test_an_idle_worker_may_be_killed(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, both: bool) -> None:
    """One worker has nothing left to do and is killed; tasks that come back find another one."""
    monkeypatch.setattr(local, "_SERVE", SCRIPT)
    children: list[Child] = []

    class Recorded(Child):
        def __init__(self, directory: Path, device: str) -> None:
            super().__init__(directory, device)
            children.append(self)

    monkeypatch.setattr(local, "Child", Recorded)
    tasks = [Task(1, 0, 1), Task(0, 0, 1)]
    outcomes = local.processes(tmp_path, plan, tasks, "cpu", lambda: False, workers=2)
    assert next_of(outcomes) == Task(0, 0, 1)
    slow, idle = children
    os.kill(idle.pid, signal.SIGKILL)
    if both:  # the worker at work dies too: its task comes back, and the idle one cannot take it
        os.kill(slow.pid, signal.SIGKILL)
    (tmp_path / "go").touch()
    assert next_of(outcomes) == Task(1, 0, 1)
    assert list(outcomes) == []
    assert len(children) == (3 if both else 2)


def test_a_worker_without_listeners_ends_silently(tmp_path: Path) -> None:
    """Where the process that asked is gone, whatever the answer: a result, or an error."""
    plan = make_plan(load(study()))
    (tmp_path / "plan.json").write_text(plan.to_json())
    (tmp_path / "shards").mkdir()
    for directory in (tmp_path, tmp_path / "nowhere"):
        worker = subprocess.Popen(
            [sys.executable, "-c", local._SERVE, str(directory), "cpu"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdout.close()
        task = Task(0, 0, plan.points[0].batch)
        told = worker.communicate(json.dumps({"do": "make", "task": task}) + "\n")[1]
        assert (worker.returncode, told) == (75, "")
    assert len(list((tmp_path / "shards").glob("*.h5"))) == 1
