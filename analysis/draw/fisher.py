"""Figures of the Fisher information: largest eigenvalues against the width, spectrum, learning-rate bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib import rc_context
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.style import (
    FULL,
    INK,
    PALETTE,
    STYLE,
    WARNING,
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
    width_axis,
)
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.fisher import growth_exponent
from mcnet_analysis.statistics.estimate import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = 8
PANELS = 6
_INPUTS = frozenset({"inputs"})


class _Series(NamedTuple):
    widths: Floats
    mean: Floats
    error: Floats
    theory: Floats


def largest_eigenvalue(families: Sequence[Judged]) -> Drawing | None:
    """lambda_max/M against M for every law, with theory and growth exponents.

    Not divided by M for several normalisations, of which some do not grow, and in parametrisations without growth.
    """
    known = [(group, found) for group in laws.groups(families, _INPUTS) if (found := _series(group)) is not None]
    if not known:
        return None
    shown = some(known, CURVES)
    names = laws.labels([group[0] for group, _ in shown], _INPUTS)
    normalized = len({judged.family.first.law["normalization"] for judged in families}) > 1
    growing = all(judged.family.first.law["parameterization"] == "standard" for judged in families)
    divided = growing and not normalized
    fitted = []
    with rc_context(STYLE):
        figure = canvas(FULL, 4.2)
        axis = figure.subplots()
        for (_, one), name, look in zip(shown, names, categories(len(shown)), strict=True):
            unit = one.widths if divided else np.ones_like(one.widths)
            label = name
            if growing and one.widths.size >= 3:
                slope, error = growth_exponent(one.widths, one.mean, one.error)
                fitted.append(f"{slope:.3f} ± {error:.3f}")
                label += f": $\\propto M^{{{slope:.2f} \\pm {error:.2f}}}$"
            axis.errorbar(
                one.widths, one.mean / unit, one.error / unit, fmt=look.marker, lw=1, color=look.colour, label=label
            )
            if finite(one.theory):
                axis.plot(one.widths, one.theory / unit, color=INK, lw=1, zorder=1, label="theory")
            elif normalized:
                axis.plot(one.widths, one.mean / unit, color=look.colour, lw=0.7, ls=":")
        width_axis(axis, np.concatenate([one.widths for _, one in shown]).tolist())
        if normalized:
            plain_log(axis)
        axis.set_ylabel(r"$\langle\lambda_{\max}\rangle / M$" if divided else r"$\langle\lambda_{\max}\rangle$")
        legend_below(figure, [axis])
    caption = (
        "Largest eigenvalue of the Fisher information (several outputs: mean of the C largest), mean over networks and "
        "standard error; lines: theory, with 1/M terms where they are known, biases included where they are trained."
    )
    caption += " The exponents are fitted over the widths." if fitted else ""
    caption += selection(len(shown), len(known), "laws")
    return Drawing("fisher-largest", figure, "Fisher information: largest eigenvalue against the width", caption)


def _series(group: Sequence[Judged]) -> _Series | None:
    """Largest eigenvalues of a law against the width; families that differ in the number of inputs are one series."""
    rows = [row for judged in group for row in _rows(judged)]
    return _Series(*np.array(sorted(rows)).T) if len(rows) >= 2 else None


def _rows(judged: Judged) -> list[tuple[float, float, float, float]]:
    """Width, mean, error, theory of the largest eigenvalue, in the units of F."""
    names = {column.observable: j for j, column in enumerate(judged.columns)}
    j = names.get("fim_lambda_top", names.get("fim_lambda_max"))
    if j is None:
        return []
    standard = judged.family.first.law["parameterization"] == "standard"
    rows = []
    for setting, m, theory in zip(judged.family.settings, judged.moments, judged.fisher.limits, strict=True):
        unit = float(setting.width) if standard else 1.0
        rows.append((float(setting.width), unit * float(m.mean[j]), unit * float(m.mean_error[j]), theory))
    return rows


def spectrum(families: Sequence[Judged]) -> Drawing | None:
    """Histogram of the eigenvalues at the largest width of every law, with the outliers."""
    widest = [max(group, key=lambda judged: judged.family.widths[-1]) for group in laws.groups(families, _INPUTS)]
    known = [judged for judged in widest if judged.fisher.eigenvalues.shape[1:] > (4,)]
    shown = some(known, PANELS)
    if not shown:
        return None
    names = laws.labels(shown, _INPUTS)
    with rc_context(STYLE):
        figure, axes = _panels(len(shown))
        for axis, judged, name in zip(axes, shown, names, strict=False):
            _histogram(axis, judged)
            axis.set_title(folded(f"{name}, $M$ = {judged.family.settings[-1].width}"))
        for axis in _left(axes, len(shown)):
            axis.set_ylabel("eigenvalues / e-fold")
        legend_below(figure, axes)
    first = shown[0].family.first
    outputs, counts = int(first.law["outputs"] or 1), {judged.family.settings[-1].inputs for judged in shown}
    inputs = f"{counts.pop()} inputs" if len(counts) == 1 else "as many inputs as the scenario says"
    caption = (
        f"Eigenvalues that can differ from zero, of up to 200 networks of the largest width, {inputs}, {outputs} "
        f"output{'s' * (outputs > 1)}; per network and unit of the logarithm. Dashed: theory of the C large "
        "eigenvalues, where there is one. All other eigenvalues of the P x P matrix are zero."
    ) + selection(len(shown), len(known), "laws")
    return Drawing("fisher-spectrum", figure, "Fisher information: spectrum and outliers", caption)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure of small multiples; axes that are not used are taken out."""
    rows, columns = grid(count)
    figure = canvas(FULL if columns > 1 else 0.72 * FULL, 2.6 * rows + 0.7)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def _left(axes: Sequence[Axes], count: int) -> list[Axes]:
    """The axes of the first column."""
    return list(axes[:: grid(count)[1]])


