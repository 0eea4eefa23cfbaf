"""Moments of the Jacobian of whole networks against depth, where these are known and the law of the spectrum is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.style import (
    FULL,
    INK,
    STYLE,
    Drawing,
    canvas,
    folded,
    legend_below,
    ordered,
    selection,
    some,
)
from mcnet_analysis.judge.spectra import FamilySpectra
from mcnet_analysis.predict.spectra import limit_moments
from mcnet_analysis.statistics.estimate import Floats, jackknife

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS, WIDTHS, GROUPS = 4, 4, 20
_DEPTH = frozenset({"depth"})


def moments_against_depth(found: Sequence[FamilySpectra]) -> Drawing | None:
    """Mean of the squared singular values and their relative variance against the number of layers or blocks."""
    known = [each for each in found if each.kind.name == "jacobian" and _limits(each) is not None]
    groups = [group for group in laws.groups(known, _DEPTH) if len({each.family.first.depth for each in group}) >= 2]
    chosen = some(groups, PANELS)
    if not chosen:
        return None
    with rc_context(STYLE):
        figure = canvas(FULL if len(chosen) > 1 else 0.6 * FULL, 4.9)
        blocks = figure.subplots(2, len(chosen), sharex="col", squeeze=False)
        titles = laws.labels([group[0] for group in chosen], _DEPTH)
        for (top, bottom), group, title in zip(blocks.T, chosen, titles, strict=True):
            _panel(top, bottom, sorted(group, key=lambda each: each.family.first.depth))
            top.set_title(folded(title, 18))
        blocks[0, 0].set_ylabel(r"$\mu_1$")
        blocks[1, 0].set_ylabel(r"$\mu_2/\mu_1^2 - 1$")
        legend_below(figure, blocks.ravel())
    caption = (
        "Squared singular values of the Jacobian of whole networks: mean (above) and relative variance (below), means "
        "over networks (markers, standard errors) and the limit of infinite width (line). Branches of weight 1/√depth "
        "keep the variance bounded at any depth; with branches of weight one it grows. What is left at small widths is "
        "of order 1/M."
    ) + selection(len(chosen), len(groups), "laws")
    return Drawing("jacobian-moments", figure, "Moments of the Jacobian against depth", caption)


def _limits(each: FamilySpectra) -> Floats | None:
    """The first two moments of the limit, where there is no law of the spectrum and they were measured."""
    if each.points[-1].table is not None or any(p.moments is None or p.moments.shape[1] < 3 for p in each.points):
        return None
    return limit_moments(each.kind, each.family.first, None, 2)


def _panel(top: Axes, bottom: Axes, group: Sequence[FamilySpectra]) -> None:
    depths = np.array([float(each.family.first.depth) for each in group])
    limits = np.array([_limits(each) for each in group])
    top.plot(depths, limits[:, 0], color=INK, zorder=2, label=r"theory, $M\to\infty$")
    bottom.plot(depths, limits[:, 1] / limits[:, 0] ** 2 - 1.0, color=INK, zorder=2)
    widths = some(sorted({setting.width for each in group for setting in each.family.settings}), WIDTHS)
    for number, (width, look) in enumerate(zip(widths, ordered(len(widths)), strict=True)):
        rows = []
        for each in group:
            for point in each.points:
                if point.setting.width == width and point.moments is not None:
                    value, covariance = jackknife(_summary, point.moments, GROUPS)
                    rows.append((point.setting.depth, *value, *np.sqrt(np.diag(covariance))))
        depth, mean, spread, error, its_error = np.array(rows).T
        place = depth * (1.0 + 0.04 * (number - 0.5 * (len(widths) - 1)))
        for axis, value, bar in ((top, mean, error), (bottom, spread, its_error)):
            axis.errorbar(
                place, value, bar, fmt=look.marker, ms=3.6, color=look.colour, lw=1, zorder=3, label=f"$M$ = {width}"
            )
    bottom.set_xscale("log")
    bottom.xaxis.set_major_locator(FixedLocator(sorted(set(depths.tolist()))))
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bottom.xaxis.set_minor_locator(NullLocator())
    bottom.set_xlabel("depth $L$")


def _summary(moments: Floats) -> Floats:
    first, second = moments[:, 0].mean(), moments[:, 1].mean()
    return np.array([first, second / first**2 - 1.0])
