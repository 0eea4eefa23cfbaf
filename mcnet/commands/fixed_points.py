"""Fixed points of the points of a scenario, as ``mcnet theory`` tells them; many at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from mcnet.activations.table import Activation
from mcnet.point import Point
from mcnet.theory import mean_field

_CRITICAL = 1e-6

_FEW = 3
"""Points of an activation that are found one by one as fast as together."""

Variances = tuple[Activation, float, float]


@cache
def fixed_point(activation: Activation, sigma_w2: float, sigma_b2: float) -> dict[str, Any]:
    """Fixed points of length and correlation, the slope chi_1, the depth scales and the phase."""
    variances = (activation, sigma_w2, sigma_b2)
    return _entry(
        mean_field.fixed_length(*variances),
        mean_field.fixed_correlation(*variances),
        mean_field.chi_1(*variances),
        mean_field.depth_scales(*variances),
    )


def _entry(q: float, c: float, slope: float, scales: tuple[float, float]) -> dict[str, Any]:
    phase = "critical" if abs(slope - 1) < _CRITICAL else "ordered" if slope < 1 else "chaotic"
    return {"q_star": q, "c_star": c, "chi_1": slope, "xi_q": scales[0], "xi_c": scales[1], "phase": phase}


def fixed_points(points: Sequence[Point]) -> dict[Variances, dict[str, Any]]:
    """:func:`fixed_point` of many points at once, without those that have none (and a reason)."""
    asked: dict[Activation, dict[Variances, None]] = {}
    for point in points:
        if not point.is_program:
            variances = (point.activation, point.sigma_w2, point.sigma_b2)
            asked.setdefault(point.activation, {})[variances] = None
    found = {}
    for activation, every in asked.items():
        w, b = (np.array([variances[place] for variances in every]) for place in (1, 2))
        if len(every) < _FEW:
            continue
        fixed = mean_field.fixed_point(activation, w, b)
        scales = mean_field.depth_scales(activation, w, b)
        numbers = np.stack([fixed.q, fixed.c, fixed.chi_1, *scales], axis=1)
        for variances, (q, c, slope, xi_q, xi_c) in zip(every, numbers.tolist(), strict=True):
            if not math.isnan(q + c + slope):
                found[variances] = _entry(q, c, slope, (xi_q, xi_c))
    return found
