"""What commands do of a directory with members: the same of each, one result with the sums, one text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mcnet import files
from mcnet.commands import directory as of_run
from mcnet.commands.text import table
from mcnet.errors import DataError, UsageError
from mcnet.storage import members

Result = TypeVar("Result")

_SUMS = ("shards", "shards_planned", "networks", "networks_planned", "good", "missing", "recomputed", "identical")
_WORST = ("different", "same weights, same law", "within rounding", "identical")


def each(directory: Path, function: Callable[[Path], Result]) -> dict[str, Result]:
    """The result of a function of the directory of each member, by name."""
    return {name: function(place) for name, place in members.places(directory).items()}


def status(directory: Path) -> dict[str, Any]:
    """How far the runs of all members are; of a run without members :func:`mcnet.engine.status.status`.

    Returns
    -------
    dict
        ``title``, ``shards``, ``shards_planned``, ``networks``, ``networks_planned``, ``damaged``, ``complete`` and
        ``seconds_since_last`` of all of them, and ``members``: the status of each by name.
    """
    from mcnet.engine.status import status as of_one

    if not members.are_in(directory):
        return of_one(directory)
    every = each(directory, of_one)
    ages = [found["seconds_since_last"] for found in every.values() if found["seconds_since_last"] is not None]
    return {
        "title": members.read(directory).title,
        **_together(every),
        "complete": all(found["complete"] for found in every.values()),
        "seconds_since_last": min(ages, default=None),
        "members": every,
    }


def status_text(status: Mapping[str, Any]) -> str:
    """How far each member is, in a line; then all of them."""
    if "members" not in status:
        return of_run.status_text(status)
    lines = _lines(status["members"], of_run.status_text)
    done = sum(found["complete"] for found in status["members"].values())
    ending = "complete" if status["complete"] else f"{done} of {len(status['members'])} members complete"
    lines.append(f"{status['shards']}/{status['shards_planned']} shards, {len(status['damaged'])} damaged; {ending}")
    return "\n".join(lines)


def verify(directory: Path, recompute: int, device: str) -> dict[str, Any]:
    """Every shard of every member read again, ``recompute`` of each drawn again; else as
    :func:`mcnet.engine.status.verify`.

    Returns
    -------
    dict
        The sums, ``damaged`` of all, the worst ``verdict`` and the largest ``largest_difference``, and ``members``.
    """
    from mcnet.engine.status import verify as of_one

    if not members.are_in(directory):
        return of_one(directory, recompute, device)
    every = each(directory, lambda place: of_one(place, recompute, device))
    verdicts = [found["verdict"] for found in every.values()]
    differences = [found["largest_difference"] for found in every.values() if found["largest_difference"] is not None]
    return {
        **_together(every),
        "largest_difference": max(differences, default=None),
        "verdict": next((verdict for verdict in _WORST if verdict in verdicts), None),
        "members": every,
    }


def verify_text(report: Mapping[str, Any]) -> str:
    """Of each member which shards are good; then of all of them."""
    if "members" not in report:
        return of_run.verify_text(report)
    return "\n".join([*_lines(report["members"], of_run.verify_text), of_run.verify_text({**report, "damaged": []})])


def pack(directory: Path) -> str:
    """Write the dataset of a run, or of each member; in a line what it holds."""
    from mcnet.engine import driver

    def one(place: Path) -> str:
        found = driver.pack(place)
        return f"{place / 'dataset.h5'}: {found['shards']}/{found['shards_planned']} shards"

    return "\n".join(each(directory, one).values()) if members.are_in(directory) else one(directory)


def prune(directory: Path) -> int:
    """Remove the shards of a run, or of all members if all are complete; how many."""
    from mcnet.engine.status import prune as of_one
    from mcnet.engine.status import status as of_run_status

    if not members.are_in(directory):
        return of_one(directory)
    behind = [name for name, found in each(directory, of_run_status).items() if not found["complete"]]
    if behind:
        raise DataError(
            f"{directory}: member {behind[0]} is not complete; nothing was removed. First: mcnet resume {directory}"
        )
    return sum(each(directory, of_one).values())


def datasets(directory: Path) -> str:
    """What holds a run after its shards were removed, with the verb."""
    return "the datasets of its members hold" if members.are_in(directory) else f"{directory / 'dataset.h5'} holds"


def export(dataset: Path, out: Path) -> Path:
    """Write a dataset as a Zarr store; those of members into a folder, each as ``NAME.zarr``."""
    from mcnet.dataset.zarr import export as write

    if not members.are_in(dataset):
        return write(dataset, out)
    missing = [place for place in members.places(dataset).values() if not (place / "dataset.h5").is_file()]
    if missing:
        raise DataError(f"{missing[0]}: holds no dataset.h5. Make it with: mcnet pack {dataset}")
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out}: is there already. Give another name to --zarr.")
    files.make_folder(out)
    for name, place in members.places(dataset).items():
        write(place, out / f"{name}.zarr")
    return out


def merge(directories: Sequence[Path], out: Path) -> dict[str, Any]:
    """Bring the shards of several directories into one; of members each with its own parts.

    Raises
    ------
    DataError
        If some have members and others not, or other ones; as :func:`mcnet.engine.merge.merge` of each.
    """
    from mcnet.engine.merge import merge as of_one

    if not any(map(members.are_in, directories)):
        return of_one(directories, out)
    alone = [place for place in directories if not members.are_in(place)]
    if alone:
        raise DataError(f"{alone[0]}: holds no members, as {next(d for d in directories if d not in alone)} does.")
    record = members.read(directories[0])
    for place in directories[1:]:
        if members.read(place).names != record.names:
            raise DataError(f"{place}: holds other members than {directories[0]}. They cannot be merged.")
    members.require_growth(out, record.names)
    every = {
        name: of_one([members.place(place, name) for place in directories], members.place(out, name))
        for name in record.names
    }
    members.write(out, record)
    counts = ("shards", "shards_planned", "copied", "equal", "rounded")
    return {
        **{name: sum(found[name] for found in every.values()) for name in counts},
        "damaged": [f"member {name}: {told}" for name, found in every.items() for told in found["damaged"]],
        "members": every,
    }


def analysis_text(document: Mapping[str, Any]) -> str:
    """The verdict of each member as a row, what is measured and not predicted, and the verdict over all of them."""
    if "members" not in document:
        return of_run.analysis_text(document)
    rows = []
    for entry in document["members"]:
        summary = entry["summary"]
        rows.append(
            {
                "member": entry["name"],
                "networks": summary["networks"],
                "comparisons": summary["comparisons"],
                "chi2": summary["chi2"] if summary["dof"] else None,
                "dof": summary["dof"],
                "p": summary["p_value"],
                "not predicted": ", ".join(entry["not_predicted"]) or None,
            }
        )
    return "\n".join([table(rows), of_run.verdict_text(document["summary"])])


def _lines(every: Mapping[str, Any], text: Callable[[Mapping[str, Any]], str]) -> list[str]:
    widest = max(map(len, every))
    return [f"{name:{widest}}  {text(found)}" for name, found in every.items()]


def _together(every: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Sums of what all results count, and what is damaged, with the name of its member."""
    counted = [name for name in _SUMS if all(name in found for found in every.values())]
    return {
        **{name: sum(found[name] for found in every.values()) for name in counted},
        "damaged": [f"member {name}: {told}" for name, found in every.items() for told in found["damaged"]],
    }
