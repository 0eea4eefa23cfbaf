"""Figures of a judged dataset, as SVG text: no window, no state outside the figure."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from analysis.compare import Judged
from analysis.predictions import OBSERVABLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito 2008: told apart by the colour-blind and in print.
INK = "#222222"
COLOURS = {"q": "#0072B2", "q_hat": "#009E73", "c": "#D55E00", "q_tilde": "#CC79A7"}
OTHER = "#E69F00"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.constrained_layout.use": True,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",
}
SHOWN_WIDTHS = 4


class Drawing(NamedTuple):
    """A figure with what it shows, in words."""

    figure: Figure
    title: str
    caption: str


def svg(figure: Figure, salt: str) -> str:
    """SVG text of a figure, without an XML header; ``salt`` keeps the ids of several figures in one page apart."""
    text = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": salt}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def depth_curves(judged: Judged) -> Drawing | None:
    """Lengths and correlation against depth at several widths, and their 1/M coefficients."""
    names = [name for name in ("q", "c") if any(column.observable == name for column in judged.columns)]
    names = names or sorted({column.observable for column in judged.columns})[:1]
    if not names:
        return None
    order = list(range(len(judged.family.settings)))
    some = [order[round(i)] for i in np.linspace(0, len(order) - 1, min(SHOWN_WIDTHS, len(order)))]
    colours = colormaps["viridis"](np.linspace(0.0, 0.85, len(some)))
    with rc_context(STYLE):
        figure = Figure(figsize=(3.7 * len(names), 5.2))
        axes = figure.subplots(2, len(names), squeeze=False, sharex="col")
        for name, (top, bottom) in zip(names, axes.T, strict=True):
            _curve_panel(top, judged, name, some, colours)
            _shift_panel(bottom, judged, name, some, colours)
            bottom.set_xlabel("layer $l$")
            bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0, 0].legend(loc="best")
        axes[1, 0].legend(loc="best")
    caption = (
        "Top: mean over networks (dots, with standard errors mostly smaller than the dots) at several widths M; "
        "solid black: mean-field limit, M → ∞; thin lines: limit + a₁/M. Bottom: M times the distance of the mean from the "
        "limit, which tends to the coefficient a₁ (black line) as M grows; black squares: a₁ fitted over all widths. What "
        "is left between dots and line at the smaller widths is of order 1/M."
    )
    return Drawing(figure, f"Signal against depth: {describe(judged)}", caption)


def _series(judged: Judged, name: str) -> tuple[np.ndarray[Any, Any], list[int]]:
    """Layers and columns of the first input or pair of an observable."""
    first = next(column.inputs for column in judged.columns if column.observable == name)
    at = [j for j, c in enumerate(judged.columns) if c.observable == name and c.inputs == first and c.layer > 0]
    return np.array([judged.columns[j].layer for j in at]), at


def _curve_panel(axis: Axes, judged: Judged, name: str, some: Sequence[int], colours: Any) -> None:
    layers, at = _series(judged, name)
    symbol = OBSERVABLES[name].symbol
    limit = judged.predicted.limit[at]
    if np.isfinite(limit).any():
        axis.plot(layers, limit, color=INK, zorder=1, label=r"$M\to\infty$")
    shifts = judged.predicted.a1[at]
    for i, colour in zip(some, colours, strict=True):
        width, m = judged.family.settings[i].width, judged.moments[i]
        if np.isfinite(shifts).any():
            axis.plot(layers, limit + shifts / width, color=colour, lw=0.9, zorder=2)
        axis.errorbar(
            layers, m.mean[at], m.mean_error[at], fmt="o", ms=3.2, color=colour, lw=1, zorder=3, label=f"$M={width}$"
        )
    axis.set_ylabel(f"${symbol}^l$")
    kind = "correlation of the pre-activations" if name == "c" else "squared length per unit"
    axis.set_title(f"${symbol}^l$: {kind}")


def _shift_panel(axis: Axes, judged: Judged, name: str, some: Sequence[int], colours: Any) -> None:
    layers, at = _series(judged, name)
    symbol = OBSERVABLES[name].symbol
    limit, a1 = judged.predicted.limit[at], judged.predicted.a1[at]
    axis.axhline(0, color="#BBBBBB", lw=0.8, zorder=0)
    nudge = np.linspace(-0.2, 0.2, len(some)) * max(1.0, layers[-1] / 12)
    for i, colour, dx in zip(some, colours, nudge, strict=True):
        width, m = judged.family.settings[i].width, judged.moments[i]
        axis.errorbar(
            layers + dx,
            width * (m.mean[at] - limit),
            width * m.mean_error[at],
            fmt="o",
            ms=2.6,
            color=colour,
            alpha=0.65,
            lw=0.8,
            zorder=2,
        )
    if np.isfinite(a1).any():
        axis.plot(layers, a1, color=INK, zorder=3, label="$a_1$, theory")
    fitted = [
        row
        for row in judged.comparisons
        if row["statistic"] == "a1" and row["observable"] == name and _same_place(row, judged, at[0])
    ]
    if fitted:
        axis.errorbar(
            [row["layer"] for row in fitted],
            [row["measured"] for row in fitted],
            [row["error"] for row in fitted],
            fmt="s",
            ms=4,
            mfc="white",
            color=INK,
            lw=1,
            zorder=4,
            label="$a_1$, fitted",
        )
    axis.set_ylabel(rf"$M\,(\langle {symbol}^l\rangle - {symbol}^l_\infty)$")


def _same_place(row: dict[str, Any], judged: Judged, j: int) -> bool:
    place = judged.columns[j].place
    return all(row.get(key) == value for key, value in place.items() if key != "layer")


def coefficients(families: Sequence[Judged]) -> Drawing | None:
    """Fitted against predicted coefficients a1 and v1 of all families, in natural units."""
    rows: dict[str, list[tuple[str, float, float, float]]] = {"a1": [], "v1": []}
    for judged in families:
        size = {
            (column.observable, column.inputs, column.layer): OBSERVABLES[column.observable].natural_scale(limit)
            for column, limit in zip(judged.columns, judged.predicted.limit, strict=True)
        }
        for row in judged.comparisons:
            if row["statistic"] not in rows or not np.isfinite(row["z"]):
                continue
            inputs = tuple(row["pair"]) if "pair" in row else (row["input"],)
            unit = float(size[row["observable"], inputs, row["layer"]]) ** (1 if row["statistic"] == "a1" else 2)
            rows[row["statistic"]].append(
                (row["observable"], row["predicted"] / unit, row["measured"] / unit, row["error"] / unit)
            )
    if not rows["a1"] and not rows["v1"]:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 3.7))
        left, right = figure.subplots(1, 2)
        _diagonal(left, rows["a1"], "$a_1$ in units of the natural scale", log=False)
        _diagonal(right, rows["v1"], "$v_1$ in units of the natural scale squared", log=True)
        handles, labels = left.get_legend_handles_labels()
        if not handles:
            handles, labels = right.get_legend_handles_labels()
        left.legend(handles, labels, loc="upper left")
    caption = (
        "Coefficients of 1/M fitted over the widths (standard errors include the neglected orders) against theory: left the "
        "shift of the mean, right the variance. On the diagonal they agree. Natural scale: the length itself, or 1 − |c| "
        "for a correlation. First order in 1/M; the fits keep the next orders."
    )
    return Drawing(figure, "Fitted against predicted 1/M coefficients", caption)


def _diagonal(axis: Axes, rows: Sequence[tuple[str, float, float, float]], title: str, log: bool) -> None:
    for name in OBSERVABLES:
        mine = np.array([row[1:] for row in rows if row[0] == name])
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
    both = np.array([row[1:3] for row in rows])
    if both.size:
        ends = np.array([both.min(), both.max()])
        if log:
            axis.set_xscale("log")
            axis.set_yscale("log")
            both = both[(both > 0).all(1)]
            ends = np.array([both.min() / 1.3, both.max() * 1.3]) if both.size else np.array([0.1, 1.0])
        axis.plot(ends, ends, color=INK, lw=0.9, zorder=0)
    axis.set_title(title)
    axis.set_xlabel("theory")
    axis.set_ylabel("measured")


def score_histogram(families: Sequence[Judged]) -> Drawing | None:
    """Deviations in standard errors against the standard normal law."""
    kinds = {"coefficients ($a_1$, $v_1$, limits)": ("a1", "v1", "limit"), "single widths": ("mean", "variance")}
    scores = {
        label: np.array(
            [
                row["z"]
                for judged in families
                for row in judged.comparisons
                if row["statistic"] in statistics and np.isfinite(row["z"])
            ]
        )
        for label, statistics in kinds.items()
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
        "Deviation of every comparison in standard errors; what lies beyond ±5 is in the outermost bins. Rows of one network "
        "are correlated, so the histogram may be rougher or narrower than the curve by chance: it is for the eye, and the "
        "verdict uses the whitened chi-square."
    )
    return Drawing(figure, "Deviations from theory in standard errors", caption)


def describe(judged: Judged) -> str:
    """The law of a family in a few words."""
    law = judged.family.first.law
    inputs = f"q₀ = {law['q0']:g}" if law.get("q0") is not None else f"{law['inputs']} inputs"
    if law.get("c0") is not None and law["inputs"] > 1:
        inputs += f", c₀ = {law['c0']:g}"
    return (
        f"{law['activation']}, {law['weights']} weights, σ_w² = {law['sigma_w2']:.4g}, "
        f"σ_b² = {law['sigma_b2']:.4g}, {inputs}"
    )


def drawings(families: Sequence[Judged], curves: int = 6) -> Iterable[Drawing]:
    """All figures a dataset gives rise to; depth curves of the first few families."""
    candidates = [
        *(depth_curves(judged) for judged in families[:curves]),
        coefficients(families),
        score_histogram(families),
    ]
    return [drawing for drawing in candidates if drawing is not None]
