"""The limit of programs with functions of several Gaussian vectors: means over points, not Gaussian means of pairs.

Gates, products, batch norm, activations of vectors that are not Gaussian: at infinite width a site is still a function
of its own normals and of means over all sites, and a set of points of these normals carries the program through
(dynamical mean-field theory by a population). The points are scrambled Sobol points with their opposites, their mean
and covariance made exact: all linear and quadratic functions of the normals are control variates. Eight scrambled sets
give the error, and their points are doubled until it is what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mcnet.programs.names import Key, Name, ProgramError, found_by_name, key_of
from mcnet.theory.program.jets import plain
from mcnet.theory.program.normals import Together, sobol_normals
from mcnet.theory.program.runs import PLAIN, Program, Run
from mcnet.theory.program.sites import Parts

Floats = NDArray[np.float64]

SETS = 8
FIRST = 2**11
"""Points of a set at first."""
MOST = 2**18
"""Points of a set at most."""
MOST_NORMALS = 2**22
"""Points of a set times normals of a point at most: more take minutes, and gigabytes."""


class Population:
    """Gram matrices of a program at infinite width, with errors; made by :func:`mcnet.theory.program.limit`.

    Everything as in :class:`mcnet.theory.program.Limit`, and :meth:`error`.
    """

    def __init__(self, program: Program, accuracy: float, seed: int) -> None:
        self._program, self._accuracy, self._seed = program, accuracy, seed
        self._runs: dict[bool, list[Run]] = {}
        self._normals: dict[bool, int] = {}
        self._known: dict[Hashable, tuple[Floats, Floats]] = {}

    @property
    def seen(self) -> tuple[Key, ...]:
        """Names of the vectors that the program sees."""
        return tuple(self._some(False)[0].interpreter.seen)

    def gram(self, name: Name, other: Name | None = None) -> Floats:
        """a_r . b_s / M of the rows of two seen vectors (of one with itself): shape (R, S)."""
        return self._gram(name, other)[0]

    def _gram(self, name: Name, other: Name | None) -> tuple[Floats, Floats]:
        key = ("gram", key_of(name), None if other is None else key_of(other))
        return self._found(key, lambda run: run.gram(name, other).value, False)

    def mean(self, name: Name) -> Floats:
        """The mean over the units of the rows of a seen vector: shape (R,)."""

        def read(run: Run) -> Floats:
            w, one = run.interpreter, plain(Parts(np.ones(1), {}))
            parts = w.parts(found_by_name(w.seen, name, "vector"))
            return np.asarray(np.sum([share * w.sites.gram(part, one).value[:, 0] for share, part in parts], axis=0))

        return self._found(("mean", key_of(name)), read, False)[0]

    def backward(self, name: Name) -> Floats:
        """Products (sums over the units) of the cotangents of the outputs at a seen vector."""
        return self._found(("backward", key_of(name)), lambda run: run.backward(name).value, True)[0]

    @property
    def ntk(self) -> Floats:
        """Tangent kernel of one output, ``ntk`` parametrisation, biases trained: shape (Q, Q)."""
        return self.tangent_kernel("ntk", True)

    def tangent_kernel(self, parameterization: str, train_biases: bool) -> Floats:
        """The tangent kernel of one output; of ``standard`` the leading order, which grows with p.width."""
        key, read = self._kernel(parameterization, train_biases)
        return self._found(key, read, True)[0]

    def tangent_kernel_error(self, parameterization: str, train_biases: bool) -> Floats:
        """Its standard error."""
        key, read = self._kernel(parameterization, train_biases)
        return self._found(key, read, True)[1]

    def error(self, name: Name, backward: bool = False, other: Name | None = None) -> Floats:
        """Standard error of the Gram matrix of a vector (with another), or of its cotangents; ``"ntk"``: the kernel."""
        if key_of(name) == ("ntk",):
            return self._found(*self._kernel("ntk", True), True)[1]
        if backward:
            return self._found(("backward", key_of(name)), lambda run: run.backward(name).value, True)[1]
        return self._gram(name, other)[1]

    def _kernel(self, parameterization: str, train_biases: bool) -> tuple[Hashable, Callable[[Run], Floats]]:
        def read(run: Run) -> Floats:
            scale = run.interpreter.width if parameterization == "standard" else 1.0
            return scale * run.kernel(parameterization, train_biases).value

        return ("kernel", parameterization, train_biases), read

    def _found(self, key: Hashable, read: Callable[[Run], Floats], backward: bool) -> tuple[Floats, Floats]:
        while key not in self._known:
            values = np.array([read(run) for run in self._some(backward)])
            error = values.std(axis=0, ddof=1) / SETS**0.5
            size = float(np.abs(values.mean(axis=0)).max())
            if error.max() <= self._accuracy * size or size == 0.0:
                self._known[key] = (values.mean(axis=0), error)
            else:
                self._double(backward, float(error.max()) / size)
        return self._known[key]

    def _some(self, backward: bool) -> list[Run]:
        if backward not in self._runs:
            self._make(backward, FIRST)
        return self._runs[backward]

    def _double(self, backward: bool, reached: float) -> None:
        sites = 2 * len(self._runs[backward][0].interpreter.normals.groups[0].weights)
        if sites > MOST or sites * self._normals[backward] > MOST_NORMALS:
            points = SETS * sites // 2
            raise ProgramError(
                f"limit: {points} points leave a relative error of {reached:.1e} where {self._accuracy:.1e} is asked; "
                "give accuracy = a larger number"
            )
        self._make(backward, sites)

    def _make(self, backward: bool, sites: int) -> None:
        with threadpool_limits(1):  # many small products: threads of BLAS would wait for each other
            few = Together(None)
            self._program.run(few, False, backward, PLAIN)
            self._normals[backward] = few.used
            self._runs[backward] = [
                self._program.run(
                    Together(sobol_normals(sites, few.used, self._seed + number, few.forward or few.used)),
                    False,
                    backward,
                    PLAIN,
                )
                for number in range(SETS)
            ]
