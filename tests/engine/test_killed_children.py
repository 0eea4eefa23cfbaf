"""A process that somebody kills tells nothing of the data: no damage, no full disk, but "say it again" and code 75."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from studies import study

import mcnet
from mcnet.engine import driver, local, status
from mcnet.errors import DiskError, Stopped
from mcnet.plan.tasks import Task


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mcnet.run(study(networks=16), tmp_path_factory.mktemp("killed") / "run", workers=1, quiet=True)


def dying_of(number: int) -> type[local.Child]:
    """A worker that ends by a signal as soon as it is asked for something."""

    class Dying(local.Child):
        def send(self, what: str, task: Task | None = None) -> None:
            os.kill(self.pid, number)

    return Dying


def test_a_killed_writer(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (run / "dataset.h5").read_bytes()
    monkeypatch.setattr(driver, "Child", dying_of(signal.SIGKILL))
    with pytest.raises(Stopped, match=r"its writer was killed by signal 9\. All shards are safe") as caught:
        driver.pack(run)
    assert caught.value.exit_code == 75
    monkeypatch.setattr(driver, "Child", dying_of(signal.SIGBUS))  # what HDF5 does on a full disk
    with pytest.raises(DiskError, match=r"its writer was killed by signal 7\."):
        driver.pack(run)
    assert (run / "dataset.h5").read_bytes() == before


def test_a_killed_worker_of_verify(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "Child", dying_of(signal.SIGKILL))
    with pytest.raises(Stopped, match="Nothing is known of that shard"):
        status.verify(run, recompute=1)
    assert status.verify(run)["damaged"] == []
