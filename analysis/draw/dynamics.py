"""Autocorrelations and Lyapunov exponents of networks in time, beside the stationary chaos of continuous time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator
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
    categories,
    finite,
    folded,
    legend_below,
    ordered,
    selection,
    some,
)
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.predict.stationary import stationary as stationary_state
from mcnet_analysis.statistics.estimate import Floats

from mcnet.theory import recurrent
from mcnet.theory.recurrent import Continuous

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "autocorrelation"
PANELS, LAWS, WIDTHS = 3, 4, 4


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
        "Dashed: the stationary chaotic state by its own equation, that of Sompolinsky, Crisanti, Sommers 1988 in "
        "steps of leak/√(1 − leak), which the line approaches at long times. Below: distance of the means from the "
        "line in standard errors; what is of order 1/M is part of it, and shows at small widths."
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
        top.plot(lag, stationary, "--", color=PALETTE[1], lw=1.2, zorder=4, label="stationary state")
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
    """The stationary autocovariance at the lags T - l, where networks of this law approach it."""
    found = stationary_state(judged.family.first)
    if found is None:
        return None
    return np.asarray(found.overlap[np.round(lag / found.leak).astype(int)])


def _state(judged: Judged) -> Continuous | None:
    """The stationary chaotic state of the same matrices in continuous time, if there is one."""
    setting = judged.family.first
    keys, law = setting.keys, setting.law
    if not keys.get("tied", True) or keys.get("sequence", "none") != "none" or law["sigma_b2"] > 0.0:
        return None
    try:
        return recurrent.continuous(setting.activation, law["sigma_w2"])
    except ValueError:
        return None


def lyapunov(families: Sequence[Judged]) -> Drawing | None:
    """The largest finite-time exponent against time, one panel for each law; below, the others at the largest width."""
    known = [judged for judged in families if series(judged, "lyapunov") is not None]
    if not known:
        return None
    chosen = some(known, LAWS)
    with rc_context(STYLE):
        figure = canvas(max(FULL if len(chosen) > 1 else 0.0, 1.95 * len(chosen) + 1.0), 4.9)
        blocks = figure.subplots(2, len(chosen), sharex=True, squeeze=False, height_ratios=(1.3, 1.0))
        for (top, bottom), judged, label in zip(blocks.T, chosen, laws.labels(chosen), strict=True):
            _largest(top, judged)
            _others(bottom, judged)
            top.set_title(folded(label, 18))
        blocks[0, 0].set_ylabel(r"$\lambda_1$ per step")
        blocks[1, 0].set_ylabel(r"$M (\lambda_k - \lambda_\infty)$")
        legend_below(figure, blocks.ravel())
    caption = (
        "Above: the largest exponent from the input to step l, mean over networks (markers, standard errors), and its "
        "limit of infinite width (line). Dashed: the exponent of the stationary chaos of dx/dt = -x + J φ(x), times "
        "the leak, which both approach for small leaks at long times. Below: distance of the first "
        "exponents from that limit at the largest width, times the width. At infinite width they are one; in linear "
        "networks with new matrices the k-th lies k/(2M) below."
    ) + selection(len(chosen), len(known), "laws")
    return Drawing("lyapunov", figure, "Finite-time Lyapunov exponents", caption)


def _largest(axis: Axes, judged: Judged) -> None:
    found = series(judged, "lyapunov")
    assert found is not None, "chosen because it is there"
    state = _state(judged)
    if state is not None:
        rate = float(judged.family.first.keys.get("leak", 1.0)) * state.lyapunov
        axis.plot(found.layers[[0, -1]], [rate, rate], "--", color=PALETTE[1], lw=1.2, label="stationary, leak → 0")
    if finite(found.limit):
        axis.plot(found.layers, found.limit, color=INK, zorder=2, label=r"theory, $M\to\infty$")
    shown = some(range(len(judged.family.settings)), WIDTHS)
    for i, look in zip(shown, ordered(len(shown)), strict=True):
        width, m = judged.family.settings[i].width, judged.moments[i]
        axis.errorbar(
            found.layers, m.mean[found.at], m.mean_error[found.at],
            fmt=look.marker, ms=3.2, color=look.colour, lw=1, zorder=3, label=f"$M$ = {width}",
        )  # fmt: skip


def _others(axis: Axes, judged: Judged) -> None:
    names = [
        name for name in ("lyapunov", "lyapunov_2", "lyapunov_3", "lyapunov_4") if series(judged, name) is not None
    ]
    for number, (name, look) in enumerate(zip(names, categories(len(names) + 2)[2:], strict=True), 1):
        found, m = series(judged, name), judged.moments[-1]
        assert found is not None, "listed because it is there"
        width = judged.family.settings[-1].width
        away = m.mean[found.at] - (found.limit if finite(found.limit) else 0.0)
        axis.errorbar(
            found.layers, width * away, width * m.mean_error[found.at],
            fmt=look.marker, ms=3, color=look.colour, lw=0.8, label=rf"$\lambda_{number}$",
        )  # fmt: skip
    axis.axhline(0, color=FAINT, lw=0.8, zorder=0)
    axis.set_xlabel("step $l$")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
