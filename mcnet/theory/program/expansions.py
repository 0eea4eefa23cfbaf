"""The 1/M terms of any program: means and covariances of its Gram entries, forward and backward, and of its kernel."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from mcnet.activations import Activation
from mcnet.programs.names import INPUT, Key, Name, ProgramError, key_of
from mcnet.programs.parameters import Network, called
from mcnet.theory.program.finite_width import OUTPUT, How, Unplanned
from mcnet.theory.program.infinite_width import LimitInterpreter, NeedsPopulation
from mcnet.theory.program.limits import Limit, checked_gram, laws_of, limit, parameters_of, row_axes
from mcnet.theory.program.normals import LINEAR, Mixed, MoreLinear, Split, Together, sobol_normals
from mcnet.theory.program.quantities import Quantity
from mcnet.theory.program.runs import PLAIN, Program, Settled

Floats = NDArray[np.float64]

REPLICATES = 8
"""Independent sets of points behind an error."""

FIRST = 2**12
"""Points at first, where an accuracy is asked."""
ENTRIES = 1200
"""Gram entries at most, where an accuracy is asked: twice as many take eight times as long."""
LEVEL = 1e-2
"""Relative difference of Gram matrices that is no scatter of points."""
WORK = 6_000_000
"""Points times measured entries at most, where an accuracy is asked."""


@dataclass(frozen=True)
class Statistics:
    """Limit and coefficients of 1/M of an array of observables, with standard errors where points were sampled.

    Attributes
    ----------
    limit, mean, variance : ndarray
        ``E X = limit + mean/M + O(1/M^2)``, ``Var X = variance/M + O(1/M^2)``.
    covariance : ndarray, shape (size, size)
        M times the covariances of the flat array.
    limit_error, mean_error, variance_error : ndarray
    """

    limit: Floats
    mean: Floats
    variance: Floats
    covariance: Floats
    limit_error: Floats
    mean_error: Floats
    variance_error: Floats

    @property
    def relative_error(self) -> float:
        """The larger error of the two coefficients over what is natural: v1 itself, and of a1 also v1/limit."""
        spread, size = float(np.abs(self.variance).max()), float(np.abs(self.limit).max())
        if spread == 0.0:
            return 0.0
        of_mean = float(self.mean_error.max()) / max(float(np.abs(self.mean).max()), spread / size)
        return max(of_mean, float(self.variance_error.max()) / spread)


class Family:
    """Observables of one kind by the name of a vector."""

    def __init__(self, statistics: Callable[[Name], Statistics]) -> None:
        self._statistics = statistics

    def limit(self, name: Name) -> Floats:
        """The value at M = infinity, (R, R)."""
        return self._statistics(name).limit

    def mean(self, name: Name) -> Floats:
        """The coefficient of 1/M of the mean, (R, R)."""
        return self._statistics(name).mean

    def variance(self, name: Name) -> Floats:
        """The coefficient of 1/M of the variance of each entry, (R, R)."""
        return self._statistics(name).variance

    def covariance(self, name: Name) -> Floats:
        """M times the covariances of the entries, (R^2, R^2)."""
        return self._statistics(name).covariance

    def error(self, name: Name, of: str | None = None) -> Floats:
        """Standard error of the ``limit``, the ``mean`` or the ``variance``; by default the larger of the last two."""
        found = self._statistics(name)
        if of is None:
            return np.maximum(found.mean_error, found.variance_error)
        errors = {"limit": found.limit_error, "mean": found.mean_error, "variance": found.variance_error}
        if of not in errors:
            raise ProgramError(f'an error is that of the limit, the mean or the variance, not of "{of}"')
        return errors[of]


class Expansion(Family):
    """Limits and coefficients of 1/M of a program; made by :func:`expansion`.

    By itself of the products of rows per unit of seen vectors; ``"ntk"`` as a name means the tangent kernel.

    Attributes
    ----------
    backward : Family
        Of the products (sums over the units) of the cotangents of one output at seen vectors.
    correlation : Family
        Of the cosines of rows.
    """

    def __init__(self, plan: Plan, infinite: Limit | None) -> None:
        super().__init__(self._of)
        self._plan, self._infinite = plan, infinite
        self._known: dict[Hashable, Statistics] = {}
        self.backward = Family(self._backward)
        self.correlation = Family(self._correlation)

    def _of(self, name: Name) -> Statistics:
        if key_of(name) == ("ntk",):
            return self.tangent_kernel("ntk", True)
        exact = None if self._infinite is None else self._infinite.gram(name)
        return self._cached(("gram", key_of(name)), lambda run: run.gram(name), False, exact)

    def _backward(self, name: Name) -> Statistics:
        exact = None if self._infinite is None else self._infinite.backward(name)
        return self._cached(("backward", key_of(name)), lambda run: run.backward(name), True, exact)

    def _correlation(self, name: Name) -> Statistics:
        exact = None
        if self._infinite is not None:
            gram = self._infinite.gram(name)
            size = np.sqrt(np.diagonal(gram))
            exact = gram / np.outer(size, size)
        return self._cached(("correlation", key_of(name)), lambda run: run.correlation(name), False, exact)

    def tangent_kernel(self, parameterization: str, train_biases: bool) -> Statistics:
        """Of the tangent kernel of one output, (Q, Q); with ``standard`` that of Theta/M."""
        how = (parameterization, train_biases)
        exact = None
        if self._infinite is not None and parameterization == "standard":  # its biases are of order 1/M
            exact = self._infinite.tangent_kernel("standard", False) / self._plan.program.parameters.width
        elif self._infinite is not None:
            exact = self._infinite.tangent_kernel(*how)
        return self._cached(("kernel", *how), lambda run: run.kernel(*how), True, exact)

    @property
    def ntk(self) -> Floats:
        """The limit of the tangent kernel."""
        return self.limit("ntk")

    @property
    def ntk_mean(self) -> Floats:
        """The coefficient of 1/M of its mean."""
        return self.mean("ntk")

    @property
    def ntk_variance(self) -> Floats:
        """The coefficient of 1/M of the variance of its entries."""
        return self.variance("ntk")

    @property
    def seen(self) -> tuple[Key, ...]:
        """Names of the vectors that the program sees."""
        return tuple(self._plan.runs(False)[0].seen)

    @property
    def needs_fresh_inputs(self) -> bool:
        """Whether the coefficients are those of inputs in a new direction in every network, and of no fixed ones.

        A fixed input has a mean over its units of order M^(-1/2), which counts where the program adds to it a vector
        whose mean over the units is not zero.
        """
        return self._plan.sees_level()

    def sampled(self, backward: bool) -> bool:
        """Whether sites were sampled, so that coefficients have errors; else they are sums over nodes."""
        return len(self._plan.runs(backward)) > 1

    def _cached(
        self, key: Hashable, read: Callable[[Settled], Quantity], backward: bool, exact: Floats | None
    ) -> Statistics:
        if key not in self._known:
            found = _statistics(self._plan.runs(backward), read)
            while self._plan.refined(backward, found.relative_error):
                found = _statistics(self._plan.runs(backward), read)
            if exact is not None:
                found = replace(found, limit=exact, limit_error=np.zeros_like(exact))
            self._known[key] = found
        return self._known[key]


def _statistics(runs: Sequence[Settled], read: Callable[[Settled], Quantity]) -> Statistics:
    limits, means, covariances = [], [], []
    for run in runs:
        found = read(run)
        limits.append(found.value)
        means.append(found.shift.reshape(found.shape))
        covariances.append(run.noise.between(found.response, found.response))
    variances: list[Floats] = [np.diagonal(c).reshape(limits[0].shape) for c in covariances]

    def error(values: Sequence[Floats]) -> Floats:
        if len(values) == 1:
            return np.zeros_like(values[0])
        return np.asarray(np.std(values, axis=0, ddof=1) / len(values) ** 0.5)

    return Statistics(
        limit=np.mean(limits, axis=0),
        mean=np.mean(means, axis=0),
        variance=np.mean(variances, axis=0),
        covariance=np.mean(covariances, axis=0),
        limit_error=error(limits),
        mean_error=error(means),
        variance_error=error(variances),
    )


@dataclass(eq=False)
class Plan:
    """How a program is run at sites: nodes where it splits, else points, as many as an accuracy needs."""

    program: Program
    sites: int
    seed: int
    accuracy: float | None
    tops: str = OUTPUT
    expanded: bool = True

    def __post_init__(self) -> None:
        self._runs: dict[bool, list[Settled]] = {}
        self._sites: dict[bool, int] = {}
        self._refused: dict[bool, str] = {}
        most = None if self.accuracy is None else ENTRIES
        self._how = How(expanded=self.expanded, tops=self.tops, most=most)
        self._most_linear = LINEAR if self.tops == OUTPUT else LINEAR - 1  # more take minutes

    def runs(self, backward: bool) -> list[Settled]:
        """One run on nodes, or several on points."""
        if backward in self._refused:
            raise ProgramError(self._refused[backward])
        if backward not in self._runs:
            try:
                self._make(backward, self.sites if self.accuracy is None else FIRST)
            except ProgramError as error:
                self._refused[backward] = str(error)
                raise
        return self._runs[backward]

    def refined(self, backward: bool, reached: float) -> bool:
        """Whether there are more points now, because the relative error that was reached is not what is asked."""
        runs, sites = self.runs(backward), self._sites[backward]
        if self.accuracy is None or len(runs) == 1 or reached <= self.accuracy:
            return False
        most = min(self.sites, 2 ** math.floor(math.log2(WORK / runs[0].noise.size)))
        wanted = sites * 2 ** math.ceil(math.log2((reached / self.accuracy) ** 2))
        if min(most, wanted) <= sites:
            return False
        self._make(backward, min(most, wanted))
        return True

    def _make(self, backward: bool, sites: int) -> None:
        self._sites[backward] = sites
        with threadpool_limits(1):  # many small products: threads of BLAS would wait for each other
            self._runs[backward] = self._split(backward) or self._together(backward)
        gc.collect()  # vectors and their interpreter refer to each other: hundreds of MB would wait

    def sees_level(self) -> bool:
        """Whether Gram matrices of vectors or questions tell an input that is 1 at every unit from one that is -1."""
        few = Together(None)
        self.program.run(few, False, False, PLAIN)
        normals = sobol_normals(FIRST, max(few.used, 1), self.seed)
        up, down = (
            self.program.run(Together(normals), False, False, replace(PLAIN, level=level)) for level in (1.0, -1.0)
        )
        return any(
            np.abs(a - b).max() > LEVEL * size for (a, size), (b, _) in zip(up.grams(), down.grams(), strict=True)
        )

    def _split(self, backward: bool) -> list[Settled] | None:
        given, points = self.program.parameters.get("activation"), self._sites[backward] // REPLICATES
        activations, reserve, flat = [] if given is None else [given], 1, self._flat()
        while True:
            normals = Split(activations, flat, reserve, points, self.seed, self._most_linear)
            try:
                first = self.program.run(normals, True, backward, self._how).settled()
            except Unplanned as found:
                activations = [*activations, found.activation]
            except MoreLinear as found:
                reserve = found.count
            except Mixed:
                return None
            else:
                break
        runs = [first]
        if normals.sampled:
            for seed in range(1, REPLICATES):
                again = Split(activations, flat, reserve, points, self.seed + 1000 * seed, self._most_linear)
                runs.append(self.program.run(again, True, backward, self._how).settled())
        return runs

    def _flat(self) -> set[Key]:
        """Matrices on whose answers no activation acts, as the interpretation at infinite width sees it."""
        p = self.program
        w = LimitInterpreter(p.parameters, p.laws, p.axes[INPUT])
        try:
            called(p.network, w, w.input(p.gram, p.axes), p.parameters)
        except NeedsPopulation:
            return set()
        return set(w.matrices) - w.curved

    def _together(self, backward: bool) -> list[Settled]:
        few = Together(None)
        kinked = any(one.kinks for one in self.program.run(few, True, backward, self._how).interpreter.activations)
        runs = []
        for seed in range(REPLICATES):
            normals = Together(
                sobol_normals(self._sites[backward] // REPLICATES, few.used, self.seed + seed, few.forward or few.used)
            )
            runs.append(self.program.run(normals, kinked, backward, self._how).settled())
        return runs


def expansion(
    network: Network,
    matrices: Mapping[Any, Sequence[Any]],
    gram: ArrayLike,
    *,
    activation: str | Mapping[str, Any] | Activation | None = None,
    weights: str = "gaussian",
    axes: Mapping[str, int] | None = None,
    parameters: Mapping[str, Any] | None = None,
    sites: int = 2**16,
    seed: int = 0,
    accuracy: float | None = None,
) -> Expansion:
    """Coefficients of 1/M of a program: of the means and covariances of its Gram entries and its tangent kernel.

    Parameters
    ----------
    network, matrices, gram, activation, axes, parameters
        As :func:`mcnet.theory.program.limit`. All vectors have the width M.
    weights : {"gaussian", "orthogonal"}
        Law of the matrices; the readout is Gaussian.
    sites : int
        Points where the normals of a site do not split into the nodes of quadrature.
    seed : int
        Of these points.
    accuracy : float, optional
        Standard error asked of the coefficients, relative to the variance v1 and, of a1, to v1/limit: points are
        doubled until it is reached, up to ``sites`` and to an amount of work. An error that stays larger is stated.

    Returns
    -------
    Expansion
        With ``.limit(name)``, ``.mean(name)``, ``.variance(name)``, ``.error(name)`` of the products of the rows of a
        seen vector, the same of ``.backward`` and ``.correlation``, and ``.ntk``, ``.ntk_mean``, ``.ntk_variance``.

    Raises
    ------
    ProgramError
        If the program is wrong, or has an operation that is not covered.

    Notes
    -----
    Inputs have this Gram matrix in every network. First order in 1/M at fixed depth. Where every activation acts on the
    normals of one matrix (dense networks; residual networks with two matrices a block) the coefficients are sums over
    nodes, relative error 1e-8; else they are means over ``sites`` points in 8 scrambled sets, whose scatter is the
    error.

    References
    ----------
    Roberts, Yaida, Hanin 2022 and Hanin, Nica 2019 for dense networks.
    """
    inputs = checked_gram(gram)
    sizes = row_axes(len(inputs), axes)
    p = parameters_of(activation, weights, parameters)
    plan = Plan(Program(network, p, laws_of(matrices, p), inputs, sizes), sites, seed, accuracy)
    infinite = limit(network, matrices, gram, activation=activation, weights=weights, axes=axes, parameters=parameters)
    return Expansion(plan, infinite if isinstance(infinite, Limit) else None)
