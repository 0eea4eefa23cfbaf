"""Figures of residual networks: how the fluctuation of their lengths depends on the number of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.style import FULL, INK, MARKERS, PALETTE, STYLE, Drawing, canvas, legend_below, plain_log
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.predict.catalog import OBSERVABLES
from mcnet_analysis.study import Column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENOUGH = 3  # depths that make a curve
OBSERVABLE = "q_hat"


def length_fluctuations(families: Sequence[Judged]) -> Drawing | None:
    """M Var(q_hat)/(E q_hat)^2 after the last block against the number of blocks, one curve for each branch."""
    groups = [
        sorted(group, key=lambda judged: judged.family.first.depth)
        for group in laws.groups([judged for judged in families if _last(judged) is not None], frozenset({"depth"}))
        if len({judged.family.first.depth for judged in group}) >= ENOUGH
    ]
    if not groups:
        return None
    with rc_context(STYLE):
        figure = canvas(0.85 * FULL, 4.2)
        axis = figure.subplots()
        names = laws.labels([group[0] for group in groups], frozenset({"depth"}))
        for number, (group, name) in enumerate(zip(groups, names, strict=True)):
            _curves(axis, group, name, PALETTE[number % len(PALETTE)])
        plain_log(axis)
        axis.set_xscale("log")
        depths = sorted({judged.family.first.depth for group in groups for judged in group})
        axis.xaxis.set_major_locator(FixedLocator(depths))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("number of blocks $L$")
        symbol = laws.symbol(OBSERVABLE)
        axis.set_ylabel(rf"$M\,\mathrm{{Var}}({symbol}^L)\,/\,\langle {symbol}^L\rangle^2$")
        legend_below(figure, [axis])
    caption = (
        "Width times the relative variance of the squared length after the last block. Lines: v₁/limit² of the theory "
        "to first order in 1/M; black dashes: the exact value at that depth and width, where it is known. Branches of "
        "a fixed weight add a fluctuation of one size in every block; branches of weight 1/√L add 1/L of it, and the "
        "sum saturates."
    )
    return Drawing("residual-fluctuations", figure, "Residual networks: fluctuation of lengths against depth", caption)


def _curves(axis: Axes, group: Sequence[Judged], name: str, colour: str) -> None:
    """One series for each width, the prediction of first order, and what is known exactly."""
    depths = np.array([float(judged.family.first.depth) for judged in group])
    at = [_last(judged) or 0 for judged in group]
    first = [judged.predicted.v1[j] / judged.predicted.limit[j] ** 2 for judged, j in zip(group, at, strict=True)]
    axis.plot(depths, first, color=colour, lw=1.1, zorder=1)
    widths = sorted({setting.width for judged in group for setting in judged.family.settings})
    for number, width in enumerate(widths):
        points = []
        for judged, j in zip(group, at, strict=True):
            for setting, m in zip(judged.family.settings, judged.moments, strict=True):
                if setting.width != width:
                    continue
                relative = width * m.variance[j] / m.mean[j] ** 2
                spread = np.hypot(m.variance_error[j] / m.variance[j], 2 * m.mean_error[j] / m.mean[j])
                points.append((setting.depth, relative, relative * spread))
                exact = OBSERVABLES[OBSERVABLE].exact
                known = exact(setting, judged.columns[j]) if exact is not None else None
                if known is not None:
                    value = width * known.variance / known.mean**2
                    axis.plot(setting.depth, value, "_", color=INK, ms=11, mew=1.3, zorder=3, label="exact")
        x, y, error = np.array(points).T
        axis.errorbar(
            x * (1.0 + 0.04 * (number - 0.5 * (len(widths) - 1))), y, error, fmt=MARKERS[number % len(MARKERS)],
            ms=4.5, lw=1, color=colour, mfc="white" if number == 0 else colour, label=f"{name}, $M$ = {width}",
        )  # fmt: skip


def _last(judged: Judged) -> int | None:
    """The column of the length after the last block, where it is a residual network and was measured."""
    if judged.family.first.law["architecture"] != "residual":
        return None
    column = Column(OBSERVABLE, (0,), judged.family.first.depth)
    return judged.columns.index(column) if column in judged.columns else None
