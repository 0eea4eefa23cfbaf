"""Figures of spectra: histograms with predicted densities and atoms, and the same against depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from mcnet_analysis.draw.style import INK, OTHER, STYLE, Drawing
from mcnet_analysis.judge.spectra import FamilySpectra, PointSpectrum
from mcnet_analysis.statistics.distance import FLOOR, LawTable, without_atoms
from mcnet_analysis.statistics.estimate import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 6
BARS = 70
DEPTHS = 5
DECADES = 1e-4  # smallest eigenvalue shown against depth, over the mean
_BLUE = "#0072B2"


def histograms(found: Sequence[FamilySpectra]) -> Drawing | None:
    """Histogram of the eigenvalues of the largest width of up to six families, on a logarithmic axis."""
    shown = [each for each in found if _seen(each.points[-1])]
    if not shown:
        return None
    shown = [shown[round(i)] for i in np.linspace(0, len(shown) - 1, min(PANELS, len(shown)))]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(3.1 * columns, 2.5 * rows))
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis, each in zip(axes.flat, shown, strict=False):
            _histogram(axis, each.points[-1])
            law = each.family.first.law
            axis.set_title(f"{law['activation']}, {law['weights']}, depth {law['depth']}", fontsize=8.5)
        for axis in axes.flat[len(shown) :]:
            axis.set_visible(False)
        for axis in axes.flat[max(0, len(shown) - columns) : len(shown)]:
            axis.set_xlabel(f"eigenvalue $\\lambda$ of ${shown[0].kind.symbol}$")
        for axis in axes[:, 0]:
            axis.set_ylabel(r"density per unit of $\ln\lambda$")
    caption = (
        "Bars: eigenvalues of all networks at the largest width of a family. Line: predicted density at infinite "
        "width (none: no theory). Diamonds, right scale from 0 to 1: predicted atoms; crosses: their share as "
        "measured. The atom at zero stands in the corner: predicted, and measured in brackets. Eigenvalues below the "
        "axis are not shown."
    )
    return Drawing(figure, f"Spectrum of the {_name(shown[0])}", caption)


def against_depth(found: Sequence[FamilySpectra]) -> list[Drawing]:
    """Spectra at several depths, one panel for each law of the weights: one figure for all that differs in these "
    "only."""
    groups: dict[str, list[FamilySpectra]] = {}
    for each in found:
        law = each.family.first.law
        # at the critical line sigma_w2 is the same for both laws
        key = {k: v for k, v in law.items() if k not in ("depth", "weights")}
        if _seen(each.points[-1]):
            groups.setdefault(repr((each.kind.name, key)), []).append(each)
    drawings = []
    for group in groups.values():
        if len({each.family.first.depth for each in group}) >= 2:
            drawings.append(_depths(group))
    return drawings


def _depths(group: Sequence[FamilySpectra]) -> Drawing:
    laws = sorted({each.family.first.law["weights"] for each in group})  # gaussian on the left
    depths = sorted({each.family.first.depth for each in group})
    depths = [depths[round(i)] for i in np.linspace(0, len(depths) - 1, min(DEPTHS, len(depths)))]
    colours = colormaps["viridis"](np.linspace(0.0, 0.88, len(depths)))
    first = group[0].family.first.law
    shown = [each for each in group if each.family.first.depth in depths]
    low = max(min(_quantiles(each.points[-1])[0] for each in shown), DECADES * _middle(shown))
    limits = low, 1.3 * max(_quantiles(each.points[-1])[1] for each in shown)
    with rc_context(STYLE):
        figure = Figure(figsize=(3.9 * len(laws) if len(laws) > 1 else 5.0, 3.3))
        axes = figure.subplots(1, len(laws), squeeze=False, sharex=True)[0]
        for axis, weights in zip(axes, laws, strict=True):
            peaks: list[float] = []
            atoms = []
            for depth, colour in zip(depths, colours, strict=True):
                axis.plot([], [], color=colour, lw=1.6, label=f"{depth}")
                for each in shown:
                    if each.family.first.law["weights"] != weights or each.family.first.depth != depth:
                        continue
                    point = each.points[-1]
                    heights, edges = _bars(point, 45)
                    axis.stairs(heights, edges, color=colour, lw=0.8, alpha=0.85)
                    if point.table is not None:
                        x, y = _density(point.table, limits)
                        axis.plot(x, y, color=colour, lw=1.6)
                        atoms += [(place, mass, colour) for place, mass in point.table.atoms if place > low]
                        heights = y if y.any() else heights
                    peaks.append(float(heights.max()))
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xlim(limits)
            _ticks(axis, limits)
            axis.set_ylim(min(peaks) / 30, 2 * max(peaks))
            axis.set_title(f"{weights} weights")
            axis.set_xlabel(f"eigenvalue $\\lambda$ of ${group[0].kind.symbol}$")
            if atoms:
                right = _mass_axis(axis)
                for place, mass, colour in atoms:
                    right.plot([place], [mass], "D", ms=4.5, color=colour)
        axes[0].set_ylabel(r"density per unit of $\ln\lambda$")
        axes[-1].legend(title="depth", loc="upper left", bbox_to_anchor=(1.12 if len(laws) > 1 else 1.0, 1.0))
    caption = (
        "Steps: eigenvalues of all networks at the largest width; lines: predicted law at infinite width (none where "
        "it leaves the range of a double); both axes are logarithmic. Diamonds, right scale from 0 to 1: masses of "
        "predicted atoms, whose eigenvalues are left out of the steps. Both panels have the same horizontal axis: an "
        "isometry shows as a spectrum that stays narrow while the depth grows. Small eigenvalues are cut off."
    )
    return Drawing(figure, f"Spectrum of the {_name(group[0])} against depth: {first['activation']}", caption)


