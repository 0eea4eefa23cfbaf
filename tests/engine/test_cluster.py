"""Many workers: Dask, parts, Slurm. One content whoever works, little is done twice, what fails is named."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil  # Dask needs it
import pytest
from studies import study

import mcnet
from mcnet.commands.slurm import script
from mcnet.engine import dask, driver, local, status
from mcnet.errors import DataError, UsageError
from mcnet.plan.plan import make_plan
from mcnet.scenario.loading import load
from mcnet.storage import directory as runfiles

MANY = study(networks=160, batch=8)  # 40 shards

# Each batch takes a while and is noted in drawn.txt: process, point, first network, and the microseconds of processor
# time that its process has spent since the batch before, on everything but drawing.
SLOW = """
import os, signal, time
import mcnet.engine.worker as worker

draw = worker.draw
ended = None

def slow(plan, task, backend):
    global ended
    spent = -1 if ended is None else round(1e6 * (time.process_time() - ended))
    with open(os.path.join(os.path.dirname(__file__), "drawn.txt"), "a") as file:
        file.write(f"{os.getpid()} {task.point_index} {task.start} {spent}\\n")
    if task == (1, 16, 24) and os.path.exists(os.path.join(os.path.dirname(__file__), "poison")):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    drawn = draw(plan, task, backend)
    ended = time.process_time()
    return drawn

worker.draw = slow
"""


def digest(directory: Path) -> str:
    with mcnet.open(directory) as tree:
        return str(tree.attrs["content_digest"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    return digest(mcnet.run(MANY, tmp_path_factory.mktemp("runs") / "one", workers=1, quiet=True))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the study and the plug-in that makes it slow."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "study.toml").write_text(load(MANY).text)
    return tmp_path


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from mcnet.commands.cli import main; main()", *words]


RUN = ("run", "study.toml", "--out", "run", "--plugin", "slow")
DASK = ("--executor", "dask", "--workers", "2")


def drawn(place: Path) -> list[tuple[int, ...]]:
    path = place / "drawn.txt"
    return [tuple(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []


def overhead(place: Path) -> float:
    """Seconds of processor time between two batches, in the median."""
    return statistics.median(spent for *_, spent in drawn(place) if spent >= 0) / 1e6


def wait_for(place: Path, count: int) -> None:
    """Until so many batches were begun."""
    patience = time.monotonic() + 300
    while len(drawn(place)) < count:
        assert time.monotonic() < patience
        time.sleep(0.01)


def test_a_killed_dask_worker_costs_the_batch_in_hand_and_a_signal_nothing(undisturbed: str, place: Path) -> None:
    run = subprocess.Popen(command(*RUN, *DASK), stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(place, 8)
    os.kill(drawn(place)[-1][0], signal.SIGKILL)
    wait_for(place, 20)
    os.killpg(run.pid, signal.SIGINT)  # as the terminal does it: to everyone
    _, told = run.communicate()
    assert run.returncode == 75, told
    shards = len(list((place / "run" / "shards").glob("*.h5")))
    assert len(drawn(place)) - 1 <= shards < 40  # what was begun was finished, but for the batch of the dead worker
    assert f"{shards} of 40 shards are safe. Continue with: mcnet resume run" in told
    assert "Traceback" not in told
    assert not [path for path in (place / "run").rglob("*.tmp") if f"-{drawn(place)[7][0]}-" not in path.name]
    driver.resume("run", workers=1, quiet=True)
    assert digest(place / "run") == undisturbed
    assert overhead(place) < 0.05  # 5 % of a task of a second
    times = Counter(line[1:3] for line in drawn(place))
    assert max(times.values()) <= 2
    assert sum(count - 1 for count in times.values()) <= 1


def test_a_given_scheduler_and_a_point_that_kills_its_workers(
    undisturbed: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "poison").touch()
    monkeypatch.setenv("PYTHONPATH", str(place))
    cluster = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve().parents[1].joinpath("dask_cluster.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert cluster.stdout is not None
    address = cluster.stdout.readline().strip()
    done = subprocess.run(
        command(*RUN, "--executor", "dask", "--scheduler", address, "--quiet"), capture_output=True, text=True
    )
    assert done.returncode == 70, done.stderr
    assert "width 16" in done.stderr
    assert "given up after 3 attempts at networks 16 to 23; it killed its workers" in done.stderr
    assert "all others are packed" in done.stderr
    points = status.status("run")["points"]
    assert points[0]["networks"] == 160
    assert cluster.poll() is None  # it was not ours to end
    cluster.communicate()
    (place / "poison").unlink()
    driver.resume("run", workers=1, quiet=True)
    assert digest(place / "run") == undisturbed


def test_four_parts_at_once(undisturbed: str, place: Path) -> None:
    """No scheduler, no locks: they end together, and little is drawn twice."""
    parts = [subprocess.Popen(command(*RUN, "--workers", "1", "--quiet", "--part", f"{i}/4")) for i in (1, 2, 3, 4)]
    assert [part.wait() for part in parts] == [0, 0, 0, 0]
    assert digest(place / "run") == undisturbed
    assert not list((place / "run").rglob("*.tmp"))
    assert overhead(place) < 0.05  # 5 % of a task of a second
    times = Counter(line[1:3] for line in drawn(place))
    assert len(times) == 40
    assert sum(times.values()) <= 40 + 3 * 4  # while the last are drawn, the other three help each


def test_dask_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "_PATIENCE_SECONDS", 0.5)
    wrong: list[tuple[dict[str, str | int], str]] = [
        ({"scheduler": "tcp://127.0.0.1:9"}, r"scheduler tcp://127\.0\.0\.1:9: cannot be reached"),
        ({"scheduler": "x://y"}, "scheduler x://y: cannot be reached"),
        ({"scheduler": str(tmp_path / "none.json")}, "cannot be reached"),
        ({"scheduler": "tcp://127.0.0.1:9", "workers": 2}, "has its own; give one of the two"),
        ({"scheduler": "tcp://127.0.0.1:9", "executor": "local"}, 'is for executor "dask"'),
        ({"device": "cuda:0,cuda:1", "workers": 1}, "2 devices need as many workers"),
    ]
    for options, message in wrong:
        with pytest.raises(UsageError, match=message):
            mcnet.run(study(), tmp_path / "run", quiet=True, **{"executor": "dask", **options})  # type: ignore[arg-type]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r'needs the library distributed\. Install it with: pip install "mcnet\[dask\]"'
    ):
        mcnet.run(study(), tmp_path / "run", executor="dask", workers=1, quiet=True)


def test_a_worker_that_sees_another_directory(tmp_path: Path) -> None:
    run = mcnet.run(study(), tmp_path / "run", workers=1, quiet=True)
    plan = runfiles.load_plan(run)
    with pytest.raises(DataError, match="All workers need the same file system"):
        dask._plan(str(run), plan.digest, len(plan.tasks) + 1)


def test_several_devices_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that replaces a dead one takes its device."""
    started: list[str] = []

    class Recorded(local.Child):
        def __init__(self, directory: Path, device: str) -> None:
            super().__init__(directory, "cpu")
            self.device = device
            started.append(device)
            if len(started) == 2:
                os.kill(self.pid, signal.SIGKILL)

    plan = make_plan(load(study()))
    run = tmp_path / "run"
    runfiles.begin(run, plan, "")
    monkeypatch.setattr(local, "Child", Recorded)
    outcomes = list(local.processes(run, plan, plan.tasks, "cuda:0,cuda:1", lambda: False, 2))
    assert sorted(outcomes) == sorted((task, True) for task in plan.tasks)
    assert started == ["cuda:0", "cuda:1", "cuda:1"]


