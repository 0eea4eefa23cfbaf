"""The directory of a run: the names in it, its plan, its scenario, its log. Nothing heavy is imported."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcnet import files
from mcnet.errors import DataError, UsageError
from mcnet.plan.format import check_points, read_document
from mcnet.storage import rounds
from mcnet.storage.shard import parse_name

if TYPE_CHECKING:
    from mcnet.plan.plan import Plan

MEMBERS, PLAN, SCENARIO, DATASET, LOG, PRUNED, SHARDS = (
    "members.json",
    "plan.json",
    "scenario.toml",
    "dataset.h5",
    "log.jsonl",
    "pruned.json",
    "shards",
)

MAX_BYTES = 2**28  # of a plan: a hundred thousand points


def begin(directory: Path, plan: Plan, scenario_toml: str) -> Plan:
    """Make the directory of a run, or let the run that is there grow.

    Returns
    -------
    Plan
        The plan as it stands in the directory now.

    Raises
    ------
    DataError
        If the directory was made by another plan, or holds shards of an unknown one.
    DiskError
        If the directory cannot be written.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory}: is a file. Give a directory to --out.")
    if (directory / MEMBERS).exists():
        raise DataError(f"{directory}: holds the members of another scenario. Use another directory.")
    if (directory / PLAN).exists():
        from mcnet.plan.plan import grow

        old = load_plan(directory)
        plan = replace(grow(old, plan, str(directory)), plugins=tuple(dict.fromkeys((*old.plugins, *plan.plugins))))
        if plan.tasks != old.tasks and is_pruned(directory):
            raise DataError(f"{directory}: was pruned, its shards are gone; it cannot grow. Use another directory.")
    elif any(parse_name(name) for name in files.listed(directory / SHARDS)):
        raise DataError(f"{directory}: holds shards but no {PLAN}. Put it back, or use another directory.")
    files.make_folder(directory / SHARDS)
    plan = replace(plan, scenario=scenario_toml)
    for name, text in ((SCENARIO, scenario_toml), (PLAN, plan.to_json())):  # the plan last: with it all is there
        if _text(directory / name) != text:
            files.commit(directory, name, [text.encode()])
    return plan


def load_plan(directory: Path) -> Plan:
    """The plan of a directory; its plug-ins are imported.

    Raises
    ------
    DataError
        If there is none, or it cannot be read.
    """
    require_directory(directory)
    from mcnet import plugins
    from mcnet.plan.plan import Plan

    document = plan_document(directory)
    plugins.load_named(document["plugins"], str(directory))
    return Plan.from_document(document, str(directory / PLAN))


def scenario_text(directory: Path, plan: Plan) -> str:
    """The scenario of a run: as its plan says it; in directories of older versions the file, "" if it is gone.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    if plan.scenario:
        return plan.scenario
    text = _text(directory / SCENARIO) or ""
    if "\0" in text:
        raise DataError(f"{directory / SCENARIO}: is damaged: it holds a zero byte. Put the scenario there again.")
    return text


def is_pruned(directory: Path) -> bool:
    """Whether the shards were removed because the dataset holds them all."""
    return (directory / PRUNED).exists()


def pruned_content(directory: Path) -> str:
    """Digest of the numbers that the dataset held when the shards were removed.

    Raises
    ------
    DataError
        If the note of it is damaged.
    """
    try:
        digest = json.loads(_text(directory / PRUNED) or "")["content_digest"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"{directory / PRUNED}: is damaged.") from error
    return str(digest)


def require_record(directory: Path) -> None:
    """Refuse a run whose shards were removed and whose dataset is gone.

    Raises
    ------
    DataError
    """
    if is_pruned(directory) and not (directory / DATASET).exists():
        raise DataError(
            f"{directory}: was pruned, and its {DATASET} is gone. Put it back; or remove {PRUNED}, and all networks "
            f"are drawn again by: mcnet resume {directory}"
        )


def log(directory: Path, event: str, **facts: Any) -> None:
    """Append an event to the log, which is for people: nothing reads it to decide anything."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "host": socket.gethostname(), "pid": os.getpid(), "event": event, **facts})
    with contextlib.suppress(OSError, DataError):  # must not end a run
        files.append(directory / LOG, line + "\n")


def require_one(directory: Path) -> None:
    """Refuse a directory of members where one run is meant.

    Raises
    ------
    DataError
    """
    from mcnet.storage import members

    if members.are_in(directory):
        names = members.read(directory).names
        told = f"holds {len(names)} members, each a run of its own. Name one"
        raise DataError(f"{directory}: {told}: {members.place(directory, names[0])}")


def _plan_text(directory: Path) -> str:
    text = _text(directory / PLAN)
    if text is None:
        require_one(directory)
        raise DataError(f"{directory}: is no run directory (it holds no {PLAN}).")
    return text


def _text(path: Path) -> str | None:
    try:
        return files.read(path, MAX_BYTES).decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise files.unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is damaged ({error}).") from error


def require_directory(directory: Path) -> None:
    """Refuse a file, for example a dataset, where the directory of a run is meant."""
    if directory.is_file():
        raise DataError(f"{directory}: is a file. Give the directory of a run, which holds its plan and shards.")


def plan_document(directory: Path) -> dict[str, Any]:
    """The plan as plain JSON values, grown by its rounds, without the libraries that a :class:`Plan` needs."""
    require_directory(directory)
    files.require_folder(directory / SHARDS)
    files.require_folder(directory / rounds.ROUNDS)
    document = read_document(_plan_text(directory), str(directory / PLAN))
    if document.get("target") is not None:
        rounds.apply(document, rounds.read(directory), str(directory))
        check_points(document, str(directory))
    return document
