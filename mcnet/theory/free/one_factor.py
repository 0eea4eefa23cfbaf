"""The law of phi'(u)^2 itself, u ~ N(0, q): the spectrum where only one layer is not a multiple of the identity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mcnet.activations.table import Activation
from mcnet.theory.free.slope_law import REACH, pieces, slope_law, turning_points
from mcnet.theory.free.spectrum import LogSpectrum, Values, only_atoms, resolve

Real = NDArray[np.floating[Any]]

CELLS = 200  # in which the monotone branches of |phi'| are looked for
LOWEST = -72.0  # log x below which the table's phi' is rounding


def one_factor(activation: Activation, q: float, log_scale: float, points: int) -> LogSpectrum:
    """Law of exp(log_scale) phi'(u)^2 with u ~ N(0, q), from the monotone branches of |phi'|."""
    sd = math.sqrt(q)
    cells = []
    extrema: list[float] = []
    for start, stop, flat in pieces(activation, q):
        if not flat:
            low, high = max(start, -REACH * sd), min(stop, REACH * sd)
            turns = turning_points(activation, low, high)
            extrema += [turn.place for turn in turns if not turn.zero]
            extrema += [low + 1e-9 * sd, high - 1e-9 * sd]
            cells.append(np.unique([*np.linspace(low, high, CELLS), *(turn.place for turn in turns)]))
    atoms = slope_law(activation, q).atoms
    places = tuple((log_scale + math.log(value) if value > 0 else -math.inf, mass) for value, mass in atoms)
    if not cells:
        return only_atoms(places)
    left = np.concatenate([edges[:-1] for edges in cells])
    right = np.concatenate([edges[1:] for edges in cells])
    # One-sided limits at the kinks: a hair inside.
    nudge = 1e-9 * sd
    low_end, high_end = _slope(activation, left + nudge), _slope(activation, right - nudge)

    def evaluate(log_x: Real) -> Values:
        target = np.exp(0.5 * (log_x - log_scale))
        point, cell = np.nonzero((low_end < target[:, None]) != (high_end < target[:, None]))
        a, b, rising = left[cell], right[cell], low_end[cell] < high_end[cell]
        for _ in range(60):
            middle = (a + b) / 2
            upward = (_slope(activation, middle) < target[point]) == rising
            a, b = np.where(upward, middle, a), np.where(upward, b, middle)
        u = (a + b) / 2
        # d log y/du = 2 d log|phi'|/du, by central differences inside the cell
        step = np.maximum(np.minimum(1e-3 * sd, np.minimum(u - left[cell], right[cell] - u) / 2.5), 1e-12 * sd)
        pair = [_slope(activation, u + k * step) - _slope(activation, u - k * step) for k in (1, 2)]
        rate = 2 * np.abs(8 * pair[0] - pair[1]) / (12 * step) / target[point]
        weight = np.exp(-0.5 * u * u / q) / (sd * math.sqrt(2 * math.pi)) / rate
        density: Real = np.bincount(point, weight, log_x.size).astype(float)
        # P(|phi'| > target): whole cells, and the parts of the crossed ones
        mass = _mass(left / sd, right / sd)
        whole = (low_end >= target[:, None]) & (high_end >= target[:, None])
        above = whole @ mass
        part = np.where(rising, _mass(u / sd, right[cell] / sd), _mass(left[cell] / sd, u / sd))
        above = above + np.bincount(point, part, log_x.size)
        above = above + sum(weight * (math.sqrt(value) > target) for value, weight in atoms)
        return Values(density, above, density > 0, np.ones(log_x.size, bool))

    ends = np.concatenate([low_end, high_end])
    log_top = log_scale + 2 * math.log(float(np.max(ends)))
    lowest = 2 * math.log(max(float(np.min(ends)), math.exp(LOWEST / 2)))
    # The density diverges as a root at an extremum of phi' and jumps at the slope of a kink or at infinity.
    with np.errstate(divide="ignore"):
        singular = log_scale + 2 * np.log(_slope(activation, np.array(extrema)))
    apart = np.unique(np.round(singular[np.isfinite(singular)], 7))
    breaks = [float(place) for place in apart if place < log_top - 1e-6]
    look = 0 if breaks else points  # between two of these places the density is positive, or zero throughout
    return resolve(evaluate, log_top, log_scale + lowest - 1e-9, places, points, look, breaks)


def _slope(activation: Activation, u: Real) -> Real:
    slope: Real = np.abs(activation.dphi(u))
    return slope


def _mass(low: Real, high: Real) -> Real:
    flip = low > 0  # the difference of two small tails, not of two numbers near 1
    mass: Real = ndtr(np.where(flip, -low, high)) - ndtr(np.where(flip, -high, low))
    return mass
