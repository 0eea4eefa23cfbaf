"""Where the normals of the sites come from: nodes of quadrature for each group, or scrambled Sobol points for all.

Nodes: each matrix has a group of its own, whose first set of nodes carries its answers (one or two rows: quadrature
with edges on the kinks; more: Sobol points) and whose second one carries normals that enter linearly, for which three
nodes each are exact. They serve programs in which an activation never meets the normals of two matrices.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mcnet.activations import Activation
from mcnet.programs.names import Key
from mcnet.theory.expansion import nodes
from mcnet.theory.program.sites import Group

Floats = NDArray[np.float64]

EXACT_ROWS = 2
CUT = 9.0  # beyond, z^8 times the normal density is below 1e-10
LINEAR = 4  # normals of the second set at most, 3^4 nodes


class Mixed(Exception):
    """A function of the normals of two groups: sites do not split."""


class MoreLinear(Exception):
    """A group needs more normals that enter linearly than it has: how many in all."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


@dataclasses.dataclass(eq=False)
class Split:
    """Groups of nodes.

    Attributes
    ----------
    activations : sequence of Activation
        All that act in the program.
    flat : set of names
        Matrices on whose answers none acts.
    reserve : int
        Linear normals of a group; at least one for each of its rows.
    sites : int
        Points of groups with many rows.
    seed : int
    most_linear : int
        Linear normals beyond which a group is sampled.
    """

    activations: Sequence[Activation]
    flat: set[Key]
    reserve: int
    sites: int
    seed: int
    most_linear: int = LINEAR
    groups: list[Group] = dataclasses.field(default_factory=list)
    sampled: bool = False
    _spare: dict[int, list[Floats]] = dataclasses.field(default_factory=dict)
    _used: dict[int, int] = dataclasses.field(default_factory=dict)

    def answers(self, key: Key, covariance: Floats) -> tuple[int, Floats]:
        """A new group, and Gaussian rows of this covariance at its nodes (R, n, 1)."""
        rows, spare = len(covariance), max(self.reserve, len(covariance))
        if key in self.flat and rows <= LINEAR:
            weights, z = _hermite(4, rows)  # exact for squares of scores times squares
            return self._made(weights, spare, np.linalg.cholesky(covariance) @ z)
        if rows > EXACT_ROWS or spare > self.most_linear:
            return self._many(covariance, spare)
        lengths = np.sqrt(np.diagonal(covariance))
        kinks = tuple(sorted({kink for one in self.activations for kink in one.kinks}))
        coarser = 2.0 if kinks else 1.5  # wider panels of 16 nodes; a relative error of 1e-16 to the power 2/3
        step = coarser * min(nodes.resolution(one, float(lengths.max())) for one in self.activations)
        shape = dataclasses.replace(self.activations[0], kinks=kinks)
        if rows == 1:
            z, weights = nodes.line(shape, step, lengths)
            u = lengths[:, None] * z
        else:
            c = covariance[0, 1] / lengths.prod()
            factor = lengths[:, None] * np.array([[1.0, 1.0], [1.0, -1.0]]) * np.sqrt([0.5 + 0.5 * c, 0.5 - 0.5 * c])
            z, weights = nodes.plane(shape, step, factor)
            inside = np.sum(z * z, axis=0) < CUT**2
            weights = weights[inside]
            u = factor @ z[:, inside]
        return self._made(weights / weights.sum(), spare, u)

    def _made(self, weights: Floats, spare: int, u: Floats) -> tuple[int, Floats]:
        linear, z = _hermite(3, spare)
        self.groups.append(Group(weights, linear))
        self._spare[len(self.groups) - 1] = [row[None, None, :] for row in z]
        return len(self.groups) - 1, u[:, :, None]

    def _many(self, covariance: Floats, spare: int) -> tuple[int, Floats]:
        self.sampled = True
        self.seed += 1
        z = sobol_normals(self.sites, len(covariance) + spare, self.seed)
        self.groups.append(Group(np.full(self.sites, 1.0 / self.sites), np.ones(1)))
        self._spare[len(self.groups) - 1] = [column[None, :, None] for column in z[len(covariance) :]]
        u = np.linalg.cholesky(covariance) @ z[: len(covariance)]
        return len(self.groups) - 1, u[:, :, None]

    def linear(self, home: set[int], count: int) -> tuple[int, Floats]:
        """Independent normals (count, ..) that enter linearly: in the group of what they are added to, or a new one."""
        if len(home) == 1:
            (g,) = home
            spare = self._spare[g]
            used = self._used.get(g, 0)
            if len(spare) < used + count:
                raise MoreLinear(used + count)
            self._used[g] = used + count
            return g, np.concatenate(spare[used : used + count])
        if count > LINEAR:
            return self._many(np.eye(count), 0)
        linear, z = _hermite(3, count)
        self.groups.append(Group(np.ones(1), linear))
        self._spare[len(self.groups) - 1] = []
        return len(self.groups) - 1, z[:, None, :]


