"""Distance of sets of eigenvalues from a predicted law: W1 exactly, Kolmogorov-Smirnov without a p-value.

Eigenvalues repel each other and are not independent, so no Kolmogorov-Smirnov test applies to them: a distance is a
number here, and what it may be by chance is read off the networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from mcnet_analysis.statistics.estimate import Floats
from numpy.typing import NDArray

from mcnet.theory.free.spectrum import Spectrum

GRID = 6000
SMALLEST_ATOM = 0.01
"""Mass of an atom away from zero from which it is split off."""
FLOOR = 1e-10
"""Eigenvalues below this share of the upper edge are lost to rounding in mixed precision; logarithms stop there."""


class Quantiles(NamedTuple):
    """Integrals of the quantile function at probabilities p, ascending, each (P,).

    ``partial`` is the mean of x over the lowest p of the mass: its slope is the quantile function; ``log_partial`` is
    the same for log max(x, floor).
    """

    p: Floats
    partial: Floats
    log_partial: Floats


@dataclass(frozen=True)
class LawTable:
    """A law in the form that distances need.

    Attributes
    ----------
    law : Spectrum
    near : float
        Relative distance within which an eigenvalue counts as part of a predicted atom.
    """

    law: Spectrum
    near: float = 1e-4

    @property
    def floor(self) -> float:
        """Below it eigenvalues are lost to rounding."""
        return FLOOR * self.law.lambda_max

    @cached_property
    def quantiles(self) -> Quantiles:
        """Exact to about 1e-6 of the mean; made when a distance asks for it."""
        return _quantiles(self.law, self.floor)

    def cdf(self, x: Floats) -> Floats:
        """P(X <= x)."""
        return np.asarray(self.law.cdf(x), dtype=np.float64)

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """Atoms that can be told apart from their surroundings: (place, mass)."""
        return tuple((place, mass) for place, mass in self.law.atoms if place == 0.0 or mass >= SMALLEST_ATOM)

    @property
    def continuous(self) -> float:
        """Mass without these atoms."""
        return float(1.0 - sum(mass for _, mass in self.atoms))

    def below(self, x: Floats) -> Floats:
        """Mass of the rest up to x."""
        return self.cdf(x) - sum((np.where(x >= place, mass, 0.0) for place, mass in self.atoms), np.zeros(x.shape))


def _quantiles(law: Spectrum, floor: float) -> Quantiles:
    top = law.lambda_max
    places = [np.geomspace(floor, top, GRID), np.linspace(0.0, top, GRID), top * (1.0 - np.linspace(0, 0.3, GRID) ** 2)]
    x = np.unique(np.concatenate([*places, law.x[law.x > floor], [place for place, _ in law.atoms]]))
    above = np.asarray(law.cdf(x), dtype=np.float64)
    at_atom = np.zeros(x.size)
    for place, mass in law.atoms:
        at_atom[np.searchsorted(x, place)] += mass
    # below an atom and on it: two rows of the table
    p = np.stack([above - at_atom, above], axis=1).ravel()
    p = np.maximum.accumulate(np.clip(p, 0.0, 1.0))
    p[-1] = 1.0
    step = np.diff(p, prepend=0.0)
    # from one point to the next the mass sits in the middle; on an atom at its place
    middle = np.repeat(x, 2)
    middle[2::2] = (x[:-1] + x[1:]) / 2
    logs = np.log(np.maximum(middle, floor))
    return Quantiles(p, np.cumsum(step * middle), np.cumsum(step * logs))


def w1(values: Floats, table: LawTable, logarithmic: bool = False) -> Floats:
    """W1 distance, the integral of |F_empirical - F|, of each row of eigenvalues from the law.

    Parameters
    ----------
    values : ndarray, shape (N, M)
    table : LawTable
    logarithmic : bool
        Of log max(x, floor) instead of x: sees the small eigenvalues.

    Notes
    -----
    W1 is the integral of the distance of the quantile functions; on the i-th of M equal cells of probability the
    empirical one is the i-th eigenvalue, and the integral of |x_i - Q| is elementary given the partial means of Q.
    """
    ordered = np.sort(values, axis=1)
    count = ordered.shape[1]
    cells = np.arange(count + 1) / count
    quantiles = table.quantiles
    partial = quantiles.log_partial if logarithmic else quantiles.partial
    at_cells = np.interp(cells, quantiles.p, partial)
    crossing = np.clip(table.cdf(ordered), cells[:-1], cells[1:])
    if logarithmic:
        ordered = np.log(np.maximum(ordered, table.floor))
    inside = ordered * (2 * crossing - cells[:-1] - cells[1:])
    rest = at_cells[:-1] + at_cells[1:] - 2 * np.interp(crossing, quantiles.p, partial)
    return np.asarray(np.maximum(inside + rest, 0.0).sum(axis=1))


def without_atoms(values: Floats, table: LawTable) -> tuple[Floats, list[Floats]]:
    """Eigenvalues that are not part of a predicted atom (NaN in their place), and the share of each atom by network.

    Zeros are exact in the data; other atoms are what lies within ``table.near``.
    """
    rest, shares = values.copy(), []
    for place, _ in table.atoms:
        part = values == 0.0 if place == 0.0 else np.abs(values - place) <= table.near * place
        shares.append(part.mean(axis=1))
        rest[part] = np.nan
    return rest, shares


def kolmogorov_smirnov(values: Floats, table: LawTable) -> Floats:
    """Largest distance of the distribution functions of the continuous parts, each of mass one: rows (N, M) -> (N,).

    ``values`` with NaN where an eigenvalue belongs to an atom. NaN where nothing is left. Eigenvalues below the floor
    count, but their places, which are rounding, do not.
    """
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.isfinite(ordered).sum(axis=1, keepdims=True)
    mass = table.continuous
    if mass < 1e-9:
        return np.full(len(values), np.nan)
    predicted = np.where(np.isfinite(ordered), table.below(np.nan_to_num(ordered)) / mass, np.nan)
    rank = np.arange(ordered.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.stack([np.abs(predicted - rank / count), np.abs(predicted - (rank + 1) / count)])
    seen = np.isfinite(steps) & (ordered >= table.floor)
    largest = np.where(seen, steps, -1.0).max(axis=(0, 2))
    return np.where(count[:, 0] > 0, largest, np.nan)


def pooled(values: Floats) -> Floats:
    """All networks as one row."""
    return values.reshape(1, -1)


def counts_distance(counts: NDArray[np.int64], bounds: Floats, table: LawTable) -> float:
    """The same for a pooled histogram of singular values, at the edges of its bins: a lower bound of it.

    ``counts`` (bins + 2,) with exact zeros in the first entry; ``bounds`` the edges of the bins, of s.
    """
    zero = sum(mass for place, mass in table.law.atoms if place == 0.0)
    share = np.cumsum(counts)[:-1] / counts.sum()
    return float(np.max(np.abs(np.maximum(share, zero) - np.maximum(table.cdf(bounds**2), zero))))
