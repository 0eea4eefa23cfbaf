"""A spectral law on the half line: grid, density, distribution function, atoms; and how its bands are found."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Real = NDArray[np.floating[Any]]

MASS_TOLERANCE = 1e-3
INNER = 1e-6  # least distance in log x of a singularity from an edge that splits a band
NEGLIGIBLE = 1e-7  # mass whose lower edge is not looked for
COARSE = 8  # points of a first look of which one is asked for at first
EMPTY = 1e-12  # mass that counts as none
SECTION = 24  # points a round in which an edge is enclosed


class Values(NamedTuple):
    """A law at points log x: all of shape (P,)."""

    density: Real  # per unit of log x
    above: Real  # P(X > x)
    inside: NDArray[np.bool_]  # whether x lies in a band of the continuous part
    solved: NDArray[np.bool_]


Atoms = tuple[tuple[float, float], ...]
Evaluate = Callable[[Real], Values]


@dataclass(frozen=True)
class Band:
    """An interval of log x that carries continuous mass.

    Attributes
    ----------
    low, high : float
        Its ends; low = -inf where the band reaches down to x = 0.
    log_x, density, below : ndarray, shape (P,)
        Grid, ascending, density per unit of log x, and the continuous mass below each point.
    start, stop : float
        The continuous mass below the two ends.
    """

    low: float
    high: float
    log_x: Real
    density: Real
    below: Real
    start: float
    stop: float

    def cdf(self, log_x: Real) -> Real:
        """Mass of this band up to log_x, by cubic Hermite interpolation in a variable where root edges are smooth."""
        half = 1.0 if math.isinf(self.low) else (self.high - self.low) / 2

        def variable(points: Real) -> Real:
            if math.isinf(self.low):
                root: Real = -np.sqrt(np.maximum(self.high - points, 0.0))
                return root
            angle: Real = np.arcsin(np.clip((points - self.low) / half - 1.0, -1.0, 1.0))
            return angle

        place = variable(self.log_x)
        rate = self.density * (-2 * place if math.isinf(self.low) else half * np.cos(place))
        below = self.below
        if not math.isinf(self.low):
            first = -np.pi / 2
            rate = np.concatenate([[_end_slope(below[0] - self.start, place[0] - first, rate[0])], rate])
            place, below = np.concatenate([[first], place]), np.concatenate([[self.start], below])
        last = float(variable(np.array(self.high)))
        rate = np.concatenate([rate, [_end_slope(self.stop - below[-1], last - place[-1], rate[-1])]])
        place, below = np.concatenate([place, [last]]), np.concatenate([below, [self.stop]])
        mass = _hermite(place, below - self.start, rate, np.clip(variable(log_x), place[0], place[-1]))
        if math.isinf(self.low) and below[0] > self.start:
            # Below the grid the mass falls as a power of x.
            power = self.density[0] / (below[0] - self.start)
            tail = (below[0] - self.start) * np.exp(np.minimum(power * (log_x - self.log_x[0]), 0.0))
            mass = np.where(log_x < self.log_x[0], tail, mass)
        result: Real = np.where(log_x >= self.high, self.stop - self.start, np.where(log_x <= self.low, 0.0, mass))
        return result


def _hermite(x: Real, y: Real, slope: Real, asked: Real) -> Real:
    from scipy.interpolate import CubicHermiteSpline

    result: Real = CubicHermiteSpline(x, y, slope)(asked)
    return result


def _end_slope(rise: float, run: float, rate: float) -> float:
    """Slope at the end of an interval from a parabola, within the monotone range of the cubic."""
    return float(np.clip(2 * rise / run - rate, 0.0, 3 * max(rise, 0.0) / run))


@dataclass(frozen=True)
class LogSpectrum:
    """The law of log x for a spectrum on [0, inf).

    Attributes
    ----------
    log_x : ndarray, shape (P,)
        Grid, ascending, dense near the edges of the bands.
    density : ndarray, shape (P,)
        Continuous part per unit of log x.
    bands : tuple of Band
        The continuous part, ascending.
    atoms : tuple of (float, float)
        (log x, mass), ascending; an atom at x = 0 sits at -inf.
    log_max : float
        Top of the support, atoms included.
    mass : float
        Quadrature of the density plus the atoms: 1 but for the error of grid and density.
    """

    log_x: Real
    density: Real
    bands: tuple[Band, ...]
    atoms: Atoms
    log_max: float
    mass: float

    def cdf(self, log_x: ArrayLike) -> Real:
        """P(log X <= log_x), atoms included; any shape. On the grid without a quadrature, between by interpolation."""
        where = np.asarray(log_x, dtype=float)
        total = np.zeros(where.shape)
        for band in self.bands:
            total += band.cdf(where)
        for place, mass in self.atoms:
            total += np.where(where >= place, mass, 0.0)
        return np.clip(total, 0.0, 1.0)


@dataclass(frozen=True)
class Spectrum:
    """A spectral law on the half line.

    Attributes
    ----------
    x : ndarray, shape (P,)
        Grid of eigenvalues, ascending.
    density : ndarray, shape (P,)
        Continuous part, per unit of x.
    atoms : tuple of (float, float)
        (x, mass), ascending.
    lambda_max : float
        Top of the support, atoms included.
    mass : float
        Quadrature of the density plus the atoms: the error of density and grid is its distance from 1.
    mean, second_moment : float
        From series or recursions, not from the density.
    shift : float
        Lower end of the support that the logarithmic grid starts from: x = shift + exp(log.log_x).
    log : LogSpectrum
        The law of log(x - shift).
    """

    x: Real
    density: Real
    atoms: Atoms
    lambda_max: float
    mass: float
    mean: float
    second_moment: float
    shift: float
    log: LogSpectrum

    def cdf(self, x: ArrayLike) -> Real:
        """P(X <= x), atoms included; any shape."""
        distance = np.asarray(x, dtype=float) - self.shift
        with np.errstate(divide="ignore"):
            log_distance = np.where(distance >= 0, np.log(np.maximum(distance, 0.0)), -np.inf)
        # A little slack so that an atom counts at its own place whatever the rounding of exp and log.
        slack = 1e-14 * (1 + np.abs(np.where(np.isfinite(log_distance), log_distance, 0.0)))
        return np.where(distance >= 0, self.log.cdf(log_distance + slack), 0.0)


def from_log(log: LogSpectrum, mean: float, second_moment: float, shift: float = 0.0) -> Spectrum:
    """The law of shift + exp(log x)."""
    x = np.exp(log.log_x)
    return Spectrum(
        x=shift + x,
        density=log.density / x,
        atoms=tuple((shift + math.exp(place), mass) for place, mass in log.atoms),
        lambda_max=shift + math.exp(log.log_max),
        mass=log.mass,
        mean=mean,
        second_moment=second_moment,
        shift=shift,
        log=log,
    )


def only_atoms(atoms: Atoms) -> LogSpectrum:
    """A law without a continuous part; atoms as (log x, mass)."""
    empty = np.empty(0)
    return LogSpectrum(empty, empty, (), atoms, max(place for place, _ in atoms), _atom_mass(atoms))


def _atom_mass(atoms: Atoms, above: float = -math.inf) -> float:
    return math.fsum(mass for place, mass in atoms if place >= above)


def resolve(
    evaluate: Evaluate,
    log_top: float,
    log_bottom: float,
    atoms: Atoms,
    points: int,
    look: int,
    breaks: Sequence[float] = (),
) -> LogSpectrum:
    """Find the bands of a law, lay a grid into each, and check the mass.

    Parameters
    ----------
    evaluate : callable
        log x (P,) -> :class:`Values`.
    log_top, log_bottom : float
        The support lies below log_top; what lies below log_bottom has negligible mass or is at zero.
    atoms : tuple of (float, float)
        (log x, mass), ascending.
    points : int
        Grid points, split among the bands.
    look : int
        Points of a first look for gaps: narrower ones stay unseen, at the price of accuracy. 0: there are none.
    breaks : sequence of float
        log x of singularities inside a band: it is split there.

    Raises
    ------
    ValueError
        If a point could not be solved, or the quadrature of the density misses the mass by more than 1e-3.

    Notes
    -----
    ``log x = high - R t^2`` for a band that reaches down to zero, ``log x = middle - half cos(angle)`` for one with two
    edges, both with midpoints: the rule is then accurate whether the density vanishes or diverges as a root at an edge.
    """
    limits = [(-math.inf, log_top)]
    if look:
        grid, _ = _grids(limits, log_bottom, look)
        values = _look(evaluate, grid)
        # A band may end below in a tail that is not worth finding its edge.
        dark = int(np.max(np.flatnonzero(~values.inside), initial=-1)) + 1
        if dark < look and 1 - values.above[dark] - _atom_mass(atoms[:1]) < NEGLIGIBLE:
            log_bottom = float(grid[dark]) if dark else log_bottom
        else:
            limits = _limits(evaluate, grid, values, log_top, atoms)
            if not limits:
                return only_atoms(atoms)
    for place in breaks:
        limits = [part for limit in limits for part in _split(limit, place, log_bottom)]
    grid, step = _grids(limits, log_bottom, points)
    values = evaluate(grid)
    if not values.solved.all():
        lost = int(np.sum(~values.solved))
        raise ValueError(f"the spectrum could not be followed to the real axis at {lost} of {grid.size} points")
    mass = float(values.density @ step) + _atom_mass(atoms)
    if not abs(mass - 1.0) < MASS_TOLERANCE:
        raise ValueError(f"the density found has mass {mass:.6f} instead of 1: this spectrum is not resolved")
    continuous = 1.0 - _atom_mass(atoms)
    gaps = np.array([(first[1] + second[0]) / 2 for first, second in itertools.pairwise(limits)])
    between = evaluate(gaps).above if gaps.size else gaps
    ends = [
        0.0,
        *(_below(above, place, continuous, atoms) for place, above in zip(gaps, between, strict=True)),
        continuous,
    ]
    bands = []
    for (low, high), start, stop in zip(limits, ends[:-1], ends[1:], strict=True):
        own = (grid > low) & (grid < high)
        below = [
            _below(above, place, continuous, atoms) for place, above in zip(grid[own], values.above[own], strict=True)
        ]
        monotone = np.maximum.accumulate(np.clip(below, start, stop))
        bands.append(Band(low, high, grid[own], values.density[own], monotone, start, stop))
    log_max = max(limits[-1][1], *(place for place, _ in atoms)) if atoms else limits[-1][1]
    return LogSpectrum(grid, values.density, tuple(bands), atoms, log_max, mass)


def _look(evaluate: Evaluate, grid: Real) -> Values:
    """The law on a grid; between two points outside the bands that have no mass between them nothing is asked for."""
    coarse = np.union1d(np.arange(0, grid.size, COARSE), [grid.size - 1])
    seen = evaluate(grid[coarse])
    dark = ~seen.inside & seen.solved
    empty = dark[:-1] & dark[1:] & (np.abs(np.diff(seen.above)) < EMPTY)
    after = np.repeat(np.arange(coarse.size - 1), np.diff(coarse))  # the last coarse point below each other one
    asked = np.flatnonzero(~np.append(empty[after], False))
    asked = asked[~np.isin(asked, coarse)]
    more = evaluate(grid[asked])
    place = np.append(after, coarse.size - 1)
    columns = [column[place] for column in seen]
    for column, own in zip(columns, more, strict=True):
        column[asked] = own
    return Values(*columns)


def _split(limit: tuple[float, float], place: float, log_bottom: float) -> list[tuple[float, float]]:
    """A band cut at a place well inside it."""
    low, high = limit
    if max(low, log_bottom) + INNER < place < high - INNER:
        return [(low, place), (place, high)]
    return [limit]


def _below(above: float, place: float, continuous: float, atoms: Atoms) -> float:
    """Continuous mass below a point from P(X > x)."""
    return continuous - (float(above) - _atom_mass(atoms, place))


def _grids(limits: Sequence[tuple[float, float]], log_bottom: float, points: int) -> tuple[Real, Real]:
    share = max(points // 5, points // len(limits))
    cells = [_grid(low, high, log_bottom, share) for low, high in limits]
    return np.concatenate([cell[0] for cell in cells]), np.concatenate([cell[1] for cell in cells])


def _grid(low: float, high: float, bottom: float, points: int) -> tuple[Real, Real]:
    """Midpoints of a band, ascending, and their quadrature weights in log x."""
    if math.isinf(low):
        t = (np.arange(points)[::-1] + 0.5) / points
        depth = high - bottom
        return high - depth * t * t, 2 * depth * t / points
    angle = (np.arange(points) + 0.5) * math.pi / points
    half = (high - low) / 2
    return (low + high) / 2 - half * np.cos(angle), half * np.sin(angle) * math.pi / points


def _limits(evaluate: Evaluate, grid: Real, values: Values, log_top: float, atoms: Atoms) -> list[tuple[float, float]]:
    """Bands of the continuous part from a first grid that is not all inside."""
    place, inside, above = grid, values.inside, values.above
    atom_place = np.array([p for p, _ in atoms])
    atom_mass = np.array([m for _, m in atoms])
    # A band between two grid points shows as mass without density.
    for _ in range(60):
        padded = np.concatenate([place, [log_top + 1e-9]])
        tail = np.concatenate([above, [0.0]])
        dark = np.concatenate([~inside[:-1] & ~inside[1:], [not inside[-1]]])
        between = (atom_place > padded[:-1, None]) & (atom_place <= padded[1:, None])
        hidden = tail[:-1] - tail[1:] - between @ atom_mass if atoms else tail[:-1] - tail[1:]
        where = np.flatnonzero(dark & (hidden > 1e-9) & (np.diff(padded) > 1e-8))
        if not where.size:
            break
        extra = np.concatenate([np.linspace(padded[i], padded[i + 1], 10)[1:-1] for i in where])
        found = evaluate(extra)
        order = np.argsort(np.concatenate([place, extra]))
        place = np.concatenate([place, extra])[order]
        inside = np.concatenate([inside, found.inside])[order]
        above = np.concatenate([above, found.above])[order]
    turns = np.flatnonzero(inside[:-1] != inside[1:])
    outer = [place[i] if not inside[i] else place[i + 1] for i in turns]
    inner = [place[i + 1] if not inside[i] else place[i] for i in turns]
    if inside[-1]:
        outer.append(log_top + 1e-9)
        inner.append(place[-1])
    edges = list(_edges(evaluate, np.array(outer), np.array(inner))) if outer else []
    if inside[-1] and abs(edges[-1] - log_top) < 1e-6:
        edges[-1] = log_top
    if inside[0]:
        edges.insert(0, -math.inf)
    return [(float(edges[i]), float(edges[i + 1])) for i in range(0, len(edges), 2)]


def _edges(evaluate: Evaluate, outer: Real, inner: Real) -> Real:
    """Edges enclosed between a point outside and one inside, to about 1e-10 in log x."""
    share = np.linspace(0.0, 1.0, SECTION + 2)
    while np.max(np.abs(outer - inner)) > 1e-10:
        points = outer + (inner - outer) * share[:, None]  # (SECTION + 2, E)
        inside = evaluate(points[1:-1].ravel()).inside.reshape(SECTION, -1)
        inside = np.vstack([inside, np.ones(inside.shape[1], bool)])
        first = np.argmax(inside, axis=0)
        column = np.arange(outer.size)
        outer, inner = points[first, column], points[first + 1, column]
    return (outer + inner) / 2
