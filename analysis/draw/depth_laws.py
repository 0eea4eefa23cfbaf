"""The laws of large depth of residual networks: growth of gradients and decay of correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from mcnet_analysis.draw import laws
from mcnet_analysis.draw.depth import CURVES, Series, series
from mcnet_analysis.draw.style import (
    FULL,
    INK,
    STYLE,
    Drawing,
    Look,
    canvas,
    categories,
    legend_below,
    plain_log,
    selection,
    some,
)
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.statistics.estimate import Floats

from mcnet.theory.residual import Block, CorrelationLaw, correlation_law, gradient_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEEP = 24  # blocks from which on a law of large depth says something


def residual_laws(families: Sequence[Judged]) -> Drawing | None:
    """log(q_tilde^1/q_tilde^l) against sqrt(l), and c against l, with the slopes that theory has for infinite depth."""
    known = [(judged, block) for judged in families if (block := block_of(judged)) is not None]
    known = [each for each in known if series(each[0], "q_tilde") and series(each[0], "c")]
    chosen = some(known, CURVES)
    if not chosen:
        return None
    with rc_context(STYLE):
        figure = canvas(FULL, 3.9)
        left, right = figure.subplots(1, 2)
        names = laws.labels([judged for judged, _ in chosen])
        for (judged, block), name, look in zip(chosen, names, categories(len(chosen)), strict=True):
            label = f"{name}, $M$ = {judged.family.settings[-1].width}"
            _gradients(left, judged, gradient_rate(block), label, look)
            _correlations(right, judged, correlation_law(block), label, look)
        left.set_xlabel(r"$\sqrt{l}$")
        left.set_ylabel(r"$\ln\,(\langle\tilde q^{\,1}\rangle/\langle\tilde q^{\,l}\rangle)$")
        left.set_title("gradients")
        plain_log(right)
        plain_log(right, "x")
        right.set_xlabel("block $l$")
        right.set_ylabel(r"$\langle c^l\rangle - c^*$")
        right.set_title("correlation of two inputs")
        legend_below(figure, [left, right])
    caption = (
        "Residual networks with skips and branches of weight one and a bounded activation. Markers: means over "
        "networks at the largest width; lines: the recursion of infinite width; black dashes: the laws of large depth "
        "laid through the last block. Left, squared gradients grow as exp(rate √l), with a next order that is a "
        "logarithm of l. Right, the correlation falls as a power of l, with exponent -(1 - 2/π) = -0.363 unless the "
        "branches have a bias of their own behind the activation."
    ) + selection(len(chosen), len(known), "laws")
    return Drawing("residual-depth", figure, "Residual networks: powers of the depth", caption)


def block_of(judged: Judged) -> Block | None:
    """The block of a deep residual network that has laws of large depth; None for others."""
    setting = judged.family.first
    if setting.law["architecture"] != "residual" or setting.depth < DEEP:
        return None
    p = setting.ensemble.program.parameters
    second = (p.sigma_v2, p.sigma_c2 or 0.0) if p.block == "two" else (None, None)
    block = Block(p.block, setting.activation, p.sigma_w2, p.sigma_b2, float(p.skip), float(p.branch), *second)
    try:
        gradient_rate(block)
    except ValueError:
        return None
    return block


def _gradients(axis: Axes, judged: Judged, rate: float, label: str, look: Look) -> None:
    found = series(judged, "q_tilde")
    assert found is not None, "chosen because it is there"
    m, dots = judged.moments[-1], found.dots
    mean, error = m.mean[found.at], m.mean_error[found.at]
    root, limit = np.sqrt(found.layers), np.log(found.limit[0] / found.limit)
    axis.plot(root, limit, color=look.colour, lw=1.1, zorder=1)
    seen = np.log(mean[0] / mean)
    axis.errorbar(
        root[dots], seen[dots], np.hypot(error / mean, error[0] / mean[0])[dots],
        fmt=look.marker, ms=3.6, color=look.colour, lw=1, zorder=3, label=label,
    )  # fmt: skip
    half = found.layers >= found.layers[-1] / 8
    axis.plot(
        root[half], limit[-1] + rate * (root[half] - root[-1]), color=INK, lw=1, ls=(0, (4, 3)), zorder=2,
        label="law of large depth",
    )  # fmt: skip


def _correlations(axis: Axes, judged: Judged, law: CorrelationLaw, label: str, look: Look) -> None:
    found = series(judged, "c")
    assert found is not None, "chosen because it is there"
    m = judged.moments[-1]
    axis.plot(found.layers, found.limit - law.limit, color=look.colour, lw=1.1, zorder=1)
    dots = _positive(found, m.mean[found.at] - law.limit)
    axis.errorbar(
        found.layers[dots], (m.mean[found.at] - law.limit)[dots], m.mean_error[found.at][dots],
        fmt=look.marker, ms=3.6, color=look.colour, lw=1, zorder=3, label=label,
    )  # fmt: skip
    half = found.layers >= found.layers[-1] / 8
    through = (found.limit[-1] - law.limit) * (found.layers[half] / found.layers[-1]) ** law.exponent
    axis.plot(found.layers[half], through, color=INK, lw=1, ls=(0, (4, 3)), zorder=2, label="law of large depth")


def _positive(found: Series, values: Floats) -> list[int]:
    return [k for k in found.dots if values[k] > 0.0]
