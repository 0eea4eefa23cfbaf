"""Figures of the tangent kernel: coefficients of its entries, gradient independence, spread against depth/width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from mcnet_analysis.draw.style import INK, STYLE, Drawing, distinguish
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.predict.prediction import homogeneous_slope
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Column, Setting, column_of

from mcnet.theory import finite_width, tangent
from mcnet.theory.exact import laws

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENOUGH = 3  # depths that make a figure of the spread against depth/width
SHOWN = 8  # families side by side
_ENTRY = {True: r"$\Theta_{aa}$", False: r"$\Theta_{ab}$"}


def kernel_coefficients(families: Sequence[Judged]) -> Drawing | None:
    """Fitted a1 and v1 of every kernel entry beside theory, with and without gradient independence."""
    shown = [judged for judged in families if _fitted(judged)][:SHOWN]
    if not shown:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.2 + 0.62 * max(len(shown), 3)))
        left, right = figure.subplots(1, 2, sharey=True)
        for place, judged in enumerate(shown):
            _family_rows(left, judged, "a1", place)
            _family_rows(right, judged, "v1", place)
        left.axvline(0, color="#BBBBBB", lw=0.8, zorder=0)
        left.set_yticks(range(len(shown)), [distinguish(judged, shown) for judged in shown])
        left.invert_yaxis()
        left.set_xlabel(r"$a_1$ / limit of the diagonal")
        right.set_xlabel(r"$v_1$ / limit of the diagonal²")
        left.set_title("shift of the mean")
        right.set_title("variance")
        handles, labels = left.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=4)
    caption = (
        "Coefficients of 1/M of the entries of the tangent kernel. Dots with errors: fitted over the widths, every "
        "entry on its own. Black bars: theory. Red crosses: what theory would say if the weights of the backward pass "
        "were independent of those of the forward pass. The limit and, to this order, the variances do not see the "
        "assumption; the means do, except the diagonal of homogeneous activations. "
    ) + " ".join(filter(None, (_independence(judged, shown) for judged in shown)))
    return Drawing(figure, "Tangent kernel: measured and predicted coefficients, and gradient independence", caption)


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
        y, colour = place + offset, "#0072B2" if a == b else "#E69F00"
        axis.plot([row["predicted"] / unit] * 2, [y - 0.09, y + 0.09], color=INK, lw=2.2, label="theory")
        axis.errorbar(
            row["measured"] / unit,
            y,
            xerr=row["error"] / unit,
            fmt="o",
            ms=3.5,
            lw=1,
            color=colour,
            label=_ENTRY[a == b],
        )
        if statistic == "a1":
            without = independent(judged.family.first, column_of(row))
            axis.plot(without / unit, y, "x", color="#B3261E", ms=5, label="gradient independence")


def independent(setting: Setting, column: Column) -> float:
    """a1 of a kernel entry as gradient independence would have it."""
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


def _independence(judged: Judged, shown: Sequence[Judged]) -> str:
    """By how many standard errors the data reject the assumption, and the theory; nothing where they say the same."""
    rows = _fitted(judged)
    assumed = [independent(judged.family.first, column_of(row)) for row in rows]
    if all(abs(a - row["predicted"]) < 0.1 * row["error"] for a, row in zip(assumed, rows, strict=True)):
        return ""
    off = max(abs(row["measured"] - a) / row["error"] for a, row in zip(assumed, rows, strict=True))
    theory = max(abs(row["measured"] - row["predicted"]) / row["error"] for row in rows)
    name = distinguish(judged, shown)
    return f"For {name} the assumption is off by up to {off:.1f} standard errors, theory by {theory:.1f}."


def spread_against_depth(families: Sequence[Judged]) -> Drawing | None:
    """E Theta^2 / (E Theta)^2 against depth/width, with the exact curve where it is known."""
    groups: dict[str, list[Judged]] = {}
    for judged in families:
        if any(column.observable == "ntk" for column in judged.columns):
            law = {key: value for key, value in judged.family.first.law.items() if key != "depth"}
            groups.setdefault(repr(law), []).append(judged)
    group = max(groups.values(), key=len, default=[])
    if len({judged.family.first.depth for judged in group}) < ENOUGH:
        return None
    colours = colormaps["viridis"](np.linspace(0.0, 0.85, len(group)))
    with rc_context(STYLE):
        figure = Figure(figsize=(5.8, 3.9))
        axis = figure.subplots()
        ratios, exact = [], []
        for judged, colour in zip(sorted(group, key=lambda judged: judged.family.first.depth), colours, strict=True):
            x, y, error = _spread(judged)
            axis.errorbar(x, y, error, fmt="o", ms=4, lw=1, color=colour, label=f"{judged.family.first.depth}")
            for setting in judged.family.settings:
                ratio = exact_spread(setting, setting.width)
                if ratio is not None:
                    axis.plot(setting.depth / setting.width, ratio - 1, "_", color=INK, ms=9, mew=1.4, zorder=3)
                    ratios.append(setting.depth / setting.width)
                    exact.append(ratio - 1)
        first = group[0].family.first
        if exact:
            deep = max(judged.family.first.depth for judged in group)
            lines = [
                (deep / m, exact_spread(first, m, deep)) for m in np.geomspace(deep / max(ratios), 1e3, 60).astype(int)
            ]
            line = np.array([(x, r - 1) for x, r in lines if r is not None])
            axis.plot(*line.T, color=INK, lw=1, label=f"exact, {deep}")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("depth / width")
        axis.set_ylabel(r"$\mathbb{E}\,\Theta^2/(\mathbb{E}\,\Theta)^2 - 1$")
        axis.legend(title="depth", loc="upper left")
    caption = (
        "Relative variance of the diagonal of the tangent kernel over networks, at all depths and widths. Black "
        "dashes: the exact value at that depth and width; line: the exact value of the deepest networks at any width. "
        "Where depth/width is not small the law has heavy tails: the few networks that carry the variance may be "
        "missing from a sample, which then lies below the exact value by more than its error says."
    )
    return Drawing(figure, "Tangent kernel: fluctuation against depth/width", caption)


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
    found = laws.tangent_kernel_moments(slope, law["sigma_w2"], [int(width)] * layers, alpha, 1.0)
    return found.second / found.mean**2
