"""Overlaps of a network with itself at two layers, which are times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.depth import series
from mcnet_analysis.draw.style import (
    FAINT,
    FULL,
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
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.predict.dynamics import TIMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS, CURVES = 4, 5


def two_times(families: Sequence[Judged]) -> Drawing | None:
    """C(t, s) against s for several t at the largest width, and its distance from theory; one panel for each law."""
    known = [judged for judged in families if _times(judged)]
    if not known:
        return None
    chosen = some(known, PANELS)
    with rc_context(STYLE):
        figure = canvas(FULL if len(chosen) > 1 else 0.6 * FULL, 4.9)
        blocks = figure.subplots(2, len(chosen), sharex="col", squeeze=False, height_ratios=(1.5, 1.0))
        for (top, bottom), judged, label in zip(blocks.T, chosen, laws.labels(chosen), strict=True):
            _panel(top, bottom, judged)
            top.set_title(folded(label, 18))
        blocks[0, 0].set_ylabel("$C(t, s)$")
        blocks[1, 0].set_ylabel("deviation / error")
        legend_below(figure, blocks.ravel())
    caption = (
        "Overlap per unit of the state at time t with that at time s, at the largest width: mean over networks "
        "(markers, standard errors) and the limit of infinite width (lines). The peak at s = t is the squared length; "
        "what lies beside it is memory. Below: distance from the line in standard errors, the band is ±2; what is of "
        "order 1/M is part of it."
    ) + selection(len(chosen), len(known), "laws")
    return Drawing("two-time", figure, "Overlaps at two times", caption)


def _times(judged: Judged) -> list[int]:
    return [time for time in TIMES if series(judged, f"two_time_{time}") is not None]


def _panel(top: Axes, bottom: Axes, judged: Judged) -> None:
    shown, m = some(_times(judged), CURVES), judged.moments[-1]
    bottom.axhspan(-2, 2, color=FAINT, alpha=0.25, lw=0, zorder=0)
    bottom.axhline(0, color=FAINT, lw=0.8, zorder=0)
    for time, look in zip(shown, ordered(len(shown)), strict=True):
        found = series(judged, f"two_time_{time}")
        assert found is not None, "chosen because it is there"
        mean, error = m.mean[found.at], m.mean_error[found.at]
        top.errorbar(
            found.layers, mean, error, fmt=look.marker, ms=3.4, color=look.colour, lw=1, zorder=3, label=f"$t$ = {time}"
        )
        if finite(found.limit):
            top.plot(found.layers, found.limit, color=look.colour, lw=1, zorder=2)
            bottom.plot(found.layers, (mean - found.limit) / np.where(error > 0, error, np.nan), look.marker, ms=3,
                        color=look.colour)  # fmt: skip
    bottom.set_xlabel("time $s$")
    bottom.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
