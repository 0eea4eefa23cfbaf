"""Figures against depth: lengths, correlations, gradients, and their 1/M coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mcnet_analysis.draw.style import INK, STYLE, Drawing, describe, legend
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.predict.catalog import OBSERVABLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN_WIDTHS = 4
SHOWN_FAMILIES = 8


def depth_curves(judged: Judged) -> Drawing | None:
    """Lengths and correlation against depth at several widths, and their 1/M coefficients."""
    names = [name for name in ("q", "c") if any(column.observable == name for column in judged.columns)]
    names = names or sorted({column.observable for column in judged.columns if column.layer is not None})[:1]
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
        legend(axes[0, 0], loc="best")
        legend(axes[1, 0], loc="best")
    caption = (
        "Top: mean over networks (dots; the standard errors are mostly smaller) at several widths M; black: mean-field "
        "limit, M → ∞; thin lines: limit + a₁/M. Bottom: M times the distance of the mean from the limit, which tends "
        "to the coefficient a₁ (black line) as M grows; black squares: a₁ fitted over all widths, its error including "
        "the neglected orders. What is left between dots and line at the smaller widths is of order 1/M."
    )
    return Drawing(figure, f"Signal against depth: {describe(judged)}", caption)


def _series(judged: Judged, name: str) -> tuple[np.ndarray[Any, Any], list[int]]:
    """Layers and columns of the first input or pair of an observable."""
    first = next(column.inputs for column in judged.columns if column.observable == name)
    at = [j for j, c in enumerate(judged.columns) if c.observable == name and c.inputs == first and c.layer]
    return np.array([judged.columns[j].layer for j in at]), at


def _curve_panel(axis: Axes, judged: Judged, name: str, some: Sequence[int], colours: Any) -> None:
    layers, at = _series(judged, name)
    symbol = OBSERVABLES[name].symbol
    limit = judged.predicted.limit[at]
    if np.isfinite(limit).any():
        axis.plot(layers, limit, color=INK, zorder=1, label=r"$M\to\infty$")
    for i, colour in zip(some, colours, strict=True):
        width, m, theory = judged.family.settings[i].width, judged.moments[i], judged.predictions[i]
        if np.isfinite(theory.a1[at]).any():
            axis.plot(layers, theory.limit[at] + theory.a1[at] / width, color=colour, lw=0.9, zorder=2)
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
            width * (m.mean[at] - judged.predictions[i].limit[at]),
            width * m.mean_error[at],
            fmt="o",
            ms=2.6,
            color=colour,
            alpha=0.65,
            lw=0.8,
            zorder=2,
        )
    if not np.isfinite(limit).any():
        axis.text(0.5, 0.5, "no prediction", ha="center", transform=axis.transAxes, color="#777777")
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


def gradient_norms(families: Sequence[Judged]) -> Drawing | None:
    """Squared length of the back-propagated error against depth at the largest width of each family."""
    some = [judged for judged in families if any(column.observable == "q_tilde" for column in judged.columns)]
    if not some:
        return None
    chosen = [some[round(i)] for i in np.linspace(0, len(some) - 1, min(SHOWN_FAMILIES, len(some)))]
    colours = colormaps["viridis"](np.linspace(0.0, 0.88, len(chosen)))
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 3.9))
        axis = figure.subplots()
        for judged, colour in zip(chosen, colours, strict=True):
            layers, at = _series(judged, "q_tilde")
            m = judged.moments[-1]
            axis.plot(layers, judged.predicted.limit[at], color=colour, lw=1.2)
            gaussian = judged.family.first.law["weights"] == "gaussian"
            axis.errorbar(
                layers,
                m.mean[at],
                m.mean_error[at],
                fmt="o" if gaussian else "D",
                ms=3.2 if gaussian else 5.0,
                mfc=colour if gaussian else "none",
                color=colour,
                lw=1,
                label=_short(judged),
            )
        axis.set_yscale("log")
        axis.set_xlabel("layer $l$")
        axis.set_ylabel(r"$\langle \tilde q^{\,l} \rangle$")
        axis.set_title(r"$\tilde q^{\,l}$: squared length of the back-propagated error")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption = (
        "Mean over networks at the largest width of each family (dots, standard errors) and mean-field limit (lines). "
        "In the limit each layer multiplies by σ_w² E φ′², at the fixed point by χ₁: gradients vanish below χ₁ = 1 and "
        "explode above. Deviations of order depth/M are expected."
    )
    return Drawing(figure, "Gradients against depth", caption)


def _short(judged: Judged) -> str:
    law = judged.family.first.law
    width = judged.family.settings[-1].width
    return (
        f"{law['activation']}, {law['weights']}\n$\\sigma_w^2={law['sigma_w2']:.3g}$, "
        f"$\\sigma_b^2={law['sigma_b2']:.3g}$, $M={width}$"
    )
