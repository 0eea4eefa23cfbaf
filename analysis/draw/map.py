"""The order-chaos map: correlation (or length) of the last layer over the plane of the variances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mcnet_analysis.draw.style import INK, STYLE, Drawing
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.predict.catalog import OBSERVABLES
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Setting

from mcnet.activations.table import Activation
from mcnet.theory import mean_field

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENOUGH = 5  # distinct values of sigma_w2 that make a map
PLANE = 4  # distinct values of sigma_b2 from which it is a plane of colours instead of curves


class _Place(NamedTuple):
    sigma_w2: float
    sigma_b2: float
    value: float
    error: float
    limit: float


def order_chaos(families: Sequence[Judged]) -> list[Drawing]:
    """One map for each law (activation, weights, depth, ...) whose variances are swept."""
    groups: dict[str, list[Judged]] = {}
    for judged in families:
        law = {k: v for k, v in judged.family.first.law.items() if k not in ("sigma_w2", "sigma_b2")}
        groups.setdefault(repr(law), []).append(judged)
    return [drawing for group in groups.values() if (drawing := _map(group)) is not None]


def _map(group: Sequence[Judged]) -> Drawing | None:
    if len({judged.family.first.law["sigma_w2"] for judged in group}) < ENOUGH:
        return None
    name = next((n for n in ("c", "q") if all(any(c.observable == n for c in j.columns) for j in group)), None)
    if name is None:
        return None
    places = [_last(judged, name) for judged in group]
    first = group[0].family.first
    law = first.law
    symbol = f"{OBSERVABLES[name].symbol}^{{{law['depth']}}}"
    with rc_context(STYLE):
        figure = Figure(figsize=(6.2, 3.9))
        axis = figure.subplots()
        if len({place.sigma_b2 for place in places}) >= PLANE:
            _plane(figure, axis, places, symbol, name, first)
            what = "Colour: measured mean at the largest width. White line: critical line χ₁ = 1 of mean-field theory."
        else:
            _curves(axis, places, symbol, first)
            what = (
                "Dots: measured mean at the largest width with standard errors. Lines: mean-field limit at the same "
                "depth. Dashed: critical σ_w², where χ₁ = 1."
            )
        axis.set_xlabel(r"weight variance $\sigma_w^2$")
    noun = "Correlation of two inputs" if name == "c" else "Squared length"
    caption = (
        f"{noun} after {law['depth']} layers. {what} In the ordered phase (left) two inputs become parallel, in the "
        "chaotic phase (right) they decorrelate; finite width shifts the values by order 1/M."
    )
    return Drawing(figure, f"Order and chaos: {law['activation']}, {law['weights']} weights", caption)


def _last(judged: Judged, name: str) -> _Place:
    """The observable at the last layer and the largest width, first input or pair."""
    depth = judged.family.first.depth
    j = next(i for i, c in enumerate(judged.columns) if c.observable == name and c.layer == depth)
    law, m = judged.family.first.law, judged.moments[-1]
    return _Place(law["sigma_w2"], law["sigma_b2"], m.mean[j], m.mean_error[j], judged.predicted.limit[j])


def line_of(setting: Setting, sigma_b2: Floats) -> Floats:
    """Critical sigma_w2 of networks like these for each sigma_b2; NaN where theory has none."""
    if setting.why_no_theory is not None:
        return np.full(len(sigma_b2), np.nan)
    return critical_line(setting.activation, sigma_b2)


def critical_line(activation: Activation, sigma_b2: Floats) -> Floats:
    """Critical sigma_w2 for each sigma_b2; NaN where there is none."""

    def critical(value: float) -> float:
        try:
            return float(mean_field.critical_sigma_w2(activation, value))
        except ValueError:
            return float("nan")

    return np.array([critical(float(value)) for value in sigma_b2])


def _plane(figure: Figure, axis: Axes, places: Sequence[_Place], symbol: str, name: str, setting: Setting) -> None:
    x = np.unique([place.sigma_w2 for place in places])
    y = np.unique([place.sigma_b2 for place in places])
    grid = np.full((y.size, x.size), np.nan)
    for place in places:
        grid[np.searchsorted(y, place.sigma_b2), np.searchsorted(x, place.sigma_w2)] = place.value
    scale: dict[str, Any] = {"vmin": min(0.0, np.nanmin(grid)), "vmax": 1.0} if name == "c" else {}
    colours = axis.pcolormesh(x, y, grid, shading="nearest", cmap="cividis", rasterized=False, **scale)
    figure.colorbar(colours, ax=axis, label=f"${symbol}$")
    fine = np.linspace(y[0], y[-1], 60)
    axis.plot(line_of(setting, fine), fine, color="white", lw=2)
    edges = axis.get_xlim(), axis.get_ylim()
    axis.set_xlim(edges[0])
    axis.set_ylim(edges[1])
    axis.set_ylabel(r"bias variance $\sigma_b^2$")


def _curves(axis: Axes, places: Sequence[_Place], symbol: str, setting: Setting) -> None:
    biases = sorted({place.sigma_b2 for place in places})
    colours = colormaps["viridis"](Normalize(0, max(len(biases) - 1, 1))(np.arange(len(biases))) * 0.8)
    for sigma_b2, colour in zip(biases, colours, strict=True):
        mine = np.array(sorted(place for place in places if place.sigma_b2 == sigma_b2))
        axis.plot(mine[:, 0], mine[:, 4], color=colour, lw=1.2)
        axis.errorbar(
            mine[:, 0], mine[:, 2], mine[:, 3], fmt="o", ms=3.5, color=colour, lw=1,
            label=rf"$\sigma_b^2={sigma_b2:.3g}$",
        )  # fmt: skip
        critical = line_of(setting, np.array([sigma_b2]))[0]
        if mine[0, 0] <= critical <= mine[-1, 0]:
            axis.axvline(critical, color=colour, ls="--", lw=0.9)
    axis.plot([], [], color=INK, lw=1.2, label=r"$M\to\infty$")
    axis.legend(loc="best")
    axis.set_ylabel(f"${symbol}$")
