"""Scenarios with members: what each of them is, and all that can be wrong with one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from members import MEMBERS, merged

from mcnet.errors import ScenarioError, UsageError
from mcnet.plan.plan import make_plan
from mcnet.scenario import loading, members
from mcnet.scenario.members import Members, load


def table() -> dict[str, Any]:
    return tomllib.loads(MEMBERS)


def loaded(*overrides: str) -> Members:
    found = load(table(), overrides)
    assert isinstance(found, Members)
    return found


def test_a_member_is_the_scenario_that_its_keys_make() -> None:
    found = loaded()
    assert list(found.studies) == ["dense", "post"]
    alone = loading.load(merged())
    member = found.studies["post"]
    assert member.points() == alone.points()
    assert member.title == "two: post"
    assert make_plan(member).digest == make_plan(alone).digest
    assert make_plan(loading.load(tomllib.loads(member.text))).digest == make_plan(alone).digest
    assert [point.depth for point in found.studies["dense"].points()] == [2, 2]
    assert found.studies["dense"].networks == 60


def test_a_scenario_without_members_is_one_study() -> None:
    assert isinstance(load(merged()), loading.Scenario)


def test_changes_of_all_and_of_one_are_in_the_text(tmp_path: Path) -> None:
    found = loaded("sampling.networks=40", "member.post.network.depth=4", "measure.mean={}")
    (tmp_path / "again.toml").write_text(found.text)
    again = load(tmp_path / "again.toml")
    assert isinstance(again, Members)
    for each in (found, again):
        assert [study.networks for study in each.studies.values()] == [40, 40]
        assert [study.points()[0].depth for study in each.studies.values()] == [2, 4]
        assert all("mean" in study.request().measures for study in each.studies.values())
    assert found.text.startswith("# with --set sampling.networks=40\n")


WRONG = {
    "no members": ('name = "dense"', "", 'member.name: missing. Write name = "..."'),
    "unknown key of a member": ('block = "post"', 'blok = "post"', "member post: network.blok: unknown key. Did you"),
    "unknown section of a member": ("sampling = { networks = 80 }", "samplin = {}", 'Did you mean "sampling"?'),
    "shared by one alone": ('architecture = "residual", ', "", "member post: network.block: unknown key."),
    "the same name": ('name = "post"', 'name = "Dense"', '"Dense" is the name of another member'),
    "a name that is no folder": ('name = "post"', 'name = "../post"', "it names a folder"),
    "a member of a member": ("sampling = { networks = 80 }", "member = [{}]", "a member has no members"),
    "a value where a section is": ("sampling = { networks = 80 }", "sampling = 3", "member post: sampling: expected"),
    "a shared mistake": ("q0 = 1.0", "q0 = -1.0", "inputs.q0: "),
    "a shared key that one has not": ("depth = 2", "depth = 2\nblock = 1", "unknown key. Known: "),
    "the networks of another": (
        'network = { architecture = "residual", block = "post", depth = 3 }',
        "",
        "member post: draws networks that member dense draws too",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_mistakes_are_told_with_their_place(what: str, tmp_path: Path) -> None:
    right, wrong, told = WRONG[what]
    assert right in MEMBERS
    text = MEMBERS.replace(right, wrong, 1)
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "s.toml")
    message = str(caught.value)
    assert told in message
    mistake = next(mistake for mistake in message.split(f"{tmp_path}/s.toml:") if told in mistake)
    lines = text.split("\n")
    changed = next(n for n, (a, b) in enumerate(zip(MEMBERS.split("\n"), lines, strict=False), 1) if a != b)
    header = next(n for n in range(changed, 0, -1) if lines[n - 1].startswith("["))
    assert int(mistake.split(":")[0]) in (changed, header)


def test_a_shared_mistake_is_told_once_and_that_of_some_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(MEMBERS.replace("q0 = 1.0", "q0 = -1.0"))
    with pytest.raises(ScenarioError, match="1 mistake; nothing was run") as caught:
        load(tmp_path / "s.toml")
    assert "member" not in str(caught.value)
    (tmp_path / "s.toml").write_text(MEMBERS.replace("sigma_b2 = 0.1", "sigma_b2 = 0.1\nblock = 'pre'"))
    with pytest.raises(ScenarioError, match=r"network\.block: unknown key.*\(member dense\)"):
        load(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ([], "member: is empty."),
        ({"name": "dense"}, "member: expected tables, got a table."),
        (["dense"], "member: expected tables, got a list."),
        ([{"name": f"m{n}"} for n in range(members.MOST + 1)], "101 members; at most 100"),
    ],
)
def test_what_is_no_list_of_members(listed: Any, told: str) -> None:
    with pytest.raises(ScenarioError, match=told.split(".")[0]):
        load({**table(), "member": listed})


@pytest.mark.parametrize(
    "override", ["member.lstm.network.depth=3", "member.post.depth=3", "member=3", "member.post={}"]
)
def test_changes_of_a_member_name_it(override: str) -> None:
    with pytest.raises(UsageError, match=r"member\.NAME\.section\.key=value.*\(dense, post\)"):
        load(table(), [override])


def test_one_study_is_meant_where_members_are_given() -> None:
    with pytest.raises(UsageError, match="has members, each a study of its own"):
        loading.load(table())
