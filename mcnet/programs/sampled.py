"""The sampled interpretation: a program run on random matrices, built or asked, forward and backward.

    trace = sampled.run(network, parameters, laws, x, ("position",), ensemble, "conditioned", backward=True)
    trace.seen                          names of the vectors that the program calls u^l, h^l, ...
    trace.gram("u3")                    (N, R, R) products per unit, difference basis of the inputs
    trace.outputs                       (N, C, T), float64
    back = trace.backward(Parameterization("ntk", True))
    back.lengths[("u", 3)]              squared lengths of the cotangents at u^3, with their exponents
    back.kernel                         tangent kernel (N, C T, C T)
    trace.kernel_product(v, how)        its product with vectors, one backward and one tangent pass
    trace.jacobian(("h", 3))            products with d h^3(0) / d x(0); entries where matrices are built
    trace.moves(v)                      what a step of gradient descent changes in each matrix

The engine's part: sub-batches of an ensemble small enough for :meth:`mcnet.programs.counted.Count.bytes_per_network`;
the numbers of a network do not depend on them. A matrix takes the streams of the layer that is its place in the order
of first questions, so that a dense program draws the networks of :mod:`mcnet.networks.dense`. A drawn vector takes role
8, its layer counted likewise; a probe in the place of a readout role 6 and the layer that the readout would have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mcnet import streams
from mcnet.activations import Activation
from mcnet.kernels.vectors import overlaps
from mcnet.kernels.windows import Windows
from mcnet.programs import counted, dead, normalizing, rows
from mcnet.programs.counted import Count
from mcnet.programs.names import INPUT, Key, ProgramError, text_of
from mcnet.programs.parameters import Laws, Network, Parameters, called
from mcnet.programs.questions import Question
from mcnet.programs.tape import Operations, Step, Vector
from mcnet.programs.trace import Trace
from mcnet.programs.vocabulary import AbstractInterpreter, Asked, Axes, Matrix, joint_axes
from mcnet.weights.asked import AskedGaussian, asked_matrix
from mcnet.weights.explicit import ExplicitMatrix
from mcnet.weights.factors import Square
from mcnet.weights.laws import CONDITIONED_LAWS, AbstractMatrix, Ensemble, Layer

Array = Any
Observer = Callable[[Key, Vector], None]
"""Called with every vector that the program sees, while it is there."""


SAMPLERS = ("conditioned", "explicit")


@dataclass(frozen=True)
class Settings:
    """How a program is sampled.

    Attributes
    ----------
    sampler : str
        ``conditioned`` (matrices are asked) or ``explicit`` (built).
    backward : bool
        Whether a backward pass may follow: all vectors are kept.
    keep : bool
        Whether a built matrix that is used more than once stays in memory, or is made again.
    grams : bool
        Whether the products of the rows of all seen vectors are taken.
    observe : callable or None
    one_functional : bool
        See :func:`run`.
    """

    sampler: str
    backward: bool
    keep: bool
    grams: bool
    observe: Observer | None
    attend: Callable[[Array], None] | None = None
    one_functional: bool = False
    per_site: bool = False


def run(
    network: Network,
    parameters: Parameters,
    laws: Laws,
    x: Array,
    axes: Sequence[str],
    ensemble: Ensemble,
    sampler: str,
    *,
    backward: bool,
    keep: bool = True,
    grams: bool = True,
    observe: Observer | None = None,
    attend: Callable[[Array], None] | None = None,
    matrices: Mapping[Key, AbstractMatrix] | None = None,
    plan: Count | None = None,
    one_functional: bool = False,
    per_site: bool = False,
) -> Trace:
    """The networks of an ensemble, forward.

    Parameters
    ----------
    network : callable
        The program.
    parameters : Parameters
    laws : Laws
        Of its matrices.
    x : Array, shape (N or 1, T, ..., M_0)
        Inputs in the difference basis (:func:`mcnet.networks.inputs.differences`), with an axis for each of ``axes``.
    axes : sequence of str
        Names of the row axes after the input.
    ensemble : Ensemble
    sampler : str
        ``conditioned`` or ``explicit``.
    backward : bool
        Whether a backward pass may follow.
    keep : bool
        See :class:`Settings`.
    grams : bool
        Whether products of the rows of seen vectors are wanted.
    observe : callable, optional
        Called with name and vector of everything seen.
    attend : callable, optional
        Called with the weights (N, T, rest, n, n) of every attention, in the order of the program.
    matrices : mapping, optional
        Matrices of an earlier run to go on with, as :attr:`Trace.matrices` has them.
    plan : Count, optional
        The program on these shapes, where it is known already.
    one_functional : bool
        Whether cotangents of one functional are wanted (:meth:`Trace.moves`), which live on all rows, and not those of
        all outputs.
    per_site : bool
        Whether products are wanted between inputs at one site alone (:meth:`Trace.site_grams`), where matrices are
        built and need no others.

    Raises
    ------
    ProgramError
        If the program is wrong, or has a law of matrices that the sampler does not have.
    """
    if sampler not in SAMPLERS:
        raise ProgramError(f'sampler "{sampler}" is not known ({", ".join(SAMPLERS)})')
    if x.ndim != len(axes) + 3:
        raise ProgramError(f"inputs of axes input, {', '.join(axes)} have {len(axes) + 3} dimensions, got {x.ndim}")
    sizes = {INPUT: int(x.shape[1]), **dict(zip(axes, (int(size) for size in x.shape[2:-1]), strict=True))}
    plan = plan or counted.count(network, parameters, laws, sizes, int(x.shape[-1]))
    if one_functional:
        plan = replace(plan, mixes_inputs=True)
    alone = per_site and sampler == "explicit"
    settings = Settings(sampler, backward, keep, grams, observe, attend, one_functional, alone)
    w = Sampled(parameters, laws, ensemble, settings, plan, matrices or {})
    start = w.input(x, sizes)
    output = called(network, w, start, parameters)
    counted.check_output(w, output)
    if ("h", 0) not in w.seen:
        w.see_as(("h", 0), start, x)
    w.finish()
    return Trace(ensemble, plan, w, output)


class Sampled(AbstractInterpreter):
    """The interpreter of sampled networks; see :func:`run`.

    Attributes
    ----------
    ensemble : Ensemble
    plan : Count
    tape : list of Vector
        All vectors in the order in which they were made, where a backward pass may follow.
    asked : list of Question
    layers : dict of name to Layer
    drawn_matrices : dict of name to AbstractMatrix
    seen : dict of name to Array
        Products of rows per unit; empty arrays where they are not wanted.
    vectors : dict of name to Vector
        Those seen, where a backward pass may follow.
    """

    interpretation = "sampled"

    def __init__(
        self,
        parameters: Parameters,
        laws: Laws,
        ensemble: Ensemble,
        settings: Settings,
        plan: Count,
        matrices: Mapping[Key, AbstractMatrix],
    ) -> None:
        super().__init__(parameters, parameters.width)
        self.laws, self.ensemble, self.settings, self.plan = laws, ensemble, settings, plan
        self.backend = ensemble.backend
        self.tape: list[Vector] = []
        self.asked: list[Question] = []
        self.drawn_matrices: dict[Key, AbstractMatrix] = dict(matrices)
        self.seen: dict[Key, Array | None] = {}
        self.vectors: dict[Key, Vector] = {}
        self._operations = Operations(self.backend, plan.mixes_inputs, settings.one_functional)
        self._products: tuple[Vector, Square] | None = None
        self._parts = settings.sampler == "conditioned" and not settings.backward and not matrices

    def finish(self) -> None:
        """Let vectors forget the interpreter: without cycles all is freed with the trace, at once."""
        for v in self.tape:
            del v.interpreter
        self._products = None

    def input(self, x: Array, axes: Axes) -> Vector:
        """The input vector."""
        xp = self.backend.xp
        value = xp.reshape(x, (x.shape[0], x.shape[1], -1, x.shape[-1]))
        vector = Vector(self, axes, xp.astype(value, self.ensemble.dtype, copy=False), int(x.shape[-1]))
        return self._kept(vector)

    def _kept(self, vector: Vector) -> Vector:
        if self.settings.backward:
            self.tape.append(vector)
        return vector

    def _made(
        self,
        step: Step,
        axes: Axes,
        parents: Sequence[Vector],
        fan: int = 0,
        taps: tuple[float, ...] = (),
        units: int = 0,
    ) -> Vector:
        units = units or int(step.value.shape[3])
        if not self.settings.backward:
            return Vector(self, axes, step.value, fan or units, taps=taps, units=units)
        return self._kept(Vector(self, axes, step.value, fan or units, tuple(parents), step.pull, step.push, taps))

    # ------------------------------------------------------------ operations
    def _combination(self, terms: list[tuple[float, Any]], constant: float) -> Vector:
        vectors = [v for _, v in terms]
        axes = joint_axes("a sum", vectors)
        return self._made(self._operations.combination(terms, constant, axes), axes, vectors)

    def _product(self, a: Any, b: Any) -> Vector:
        axes = joint_axes("a product", [a, b])
        return self._made(self._operations.product(a, b, axes), axes, (a, b))

    def _apply(self, activation: Activation, v: Any) -> Vector:
        return self._made(self._operations.elementwise(activation, v, self.settings.backward), v.axes, (v,))

    def _rows(self, matrix: Matrix, v: Any, axis: str, axes: Axes) -> Vector:
        return self._made(self._operations.mapped(matrix, v, axis), axes, (v,))

    def _patches(self, v: Any, axes: tuple[str, ...], taps: list[tuple[int, ...]], variances: list[float]) -> Vector:
        step = self._operations.patches(v, axes, taps, variances)
        return self._made(step, v.axes, (v,), v.fan, tuple(variances))

    def _concat(self, vectors: list[Any]) -> Vector:
        return self._made(
            self._operations.concat(vectors), vectors[0].axes, vectors, units=sum(v.units for v in vectors)
        )

    def _halves(self, first: Any, second: Any) -> Vector:
        axes = joint_axes("halves", [first, second])
        return self._made(self._operations.halves(first, second, axes), axes, (first, second))

    def _batch_norm(self, v: Any, epsilon: float) -> Vector:
        return self._made(normalizing.batch_norm(self.backend, v, epsilon), v.axes, (v,))

    def _layer_norm(self, v: Any, epsilon: float) -> Vector:
        return self._made(normalizing.layer_norm(self.backend, v, epsilon, self.plan.mixes_inputs), v.axes, (v,))

    def _attention(self, query: Any, key: Any, value: Any, axis: str, scale: float) -> Vector:
        mixing, attend = self.plan.mixes_inputs, self.settings.attend
        step = normalizing.attention(self.backend, query, key, value, axis, scale, mixing, attend)
        return self._made(step, value.axes, (query, key, value), units=value.units)

    def _draw(self, key: Key, variance: float, axes: Axes) -> Vector:
        count = math.prod(axes.values())
        ensemble, layer = self.ensemble, len(self._drawn)
        normals = ensemble.normals(streams.DRAWS, layer, count, self.width, dtype=ensemble.dtype, first=(0, 0))
        return self._kept(Vector(self, axes, normals[:, None, ...] * math.sqrt(variance), self.width))

    def _probed(self, v: Any) -> Vector:
        return v  # type: ignore[no-any-return]

    def _see(self, key: Key, v: Any) -> None:
        self.see_as(key, v, v.value)

    def see_as(self, key: Key, v: Vector, value: Array) -> None:
        """Note a vector; ``value``: the same in a better precision, or as it is."""
        if self.settings.observe is not None:
            self.settings.observe(key, v)
        if self.settings.backward:
            self.vectors[key] = v
        self.seen[key] = None
        if self.settings.grams and self.settings.per_site and rows.sites_of(v.axes) > 1:
            self.seen[key] = dead.products_at_sites(self.backend.xp, v.value, value)
        elif self.settings.grams:
            xp = self.backend.xp
            if value is v.value:
                products = self._square(v).products
            else:
                flat = xp.reshape(value, (value.shape[0], -1, v.units))
                products = overlaps(xp, flat, flat)
            self.seen[key] = dead.zero_where_dead(xp, v.value, products / v.units)

    # ------------------------------------------------------------ matrices
    def layer(self, key: Key) -> Layer:
        """Law and place in the streams of a matrix."""
        law, asked = self.laws.of(key), self.matrices[key]
        variance = law.sigma_w2 * asked.columns / asked.fan  # entries have variance sigma_w2 / fan
        units = self.plan.matrices[key].kept[0] if self._parts else asked.units
        turned = key in self.plan.turned and self.settings.sampler == "conditioned"
        return Layer(asked.order, units, asked.columns, law.law, variance, law.sigma_b2, asked.units, turned)

    def _matrix(self, key: Key) -> AbstractMatrix:
        known = self.drawn_matrices.get(key)
        if known is not None:
            return known
        layer, use = self.layer(key), self.plan.matrices[key]
        if self.settings.sampler == "conditioned":
            if layer.law not in CONDITIONED_LAWS:
                raise ProgramError(
                    f'the matrix "{text_of(key)}" has weights "{layer.law}", which have no conditioned form: '
                    'use sampler "explicit"'
                )
            backward = use.backward if self.settings.backward else 0
            matrix = asked_matrix(layer, self.ensemble, use.forward, backward)
        else:
            again = self.settings.backward or use.asks > 1
            matrix = ExplicitMatrix(layer, self.ensemble, self.settings.keep and again)
        if self.settings.backward or use.asks > 1:
            self.drawn_matrices[key] = matrix
        return matrix

    def _ask(self, key: Key, asked: Asked, v: Any) -> Vector:
        backend, matrix, law = self.backend, self._matrix(key), self.laws.of(key)
        xp = backend.xp
        lead, inputs, sites, units = v.made.shape
        constants = self.constants(v.axes)
        if isinstance(v.made, Windows) and isinstance(matrix, ExplicitMatrix):
            answer = matrix.apply_to_windows(v.made, constants)
        else:
            question = xp.reshape(v.value, (lead, inputs * sites, units))
            if isinstance(matrix, AskedGaussian):
                answer = matrix.apply(question, constants, self._square(v))
            else:
                answer = matrix.apply(question, constants)
        answer = xp.reshape(answer, (answer.shape[0], inputs, sites, answer.shape[2]))
        if law.sigma_b2 == 0.0 and not self._alive(v):
            answer = dead.zero_where_asked_zero(xp, v.value, answer)
        mixing = self.plan.mixes_inputs

        def pull(c: Array) -> list[Array]:
            networks, functionals, inputs, sites, units = c.shape
            flat = xp.reshape(c, (networks, functionals * inputs * sites, units))
            y = matrix.apply_transpose(flat)
            y = xp.reshape(y, (y.shape[0], functionals, inputs, sites, y.shape[2]))
            return [y if mixing else dead.zero_where_asked_zero(xp, c, y)]

        def push(tangents: Sequence[Array], inputs: int) -> Array:
            (t,) = tangents
            networks, directions, inputs, sites, units = t.shape
            flat = xp.reshape(t, (networks, directions * inputs * sites, units))
            u = matrix.apply(flat, backend.place(np.zeros(flat.shape[1])))
            return xp.reshape(u, (u.shape[0], directions, inputs, sites, u.shape[2]))

        made = self._made(Step(answer, pull, push), v.axes, (v,), units=int(asked.units))
        made.answer = True
        if self.settings.backward:
            self.asked.append(Question(key, v, made, law))
        return made

    def _alive(self, v: Vector) -> bool:
        """Whether no row is zero for sure, told without making windows: one that is zero has a zero row."""
        return isinstance(v.made, Windows) and dead.dead(self.backend.xp, v.made.value) is None

    def constants(self, axes: Axes) -> Array:
        """Multiples of the bias in the rows of an answer: 1 for an input, 0 for a difference of inputs; (R,)."""
        first = np.eye(1, rows.inputs_of(axes))[0]
        return self.backend.place(np.repeat(first, rows.sites_of(axes)))

    def _square(self, v: Vector) -> Square:
        """Products of the rows of a vector, (N or 1, R, R), float64; the last ones are remembered."""
        if self._products is None or self._products[0] is not v:
            xp = self.backend.xp
            flat = xp.reshape(v.value, (v.value.shape[0], -1, v.value.shape[3]))
            self._products = (v, Square(self.backend, overlaps(xp, flat, flat)))
        return self._products[1]
