"""The directory of a scenario with members: which runs lie in it. Nothing heavy is imported."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mcnet import files
from mcnet.errors import DataError, UsageError
from mcnet.plan.format import require_version, sealed, unsealed
from mcnet.scenario.names import is_name
from mcnet.storage.directory import MEMBERS, PLAN, SCENARIO

FOLDER = "members"
FORMAT = "mcnet-members"
FORMAT_VERSION = 2  # sealed, as plans and rounds are since theirs
MAX_BYTES = 2**26


class Record(NamedTuple):
    """What a directory says of its members.

    Attributes
    ----------
    title : str
    names : tuple of str
        In the order of the scenario.
    scenario : str
        Its text.
    """

    title: str
    names: tuple[str, ...]
    scenario: str


def are_in(directory: Path) -> bool:
    """Whether a directory holds the runs of members."""
    return (directory / MEMBERS).is_file()


def place(directory: Path, name: str) -> Path:
    """The directory of the run of a member."""
    return directory / FOLDER / name


def places(directory: Path) -> dict[str, Path]:
    """Name and directory of every member, in the order of the scenario."""
    return {name: place(directory, name) for name in read(directory).names}


def whole(directory: Path) -> Path:
    """What is resumed: all members where the run is one of them, else the run."""
    above = directory.parent.parent
    return above if directory.parent.name == FOLDER and are_in(above) else directory


def read(directory: Path) -> Record:
    """What a directory says of its members.

    Raises
    ------
    DataError
        If the file is damaged, or of a newer version.
    """
    path = directory / MEMBERS
    try:
        text = files.read(path, MAX_BYTES).decode()
    except OSError as error:
        raise files.unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is damaged ({error}).") from error
    content = unsealed(text, str(path))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path}: is no list of the members of a scenario.")
    require_version(content.get("format_version"), FORMAT_VERSION, str(path))
    names, title, scenario = (content.get(key) for key in ("members", "title", "scenario"))
    if not (isinstance(names, list) and names and all(map(is_name, names)) and len(set(names)) == len(names)):
        raise DataError(f"{path}: does not name its members.")
    if not (isinstance(title, str) and isinstance(scenario, str)):
        raise DataError(f"{path}: is damaged: title or scenario is missing.")
    return Record(title, tuple(names), scenario)


def require_growth(directory: Path, names: Iterable[str]) -> None:
    """Refuse a directory to which members of these names cannot come.

    Raises
    ------
    UsageError
        If it is a file.
    DataError
        If it holds an ordinary run, or a member that is none of these.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory}: is a file. Give a directory to --out.")
    if (directory / PLAN).exists():
        raise DataError(f"{directory}: holds the run of a scenario without members. Use another directory.")
    gone = [name for name in read(directory).names if name not in set(names)] if are_in(directory) else []
    if gone:
        raise DataError(
            f"{directory}: holds the member {gone[0]}, which the scenario does not have. Use another directory."
        )


def write(directory: Path, record: Record) -> None:
    """Say which members a directory has; written last, when the run of each has begun.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "title": record.title,
        "members": list(record.names),
        "scenario": record.scenario,
    }
    if are_in(directory) and read(directory) == record:
        return
    files.commit(directory, SCENARIO, [record.scenario.encode()])
    files.commit(directory, MEMBERS, [sealed(json.dumps(content, indent=1, ensure_ascii=False)).encode()])
