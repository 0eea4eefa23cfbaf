"""Figures of the Fisher information: largest eigenvalues against the width, spectrum, learning-rate bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from mcnet_analysis.draw.style import INK, STYLE, Drawing, distinguish
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.fisher import growth_exponent
from mcnet_analysis.statistics.estimate import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SHOWN = 6
PANELS = 4


class _Series(NamedTuple):
    label: str
    widths: Floats
    mean: Floats
    error: Floats
    theory: Floats


def largest_eigenvalue(families: Sequence[Judged]) -> Drawing | None:
    """lambda_max/M against M for every law, with theory and growth exponents.

    Not divided by M for several normalisations, of which some do not grow, and in parametrisations without growth.
    """
    series = _series(families)
    if not series:
        return None
    normalized = len({judged.family.first.law["normalization"] for judged in families}) > 1
    growing = all(judged.family.first.law["parameterization"] == "standard" for judged in families)
    divided = growing and not normalized
    with rc_context(STYLE):
        figure = Figure(figsize=(6.6, 3.9))
        axis = figure.subplots()
        fitted = []
        for one, colour in zip(series, _COLOURS, strict=False):
            unit = one.widths if divided else np.ones_like(one.widths)
            name = one.label
            if growing and one.widths.size >= 3:
                slope, error = growth_exponent(one.widths, one.mean, one.error)
                fitted.append(f"{one.label}: {slope:.3f} ± {error:.3f}")
                name += f" ∝ $M^{{{slope:.2f} \\pm {error:.2f}}}$"
            axis.errorbar(one.widths, one.mean / unit, one.error / unit, fmt="o", ms=4, lw=1, color=colour, label=name)
            if np.isfinite(one.theory).any():
                axis.plot(one.widths, one.theory / unit, color=colour, lw=1.1)
            elif normalized:
                axis.plot(one.widths, one.mean, color=colour, lw=0.7, ls=":")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        if normalized:
            axis.set_yscale("log")
        axis.set_xlabel("width $M$")
        axis.set_ylabel(r"$\langle\lambda_{\max}\rangle / M$" if divided else r"$\langle\lambda_{\max}\rangle$")
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    caption = (
        "Largest eigenvalue of the Fisher information (several outputs: mean of the C largest), mean over networks and "
        "standard error; lines: theory, with 1/M terms where they are known, biases included where they are trained. "
    )
    caption += f"Growth exponents fitted over the widths: {'; '.join(fitted)}." if fitted else ""
    return Drawing(figure, "Fisher information: largest eigenvalue against the width", caption)


def _series(families: Sequence[Judged]) -> list[_Series]:
    """Largest eigenvalues by law; families that differ in the number of inputs too are one series."""
    found = []
    for group in _groups(families)[:SHOWN]:
        rows = [row for judged in group for row in _rows(judged)]
        if len(rows) >= 2:
            found.append(_Series(distinguish(group[0], families), *np.array(sorted(rows)).T))
    return found


def _groups(families: Sequence[Judged]) -> list[list[Judged]]:
    """Families of one law; the number of inputs may differ, and grow with the width."""
    groups: dict[str, list[Judged]] = {}
    for judged in families:
        law = {key: value for key, value in judged.family.first.law.items() if key != "inputs"}
        groups.setdefault(repr(law), []).append(judged)
    return list(groups.values())


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
    widest = [max(group, key=lambda judged: judged.family.widths[-1]) for group in _groups(families)]
    shown = [judged for judged in widest if judged.fisher.eigenvalues.shape[1:] > (4,)][:PANELS]
    if not shown:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=_panels(len(shown)))
        for axis, judged in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            _histogram(axis, judged)
            axis.set_title(f"{distinguish(judged, families)}, $M={judged.family.settings[-1].width}$")
        figure.axes[0].set_ylabel("eigenvalues per network and e-fold")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    first = shown[0].family.first
    outputs, counts = int(first.law["outputs"] or 1), {judged.family.settings[-1].inputs for judged in shown}
    inputs = f"{counts.pop()} inputs" if len(counts) == 1 else "as many inputs as the scenario says"
    caption = (
        f"Eigenvalues that can differ from zero, of up to 200 networks of the largest width, {inputs}, {outputs} "
        f"output{'s' * (outputs > 1)}; per network and unit of the logarithm. Dashed: theory of the C large "
        "eigenvalues, where there is one. All other eigenvalues of the P x P matrix are zero."
    )
    return Drawing(figure, "Fisher information: spectrum and outliers", caption)


def _panels(count: int) -> tuple[float, float]:
    return (5.8 if count == 1 else min(2.9 * count, 9.6), 3.5)


def _histogram(axis: Axes, judged: Judged) -> None:
    values, setting = judged.fisher.eigenvalues, judged.family.settings[-1]
    positive = values[values > 1e-9 * np.nanmax(values)]
    edges = np.geomspace(positive.min(), positive.max() * 1.02, 70)
    outputs = int(setting.law["outputs"] or 1)
    for part, colour, label in (
        (values[:, outputs:], "#0072B2", "bulk"),
        (values[:, :outputs], "#D55E00", f"{outputs} largest" if outputs > 1 else "largest"),
    ):
        counts, _ = np.histogram(part[np.isfinite(part)], edges)
        axis.stairs(
            counts / len(values) / np.diff(np.log(edges)), edges, fill=True, alpha=0.55, color=colour, label=label
        )
    limit = judged.fisher.limits[-1] if judged.fisher.limits else np.nan
    if np.isfinite(limit):
        axis.axvline(limit, color=INK, ls="--", lw=1, label="theory")
    axis.set_xscale("log")
    axis.set_yscale("log")
    if edges[-1] > 20 * edges[0]:  # decades have labels enough
        axis.xaxis.set_minor_formatter(lambda *_: "")
    axis.set_xlabel(r"eigenvalue $\lambda$")


def degeneracy(families: Sequence[Judged]) -> Drawing | None:
    """How the C largest eigenvalues, equal in the limit, split at finite width."""
    shown = next((judged for judged in families if _several(judged)), None)
    if shown is None:
        return None
    outputs = int(shown.family.first.law["outputs"])
    widths = shown.family.widths
    top = np.array(shown.fisher.top) / np.array(shown.fisher.limits)[:, None]  # (W, C + 1)
    colours = colormaps["viridis"](np.linspace(0.0, 0.85, outputs))
    with rc_context(STYLE):
        figure = Figure(figsize=(5.8, 3.8))
        axis = figure.subplots()
        for k in range(outputs):
            axis.plot(widths, top[:, k], "o-", color=colours[k], ms=3, lw=0.8)
        axis.plot(
            widths, top[:, :outputs].mean(1), "s", color=INK, ms=6, mfc="white", label=f"mean of the {outputs} largest"
        )
        axis.plot(widths, top[:, outputs], "v:", color="#B3261E", ms=4, lw=0.8, label=f"number {outputs + 1}: bulk")
        axis.axhline(1.0, color=INK, lw=1, label="theory, all equal")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axis.set_xlabel("width $M$")
        axis.set_ylabel(r"$\langle\lambda_i\rangle$ / theory")
        axis.legend(loc="best")
    caption = (
        "Mean over networks of the largest eigenvalues, one line each, divided by leading-order theory, where all are "
        "equal. The kernel blocks between two outputs have mean zero and a variance of order 1/M: they split the "
        "eigenvalues by a relative M^(-1/2), so the first is no measure of the theory; the mean is."
    )
    return Drawing(figure, f"Fisher information: the {outputs} largest eigenvalues", caption)


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
    """Distribution of the learning-rate bound over networks, at every width."""
    known = [judged for judged in families if judged.fisher.bounds and np.isfinite(judged.fisher.limits).any()]
    groups = _groups(known)[:PANELS]
    if not groups:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=_panels(len(groups)))
        for axis, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
            curves = sorted(
                (
                    (setting.width, values[np.isfinite(values)] * limit / 2.0)
                    for judged in group
                    for setting, values, limit in zip(
                        judged.family.settings, judged.fisher.bounds, judged.fisher.limits, strict=True
                    )
                    if np.isfinite(limit)
                ),
                key=lambda curve: curve[0],
            )
            most = 1.0
            for (width, ratio), colour in zip(
                curves, colormaps["viridis"](np.linspace(0, 0.85, len(curves))), strict=True
            ):
                share = np.arange(1, ratio.size + 1) / max(ratio.size, 1)
                most = max(most, float(np.quantile(ratio, 0.995)) if ratio.size else 0.0)
                axis.step(np.sort(ratio), share, color=colour, lw=1.2, label=f"{width}")
            axis.axvline(1.0, color=INK, lw=0.9, ls="--")
            axis.set_xlim(right=1.05 * most)
            axis.set_xlabel(r"$(2/\lambda_{\max})$ / theory")
            axis.set_title(distinguish(group[0], known))
        figure.axes[0].set_ylabel("share of networks below")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, title="width", loc="outside lower center", ncols=6)
    caption = (
        "Gradient descent on (1/2T) Σ|f − y|² is unstable above the learning rate 2/λ_max: its distribution over "
        "random networks, relative to leading-order theory at the same width. It narrows like M^(-1/2)."
    )
    return Drawing(figure, "Learning-rate bound over networks", caption)
