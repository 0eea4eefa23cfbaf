"""Moments of the Jacobian of single layers, blocks and steps against their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.depth import series
from mcnet_analysis.draw.style import (
    FULL,
    INK,
    STYLE,
    Drawing,
    canvas,
    finite,
    folded,
    legend_below,
    ordered,
    selection,
    some,
)
from mcnet_analysis.judge.blocks import FIRST, SECOND
from mcnet_analysis.judge.family import Judged

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS, WIDTHS = 4, 4


def block_moments(families: Sequence[Judged]) -> Drawing | None:
    """Mean squared singular value of each block, and the relative variance of the squares, one panel for each law."""
    known = [judged for judged in families if all(series(judged, name) is not None for name in (FIRST, SECOND))]
    if not known:
        return None
    chosen = some(known, PANELS)
    with rc_context(STYLE):
        figure = canvas(FULL if len(chosen) > 1 else 0.6 * FULL, 4.9)
        blocks = figure.subplots(2, len(chosen), sharex="col", squeeze=False)
        for (top, bottom), judged, label in zip(blocks.T, chosen, laws.labels(chosen), strict=True):
            _panel(top, bottom, judged)
            top.set_title(folded(label, 18))
        blocks[0, 0].set_ylabel(r"$\mu_1^l$")
        blocks[1, 0].set_ylabel(r"$\mu_2^l/(\mu_1^l)^2 - 1$")
        legend_below(figure, blocks.ravel())
    caption = (
        "Singular values of the Jacobian of one layer, block or step alone. Above: mean of their squares; below: "
        "relative variance of the squares, 0 for an isometry. Means over networks (markers, standard errors) and the "
        "limit of infinite width (line); what is left at small widths is of order 1/M."
    ) + selection(len(chosen), len(known), "laws")
    return Drawing("block-jacobian", figure, "Jacobian of single blocks", caption)


def _panel(top: Axes, bottom: Axes, judged: Judged) -> None:
    first, second = series(judged, FIRST), series(judged, SECOND)
    assert first is not None
    assert second is not None
    if finite(first.limit):
        top.plot(first.layers, first.limit, color=INK, zorder=2, label=r"theory, $M\to\infty$")
        bottom.plot(second.layers, second.limit / first.limit**2 - 1.0, color=INK, zorder=2)
    shown = some(range(len(judged.family.settings)), WIDTHS)
    for number, (i, look) in enumerate(zip(shown, ordered(len(shown)), strict=True)):
        m, width = judged.moments[i], judged.family.settings[i].width
        mean = m.mean[first.at]
        spread = m.mean[second.at] / mean**2 - 1.0
        place = first.layers + 0.08 * (number - 0.5 * (len(shown) - 1))
        rows = ((top, mean, m.mean_error[first.at]), (bottom, spread, judged.block_errors[i][second.at]))
        for axis, value, bar in rows:
            axis.errorbar(
                place, value, bar, fmt=look.marker, ms=3.4, color=look.colour, lw=1, zorder=3, label=f"$M$ = {width}"
            )
    bottom.set_xlabel("block $l$")
    bottom.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
