"""The limit of infinite width of any program."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcnet import activations
from mcnet.activations import Activation
from mcnet.programs.axes import Axes
from mcnet.programs.names import INPUT, READOUT, Key, Name, ProgramError, found_by_name, key_of
from mcnet.programs.parameters import Law, Laws, Network, Parameters, called
from mcnet.theory.program import layout
from mcnet.theory.program.infinite_width import Ask, Cotangent, LimitInterpreter, NeedsPopulation, Vector
from mcnet.theory.program.population import Population
from mcnet.theory.program.runs import Program

Floats = NDArray[np.float64]

WIDTH = 2**20
"""What p.width is where the caller gives none: at infinite width only ratios of widths count."""


class Limit:
    """Gram matrices of a program at infinite width; made by :func:`limit`.

    Rows are those of the vectors, the input slowest: with T inputs and P positions row (t, p) is number t P + p.
    """

    def __init__(self, interpreter: LimitInterpreter, output: Vector, probed: bool) -> None:
        self._w, self._output, self._probed = interpreter, output, probed
        self._cotangents: dict[int, Cotangent] | None = None

    @property
    def seen(self) -> tuple[Key, ...]:
        """Names of the vectors that the program sees."""
        return tuple(self._w.seen)

    def gram(self, name: Name, other: Name | None = None) -> Floats:
        """a_r . b_s / M of the rows of two seen vectors (of one with itself): shape (R, S)."""
        a = self._vector(name)
        b = a if other is None else self._vector(other)
        if [part.units for part in a.parts] != [part.units for part in b.parts]:
            raise ProgramError("limit: the two vectors have different units")
        return self._w.algebra.question_gram(a.question, b.question)

    def mean(self, name: Name) -> Floats:
        """The mean over the units of the rows of a seen vector: shape (R,)."""
        v = self._vector(name)
        return np.asarray(sum(part.share * part.field.mean for part in v.parts))

    def backward(self, name: Name, other: Name | None = None) -> Floats:
        """Products (sums over the units) of the cotangents of the outputs at a seen vector, or at two.

        Returns
        -------
        ndarray, shape (R, R')
            Of output t at the rows of input t (one output; of a program that mixes inputs, or whose outputs have rows
            beside the input, blocks of such rows for each output in turn).
        """
        a, b = self._vector(name), self._vector(other or name)
        cotangents = self._back()
        if id(a) not in cotangents or id(b) not in cotangents:
            raise ProgramError("limit: the outputs do not depend on this vector")
        pairs = zip(cotangents[id(a)], cotangents[id(b)], strict=True)
        return np.asarray(sum(self._w.algebra.gram(p, q) for p, q in pairs))

    def error(self, name: Name, backward: bool = False, other: Name | None = None) -> Floats:
        """Standard error of a Gram matrix, as a population has it: none."""
        if key_of(name) == ("ntk",):
            return np.zeros_like(self.ntk)
        return np.zeros_like(self.backward(name) if backward else self.gram(name, other))

    @property
    def ntk(self) -> Floats:
        """Tangent kernel of one output, ``ntk`` parametrisation, biases trained: shape (Q, Q)."""
        return self.tangent_kernel("ntk", True)

    def tangent_kernel(self, parameterization: str, train_biases: bool) -> Floats:
        """The tangent kernel of one output, as :class:`mcnet.programs.questions.Parameterization` defines it.

        Returns
        -------
        ndarray, shape (Q, Q)
            Q rows of the output. With ``standard`` it grows with p.width, which must be given.
        """
        inputs = None if self._w.mixes_inputs else self._w.inputs
        rows = layout.size_of(layout.of_cotangents(self._output.axes, inputs))
        theta = np.zeros((rows, rows))
        cotangents = self._back()
        asks = [ask for ask in self._w.asks if id(ask.answer) in cotangents]
        for one in asks:
            for other in asks:
                if one.key == other.key:
                    theta += self._term(one, other, parameterization, train_biases, inputs, rows)
        return theta

    def tangent_kernel_error(self, parameterization: str, train_biases: bool) -> Floats:
        """Standard error of the kernel, as a population has it: none."""
        return np.zeros_like(self.tangent_kernel(parameterization, train_biases))

    def _term(
        self, one: Ask, other: Ask, parameterization: str, train_biases: bool, inputs: int | None, rows: int
    ) -> Floats:
        cotangents = self._back()
        back = self._w.algebra.gram(cotangents[id(one.answer)][0], cotangents[id(other.answer)][0])
        front = self._front(one, other, parameterization, train_biases)
        if inputs is None:  # functional q = row of the output
            whole = back.reshape(rows, front.shape[0], rows, front.shape[1])
            return np.asarray(np.einsum("qrps,rs->qp", whole, front))
        count = rows // inputs  # functional k stands for (k, t) on the rows of input t
        sizes = [layout.size_of(layout.of_cotangents(ask.answer.axes, inputs)) // inputs for ask in (one, other)]
        lifted = [INPUT in ask.answer.axes for ask in (one, other)]
        front = front.reshape(inputs if lifted[0] else 1, sizes[0], inputs if lifted[1] else 1, sizes[1])
        front = np.broadcast_to(front, (inputs, sizes[0], inputs, sizes[1]))
        whole = back.reshape(count, inputs, sizes[0], count, inputs, sizes[1])
        return np.asarray(np.einsum("ktrjus,trus->tkuj", whole, front)).reshape(rows, rows)

    def _front(self, one: Ask, other: Ask, parameterization: str, train_biases: bool) -> Floats:
        """alpha question . question' + beta."""
        law, fan = one.law, one.question.fan
        scales = {"ntk": (law.sigma_w2, law.sigma_b2), "pdlt": (1.0, 1.0), "standard": (float(fan), 1.0)}
        if parameterization not in scales:
            raise ProgramError(f'parameterization "{parameterization}" is not known ({", ".join(scales)})')
        alpha, beta = scales[parameterization]
        total: Any = beta if train_biases else 0.0
        for a, b in zip(one.question.parts, other.question.parts, strict=True):
            share = a.share if parameterization == "ntk" else a.share / a.tap
            total = total + alpha * share * self._w.algebra.gram(a.field, b.field)
        return np.asarray(total)

    def _vector(self, name: Name) -> Vector:
        return found_by_name(self._w.seen, name, "vector")

    def _back(self) -> dict[int, Cotangent]:
        if self._cotangents is None:
            self._cotangents = self._w.cotangents(self._output, self._probed)
        return self._cotangents


def limit(
    network: Network,
    matrices: Mapping[Any, Sequence[Any]],
    gram: ArrayLike,
    *,
    activation: str | Mapping[str, Any] | Activation | None = None,
    weights: str = "gaussian",
    axes: Mapping[str, int] | None = None,
    parameters: Mapping[str, Any] | None = None,
    accuracy: float = 2e-3,
    seed: int = 0,
) -> Limit | Population:
    """Gram matrices of a program at infinite width, forward and backward, and its tangent kernel.

    Parameters
    ----------
    network : callable
        The program, ``network(w, x)`` or ``network(w, x, p)``.
    matrices : mapping of name to (sigma_w2, sigma_b2)
        ``"W"`` means all matrices whose names begin so; those of no name here have the parameters sigma_w2, sigma_b2.
    gram : array_like, shape (R, R)
        x_r . x_s / M_0 of the rows of the input.
    activation : str, mapping or Activation, optional
        What ``w.phi`` is.
    weights : str
        Law of the entries; the limit is the same for all.
    axes : mapping of str to int, optional
        Row axes of the input beside the inputs themselves, ``{"position": 8}``.
    parameters : mapping, optional
        What the program reads off ``p``. Its width is of no importance; ratios of widths are.
    accuracy : float
        Of a population: standard errors asked, relative to the largest entry; points are doubled until
        they are reached.
    seed : int
        Of a population.

    Returns
    -------
    Limit or Population
        With ``.gram(name_a, name_b)``, ``.backward(name)``, ``.mean(name)`` of seen vectors, and ``.ntk``.

    Raises
    ------
    ProgramError
        If the program is wrong, has an operation that is not covered, or a population does not reach the accuracy.

    Notes
    -----
    The answers u = W x of one matrix are Gaussian over the sites with covariance ``sigma_w2 (x . x') / M + sigma_b2``,
    those of W^T with ``sigma_w2 (d . d')``; different matrices are independent, and so are forward and backward answers
    (Yang 2019). Every Gram matrix then is a sum of Gaussian means of two variables. Sites of the input are Gaussian
    too: that matters where the program does more with it than ask matrices.

    Accuracy: the limit; quadrature error below 1e-10 of the diagonal. Programs with products, batch norm or
    activations of vectors that are not Gaussian are carried by a population of points instead, with errors.

    References
    ----------
    Yang 2019, arXiv:1902.04760 and arXiv:1910.12478.
    """
    inputs = checked_gram(gram)
    sizes = row_axes(len(inputs), axes)
    p = parameters_of(activation, weights, parameters)
    laws = laws_of(matrices, p)
    w = LimitInterpreter(p, laws, sizes[INPUT])
    start = w.input(inputs, sizes)
    try:
        output = called(network, w, start, p)
    except NeedsPopulation:
        return Population(Program(network, p, laws, inputs, sizes), accuracy, seed)
    if not isinstance(output, Vector):
        raise ProgramError(f"the program returns a {type(output).__name__}: return a vector of it")
    if ("h", 0) not in w.seen:
        w.seen[("h", 0)] = start
    return Limit(w, output, p.get("outputs") is None)


def checked_gram(gram: ArrayLike) -> Floats:
    """A Gram matrix of input rows.

    Raises
    ------
    ProgramError
        If it is none.
    """
    matrix = np.atleast_2d(np.asarray(gram, dtype=np.float64))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise ProgramError(f"gram must be a finite square matrix, got shape {np.shape(gram)}")
    size = max(float(np.abs(np.diagonal(matrix)).max()), 1e-300)
    if np.abs(matrix - matrix.T).max() > 1e-12 * size or np.linalg.eigvalsh(matrix)[0] < -1e-9 * size:
        raise ProgramError("gram must be symmetric and positive semidefinite")
    return 0.5 * (matrix + matrix.T)


def row_axes(rows: int, axes: Mapping[str, int] | None) -> Axes:
    """Row axes of the input, the inputs first.

    Raises
    ------
    ProgramError
        If the axes do not divide the rows.
    """
    others = {str(name): int(size) for name, size in (axes or {}).items() if name != INPUT}
    count = math.prod(others.values())
    if count < 1 or rows % count:
        raise ProgramError(f"gram has {rows} rows, which the axes {others} do not divide")
    sizes = {INPUT: rows // count, **others}
    if axes and INPUT in axes and axes[INPUT] != sizes[INPUT]:
        raise ProgramError(f"gram has {rows} rows, not those of the axes {dict(axes)}")
    return sizes


def parameters_of(
    activation: str | Mapping[str, Any] | Activation | None, weights: str, parameters: Mapping[str, Any] | None
) -> Parameters:
    """Parameters of a program: one output unless the caller says otherwise."""
    values: dict[str, Any] = {"width": WIDTH, "outputs": 1, "weights": weights}
    if activation is not None:
        try:
            values["activation"] = activations.get(activation)
        except ValueError as error:
            raise ProgramError(str(error)) from None
    return Parameters({**values, **dict(parameters or {})})


def laws_of(matrices: Mapping[Any, Sequence[Any]], parameters: Parameters) -> Laws:
    """Laws of the matrices: those given, and (p.sigma_w2, p.sigma_b2) for others where the parameters have them.

    Weights are of the law p.weights, those of the readout Gaussian, unless a third entry says otherwise.
    """
    weights, readout = str(parameters.get("weights")), str(parameters.get("readout", "gaussian"))
    given = {}
    for name, law in matrices.items():
        whole = isinstance(law, str) or len(tuple(law)) != 2
        given[name] = law if whole else (*law, readout if key_of(name) == READOUT else weights)
    default = None
    if parameters.get("sigma_w2") is not None:
        default = Law(float(parameters.sigma_w2), float(parameters.sigma_b2), weights)
    return Laws(given, default, readout)
