"""All figures that a judged dataset gives rise to."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.compare import Judged
from analysis.depth_figures import depth_curves, gradient_norms
from analysis.drawing import Drawing
from analysis.map_figures import order_chaos
from analysis.score_figures import coefficients, score_histogram

CURVES = 6


def drawings(families: Sequence[Judged]) -> list[Drawing]:
    """Maps first, then curves against depth (of up to six families, evenly chosen), then all scores."""
    step = max(1, -(-len(families) // CURVES))
    candidates = [
        *order_chaos(families),
        *(depth_curves(judged) for judged in families[::step]),
        gradient_norms(families),
        coefficients(families),
        score_histogram(families),
    ]
    return [drawing for drawing in candidates if drawing is not None]
