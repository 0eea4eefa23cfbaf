"""Figures of spectra: histograms with predicted densities and atoms, and the same against depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.style import (
    FULL,
    INK,
    PALETTE,
    STYLE,
    Drawing,
    canvas,
    folded,
    grid,
    legend_below,
    note,
    ordered,
    selection,
    some,
)
from mcnet_analysis.judge.spectra import FamilySpectra, PointSpectrum
from mcnet_analysis.statistics.distance import FLOOR, LawTable, without_atoms
from mcnet_analysis.statistics.estimate import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 6
BARS = 60
DEPTHS = 5
DECADES = 1e-4  # smallest eigenvalue shown against depth, over the mean
_BLUE, _ATOM = PALETTE[0], PALETTE[4]


def histograms(found: Sequence[FamilySpectra]) -> Drawing | None:
    """Histogram of the eigenvalues of the largest width of up to six families, on a logarithmic axis."""
    known = [each for each in found if _seen(each.points[-1])]
    shown = some(known, PANELS)
    if not shown:
        return None
    rows, columns = grid(len(shown))
    with rc_context(STYLE):
        figure = canvas(FULL if columns > 1 else 0.72 * FULL, 2.6 * rows + 0.5)
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axis in axes[len(shown) :]:
            axis.remove()
        axes = axes[: len(shown)]
        for axis, each, label in zip(axes, shown, laws.labels(shown), strict=True):
            _histogram(axis, each.points[-1])
            axis.set_title(folded(label), fontsize=8.5)
            axis.set_xlabel(f"eigenvalue $\\lambda$ of ${each.kind.symbol}$")
        for axis in axes[::columns]:
            axis.set_ylabel(r"density per unit of $\ln\lambda$")
        legend_below(figure, figure.axes)
    caption = (
        "Eigenvalues of all networks at the largest width of a law, and the predicted density at infinite width, where "
        "there is one. Diamonds, right scale from 0 to 1: predicted atoms; crosses: their share as measured. The atom "
        "at zero stands in the corner: predicted, and measured in brackets. Eigenvalues below the axis are not shown."
    ) + selection(len(shown), len(known), "laws")
    return Drawing(f"spectrum-{shown[0].kind.name}", figure, f"Spectrum of the {name(shown[0])}", caption)


def against_depth(found: Sequence[FamilySpectra]) -> list[Drawing]:
    """Spectra at several depths, a panel for each law of the weights: one figure for all that differs in these only."""
    known = [each for each in found if _seen(each.points[-1])]
    # at the critical line sigma_w2 is the same for both laws of the weights
    several = [
        group
        for group in laws.groups(known, frozenset({"depth", "weights"}))
        if len({each.family.first.depth for each in group}) >= 2
    ]
    names = laws.labels([group[0] for group in several], frozenset({"depth", "weights"})) if several else []
    return [_depths(group, label, number) for number, (group, label) in enumerate(zip(several, names, strict=True), 1)]


def _depths(group: Sequence[FamilySpectra], label: str, number: int) -> Drawing:
    weights = sorted({each.family.first.law["weights"] for each in group})  # gaussian on the left
    depths = some(sorted({each.family.first.depth for each in group}), DEPTHS)
    shown = [each for each in group if each.family.first.depth in depths]
    low = max(min(_quantiles(each.points[-1])[0] for each in shown), DECADES * _middle(shown))
    limits = low, 1.3 * max(_quantiles(each.points[-1])[1] for each in shown)
    looks = dict(zip(depths, ordered(len(depths)), strict=True))
    with rc_context(STYLE):
        figure = canvas(FULL if len(weights) > 1 else 0.72 * FULL, 3.7)
        axes = figure.subplots(1, len(weights), squeeze=False, sharex=True)[0]
        for axis, law in zip(axes, weights, strict=True):
            mine = [each for each in shown if each.family.first.law["weights"] == law]
            _depth_panel(axis, mine, looks, limits)
            axis.set_title(f"{law} weights")
            axis.set_xlabel(f"eigenvalue $\\lambda$ of ${group[0].kind.symbol}$")
        axes[0].set_ylabel(r"density per unit of $\ln\lambda$")
        legend_below(figure, axes)
    caption = (
        "Steps: eigenvalues of all networks at the largest width; lines: predicted law at infinite width (none where "
        "it leaves the range of a double); both axes are logarithmic. Diamonds, right scale from 0 to 1: masses of "
        "predicted atoms, whose eigenvalues are left out of the steps. All panels have the same horizontal axis: an "
        "isometry shows as a spectrum that stays narrow while the depth grows. Small eigenvalues are cut off."
    )
    file = f"spectrum-depth-{group[0].kind.name}-{number}"
    return Drawing(file, figure, f"Spectrum of the {name(group[0])} against depth: {label}", caption)


def _depth_panel(axis: Axes, mine: Sequence[FamilySpectra], looks: Any, limits: tuple[float, float]) -> None:
    peaks: list[float] = []
    atoms = []
    for each in sorted(mine, key=lambda each: each.family.first.depth):
        point, colour = each.points[-1], looks[each.family.first.depth].colour
        heights, edges = _bars(point, 45)
        label = f"depth {each.family.first.depth}"
        axis.stairs(heights, edges, color=colour, lw=0.9, alpha=0.9, label=label if point.table is None else None)
        if point.table is not None:
            x, y = _density(point.table, limits)
            axis.plot(x, y, color=colour, lw=1.7, label=label)
            atoms += [(place, mass, colour) for place, mass in point.table.atoms if place > limits[0]]
            heights = y if y.any() else heights
        peaks.append(float(heights.max()))
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(limits)
    _ticks(axis, limits)
    axis.set_ylim(min(peaks) / 30, 2 * max(peaks))
    if atoms:
        right = _mass_axis(axis)
        for place, mass, colour in atoms:
            right.plot([place], [mass], "D", ms=5, color=colour, mec=INK, mew=0.5)


def _middle(shown: Sequence[FamilySpectra]) -> float:
    """Median over spectra of the mean eigenvalue."""
    return float(np.median([np.mean(values) for each in shown if (values := each.points[-1].values) is not None]))


def _seen(point: PointSpectrum) -> bool:
    return point.values is not None and bool((point.values > 0).any())


def name(each: FamilySpectra) -> str:
    """What the spectrum is of, in words."""
    names = {"jacobian": "Jacobian", "conditional_fim": "conditional Fisher matrix"}
    return names.get(each.kind.name, "conjugate kernel")


def _quantiles(point: PointSpectrum) -> tuple[float, float]:
    assert point.values is not None, "chosen because they are there"
    positive = point.values[point.values > 0]
    return float(np.quantile(positive, 0.1)), float(positive.max())


def _bars(point: PointSpectrum, bars: int) -> tuple[Floats, Floats]:
    """Heights per unit of ln x (atoms count in the whole only) and edges, above the floor of rounding."""
    assert point.values is not None, "chosen because they are there"
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
    axis.stairs(heights, edges, fill=True, color=_BLUE, alpha=0.35, lw=0, label="measured")
    axis.set_xscale("log")
    limits = float(edges[0]), float(edges[-1]) * 1.25
    axis.set_xlim(limits)
    _ticks(axis, limits)
    table = point.table
    if table is None:
        return
    x, y = _density(table, limits)
    axis.plot(x, y, color=INK, lw=1.3, label=r"theory, $M\to\infty$")
    seen = float(heights.max(initial=0.0))
    axis.set_ylim(0, 1.2 * max(min(float(y.max()), 1.5 * seen), seen))  # a density that diverges is cut off
    found = point.row.get("atoms", [])
    if any(limits[0] < row["place"] < limits[1] for row in found):
        _atoms(axis, [row for row in found if row["place"] > 0])
    for row in found:
        if row["place"] == 0.0:
            note(axis, f"zeros: {row['mass']:.3f} ({row['measured']:.3f})")


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
        right.vlines(row["place"], 0, row["mass"], color=_ATOM, lw=1.2)
        right.plot([row["place"]], [row["mass"]], "D", ms=4.5, color=_ATOM, label="atom, theory")
        right.plot([row["place"]], [row["measured"]], "x", ms=6, color=INK, label="atom, measured")
