"""Fixed points of the layer maps at infinite width: where lengths and correlations settle, and how fast."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.theory import fixed_arrays, gaussian, maps
from mcnet.theory.gaussian import ActivationLike, Floats

_NOISE = 2e-13  # of a length map, relative


class FixedPoint(NamedTuple):
    """Where a deep network settles, with the evidence.

    Attributes
    ----------
    q, c : float or ndarray
        Stable length and correlation.
    slope_q, slope_c : float
        Slopes of the length map at q and of the correlation map at c.
    chi_1 : float
        Slope of the correlation map at c = 1.
    residual_q, residual_c : float
        ``|map(q) - q| / q`` and ``|map(c) - c|``.
    converged : bool
        Whether both residuals are below 1e-10. They may be while the point is only marginally stable (a slope of 1):
        there lengths or correlations arrive by a power of the depth.
    """

    q: Any
    c: Any
    slope_q: Any
    slope_c: Any
    chi_1: Any
    residual_q: Any
    residual_c: Any
    converged: Any


class Table(NamedTuple):
    """V = E phi^2, P = E phi'^2 and V' on a logarithmic grid of q, from which roots are bracketed."""

    q: Floats
    square: Floats
    derivative_square: Floats
    slope: Floats


@lru_cache(maxsize=64)
def table_of(activation: Activation) -> Table:
    q = 2.0 ** np.arange(-46, 46.5, 0.5)
    with np.errstate(over="ignore", invalid="ignore"):  # a function may overflow at lengths that no network reaches
        return Table(
            q,
            np.asarray(gaussian.square(activation, q)),
            np.asarray(gaussian.derivative_square(activation, q)),
            np.array([maps.length_slope(activation, x, 1.0) for x in q]),
        )


def at_zero(activation: Activation) -> tuple[float, float]:
    """phi(0)^2 and the limit of E phi'^2 as q -> 0."""
    return float(activation.phi(np.float64(0.0))) ** 2, float(gaussian.derivative_square(activation, 0.0))


def check_variances(sigma_w2: float, sigma_b2: float) -> None:
    if not (0.0 <= sigma_w2 < math.inf and 0.0 <= sigma_b2 < math.inf):
        raise ValueError(f"sigma_w2 = {sigma_w2:g}, sigma_b2 = {sigma_b2:g}: variances must be finite and >= 0")


def broadcast(function: Callable[..., float], *arguments: ArrayLike) -> Any:
    """A scalar function of scalars, or the array of its values over the broadcast arguments: NaN where it raises."""
    arrays = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in arguments))
    if arrays[0].ndim == 0:
        return float(function(*(float(x) for x in arrays)))

    def value(point: tuple[Any, ...]) -> float:
        try:
            return function(*map(float, point))
        except ValueError:
            return math.nan

    return np.array([value(point) for point in zip(*(x.flat for x in arrays), strict=True)]).reshape(arrays[0].shape)


def _at_points(
    activation: Activation, sigma_w2: ArrayLike, sigma_b2: ArrayLike, gaps: bool
) -> fixed_arrays.Settled | None:
    """Fixed points of the broadcast variances, shaped as they are; None of two numbers."""
    w, b = np.broadcast_arrays(np.asarray(sigma_w2, dtype=np.float64), np.asarray(sigma_b2, dtype=np.float64))
    if w.ndim == 0:
        return None
    w, b, shape = w.ravel(), b.ravel(), w.shape
    for one, other in zip(w, b, strict=True):
        check_variances(float(one), float(other))
    if activation.homogeneous or not fixed_arrays.shares_nodes(activation):
        found, done = fixed_arrays.Settled(*(np.full(w.size, np.nan) for _ in range(5))), np.zeros(w.size, dtype=bool)
    else:
        table = table_of(activation)
        grid, square = np.concatenate([[0.0], table.q]), np.concatenate([[at_zero(activation)[0]], table.square])
        found, done = fixed_arrays.settle(activation, w, b, grid, square, _NOISE, gaps)
    for i in np.flatnonzero(~done):
        for values, value in zip(found, _alone(activation, float(w[i]), float(b[i]), gaps), strict=True):
            values[i] = value
    return fixed_arrays.Settled(*(values.reshape(shape) for values in found))


