"""What all figures share: colours, style, SVG text without any state outside the figure."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure
from mcnet_analysis.judge.family import Judged

from mcnet.coordinates import COORDINATES, DENSE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito 2008: told apart by the colour-blind and in print.
INK = "#222222"
COLOURS = {"q": "#0072B2", "q_hat": "#009E73", "c": "#D55E00", "q_tilde": "#CC79A7"}
OTHER = "#E69F00"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.constrained_layout.use": True,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",
}


class Drawing(NamedTuple):
    """A figure with what it shows, in words."""

    figure: Figure
    title: str
    caption: str


def svg(figure: Figure, salt: str) -> str:
    """SVG text of a figure, without an XML header; ``salt`` keeps the ids of several figures in one page apart."""
    text = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": salt}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def legend(axis: Axes, **where: Any) -> None:
    """A legend, if there is anything to name."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(**where)


def distinguish(judged: Judged, families: Sequence[Judged]) -> str:
    """What of a law differs among families; the activation if nothing does."""
    law = judged.family.first.law
    words = [each.name for each in COORDINATES if each.name in law and each.swept and each.dtype == "str"]
    parts = []
    for name in (*words, "depth", *judged.family.first.keys):
        if len({each.family.first.law.get(name) for each in families}) > 1:
            parts.append(str(law[name]) if name in words else f"{name} {law[name]}")
    return ", ".join(parts) or str(law["activation"])


def _key(item: tuple[str, Any]) -> str:
    name, value = item
    return f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"


def describe(judged: Judged) -> str:
    """The law of a family in a few words."""
    law = judged.family.first.law
    inputs = f"q₀ = {law['q0']:g}" if law.get("q0") is not None else f"{law['inputs']} inputs"
    if law.get("c0") is not None and law["inputs"] > 1:
        inputs += f", c₀ = {law['c0']:g}"
    if law.get("q0") is not None and law["inputs"] > 2:
        inputs = f"{law['inputs']} inputs, {inputs}"
    if law["normalization"] != "none":
        inputs += f", normalisation {law['normalization']}"
    first = judged.family.first
    own = (
        "" if law["architecture"] == DENSE else f"{', '.join([law['architecture'], *map(_key, first.keys.items())])}, "
    )
    return (
        f"{own}{law['activation']}, {law['weights']} weights, depth {law['depth']}, σ_w² = {law['sigma_w2']:.4g}, "
        f"σ_b² = {law['sigma_b2']:.4g}, {inputs}"
    )
