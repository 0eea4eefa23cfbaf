"""The order-chaos map: correlation (or length) of the last layer over the plane of the variances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib import patheffects, rc_context
from matplotlib.colors import Normalize
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.style import FULL, INK, STYLE, Drawing, canvas, finite, legend_below, ordered
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.statistics.estimate import Floats

from mcnet.activations.table import Activation
from mcnet.coordinates import DENSE
from mcnet.theory import mean_field

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENOUGH = 5  # distinct values of sigma_w2 that make a map
PLANE = 4  # distinct values of sigma_b2 from which it is a plane of colours instead of curves
LINE = "#fefefe"
"""The critical line, in front of colours."""


class _Place(NamedTuple):
    sigma_w2: float
    sigma_b2: float
    value: float
    error: float
    limit: float


def order_chaos(families: Sequence[Judged]) -> list[Drawing]:
    """One map for each law (activation, weights, depth, ...) whose variances are swept."""
    found = [group for group in laws.groups(families, laws.VARIANCES) if mapped(group) is not None]
    return [_map(group, f"map-{n}" if len(found) > 1 else "map") for n, group in enumerate(found, 1)]


def mapped(group: Sequence[Judged]) -> str | None:
    """The observable that a sweep of the variances is a map of; None if it is none."""
    if len({judged.family.first.law["sigma_w2"] for judged in group}) < ENOUGH:
        return None
    depth = group[0].family.first.depth
    measured = [{column.observable for column in judged.columns if column.layer == depth} for judged in group]
    return next((name for name in ("c", "q", "q_tilde") if all(name in each for each in measured)), None)


def _map(group: Sequence[Judged], file: str) -> Drawing:
    name = mapped(group)
    assert name is not None, "chosen because it is there"
    first = group[0].family.first
    law = first.law
    symbol = f"{laws.symbol(name)}^{{{law['depth']}}}"
    with rc_context(STYLE):
        if len({judged.family.first.law["sigma_b2"] for judged in group}) >= PLANE:
            figure = _plane(group, name, symbol)
            what = (
                "Left: mean-field limit at the same depth; then the measured mean at the smallest and the largest "
                "width, in the same colours. White line: critical line χ₁ = 1 of mean-field theory."
            )
        else:
            figure = canvas(0.85 * FULL, 3.9)
            axis = figure.subplots()
            _curves(axis, [_last(judged, name, -1) for judged in group], symbol, first.activation)
            legend_below(figure, [axis])
            what = (
                "Markers: measured mean at the largest width with standard errors. Lines: mean-field limit at the same "
                "depth. Dotted: critical σ_w², where χ₁ = 1."
            )
    caption = (
        f"{laws.title(name).capitalize()} after {law['depth']} layers. {what} In the ordered phase (left) two inputs "
        "become parallel, in the chaotic phase (right) they decorrelate; finite width shifts the values by order 1/M."
    )
    return Drawing(file, figure, f"Order and chaos: {law['activation']}, {law['weights']} weights", caption)


def _last(judged: Judged, name: str, width: int) -> _Place:
    """The observable at the last layer and one of the widths, first input or pair."""
    depth = judged.family.first.depth
    j = next(i for i, c in enumerate(judged.columns) if c.observable == name and c.layer == depth)
    law, m = judged.family.first.law, judged.moments[width]
    return _Place(law["sigma_w2"], law["sigma_b2"], m.mean[j], m.mean_error[j], judged.predicted.limit[j])


def critical_line(activation: Activation, sigma_b2: Floats) -> Floats:
    """Critical sigma_w2 for each sigma_b2; NaN where there is none."""

    def critical(value: float) -> float:
        try:
            return float(mean_field.critical_sigma_w2(activation, value))
        except ValueError:
            return math.nan

    return np.array([critical(float(value)) for value in sigma_b2])


def draw_critical_line(axis: Axes, activation: Activation, sigma_b2: Floats) -> None:
    """The critical line over a map, whose limits stay as they are."""
    edges = axis.get_xlim(), axis.get_ylim()
    fine = np.linspace(max(0.0, edges[1][0]), edges[1][1], 60)
    outline = [patheffects.Stroke(linewidth=3.4, foreground="#111111"), patheffects.Normal()]
    axis.plot(critical_line(activation, fine), fine, color=LINE, lw=1.8, path_effects=outline)
    axis.set(xlim=edges[0], ylim=edges[1])


def raster(places: Sequence[tuple[float, float, float]]) -> tuple[Floats, Floats, Floats]:
    """Edges x and y of cells around the values of the two variances, and the matrix of values; NaN where none is."""
    x = np.unique([place[0] for place in places])
    y = np.unique([place[1] for place in places])
    matrix = np.full((y.size, x.size), np.nan)
    for w, b, value in places:
        matrix[np.searchsorted(y, b), np.searchsorted(x, w)] = value
    return _edges(x), _edges(y), matrix


def _edges(centres: Floats) -> Floats:
    middle = 0.5 * (centres[1:] + centres[:-1])
    first, last = 2.0 * centres[0] - middle[0], 2.0 * centres[-1] - middle[-1]
    return np.concatenate([[max(first, 0.0)], middle, [last]])


def _plane(group: Sequence[Judged], name: str, symbol: str) -> Figure:
    settings = group[0].family.settings
    panels: list[tuple[str, Floats]] = []
    for width in dict.fromkeys((0, len(settings) - 1)):
        places = [_last(judged, name, width) for judged in group]
        x, y, values = raster([(p.sigma_w2, p.sigma_b2, p.value) for p in places])
        panels.append((f"measured, $M$ = {settings[width].width}", values))
    limits = raster([(p.sigma_w2, p.sigma_b2, p.limit) for p in places])[2]
    if finite(limits):
        panels.insert(0, (r"theory, $M\to\infty$", limits))
    every = np.concatenate([values.ravel() for _, values in panels])
    low = min(0.0, float(np.nanmin(every))) if name == "c" else float(np.nanmin(every))
    norm = Normalize(low, 1.0 if name == "c" else float(np.nanmax(every)))
    figure = canvas(FULL if len(panels) < 3 else 1.12 * FULL, 3.0)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (title, values) in zip(axes, panels, strict=True):
        colours = axis.pcolormesh(x, y, values, cmap="cividis", norm=norm, rasterized=False)
        if group[0].family.first.law["architecture"] == DENSE:
            draw_critical_line(axis, group[0].family.first.activation, y)
        axis.set_title(title)
        axis.set_xlabel(r"weight variance $\sigma_w^2$")
    axes[0].set_ylabel(r"bias variance $\sigma_b^2$")
    figure.colorbar(colours, ax=axes, label=f"${symbol}$")
    return figure


def _curves(axis: Axes, places: Sequence[_Place], symbol: str, activation: Activation) -> None:
    biases = sorted({place.sigma_b2 for place in places})
    limits: dict[str, Any] = {"label": r"theory, $M\to\infty$"}
    for sigma_b2, look in zip(biases, ordered(len(biases)), strict=True):
        mine = np.array(sorted(place for place in places if place.sigma_b2 == sigma_b2))
        if finite(mine[:, 4]):
            axis.plot(mine[:, 0], mine[:, 4], color=INK, lw=1.0, zorder=1, **limits)
            limits = {}
        axis.errorbar(
            mine[:, 0], mine[:, 2], mine[:, 3], fmt=look.marker, color=look.colour, lw=1,
            label=rf"$\sigma_b^2$ = {sigma_b2:.3g}",
        )  # fmt: skip
        critical = critical_line(activation, np.array([sigma_b2]))[0]
        if mine[0, 0] <= critical <= mine[-1, 0]:
            axis.axvline(critical, color=look.colour, ls=":", lw=1.2)
    axis.set_xlabel(r"weight variance $\sigma_w^2$")
    axis.set_ylabel(rf"$\langle {symbol} \rangle$")
