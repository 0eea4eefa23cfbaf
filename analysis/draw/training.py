"""Figures of networks in training: losses, powers of the width, boundaries, the catapult, rates against the width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LogNorm
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.style import (
    FAINT,
    FULL,
    PANEL,
    STYLE,
    WARNING,
    Drawing,
    canvas,
    categories,
    folded,
    grid,
    legend_below,
    ordered,
    plain_log,
    selection,
    some,
    width_axis,
)
from mcnet_analysis.draw.text import with_error
from mcnet_analysis.judge.training import TWO_POWERS, Course, Power, Trained
from mcnet_analysis.statistics.estimate import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 6
ROUNDING = 1e-18
"""Losses below this share of the first one are rounding and not drawn."""

WIDEST = 4.0
"""Ratio of the ends of the axis of a quantity that hardly changes."""

LEAST_RATES = 6
"""Learning rates from which on they are drawn as a map."""

_NAMES = {
    "linear_deviation": "distance from the linear dynamics",
    "ntk_drift": "relative change of the kernel",
    "activation_size": r"size of $h^{l}$",
    "activation_change": r"change of $h^{l}$",
    "output_change": "change of the outputs",
    "kernel_size": "size of the kernel",
    "kernel_change": "change of the kernel",
    "boundary_instability": "instability",
    "boundary_monotone": "loss rises",
    "boundary_divergence": "divergence",
}


def drawings(trained: Sequence[Trained]) -> list[Drawing]:
    """All that there is to see of a study in training."""
    found = [peaks(trained), powers(trained), boundaries(trained), online(trained), rate_map(trained), losses(trained)]
    return [drawing for drawing in found if drawing is not None]


def losses(trained: Sequence[Trained]) -> Drawing | None:
    """Median of the loss against the step, a curve for each width."""
    known = [(each, course) for each in trained for course in each.losses if _alive(course).any()]
    if not known:
        return None
    chosen = some(known, PANELS)
    rows, columns = grid(len(chosen))
    names = dict(zip(map(id, trained), laws.labels(trained), strict=True))
    with rc_context(STYLE):
        figure = canvas(max(FULL, PANEL * columns) if columns > 1 else 0.72 * FULL, 2.7 * rows + 0.5)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, (each, course) in zip(axes, chosen, strict=False):
            widths, alive = each.family.widths, _alive(course)
            for look, width, values, there in zip(ordered(len(widths)), widths, course.mean, alive, strict=True):
                if there.sum() > 1:
                    axis.plot(course.at[there], values[there], color=look.colour, label=f"$M$ = {width:g}")
            axis.set_yscale("log")
            several = len({id(one) for one, _ in chosen}) > 1
            parts = [names[id(each)]] if several else []
            parts += [] if course.rate is None else [_rate(each, course.rate)]
            axis.set_title(folded(", ".join(parts)))
            axis.set_xlabel("step")
        axes[0].set_ylabel("loss, median")
        for axis in axes[len(chosen) :]:
            axis.remove()
        legend_below(figure, figure.axes)
    caption = (
        "Median over networks of the loss before each step. A curve ends where half of the networks have diverged."
    ) + selection(len(chosen), len(known), "laws and learning rates")
    return Drawing("training-loss", figure, "Loss along the training", caption)


def _alive(course: Course) -> Floats:
    return np.asarray(np.isfinite(course.mean) & (course.mean > ROUNDING * course.mean[:, :1]))


def _rate(each: Trained, rate: float) -> str:
    return rf"$\eta$ = {rate:.3g}" + (r" $\cdot\,2/\lambda_{\max}$" if each.bound else "")


def powers(trained: Sequence[Trained]) -> Drawing | None:
    """Quantities at the end of the training against the width, with the powers that were fitted."""
    known = [(each, power) for each in trained for power in each.powers if _top(each, power)]
    if not known:
        return None
    quantities = some(list(dict.fromkeys(power.name for _, power in known)), PANELS)
    rows, columns = grid(len(quantities))
    names = dict(zip(map(id, trained), laws.labels(trained), strict=True))
    looks = dict(zip(map(id, trained), categories(len(trained)), strict=True))
    with rc_context(STYLE):
        figure = canvas(max(FULL, PANEL * columns) if columns > 1 else 0.72 * FULL, 3.1 * rows + 0.8)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, name in zip(axes, quantities, strict=False):
            mine = [(each, power) for each, power in known if power.name == name]
            for each, power in mine:
                _power(axis, each, power, names[id(each)], looks[id(each)].colour, looks[id(each)].marker)
            width_axis(axis, [width for each, _ in mine for width in each.family.widths])
            low, high = axis.get_ylim()
            if high < WIDEST * low:  # what stays the same shall look so
                middle = math.sqrt(low * high)
                axis.set_ylim(middle / math.sqrt(WIDEST), middle * math.sqrt(WIDEST))
            plain_log(axis)
            axis.set_title(_NAMES[name])
            axis.legend(loc="best", fontsize=7)
        for axis in axes[len(quantities) :]:
            axis.remove()
    caption = (
        "Mean over networks at the last recorded step (of the distance from the linear dynamics: its largest value) "
        "against the width, with standard errors. Lines: the fitted power of the width with its error, or for "
        "activations with a kink the law a M^(-1/2) + b M^(-3/4); dotted: the predicted power through the largest "
        "width."
    )
    return Drawing("training-powers", figure, "Powers of the width in training", caption)


def _top(each: Trained, power: Power) -> bool:
    """The last hidden layer stands for all."""
    return power.layer in (None, each.family.first.depth)


def _power(axis: Axes, each: Trained, power: Power, name: str, colour: str, marker: str) -> None:
    widths = each.family.widths.astype(np.float64)
    line = np.geomspace(widths[0], widths[-1], 60)
    label = f"{name}: " if name else ""
    if np.isfinite(power.terms).all():
        label += rf"{power.terms[0]:.2g} $M^{{-1/2}}$ {power.terms[1]:+.2g} $M^{{-3/4}}$"
        axis.plot(line, sum(c * line**p for c, p in zip(power.terms, TWO_POWERS, strict=True)), color=colour, lw=1)
    elif math.isfinite(power.exponent):
        label += f"exponent {with_error(power.exponent, power.exponent_error)}"
        precision = power.mean / power.error
        center = float(np.average(np.log(power.mean) - power.exponent * np.log(widths), weights=precision**2))
        axis.plot(line, np.exp(center) * line**power.exponent, color=colour, lw=1)
    if math.isfinite(power.predicted):
        axis.plot(line, power.mean[-1] * (line / widths[-1]) ** power.predicted, color=colour, lw=1, ls=":")
    axis.errorbar(widths, power.mean, power.error, fmt=marker, color=colour, label=label, zorder=3)


def boundaries(trained: Sequence[Trained]) -> Drawing | None:
    """Three boundaries of the learning rate in units of 2/lambda_max against the width."""
    known = [each for each in trained if each.boundaries]
    if not known:
        return None
    chosen = some(known, PANELS)
    rows, columns = grid(len(chosen))
    with rc_context(STYLE):
        figure = canvas(max(FULL, PANEL * columns) if columns > 1 else 0.72 * FULL, 3.0 * rows + 0.6)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        kinds = list(dict.fromkeys(course.name for each in chosen for course in each.boundaries))
        looks = dict(zip(kinds, categories(len(kinds)), strict=True))
        for axis, each, label in zip(axes, chosen, laws.labels(chosen), strict=False):
            axis.axhline(1.0, color=FAINT, lw=1)
            for course in each.boundaries:
                look = looks[course.name]
                axis.errorbar(
                    each.family.widths, course.mean[:, 0], course.error[:, 0],
                    fmt=f"{look.marker}-", color=look.colour, label=_NAMES[course.name],
                )  # fmt: skip
            width_axis(axis, each.family.widths)
            plain_log(axis)
            axis.set_title(folded(label))
        axes[0].set_ylabel(r"$\eta\,\lambda_{\max}/2$ at the boundary")
        for axis in axes[len(chosen) :]:
            axis.remove()
        legend_below(figure, figure.axes)
    caption = (
        "Learning rates, in units of 2/λ_max of each network, from which on the top mode grows within a few steps "
        "(instability), the loss rises at some step, or the network diverges: mean over networks with standard error. "
        "Instability begins at 1 up to 1/M; divergence does not."
    ) + selection(len(chosen), len(known), "laws")
    return Drawing("training-boundaries", figure, "Three boundaries of the learning rate", caption)


def peaks(trained: Sequence[Trained]) -> Drawing | None:
    """Height of the catapult against the width, with the law of the reduced map."""
    known = next((each for each in trained if each.peaks), None)
    if known is None:
        return None
    course, widths = known.peaks[0], known.family.widths
    with rc_context(STYLE):
        figure = canvas(0.72 * FULL, 3.4)
        axis = figure.subplots()
        for k, look in enumerate(ordered(course.at.size)):
            label = rf"$\eta\lambda_0$ = {course.at[k]:.3g}"
            axis.plot(widths, known.predicted_peaks[:, k], color=look.colour, lw=1)
            axis.errorbar(
                widths, course.mean[:, k], course.error[:, k], fmt=look.marker, color=look.colour, label=label
            )
        width_axis(axis, widths)
        plain_log(axis)
        axis.set_ylabel(r"$\langle \max_t\, \eta^2 f_t^2 / n \rangle$")
        legend_below(figure, [axis])
    caption = (
        "Peak of the loss 2η²E/n, mean over networks with standard errors; lines: the reduced map for Gaussian starts. "
        "Above ηλ₀ = 2 the peak of the loss is of order n; below, it is the first loss, of order 1."
    )
    return Drawing("catapult-height", figure, "The height of the catapult", caption)


def online(trained: Sequence[Trained]) -> Drawing | None:
    """Largest stable learning rate of one input a step: its limit against the number of matrices, and the widths."""
    known = [(each, each.online) for each in trained if each.online is not None]
    if not known:
        return None
    with rc_context(STYLE):
        figure = canvas(FULL, 3.3)
        left, right = figure.subplots(1, 2)
        matrices = np.array([found.matrices for _, found in known], dtype=np.float64)
        limits = [found.limit for _, found in known]
        line = np.geomspace(matrices.min() / 1.2, matrices.max() * 1.2, 60)
        left.plot(line, limits[0].predicted * matrices[0] / line, color=FAINT, lw=1, label=r"$2/(Lq)$")
        left.errorbar(
            matrices, [each.measured for each in limits], [each.statistical for each in limits],
            fmt="o", color=WARNING, label=r"$M \to \infty$",
        )  # fmt: skip
        left.set_xscale("log")
        left.set_yscale("log")
        left.set_xticks(matrices, [f"{value:g}" for value in matrices])
        left.minorticks_off()
        plain_log(left)
        left.set_xlabel(r"matrices $L$")
        left.set_ylabel(r"learning rate $\eta$")
        left.legend(loc="best")
        right.axhline(1.0, color=FAINT, lw=1)
        for look, (each, found) in zip(ordered(len(known)), known, strict=True):
            unit = found.limit.predicted
            right.errorbar(
                each.family.widths, found.mean / unit, found.error / unit,
                fmt=f"{look.marker}-", color=look.colour, label=f"$L$ = {found.matrices}",
            )  # fmt: skip
        width_axis(right, [width for each, _ in known for width in each.family.widths])
        right.set_ylabel(r"$\eta\,Lq/2$")
        right.legend(loc="best")
    caption = (
        "Learning rate at which the loss of networks that see each input once neither shrinks nor grows, with standard "
        "errors. Left: extrapolated in 1/M to infinite width, with 2/(L q) of isometric networks of L matrices. Right: "
        "in units of it, against the width."
    )
    return Drawing("online-boundary", figure, "Online training against the depth", caption)


def rate_map(trained: Sequence[Trained]) -> Drawing | None:
    """Loss after training over the plane of width and learning rate, with 2/lambda_max drawn."""
    mapped = [each for each in trained if each.online is None]  # those show their boundary
    known = [each for each in mapped if len(each.rates) >= LEAST_RATES and len(each.family.widths) > 2]
    if not known:
        return None
    chosen = some(known, PANELS)
    rows, columns = grid(len(chosen), 2)
    with rc_context(STYLE):
        figure = canvas(max(FULL, 3.4 * columns) if columns > 1 else 0.72 * FULL, 3.2 * rows + 0.4)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        image = None
        colours = _colours([each.final[each.diverged < 0.5] for each in chosen])
        for axis, each, label in zip(axes, chosen, laws.labels(chosen), strict=False):
            shown = np.ma.masked_invalid(np.where(each.diverged < 0.5, each.final, np.nan)).T
            x, y = _edges(each.family.widths.astype(np.float64)), _edges(np.array(each.rates))
            axis.set_facecolor("#dddddd")
            image = axis.pcolormesh(x, y, shown, norm=colours, cmap="cividis", rasterized=True)
            if each.bound:
                axis.axhline(1.0, color=WARNING, lw=1.2, label=r"$2/\lambda_{\max}$")
            elif np.isfinite(each.bounds).all():
                what = r"$2/\lambda_{\max}$"
                axis.plot(each.family.widths, each.bounds, "o-", color=WARNING, lw=1.2, label=what)
            axis.set_yscale("log")
            width_axis(axis, each.family.widths)
            axis.margins(0)
            axis.set_ylabel(r"$\eta\lambda_{\max}/2$" if each.bound else r"learning rate $\eta$")
            axis.set_title(folded(label))
        for axis in axes[len(chosen) :]:
            axis.remove()
        assert image is not None, "there is a panel"
        figure.colorbar(image, ax=list(figure.axes), label="loss after / before, median", extend="both")
        legend_below(figure, [axis for axis in figure.axes if axis.get_legend_handles_labels()[1]])
    caption = (
        "Median over networks of the loss after training over the loss before; grey: at least half of the networks "
        "have diverged. Line: 2/λ_max of the networks before training."
    ) + selection(len(chosen), len(known), "laws")
    return Drawing("learning-rate-map", figure, "Learning rate against width", caption)


def _colours(finals: Sequence[Floats]) -> LogNorm:
    """From the smallest to the largest ratio, within four powers of ten about 1."""
    seen = np.concatenate([np.ravel(final) for final in finals])
    seen = seen[np.isfinite(seen) & (seen > 0.0)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.1, 10.0)
    return LogNorm(max(low, 1e-4), max(min(high, 1e4), 2.0 * max(low, 1e-4)))


def _edges(values: Floats) -> Floats:
    """Edges of cells about values on a logarithmic axis."""
    x = np.log(values)
    between = (x[1:] + x[:-1]) / 2.0
    whole: Floats = np.exp(np.concatenate([[2 * x[0] - between[0]], between, [2 * x[-1] - between[-1]]]))
    return whole
