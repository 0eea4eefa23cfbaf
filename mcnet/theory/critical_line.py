"""The critical line at infinite width: where close inputs neither merge nor part."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.theory import gaussian, maps
from mcnet.theory.fixed_points import at_zero, broadcast, check_variances, root_of, table_of
from mcnet.theory.gaussian import ActivationLike


class Critical(NamedTuple):
    """A point of the critical line: variances of weights and biases, and the length settled at."""

    sigma_w2: float
    sigma_b2: float
    q: float


def critical_sigma_w2(activation: ActivationLike, sigma_b2: ArrayLike) -> Any:
    """The weight variance with chi_1 = 1 at this bias variance, float or array.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_b2 : float or array_like

    Returns
    -------
    float or ndarray
        Homogeneous activations: ``1 / E phi'^2`` whatever the bias. Others: ``1 / E phi'(sqrt(q) z)^2`` at the
        smallest length q that solves ``sigma_b2 = q - E phi^2 / E phi'^2`` and is a stable fixed point; for
        ``sigma_b2 = 0`` and phi(0) = 0 the limit q -> 0, ``1 / phi'(0)^2``, where lengths shrink towards it.

    Raises
    ------
    ValueError
        If no weight variance is critical: softplus, and gelu and silu for small bias variances and none, whose lengths
        grow without bound before chi_1 is 1; :func:`double_critical` has their point.

    Notes
    -----
    Accuracy: 1e-12, the limit M -> infinity.
    """
    activation = activations.get(activation)
    return broadcast(lambda b: _critical(activation, b).sigma_w2, sigma_b2)


def critical_point(activation: ActivationLike, sigma_b2: float) -> Critical:
    """The point of the critical line at this bias variance, with its length; as :func:`critical_sigma_w2`.

    For homogeneous activations q is that of :func:`fixed_length`, NaN where lengths grow without bound.
    """
    return _critical(activations.get(activation), float(sigma_b2))


def _critical(activation: Activation, sigma_b2: float) -> Critical:
    check_variances(0.0, sigma_b2)
    if activation.homogeneous:
        sigma_w2 = 1.0 / float(gaussian.derivative_square(activation, 1.0))
        free = sigma_b2 == 0.0 and abs(sigma_w2 * float(gaussian.square(activation, 1.0)) - 1.0) < 1e-12
        return Critical(sigma_w2, sigma_b2, 1.0 if free else math.nan)
    square_at_zero, slope_at_zero = at_zero(activation)
    if square_at_zero == 0.0 and sigma_b2 == 0.0:
        sigma_w2 = 1.0 / slope_at_zero
        if _grows_from_zero(activation, sigma_w2):
            raise ValueError(
                f"{activation.label} has no critical sigma_w2 at sigma_b2 = 0: at {sigma_w2:g} the slope is 1 at "
                "length 0, from which every length grows without bound"
            )
        return Critical(sigma_w2, 0.0, 0.0)

    def excess(q: float) -> float:
        ratio = gaussian.square(activation, q) / gaussian.derivative_square(activation, q)
        return float(q - ratio - sigma_b2)

    table = table_of(activation)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = table.q - table.square / table.derivative_square - sigma_b2
    for high in range(bias.size):
        low = high - 1
        start = -square_at_zero - sigma_b2 if low < 0 else bias[low]
        if not start * bias[high] < 0:
            continue
        q = root_of(excess, float(table.q[low]) if low >= 0 else 1e-300, float(table.q[high]))
        sigma_w2 = 1.0 / float(gaussian.derivative_square(activation, q))
        if maps.length_slope(activation, q, sigma_w2) <= 1.0 + 1e-9:
            return Critical(sigma_w2, sigma_b2, q)
    raise ValueError(
        f"{activation.label} has no critical sigma_w2 at sigma_b2 = {sigma_b2:g}: chi_1 is not 1 at any stable length"
    )


def _grows_from_zero(activation: Activation, sigma_w2: float) -> bool:
    """Whether small lengths grow where the slope of the length map at zero is 1; decided by the next order in q."""
    table = table_of(activation)
    growth = sigma_w2 * table.square / table.q - 1.0
    seen = growth[(np.abs(growth) > 1e-9) & (table.q < 1.0)]
    return bool(seen.size) and bool(seen[0] > 0.0)


def double_critical(activation: ActivationLike) -> Critical:
    """The point (sigma_w2, sigma_b2, q) where the slopes of the length map and of the correlation map are both 1.

    Notes
    -----
    Solves ``V'(q) = E phi'^2``, that is E[phi phi''] = 0, at the smallest q > 0; then ``sigma_w2 = 1 / E phi'^2`` and
    ``sigma_b2 = q - sigma_w2 E phi^2``. This is criticality as Roberts, Yaida and Hanin define it (The Principles of
    Deep Learning Theory, 2022; their C_W, C_b and K*). The point is only half stable: for gelu smaller lengths leave it
    for 3.035, for silu larger ones for 14.593, both by less than 1e-5 a layer; :func:`fixed_length` gives those.

    Raises
    ------
    ValueError
        If there is no such point at q > 0 with sigma_b2 >= 0. Odd sigmoids such as tanh have it at q = 0; a
        homogeneous activation has it at every q.
    """
    activation = activations.get(activation)
    table = table_of(activation)
    difference = table.slope - table.derivative_square

    def excess(q: float) -> float:
        return maps.length_slope(activation, q, 1.0) - float(gaussian.derivative_square(activation, q))

    difference[np.abs(difference) <= 1e-10 * table.derivative_square] = 0.0
    known = np.flatnonzero(difference)
    for low, high in pairwise(known):
        if difference[low] * difference[high] < 0:
            q = root_of(excess, float(table.q[low]), float(table.q[high]))
            sigma_w2 = 1.0 / float(gaussian.derivative_square(activation, q))
            sigma_b2 = q - maps.length_map(activation, q, sigma_w2, 0.0)
            if sigma_b2 >= 0.0:
                return Critical(sigma_w2, sigma_b2, q)
    raise ValueError(f"{activation.label} has no q > 0 at which both slopes are 1")
