"""Fixed points and layer maps of many points at once: the phase diagram of an activation in a second.

All points share the nodes of one quadrature, and the mean over two correlated variables becomes a series,

    E phi(u_a) phi(u_b) = sum_n a_n(q)^2 c^n,        a_n = E[phi(sqrt(q) z) h_n(z)],               (1)

h_n the orthonormal Hermite polynomials (Mehler). So ``E (phi_a - phi_b)^2 / 2 = sum a_n^2 (1 - c^n)``, a sum of
positive terms without cancellation. Where the terms that are left out could matter (a kink and c near 1), and for
activations with kinks away from 0, whose nodes cannot be shared, the scalar quadrature of
:mod:`mcnet.theory.fixed_points` takes over.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet.activations.table import Activation
from mcnet.theory import gaussian, maps
from mcnet.theory.gaussian import Floats

ORDERS = 384
"""Terms of (1)."""

_LAST = 64  # terms from which those left out are judged
_ACCURACY = 1e-13
_POINTS = 512  # at a time


class Nodes(NamedTuple):
    """Nodes z and weights of the mean over N(0, 1), good for all standard deviations up to ``reach``."""

    z: Floats
    weights: Floats
    hermite: Floats


def shares_nodes(activation: Activation) -> bool:
    """Whether its kinks lie at the same z for every length."""
    return all(kink == 0.0 for kink in activation.kinks)


def nodes(activation: Activation, largest_q: float) -> Nodes:
    """Shared nodes for lengths up to ``largest_q``; panels double away from 0, where the largest moves fastest."""
    steps = max(0, math.ceil(math.log2(max(math.sqrt(largest_q), 1e-300) / gaussian.feature_scale(activation))))
    return _nodes(min(steps, 60))


@lru_cache(maxsize=16)
def _nodes(steps: int) -> Nodes:
    z, weights = gaussian.shared_rule(steps)
    hermite = np.empty((ORDERS, z.size))
    hermite[0], hermite[1] = 1.0, z
    for n in range(1, ORDERS - 1):
        hermite[n + 1] = (z * hermite[n] - math.sqrt(n) * hermite[n - 1]) / math.sqrt(n + 1.0)
    return Nodes(z, weights, hermite * weights)


class Means(NamedTuple):
    """E phi^2, E phi'^2 and d/dq E phi^2 at lengths q, all of its shape."""

    square: Floats
    derivative_square: Floats
    slope: Floats


def means(activation: Activation, q: Floats) -> Means:
    """The one-dimensional means at many lengths, q > 0, shape (n,)."""
    result = np.empty((3, q.size))
    for part in _parts(q.size):
        some = nodes(activation, float(q[part].max(initial=0.0)))
        u = np.sqrt(q[part])[:, None] * some.z
        phi, dphi = activation.phi(u), activation.dphi(u)
        result[0, part] = phi**2 @ some.weights
        result[1, part] = dphi**2 @ some.weights
        result[2, part] = (phi * dphi * u) @ some.weights / q[part]
    return Means(*result)


def squares(activation: Activation, q: Floats) -> Floats:
    """E phi^2 at many lengths; closed forms, shared nodes, or one by one."""
    if activation.closed("square") is not None or not shares_nodes(activation):
        return np.asarray(gaussian.square(activation, q))
    return means(activation, q).square


def _parts(size: int) -> list[slice]:
    return [slice(start, start + _POINTS) for start in range(0, size, _POINTS)]