def _middle(shown: Sequence[FamilySpectra]) -> float:
    """Median over spectra of the mean eigenvalue."""
    return float(np.median([np.mean(values) for each in shown if (values := each.points[-1].values) is not None]))


def _seen(point: PointSpectrum) -> bool:
    return point.values is not None and bool((point.values > 0).any())


def _name(each: FamilySpectra) -> str:
    names = {"jacobian": "Jacobian", "conditional_fim": "conditional Fisher matrix"}
    return names.get(each.kind.name, "conjugate kernel")


def _quantiles(point: PointSpectrum) -> tuple[float, float]:
    assert point.values is not None
    positive = point.values[point.values > 0]
    return float(np.quantile(positive, 0.1)), float(positive.max())


def _bars(point: PointSpectrum, bars: int) -> tuple[Floats, Floats]:
    """Heights per unit of ln x (atoms count in the whole only) and edges, above the floor of rounding."""
    assert point.values is not None
    values = point.values.ravel()
    top = float(values.max())
    positive = values[values > max(FLOOR * top, 0.0)]
    if point.table is not None:
        outside = without_atoms(positive[None], point.table)[0][0]
        positive = outside[np.isfinite(outside)] if np.isfinite(outside).any() else positive
    low = float(np.quantile(positive, 0.002))
    edges = np.geomspace(low, top * 1.0001, bars + 1)
    counts = np.histogram(positive, edges)[0]
    return counts / values.size / np.diff(np.log(edges)), edges


def _density(table: LawTable, limits: tuple[float, float], cells: int = 300) -> tuple[Floats, Floats]:
    """The continuous part per unit of ln x, averaged over cells: finite at any edge."""
    low, high = max(limits[0], table.floor), min(limits[1], table.law.lambda_max * 1.02)
    edges = np.geomspace(low, high, cells + 1)
    density = np.maximum(np.diff(table.below(edges)), 0.0) / np.diff(np.log(edges))
    return np.sqrt(edges[:-1] * edges[1:]), density


def _histogram(axis: Axes, point: PointSpectrum) -> None:
    heights, edges = _bars(point, BARS)
    axis.stairs(heights, edges, fill=True, color=_BLUE, alpha=0.35, lw=0)
    axis.set_xscale("log")
    limits = float(edges[0]), float(edges[-1]) * 1.25
    axis.set_xlim(limits)
    _ticks(axis, limits)
    table = point.table
    if table is None:
        return
    x, y = _density(table, limits)
    axis.plot(x, y, color=INK, lw=1.3)
    seen = float(heights.max(initial=0.0))
    axis.set_ylim(0, 1.2 * max(min(float(y.max()), 1.5 * seen), seen))  # a density that diverges is cut off
    found = point.row.get("atoms", [])
    if any(limits[0] < row["place"] < limits[1] for row in found):
        _atoms(axis, [row for row in found if row["place"] > 0])
    for row in found:
        if row["place"] == 0.0:
            text = f"zeros: {row['mass']:.3f} ({row['measured']:.3f})"
            box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5}
            axis.text(0.03, 0.95, text, transform=axis.transAxes, va="top", fontsize=7.5, bbox=box)


def _ticks(axis: Axes, limits: tuple[float, float]) -> None:
    """Plain numbers on a short logarithmic axis, powers of ten on a long one."""
    if limits[1] > 100 * limits[0]:
        axis.xaxis.set_major_locator(LogLocator(numticks=6))
        axis.xaxis.set_minor_locator(NullLocator())
        return
    subs = (1.0, 2.0, 5.0) if limits[1] > 4 * limits[0] else tuple(np.arange(1.0, 10.0, 1.0))
    axis.xaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _mass_axis(axis: Axes) -> Axes:
    right = axis.twinx()
    right.spines["right"].set_visible(True)
    right.set_ylim(0, 1.05)
    return right


def _atoms(axis: Axes, atoms: Sequence[dict[str, Any]]) -> None:
    right = _mass_axis(axis)
    for row in atoms:
        right.vlines(row["place"], 0, row["mass"], color=OTHER, lw=1.2)
        right.plot([row["place"]], [row["mass"]], "D", ms=4.5, color=OTHER)
        right.plot([row["place"]], [row["measured"]], "x", ms=6, color=INK)
