"""Figures of spectra against the width and over the plane of the variances: small multiples, a panel for each law."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LogNorm
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.map import draw_critical_line, raster
from mcnet_analysis.draw.spectra import name
from mcnet_analysis.draw.style import (
    FULL,
    INK,
    SOFT,
    STYLE,
    Drawing,
    Look,
    canvas,
    folded,
    legend_below,
    ordered,
    plain_log,
    selection,
    some,
    width_axis,
)
from mcnet_analysis.judge.spectra import ROUNDING, FamilySpectra
from mcnet_analysis.judge.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 4  # laws side by side
DEPTHS = 5
PLANE = 4  # distinct values of both variances that make a map
_DEPTH = frozenset({"depth", "q0", "sigma_w2"})  # the critical variance of orthogonal and Gaussian weights is the same


def distances(found: Sequence[FamilySpectra]) -> Drawing | None:
    """W1 of one network and of all networks together against the width."""
    known = [
        each for each in found if len(each.points) >= 2 and each.one_law and all("w1" in p.row for p in each.points)
    ]

    def draw(top: Axes, bottom: Axes, each: FamilySpectra, look: Look, label: str) -> None:
        for axis, value, error in ((top, "mean", "error"), (bottom, "pooled", "pooled_error")):
            y = np.array([point.row["w1"][value] for point in each.points])
            s = np.array([point.row["w1"][error] for point in each.points])
            axis.errorbar(each.family.widths, y, s, fmt=look.marker + "-", lw=1, color=look.colour, label=label)

    rows = _Rows("each network", "all together", r"$W_1$ / mean of the law")
    figure, shown, rates = _multiples(known, draw, rows, "w1")
    if figure is None:
        return None
    caption = (
        "W₁ distance between eigenvalues and the predicted law, over the mean of the law. Above, single networks: it "
        "falls like M⁻¹ (dashed) if only the matrices are random (linear), like M^(−1/2) (dotted) if the slopes φ′ "
        "are, because then the law itself moves from network to network. Below, all networks together: the bias, of "
        f"order 1/M, and the sampling noise.{rates}"
    ) + selection(shown, len(known), "laws")
    return Drawing(f"distance-{known[0].kind.name}", figure, f"Distance of the {name(known[0])} from its law", caption)


def edges(found: Sequence[FamilySpectra]) -> Drawing | None:
    """Mean and spread of the largest eigenvalue against the width, with the limit and the fluctuation exponent."""
    known = [
        each for each in found if len(each.points) >= 2 and each.one_law and all(_has_edge(p.row) for p in each.points)
    ]

    def draw(top: Axes, bottom: Axes, each: FamilySpectra, look: Look, label: str) -> None:
        widths = each.family.widths
        rows = [point.row["lambda_max"] for point in each.points]
        limit = rows[-1]["limit"]
        mean, error, spread, spread_error = (
            np.array([row[part] for row in rows]) / limit for part in ("mean", "error", "deviation", "deviation_error")
        )
        top.errorbar(widths, mean, error, fmt=look.marker, lw=1, color=look.colour, label=label)
        bottom.errorbar(widths, spread, spread_error, fmt=look.marker, lw=1, color=look.colour, label=label)
        rate = each.rates.get("lambda_max_deviation")
        if all("predicted_mean" in row for row in rows):
            for axis, part in ((top, "predicted_mean"), (bottom, "predicted_deviation")):
                theory = [row[part] / limit for row in rows]
                axis.plot(widths, theory, color=INK, lw=1, zorder=1, label="Tracy–Widom")
        elif rate is not None:
            fitted = rate["prefactor"] * widths ** rate["exponent"] / limit
            bottom.plot(widths, fitted, color=look.colour, lw=0.8, ls=":")

    rows = _Rows(r"mean / limit $\lambda_+$", "spread / limit", "", logarithmic=(False, True), line=1.0)
    figure, shown, rates = _multiples(known, draw, rows, "lambda_max_deviation")
    if figure is None:
        return None
    caption = (
        "Above: mean of the largest eigenvalue over its limit, the upper edge of the law (grey line). Below: its "
        "spread over networks. Black lines: Tracy-Widom law of linear networks, shift and spread of order M^(−2/3); "
        f"dotted: the fitted power. With random slopes φ′ the edge itself moves by M^(−1/2).{rates}"
    ) + selection(shown, len(known), "laws")
    return Drawing(f"edge-{known[0].kind.name}", figure, f"Largest eigenvalue of the {name(known[0])}", caption)


class _Rows(NamedTuple):
    """What the two rows of panels show."""

    above: str
    below: str
    quantity: str
    logarithmic: tuple[bool, bool] = (True, True)
    line: float | None = None


def _multiples(
    known: Sequence[FamilySpectra],
    draw: Callable[[Axes, Axes, FamilySpectra, Look, str], None],
    rows: _Rows,
    rate: str,
) -> tuple[Figure | None, int, str]:
    """Two rows of panels: a column for each law, depths in one hue. The figure, how many families, fitted powers."""
    if not known:
        return None, 0, ""
    every = laws.groups(known, _DEPTH)
    groups = some(every, PANELS)
    depths = some(sorted({each.family.first.depth for group in groups for each in group}), DEPTHS)
    looks = dict(zip(depths, ordered(len(depths)), strict=True))
    titles = laws.labels([group[0] for group in groups], _DEPTH)
    shown = 0
    powers: list[str] = []
    with rc_context(STYLE):
        figure = canvas(FULL if len(groups) > 1 else 0.62 * FULL, 5.0)
        axes = figure.subplots(2, len(groups), squeeze=False, sharex="col", sharey="row")
        for column, (group, title) in enumerate(zip(groups, titles, strict=True)):
            top, bottom = axes[:, column]
            for each in sorted(group, key=lambda each: each.family.first.depth):
                depth = each.family.first.depth
                if depth not in looks:
                    continue
                shown += 1
                draw(top, bottom, each, looks[depth], f"depth {depth}")
                if rate in each.rates:
                    found = each.rates[rate]
                    powers.append(f"{title}, depth {depth}: {found['exponent']:.2f} ± {found['error']:.2f}")
            for axis in (top, bottom):
                width_axis(axis, np.concatenate([each.family.widths for each in group]).tolist())
            if rows.line is not None:
                top.axhline(rows.line, color=SOFT, lw=1, zorder=0)
            top.set_xlabel("")
            top.set_title(folded(title, 20))
        if rows.line is None:
            _guides(axes[0], groups)
        for axis, logarithmic in zip(axes[:, 0], rows.logarithmic, strict=True):
            if logarithmic:
                plain_log(axis)
        for axis, word in zip(axes[:, 0], (rows.above, rows.below), strict=True):
            axis.set_ylabel(f"{rows.quantity}\n{word}" if rows.quantity else word)
        legend_below(figure, axes.flat)
    told = f" Fitted powers of the width: {'; '.join(powers)}." if powers else ""
    return figure, shown, told.replace("$M$", "M")


def _guides(axes: Sequence[Axes], groups: Sequence[Sequence[FamilySpectra]]) -> None:
    """Powers -1 and -1/2 through the largest distance of each panel."""
    for axis, group in zip(axes, groups, strict=True):
        widths = np.unique(np.concatenate([each.family.widths for each in group]))
        start = max(each.points[0].row["w1"]["mean"] for each in group) * 1.3
        for power, dash, label in ((-1.0, "--", "$M^{-1}$"), (-0.5, ":", "$M^{-1/2}$")):
            axis.plot(widths, start * (widths / widths[0]) ** power, color=SOFT, lw=1, ls=dash, zorder=0, label=label)


def plane(found: Sequence[FamilySpectra]) -> list[Drawing]:
    """Mean and relative variance of the spectrum over the plane of the variances, for each law that is swept so."""
    jacobians = [each for each in found if each.kind.name == "jacobian"]
    swept = []
    for group in laws.groups(jacobians, laws.VARIANCES):
        variances = [{each.family.first.law[name] for each in group} for name in ("sigma_w2", "sigma_b2")]
        if min(map(len, variances)) >= PLANE and any(each.points[-1].moments is not None for each in group):
            swept.append(group)
    return [_plane(group, f"spectrum-map-{number}") for number, group in enumerate(swept, 1)]


def _plane(group: Sequence[FamilySpectra], file: str) -> Drawing:
    places = []
    for each in group:
        law, moments = each.family.first.law, each.points[-1].moments
        if moments is not None:
            first, second = moments[:, 0].mean(), moments[:, 1].mean()
            places.append((law["sigma_w2"], law["sigma_b2"], first, second / first**2 - 1))
    law = group[0].family.first.law
    with rc_context(STYLE):
        figure = canvas(FULL, 3.3)
        axes = figure.subplots(1, 2, sharey=True)
        titles = (r"mean $\mu_1$", r"relative variance $\mu_2/\mu_1^2 - 1$")
        for k, (axis, title) in enumerate(zip(axes, titles, strict=True)):
            x, y, values = raster([(place[0], place[1], place[2 + k]) for place in places])
            positive = np.where(values > 0, values, np.nan)
            norm = LogNorm(np.nanmin(positive), np.nanmax(positive))
            colours = axis.pcolormesh(x, y, positive, cmap="cividis", norm=norm)
            plain_log(figure.colorbar(colours, ax=axis).ax)
            draw_critical_line(axis, group[0].family.first.activation, y)
            axis.set_title(title)
            axis.set_xlabel(r"weight variance $\sigma_w^2$")
        axes[0].set_ylabel(r"bias variance $\sigma_b^2$")
    caption = (
        f"Measured over networks of width {group[0].points[-1].setting.width}, depth {law['depth']}, logarithmic "
        "colours. White line: critical line χ₁ = 1, where the mean is 1 at infinite width; to the right gradients "
        "explode, to the left they vanish."
    )
    return Drawing(file, figure, f"Spectrum of the Jacobian: {law['activation']}, {law['weights']} weights", caption)


def _has_edge(row: Row) -> bool:
    top = row.get("lambda_max", {})
    return top.get("limit") is not None and top["deviation"] > ROUNDING * top["limit"]
