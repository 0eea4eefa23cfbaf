"""Figures against 1/M: what was measured at each width, the limit, the predicted slope, a fit and its residuals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import FixedLocator, FuncFormatter
from mcnet_analysis.draw import laws
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
    grid,
    legend_below,
    selection,
    some,
)
from mcnet_analysis.draw.text import with_error
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.table import expected_scales
from mcnet_analysis.predict.catalog import OBSERVABLES
from mcnet_analysis.statistics import scaling
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Column

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.gridspec import SubplotSpec

PANELS = 6
LEAST = 3  # widths from which on a figure against 1/M says something
MAIN = ("ntk", "c", "q", "q_tilde", "chi", "fim_softmax_top")
"""Of these the report draws the first that was measured at enough widths."""


class Approach(NamedTuple):
    """A mean, or M times a variance, of one column over the widths.

    Attributes
    ----------
    x : (W,)
        1/M.
    y, error : (W,)
    limits, slopes : (W,)
        Theory, limit and a1, as it is at each width; NaN where there is none. Inputs of a fixed dimension have another
        limit at each width. Of variances the limit is v1, and no slope is known.
    fit : Fit or None
        ``y = sum_k a_k x^k``; where the limit is known of a mean, it is held fixed.
    scale, growth : float
        Of the orders beyond: see :func:`mcnet_analysis.statistics.scaling.fit`.
    """

    column: Column
    statistic: str
    x: Floats
    y: Floats
    error: Floats
    limits: Floats
    slopes: Floats
    fit: scaling.Fit | None
    scale: float
    growth: float

    @property
    def limit(self) -> float:
        """At 1/M = 0, where all widths have the same; else NaN."""
        return float(self.limits[-1]) if np.ptp(self.limits) <= 1e-9 * abs(self.limits[-1]) else math.nan

    @property
    def neglected(self) -> Floats:
        """What the orders beyond the fit may add at each width, one standard deviation."""
        assert self.fit is not None, "asked for where there is one"
        k = self.fit.first + int(self.fit.order[0]) + np.arange(4)
        with np.errstate(over="ignore"):
            terms = self.scale * self.growth ** (k - 1.0) * self.x[:, None] ** k
        return np.asarray(np.sqrt((terms**2).sum(1)))

    def fitted(self, x: Floats) -> tuple[Floats, Floats]:
        """The fit and its standard error at any 1/M."""
        assert self.fit is not None, "asked for where there is one"
        k = int(self.fit.order[0])
        powers = x[:, None] ** np.arange(self.fit.first, self.fit.first + k)
        weights = self.fit.weights[0, :k]
        covariance = weights @ np.diag(self.error**2) @ weights.T + self.fit.truncation_covariance[0, :k, :k]
        offset = np.interp(x, self.x[::-1], self.limits[::-1]) if self.fit.first else 0.0
        spread = np.sqrt(np.maximum(np.einsum("xk,kl,xl->x", powers, covariance, powers), 0.0))
        return offset + powers @ self.fit.coefficient[0, :k], spread


def approach(judged: Judged, column: Column, statistic: str = "mean") -> Approach | None:
    """The values of a column over the widths and their fit; None where no width has an error."""
    j = judged.columns.index(column)
    widths = judged.family.widths
    mean = statistic == "mean"
    y = np.array([m.mean[j] if mean else m.variance[j] for m in judged.moments]) * (1.0 if mean else widths)
    error = np.array([m.mean_error[j] if mean else m.variance_error[j] for m in judged.moments])
    error = error * (1.0 if mean else widths)
    good = np.isfinite(y) & np.isfinite(error) & (error > 0)
    if not good.any():
        return None
    limits = np.array([(p.limit if mean else p.v1)[j] for p in judged.predictions])[good]
    slopes = np.array([p.a1[j] if mean else math.nan for p in judged.predictions])[good]
    scales = expected_scales(judged.family, judged.columns, judged.moments, judged.predictions)
    growth = float(scales.mean_growth[j] if mean else scales.variance_growth[j])
    size = float(scales.mean[j] if mean else scales.variance[j] * growth)
    fit = None
    if good.sum() >= 2:
        known = bool(mean and np.isfinite(limits).all() and np.isfinite(slopes).all())
        fit = scaling.fit(
            widths[good], (y[good] - (limits if known else 0.0))[:, None], error[good][:, None],
            scale=size, growth=growth, first=int(known),
        )  # fmt: skip
    return Approach(column, statistic, 1.0 / widths[good], y[good], error[good], limits, slopes, fit, size, growth)


def main_column(judged: Judged) -> Column | None:
    """What the report draws of a family: at the last layer, of the first pair if there are pairs."""
    names = {column.observable for column in judged.columns}
    for name in MAIN:
        mine = [c for c in judged.columns if c.observable == name] if name in names else []
        mine = [c for c in mine if c.layer in (None, max((d.layer or 0 for d in mine), default=0))]
        mine.sort(key=lambda c: (len(set(c.inputs)) < 2, c.inputs))
        usable = [c for c in mine if (a := approach(judged, c)) is not None and a.x.size >= LEAST]
        if usable:
            return usable[0]
    return None


def approaches(families: Sequence[Judged]) -> Drawing | None:
    """Small multiples against 1/M: the main observable of several laws."""
    known = [(judged, column) for judged in families if (column := main_column(judged)) is not None]
    name = next((n for n in MAIN if any(column.observable == n for _, column in known)), None)
    known = [(judged, column) for judged, column in known if column.observable == name]
    if not known:
        return None
    chosen = some(known, PANELS)
    return _small([(judged, column, "mean") for judged, column in chosen], len(known), "approach")


def against_width(judged: Judged, column: Column, statistic: str = "mean") -> Drawing | None:
    """One column against 1/M, large: measurement, limit, predicted slope, fit with its error, residuals."""
    found = approach(judged, column, statistic)
    if found is None:
        return None
    with rc_context(STYLE):
        figure = canvas(0.82 * FULL, 4.6)
        top, bottom = _pair(figure, figure.add_gridspec(1, 1)[0])
        _draw(top, bottom, found, quantity(judged, column, statistic), words=True)
        top.set_title(laws.describe(judged), fontsize=8.5)
        legend_below(figure, [top])
    name = f"width-{column.observable}{'' if statistic == 'mean' else '-variance'}"
    return Drawing(name, figure, f"Against 1/M: {laws.title(column.observable)}", _CAPTION)


_CAPTION = (
    "Measured over networks, with standard errors, against 1/M. Diamond at 1/M = 0: the predicted limit; dashed: the "
    "predicted slope a₁. Full line: a fit of powers of 1/M (the limit held where theory knows it to first order), with "
    "its standard error. Below: distance from the fit over the error, in which the neglected orders count; the band is "
    "±2."
)


def _small(chosen: Sequence[tuple[Judged, Column, str]], every: int, name: str) -> Drawing:
    families = [judged for judged, _, _ in chosen]
    rows, columns = grid(len(chosen))
    with rc_context(STYLE):
        figure = canvas(max(FULL, PANEL * columns) if columns > 1 else 0.72 * FULL, 3.9 * rows + 0.5)
        blocks = figure.add_gridspec(rows, columns)
        for place, ((judged, column, statistic), label) in enumerate(zip(chosen, laws.labels(families), strict=True)):
            found = approach(judged, column, statistic)
            assert found is not None, "chosen because it is there"
            top, bottom = _pair(figure, blocks[place // columns, place % columns])
            _draw(top, bottom, found, quantity(judged, column, statistic), words=False)
            top.set_title(folded(label))
            if place % columns:
                top.set_ylabel("")
                bottom.set_ylabel("")
        legend_below(figure, figure.axes)
    caption = _CAPTION + selection(len(chosen), every, "laws")
    return Drawing(name, figure, f"Against 1/M: {laws.title(chosen[0][1].observable)}", caption)


def quantity(judged: Judged, column: Column, statistic: str) -> str:
    """The quantity in TeX, with its place, over its power of the width."""
    symbol = laws.symbol(column.observable)
    power = OBSERVABLES[column.observable].power if judged.family.first.law["parameterization"] == "standard" else 0
    layer = "" if column.layer is None else f"^{{{column.layer}}}"
    inputs = "".join(str(i + 1) for i in column.inputs)
    text = f"{symbol}{layer}" + (f"_{{{inputs}}}" if inputs else "")
    text += {0: "", 1: "/M", -1: r"\,M"}.get(power, f"/M^{power}")
    return rf"$\langle {text} \rangle$" if statistic == "mean" else rf"$M\,\mathrm{{Var}}({text})$"


def _pair(figure: Any, where: SubplotSpec) -> tuple[Axes, Axes]:
    inner = where.subgridspec(2, 1, height_ratios=(3.0, 1.0))
    top = figure.add_subplot(inner[0])
    bottom = figure.add_subplot(inner[1], sharex=top)
    top.tick_params(labelbottom=False)
    return top, bottom


def _draw(top: Axes, bottom: Axes, found: Approach, name: str, words: bool) -> None:
    right = 1.06 * float(found.x.max())
    start = 0.0 if math.isfinite(found.limit) or not finite(found.limits) else float(found.x.min())
    line = np.linspace(start, right, 120)
    colour = PALETTE[0]
    theory = found.limits + found.slopes * found.x
    if finite(theory):
        told = f" ($a_1$ = {found.slopes[-1]:.3g})" if words else ""
        x = np.concatenate([[0.0] if math.isfinite(found.limit) else [], found.x[::-1]])
        ends = np.concatenate([[found.limit] if math.isfinite(found.limit) else [], theory[::-1]])
        top.plot(x, ends, color=INK, ls="--", lw=1.1, label=f"theory to 1/M{told}")
    if found.fit is not None:
        certain = found.neglected < 3.0 * found.error  # where higher orders may be anything the fit says nothing
        reach = line[line <= 1.06 * float(found.x[certain].max(initial=found.x.min()))]
        y, spread = found.fitted(reach)
        top.fill_between(reach, y - spread, y + spread, color=colour, alpha=0.18, lw=0)
        top.plot(reach, y, color=colour, lw=1.2, label=_fit_label(found) if words else "fit")
    top.errorbar(found.x, found.y, found.error, fmt="o", color=colour, lw=1, zorder=3, label="measured")
    if math.isfinite(found.limit):
        told = f" = {found.limit:.5g}" if words else ""
        what = r"$M\to\infty$" if found.statistic == "mean" else "$v_1$, theory"
        top.plot([0.0], [found.limit], "D", color=INK, mfc="white", ms=5.5, zorder=4, label=f"{what}{told}")
    top.set_ylabel(name)
    top.set_xlim(-0.03 * right, right)
    seen = [*(found.y - found.error), *(found.y + found.error), found.limit, *theory]
    low, high = float(np.nanmin(seen)), float(np.nanmax(seen))
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    top.set_ylim(low - room, high + room)
    bottom.axhline(0, color=FAINT, lw=0.8)
    bottom.axhspan(-2, 2, color=FAINT, alpha=0.25, lw=0)
    if found.fit is not None:
        z = (found.y - found.fitted(found.x)[0]) / np.hypot(found.error, found.neglected)
        bottom.errorbar(found.x, z, 1.0, fmt="o", color=colour, lw=1)
        most = max(3.2, 1.15 * float(np.abs(z).max()) + 1.0)
        bottom.set_ylim(-most, most)
    bottom.set_ylabel("residual")
    bottom.set_xlabel("$1/M$")
    _width_marks(bottom, found.x)


def _fit_label(found: Approach) -> str:
    """What was fitted: limit or slope with its error, goodness."""
    fit = found.fit
    assert fit is not None, "asked for where there is one"
    letter = "a" if found.statistic == "mean" else "v"
    start = fit.first + (0 if found.statistic == "mean" else 1)
    value = with_error(float(fit.coefficient[0, 0]), float(fit.error[0, 0]))
    goodness = f", $\\chi^2$/dof = {fit.chi2[0]:.1f}/{fit.dof[0]}" if fit.dof[0] else ""
    return f"fit: ${letter}_{start}$ = {value}{goodness}"


def _width_marks(axis: Axes, x: Floats) -> None:
    """Ticks 1/M at the widths, as far as they do not touch."""
    shown: list[float] = []
    for place in sorted(x.tolist(), reverse=True):
        if not shown or shown[-1] - place > 0.16 * max(x):
            shown.append(place)
    axis.xaxis.set_major_locator(FixedLocator([0.0, *(p for p in reversed(shown) if p > 0.12 * max(x))]))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value == 0 else f"1/{1 / value:.0f}"))