def _histogram(axis: Axes, judged: Judged) -> None:
    values, setting = judged.fisher.eigenvalues, judged.family.settings[-1]
    positive = values[values > 1e-9 * np.nanmax(values)]
    edges = np.geomspace(positive.min(), positive.max() * 1.02, 60)
    outputs = int(setting.law["outputs"] or 1)
    axis.set_xscale("log")
    for part, colour, label in (
        (values[:, outputs:], PALETTE[0], "bulk"),
        (values[:, :outputs], PALETTE[1], f"{outputs} largest" if outputs > 1 else "largest"),
    ):
        counts, _ = np.histogram(part[np.isfinite(part)], edges)
        axis.stairs(
            counts / len(values) / np.diff(np.log(edges)), edges, fill=True, alpha=0.55, color=colour, label=label
        )
    limit = judged.fisher.limits[-1] if judged.fisher.limits else np.nan
    if np.isfinite(limit):
        axis.axvline(limit, color=INK, ls="--", lw=1, label="theory")
    plain_log(axis, "x")
    plain_log(axis)
    axis.set_xlabel(r"eigenvalue $\lambda$")


def degeneracy(families: Sequence[Judged]) -> Drawing | None:
    """How the C largest eigenvalues, equal in the limit, split at finite width: every law with several outputs."""
    known = [judged for judged in families if _several(judged)]
    shown = some(known, PANELS)
    if not shown:
        return None
    names = laws.labels(shown, _INPUTS) if len(shown) > 1 else [""]
    with rc_context(STYLE):
        figure, axes = _panels(len(shown))
        for axis, judged, name in zip(axes, shown, names, strict=True):
            _splitting(axis, judged)
            axis.set_title(folded(name))
        for axis in _left(axes, len(shown)):
            axis.set_ylabel(r"$\langle\lambda_i\rangle$ / theory")
        legend_below(figure, axes)
    outputs = sorted({int(judged.family.first.law["outputs"]) for judged in shown})
    caption = (
        "Mean over networks of the largest eigenvalues, one line each, divided by leading-order theory, where all are "
        "equal. The kernel blocks between two outputs have mean zero and a variance of order 1/M: they split the "
        "eigenvalues by a relative M^(-1/2), so the first is no measure of the theory; the mean is."
    ) + selection(len(shown), len(known), "laws")
    largest = f"the {outputs[0]} largest eigenvalues" if len(outputs) == 1 else "the largest eigenvalues"
    return Drawing("fisher-splitting", figure, f"Fisher information: {largest}", caption)


