"""One figure of many architectures: the same observables, measured over predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.style import FAINT, FULL, INK, STYLE, Drawing, canvas, categories, legend_below
from mcnet_analysis.judge.family import Judged

SHOWN = ("q", "q_hat", "c", "q_tilde", "ntk")
"""Observables that every architecture has."""


class Ratio(NamedTuple):
    """Measured over predicted, with standard error; ``to_first``: whether the prediction has its term of 1/M."""

    value: float
    error: float
    to_first: bool


def universality(families: Sequence[Judged]) -> Drawing | None:
    """Means over networks at the largest width over their predictions, a row for each law; None if nothing is known."""
    known = [judged for judged in families if any(ratio(judged, name) is not None for name in SHOWN)]
    if not known:
        return None
    names = [name for name in SHOWN if any(ratio(judged, name) is not None for judged in known)]
    with rc_context(STYLE):
        figure = canvas(FULL, 1.5 + 0.42 * max(len(known), 3))
        axis = figure.subplots()
        axis.axvline(1.0, color=INK, lw=1.0, zorder=1)
        for place, judged in enumerate(known):
            axis.axhspan(place - 0.36, place + 0.36, color=FAINT, alpha=0.22, lw=0, zorder=0)
            for number, (name, look) in enumerate(zip(names, categories(len(names)), strict=True)):
                found = ratio(judged, name)
                if found is None:
                    continue
                offset = 0.56 * ((number + 0.5) / len(names) - 0.5)
                axis.errorbar(
                    found.value, place + offset, xerr=found.error, fmt=look.marker, ms=4.2, lw=1, color=look.colour,
                    mfc=look.colour if found.to_first else "white", zorder=3, label=f"${laws.symbol(name)}$",
                )  # fmt: skip
        widths = [judged.family.settings[-1].width for judged in known]
        labels = [f"{_own(label)}, $M$ = {width}" for label, width in zip(laws.labels(known), widths, strict=True)]
        axis.set_yticks(range(len(known)), labels)
        axis.set_ylim(len(known) - 0.5, -0.5)
        axis.set_xlabel("mean over networks / prediction")
        legend_below(figure, [axis])
    caption = (
        "The same observables of networks of every architecture, at the largest width and the last layer of each, over "
        "what its program predicts at this width: the limit of infinite width with its term of 1/M (full markers), or "
        "the limit alone (open ones). Bars are standard errors; what open markers miss beyond them is of order 1/M."
    )
    return Drawing("universality", figure, "Every architecture: measured over predicted", caption)


def _own(label: str) -> str:
    """A label without the keys that an architecture does not have."""
    return ", ".join(part for part in label.split(", ") if not part.startswith("no "))


def ratio(judged: Judged, name: str) -> Ratio | None:
    """Of the first input or pair of an observable at the last layer; None where one of the two is not known."""
    at = [j for j, column in enumerate(judged.columns) if column.observable == name]
    if not at:
        return None
    last = max(judged.columns[j].layer or 0 for j in at)
    j = next(j for j in at if (judged.columns[j].layer or 0) == last)
    m, predicted = judged.moments[-1], judged.predictions[-1]
    to_first = bool(np.isfinite(predicted.a1[j]))
    expected = float(predicted.limit[j] + (predicted.a1[j] / judged.family.widths[-1] if to_first else 0.0))
    if not (np.isfinite(expected) and expected != 0.0 and np.isfinite(m.mean_error[j])):
        return None
    return Ratio(float(m.mean[j] / expected), float(abs(m.mean_error[j] / expected)), to_first)
