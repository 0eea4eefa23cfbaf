"""Figures of measured against predicted: coefficients, and deviations in standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib import rc_context
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.style import (
    FULL,
    INK,
    PALETTE,
    STYLE,
    Drawing,
    Look,
    canvas,
    categories,
    legend_below,
    plain_log,
)
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.table import natural_scales
from mcnet_analysis.predict.catalog import OBSERVABLES
from mcnet_analysis.study import column_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 4  # coefficients that make a panel
SCORES = 20  # deviations that make a histogram


class _Coefficient(NamedTuple):
    observable: str
    predicted: float
    measured: float
    error: float


def coefficients(families: Sequence[Judged]) -> Drawing | None:
    """Fitted against predicted coefficients a1 and v1 of all families, in natural units."""
    rows: dict[str, list[_Coefficient]] = {"a1": [], "v1": []}
    for judged in families:
        scales = natural_scales(judged.columns, judged.predicted.limit).tolist()
        size = dict(zip(judged.columns, scales, strict=True))
        for row in judged.comparisons:
            if row["statistic"] in rows and np.isfinite(row["z"]) and column_of(row) in size:  # spectra have a table
                unit = size[column_of(row)] ** (1 if row["statistic"] == "a1" else 2)
                numbers = (row[key] / unit for key in ("predicted", "measured", "error"))
                rows[row["statistic"]].append(_Coefficient(row["observable"], *numbers))
    titles = {"a1": "shift of the mean, $a_1$ / natural scale", "v1": "variance, $v_1$ / natural scale²"}
    drawn = {name: _drawable(found, log=name == "v1") for name, found in rows.items()}
    panels = [name for name in rows if drawn[name]]
    if not panels:
        return None
    names = [name for name in OBSERVABLES if any(row.observable == name for p in panels for row in drawn[p])]
    looks = dict(zip(names, categories(len(names)), strict=True))
    with rc_context(STYLE):
        figure = canvas(FULL if len(panels) == 2 else 0.6 * FULL, 3.9)
        for axis, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _diagonal(axis, drawn[name], looks, log=name == "v1")
            axis.set_title(titles[name])
        legend_below(figure, figure.axes)
    hidden = sum(len(rows[name]) - len(drawn[name]) for name in rows)
    caption = (
        "Coefficients of 1/M fitted over the widths, with standard errors that include the neglected orders, against "
        "theory: on the diagonal they agree. Natural scale: the length itself, or 1 − |c| for a correlation. Theory to "
        "first order in 1/M; the fits keep the next orders."
    )
    if hidden:
        caption += f" Not drawn: {hidden} coefficients, too uncertain for the picture or alone in their panel."
    return Drawing("coefficients", figure, "Fitted against predicted 1/M coefficients", caption)


def _drawable(rows: Sequence[_Coefficient], log: bool) -> list[_Coefficient]:
    """Those precise enough to be seen beside the range of the predictions; none if few are, or all are zero."""
    predicted = np.array([row.predicted for row in rows])
    if log:
        drawn = [row for row in rows if row.predicted > 0 and row.measured > 1.5 * row.error]
    else:
        reach = max(np.ptp(predicted), np.abs(predicted).max()) if len(rows) else 0.0
        drawn = [row for row in rows if row.error < 0.3 * reach] if reach > 1e-6 else []
    return drawn if len(drawn) >= LEAST else []


def _diagonal(axis: Axes, rows: Sequence[_Coefficient], looks: dict[str, Look], log: bool) -> None:
    """Measured against predicted, with the diagonal."""
    axis.set_xlabel("theory")
    axis.set_ylabel("measured")
    for name, look in looks.items():
        mine = np.array([row[1:] for row in rows if row.observable == name])
        if mine.size:
            axis.errorbar(
                mine[:, 0], mine[:, 1], mine[:, 2], fmt=look.marker, ms=3.6, lw=0.8, alpha=0.75, color=look.colour,
                label=f"${laws.symbol(name)}$: {laws.title(name)}",
            )  # fmt: skip
    theory = [row.predicted for row in rows]
    ends = np.array([min(theory), max(theory)])
    axis.plot(ends, ends, color=INK, lw=0.9, zorder=0)
    if log:
        plain_log(axis, "x")
        plain_log(axis)


def score_histogram(families: Sequence[Judged]) -> Drawing | None:
    """Deviations in standard errors against the standard normal law."""
    rows = [row for judged in families for row in judged.comparisons if np.isfinite(row["z"])]
    fitted = [row["statistic"] in ("a1", "v1", "limit") or "width" not in row["point"] for row in rows]
    scores = {
        label: np.array([row["z"] for row, here in zip(rows, fitted, strict=True) if here is kind])
        for label, kind in (("coefficients ($a_1$, $v_1$, limits)", True), ("single widths", False))
    }
    shown = {label: z for label, z in scores.items() if z.size >= SCORES}
    if not shown:
        return None
    edges = np.arange(-5.0, 5.01, 0.25 if min(z.size for z in shown.values()) >= 1000 else 0.5)
    top = 0.4
    with rc_context(STYLE):
        figure = canvas(0.75 * FULL, 3.5)
        axis = figure.subplots()
        for (label, z), colour, dash in zip(shown.items(), PALETTE, ("-", "--"), strict=False):
            density = np.histogram(np.clip(z, -4.999, 4.999), edges)[0] / z.size / np.diff(edges)
            axis.stairs(density, edges, color=colour, fill=True, alpha=0.2, lw=0)
            axis.stairs(density, edges, color=colour, lw=1.3, ls=dash, label=f"{label}: {z.size}")
            top = max(top, float(density.max()))
        x = np.linspace(-5, 5, 401)
        axis.plot(x, np.exp(-x * x / 2) / np.sqrt(2 * np.pi), color=INK, label="$N(0, 1)$")
        axis.set(xlim=(-5, 5), ylim=(0, 1.05 * top), ylabel="density")
        axis.set_xlabel("$z$ = (measured − predicted) / error")
        legend_below(figure, [axis])
    caption = (
        "Deviation of every comparison in standard errors; what lies beyond ±5 is in the outermost bins. Layers and "
        "observables of one network are correlated, so the histogram may by chance be shifted or rougher than the "
        "curve: it is for the eye; the verdict uses the whitened chi-square."
    )
    return Drawing("scores", figure, "Deviations from theory in standard errors", caption)