def _splitting(axis: Axes, judged: Judged) -> None:
    outputs = int(judged.family.first.law["outputs"])
    widths = judged.family.widths
    top = np.array(judged.fisher.top) / np.array(judged.fisher.limits)[:, None]  # (W, C + 1)
    for k, look in enumerate(ordered(outputs)):
        label = "each of them" if k == outputs // 2 else None
        axis.plot(widths, top[:, k], "o-", color=look.colour, ms=3, lw=0.8, label=label)
    mean = top[:, :outputs].mean(1)
    axis.plot(widths, mean, "s", color=INK, ms=6, mfc="white", label=f"mean of the {outputs} largest")
    axis.plot(widths, top[:, outputs], "v:", color=WARNING, lw=0.8, label=f"number {outputs + 1}: bulk")
    axis.axhline(1.0, color=INK, lw=1, label="theory, all equal")
    width_axis(axis, widths.tolist())


def _several(judged: Judged) -> bool:
    outputs = int(judged.family.first.law["outputs"] or 1)
    found = judged.fisher
    return (
        outputs > 1
        and len(found.top) > 1
        and all(len(t) > outputs for t in found.top)
        and bool(found.limits)
        and bool(np.isfinite(found.limits).all())
    )


def bounds(families: Sequence[Judged]) -> Drawing | None:
    """Distribution of the learning-rate bound over networks, at every width: over theory, or over its median."""
    known = []
    for group in laws.groups(families, _INPUTS):
        curves = _bounds(group)
        if curves:
            known.append((group, curves))
    shown = some(known, PANELS)
    if not shown:
        return None
    names = laws.labels([group[0] for group, _ in shown], _INPUTS)
    every = sorted({width for _, curves in shown for width in curves[0]})
    looks = dict(zip(every, ordered(len(every)), strict=True))
    compared = [curves[1] for _, curves in shown]
    with rc_context(STYLE):
        figure, axes = _panels(len(shown))
        for axis, (_, (curves, theory)), name in zip(axes, shown, names, strict=True):
            for width, ratio in curves.items():
                share = np.arange(1, ratio.size + 1) / ratio.size
                axis.step(ratio, share, color=looks[width].colour, lw=1.2, where="post", label=f"$M$ = {width}")
            axis.axvline(1.0, color=INK, lw=0.9, ls="--")
            low = min(float(np.quantile(ratio, 0.003)) for ratio in curves.values())
            high = max(float(np.quantile(ratio, 0.997)) for ratio in curves.values())
            axis.set_xlim(min(low, 0.95) * 0.97, max(high, 1.05) * 1.03)
            axis.set_xlabel(r"$(2/\lambda_{\max})$ / " + ("theory" if theory else "median"))
            axis.set_title(folded(name))
        for axis in _left(axes, len(shown)):
            axis.set_ylabel("share of networks below")
        legend_below(figure, axes)
    unit = {
        (True,): "theory at the same width",
        (False,): "its median at the largest width, since there is no theory",
    }.get(tuple(dict.fromkeys(compared)), "theory at the same width, or its median where there is none")
    caption = (
        "Gradient descent on (1/2T) Σ|f − y|² is unstable above the learning rate 2/λ_max: its distribution over "
        f"random networks, relative to {unit}. It narrows like M^(-1/2)."
    ) + selection(len(shown), len(known), "laws")
    return Drawing("learning-rate", figure, "Learning-rate bound over networks", caption)


def _bounds(group: Sequence[Judged]) -> tuple[dict[int, Floats], bool] | None:
    """Sorted bounds by width, and whether they are over theory; None without any."""
    raw: dict[int, tuple[Floats, float]] = {}
    for judged in group:
        limits = judged.fisher.limits or [np.nan] * len(judged.fisher.bounds)
        for setting, values, limit in zip(judged.family.settings, judged.fisher.bounds, limits, strict=False):
            numbers = np.sort(values[np.isfinite(values)])
            if numbers.size >= 2:
                raw[setting.width] = numbers, limit
    if not raw:
        return None
    widths = sorted(raw)
    if all(np.isfinite(raw[width][1]) for width in widths):
        return {width: raw[width][0] * raw[width][1] / 2.0 for width in widths}, True
    unit = float(np.median(raw[widths[-1]][0]))
    return {width: raw[width][0] / unit for width in widths}, False
