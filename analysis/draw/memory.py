"""The memory of the units of pre-activation residual networks in the 1/M shift of their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.depth import WIDTHS, Series, series
from mcnet_analysis.draw.style import (
    FAINT,
    FULL,
    INK,
    STYLE,
    WARNING,
    Drawing,
    canvas,
    folded,
    grid,
    legend_below,
    ordered,
    selection,
    some,
)
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.statistics.estimate import Floats

from mcnet.theory import gaussian

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 6
STEP = 1e-3  # of the length, relative: derivatives of E phi^2 by differences


def memory_of_units(families: Sequence[Judged]) -> Drawing | None:
    """M times the shift of q against depth, with theory and with what it would be for fresh units in every block."""
    known = [judged for judged in families if _shown(judged) is not None]
    chosen = some(known, PANELS)
    if not chosen:
        return None
    rows, columns = grid(len(chosen))
    with rc_context(STYLE):
        figure = canvas(FULL if columns > 1 else 0.75 * FULL, 3.4 * rows + 0.6)
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis, judged, label in zip(axes.flat, chosen, laws.labels(chosen), strict=False):
            found = _shown(judged)
            assert found is not None, "chosen because it is there"
            axis.axhline(0, color=FAINT, lw=0.8, zorder=0)
            _measured(axis, judged, found)
            axis.plot(found.layers, found.a1, color=INK, zorder=3, label="theory, $a_1$")
            without = fresh_units(judged, found)
            axis.plot(found.layers, without, color=WARNING, lw=1.2, ls=(0, (4, 3)), zorder=3, label="without memory")
            axis.set_xlabel("block $l$")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set_title(folded(label))
        for axis in axes[:, 0]:
            axis.set_ylabel(r"$M\,(\langle q^l\rangle - q^l_\infty)$")
        for axis in axes.flat[len(chosen) :]:
            axis.set_visible(False)
        legend_below(figure, axes.flat)
    caption = (
        "Width times the shift of the squared length in pre-activation residual networks. Markers: measured; black: "
        "the theory to first order in 1/M; red: the same recursion as if the units of every block were drawn afresh, "
        "with the true variances. What lies between the two is the memory of the units: the stream of a unit is "
        "correlated through all blocks, and so are its fluctuations."
    ) + selection(len(chosen), len(known), "laws")
    return Drawing("memory", figure, "Pre-activation blocks: the memory of the units", caption)


def _shown(judged: Judged) -> Series | None:
    """Lengths of pre-activation blocks with coefficients of 1/M; None for other families."""
    setting = judged.family.first
    if setting.law["architecture"] != "residual" or setting.ensemble.program.parameters.block != "pre":
        return None
    found = series(judged, "q")
    return found if found is not None and np.isfinite(found.a1).all() else None


def fresh_units(judged: Judged, found: Series) -> Floats:
    """The shift at the blocks of a series if only the curvature of E phi^2 made it, from the predicted variances.

    mu' = a^2 mu + s^2 sigma_w2 (V'(q) mu + V''(q) v1/2), V(q) = E phi(sqrt(q) z)^2.
    """
    setting = judged.family.first
    p = setting.ensemble.program.parameters
    skip, gain = float(p.skip) ** 2, float(p.branch) ** 2 * float(p.sigma_w2)
    v1 = judged.predicted.v1[found.at]
    shifts = [0.0]  # of x^0, the answer of a Gaussian matrix: exact in the mean
    q = float(setting.gram[0, 0])
    spread = 2.0 * q * q
    for limit, variance in zip(found.limit, v1, strict=True):
        step = STEP * q
        low, here, high = (float(gaussian.square(setting.activation, x)) for x in (q - step, q, q + step))
        slope, bend = (high - low) / (2.0 * step), (high - 2.0 * here + low) / step**2
        shifts.append(skip * shifts[-1] + gain * (slope * shifts[-1] + 0.5 * bend * spread))
        q, spread = float(limit), float(variance)
    return np.array(shifts[1:])


def _measured(axis: Axes, judged: Judged, found: Series) -> None:
    shown = some(range(len(judged.family.settings)), WIDTHS)
    for number, (i, look) in enumerate(zip(shown, ordered(len(shown)), strict=True)):
        width, m = judged.family.settings[i].width, judged.moments[i]
        at = [found.at[k] for k in found.dots]
        nudge = 0.06 * (number - 0.5 * (len(shown) - 1))
        axis.errorbar(
            found.layers[found.dots] + nudge, width * (m.mean[at] - judged.predictions[i].limit[at]),
            width * m.mean_error[at], fmt=look.marker, ms=3.4, color=look.colour, lw=1, zorder=2,
            label=f"$M$ = {width}",
        )  # fmt: skip
