"""Kills, signals, full disks: nothing committed is lost or counted twice, and the content does not change."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
from studies import study
from warm import MANY

import mcnet
from mcnet.engine import driver, local, status
from mcnet.errors import DiskError, Stopped

LARGE = {**study(widths=(64, 128), networks=1024, batch=64)}  # 32 shards of some tens of milliseconds
LARGE["sampling"] |= {"sampler": "explicit"}


def digest(directory: Path) -> str:
    with mcnet.open(directory) as tree:
        return str(tree.attrs["content_digest"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Content digests of runs that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return {
        name: digest(mcnet.run(scenario, folder / name, workers=1, quiet=True))
        for name, scenario in (("many", MANY), ("large", LARGE))
    }


def committed(directory: Path) -> int:
    return len(list((directory / "shards").glob("*.h5")))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait, on a machine however busy; fail rather than for ever."""
    patience = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < patience, "waited for two minutes"
        time.sleep(0.002)


def test_kill_at_any_moment(undisturbed: dict[str, str], tmp_path: Path) -> None:
    """100 kills -9 at random moments: while shards are made, committed, verified again, while plans are written."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve().parents[1].joinpath("warm.py"))],
        stdin=PIPE,
        stdout=PIPE,
        text=True,
        bufsize=1,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    rng = np.random.default_rng(1)
    directory, runs = tmp_path / "0", 1
    for _ in range(100):
        server.stdin.write(f"run {directory}\n")
        pid = int(server.stdout.readline())
        enough = min(committed(directory) + int(rng.integers(0, 8)), 119)
        wait_until(lambda enough=enough, directory=directory: committed(directory) >= enough)
        time.sleep(float(rng.uniform(0.0, 0.01)))
        os.kill(pid, signal.SIGKILL)
        server.stdin.write("wait\n")
        server.stdout.readline()
        if committed(directory) > 115:
            directory, runs = tmp_path / str(runs), runs + 1
    server.stdin.close()
    server.wait()
    server.stdout.close()
    for number in range(runs):
        run = mcnet.run(MANY, tmp_path / str(number), workers=1, quiet=True)
        assert digest(run) == undisturbed["many"]
        assert not list(run.rglob("*.tmp"))
        assert not list(run.rglob("*.bad"))


def test_killed_workers_are_replaced(
    undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    class Recorded(local.Child):
        def __init__(self, directory: Path, device: str) -> None:
            super().__init__(directory, device)
            started.append(self.pid)

    monkeypatch.setattr(local, "Child", Recorded)

    def kill_some() -> None:
        for count in (6, 12, 18):  # whenever so many shards are there, kill the worker that was started last
            wait_until(lambda count=count: committed(tmp_path / "run") >= count)
            os.kill(started[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_some)
    killer.start()
    mcnet.run(LARGE, tmp_path / "run", workers=2, quiet=True)
    killer.join()
    assert len(started) >= 3
    assert digest(tmp_path / "run") == undisturbed["large"]


POISON = """
import os, signal
import mcnet.engine.worker as worker

measure = worker.measure

