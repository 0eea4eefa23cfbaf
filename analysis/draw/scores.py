"""Figures of measured against predicted: coefficients, and deviations in standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from mcnet_analysis.draw.style import COLOURS, INK, OTHER, STYLE, Drawing, legend
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.table import natural_scales
from mcnet_analysis.predict.catalog import OBSERVABLES
from mcnet_analysis.study import column_of
from scipy import stats

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def coefficients(families: Sequence[Judged]) -> Drawing | None:
    """Fitted against predicted coefficients a1 and v1 of all families, in natural units."""
    rows: dict[str, list[_Coefficient]] = {"a1": [], "v1": []}
    for judged in families:
        scales = natural_scales(judged.columns, judged.predicted.limit).tolist()
        size = dict(zip(judged.columns, scales, strict=True))
        for row in judged.comparisons:
            if row["statistic"] in rows and np.isfinite(row["z"]):
                unit = size[column_of(row)] ** (1 if row["statistic"] == "a1" else 2)
                numbers = (row[key] / unit for key in ("predicted", "measured", "error"))
                rows[row["statistic"]].append(_Coefficient(row["observable"], *numbers))
    if not rows["a1"] and not rows["v1"]:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.7))
        left, right = figure.subplots(1, 2)
        hidden = _diagonal(left, rows["a1"], log=False) + _diagonal(right, rows["v1"], log=True)
        if hidden == len(rows["a1"]) + len(rows["v1"]):
            return None
        left.set_title("shift of the mean, $a_1$ / natural scale")
        right.set_title("variance, $v_1$ / natural scale²")
        legend(left if left.get_legend_handles_labels()[0] else right, loc="upper left")
    caption = (
        "Coefficients of 1/M fitted over the widths, with standard errors that include the neglected orders, against "
        "theory: on the diagonal they agree. Natural scale: the length itself, or 1 − |c| for a correlation. Theory to "
        "first order in 1/M; the fits keep the next orders."
    )
    if hidden:
        caption += f" Not drawn: {hidden} coefficients whose error exceeds a quarter of the range of the predictions."
    return Drawing(figure, "Fitted against predicted 1/M coefficients", caption)


class _Coefficient(NamedTuple):
    observable: str
    predicted: float
    measured: float
    error: float


def _diagonal(axis: Axes, rows: Sequence[_Coefficient], log: bool) -> int:
    """Measured against predicted, with the diagonal; how many points are too uncertain to be drawn."""
    axis.set_xlabel("theory")
    axis.set_ylabel("measured")
    if not rows:
        axis.text(0.5, 0.5, "nothing to compare", ha="center", transform=axis.transAxes, color="#777777")
        return 0
    predicted = np.array([row.predicted for row in rows])
    if log:
        axis.set_xscale("log")
        axis.set_yscale("log")
        drawn = [row for row in rows if row.predicted > 0 and row.measured > row.error]
    else:
        reach = max(np.ptp(predicted), 0.1 * np.abs(predicted).max(initial=0.0), 1e-6)
        drawn = [row for row in rows if row.error < 0.25 * reach]
    for name in OBSERVABLES:
        mine = np.array([row[1:] for row in drawn if row.observable == name])
        if mine.size:
            axis.errorbar(
                mine[:, 0],
                mine[:, 1],
                mine[:, 2],
                fmt="o",
                ms=3,
                lw=0.8,
                alpha=0.7,
                color=COLOURS.get(name, OTHER),
                label=f"${OBSERVABLES[name].symbol}$",
            )
    theory = [row.predicted for row in drawn or rows]
    ends = np.array([min(theory), max(theory)])
    axis.plot(ends, ends, color=INK, lw=0.9, zorder=0)
    return len(rows) - len(drawn)


def score_histogram(families: Sequence[Judged]) -> Drawing | None:
    """Deviations in standard errors against the standard normal law."""
    rows = [row for judged in families for row in judged.comparisons if np.isfinite(row["z"])]
    fitted = [row["statistic"] in ("a1", "v1", "limit") or "width" not in row["point"] for row in rows]
    scores = {
        label: np.array([row["z"] for row, here in zip(rows, fitted, strict=True) if here is kind])
        for label, kind in (("coefficients ($a_1$, $v_1$, limits)", True), ("single widths", False))
    }
    every = np.concatenate(list(scores.values()))
    if every.size < 2:
        return None
    edges = np.arange(-5.0, 5.01, 0.5 if every.size < 2000 else 0.25)
    with rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.2))
        axis = figure.subplots()
        for (label, z), colour in zip(scores.items(), ("#0072B2", "#E69F00"), strict=True):
            if z.size:
                counts, _ = np.histogram(np.clip(z, -4.999, 4.999), edges)
                axis.stairs(counts / z.size / np.diff(edges), edges, color=colour, fill=True, alpha=0.28, lw=0)
                axis.stairs(counts / z.size / np.diff(edges), edges, color=colour, lw=1.3, label=f"{label}: {z.size}")
        x = np.linspace(-5, 5, 401)
        axis.plot(x, stats.norm.pdf(x), color=INK, label="$N(0, 1)$")
        axis.set_xlim(-5, 5)
        axis.set_xlabel("$z$ = (measured − predicted) / error")
        axis.set_ylabel("density")
        axis.legend(loc="upper left")
        top = axis.get_ylim()[1]
        axis.set_ylim(0, max(top, 0.4) * 1.25)
    caption = (
        "Deviation of every comparison in standard errors; what lies beyond ±5 is in the outermost bins. Layers and "
        "observables of one network are correlated, so the histogram may by chance be shifted or rougher than the "
        "curve: it is for the eye; the verdict uses the whitened chi-square."
    )
    return Drawing(figure, "Deviations from theory in standard errors", caption)
