"""The figure and the table of adaptive sampling: where the networks went, and what error they came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter
from mcnet_analysis.draw.style import INK, STYLE, Drawing, describe, legend
from mcnet_analysis.judge.table import Row
from mcnet_analysis.sampling import Goal, Sampling, expansion, share_of_cost

from mcnet.plan.allocation import LEAST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from mcnet_analysis.judge.family import Judged

_SHADES = ("#9ecae1", "#4292c6", "#08519c", "#08306b")
_CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_HEAD = [
    ("width", False),
    ("networks", False),
    ("share of cost", False),
    ("value", False),
    ("relative error", False),
    ("χ² / dof", False),
    ("without smallest width", False),
]


def allocation(found: Sampling | None, families: Sequence[Judged]) -> Drawing | None:
    """Networks against width, and the relative error after every round."""
    if found is None or not any(len(goal.drawn) for goal in found.goals):
        return None
    widths = _widths(families)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.4))
        left, right = figure.subplots(1, 2)
        alone = len(found.goals) == 1
        for number, goal in enumerate(found.goals):
            colour = INK if alone else _CYCLE[number % len(_CYCLE)]
            x = [widths[index] for index in goal.indices]
            if alone:
                _rounds(left, x, goal)
            elif len(goal.drawn):
                left.plot(x, goal.drawn[-1], "o-", ms=4, color=colour)
            steps = np.arange(len(goal.relative_errors))
            right.plot(steps, np.clip(goal.relative_errors, 0, 10), "o-", ms=4, color=colour)
        _axes(left, right, found)
    goals = "the target" if alone else f"{len(found.goals)} targets"
    caption = (
        f"Left: networks of the result at each width, after {_pilot(found)}. "
        f"Right: relative standard error of {goals} as found after the pilot and after each round (up to 1000 %), "
        "and what was asked for. The error is statistical, for the model named in the table; the coefficients "
        "table has errors that include the neglected orders."
    )
    return Drawing(figure, "Adaptive sampling: allocation and error", caption)


def _rounds(axis: Axes, widths: Sequence[int], goal: Goal) -> None:
    """Networks of one target after each round, with the share of the cost at the end."""
    for number, networks in enumerate(goal.drawn):
        axis.plot(widths, networks, "o-", ms=4, color=_SHADES[min(number, 3)], label=f"after round {number + 1}")
    for width, networks, share in zip(widths, goal.drawn[-1], share_of_cost(goal), strict=True):
        axis.annotate(
            f"{100 * share:.0f} %", (width, networks), (0, 6), textcoords="offset points", ha="center", size=8
        )


def _axes(left: Axes, right: Axes, found: Sampling) -> None:
    left.set(xscale="log", yscale="log", xlabel="width M", ylabel="networks")
    ticks = sorted({float(x) for line in left.get_lines() for x in np.asarray(line.get_xdata(), np.float64)})
    if len(ticks) <= 8:
        left.set_xticks(ticks)
        left.xaxis.set_major_formatter(ScalarFormatter())
        left.xaxis.set_minor_locator(NullLocator())
    left.margins(x=0.1, y=0.15)
    alone = len(found.goals) == 1
    left.set_title("allocation" + (" (numbers: share of the cost)" if alone else ""))
    legend(left, loc="lower left")
    right.axhline(found.target["relative_error"], color="#B3261E", lw=1.0, ls="--", label="asked for")
    most = max((len(goal.relative_errors) for goal in found.goals), default=1)
    right.set_xticks(range(most), ["pilot", *(f"round {number}" for number in range(1, most))])
    right.set_yscale("log")
    right.yaxis.set_major_formatter(_percent)
    right.yaxis.set_minor_formatter(_percent)
    right.set_title("relative error reached")
    legend(right, loc="upper right")


def _percent(value: float, _: object = None) -> str:
    """Tick labels at 1, 2 and 5 of every decade."""
    return f"{100 * value:g} %" if f"{value:e}"[0] in "125" else ""


def sampling_table(found: Sampling | None, families: Sequence[Judged], most: int) -> list[Row]:
    """What each target came to, a row for every point; at most so many rows."""
    if found is None:
        return []
    widths = _widths(families)
    laws = {setting.index: describe(judged) for judged in families for setting in judged.family.settings}
    rows = []
    for goal in found.goals:
        drawn = goal.drawn[-1] if len(goal.drawn) else np.zeros(len(goal.indices), np.int64)
        for place, (index, count, share) in enumerate(zip(goal.indices, drawn, share_of_cost(goal), strict=True)):
            head = [widths.get(index, "–"), f"{count:,}".replace(",", "\u202f"), f"{100 * share:.0f} %"]
            cells = [*head, *(_result(goal) if place == 0 else [""] * 4)]
            missed = place == 0 and not goal.result["reached"]
            rows.append({"group": laws.get(index, "–"), "cells": cells, "far": missed})
    model = expansion(found.goals[0], found.target) if found.goals else ""
    left = f" {len(rows) - most} more rows are left out." if len(rows) > most else ""
    caption = (
        f"{found.outcome[:1].upper()}{found.outcome[1:]}. Value and error are those of {model}. How many networks "
        f"there are followed from {_pilot(found)}, and from earlier rounds.{left}"
    )
    return [{"title": "Adaptive sampling", "caption": caption, "head": _HEAD, "rows": rows[:most]}]


def _pilot(found: Sampling) -> str:
    return f"a pilot of {LEAST} at every point, which {'is no part of it' if found.pilot else 'counts'}"


def _result(goal: Goal) -> list[str]:
    result = goal.result
    goodness = f"{result['chi2']:.1f} / {result['dof']}" if result.get("dof") else "–"
    again = result.get("without_smallest")
    return [
        f"{result['value']:.4g} ± {result['error']:.2g}",
        f"{100 * goal.relative_errors[-1]:.2g} %",
        goodness,
        f"{again[0]:.4g} ± {again[1]:.2g}" if again else "–",
    ]


def _widths(families: Sequence[Judged]) -> dict[int, int]:
    return {setting.index: setting.width for judged in families for setting in judged.family.settings}