def deadly(point, *arguments):
    if point.width == 16 and os.path.exists("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    return measure(point, *arguments)

worker.measure = deadly
"""


def test_a_point_that_kills_its_workers_is_named_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("poisonous.py").write_text(POISON)
    Path("poison").touch()
    code = (
        "import json, sys; from mcnet import engine; from mcnet.errors import McnetError\n"
        "try: engine.run(json.loads(sys.argv[1]), 'run', workers=2, plugins=['poisonous'], quiet=True)\n"
        "except McnetError as error: print(error)\n"
    )
    scenario = study()
    scenario["sampling"]["sampler"] = "explicit"  # workers that start fast
    done = subprocess.run([sys.executable, "-c", code, json.dumps(scenario)], capture_output=True, text=True)
    assert "width 16" in done.stdout
    assert "given up after 3 attempts" in done.stdout
    assert "was killed by signal 9" in done.stdout
    assert "3 shards are missing, all others are packed" in done.stdout
    assert [point["networks"] for point in status.status("run")["points"]] == [40, 0]
    with mcnet.open("run") as tree:
        assert tree["n_networks"].values.tolist() == [40, 0]
    Path("poison").unlink()
    code = "from mcnet import engine; engine.resume('run', workers=1, quiet=True)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert digest(Path("run")) == digest(mcnet.run(scenario, "other", workers=1, quiet=True))


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "from mcnet.commands.cli import main; main()", *map(str, words)]


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGUSR1, 2), (signal.SIGINT, 1)])
def test_a_signal_stops_after_the_batch(
    undisturbed: dict[str, str], tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    run, scenario = tmp_path / "run", tmp_path / "scenario.toml"
    scenario.write_text(_toml(LARGE))
    process = subprocess.Popen(
        command("run", scenario, "--out", run, "--workers", str(workers)), stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: committed(run) >= 3)
    process.send_signal(number)
    _, told = process.communicate()
    assert process.returncode == 75
    count = committed(run)
    assert 3 <= count < 32
    assert "finishing the batch" in told
    assert f"{count} of 32 shards are safe. Continue with: mcnet resume {run}" in told
    assert not list(run.rglob("*.tmp"))
    driver.resume(run, workers=1, quiet=True)
    assert digest(run) == undisturbed["large"]


def _toml(scenario: dict[str, object]) -> str:
    from mcnet.scenario.loading import load

    return load(scenario).text


def test_a_second_signal_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that would take a minute; handlers are as before afterwards."""
    from mcnet.engine import worker

    def slow(*_: object) -> None:
        time.sleep(60)

    monkeypatch.setattr(worker, "make_shard", slow)
    before = signal.getsignal(signal.SIGTERM)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    with pytest.raises(Stopped, match="stopped at once") as caught:
        mcnet.run(study(), tmp_path / "run", workers=1, quiet=True)
    assert time.monotonic() - began < 20
    assert caught.value.exit_code == 75
    assert signal.getsignal(signal.SIGTERM) is before


def test_two_processes_on_one_directory(undisturbed: dict[str, str], tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(_toml(LARGE))
    both = [
        subprocess.Popen(command("run", scenario, "--out", tmp_path / "run", "--workers", "1", "--quiet", *part))
        for part in (("--part", "1/2"), ("--part", "2/2"))
    ]
    assert [process.wait() for process in both] == [0, 0]
    assert digest(tmp_path / "run") == undisturbed["large"]
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_a_full_disk_tells_what_is_needed(
    undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, write = tmp_path / "run", os.write

    def write_until_full(descriptor: int, data: bytes) -> int:
        if committed(run) >= 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_until_full)
        with pytest.raises(
            DiskError, match=r"disk full; .* 5 of 32 shards are safe\. .* Free space, then: mcnet resume"
        ):
            mcnet.run(LARGE, run, workers=1, quiet=True)
    assert committed(run) == 5
    assert not list(run.rglob("*.tmp"))
    driver.resume(run, workers=1, quiet=True)
    assert digest(run) == undisturbed["large"]


def test_a_system_that_refuses_ends_with_code_74(undisturbed: dict[str, str], tmp_path: Path) -> None:
    """Files may not grow beyond 40 kB: the shards fit, the dataset does not."""
    scenario, run = tmp_path / "scenario.toml", tmp_path / "run"
    scenario.write_text(_toml(LARGE))
    done = subprocess.run(
        command("run", scenario, "--out", run, "--workers", "1", "--quiet"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 74, done.stderr
    assert "dataset" in done.stderr
    assert sorted(path.name for path in run.iterdir()) == [
        "log.jsonl",
        "plan.json",
        "scenario.toml",
        "shards",
        "shards.txt",
    ]
    assert status.verify(run)["good"] == 32
    driver.resume(run, quiet=True)
    assert digest(run) == undisturbed["large"]


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """No orphan goes on drawing after the run was killed."""
    code = (
        "import json, sys, time; from mcnet.engine import local\n"
        "from pathlib import Path\n"
        "child = local.Child(Path('nowhere'), 'cpu'); print(child.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait_until(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