class Series(NamedTuple):
    """The powers ``a_n^2`` of (1) at lengths q.

    Attributes
    ----------
    q : (n,)
    power : (n, ORDERS - 1)
        From n = 1 on.
    rest, rest_slope : (n,)
        Bounds of what is left out of the sums of ``a_n^2`` and ``n a_n^2``.
    tail, noise : (n,)
        What is left out of the first, from E phi^2, and its rounding.
    """

    q: Floats
    power: Floats
    rest: Floats
    rest_slope: Floats
    tail: Floats
    noise: Floats

    def difference(self, gap: Floats) -> Floats:
        """``E (phi_a - phi_b)^2 / 2`` at correlation 1 - gap."""
        known = (self.power * -np.expm1(_orders() * _log(gap)[:, None])).sum(1)
        return np.asarray(known - self.tail * np.expm1(ORDERS * _log(gap)))

    def slope(self, gap: Floats) -> Floats:
        """Its derivative over q with respect to the gap: ``E phi'_a phi'_b``."""
        n = _orders()
        return np.asarray((self.power * n * np.exp((n - 1.0) * _log(gap)[:, None])).sum(1) / self.q)

    def trusted(self, gap: Floats) -> NDArray[np.bool_]:
        """Whether both sums are good to 1e-13 there, and what is known of the tail to its own rounding."""
        decay = np.exp(ORDERS * _log(gap))
        uncertain = self.rest * decay + self.noise * (1.0 - decay)
        enough = uncertain <= _ACCURACY * self.difference(gap)
        return np.asarray(enough & (self.rest_slope * decay <= _ACCURACY * self.slope(gap) * self.q))


def _orders() -> Floats:
    return np.arange(1.0, ORDERS)


def _log(gap: Floats) -> Floats:
    """ln c; of c = 0 that of the smallest step below 1."""
    return np.asarray(np.log1p(-np.minimum(gap, 1.0 - 2.0**-53)))


def series(activation: Activation, q: Floats) -> Series:
    """The powers at many lengths, q > 0, shape (n,)."""
    power = np.empty((q.size, ORDERS))
    square = np.empty(q.size)
    for part in _parts(q.size):
        some = nodes(activation, float(q[part].max(initial=0.0)))
        phi = activation.phi(np.sqrt(q[part])[:, None] * some.z)
        power[part] = (phi @ some.hermite.T) ** 2
        square[part] = phi**2 @ some.weights
    last = power[:, -_LAST:]
    unit = ORDERS / 8.0  # more than the tail of any power law that a kink leaves
    rest = unit * last.sum(1)
    tail = np.maximum(square - power.sum(1), 0.0)
    rest_slope = unit * (last * _orders()[-_LAST:]).sum(1)
    return Series(q, power[:, 1:], rest, rest_slope, tail, 4.0 * np.finfo(np.float64).eps * square)


def gap_maps(activation: Activation, q: Floats, gap: Floats, sigma_w2: Floats, sigma_b2: Floats) -> Floats:
    """:func:`mcnet.theory.maps.gap_map` of many points, all of shape (n,)."""
    result = np.full(q.shape, np.nan)
    some = np.flatnonzero((q > 0.0) & np.isfinite(q) & np.isfinite(gap))
    if some.size and shares_nodes(activation):
        found, here = series(activation, q[some]), np.clip(gap[some], 0.0, 1.0)
        difference = found.difference(here)
        image = sigma_w2[some] * squares(activation, q[some]) + sigma_b2[some]
        good = (gap[some] <= 1.0) & (gap[some] > 0.0) & found.trusted(here)
        result[some[good]] = (sigma_w2[some] * difference / image)[good]
        some = some[~good]
    for i in some:
        result[i] = maps.gap_map(activation, float(q[i]), float(gap[i]), float(sigma_w2[i]), float(sigma_b2[i]))
    return result


class Settled(NamedTuple):
    """Stable lengths, gaps 1 - c and slopes at many points, shape (n,); NaN where lengths grow without bound."""

    q: Floats
    gap: Floats
    slope_q: Floats
    slope_c: Floats
    chi_1: Floats


