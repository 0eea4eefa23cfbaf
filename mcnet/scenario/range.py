"""Spectra whose numbers leave the range of a double: known from mean field before anything is sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from mcnet.activations.table import Activation
from mcnet.observables.jacobian import MOMENTS, beyond_doubles
from mcnet.point import Point

LAYERS = (64, 1000)
"""Layers that are followed one by one: the fewer where lengths have settled by then; deeper ones are like the last."""
SETTLED = 1e-9


def complaints(measure: str, point: Point, options: Mapping[str, Any]) -> list[str]:
    """Why a spectrum of the Jacobian cannot be had at a point."""
    inputs = point.inputs
    if point.is_program or measure not in ("jacobian", "jacobian_lambda_max") or point.activation.homogeneous:
        return []  # homogeneous activations are refused by the observable itself
    length = inputs.q0 if inputs.values is None else float(np.mean(np.square(inputs.values[0])))
    if length is None:
        return []
    growth = _growth(point.activation, point.sigma_w2, point.sigma_b2, length, point.depth)
    order = options.get("moments", MOMENTS) if measure == "jacobian" else 1
    return beyond_doubles(point, growth, order) if growth is not None else []


@cache
def _growth(activation: Activation, sigma_w2: float, sigma_b2: float, q_hat: float, depth: int) -> float | None:
    """log10 of (1/M) tr J J^T for M to infinity; None where mean field has no answer."""
    from mcnet.theory import gaussian, mean_field

    if sigma_w2 == 0.0:
        return None
    try:
        for layers in LAYERS:
            q = mean_field.lengths(activation, sigma_w2, sigma_b2, q_hat, min(depth, layers))
            if q.size == depth or abs(q[-1] - q[-2]) < SETTLED * q[-1]:
                break
        slopes = np.log10(sigma_w2 * gaussian.derivative_square(activation, q))
    except ValueError:
        return None
    growth = float(slopes.sum() + (depth - slopes.size) * slopes[-1])
    return growth if math.isfinite(growth) else None