def _alone(activation: Activation, sigma_w2: float, sigma_b2: float, gaps: bool) -> fixed_arrays.Settled:
    """The same of one point by the scalar functions: numbers, NaN for each that raises."""

    def value(function: Callable[..., float], *arguments: float) -> float:
        try:
            return function(activation, *arguments)
        except ValueError:
            return math.nan

    q, chi = value(_fixed_length, sigma_w2, sigma_b2), value(_chi_1, sigma_w2, sigma_b2)
    gap = value(_fixed_gap, sigma_w2, sigma_b2) if gaps else math.nan
    slope_q = slope_c = math.nan
    if gaps and not math.isnan(q):
        slope_q = maps.length_slope(activation, q, sigma_w2)
        slope_c = chi if gap == 0.0 else sigma_w2 * maps.gap_slope(activation, q, gap)
    return fixed_arrays.Settled(q, gap, slope_q, slope_c, chi)  # type: ignore[arg-type]


def root_of(function: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(function, low, high, xtol=1e-300, rtol=1e-15))


def fixed_length(activation: ActivationLike, sigma_w2: ArrayLike, sigma_b2: ArrayLike) -> Any:
    """The stable fixed point q* of the length map.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float or array_like
        Weight variance times fan-in; bias variance. Arrays are broadcast.

    Returns
    -------
    float or ndarray
        ``q* = sigma_w2 E phi(sqrt(q*) z)^2 + sigma_b2``. Where there are several stable ones (gelu and silu for some
        variances), the smallest: the one that small inputs arrive at. All are in :func:`fixed_lengths`. 0 where
        lengths die out (``sigma_b2 = 0``, phi(0) = 0, weights below the critical variance). 1 where every length is
        fixed (relu at ``sigma_w2 = 2``, linear at 1, both without bias): there q* is free, and 1 stands for all.

    Raises
    ------
    ValueError
        If lengths grow without bound. Of arrays those points are NaN.

    Notes
    -----
    Accuracy: the limit M -> infinity; relative error about 1e-13 / (1 - slope of the length map at q*).
    """
    activation = activations.get(activation)
    many = _at_points(activation, sigma_w2, sigma_b2, gaps=False)
    return _fixed_length(activation, float(sigma_w2), float(sigma_b2)) if many is None else many.q  # type: ignore[arg-type]


def _fixed_length(activation: Activation, sigma_w2: float, sigma_b2: float) -> float:
    if activation.homogeneous:
        check_variances(sigma_w2, sigma_b2)
        rate = sigma_w2 * float(gaussian.square(activation, 1.0))
        if rate < 1.0 - 1e-15:
            return sigma_b2 / (1.0 - rate)
        if sigma_b2 == 0.0 and rate < 1.0 + 1e-15:
            return 1.0
        raise _divergence(activation, sigma_w2, sigma_b2)
    for q, stable in _fixed_lengths(activation, sigma_w2, sigma_b2):
        if stable:
            return q
    raise _divergence(activation, sigma_w2, sigma_b2)


def _divergence(activation: Activation, sigma_w2: float, sigma_b2: float) -> ValueError:
    return ValueError(
        f"{activation.label} has no stable length at sigma_w2 = {sigma_w2:g}, sigma_b2 = {sigma_b2:g}: "
        "lengths grow without bound with depth; lower sigma_w2"
    )


def fixed_lengths(activation: ActivationLike, sigma_w2: float, sigma_b2: float) -> list[tuple[float, bool]]:
    """All fixed points of the length map between 1e-14 and 1e13, and 0 if it is one: (q, stable), ascending.

    A pair of fixed points closer than a factor of 1.4, or a point where the map only touches the diagonal, escapes.
    Empty for homogeneous activations that diverge; ``[(1.0, True)]`` where every length is fixed.
    """
    activation = activations.get(activation)
    if activation.homogeneous:
        try:
            return [(_fixed_length(activation, float(sigma_w2), float(sigma_b2)), True)]
        except ValueError:
            return []
    return _fixed_lengths(activation, float(sigma_w2), float(sigma_b2))


