"""One figure of many architectures: the same observables, measured over predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.style import FULL, INK, PAPER, SOFT, STYLE, Drawing, canvas, legend_below, ordered, some
from mcnet_analysis.judge.family import Judged

SHOWN = ("q", "c", "q_tilde", "ntk")
"""Observables that every architecture has, a panel each."""

_WORDS = {"q": "length", "c": "correlation", "q_tilde": "gradient", "ntk": "kernel"}
_LAYERS = 6  # of one observable that are drawn
_BANDS = ("#f0f0f0", PAPER)
"""Behind the rows, in turns."""
_FILL = 0.62  # of the height of a row


class Ratio(NamedTuple):
    """Measured over predicted.

    Attributes
    ----------
    layer : int or None
    value, error : float
        With the standard error of the mean over networks and of a prediction that was sampled.
    to_first : bool
        Whether the prediction has its term of 1/M.
    """

    layer: int | None
    value: float
    error: float
    to_first: bool


def universality(families: Sequence[tuple[str, Judged]]) -> Drawing | None:
    """Means over networks at the largest width over their predictions, a row for each family; None if none is known.

    ``families``: each with its name, "" for the law that tells it from the others.
    """
    known = [(name, judged) for name, judged in families if any(ratios(judged, each) for each in SHOWN)]
    if not known:
        return None
    names = [name for name in SHOWN if any(ratios(judged, name) for _, judged in known)]
    with rc_context(STYLE):
        figure = canvas(FULL, 1.3 + 0.36 * max(len(known), 3))
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axis, name in zip(panels, names, strict=True):
            _panel(axis, name, [judged for _, judged in known])
        widths = {judged.family.settings[-1].width for _, judged in known}
        panels[0].set_yticks(range(len(known)), _labels(known, with_width=len(widths) > 1))
        if len(widths) == 1:
            panels[0].set_ylabel(f"width $M$ = {widths.pop()}")
        panels[0].set_ylim(len(known) - 0.5, -0.5)
        legend_below(figure, panels)
    caption = (
        "The same observables of networks of every architecture at the largest width of each, over what its program "
        "predicts at this width: the limit of infinite width with its term of 1/M (full markers), or the limit alone "
        "(open ones); from the first layer (light) to the last (dark). Bars are standard errors, of predictions that "
        "were sampled too; what open markers miss beyond them is of order 1/M."
    )
    return Drawing("universality", figure, "Every architecture: measured over predicted", caption)


def _panel(axis: Axes, name: str, families: Sequence[Judged]) -> None:
    axis.axvline(1.0, color=INK, lw=1.0, zorder=1)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("measured / predicted")
    axis.set_title(f"{_WORDS[name]} ${laws.symbol(name)}$")
    reach = 0.0
    for place, judged in enumerate(families):
        axis.axhspan(place - 0.5, place + 0.5, color=_BANDS[place % 2], lw=0, zorder=0)
        found = ratios(judged, name)
        if not found:
            measured = any(column.observable == name for column in judged.columns)
            axis.text(
                0.5, place, "not predicted" if measured else "not measured", transform=axis.get_yaxis_transform(),
                ha="center", va="center", fontsize=7, color=SOFT,
                bbox={"facecolor": _BANDS[place % 2], "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
            continue
        for number, (each, look) in enumerate(zip(found, ordered(len(found)), strict=True)):
            axis.errorbar(
                each.value, place + _FILL * ((number + 0.5) / len(found) - 0.5), xerr=each.error,
                fmt="o", ms=3.4, lw=1, color=look.colour, mfc=look.colour if each.to_first else "white", zorder=3,
                label=_label(each, number, len(found)),
            )  # fmt: skip
            reach = max(reach, abs(each.value - 1.0) + each.error)
    axis.set_xlim(1.0 - 1.15 * reach, 1.0 + 1.15 * reach)
    axis.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))


def _label(each: Ratio, number: int, count: int) -> str | None:
    """What the legend says of a marker: of the last layer what it is compared with."""
    if number == count - 1:
        return "limit and its 1/M term" if each.to_first else "limit alone"
    return "the first layer" if number == 0 else None


def _labels(known: Sequence[tuple[str, Judged]], with_width: bool) -> list[str]:
    """The names, and where they name several laws, or none, what tells these apart."""
    told = [_own(label) for label in laws.labels([judged for _, judged in known])]
    names = [name for name, _ in known]
    words = [name if name and names.count(name) == 1 else f"{name}, {label}".removeprefix(", ")
             for name, label in zip(names, told, strict=True)]  # fmt: skip
    if not with_width:
        return words
    return [f"{word}, $M$ = {judged.family.settings[-1].width}" for word, (_, judged) in zip(words, known, strict=True)]


def _own(label: str) -> str:
    """A label without the keys that an architecture does not have."""
    return ", ".join(part for part in label.split(", ") if not part.startswith("no "))


def ratios(judged: Judged, name: str) -> list[Ratio]:
    """Of the first input or pair of an observable at the largest width, over the layers; empty if nothing is known."""
    first: dict[int | None, int] = {}
    for j, column in enumerate(judged.columns):
        if column.observable == name and column.layer != 0:
            first.setdefault(column.layer, j)
    found = [_ratio(judged, j) for j in first.values()]
    return some([each for each in found if each is not None], _LAYERS)


def _ratio(judged: Judged, j: int) -> Ratio | None:
    """Of a column; None where one of measurement and prediction is not known."""
    m, predicted, width = judged.moments[-1], judged.predictions[-1], judged.family.widths[-1]
    to_first = bool(np.isfinite(predicted.a1[j]))
    expected = float(predicted.limit[j] + (predicted.a1[j] / width if to_first else 0.0))
    of_limit, of_a1, _ = np.nan_to_num(predicted.errors[:, j])
    error = float(np.hypot(m.mean_error[j], np.hypot(of_limit, of_a1 / width if to_first else 0.0)))
    if not (np.isfinite(expected) and expected != 0.0 and np.isfinite(error)):
        return None
    return Ratio(judged.columns[j].layer, float(m.mean[j] / expected), abs(error / expected), to_first)
