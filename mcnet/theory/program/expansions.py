"""The 1/M terms of any program: means and covariances of its Gram entries, forward and backward, and of its kernel."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from mcnet.activations import Activation
from mcnet.programs.names import INPUT, Key, Name, ProgramError, found_by_name, key_of
from mcnet.programs.parameters import Laws, Network, Parameters, called
from mcnet.theory.program import layout
from mcnet.theory.program.finite_width import Ask, Cotangent, SitesInterpreter, Unplanned, Vector
from mcnet.theory.program.infinite_width import LimitInterpreter, NeedsPopulation
from mcnet.theory.program.limits import Limit, checked_gram, laws_of, limit, parameters_of, row_axes
from mcnet.theory.program.normals import Mixed, MoreLinear, Split, Together, sobol_normals
from mcnet.theory.program.quantities import Quantity, Taylor, product, reciprocal, root, smooth

Floats = NDArray[np.float64]

REPLICATES = 8
"""Independent sets of points behind an error."""


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


@dataclass(eq=False)
class Run:
    """A program at one set of sites."""

    interpreter: SitesInterpreter
    output: Vector
    cotangents: dict[int, Cotangent] | None = None

    def gram(self, name: Name, other: Name | None = None) -> Quantity:
        """Products of the rows of seen vectors."""
        w = self.interpreter
        a = found_by_name(w.seen, name, "vector")
        return w.question_gram(a, a if other is None else found_by_name(w.seen, other, "vector"))

    def backward(self, name: Name) -> Quantity:
        """Products of the rows of the cotangents at a seen vector."""
        v = found_by_name(self.interpreter.seen, name, "vector")
        assert self.cotangents is not None
        if id(v) not in self.cotangents:
            raise ProgramError("expansion: no cotangents of the outputs reach this vector on their way to a matrix")
        parts = [self.interpreter.sites.gram(c, c) for c in self.cotangents[id(v)]]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def correlation(self, name: Name) -> Quantity:
        """Cosines of the rows of a seen vector."""

        def cosine(gram: Taylor) -> list[Taylor]:
            rows = np.arange(len(gram.zero))
            inverse = reciprocal(root(gram[rows, rows]))
            return [gram * inverse[:, None] * inverse[None, :]]

        gram = self.gram(name)
        if (np.diagonal(gram.value) <= 0.0).any():
            raise ProgramError("expansion: a row of length zero has no correlation")
        return smooth(self.interpreter.sites.noise, cosine, gram)[0]

    def kernel(self, parameterization: str, train_biases: bool) -> Quantity:
        """The tangent kernel of one output; with ``standard`` over M."""
        w = self.interpreter
        inputs = w.alone
        rows = layout.size_of(layout.of_cotangents(self.output.axes, inputs))
        total = Quantity.constant(np.zeros((rows, rows)))
        assert self.cotangents is not None
        reached = [ask for ask in w.asks if id(ask.answer) in self.cotangents]
        for one in reached:
            for other in reached:
                if one.key == other.key:
                    total = total + self._term(one, other, parameterization, train_biases, rows)
        return total

    def _term(self, one: Ask, other: Ask, parameterization: str, train_biases: bool, rows: int) -> Quantity:
        w = self.interpreter
        inputs = w.alone
        front = self._front(one, other, parameterization, train_biases)
        if one.answer.parts:
            assert self.cotangents is not None
            (c,), (d,) = self.cotangents[id(one.answer)], self.cotangents[id(other.answer)]
            back = w.sites.gram(c, d)
        else:  # the readout: one unit, whose cotangents are 1
            tops = [w.top_rows(ask.answer.axes) for ask in (one, other)]
            back = Quantity.constant(np.outer(*tops))
        index, gather = _contraction(one, other, inputs, rows)
        both = product(w.sites.noise, back.reshaped(back.value.size), front.taken(index))
        return both.mapped(gather, (rows, rows))

    def _front(self, one: Ask, other: Ask, parameterization: str, train_biases: bool) -> Quantity:
        law = one.law
        gram = self.interpreter.question_gram(one.question, other.question)
        if parameterization == "ntk":
            return gram * law.sigma_w2 + (law.sigma_b2 if train_biases else 0.0)
        if parameterization not in ("pdlt", "standard"):
            raise ProgramError(f'parameterization "{parameterization}" is not known (standard, ntk, pdlt)')
        if one.question.units != one.question.fan:
            raise ProgramError(f'expansion: the "{parameterization}" kernel of patches is not covered; use "ntk"')
        beta = 1.0 if train_biases else 0.0
        if parameterization == "pdlt":
            return gram + beta
        gram = gram * (one.question.fan / self.interpreter.width)  # over M
        return Quantity(gram.value, gram.response, gram.shift + beta)


def _contraction(one: Ask, other: Ask, inputs: int | None, rows: int) -> tuple[NDArray[np.intp], Floats]:
    """Which products of questions stand by the products of cotangents, and where their sums go."""
    sizes = [layout.size_of(layout.of_cotangents(ask.answer.axes, inputs)) for ask in (one, other)]
    functionals = rows if inputs is None else rows // inputs
    columns = layout.size_of(other.answer.axes)
    places = [layout.places(ask.answer.axes, inputs, functionals) for ask in (one, other)]
    index = (places[0][:, None] * columns + places[1][None, :]).ravel()
    targets = []
    for size in sizes:
        k = np.repeat(np.arange(functionals), size)
        if inputs is None:
            targets.append(k)
        else:  # functional k on the rows of input t is output (t, k)
            t = np.tile(np.repeat(np.arange(inputs), size // inputs), functionals)
            targets.append(t * functionals + k)
    flat = (targets[0][:, None] * rows + targets[1][None, :]).ravel()
    gather = np.zeros((rows * rows, flat.size))
    gather[flat, np.arange(flat.size)] = 1.0
    return index, gather


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

    def __init__(self, plan: _Plan, infinite: Limit | None) -> None:
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
        if self._infinite is not None and parameterization != "standard":
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
        return tuple(self._plan.runs(False)[0].interpreter.seen)

    def sampled(self, backward: bool) -> bool:
        """Whether sites were sampled, so that coefficients have errors; else they are sums over nodes."""
        return len(self._plan.runs(backward)) > 1

    def _cached(
        self, key: Hashable, read: Callable[[Run], Quantity], backward: bool, exact: Floats | None
    ) -> Statistics:
        if key not in self._known:
            found = _statistics(self._plan.runs(backward), read)
            if exact is not None:
                found = replace(found, limit=exact, limit_error=np.zeros_like(exact))
            self._known[key] = found
        return self._known[key]


def _statistics(runs: Sequence[Run], read: Callable[[Run], Quantity]) -> Statistics:
    limits, means, covariances = [], [], []
    for run in runs:
        found = read(run)
        limits.append(found.value)
        means.append(found.shift.reshape(found.shape))
        covariances.append(run.interpreter.sites.noise.between(found.response, found.response))
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
class _Plan:
    """How a program is run at sites: nodes where it splits, points else."""

    network: Network
    parameters: Parameters
    laws: Laws
    gram: Floats
    axes: dict[str, int]
    sites: int
    seed: int

    def __post_init__(self) -> None:
        self._runs: dict[bool, list[Run]] = {}

    def runs(self, backward: bool) -> list[Run]:
        """One run on nodes, or several on points."""
        if backward not in self._runs:
            with threadpool_limits(1):  # many small products: threads of BLAS would wait for each other
                self._made(backward)
        return self._runs[backward]

    def _made(self, backward: bool) -> None:
        self._runs[backward] = self._split(backward) or self._together(backward)

    def _split(self, backward: bool) -> list[Run] | None:
        given = self.parameters.get("activation")
        activations, reserve, flat = [] if given is None else [given], 1, self._flat()
        while True:
            normals = Split(activations, flat, reserve, self.sites // REPLICATES, self.seed)
            try:
                first = self._run(normals, True, backward)
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
                again = Split(activations, flat, reserve, self.sites // REPLICATES, self.seed + 1000 * seed)
                runs.append(self._run(again, True, backward))
        return runs

    def _flat(self) -> set[Key]:
        """Matrices on whose answers no activation acts, as the interpretation at infinite width sees it."""
        w = LimitInterpreter(self.parameters, self.laws, self.axes[INPUT])
        try:
            called(self.network, w, w.input(self.gram, self.axes), self.parameters)
        except NeedsPopulation:
            return set()
        return set(w.matrices) - w.curved

    def _together(self, backward: bool) -> list[Run]:
        few = Together(None)
        kinked = any(one.kinks for one in self._run(few, True, backward).interpreter.activations)
        runs = []
        for seed in range(REPLICATES):
            normals = Together(
                sobol_normals(self.sites // REPLICATES, few.used, self.seed + seed, few.forward or few.used)
            )
            runs.append(self._run(normals, kinked, backward))
        return runs

    def _run(self, normals: Split | Together, by_weight: bool, backward: bool) -> Run:
        w = SitesInterpreter(self.parameters, self.laws, self.axes[INPUT], normals, by_weight)
        start = w.input(self.gram, self.axes)
        output = called(self.network, w, start, self.parameters)
        if not isinstance(output, Vector):
            raise ProgramError(f"the program returns a {type(output).__name__}: return a vector of it")
        w.seen.setdefault(("h", 0), start)
        return Run(w, output, w.cotangents(output) if backward else None)


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
    plan = _Plan(network, p, laws_of(matrices, p), inputs, sizes, sites, seed)
    try:
        infinite = limit(network, matrices, gram, activation=activation, weights=weights, axes=axes,
                         parameters=parameters)  # fmt: skip
    except NeedsPopulation:
        infinite = None
    return Expansion(plan, infinite)
