"""The figure and the table of adaptive sampling: where the networks went, and what error they came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from mcnet_analysis.draw.laws import describe
from mcnet_analysis.draw.style import (
    FULL,
    INK,
    STYLE,
    WARNING,
    Drawing,
    canvas,
    categories,
    legend_below,
    ordered,
    plain_log,
    width_axis,
)
from mcnet_analysis.judge.table import Row
from mcnet_analysis.sampling import Goal, Sampling, expansion, share_of_cost

from mcnet.plan.allocation import LEAST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from mcnet_analysis.judge.family import Judged

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
    alone = len(found.goals) == 1
    with rc_context(STYLE):
        figure = canvas(FULL, 3.9)
        left, right = figure.subplots(1, 2)
        for number, (goal, look) in enumerate(zip(found.goals, categories(len(found.goals)), strict=True), 1):
            x = [widths[index] for index in goal.indices]
            colour, label = (INK, None) if alone else (look.colour, f"target {number}")
            if alone:
                _rounds(left, x, goal)
            elif len(goal.drawn):
                left.plot(x, goal.drawn[-1], look.marker + "-", color=colour, label=label)
            steps = np.arange(len(goal.relative_errors))
            errors = np.clip(goal.relative_errors, 0, 10)
            right.plot(steps, errors, "o-" if alone else look.marker + "-", color=colour, label=label)
        _axes(left, right, found)
        legend_below(figure, [left, right])
    goals = "the target" if alone else f"{len(found.goals)} targets"
    caption = (
        f"Left: networks of the result at each width, after {_pilot(found)}. "
        f"Right: relative standard error of {goals} as found after the pilot and after each round (up to 1000 %), "
        "and what was asked for. The error is statistical, for the model named in the table; the coefficients "
        "table has errors that include the neglected orders."
    )
    return Drawing("sampling", figure, "Adaptive sampling: allocation and error", caption)


def _rounds(axis: Axes, widths: Sequence[int], goal: Goal) -> None:
    """Networks of one target after each round, with the share of the cost at the end."""
    for number, (networks, look) in enumerate(zip(goal.drawn, ordered(len(goal.drawn)), strict=True), 1):
        axis.plot(widths, networks, look.marker + "-", color=look.colour, label=f"after round {number}")
    for width, networks, share in zip(widths, goal.drawn[-1], share_of_cost(goal), strict=True):
        axis.annotate(
            f"{100 * share:.0f} %", (width, networks), (0, 6), textcoords="offset points", ha="center", size=8
        )


def _axes(left: Axes, right: Axes, found: Sampling) -> None:
    width_axis(left, [float(x) for line in left.get_lines() for x in np.asarray(line.get_xdata(), np.float64)])
    left.set_ylabel("networks")
    left.margins(x=0.1, y=0.15)
    plain_log(left)
    left.set_title("allocation" + (" (numbers: share of the cost)" if len(found.goals) == 1 else ""))
    right.axhline(found.target["relative_error"], color=WARNING, lw=1.0, ls="--", label="asked for")
    most = max((len(goal.relative_errors) for goal in found.goals), default=1)
    right.set_xticks(range(most), ["pilot", *(f"round {number}" for number in range(1, most))])
    right.margins(y=0.15)
    plain_log(right)
    right.yaxis.set_major_formatter(_percent)
    right.set_title("relative error reached")


def _percent(value: float, _: object = None) -> str:
    return f"{100 * value:g} %"


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
