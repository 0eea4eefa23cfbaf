"""Runs of scenarios with members: the networks of each alone, stopped, killed, resumed, grown, refused."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from members import MEMBERS, merged
from studies import resealed

import mcnet
from mcnet.dataset import packing
from mcnet.engine import driver, worker
from mcnet.engine.driver import resume, run
from mcnet.errors import DataError, McnetError, Stopped, UsageError
from mcnet.storage import members
from mcnet.storage.directory import load_plan


@pytest.fixture(autouse=True, scope="module")
def packed_here() -> Iterator[None]:
    """Datasets are written by this process: one of its own for each takes seconds, and other tests are about it."""

    def pack(place: Path) -> dict[str, Any]:
        plan = load_plan(place)
        return packing.pack(place, plan, plan.scenario)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "pack", pack)
        yield


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    (tmp_path / "two.toml").write_text(MEMBERS)
    return tmp_path / "two.toml"


def digest(place: Path) -> str:
    return str(mcnet.open(place).attrs["content_digest"])


def drawn(scenario: Any, out: Path, *overrides: str) -> Path:
    return run(scenario, out, workers=1, quiet=True, overrides=overrides)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whole")
    (place / "two.toml").write_text(MEMBERS)
    return drawn(place / "two.toml", place / "run")


def test_a_member_has_the_networks_of_its_own_scenario(whole: Path, tmp_path: Path) -> None:
    assert list(members.places(whole)) == ["dense", "post"]
    assert members.read(whole).scenario == MEMBERS
    assert digest(members.place(whole, "post")) == digest(drawn(merged(), tmp_path / "alone"))


class Signalled:
    """``make_shard`` that is signalled, or killed, when it has made so many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, shards: int, killed: bool) -> None:
        self.left, self.killed, self.make = shards, killed, worker.make_shard
        monkeypatch.setattr(worker, "make_shard", self)

    def __call__(self, *arguments: Any) -> Any:
        if self.left == 0 and self.killed:
            raise KeyboardInterrupt  # nothing catches it: what is on the disk is what a kill leaves
        self.left -= 1
        if self.left == 0 and not self.killed:
            os.kill(os.getpid(), signal.SIGUSR1)
        return self.make(*arguments)


def test_a_stopped_run_says_how_to_go_on_and_does(
    scenario: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Signalled(patch, 3, killed=False)  # in the first member
        with pytest.raises(Stopped, match=f"member dense: 3 of 6 shards are safe. .*mcnet resume {tmp_path}/run$"):
            drawn(scenario, tmp_path / "run")
    assert resume(tmp_path / "run", workers=1, quiet=True) == tmp_path / "run"
    for name, place in members.places(tmp_path / "run").items():
        assert digest(place) == digest(members.place(whole, name))


def test_a_killed_run_goes_on(scenario: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        Signalled(patch, 7, killed=True)  # in the second one
        with pytest.raises(KeyboardInterrupt):
            drawn(scenario, tmp_path / "run")
    assert not (members.place(tmp_path / "run", "post") / "dataset.h5").exists()
    resume(tmp_path / "run", workers=1, quiet=True)
    for name, place in members.places(tmp_path / "run").items():
        assert digest(place) == digest(members.place(whole, name))


def test_killed_before_all_members_have_begun(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the list of members there is no run yet, and the same command begins it again."""

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(members, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            drawn(scenario, tmp_path / "run")
    with pytest.raises(DataError, match="is no run directory"):
        resume(tmp_path / "run", workers=1, quiet=True)
    assert members.are_in(drawn(scenario, tmp_path / "run"))


def test_what_fails_in_one_member_does_not_keep_the_others(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = worker.make_shard

    def fails(directory: Path, *rest: Any) -> Any:
        if directory.name == "dense":
            raise McnetError("q is not finite.")
        return make(directory, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "make_shard", fails)
        with pytest.raises(McnetError, match=r"^member dense: q is not finite\.$"):
            drawn(scenario, tmp_path / "run")
    assert (members.place(tmp_path / "run", "post") / "dataset.h5").exists()


def test_a_run_grows_by_networks_and_members_and_refuses_others(scenario: Path, tmp_path: Path) -> None:
    out = drawn(scenario, tmp_path / "run", "sampling.networks=20")
    before = {name: set((place / "shards").iterdir()) for name, place in members.places(out).items()}
    text = MEMBERS + '\n[[member]]\nname = "deep"\nnetwork = { depth = 4 }\n'
    scenario.write_text(text)
    drawn(scenario, out)
    assert list(members.places(out)) == ["dense", "post", "deep"]
    assert all(shards <= set((members.place(out, name) / "shards").iterdir()) for name, shards in before.items())
    scenario.write_text(MEMBERS)
    with pytest.raises(DataError, match="holds the member deep, which the scenario does not have"):
        drawn(scenario, out)
    with pytest.raises(DataError, match="holds the members of another scenario"):
        drawn(merged(), out)
    with pytest.raises(DataError, match=r"sampling\.seed 5 -> 6"):
        drawn(text_of(text, tmp_path), out, "sampling.seed=6")
    alone = drawn(merged(), tmp_path / "alone")
    with pytest.raises(DataError, match="holds the run of a scenario without members"):
        drawn(scenario, alone)
    with pytest.raises(UsageError, match="is a file"):
        drawn(scenario, scenario)


def text_of(text: str, folder: Path) -> Path:
    (folder / "three.toml").write_text(text)
    return folder / "three.toml"


def test_commands_of_one_run_name_a_member(whole: Path) -> None:
    for command in (mcnet.open, load_plan):
        with pytest.raises(DataError, match=f"holds 2 members, each a run of its own. Name one: {whole}/members/dense"):
            command(whole)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text[:100], "is not JSON|checksum"),
        (lambda text: text.replace('"post"', '"pest"'), "its checksum differs"),
        (lambda text: resealed(text.replace('"post"', '"../post"')), "does not name its members"),
        (lambda text: resealed(text.replace('"post"', '"dense"')), "does not name its members"),
        (lambda text: resealed(text.replace('"format_version": 2', '"format_version": 9')), "has format 9"),
        (lambda text: resealed(text.replace("mcnet-members", "mcnet-plan")), "is no list of the members"),
        (lambda text: resealed(text.replace('"title": "two"', '"title": 3')), "title or scenario is missing"),
    ],
)
def test_a_damaged_list_of_members_is_refused(whole: Path, tmp_path: Path, spoil: Any, told: str) -> None:
    text = (whole / "members.json").read_text()
    assert json.loads(text)["members"] == ["dense", "post"]
    (tmp_path / "members.json").write_text(spoil(text))
    with pytest.raises(DataError, match=told):
        resume(tmp_path, workers=1, quiet=True)