def _hermite(order: int, count: int) -> tuple[Floats, Floats]:
    """The product rule of Gauss and Hermite, exact to the power 2 order - 1 of each normal: weights, normals (d, n)."""
    x, w = np.polynomial.hermite_e.hermegauss(order)
    grid = np.array(list(itertools.product(range(order), repeat=count)), np.intp).reshape(order**count, count)
    return np.asarray((w / w.sum())[grid].prod(axis=1)), x[grid].T


@dataclasses.dataclass(eq=False)
class Together:
    """One group with all normals, of scrambled Sobol points or, where none are given, of few random ones to count them.

    Attributes
    ----------
    normals : ndarray, shape (d, sites), or None
    """

    normals: Floats | None
    groups: list[Group] = dataclasses.field(default_factory=list)
    sampled: bool = True
    used: int = 0
    forward: int = 0

    def __post_init__(self) -> None:
        sites = 1024 if self.normals is None else self.normals.shape[1]
        self.groups.append(Group(np.full(sites, 1.0 / sites), np.ones(1)))

    def _next(self, count: int) -> Floats:
        sites = len(self.groups[0].weights)
        self.used += count
        if self.normals is None:
            return np.random.default_rng(self.used).normal(size=(count, sites))[:, :, None]
        return self.normals[self.used - count : self.used, :, None]

    def answers(self, key: Key, covariance: Floats) -> tuple[int, Floats]:
        """Gaussian rows of this covariance."""
        z = self._next(len(covariance))
        return 0, np.einsum("rs,snm->rnm", np.linalg.cholesky(covariance), z)

    def linear(self, home: set[int], count: int) -> tuple[int, Floats]:
        """Independent normals."""
        return 0, self._next(count)

    def turn(self) -> None:
        """What comes now is the backward pass."""
        self.forward = self.used


def sobol_normals(sites: int, dimensions: int, seed: int, nonlinear: int | None = None) -> Floats:
    """Normals (d, sites) of scrambled Sobol points and their opposites, of mean 0 and covariance 1 exactly.

    Those beyond the first ``nonlinear`` ones enter linearly, products of four vectors to the fourth power at most: they
    take the values 0 and +-sqrt(3) of the quadrature that is exact so far, and scatter less.
    """
    from scipy.stats import qmc  # a second of imports that few need

    half = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed)).random_base2(
        round(math.log2(sites // 2))
    )
    z = ndtri(np.clip(half, 1e-12, 1.0 - 1e-12)).T
    if nonlinear is not None:
        z[nonlinear:] = np.where(np.abs(z[nonlinear:]) > ndtri(5.0 / 6.0), math.sqrt(3.0) * np.sign(z[nonlinear:]), 0.0)
    z = np.asarray(np.linalg.solve(np.linalg.cholesky(z @ z.T / z.shape[1]), z), np.float64)
    return np.concatenate([z, -z], axis=1)