def _fixed_lengths(activation: Activation, sigma_w2: float, sigma_b2: float) -> list[tuple[float, bool]]:
    check_variances(sigma_w2, sigma_b2)
    table = table_of(activation)
    q = np.concatenate([[0.0], table.q])
    image = sigma_w2 * np.concatenate([[at_zero(activation)[0]], table.square]) + sigma_b2
    finite = np.isfinite(image)
    growth = np.where(finite, np.sign(image - q), 1.0)
    growth[finite & (np.abs(image - q) <= _NOISE * (image + q))] = 0.0
    known = np.flatnonzero(growth)
    if known.size == 0:
        return [(1.0, True)]

    def excess(x: float) -> float:
        return maps.length_map(activation, x, sigma_w2, sigma_b2) - x

    found = []
    if growth[0] == 0.0:
        found.append((0.0, bool(growth[known[0]] < 0)))
    for low, high in pairwise(known):
        if growth[low] * growth[high] < 0:
            root = root_of(excess, float(q[low]), float(q[high]))
            found.append((root, bool(growth[low] > 0)))
    return found


def chi_1(activation: ActivationLike, sigma_w2: ArrayLike, sigma_b2: ArrayLike) -> Any:
    """Slope of the correlation map at c = 1 and q = q*: ``sigma_w2 E phi'(sqrt(q*) z)^2``, float or array.

    Below 1 close inputs merge (the ordered phase), above 1 they part (the chaotic phase). For homogeneous activations
    it does not depend on the length, and is given whether or not lengths settle.

    Raises
    ------
    ValueError
        If lengths grow without bound (not for homogeneous activations). Of arrays those points are NaN.

    References
    ----------
    Poole et al. 2016, arXiv:1606.05340; Schoenholz et al. 2017, arXiv:1611.01232.
    """
    activation = activations.get(activation)
    many = _at_points(activation, sigma_w2, sigma_b2, gaps=False)
    return _chi_1(activation, float(sigma_w2), float(sigma_b2)) if many is None else many.chi_1  # type: ignore[arg-type]


def _chi_1(activation: Activation, sigma_w2: float, sigma_b2: float) -> float:
    q = 1.0 if activation.homogeneous else _fixed_length(activation, sigma_w2, sigma_b2)
    check_variances(sigma_w2, sigma_b2)
    return maps.chi(activation, q, 1.0, sigma_w2)


def fixed_correlation(activation: ActivationLike, sigma_w2: ArrayLike, sigma_b2: ArrayLike) -> Any:
    """The stable fixed point c* in [0, 1] of the correlation map at q = q*, float or array.

    1 where chi_1 <= 1; where chi_1 > 1 the only other one, since the map is convex. 1 also where lengths die out
    (q* = 0), and for linear at ``sigma_w2 = 1`` without bias, where every correlation is fixed.

    Raises
    ------
    ValueError
        If lengths grow without bound; of arrays those points are NaN. (Leaky) relu is the exception: its correlations
        tend to 1 all the same.

    Notes
    -----
    Accuracy: 1e-12 in ``1 - c*`` relative to itself, divided by ``|1 - slope|`` at c*.
    """
    activation = activations.get(activation)
    many = _at_points(activation, sigma_w2, sigma_b2, gaps=True)
    if many is not None:
        return 1.0 - many.gap
    return 1.0 - _fixed_gap(activation, float(sigma_w2), float(sigma_b2))  # type: ignore[arg-type]


def _fixed_gap(activation: Activation, sigma_w2: float, sigma_b2: float) -> float:
    if activation.homogeneous:
        check_variances(sigma_w2, sigma_b2)
        if maps.half_square_difference(activation, 1.0, 1.0) < (1.0 - 1e-12) * gaussian.square(activation, 1.0):
            return 0.0  # not linear: c grows at any length
    q = _fixed_length(activation, sigma_w2, sigma_b2)
    if q == 0.0 or maps.chi(activation, q, 1.0, sigma_w2) <= 1.0 + 1e-13:
        return 0.0

    # Newton from gap = 1: the gap map is concave, so the iterates fall and never pass the root
    gap = 1.0
    for _ in range(200):
        excess = maps.gap_map(activation, q, gap, sigma_w2, sigma_b2) - gap
        step = excess / (1.0 - sigma_w2 * maps.gap_slope(activation, q, gap))
        if gap == 1.0 and abs(excess) < 1e-14:
            return 1.0  # odd phi without bias
        gap += step
        if abs(step) < 1e-14 * gap or step > 0.0:
            break
    return gap


