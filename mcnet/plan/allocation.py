"""How many networks at which width: the cheapest way to a given error of a 1/M coefficient, or of a mean.

Pure functions of numbers. Axes before the last one are families, independent and treated alike; the last axis runs
over the widths of a family.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

RESERVE = 0.15
"""Share of the cost for the widths that the best design leaves empty: they judge the expansion."""
LEAST = 64  # networks at every width: fewer do not tell a variance
_TOLERANCE = 1e-3  # of the cost: the design found costs at most so much more than the best one
_STEPS = 5000
_EMPTY = 0.01  # a share below this is on its way to zero
_FLAT = 1e-9  # a variance below this part of the largest counts as this: a width without noise is not worth infinity


class Coefficient(NamedTuple):
    """A coefficient fitted by weighted least squares; arrays of shape (...).

    Attributes
    ----------
    value, error : ndarray
    chi2 : ndarray
        Of the fit; ``dof`` degrees of freedom.
    dof : int
    """

    value: Floats
    error: Floats
    chi2: Floats
    dof: int


def powers(widths: int, limit_known: bool) -> tuple[int, ...]:
    """Powers of 1/M that are fitted: up to the second, as far as so many widths can tell them."""
    first = 1 if limit_known else 0
    return tuple(range(first, min(2, first + widths - 1) + 1))


def optimal_shares(widths: ArrayLike, variances: ArrayLike, costs: ArrayLike, orders: tuple[int, ...]) -> Floats:
    """Shares of the cost that make the error of the 1/M coefficient smallest (a c-optimal design).

    Parameters
    ----------
    widths, variances, costs : array_like, shape (..., W)
        M, all different; variance over networks and cost of a network there.
    orders : tuple of int
        The powers of 1/M in the model; 0 among them: the limit is fitted too.

    Returns
    -------
    ndarray, shape (..., W)
        Sum 1; exactly 0 at the widths that do not help.

    Notes
    -----
    With f_i the powers of 1/M_i, v_i and k_i variance and cost, the shares w minimise c^T I^-1 c, where

        I(w) = sum_i w_i f_i f_i^T / (v_i k_i).                                                 (1)

    The multiplicative algorithm multiplies every w_i by

        |c^T I^-1 f_i| / sqrt(v_i k_i)                                                          (2)

    and normalises. By the equivalence theorem a design is optimal where no factor exceeds their weighted root mean
    square, which is what the iteration ends on. An optimum has as many widths as the model has coefficients, or fewer.

    References
    ----------
    Fellman 1974 and Torsney 1983 for (2); Elfving 1952 for the geometry.
    """
    noise = np.sqrt(_positive(variances) * np.asarray(costs, np.float64))  # (..., W)
    f, c = _model(widths, orders)
    noise, f = np.broadcast_arrays(noise[..., None], f)
    scaled = f / noise  # (..., W, K)
    w = np.full(scaled.shape[:-1], 1.0 / scaled.shape[-2])
    for _ in range(_STEPS):
        factor = np.abs(scaled @ _solved(scaled, w, c)[..., None])[..., 0]  # (2)
        level = np.sqrt((w * factor**2).sum(-1, keepdims=True))
        if np.all(factor <= level * (1 + _TOLERANCE / 2)):
            break
        w = _normalized(w * factor)
    return _normalized(np.where(w < _EMPTY, 0.0, w))


def with_reserve(shares: ArrayLike, reserve: float = RESERVE) -> Floats:
    """Shares with a part of the cost moved to the widths that had none, the same cost at each."""
    given = np.asarray(shares, np.float64)
    empty = given == 0
    count = empty.sum(-1, keepdims=True)
    kept = np.where(count > 0, 1 - reserve, 1.0)
    result: Floats = np.where(empty, reserve / np.maximum(count, 1), kept * given)
    return result


def coefficient(
    widths: ArrayLike, means: ArrayLike, variances: ArrayLike, networks: ArrayLike, orders: tuple[int, ...]
) -> Coefficient:
    """The 1/M coefficient of means over networks, by weighted least squares.

    Parameters
    ----------
    widths, means, variances, networks : array_like, shape (..., W)
        ``means`` less the limit where ``orders`` begins with 1.
    orders : tuple of int
        The powers of 1/M in the model.
    """
    f, c = _model(widths, orders)
    y = np.asarray(means, np.float64)
    noise = np.sqrt(_positive(variances) / np.asarray(networks, np.float64))
    noise, y = np.broadcast_arrays(noise, y)
    scaled = f / noise[..., None]  # (..., W, K)
    seen = (y / noise)[..., None]
    information = np.swapaxes(scaled, -1, -2) @ scaled
    fitted = np.linalg.solve(information, np.swapaxes(scaled, -1, -2) @ seen)  # (..., K, 1)
    rest = (seen - scaled @ fitted)[..., 0]
    place = orders.index(1)
    column = np.broadcast_to(c[..., None], fitted.shape)
    error = np.sqrt(np.linalg.solve(information, column)[..., place, 0] * c[..., place])
    return Coefficient(fitted[..., place, 0] * c[..., place], error, (rest**2).sum(-1), y.shape[-1] - len(orders))


def networks_for_coefficient(
    widths: ArrayLike,
    variances: ArrayLike,
    costs: ArrayLike,
    orders: tuple[int, ...],
    error: ArrayLike,
    have: ArrayLike,
    most: int,
) -> Counts:
    """Networks at each width for a given error of the 1/M coefficient, those that are there counted.

    Parameters
    ----------
    widths, variances, costs, orders
        As for :func:`optimal_shares`.
    error : array_like, shape (...)
        Standard error to reach.
    have : array_like, shape (..., W)
        Networks that are there.
    most : int
        No width gets more.

    Returns
    -------
    ndarray of int, shape (..., W)
        At least ``have`` and :data:`LEAST`.
    """
    shares = with_reserve(optimal_shares(widths, variances, costs, orders))
    there = np.maximum(np.asarray(have, np.int64), LEAST)
    per_cost = shares / np.asarray(costs, np.float64)
    wanted = np.asarray(error, np.float64)

    def counts(cost: Floats) -> Floats:
        return np.minimum(np.maximum(there, cost[..., None] * per_cost), np.maximum(most, there))

    def enough(cost: Floats) -> NDArray[np.bool_]:
        zero = np.zeros_like(per_cost)
        return np.asarray(coefficient(widths, zero, variances, counts(cost), orders).error <= wanted)

    high = np.broadcast_to(np.max(most / per_cost), wanted.shape).copy()
    low = np.zeros_like(high)
    for _ in range(60):  # geometric bisection: the error falls as the cost grows
        middle = np.where(low > 0, np.sqrt(np.maximum(low, 1e-300) * high), high * 1e-9)
        good = enough(middle)
        high, low = np.where(good, middle, high), np.where(good, low, middle)
        if np.all(enough(low) | (high <= low * 1.001)):
            break
    return np.minimum(rounded_up(counts(np.where(enough(low), low, high))), np.maximum(most, there))


def networks_for_mean(variances: ArrayLike, error: ArrayLike, have: ArrayLike, most: int) -> Counts:
    """Networks for a given standard error of a mean, those that are there counted; shapes (...)."""
    there = np.maximum(np.asarray(have, np.int64), LEAST)
    needed = np.asarray(variances, np.float64) / np.maximum(np.asarray(error, np.float64), 1e-150) ** 2
    return np.minimum(rounded_up(np.maximum(there, needed)), np.maximum(most, there))


def wanted_error(value: ArrayLike, error: ArrayLike, relative_error: float, last: bool = False) -> Floats:
    """The standard error to plan for, from a value known with some error.

    Before the value is known, one that came out small by chance would ask for far too many networks: it counts as no
    smaller than one and a half times its error. In the ``last`` round it counts as smaller by its error, within bounds,
    because nothing can be added if it turns out so. On studies of known truth this reaches the error asked for in 97 %
    of cases or more, at 1.1 to 1.7 times the cost of a plan that knew value and variances (medians).
    """
    size, known = np.abs(np.asarray(value, np.float64)), np.asarray(error, np.float64)
    if last:
        return np.asarray(relative_error * np.maximum(np.maximum(size / 2, size - known), known / 2))
    return np.asarray(relative_error * np.maximum(size, 1.5 * known))


def rounded_up(numbers: ArrayLike) -> Counts:
    """The next number with three digits that count: what differs in the last bit must not be another plan."""
    values = np.maximum(np.asarray(numbers, np.float64), 1.0)
    unit = 10.0 ** np.maximum(np.floor(np.log10(values) + 1e-12) - 2, 0)
    return np.asarray(np.ceil(values / unit * (1 - 1e-12)) * unit, np.int64)


def _normalized(shares: Floats) -> Floats:
    total: Floats = shares.sum(-1, keepdims=True)
    return shares / total


def _positive(variances: ArrayLike) -> Floats:
    given = np.asarray(variances, np.float64)
    largest = given.max(-1, keepdims=True)
    return np.maximum(given, np.where(largest > 0, _FLAT * largest, 1e-200))


def _model(widths: ArrayLike, orders: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Powers of the smallest width over M, (..., W, K), and what makes of their coefficients that of 1/M, (..., K)."""
    m = np.asarray(widths, np.float64)
    smallest = m.min(-1, keepdims=True)
    f = (smallest / m)[..., None] ** np.array(orders)
    c = np.where(np.array(orders) == 1, smallest, 0.0)
    return f, c


def _solved(scaled: Floats, w: Floats, c: Floats) -> Floats:
    """I^-1 c, (..., K)."""
    information = np.swapaxes(scaled, -1, -2) @ (scaled * w[..., None])  # (1)
    column = np.broadcast_to(c, (*information.shape[:-2], c.shape[-1]))[..., None]
    return np.asarray(np.linalg.solve(information, column)[..., 0], np.float64)
