"""Autocorrelations of recurrent networks against the time lag, beside the stationary chaos of continuous time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.depth import Series, series
from mcnet_analysis.draw.style import (
    FAINT,
    FULL,
    INK,
    PALETTE,
    PANEL,
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
from mcnet_analysis.statistics.estimate import Floats

from mcnet.theory import recurrent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "autocorrelation"
PANELS, WIDTHS = 3, 4


def autocorrelations(families: Sequence[Judged]) -> Drawing | None:
    """Overlap with the last time against the lag, one panel for each law; below, its distance from theory."""
    known = [judged for judged in families if _is_recurrent(judged) and series(judged, NAME) is not None]
    if not known:
        return None
    chosen = some(known, PANELS)
    with rc_context(STYLE):
        figure = canvas(max(FULL if len(chosen) > 1 else 0.0, PANEL * len(chosen) + 1.4), 4.9)
        blocks = figure.subplots(2, len(chosen), sharex="col", squeeze=False, height_ratios=(1.5, 1.0))
        for (top, bottom), judged, label in zip(blocks.T, chosen, laws.labels(chosen), strict=True):
            _panel(top, bottom, judged)
            top.set_title(folded(label))
        blocks[0, 0].set_ylabel(r"$C(T, T - t)$")
        blocks[1, 0].set_ylabel("deviation / error")
        legend_below(figure, blocks.ravel())
    caption = (
        "Overlap per unit of the state at the last time with earlier ones, mean over networks (markers, standard "
        "errors), and the limit of infinite width of the same steps (line). Time is counted in units of the leak. "
        "Dashed: the stationary chaotic state of dx/dt = -x + J φ(x) (Sompolinsky, Crisanti, Sommers 1988), which the "
        "line approaches as leak → 0 at long times. Below: distance of the means from the line in standard errors; "
        "what is of order 1/M is part of it, and shows at small widths."
    ) + selection(len(chosen), len(known), "laws")
    return Drawing("autocorrelation", figure, "Autocorrelation against the time lag", caption)


def _is_recurrent(judged: Judged) -> bool:
    return bool(judged.family.first.law["architecture"] == "recurrent")


def _panel(top: Axes, bottom: Axes, judged: Judged) -> None:
    found = series(judged, NAME)
    assert found is not None, "chosen because it is there"
    leak = float(judged.family.first.keys.get("leak", 1.0))
    lag = leak * (found.layers[-1] - found.layers)
    stationary = _stationary(judged, lag)
    if stationary is not None:
        top.plot(lag, stationary, "--", color=PALETTE[1], lw=1.2, zorder=1, label="stationary, leak → 0")
    if finite(found.limit):
        top.plot(lag, found.limit, color=INK, zorder=2, label=r"theory, $M\to\infty$")
    shown = some(range(len(judged.family.settings)), WIDTHS)
    bottom.axhspan(-2, 2, color=FAINT, alpha=0.25, lw=0, zorder=0)
    bottom.axhline(0, color=FAINT, lw=0.8, zorder=0)
    for i, look in zip(shown, ordered(len(shown)), strict=True):
        width, m, at = judged.family.settings[i].width, judged.moments[i], _dots(found)
        mean, error = m.mean[[found.at[k] for k in at]], m.mean_error[[found.at[k] for k in at]]
        top.errorbar(
            lag[at], mean, error, fmt=look.marker, ms=3.4, color=look.colour, lw=1, zorder=3, label=f"$M$ = {width}"
        )
        if finite(found.limit):
            bottom.plot(lag[at], (mean - found.limit[at]) / error, look.marker, ms=3, color=look.colour)
    bottom.set_xlabel("lag · leak")


def _dots(found: Series) -> list[int]:
    """Places with a marker, evenly spaced in time."""
    return some(range(len(found.layers)), 17)


def _stationary(judged: Judged, lag: Floats) -> Floats | None:
    """The stationary autocovariance, where networks of this law approach it."""
    setting = judged.family.first
    keys, law = setting.keys, setting.law
    if not keys.get("tied", True) or keys.get("sequence", "none") != "none" or law["sigma_b2"] > 0.0:
        return None
    try:
        state = recurrent.continuous(setting.activation, law["sigma_w2"])
    except ValueError:
        return None
    return np.asarray(state.autocovariance(lag))