def settle(
    activation: Activation,
    sigma_w2: Floats,
    sigma_b2: Floats,
    grid: Floats,
    square: Floats,
    noise: float,
    gaps: bool,
) -> tuple[Settled, NDArray[np.bool_]]:
    """Fixed points of many points of an activation that is not homogeneous and shares its nodes.

    Parameters
    ----------
    activation : Activation
    sigma_w2, sigma_b2 : ndarray, shape (n,)
    grid, square : ndarray, shape (g,)
        Lengths, ascending from 0, and E phi^2 there: where roots are bracketed.
    noise : float
        Relative, of the length map.
    gaps : bool
        False: gaps and slopes at them are not wanted, and NaN.

    Returns
    -------
    Settled
    done : ndarray of bool, shape (n,)
        False where the scalar functions must take over.
    """
    low, high, q = _brackets(sigma_w2, sigma_b2, grid, square, noise)
    root = np.flatnonzero(np.isnan(q) & np.isfinite(low))
    q[root] = _lengths(activation, sigma_w2[root], sigma_b2[root], low[root], high[root])
    gap, slope_q, slope_c, chi = (np.full(q.shape, np.nan) for _ in range(4))
    done = np.isnan(q) | (q > 0.0)  # dying lengths are few, and exact limits
    at = np.flatnonzero(np.isfinite(q) & (q > 0.0))
    found = means(activation, q[at])
    slope_q[at], chi[at] = sigma_w2[at] * found.slope, sigma_w2[at] * found.derivative_square
    if not gaps:
        return Settled(q, gap, slope_q, slope_c, chi), done
    gap[at], slope_c[at] = 0.0, chi[at]
    chaos = at[chi[at] > 1.0 + 1e-13]
    if chaos.size:
        gap[chaos], slope_c[chaos], good = _gaps(activation, q[chaos], sigma_w2[chaos], sigma_b2[chaos])
        done[chaos[~good]] = False
    return Settled(q, gap, slope_q, slope_c, chi), done


def _brackets(
    sigma_w2: Floats, sigma_b2: Floats, grid: Floats, square: Floats, noise: float
) -> tuple[Floats, Floats, Floats]:
    """Where the smallest stable length lies, from low to high, or the length itself if it is on the grid; else NaN."""
    low, high, q = (np.full(sigma_w2.shape, np.nan) for _ in range(3))
    for i, (w, b) in enumerate(zip(sigma_w2, sigma_b2, strict=True)):
        image = w * square + b
        finite = np.isfinite(image)
        growth = np.where(finite, np.sign(image - grid), 1.0)
        growth[finite & (np.abs(image - grid) <= noise * (image + grid))] = 0.0
        known = np.flatnonzero(growth)
        if known.size == 0:
            q[i] = 1.0
        elif growth[0] == 0.0 and growth[known[0]] < 0:
            q[i] = 0.0
        else:
            falls = ((a, z) for a, z in pairwise(known) if growth[a] > 0 > growth[z])
            a, z = next(falls, (None, None))
            if a is not None and z is not None:
                low[i], high[i] = grid[a], grid[z]
    return low, high, q


def _lengths(activation: Activation, sigma_w2: Floats, sigma_b2: Floats, low: Floats, high: Floats) -> Floats:
    """Roots of the length map between low and high by Newton's method, halving where it would leave the bracket."""
    low, high = low.copy(), high.copy()
    q = np.where(low > 0.0, np.sqrt(np.maximum(low, 1e-300) * high), 0.5 * high)
    active = np.arange(q.size)
    for _ in range(200):
        if not active.size:
            break
        here = q[active]
        found = means(activation, here)
        excess = sigma_w2[active] * found.square + sigma_b2[active] - here
        above = excess > 0.0
        low[active[above]], high[active[~above]] = here[above], here[~above]
        following = here - excess / (sigma_w2[active] * found.slope - 1.0)
        inside = (following > low[active]) & (following < high[active])
        following = np.where(inside, following, 0.5 * (low[active] + high[active]))
        q[active] = following
        active = active[np.abs(following - here) > 2e-15 * here]
    return q


def _gaps(
    activation: Activation, q: Floats, sigma_w2: Floats, sigma_b2: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Stable gaps in the chaotic phase and the slopes there, and where they can be trusted.

    The gap map is concave: Newton's iterates from gap = 1 fall and never pass the root.
    """
    found = series(activation, q)
    image = sigma_w2 * means(activation, q).square + sigma_b2
    gap = np.ones(q.shape)
    active = np.arange(q.size)
    for step_number in range(200):
        part = Series(*(values[active] for values in found))
        excess = sigma_w2[active] * part.difference(gap[active]) / image[active] - gap[active]
        step = excess / (1.0 - sigma_w2[active] * part.slope(gap[active]) * (q / image)[active])
        still = (step_number > 0) | (np.abs(excess) >= 1e-14)  # else: odd phi without bias
        gap[active[still]] += step[still]
        active = active[still & (np.abs(step) >= 1e-14 * gap[active]) & (step <= 0.0)]
        if not active.size:
            break
    return gap, sigma_w2 * found.slope(gap), found.trusted(gap) & (gap > 0.0)
