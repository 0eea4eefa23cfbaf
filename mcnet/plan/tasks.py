"""Tasks: ranges of networks of one point, and the order in which a worker or a part of a job array takes them.

Standard library only, so that ``mcnet status`` stays light.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple, TypeVar

from mcnet.errors import UsageError

Item = TypeVar("Item")


class Task(NamedTuple):
    """Networks ``start`` to ``stop - 1`` of one point: the content of one shard."""

    point_index: int
    start: int
    stop: int


def ranges(stops: Sequence[int], batch: int) -> Iterator[tuple[int, int]]:
    """Ranges of the shards of a point.

    Parameters
    ----------
    stops : sequence of int, increasing
        Number of networks after each step of growth. A step begins a new range, so that growing a plan never
        changes the ranges that are there.
    batch : int
        Networks per shard; the last shard of a step may hold fewer.
    """
    first = 0
    for last in stops:
        for start in range(first, last, batch):
            yield start, min(start + batch, last)
        first = last


def round_robin(points: Iterable[tuple[Sequence[int], int]]) -> list[Task]:
    """Tasks of all points, one range of each point after the other: a run that is stopped early is balanced.

    Parameters
    ----------
    points : iterable of (stops, batch)
        As in :func:`ranges`, in the order of the points.
    """
    columns = [
        [Task(index, start, stop) for start, stop in ranges(stops, batch)]
        for index, (stops, batch) in enumerate(points)
    ]
    return [task for row in zip_longest(*columns) for task in row if task is not None]


def parse_part(text: str) -> tuple[int, int]:
    """(i, n) of ``"i/n"``, with i from 1 to n.

    Raises
    ------
    UsageError
        If the text says anything else.
    """
    first, _, second = text.partition("/")
    numbers = first.isdecimal() and second.isdecimal() and len(text) < 30
    if not (numbers and 1 <= int(first) <= int(second)):
        raise UsageError(f'part "{text}": write i/n with i from 1 to n, for example 3/16.')
    return int(first), int(second)


def order(tasks: Sequence[Item], part: tuple[int, int]) -> list[Item]:
    """Tasks in the order in which part i of n takes them: its own share, then all the others.

    No part waits for another and none claims anything: who is done with its own share helps the others, in an order
    drawn for this part (in the order of the tasks, parts that are done together would follow each other step by step
    and do everything twice).
    """
    index, parts = part
    first, last = (len(tasks) * k // parts for k in (index - 1, index))
    others = [*tasks[last:], *tasks[:first]]
    random.Random(f"{index}/{parts}").shuffle(others)
    return [*tasks[first:last], *others]