def fixed_point(activation: ActivationLike, sigma_w2: ArrayLike, sigma_b2: ArrayLike) -> FixedPoint:
    """The stable fixed point with slopes, residuals and whether they are small; errors as :func:`fixed_length`.

    Of arrays every attribute is an array of their broadcast shape, NaN (and not converged) where lengths grow without
    bound.
    """
    activation = activations.get(activation)
    many = _at_points(activation, sigma_w2, sigma_b2, gaps=True)
    if many is not None:
        return _with_residuals(activation, many, sigma_w2, sigma_b2)
    w, b = float(sigma_w2), float(sigma_b2)  # type: ignore[arg-type]
    q, gap = _fixed_length(activation, w, b), _fixed_gap(activation, w, b)
    slope_q, slope_c = _slopes(activation, w, b)
    residual_q = abs(maps.length_map(activation, q, w, b) - q) / q if q > 0.0 else 0.0
    residual_c = abs(maps.gap_map(activation, q, gap, w, b) - gap) if q > 0.0 else 0.0
    converged = max(residual_q, residual_c) < 1e-10
    return FixedPoint(q, 1.0 - gap, slope_q, slope_c, _chi_1(activation, w, b), residual_q, residual_c, converged)


def _with_residuals(
    activation: Activation, found: fixed_arrays.Settled, sigma_w2: ArrayLike, sigma_b2: ArrayLike
) -> FixedPoint:
    q, gap = found.q.ravel(), found.gap.ravel()
    w, b = (np.broadcast_to(np.asarray(x, dtype=np.float64), found.q.shape).ravel() for x in (sigma_w2, sigma_b2))
    settled = q > 0.0
    residual_q, residual_c = (np.where(np.isfinite(values), 0.0, np.nan) for values in (q, gap))
    image = w[settled] * fixed_arrays.squares(activation, q[settled]) + b[settled]
    residual_q[settled] = np.abs(image - q[settled]) / q[settled]
    residual_c[settled] = np.abs(
        fixed_arrays.gap_maps(activation, q[settled], gap[settled], w[settled], b[settled]) - gap[settled]
    )
    converged = np.maximum(residual_q, residual_c) < 1e-10
    known = ~np.isnan(found.q)  # (leaky) relu has slopes and correlations without a length
    every = (found.q, 1.0 - found.gap, found.slope_q, found.slope_c, found.chi_1)
    parts = [np.where(known, values, np.nan) for values in every]
    return FixedPoint(*parts, *(x.reshape(found.q.shape) for x in (residual_q, residual_c, converged)))


def _slopes(activation: Activation, sigma_w2: float, sigma_b2: float) -> tuple[float, float]:
    q = _fixed_length(activation, sigma_w2, sigma_b2)
    gap = _fixed_gap(activation, sigma_w2, sigma_b2)
    slope_c = _chi_1(activation, sigma_w2, sigma_b2) if gap == 0.0 else sigma_w2 * maps.gap_slope(activation, q, gap)
    return maps.length_slope(activation, q, sigma_w2), slope_c


def depth_scales(activation: ActivationLike, sigma_w2: ArrayLike, sigma_b2: ArrayLike) -> tuple[Any, Any]:
    """Depths (xi_q, xi_c) over which lengths and correlations settle: floats, or arrays.

    ``xi = -1 / ln |slope|`` with the slopes of the length map at q* and of the correlation map at c*
    (Schoenholz et al. 2017, arXiv:1611.01232). Infinite where the slope is 1 to within 1e-12: settling is then by a
    power of the depth, or does not happen.

    Raises
    ------
    ValueError
        If lengths grow without bound. Of arrays those points are NaN.
    """
    activation = activations.get(activation)
    many = _at_points(activation, sigma_w2, sigma_b2, gaps=True)
    if many is not None:
        return _scales(many.slope_q), _scales(many.slope_c)
    slopes = _slopes(activation, float(sigma_w2), float(sigma_b2))  # type: ignore[arg-type]
    xi_q, xi_c = _scales(np.array(slopes))
    return float(xi_q), float(xi_c)


def _scales(slopes: Floats) -> Floats:
    """-1 / ln |slope|: 0 for a slope of 0, infinite for one of 1 to within 1e-12."""
    size = np.abs(slopes)
    inside = (size > 0.0) & (size <= 1.0 - 1e-12)
    found = -1.0 / np.log(np.where(inside, size, 0.5))
    return np.where(inside, found, np.where(np.isnan(size), np.nan, np.where(size == 0.0, 0.0, math.inf)))
