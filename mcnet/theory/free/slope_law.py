"""The law of phi'(u)^2, u ~ N(0, q): nodes and weights, true atoms apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr

from mcnet.activations.table import Activation

Array = NDArray[np.floating[Any]]

REACH = 9.0  # panels cover |u| < REACH sqrt(q); P(|u| > 9 sqrt q) = 2e-19
FINEST = 1e-7  # smallest cell next to a turning point, in standard deviations
CELL = 0.025  # width of a cell in standard deviations
SMALLEST = 1e-32  # below (double epsilon)^2 the table's phi' is rounding: a smooth tail that rounds to 0 is no atom


@dataclass(frozen=True)
class Cells:
    """The continuous part as a density linear in y on each cell: for -t near the support, where nodes would be poles.

    Attributes
    ----------
    low, high : ndarray, shape (C,)
        Ends of the cells in y.
    mass, tilt : ndarray, shape (C,)
        Mass, and the mean of (2y - low - high)/(high - low), within [-1/3, 1/3] so that the density is positive.
    atoms, atom_weights : ndarray, shape (A,)
        Positive true atoms.
    """

    low: Array
    high: Array
    mass: Array
    tilt: Array
    atoms: Array
    atom_weights: Array


@dataclass(frozen=True)
class SlopeLaw:
    """A law on [0, inf) as weighted nodes.

    Attributes
    ----------
    values, weights : ndarray, shape (K,)
        Positive nodes, ascending, and their probabilities.
    zero : float
        P(y = 0).
    atoms : tuple of (float, float)
        (value, mass) of the true atoms, zero included; a node that only discretises a density is none.
    cells : Cells, optional
        The same law as a density; None if phi' is piecewise constant.
    resolved : float
        Below it, next to a zero of phi', the nodes stand too wide.
    """

    values: Array
    weights: Array
    zero: float
    atoms: tuple[tuple[float, float], ...]
    cells: Cells | None = None
    resolved: float = 0.0

    @property
    def single(self) -> bool:
        """Whether the law is one atom."""
        return self.values.size == 1 and self.zero == 0.0

    @property
    def largest(self) -> float:
        """Top of the support (of the nodes)."""
        return float(self.values[-1]) if self.values.size else 0.0

    def moments(self, count: int) -> Array:
        """E y^k, k = 1..count."""
        powers = np.arange(1, count + 1)[:, None]
        moments: Array = (self.values**powers * self.weights).sum(-1)
        return moments


def pieces(activation: Activation, q: float) -> list[tuple[float, float, bool]]:
    """Intervals of u between kinks, (start, stop, whether phi' is constant there); the outer ones are infinite."""
    reach = REACH * math.sqrt(q)
    edges = [-math.inf, *(kink for kink in sorted(activation.kinks) if abs(kink) < reach), math.inf]
    found = []
    for start, stop in itertools.pairwise(edges):
        low, high = max(start, -reach), min(stop, reach)
        slope = activation.dphi(low + (high - low) * np.linspace(0.01, 0.99, 33))
        flat = bool(np.ptp(slope) <= 1e-14 * np.max(np.abs(slope)))
        found.append((start, stop, flat))
    return found


@lru_cache(maxsize=256)
def slope_law(activation: Activation, q: float, refine: int = 1) -> SlopeLaw:
    """Law of phi'(u)^2 for u ~ N(0, q).

    Composite Gauss-Legendre with 12 nodes a panel; panel edges on the kinks; panels 0.6/refine standard deviations
    wide, and never wider than 0.5/refine. Where phi' is constant between kinks the mass is exact.
    """
    if q == 0.0:
        value = float(activation.dphi(np.zeros(1))[0]) ** 2
        if value == 0.0:
            return SlopeLaw(np.empty(0), np.empty(0), 1.0, ((0.0, 1.0),))
        return SlopeLaw(np.array([value]), np.ones(1), 0.0, ((value, 1.0),))
    sd = math.sqrt(q)
    nodes, node_weights = np.polynomial.legendre.leggauss(12)
    width = min(0.6 * sd, 0.5) / refine
    values, weights = [], []
    resolved = 0.0
    atoms: dict[float, float] = {}
    for start, stop, flat in pieces(activation, q):
        low, high = max(start, -REACH * sd), min(stop, REACH * sd)
        if flat:
            value = float(activation.dphi(np.array([(low + high) / 2]))[0]) ** 2
            mass = float(ndtr(stop / sd) - ndtr(start / sd) if start < 0 else ndtr(-start / sd) - ndtr(-stop / sd))
            atoms[value] = atoms.get(value, 0.0) + mass
            continue
        panels = max(1, math.ceil((high - low) / width - 1e-9))
        zeros = [turn for turn in turning_points(activation, low, high) if turn.zero]
        near = np.array([turn.place for turn in zeros if abs(turn.place) < 6 * sd])
        edges = _graded(np.linspace(low, high, panels + 1), list(near), 2.0, FINEST * sd)
        resolved = max([resolved, *(4 * activation.dphi(near + FINEST * sd) ** 2)])
        half = np.diff(edges) / 2
        u = ((edges[:-1] + edges[1:]) / 2)[:, None] + half[:, None] * nodes
        density = np.exp(-0.5 * u * u / q) / (sd * math.sqrt(2 * math.pi))
        values.append(np.maximum(activation.dphi(u) ** 2, SMALLEST).ravel())
        weights.append((half[:, None] * node_weights * density).ravel())
    zero = atoms.get(0.0, 0.0)
    positive = [(value, mass) for value, mass in atoms.items() if value > 0 and mass > 0]
    all_values = np.concatenate([*values, np.array([value for value, _ in positive])])
    all_weights = np.concatenate([*weights, np.array([mass for _, mass in positive])])
    # An even phi' gives every node twice, equal up to rounding.
    _, inverse = np.unique(np.round(np.log(all_values), 13), return_inverse=True)
    masses = np.bincount(inverse, all_weights)
    centres = np.bincount(inverse, all_weights * all_values) / np.where(masses > 0, masses, 1.0)
    keep = masses > 1e-22
    total = masses[keep].sum() + zero
    true_atoms = tuple(sorted((value, mass) for value, mass in atoms.items() if mass > 1e-16))
    cells = _cells(activation, q) if values else None
    return SlopeLaw(centres[keep], masses[keep] / total, zero / total, true_atoms, cells, float(resolved))


def _cells(activation: Activation, q: float) -> Cells:
    sd = math.sqrt(q)
    nodes, node_weights = np.polynomial.legendre.leggauss(8)
    rows = []
    atoms: dict[float, float] = {}
    for start, stop, flat in pieces(activation, q):
        low, high = max(start, -REACH * sd), min(stop, REACH * sd)
        if flat:
            value = float(activation.dphi(np.array([(low + high) / 2]))[0]) ** 2
            atoms[value] = atoms.get(value, 0.0) + float(ndtr(stop / sd) - ndtr(start / sd))
            continue
        count = math.ceil((high - low) / min(CELL * sd, 0.1))
        turns = turning_points(activation, low, high)
        edges: Array = np.linspace(low, high, count + 1)
        edges = _graded(edges, [turn.place for turn in turns if turn.zero], 1.12, FINEST * sd)
        # At an extremum y varies as the square of the distance: much finer cells would have no width in y.
        edges = _graded(edges, [turn.place for turn in turns if not turn.zero], 1.3, math.sqrt(FINEST) * sd)
        left, right = edges[:-1], edges[1:]
        u = (left + right)[:, None] / 2 + (right - left)[:, None] / 2 * nodes
        y = np.maximum(activation.dphi(u) ** 2, SMALLEST)
        weight = (right - left)[:, None] / 2 * node_weights * np.exp(-0.5 * u * u / q) / (sd * math.sqrt(2 * math.pi))
        nudge = 1e-9 * (right - left)  # one-sided limits at kinks
        ends = np.maximum(activation.dphi(np.stack([left + nudge, right - nudge])) ** 2, SMALLEST)
        # low, high, mass, mass times mean
        rows.append(np.stack([ends.min(0), ends.max(0), weight.sum(1), (weight * y).sum(1)]))
    low_y, high_y, mass, first = np.concatenate(rows, axis=1)
    # An even phi' gives every cell twice.
    _, index, inverse = np.unique(np.round(np.log(low_y), 9) + 1j * np.round(np.log(high_y), 9), True, True)
    mass, first = np.bincount(inverse, mass), np.bincount(inverse, first)
    low_y, high_y = low_y[index], high_y[index]
    wide = high_y > low_y * (1 + 1e-10)
    for value, weight in zip(low_y[~wide], mass[~wide], strict=True):
        atoms[float(value)] = atoms.get(float(value), 0.0) + float(weight)
    low_y, high_y, mass, first = low_y[wide], high_y[wide], mass[wide], first[wide]
    centre = np.where(mass > 0, first / np.where(mass > 0, mass, 1.0), (low_y + high_y) / 2)
    tilt = np.clip((2 * centre - low_y - high_y) / (high_y - low_y), -1 / 3, 1 / 3)
    positive = np.array([(value, weight) for value, weight in atoms.items() if value > 0 and weight > 0]).reshape(-1, 2)
    return Cells(low_y, high_y, mass, tilt, positive[:, 0], positive[:, 1])


class TurningPoint(NamedTuple):
    """A zero or an extremum of phi', where y = phi'^2 turns."""

    place: float
    zero: bool


def turning_points(activation: Activation, low: float, high: float) -> list[TurningPoint]:
    """Zeros and extrema of phi' inside an interval without kinks."""
    margin = 1e-9 * (high - low)
    grid = np.linspace(low + margin, high - margin, 400)
    slope = np.asarray(activation.dphi(grid))
    found: list[TurningPoint] = []

    def signed(sign: float) -> Callable[[float], float]:
        return lambda u: sign * float(activation.dphi(np.array([u]))[0])

    for i in np.flatnonzero(np.sign(slope[:-1]) * np.sign(slope[1:]) < 0):
        found.append(TurningPoint(float(brentq(signed(1.0), grid[i], grid[i + 1], xtol=1e-14)), True))
    moving = np.concatenate([[True], np.diff(slope) != 0])  # a symmetric pair of points hides the extremum between
    place, turn = grid[moving], np.sign(np.diff(slope[moving]))
    for i in np.flatnonzero(turn[:-1] * turn[1:] < 0):
        bounds = (float(place[i]), float(place[i + 2]))
        result = minimize_scalar(signed(-turn[i]), bounds=bounds, method="bounded", options={"xatol": 1e-10})
        found.append(TurningPoint(float(result.x), False))
    return found


def _graded(edges: Array, places: Sequence[float], ratio: float, finest: float) -> Array:
    """Edges with further ones that close in geometrically on each place."""
    if not places:
        return edges
    reach = float(np.max(np.diff(edges))) / (ratio - 1)  # from here in, cells of that ratio are the smaller ones
    near = reach * ratio ** -np.arange(math.log(reach / finest) / math.log(ratio))
    extra = np.concatenate([[place, *(place - near), *(place + near)] for place in places])
    joined = np.unique(np.concatenate([edges, extra[(extra > edges[0]) & (extra < edges[-1])]]))
    kept: Array = joined[np.concatenate([[True], (np.diff(joined) > 1e-10 * (joined[-1] - joined[0]))[:-1], [True]])]
    return kept
