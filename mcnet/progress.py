"""How far a run is, on stderr: a bar on a terminal, one plain line every 30 s elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

LINE_SECONDS = 30.0
_SHOWN_SECONDS = 0.5  # on a terminal
_Item = TypeVar("_Item")


def counted(
    items: Sequence[_Item], what: str, quiet: bool, clock: Callable[[], float] = time.monotonic
) -> Iterator[_Item]:
    """The items one by one; how far they are is told on stderr: one changing line on a terminal, else every 30 s.

    Parameters
    ----------
    items : sequence
    what : str
        What they are, in words.
    quiet : bool
        Say nothing.
    clock : callable
        Seconds.
    """
    terminal = sys.stderr.isatty()
    began = told = clock()
    shown = False
    try:
        for done, item in enumerate(items):
            now = clock()
            if done and not quiet and now - told >= (_SHOWN_SECONDS if terminal else LINE_SECONDS):
                told, rate = now, done / (now - began)
                line = f"{what} {done}/{len(items)}  {_rate(rate)}/s  ETA {_duration((len(items) - done) / rate)}"
                shown = terminal
                print(
                    f"\r\x1b[2K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True
                )
            yield item
    finally:  # also where a mistake or Ctrl-C ends it
        if shown:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


class Progress:
    """Progress of the shards of a run.

    Parameters
    ----------
    planned, done : int
        Shards in all, and those that were there at the beginning.
    cost : float
        What is left to do, in any unit; the time left is told from it, since points differ in cost.
    quiet : bool
        Say nothing.
    clock : callable
        Seconds.
    title : str
        What the shards belong to, before each line.
    """

    def __init__(
        self,
        planned: int,
        done: int,
        cost: float,
        quiet: bool,
        clock: Callable[[], float] = time.monotonic,
        title: str = "",
    ) -> None:
        self._title = f"{title}: " if title else ""
        self._planned, self._done, self._cost = planned, done, cost
        self._quiet, self._clock = quiet, clock
        self._began = self._told = clock()
        self._networks = 0
        self._spent = 0.0
        self._bar: Any = None

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = BarColumn(bar_width=24), TextColumn("{task.description}")
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._bar.add_task(self.line(), total=self._planned, completed=self._done)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()  # and goes: a line stays, whatever ended it
        if not self._quiet and self._networks:
            self.say(self.line())

    def advance(self, networks: int, cost: float) -> None:
        """One more shard is there; ``networks`` is 0 if another process made it."""
        self._done += 1
        self._networks += networks
        self._spent += cost
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=self.line(), completed=self._done)
        elif not self._quiet and self._clock() - self._told >= LINE_SECONDS:
            self._told = self._clock()
            self.say(self.line())

    def line(self) -> str:
        """For example ``shards 612/1440  networks 313 344  19 000 networks/s  ETA 0:22``; networks of this process."""
        text = f"{self._title}shards {self._done}/{self._planned}"
        if not self._networks:
            return text
        elapsed = max(self._clock() - self._began, 1e-9)
        grouped = f"{self._networks:,}".replace(",", " ")
        text += f"  networks {grouped}  {_rate(self._networks / elapsed)} networks/s"
        if self._done < self._planned and self._spent > 0:
            text += f"  ETA {_duration(elapsed * max(self._cost - self._spent, 0.0) / self._spent)}"
        return text

    @staticmethod
    def say(text: str) -> None:
        """Print a line on stderr."""
        print(text, file=sys.stderr, flush=True)


def _rate(value: float) -> str:
    """Three digits, as people write them: ``0.25``, ``4.18``, ``50``, ``4 180``."""
    if value < 1000:
        return f"{value:.3g}"
    digits = max(0, len(str(int(value))) - 3)
    return f"{round(value, -digits):,.0f}".replace(",", " ")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
