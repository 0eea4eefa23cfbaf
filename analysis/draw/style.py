"""What all figures share: size, type, palette, markers, legends, and their SVG text."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mcnet_analysis.statistics.estimate import Floats

INK, SOFT, FAINT, PAPER = "#222222", "#666666", "#bbbbbb", "#ffffff"
WARNING = "#b3261e"

# Okabe and Ito 2008: told apart by the colour-blind and in print.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6a00")
# One hue, light to dark: for what is ordered (widths, depths, rounds).
RAMP = ("#8fc3e0", "#74b3d8", "#58a1ce", "#3f8dc2", "#2b79b5", "#1c65a6", "#125292", "#0b407b", "#082f63")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

FULL = 7.6  # inches: the width of a page
PANEL = 2.5  # a panel among several
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.title_fontsize": 8,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",
}


class Picture(Figure):
    """A figure that a notebook shows by itself."""

    def _repr_png_(self) -> bytes:
        data = io.BytesIO()
        with rc_context(STYLE):
            self.savefig(data, format="png", dpi=110)
        return data.getvalue()


class Drawing(NamedTuple):
    """A figure with its name (of a file) and what it shows, in words."""

    name: str
    figure: Figure
    title: str
    caption: str


class Look(NamedTuple):
    """Colour and marker of one series."""

    colour: str
    marker: str


def categories(count: int) -> list[Look]:
    """Looks of things without an order: colour and marker differ together."""
    return [Look(PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i in range(count)]


def ordered(count: int) -> list[Look]:
    """Looks of an ordered series, light to dark in one hue; one alone is dark."""
    places = np.linspace(0, len(RAMP) - 1, count) if count > 1 else np.array([len(RAMP) - 3.0])
    return [Look(_between(place), MARKERS[i % len(MARKERS)]) for i, place in enumerate(places)]


def _between(place: float) -> str:
    low = min(int(place), len(RAMP) - 2)
    share = place - low
    pairs = ((int(RAMP[low][i : i + 2], 16), int(RAMP[low + 1][i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


def some(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many, evenly spaced, first and last included."""
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, min(most, len(items)))]


def selection(shown: int, every: int, what: str) -> str:
    """A sentence for the caption where not all are drawn; else nothing."""
    return f" {shown} of {every} {what} are drawn." if shown < every else ""


def grid(count: int, columns: int = 3) -> tuple[int, int]:
    """Rows and columns of small multiples."""
    columns = min(columns, count)
    if count == columns + 1 and count % 2 == 0:
        columns = count // 2
    return -(-count // columns), columns


def canvas(width: float, height: float) -> Figure:
    """An empty figure; call it within ``rc_context(STYLE)``."""
    return Picture(figsize=(width, height))


def svg(figure: Figure, salt: str) -> str:
    """SVG text of a figure, without an XML header; ``salt`` keeps the ids of several figures in one page apart."""
    text = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": salt}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def legend_below(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend for all axes under the figure, each entry once; none if nothing has a label."""
    entries: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if not entries:
        return
    longest = max(len(label.replace("\\", "")) for label in entries)
    columns = max(1, min(len(entries), int(13.0 * figure.get_figwidth()) // (longest + 6)))
    columns = -(-len(entries) // -(-len(entries) // columns))  # rows of one length
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)


def folded(label: str, characters: int = 24) -> str:
    """A title on two lines where it is too long for a panel."""
    bare = label.replace("$", "").replace("\\", "")
    parts = label.split(", ")
    if len(bare) <= characters or len(parts) < 2:
        return label
    half = min(range(1, len(parts)), key=lambda k: abs(len(", ".join(parts[:k])) - len(", ".join(parts[k:]))))
    return ", ".join(parts[:half]) + ",\n" + ", ".join(parts[half:])


def width_axis(axis: Axes, widths: Iterable[float]) -> None:
    """A logarithmic axis with the widths that there are as its ticks, as far as they do not touch."""
    every = sorted({float(width) for width in widths})
    axis.set_xscale("log")
    span = math.log(every[-1] / every[0]) or 1.0
    shown = every[:1]
    for width in every[1:]:
        if math.log(width / shown[-1]) > 0.11 * span:
            shown.append(width)
    if shown[-1] != every[-1]:
        shown[-1] = every[-1]
    axis.xaxis.set_major_locator(FixedLocator(shown))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.margins(x=0.08)
    if len(every) == 1:
        axis.set_xlim(every[0] / 2, every[0] * 2)
    axis.set_xlabel("width $M$")


def plain_log(axis: Axes, which: str = "y") -> None:
    """A logarithmic axis with plain numbers where it is short, powers of ten where it is long; no label in another."""
    (axis.set_yscale if which == "y" else axis.set_xscale)("log")
    low, high = axis.get_ylim() if which == "y" else axis.get_xlim()
    side = axis.yaxis if which == "y" else axis.xaxis
    side.set_minor_formatter(NullFormatter())
    if not 0 < low < high or high > 60 * low:
        side.set_major_locator(LogLocator(numticks=6))
        return
    steps = (1.0, 2.0, 5.0) if high > 4 * low else (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
    ticks = [s * 10.0**p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for s in steps]
    inside = [tick for tick in ticks if low <= tick <= high]
    if len(inside) < 2:  # not even two round numbers
        inside = [float(f"{x:.3g}") for x in np.geomspace(low, high, 4)[1:-1]]
    side.set_major_locator(FixedLocator(some(inside, 5)))
    side.set_minor_locator(NullLocator())
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def note(axis: Axes, text: str) -> None:
    """A remark in the corner of a panel."""
    box = {"facecolor": PAPER, "alpha": 0.8, "edgecolor": "none", "pad": 1.5}
    axis.text(0.03, 0.95, text, transform=axis.transAxes, va="top", fontsize=7.5, bbox=box)


def finite(values: Floats) -> bool:
    """Whether there is a number among them."""
    return bool(np.isfinite(values).any())
