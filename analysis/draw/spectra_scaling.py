"""Figures of spectra against the width and over the plane of the variances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from mcnet_analysis.draw.map import line_of
from mcnet_analysis.draw.style import INK, STYLE, Drawing
from mcnet_analysis.judge.spectra import ROUNDING, FamilySpectra
from mcnet_analysis.judge.table import Row
from mcnet_analysis.statistics.estimate import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = 10
PLANE = 4  # distinct values of both variances that make a map


def distances(found: Sequence[FamilySpectra]) -> Drawing | None:
    """W1 of one network and of all networks together against the width."""
    shown = [
        each for each in found if len(each.points) >= 2 and each.one_law and all("w1" in p.row for p in each.points)
    ]
    if not shown:
        return None
    every, shown = len(shown), _some(shown)
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.0 + 0.17 * len(shown)))
        axes = figure.subplots(1, 2, sharey=True)
        lowest = np.inf
        for colour, each in zip(_colours(found, shown), shown, strict=True):
            widths = each.family.widths
            for axis, value, error, rate in (
                (axes[0], "mean", "error", "w1"),
                (axes[1], "pooled", "pooled_error", "w1_pooled"),
            ):
                y = np.array([point.row["w1"][value] for point in each.points])
                lowest = min(lowest, float(y.min()))
                s = np.array([point.row["w1"][error] for point in each.points])
                label = _label(each, each.rates.get(rate))
                axis.errorbar(widths, y, s, fmt="o-", ms=3.5, lw=1, color=colour, label=label)
        for axis, title in zip(axes, ("each network", "all networks together"), strict=True):
            _loglog(axis, [each.family.widths for each in shown])
            axis.set_title(title)
        axes[0].set_ylabel("$W_1$ / mean of the law")
        axes[0].set_ylim(bottom=lowest / 2)
        _guides(axes[0], shown)
        for axis in axes:
            axis.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), fontsize=7)
    caption = (
        "W₁ distance between eigenvalues and the predicted law, over the mean of the law; in brackets the fitted "
        "power of the width. A single network: −1 if only the matrices are random (linear), −1/2 if the slopes φ′ "
        "are, because then the law itself moves from network to network. All networks together: the bias, of order "
        "1/M, and the sampling noise. Grey: slopes −1 and −1/2."
    ) + _selection(len(shown), every)
    return Drawing(figure, "Distance from the law against the width", caption)


def edges(found: Sequence[FamilySpectra]) -> Drawing | None:
    """Mean and spread of the largest eigenvalue against the width, with the limit and the fluctuation exponent."""
    shown = [
        each for each in found if len(each.points) >= 2 and each.one_law and all(_has_edge(p.row) for p in each.points)
    ]
    if not shown:
        return None
    every, shown = len(shown), _some(shown)
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.0 + 0.17 * len(shown)))
        left, right = figure.subplots(1, 2)
        for colour, each in zip(_colours(found, shown), shown, strict=True):
            widths = each.family.widths
            rows = [point.row["lambda_max"] for point in each.points]
            limit = rows[-1]["limit"]
            mean, error, spread, spread_error = (
                np.array([row[name] for row in rows]) for name in ("mean", "error", "deviation", "deviation_error")
            )
            left.errorbar(
                widths, mean / limit, error / limit, fmt="o", ms=3.5, lw=1, color=colour, label=_label(each, None)
            )
            rate = each.rates.get("lambda_max_deviation")
            right.errorbar(
                widths,
                spread / limit,
                spread_error / limit,
                fmt="o",
                ms=3.5,
                lw=1,
                color=colour,
                label=_label(each, rate),
            )
            if all("predicted_mean" in row for row in rows):
                left.plot(widths, [row["predicted_mean"] / limit for row in rows], color=colour, lw=1)
                right.plot(widths, [row["predicted_deviation"] / limit for row in rows], color=colour, lw=1)
            elif rate is not None:
                right.plot(widths, rate["prefactor"] * widths ** rate["exponent"] / limit, color=colour, lw=0.8, ls=":")
        left.axhline(1.0, color=INK, lw=1)
        left.set_xscale("log")
        _width_ticks(left, [each.family.widths for each in shown])
        _loglog(right, [each.family.widths for each in shown])
        left.set_ylabel(r"mean of $\lambda_{\max}$ / limit $\lambda_+$")
        right.set_ylabel(r"standard deviation / $\lambda_+$")
        for axis in (left, right):
            axis.set_xlabel("width $M$")
            axis.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), fontsize=7)
    caption = (
        "Left: mean of the largest eigenvalue over its limit, the upper edge of the law (black line). Right: its "
        "spread over networks, in brackets the fitted power of the width. Full lines: Tracy-Widom law of linear "
        "networks, shift and spread of order M^(−2/3); dotted: the fitted power. With random slopes φ′ the edge "
        "itself moves by M^(−1/2)."
    ) + _selection(len(shown), every)
    return Drawing(figure, "Largest eigenvalue against the width", caption)


def plane(found: Sequence[FamilySpectra]) -> list[Drawing]:
    """Mean and relative variance of the spectrum over the plane of the variances, for each law that is swept so."""
    groups: dict[str, list[FamilySpectra]] = {}
    for each in found:
        law = {k: v for k, v in each.family.first.law.items() if k not in ("sigma_w2", "sigma_b2", "q0")}
        if each.kind.name == "jacobian":
            groups.setdefault(repr(law), []).append(each)
    drawings = []
    for group in groups.values():
        variances = [{each.family.first.law[name] for each in group} for name in ("sigma_w2", "sigma_b2")]
        if min(map(len, variances)) >= PLANE:
            drawings.append(_plane(group))
    return drawings


def _plane(group: Sequence[FamilySpectra]) -> Drawing:
    x = np.unique([each.family.first.law["sigma_w2"] for each in group])
    y = np.unique([each.family.first.law["sigma_b2"] for each in group])
    maps = np.full((2, y.size, x.size), np.nan)
    for each in group:
        law = each.family.first.law
        moments = each.points[-1].moments
        if moments is not None:
            first, second = moments[:, 0].mean(), moments[:, 1].mean()
            at = np.searchsorted(y, law["sigma_b2"]), np.searchsorted(x, law["sigma_w2"])
            maps[:, *at] = first, second / first**2 - 1
    first_law = group[0].family.first
    fine = np.linspace(y[0], y[-1], 60)
    line = line_of(first_law, fine)
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.4))
        axes = figure.subplots(1, 2, sharey=True)
        titles = (r"mean $\mu_1$", r"relative variance $\mu_2/\mu_1^2 - 1$")
        for axis, values, title in zip(axes, maps, titles, strict=True):
            positive = np.where(values > 0, values, np.nan)
            colours = axis.pcolormesh(
                x,
                y,
                positive,
                shading="nearest",
                cmap="cividis",
                norm=LogNorm(np.nanmin(positive), np.nanmax(positive)),
            )
            figure.colorbar(colours, ax=axis)
            where = axis.get_xlim(), axis.get_ylim()
            axis.plot(line, fine, color="white", lw=2)
            axis.set_xlim(where[0])
            axis.set_ylim(where[1])
            axis.set_title(title)
            axis.set_xlabel(r"weight variance $\sigma_w^2$")
        axes[0].set_ylabel(r"bias variance $\sigma_b^2$")
    law = first_law.law
    caption = (
        f"Measured over networks of width {group[0].points[-1].setting.width}, depth {law['depth']}, logarithmic "
        "colours. White line: critical line χ₁ = 1, where the mean is 1 at infinite width; to the right gradients "
        "explode, to the left they vanish."
    )
    return Drawing(figure, f"Spectrum of the Jacobian: {law['activation']}, {law['weights']} weights", caption)


def _has_edge(row: Row) -> bool:
    top = row.get("lambda_max", {})
    return top.get("limit") is not None and top["deviation"] > ROUNDING * top["limit"]


def _some(shown: Sequence[FamilySpectra]) -> list[FamilySpectra]:
    return [shown[round(i)] for i in np.linspace(0, len(shown) - 1, min(CURVES, len(shown)))]


def _selection(shown: int, every: int) -> str:
    return f" {shown} of {every} laws are drawn." if shown < every else ""


def _colours(found: Sequence[FamilySpectra], shown: Sequence[FamilySpectra]) -> Floats:
    """The colour of each law: by its place among all, so that it is the same in every figure."""
    places = [next(i for i, other in enumerate(found) if other is each) for each in shown]
    return np.asarray(colormaps["turbo"](0.05 + 0.9 * np.array(places) / max(1, len(found) - 1)))


def _label(each: FamilySpectra, rate: Row | None) -> str:
    law = each.family.first.law
    text = f"{law['activation']}, {law['weights']}, depth {law['depth']}"
    return text if rate is None else f"{text} ({rate['exponent']:.2f} ± {rate['error']:.2f})"


def _guides(axis: Axes, shown: Sequence[FamilySpectra]) -> None:
    widths = np.array([min(e.family.widths[0] for e in shown), max(e.family.widths[-1] for e in shown)])
    start = max(each.points[0].row["w1"]["mean"] for each in shown) * 1.25
    for power in (-1.0, -0.5):
        axis.plot(widths, start * (widths / widths[0]) ** power, color="#AAAAAA", lw=1, ls="--", zorder=0)


def _loglog(axis: Axes, widths: Sequence[Floats]) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("width $M$")
    _width_ticks(axis, widths)


def _width_ticks(axis: Axes, widths: Sequence[Floats]) -> None:
    every = sorted({int(width) for each in widths for width in each})
    if len(every) <= 8:
        axis.set_xticks(every, [str(width) for width in every])
        axis.xaxis.set_minor_formatter(NullFormatter())
