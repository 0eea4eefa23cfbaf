"""Figures against depth: an observable at several widths with its 1/M coefficients, and gradients of many laws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.style import (
    FAINT,
    FULL,
    INK,
    PANEL,
    STYLE,
    Drawing,
    canvas,
    categories,
    finite,
    folded,
    grid,
    legend_below,
    ordered,
    plain_log,
    selection,
    some,
)
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.gridspec import SubplotSpec

WIDTHS = 4
PANELS = 6
CURVES = 6
DOTS = 24  # layers with a dot; lines show all


class Series(NamedTuple):
    """One observable of one input or pair at the layers where it was measured.

    Attributes
    ----------
    layers : (L,)
    at : list of int
        Columns of the family.
    limit, a1 : (L,)
        Theory.
    dots : list of int
        Places that are marked, of all layers where they are few.
    """

    layers: Floats
    at: list[int]
    limit: Floats
    a1: Floats
    dots: list[int]


def series(judged: Judged, name: str) -> Series | None:
    """The first input or pair of an observable against the layer; None if it is there at fewer than two layers."""
    first = next((column.inputs for column in judged.columns if column.observable == name), None)
    at = [
        j
        for j, c in enumerate(judged.columns)
        if c.observable == name and c.inputs == first and c.layer and finite(_means(judged, [j]))
    ]
    if len(at) < 2:
        return None
    layers = np.array([float(judged.columns[j].layer or 0) for j in at])
    shown = set(thinned(len(at), DOTS))
    dots = [i for i in range(len(at)) if i + 1 in shown]
    return Series(layers, at, judged.predicted.limit[at], judged.predicted.a1[at], dots)


def _means(judged: Judged, at: Sequence[int]) -> Floats:
    return np.array([m.mean[at] for m in judged.moments])


def profiles(families: Sequence[Judged], name: str) -> list[Drawing]:
    """An observable against depth: one figure for each sweep of the variances, or one for all laws."""
    known = [judged for judged in families if series(judged, name) is not None]
    sweeps = laws.groups(known, laws.VARIANCES)
    if all(len(sweep) == 1 for sweep in sweeps):
        sweeps = [known] if known else []
    found = []
    for number, sweep in enumerate(sweeps, 1):
        swept = len({judged.family.first.law["sigma_w2"] for judged in sweep}) > 2 and len(sweep) > 2
        chosen = laws.phases(sweep) if swept else [(judged, "") for judged in some(sweep, PANELS)]
        suffix = f"-{number}" if len(sweeps) > 1 else ""
        found.append(_profile(chosen, name, len(sweep), f"depth-{name}{suffix}"))
    return found


def _profile(chosen: Sequence[tuple[Judged, str]], name: str, every: int, file: str) -> Drawing:
    families = [judged for judged, _ in chosen]
    rows, columns = grid(len(families))
    below = _lower(families, name)
    with rc_context(STYLE):
        figure = canvas(max(FULL if columns > 1 else 0.0, PANEL * columns + 1.4), 4.4 * rows + 0.5)
        blocks = figure.add_gridspec(rows, columns)
        for place, ((judged, phase), label) in enumerate(zip(chosen, laws.labels(families), strict=True)):
            top, bottom = _pair(figure, blocks[place // columns, place % columns])
            _block(top, bottom, judged, name, below)
            top.set_title(f"{label}\n{phase}" if phase else folded(label))
            if place % columns:
                bottom.set_ylabel("")
            else:
                top.set_ylabel(rf"$\langle {laws.symbol(name)}^l \rangle$")
        legend_below(figure, figure.axes)
    caption = (
        f"{laws.title(name).capitalize()} of the {'first pair' if _paired(families[0], name) else 'first input'}. "
        "Above: mean over networks (markers; standard errors are mostly smaller) at several widths M; black: "
        f"mean-field limit, M → ∞; coloured lines: limit + a₁/M. {_BELOW[below]}"
    ) + selection(len(families), every, "laws")
    return Drawing(file, figure, f"Against depth: {laws.title(name)}", caption)


_BELOW = {
    "shift": "Below: M times the distance of the mean from the limit, which tends to a₁ (black line) as M grows; white "
    "squares: a₁ fitted over all widths, its error with the neglected orders. Widths too noisy for the panel are left "
    "out of it; what is left between markers and line at the smaller widths is of order 1/M.",
    "deviation": "Below: distance from theory in standard errors; the band is ±2.",
    "spread": "Below: standard deviation over networks.",
}


def _lower(families: Sequence[Judged], name: str) -> str:
    """What the lower panels show: shifts, if most laws have one that the noise does not hide; deviations; spreads."""
    resolved = predicted = 0
    for judged in families:
        found = series(judged, name)
        assert found is not None, "chosen because it is there"
        predicted += finite(found.limit)
        reach = _reach(found.a1)
        errors = np.array([m.mean_error[found.at] for m in judged.moments])
        resolved += bool(np.nanmin(judged.family.widths * np.nanmedian(errors, axis=1)) < 0.7 * reach)
    return "shift" if 2 * resolved > len(families) else "deviation" if predicted else "spread"


def _paired(judged: Judged, name: str) -> bool:
    return any(column.observable == name and len(column.inputs) == 2 for column in judged.columns)


def _pair(figure: Any, where: SubplotSpec) -> tuple[Axes, Axes]:
    inner = where.subgridspec(2, 1, height_ratios=(1.25, 1.0))
    top = figure.add_subplot(inner[0])
    bottom = figure.add_subplot(inner[1], sharex=top)
    top.tick_params(labelbottom=False)
    return top, bottom


def _block(top: Axes, bottom: Axes, judged: Judged, name: str, below: str) -> None:
    """Curves above; below what ``_BELOW`` says."""
    found = series(judged, name)
    assert found is not None, "chosen because it is there"
    shown = some(range(len(judged.family.settings)), WIDTHS)
    looks = ordered(len(shown))
    if finite(found.limit):
        alone = "_" if np.isfinite(found.limit).sum() == 1 else None  # a line would not show
        top.plot(found.layers, found.limit, marker=alone, ms=14, color=INK, zorder=1, label=r"theory, $M\to\infty$")
    for i, look in zip(shown, looks, strict=True):
        width, m, theory = judged.family.settings[i].width, judged.moments[i], judged.predictions[i]
        if finite(theory.a1[found.at]):
            line = theory.limit[found.at] + theory.a1[found.at] / width
            top.plot(found.layers, line, color=look.colour, lw=0.9, zorder=2)
        at = [found.at[k] for k in found.dots]
        top.errorbar(
            found.layers[found.dots], m.mean[at], m.mean_error[at],
            fmt=look.marker, ms=3.6, color=look.colour, lw=1, zorder=3, label=f"$M$ = {width}",
        )  # fmt: skip
    bottom.axhline(0, color=FAINT, lw=0.8, zorder=0)
    bottom.set_xlabel("layer $l$")
    bottom.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    {"shift": _shifts, "deviation": _deviations, "spread": _spreads}[below](bottom, judged, name, found, shown, looks)


def _shifts(axis: Axes, judged: Judged, name: str, found: Series, shown: Sequence[int], looks: Sequence[Any]) -> None:
    """M times the distance from the limit, of the widths that are precise enough, and the fitted coefficients."""
    fitted = [
        row
        for row in judged.comparisons
        if row["statistic"] == "a1" and row["observable"] == name and _same_place(row, judged, found.at[0])
        and np.isfinite(row["error"])
    ]  # fmt: skip
    precise = [row for row in fitted if row["error"] < 4.0 * max(_reach(found.a1), 1e-12)]
    reach = max(_reach(found.a1), max((abs(row["measured"]) + row["error"] for row in precise), default=0.0))
    dots = found.dots
    at = [found.at[k] for k in dots]
    drawn = 0
    for i, look in zip(shown, looks, strict=True):
        width, m = judged.family.settings[i].width, judged.moments[i]
        if not float(np.nanmedian(width * m.mean_error[at])) < 0.7 * reach:
            continue
        drawn += 1
        nudge = (drawn - 1.5) * 0.012 * float(np.ptp(found.layers))
        shift = width * (m.mean[at] - judged.predictions[i].limit[at])
        axis.errorbar(
            found.layers[dots] + nudge, shift, width * m.mean_error[at],
            fmt=look.marker, ms=2.8, color=look.colour, lw=0.8, zorder=2,
        )  # fmt: skip
    axis.plot(found.layers, found.a1, color=INK, zorder=3)
    if precise:
        axis.errorbar(
            [row["layer"] for row in precise], [row["measured"] for row in precise], [row["error"] for row in precise],
            fmt="s", ms=4, mfc="white", color=INK, lw=1, zorder=4, label="$a_1$, fitted",
        )  # fmt: skip
    symbol = laws.symbol(name)
    axis.set_ylabel(rf"$M\,(\langle {symbol}^l\rangle - {symbol}^l_\infty)$")


def _reach(values: Floats) -> float:
    return float(np.nanmax(np.abs(values))) if finite(values) else 0.0


def _deviations(
    axis: Axes, judged: Judged, name: str, found: Series, shown: Sequence[int], looks: Sequence[Any]
) -> None:
    """(mean - limit - a1/M) / error."""
    axis.axhspan(-2, 2, color=FAINT, alpha=0.25, lw=0, zorder=0)
    at = [found.at[k] for k in found.dots]
    most = 3.0
    for i, look in zip(shown, looks, strict=True):
        width, m = judged.family.settings[i].width, judged.moments[i]
        theory = judged.predictions[i].limit[at] + np.nan_to_num(judged.predictions[i].a1[at]) / width
        certain = m.mean_error[at] > 1e-9 * np.abs(m.mean[at])  # else what is left is rounding
        z = np.where(certain, (m.mean[at] - theory) / np.where(certain, m.mean_error[at], 1.0), np.nan)
        axis.plot(found.layers[found.dots], z, look.marker, ms=3, color=look.colour, zorder=2)
        most = max(most, 1.1 * _reach(z))
    axis.set_ylim(-most, most)
    axis.set_ylabel("deviation / error")


def _spreads(axis: Axes, judged: Judged, name: str, found: Series, shown: Sequence[int], looks: Sequence[Any]) -> None:
    """Without theory: the standard deviation over networks."""
    at = [found.at[k] for k in found.dots]
    for i, look in zip(shown, looks, strict=True):
        axis.plot(found.layers[found.dots], np.sqrt(judged.moments[i].variance[at]), look.marker + "-", ms=3, lw=0.8,
                  color=look.colour)  # fmt: skip
    axis.set_ylabel(f"spread of ${laws.symbol(name)}^l$")


def _same_place(row: dict[str, Any], judged: Judged, j: int) -> bool:
    place = judged.columns[j].place
    return all(row.get(key) == value for key, value in place.items() if key != "layer")


def gradient_norms(families: Sequence[Judged]) -> Drawing | None:
    """Squared norm of the back-propagated signal against depth at the largest width of several laws."""
    known = [judged for judged in families if series(judged, "q_tilde") is not None]
    if len(known) < 2:
        return None
    chosen = some(known, CURVES)
    swept = len(laws.groups(known, laws.VARIANCES)) == 1
    looks = ordered(len(chosen)) if swept else categories(len(chosen))
    with rc_context(STYLE):
        figure = canvas(FULL, 3.9)
        axis = figure.subplots()
        for judged, label, look in zip(chosen, laws.labels(chosen), looks, strict=True):
            found = series(judged, "q_tilde")
            assert found is not None, "chosen because it is there"
            m, dots = judged.moments[-1], found.dots
            at = [found.at[k] for k in dots]
            axis.plot(found.layers, found.limit, color=look.colour, lw=1.2)
            axis.errorbar(
                found.layers[dots], m.mean[at], m.mean_error[at],
                fmt=look.marker, color=look.colour, lw=1, label=f"{label}, $M$ = {judged.family.settings[-1].width}",
            )  # fmt: skip
        plain_log(axis)
        axis.set_xlabel("layer $l$")
        axis.set_ylabel(r"$\langle \tilde q^{\,l} \rangle$")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(figure, [axis])
    caption = (
        "Mean over networks at the largest width of each law (markers, standard errors) and mean-field limit (lines). "
        "In the limit each layer of a dense network multiplies by σ_w² E φ′², at the fixed point by χ₁: gradients "
        "vanish below χ₁ = 1 and explode above. Deviations of order depth/M are expected."
    ) + selection(len(chosen), len(known), "laws")
    return Drawing("gradients", figure, "Gradients against depth", caption)
