"""The shards of a directory against what a plan expects: found, damaged, foreign."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from mcnet import files
from mcnet.collector import collector_off
from mcnet.errors import DataError
from mcnet.plan.tasks import ranges
from mcnet.storage.directory import PLAN, plan_document
from mcnet.storage.rounds import ROUNDS
from mcnet.storage.shard import Damaged, ShardName, parse_name, shard_name

Checked = TypeVar("Checked")
Result = TypeVar("Result")
BLOCK = 1000  # shards that wait for a thread


@dataclass(frozen=True)
class Shards(Generic[Checked]):
    """What a directory holds of a plan.

    Attributes
    ----------
    found : dict
        What the check returned for each good shard of the plan.
    damaged : dict
        Why a shard of the plan is not good.
    """

    found: dict[ShardName, Checked]
    damaged: dict[ShardName, str]


@collector_off()
def scan(
    directory: Path,
    expected: Iterable[ShardName],
    plan_digest: str,
    check: Callable[[str], Checked],
    plan_of: Callable[[Checked], str],
    threads: int = 1,
) -> Shards[Checked]:
    """Look at all shards of a directory.

    Parameters
    ----------
    directory : Path
        The folder ``shards`` of a run.
    expected : iterable of ShardName
        The ranges of the plan.
    plan_digest : str
    check : callable
        :func:`mcnet.storage.shard.verify` or something that looks at less, :func:`mcnet.storage.shard.read_header`.
    plan_of : callable
        The digest of its plan in what ``check`` returns.
    threads : int
        Files checked at once.

    Raises
    ------
    DataError
        If a shard belongs to another plan, covers networks of the plan in another range, or networks that neither it
        nor what ``plan.json`` says by now draws.
    """
    wanted = {shard_name(*name): name for name in expected}
    present = set(files.listed(directory))
    others = [name for text in present - wanted.keys() if (name := parse_name(text)) is not None]
    if others:
        _refuse_overlaps(directory, others, wanted.values())
        _refuse_beyond(directory, others)
    folder = f"{directory}{os.sep}"
    found: dict[ShardName, Checked] = {}
    damaged: dict[ShardName, str] = {}

    def look(text: str) -> tuple[str, Checked | None, str]:
        try:
            return text, check(folder + text), ""
        except Damaged as error:
            return text, None, str(error)
        except FileNotFoundError:  # set aside by another process since it was listed
            return text, None, ""

    names = list(present & wanted.keys())
    with ThreadPoolExecutor(threads) as pool:
        for text, checked, message in _looked(pool, look, names) if threads > 1 else map(look, names):
            if checked is not None:
                if plan_of(checked) != plan_digest:
                    raise DataError(f"{folder}{text}: was made by another plan. Use another directory.")
                found[wanted[text]] = checked
            elif message:
                damaged[wanted[text]] = message
    return Shards(found, dict(sorted(damaged.items())))


def _looked(pool: ThreadPoolExecutor, look: Callable[[str], Result], names: Sequence[str]) -> Iterator[Result]:
    """As ``pool.map``, which asks for everything at once and holds it, but in blocks."""
    for first in range(0, len(names), BLOCK):
        yield from pool.map(look, names[first : first + BLOCK])


def _refuse_overlaps(directory: Path, others: Sequence[ShardName], wanted: Iterable[ShardName]) -> None:
    """Stop at shards that are not of the plan but hold networks of it: which of two to count would be a guess."""
    starts: dict[str, list[int]] = defaultdict(list)
    stops: dict[tuple[str, int], int] = {}
    for name in sorted(wanted):
        starts[name.point].append(name.start)
        stops[name.point, name.start] = name.stop
    for other in sorted(others):
        begins = starts.get(other.point, [])
        place = bisect_right(begins, other.start)
        before = place > 0 and stops[other.point, begins[place - 1]] > other.start
        if before or (place < len(begins) and begins[place] < other.stop):
            raise DataError(
                f"{directory / shard_name(*other)}: holds networks that the plan draws in other ranges. "
                "Move it out of the directory if it does not belong here."
            )


def _refuse_beyond(directory: Path, others: Sequence[ShardName]) -> None:
    """Stop at shards of networks that no plan draws: a plan or a round that did has been lost, or they are not ours.

    The plan is read again: another process may have let the run grow since the caller read it.
    """
    now = {
        ShardName(entry["key"], *span)
        for entry in plan_document(directory.parent)["points"]
        for span in ranges(entry["stops"], entry["batch"])
    }
    beyond = sorted(set(others) - now)
    if beyond:
        raise DataError(
            f"{directory / shard_name(*beyond[0])}: holds networks that the plan does not draw ({len(beyond)} such "
            f"{'shard' if len(beyond) == 1 else 'shards'}). If {PLAN} or a file of {ROUNDS} was lost or replaced by an "
            "older one, put it back; move the shard out of the directory if it does not belong here."
        )