def test_the_job_script(undisturbed: str, place: Path) -> None:
    """Run by bash, with a srun that does what Slurm's does, for each job of the array."""
    folder = place / "a b'; touch evil #"
    text = script(folder, "study.toml", jobs=2)
    for line in ("--array=1-2", "--signal=USR1@120", "--requeue", "--open-mode=append"):
        assert f"#SBATCH {line}\n" in text
    assert all(line.startswith("#") for line in text.split("\nsrun")[0].splitlines())
    tools = place / "tools"
    tools.mkdir()
    for name, does in (
        ("srun", 'if [ "$STOP" ]; then exit "$STOP"; fi; exec "$@"'),
        ("scontrol", 'echo "$@" > requeued'),
    ):
        (tools / name).write_text(f"#!/bin/bash\n{does}\n")
        (tools / name).chmod(0o755)
    (place / "job.sh").write_text(text)

    def job(number: int, **more: str) -> int:
        slurm = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_JOB_ID": f"70{number}", **more}
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(["bash", "job.sh"], env={**os.environ, "PATH": path, **slurm}).returncode

    for code, restarts in ((75, 0), (75, 50), (74, 0), (74, 2)):
        assert job(1, STOP=str(code), SLURM_RESTART_COUNT=str(restarts)) == code
        assert (place / "requeued").read_text() == "requeue 701\n"
        (place / "requeued").unlink()
    for code, restarts in ((74, 3), (65, 0), (70, 0)):
        assert job(1, STOP=str(code), SLURM_RESTART_COUNT=str(restarts)) == code
    assert [job(1), job(2)] == [0, 0]
    assert not (place / "requeued").exists()
    assert not (place / "evil").exists()
    assert digest(folder) == undisturbed
    assert f" resume '{str(folder).split(chr(39))[0]}" in script(folder)
    assert "--gpus-per-task=2" in script(folder, gpus=2)
    assert "--device cuda:0,cuda:1 --workers 2" in script(folder, gpus=2)


def test_job_scripts_that_are_refused(place: Path) -> None:
    with pytest.raises(DataError, match="is no run directory"):
        script(place)
    with pytest.raises(UsageError, match="--time"):
        script(place, "study.toml", time="1:00\n#SBATCH --evil")
    with pytest.raises(UsageError, match="control characters"):
        script(place / "a\nrm -rf x", "study.toml")


def listening(pid: int) -> set[int]:
    """Ports on which a process and its children wait for connections."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    found: set[int] = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    return found


def test_no_port_of_an_own_cluster_answers_without_a_key(place: Path) -> None:
    run = subprocess.Popen(command(*RUN, *DASK, "--quiet"), stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(place, 4)
    ports = listening(run.pid)
    answers = {}
    for port in ports:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                answers[port] = connection.recv(100)
    os.killpg(run.pid, signal.SIGINT)
    _, told = run.communicate()
    assert run.returncode in (0, 75), told
    assert len(ports) >= 3  # scheduler, two nannies or workers: the question was put to someone
    assert not [answer for answer in answers.values() if b"HTTP" in answer]


def test_a_killed_scheduler_is_told_and_the_run_goes_on(undisturbed: str, place: Path) -> None:
    cluster = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve().parents[1] / "dask_cluster.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert cluster.stdout is not None
    address = cluster.stdout.readline().strip()
    words = command(*RUN, "--executor", "dask", "--scheduler", address)
    run = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    wait_for(place, 4)
    os.killpg(cluster.pid, signal.SIGKILL)
    _, told = run.communicate()
    cluster.communicate()
    assert run.returncode == 75, told
    assert "the Dask scheduler is gone; all committed shards are safe" in told
    assert "Traceback" not in told
    assert "fault of mcnet" not in told
    driver.resume("run", workers=1, quiet=True)
    assert digest(place / "run") == undisturbed
