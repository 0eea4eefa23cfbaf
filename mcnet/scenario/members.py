"""A scenario with members: several studies that share what they do not say themselves, each a scenario of its own.

Architectures differ in the dimensions of what is measured and in the coordinates of their points: no plan and no
dataset could hold them all. A member is the shared sections with its own keys laid over them, and from there on an
ordinary :class:`~mcnet.scenario.loading.Scenario`, with the points, plan and networks that it has in a file of its own.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FolderPath
from typing import Any, NamedTuple

from mcnet.errors import UsageError
from mcnet.scenario import loading
from mcnet.scenario.faults import Faults
from mcnet.scenario.fields import suggestion
from mcnet.scenario.loading import MEMBER, SECTIONS, Content, Scenario
from mcnet.scenario.names import LONGEST, is_name
from mcnet.scenario.text import Path, dumps, quote

MOST = 100
"""Members of a scenario."""

_KEYS = ("name", *SECTIONS)


@dataclass(frozen=True)
class Members:
    """Checked studies that belong together.

    Attributes
    ----------
    title : str
        One line.
    text : str
        TOML that loads as this.
    name : str
        What messages call it: the path as given.
    studies : mapping of str to Scenario
        By the names of the members, in their order.
    """

    title: str
    text: str = field(repr=False)
    name: str
    studies: Mapping[str, Scenario]


class _Member(NamedTuple):
    """A member before any check: its place in the list, its name, what it says itself."""

    place: int
    name: str
    own: dict[str, Any]


def load(
    source: str | os.PathLike[str] | Mapping[str, Any] | Scenario | Members,
    overrides: Sequence[str] = (),
    *,
    quiet: bool = True,
) -> Scenario | Members:
    """Read and check a scenario, with members or without.

    Parameters
    ----------
    source : path, mapping, Scenario or Members
    overrides : sequence of str
        As for :func:`mcnet.scenario.load`, of all members; ``member.NAME.section.key=value`` of one.
    quiet : bool
        Do not tell on stderr how far it is where that takes long.

    Raises
    ------
    ScenarioError
        With all mistakes of all members at once, each with its place.
    """
    if isinstance(source, Members):
        if not overrides:
            return source
        return checked(Content(source.name, None, loading.parsed(source.name, source.text), _folder(source)), overrides)
    if isinstance(source, Scenario):
        return loading.load(source, overrides, quiet=quiet)
    return checked(loading.unchecked(source), overrides, quiet)


def checked(found: Content, overrides: Sequence[str] = (), quiet: bool = True) -> Scenario | Members:
    """The study of a table, or those of its members; errors as of :func:`load`."""
    return (_read if MEMBER in found.table else loading.checked)(found, overrides, quiet)


def _folder(members: Members) -> FolderPath:
    return next(iter(members.studies.values())).folder


def _read(found: Content, overrides: Sequence[str], quiet: bool) -> Members:
    faults = Faults(found.name, found.text)
    members = _members(found.table, faults)
    faults.members = {member.place: member.name for member in members}
    for override in overrides:
        path, value = loading.parted(override)
        for place in _places(found, members, path, override):
            inside = place[2:] if place[0] == MEMBER else place
            table = found.table[MEMBER][place[1]] if place[0] == MEMBER else found.table
            loading.place(table, inside, value, override)
            faults.overrides[place] = override
    studies: dict[str, Scenario] = {}
    noted: dict[tuple[Path, str, bool], list[str]] = {}
    for member in members:
        study, mistakes = _study(found, member, faults.overrides, quiet)
        if study is not None:
            studies[member.name] = study
        for place, sentence, at_key in mistakes:
            noted.setdefault((place, sentence, at_key), []).append(member.name)
    for (place, sentence, at_key), names in noted.items():
        of_all = place[:1] == (MEMBER,) or len(names) == len(members)
        faults.add(place, sentence if of_all else f"{sentence} (member {', '.join(names)})", at_key=at_key)
    _require_independence(members, studies, faults)
    if faults:
        raise faults.error()
    text = found.text
    if text is None or overrides:
        text = "".join(f"# with --set {override}\n" for override in overrides) + dumps(found.table)
    title = found.table.get("title") or FolderPath(found.name).stem
    return Members(title, text, found.name, studies)


def _members(table: Mapping[str, Any], faults: Faults) -> list[_Member]:
    """The members that can be examined; what keeps others from it is noted."""
    listed = table[MEMBER]
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        faults.add((MEMBER,), f"expected tables, got {quote(listed)}. Write [[member]] before each of them.")
        return []
    if not listed:
        faults.add((MEMBER,), "is empty. Write [[member]] with a name for each study, or remove it.")
    if len(listed) > MOST:
        faults.add((MEMBER,), f"{len(listed)} members; at most {MOST} are allowed. Split the scenario.", at_key=True)
        return []
    members: list[_Member] = []
    for place, own in enumerate(listed):
        name = own.get("name")
        known = {member.name.lower() for member in members}
        for key in own:
            if key == MEMBER:
                faults.add((MEMBER, place, key), "a member has no members. Write them beside it.", at_key=True)
            elif key not in _KEYS:
                faults.unknown((MEMBER, place, key), _KEYS, "section" if isinstance(own[key], Mapping) else "key")
        if "name" not in own:
            faults.missing((MEMBER, place, "name"), 'Write name = "..." in this [[member]].')
        elif not is_name(name):
            faults.add(
                (MEMBER, place, "name"),
                f"{quote(name)}: it names a folder. Write letters, digits, - and _, at most {LONGEST}.",
            )
        elif name.lower() in known:
            faults.add((MEMBER, place, "name"), f"{quote(name)} is the name of another member. Write another.")
        else:
            members.append(_Member(place, name, own))
    return members


def _places(found: Content, members: Sequence[_Member], path: tuple[str, ...], override: str) -> list[Path]:
    """Where an override is written: into the one member that it names, or wherever its key is said already."""
    if path[0] == MEMBER:
        names = {member.name: member.place for member in members}
        if len(path) < 4 or path[1] not in names:
            hint = suggestion(path[1], tuple(names)) if len(path) > 1 else ""
            raise UsageError(
                f"--set {override}: write member.NAME.section.key=value with the name of a member.{hint}"
                f" ({', '.join(names)})"
            )
        return [(MEMBER, names[path[1]], *path[2:])]
    if len(path) < 2:
        return [path]
    section, key = path[:2]
    places: list[Path] = [(MEMBER, member.place, *path) for member in members if key in _table(member.own, section)]
    shared = key in _table(found.table, section)
    return [path, *places] if shared or not places else places


def _table(tables: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    content = tables.get(section)
    return content if isinstance(content, Mapping) else {}


def _study(
    found: Content, member: _Member, overrides: Mapping[Path, str], quiet: bool
) -> tuple[Scenario | None, list[tuple[Path, str, bool]]]:
    """The study of a member, or its mistakes with their places in the whole scenario."""
    shared = {key: content for key, content in found.table.items() if key != MEMBER}
    whole = copy.deepcopy(shared)
    for section in SECTIONS:
        own = copy.deepcopy(member.own.get(section))
        if isinstance(own, Mapping) and isinstance(whole.get(section, {}), Mapping):
            whole[section] = {**whole.get(section, {}), **own}
        elif own is not None:
            whole[section] = own
    title = whole.get("title")
    whole["title"] = f"{title}: {member.name}" if isinstance(title, str) and title else title or member.name
    set_by = {place[2:] if place[0] == MEMBER else place: told for place, told in overrides.items()
              if place[0] != MEMBER or place[1] == member.place}  # fmt: skip
    faults = Faults(found.name, None, set_by)
    study = loading.examined(Content(found.name, found.text, whole, found.folder), faults, set_by, quiet)
    if study is not None:
        return replace(study, text=dumps(whole)), []

    def place(path: Path) -> Path:
        """Of what the member says itself there; else of all members."""
        section, inside = str(path[0]) if path else "", path[1:2]
        said = section in member.own and (not inside or inside[0] in _table(member.own, section))
        alone = section in member.own and section not in shared
        return (MEMBER, member.place, *path) if said or alone else path

    return None, [(place(path), sentence, at_key) for path, sentence, at_key in faults.found]


def _require_independence(members: Sequence[_Member], studies: Mapping[str, Scenario], faults: Faults) -> None:
    """Note members that draw the same networks: the verdict over all of them takes them to be independent."""
    owners: dict[tuple[int, int], str] = {}
    for member in members:
        study = studies.get(member.name)
        if study is None:
            continue
        for point in study.points():
            owner = owners.setdefault((point.key, study.request().seed), member.name)
            if owner != member.name:
                faults.add(
                    (MEMBER, member.place),
                    f"draws networks that member {owner} draws too (one point, one seed). Write another sampling.seed.",
                    at_key=True,
                )
                break
