"""Fourier modes over the positions of convolutional networks against depth, with their depth scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.depth import Series, series
from mcnet_analysis.draw.style import (
    FULL,
    INK,
    STYLE,
    Drawing,
    Look,
    canvas,
    categories,
    folded,
    grid,
    legend_below,
    plain_log,
    selection,
    some,
)
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.predict.seen import MOST_MODES

from mcnet.theory import convolution, fixed_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 3
SEEN = 3.0  # standard errors that a mode must have to be drawn
ANCHOR = 4  # layer through which the slopes of small perturbations go


def fourier_modes(families: Sequence[Judged]) -> Drawing | None:
    """|<q_k^l>|, of mode 0 its distance from the fixed point, against l on a logarithmic axis."""
    known = [judged for judged in families if series(judged, "q_mode_0") is not None and _fixed(judged) is not None]
    chosen = some(known, PANELS)
    if not chosen:
        return None
    rows, columns = grid(len(chosen))
    with rc_context(STYLE):
        figure = canvas(FULL if columns > 1 else 0.8 * FULL, 3.8 * rows + 0.5)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axis, judged, label in zip(axes.flat, chosen, laws.labels(chosen), strict=False):
            _modes(axis, judged)
            plain_log(axis)
            axis.set_xlabel("layer $l$")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set_title(folded(label))
        for axis in axes[:, 0]:
            axis.set_ylabel(r"$|\langle q_k^l \rangle|$,  $|\langle q_0^l \rangle - q^*|$")
        for axis in axes.flat[len(chosen) :]:
            axis.set_visible(False)
        legend_below(figure, axes.flat)
    caption = (
        "Fourier modes over the positions of the squared length at the largest width: means over networks (markers, as "
        "far as they are three standard errors from zero), the limit of infinite width (lines), and the decay by χ λ_k "
        "of small perturbations at the fixed point (black dashes, through one layer). Of mode 0 the distance from the "
        "fixed point is drawn: the depth scale of dense networks, which no other mode reaches where positions "
        "are mixed."
    ) + selection(len(chosen), len(known), "laws")
    return Drawing("fourier-modes", figure, "Convolutional networks: Fourier modes against depth", caption)


def _fixed(judged: Judged) -> Any:
    """The fixed point of the lengths; None where there is none, or no convolution."""
    setting = judged.family.first
    if setting.law["architecture"] != "convolution":
        return None
    try:
        return fixed_points.fixed_point(setting.activation, setting.law["sigma_w2"], setting.law["sigma_b2"])
    except ValueError:
        return None


def _modes(axis: Axes, judged: Judged) -> None:
    p, point = judged.family.first.ensemble.program.parameters, _fixed(judged)
    taps = np.reshape(p.taps, (p.kernel,) * len(p.positions))
    scales = np.abs(convolution.tap_modes(taps, p.positions))
    along = scales.reshape(scales.shape[0], -1)[:, 0]
    measured = [k for k in range(MOST_MODES + 1) if series(judged, f"q_mode_{k}") is not None]
    for k, look in zip(measured, categories(len(measured)), strict=True):
        found = series(judged, f"q_mode_{k}")
        assert found is not None, "chosen because it is there"
        _mode(axis, judged, found, k, point.q if k == 0 else 0.0, point.slope_q * float(along[k]), look)


def _mode(axis: Axes, judged: Judged, found: Series, k: int, fixed: float, factor: float, look: Look) -> None:
    m = judged.moments[-1]
    mean, error = m.mean[found.at] - fixed, m.mean_error[found.at]
    limit = np.abs(found.limit - fixed)
    floor = 0.5 * float(np.min(error))
    axis.plot(found.layers, np.where(limit > floor, limit, np.nan), color=look.colour, lw=1.1, zorder=1)
    seen = np.abs(mean) > SEEN * error
    axis.errorbar(
        found.layers[seen], np.abs(mean)[seen], error[seen], fmt=look.marker, ms=4, color=look.colour, lw=1, zorder=3,
        label=f"$k$ = {k}",
    )  # fmt: skip
    at = min(ANCHOR, len(limit)) - 1
    slope = limit[at] * factor ** (found.layers - found.layers[at])
    inside = (slope > floor) & (found.layers >= found.layers[at])
    if limit[at] > floor and inside.sum() > 1:
        axis.plot(found.layers[inside], slope[inside], color=INK, lw=1, ls=(0, (4, 3)), zorder=2,
                  label=r"$(\chi\lambda_k)^l$")  # fmt: skip
