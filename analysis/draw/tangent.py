"""Figures of the tangent kernel: coefficients of its entries, gradient independence, spread against depth/width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.style import (
    FAINT,
    FULL,
    INK,
    PALETTE,
    STYLE,
    WARNING,
    Drawing,
    canvas,
    legend_below,
    ordered,
    selection,
    some,
)
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.predict.prediction import homogeneous_slope
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Column, Setting, column_of

from mcnet.theory import finite_width, tangent
from mcnet.theory.exact import laws as exact_laws

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENOUGH = 3  # depths that make a figure of the spread against depth/width
SHOWN = 12  # families in one figure
_ENTRY = {True: (r"$\Theta_{aa}$", "o", PALETTE[0]), False: (r"$\Theta_{ab}$", "s", PALETTE[4])}


def kernel_coefficients(families: Sequence[Judged]) -> Drawing | None:
    """Fitted a1 and v1 of every kernel entry beside theory, with and without gradient independence."""
    known = [judged for judged in families if _fitted(judged)]
    shown = some(known, SHOWN)
    if not shown:
        return None
    names = laws.labels(shown)
    with rc_context(STYLE):
        figure = canvas(FULL, 1.5 + 0.62 * max(len(shown), 2))
        left, right = figure.subplots(1, 2, sharey=True)
        for place, judged in enumerate(shown):
            _family_rows(left, judged, "a1", place)
            _family_rows(right, judged, "v1", place)
        left.axvline(0, color=FAINT, lw=0.8, zorder=0)
        left.set_yticks(range(len(shown)), names)
        left.set_ylim(len(shown) - 0.45, -0.55)
        left.set_xlabel(r"$a_1$ / limit of the diagonal")
        right.set_xlabel(r"$v_1$ / limit of the diagonal²")
        left.set_title("shift of the mean")
        right.set_title("variance")
        for axis in (left, right):
            axis.grid(axis="y", color=FAINT, alpha=0.25, lw=14 if len(shown) > 3 else 0)
            axis.set_axisbelow(True)
        legend_below(figure, [left, right])
    caption = (
        "Coefficients of 1/M of the entries of the tangent kernel. Markers with errors: fitted over the widths, every "
        "entry on its own. Black bars: theory. "
    )
    if any(judged.family.first.why_no_theory is None for judged in shown):
        caption += (
            "Red crosses: what theory would say if the weights of the backward pass were independent of those of the "
            "forward pass. The limit and, to this order, the variances do not see the assumption; the means do, except "
            "the diagonal of homogeneous activations. "
        )
    caption += " ".join(filter(None, map(_independence, shown, names)))
    caption = caption.rstrip() + selection(len(shown), len(known), "laws")
    title = "Tangent kernel: measured and predicted coefficients, gradient independence"
    return Drawing("kernel-coefficients", figure, title, caption)


def _fitted(judged: Judged, statistic: str = "a1") -> list[dict[str, Any]]:
    return [
        row
        for row in judged.comparisons
        if row["observable"] == "ntk" and row["statistic"] == statistic and "pair" in row and np.isfinite(row["error"])
    ]


def _family_rows(axis: Axes, judged: Judged, statistic: str, place: int) -> None:
    limits = dict(zip(judged.columns, judged.predicted.limit.tolist(), strict=True))
    rows = _fitted(judged, statistic)
    offsets = np.linspace(-0.27, 0.27, len(rows)) if len(rows) > 1 else np.zeros(1)
    for row, offset in zip(rows, offsets, strict=True):
        a, b = row["pair"]
        unit = math.sqrt(limits[Column("ntk", (a, a), None)] * limits[Column("ntk", (b, b), None)])
        unit = unit if statistic == "a1" else unit**2
        y, (entry, marker, colour) = place + offset, _ENTRY[a == b]
        axis.plot([row["predicted"] / unit] * 2, [y - 0.09, y + 0.09], color=INK, lw=2.2, label="theory")
        axis.errorbar(
            row["measured"] / unit, y, xerr=row["error"] / unit, fmt=marker, ms=3.5, lw=1, color=colour, label=entry
        )
        if statistic == "a1" and (without := independent(judged.family.first, column_of(row))) is not None:
            axis.plot(without / unit, y, "x", color=WARNING, ms=5, label="gradient independence")


def independent(setting: Setting, column: Column) -> float | None:
    """a1 of a kernel entry as gradient independence would have it; None where nobody computed that."""
    if setting.why_no_theory is not None:
        return None
    index = tuple(dict.fromkeys(column.inputs))
    law = setting.law
    found = finite_width.coefficients(
        setting.gram[np.ix_(index, index)],
        setting.activation,
        law["weights"],
        law["sigma_w2"],
        law["sigma_b2"],
        setting.depth,
        law["parameterization"],
        law["train_biases"],
        not setting.fluctuating,
        input_over_width=setting.input_ratio or 1.0,
        gradient_independence=True,
    )
    return float(found.ntk_mean[0, -1])


def _independence(judged: Judged, name: str) -> str:
    """By how many standard errors the data reject the assumption, and the theory; nothing where they say the same."""
    known = [(independent(judged.family.first, column_of(row)), row) for row in _fitted(judged)]
    assumed, rows = [a for a, _ in known if a is not None], [row for a, row in known if a is not None]
    if all(abs(a - row["predicted"]) < 0.1 * row["error"] for a, row in zip(assumed, rows, strict=True)):
        return ""
    off = max(abs(row["measured"] - a) / row["error"] for a, row in zip(assumed, rows, strict=True))
    theory = max(abs(row["measured"] - row["predicted"]) / row["error"] for row in rows)
    return f"For {name} the assumption is off by up to {off:.1f} standard errors, theory by {theory:.1f}."


def spread_against_depth(families: Sequence[Judged]) -> Drawing | None:
    """E Theta^2 / (E Theta)^2 against depth/width, with the exact curve where it is known."""
    known = [judged for judged in families if any(column.observable == "ntk" for column in judged.columns)]
    group = max(laws.groups(known, frozenset({"depth"})), key=len, default=[])
    if len({judged.family.first.depth for judged in group}) < ENOUGH:
        return None
    group = sorted(group, key=lambda judged: judged.family.first.depth)
    with rc_context(STYLE):
        figure = canvas(0.85 * FULL, 4.2)
        axis = figure.subplots()
        exact: list[tuple[float, float]] = []
        for judged, look in zip(group, ordered(len(group)), strict=True):
            x, y, error = _spread(judged)
            label = f"depth {judged.family.first.depth}"
            axis.errorbar(x, y, error, fmt=look.marker, ms=4.5, lw=1, color=look.colour, label=label)
            for setting in judged.family.settings:
                ratio = exact_spread(setting, setting.width)
                if ratio is not None:
                    exact.append((setting.depth / setting.width, ratio - 1))
        if exact:
            axis.plot(*np.array(exact).T, "_", color=INK, ms=10, mew=1.4, zorder=3, label="exact, at depth and width")
            deep = group[-1].family.first.depth
            widths = np.geomspace(deep / max(x for x, _ in exact), 1e3, 60).astype(int)
            ratios = np.array([exact_spread(group[0].family.first, m, deep) for m in widths], dtype=np.float64)
            axis.plot(deep / widths, ratios - 1, color=INK, lw=1, label=f"exact, depth {deep} at any width")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("depth / width")
        axis.set_ylabel(r"$\langle\Theta^2\rangle/\langle\Theta\rangle^2 - 1$")
        legend_below(figure, [axis])
    caption = "Relative variance of the diagonal of the tangent kernel over networks, at all depths and widths. "
    if exact:
        caption += (
            "Black dashes: the exact value at that depth and width; line: the exact value of the deepest networks at "
            "any width. "
        )
    caption += (
        "Where depth/width is not small the law has heavy tails: the few networks that carry the variance may be "
        "missing from a sample, which then lies below the exact value by more than its error says."
    )
    return Drawing("kernel-spread", figure, "Tangent kernel: fluctuation against depth/width", caption)


def _spread(judged: Judged) -> tuple[Floats, Floats, Floats]:
    j = next(i for i, c in enumerate(judged.columns) if c.observable == "ntk")
    x, y, error = [], [], []
    for setting, m in zip(judged.family.settings, judged.moments, strict=True):
        relative = m.variance[j] / m.mean[j] ** 2
        # delta method; mean and variance are positively correlated, so this is an upper bound
        x.append(setting.depth / setting.width)
        y.append(relative)
        error.append(relative * math.hypot(m.variance_error[j] / m.variance[j], 2 * m.mean_error[j] / m.mean[j]))
    return np.array(x), np.array(y), np.array(error)


def exact_spread(setting: Setting, width: int, depth: int | None = None) -> float | None:
    """E Theta^2/(E Theta)^2 of a homogeneous activation without biases, exact; None where it is not known."""
    slope, law = homogeneous_slope(setting), setting.law
    if slope is None or law["weights"] != "gaussian" or law["outputs"] != 1:
        return None
    layers = setting.depth if depth is None else depth
    alpha, _ = tangent.layer_factors(
        law["parameterization"], law["sigma_w2"], 0.0, layers, False, width=float(width), input_dimension=float(width)
    )
    found = exact_laws.tangent_kernel_moments(slope, law["sigma_w2"], [int(width)] * layers, alpha, 1.0)
    return found.second / found.mean**2
