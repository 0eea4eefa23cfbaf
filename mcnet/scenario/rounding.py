"""What rounding makes of the same network on another processor: the growth of small deviations, by mean field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from mcnet.activations.table import Activation
from mcnet.coordinates import DENSE
from mcnet.point import Point

LOST = 1e-2
"""Relative size of the difference from which on two processors make other values: same weights, same law."""

ROUNDING = 1e-3
"""Largest relative difference that is called rounding where the layers do not let it grow beyond."""

SAFETY = 100.0
"""Gradients react about ten times as much as correlations, and these ten times as much as one sum: see (1)."""

UNIT = {"mixed": 2.0**-24, "float64": 2.0**-53}
LAYERS = 1000
"""Layers that are followed one by one; the deeper ones are like the last of them."""


def difference(point: Point, sampler: str, precision: str) -> float:
    """Relative difference between processors that sum in another order, an estimate from above.

    Parameters
    ----------
    point : Point
    sampler : str
        ``"conditioned"`` networks go from Gram matrix to Gram matrix: nothing grows there.
    precision : str

    Returns
    -------
    float
        At most 1. 0 where it cannot be said: other architectures, lengths without mean field.

    Notes
    -----
    With e the rounding of one sum and q^l the squared length of layer l, a deviation of squared length d^l follows

        d^(l+1) = sigma_w2 E phi'(sqrt(q^l) z)^2 d^l + q^(l+1) e^2                                       (1)

    for weights that do not know of it; in a long chain it grows by the Lyapunov rate, (1/2) log chi_1 a layer. The
    result is sqrt(d/q) of the last layer times :data:`SAFETY`.
    """
    inputs = point.inputs
    if sampler != "explicit" or point.architecture != DENSE:
        return 0.0
    length = inputs.q0 if inputs.values is None else float(np.max(np.mean(np.square(inputs.values), axis=1)))
    if length is None:
        return 0.0
    found = _growth(point.activation, point.sigma_w2, point.sigma_b2, length, point.depth)
    return 0.0 if found is None else min(1.0, SAFETY * UNIT[precision] * found)


@cache
def _growth(activation: Activation, sigma_w2: float, sigma_b2: float, q_hat: float, depth: int) -> float | None:
    """sqrt(d/q) / e of equation (1) at the last layer; None where mean field has no answer."""
    from mcnet.theory import gaussian, mean_field

    try:
        q = mean_field.lengths(activation, sigma_w2, sigma_b2, q_hat, min(depth, LAYERS))
        slopes = sigma_w2 * np.asarray(gaussian.derivative_square(activation, q))
    except ValueError:
        return None
    relative = 1.0
    for layer in range(1, depth):
        at = min(layer, q.size - 1)
        if not q[at] > 0.0:
            return None
        relative = slopes[at - 1] * q[at - 1] / q[at] * relative + 1.0
        if not relative < 1e60:
            return math.inf if not math.isnan(relative) else None
    return math.sqrt(relative)


def promise(points: Sequence[tuple[Point, str]], precision: str) -> str:
    """What can be repeated of a study, in a sentence: ``points`` with their samplers."""
    lost = [point for point, sampler in points if difference(point, sampler, precision) > LOST]
    if not lost:
        return "the same networks everywhere: to rounding on another processor, to the bit on one of the same kind"
    which = "all points" if len(lost) == len(points) else f"{len(lost)} of {len(points)} points"
    return (
        f"the same weights and the same law everywhere; values of {which} differ between processors, since rounding "
        f"grows beyond {LOST:g} through the layers (chaos)"
    )
