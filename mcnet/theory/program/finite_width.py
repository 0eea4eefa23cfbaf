"""The interpretation of a program at the sites of a network, to first order in 1/M, forward and backward.

Matrices answer as the conditioned sampler does (:mod:`mcnet.theory.program.conditioning`), with everything that depends
on the network carried as jets (:mod:`mcnet.theory.program.jets`). Answers of a matrix depend on Gram entries by weight
where sites are nodes or an activation has kinks, else by value. A Haar matrix is, by weight, a Gaussian one from whose
Gram matrix the noise of a Wishart matrix is taken away: Gaussian answers are Haar answers times an independent Wishart
factor. Cotangents are multiplied with the square root of M.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.activations import Activation
from mcnet.programs.axes import Axes, joint_axes
from mcnet.programs.names import INPUT, READOUT, Key, ProgramError, text_of
from mcnet.programs.parameters import Law, Laws, Parameters
from mcnet.programs.vocabulary import AbstractInterpreter, AbstractVector, Asked, Matrix
from mcnet.theory.program import conditioning, layout, normalizing
from mcnet.theory.program.answers import Answers
from mcnet.theory.program.halving import Halving
from mcnet.theory.program.infinite_width import attention_strength
from mcnet.theory.program.jets import Jet, Sites
from mcnet.theory.program.normals import Mixed, Split, Together
from mcnet.theory.program.quantities import Quantity, Taylor, cholesky, inverse, smooth
from mcnet.theory.program.sites import Parts, zeros

Floats = NDArray[np.float64]
Cotangent = list[Jet]
Pull = Callable[[Cotangent], list[Cotangent]]


OUTPUT, TWO_OUTPUTS, SIGNAL = "output", "two outputs", "signal"
"""Where a backward pass begins: at one output, at two, or (instead of weights of a readout) at what the readout reads
off each input, times its variance."""


@dataclass(frozen=True)
class How:
    """How a program is run at sites.

    Attributes
    ----------
    expanded : bool
        Whether 1/M terms are wanted.
    tops : str
        Where a backward pass begins.
    level : float
        If not 0, the first direction of the inputs is this number at every site.
    most : int or None
        Gram entries at most.
    """

    expanded: bool = True
    tops: str = OUTPUT
    level: float = 0.0
    most: int | None = None


class Unplanned(Exception):
    """An activation for which the nodes were not made."""

    def __init__(self, activation: Activation) -> None:
        super().__init__(activation.label)
        self.activation = activation


@dataclass(eq=False)
class Vector(AbstractVector):
    """A vector at the sites; units that are not alike side by side, each with its share of the fan.

    Of patches ``taps`` are the variances of the taps, whose roots the parts carry.
    """

    interpreter: AbstractInterpreter
    axes: Axes
    units: float
    fan: float
    parts: tuple[tuple[float, Jet], ...]
    parents: tuple[Vector, ...] = ()
    pull: Pull | None = None
    answers: bool = False
    taps: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Ask:
    """A question and its answer."""

    key: Key
    law: Law
    question: Vector
    answer: Vector


class SitesInterpreter(AbstractInterpreter):
    """A program at the sites.

    Attributes
    ----------
    sites : Sites
    seen : dict of name to Vector
    asks : list of Ask
    """

    interpretation = "expansion"

    def __init__(
        self,
        parameters: Parameters,
        laws: Laws,
        inputs: int,
        normals: Split | Together,
        by_weight: bool,
        how: How,
    ) -> None:
        super().__init__(parameters, parameters.width)
        self.laws, self.inputs, self.normals = laws, inputs, normals
        self.sites = Sites(normals.groups, isinstance(normals, Together), how.expanded, how.most)
        self.matrix = Answers(self.sites, normals, by_weight)
        self.halving = Halving(self.sites, normals)
        self.activations: set[Activation] = set()
        self.tape: list[Vector] = []
        self.asks: list[Ask] = []
        self.seen: dict[Key, Vector] = {}
        self.functionals = 0
        self.copies = {OUTPUT: 1, TWO_OUTPUTS: 2, SIGNAL: inputs}[how.tops]
        self._tops, self._level = how.tops, how.level
        self._start: tuple[Vector, Floats] | None = None
        self._start_jet: Jet | None = None

    def input(self, gram: Floats, axes: Axes) -> Vector:
        """The input: its Gram matrix does not scatter. Its sites are made when not only matrices use it."""
        v = self._keep(axes, self.width, self.width, (), (), None)
        self._start = (v, gram)
        return v

    def _input_jet(self, gram: Floats) -> Jet:
        """Normals made orthonormal by their own Gram matrix, times a factor of the input's."""
        if self._start_jet is None:
            kept = conditioning.fresh_rows(np.zeros((0, 0)), np.zeros((0, len(gram))), gram)
            g, z = self.normals.linear(set(), len(kept))
            if self._level:
                z = np.concatenate([np.full_like(z[:1], self._level), z[1:]])
            fresh = self.sites.at(g, z)
            factor = np.linalg.cholesky(gram[np.ix_(kept, kept)])
            share = np.linalg.solve(gram[np.ix_(kept, kept)], gram[kept])
            whole = (share.T @ factor)[None]

            def turn(n: Taylor) -> list[Taylor]:
                left = Taylor(whole[0], np.zeros((1, *whole[0].shape)), np.zeros((1, *whole[0].shape)))
                return [left @ inverse(cholesky(n))]

            (numbers,) = smooth(self.sites.noise, turn, self.sites.gram(fresh, fresh))
            self._start_jet = self.sites.combined(numbers, fresh, np.ones(numbers.shape, bool))
            self.sites.known(self._start_jet, gram)
        return self._start_jet

    def parts(self, v: Vector) -> tuple[tuple[float, Jet], ...]:
        """Parts of a vector, those of the input made now."""
        if self._start is not None and v is self._start[0]:
            return ((1.0, self._input_jet(self._start[1])),)
        return v.parts

    def _keep(
        self,
        axes: Axes,
        units: float,
        fan: float,
        parts: tuple[tuple[float, Jet], ...],
        parents: Sequence[Vector],
        pull: Pull | None,
        answers: bool = False,
    ) -> Vector:
        answers = answers or any(one.answers for one in parents)
        v = Vector(self, axes, units, fan, parts, tuple(parents), pull, answers)
        self.tape.append(v)
        return v

    # ------------------------------------------------------------ rows of cotangents
    @property
    def alone(self) -> int | None:
        """The number of inputs where the program does not mix them."""
        return None if self.mixes_inputs else self.inputs

    def _back(self, matrix: Floats | float) -> Floats | float:
        return layout.on_functionals(self.functionals, matrix)

    def _cot_axes(self, axes: Axes) -> Axes:
        return layout.of_cotangents(axes, self.alone)

    # ------------------------------------------------------------ operations
    def _combination(self, terms: list[tuple[float, Any]], constant: float) -> Vector:
        vectors = [v for _, v in terms]
        axes, sites = joint_axes("a sum", vectors), self.sites
        shares = [share for share, _ in self.parts(vectors[0])]
        parts = []
        for place, share in enumerate(shares):
            total: Jet | None = None
            for a, v in terms:
                own = self.parts(v)
                if [one for one, _ in own] != shares:
                    raise ProgramError("expansion: a sum of vectors put side by side in different ways")
                part = sites.mapped(own[place][1], _times(a, layout.spread(v.axes, axes)))
                total = part if total is None else sites.summed(total, part)
            assert total is not None
            if constant:
                shift = Parts(np.full(total.rows, constant), {})
                total = Jet(total.value + shift, total.slopes, total.bend)
            parts.append((share, total))

        def pull(c: Cotangent) -> list[Cotangent]:
            joint, found = self._cot_axes(axes), []
            for a, v in terms:
                move = layout.spread(self._cot_axes(v.axes), joint)
                back = self._back(_times(a, move if isinstance(move, float) else move.T))
                found.append([sites.mapped(one, back) for one in c])
            return found

        return self._keep(axes, vectors[0].units, vectors[0].fan, tuple(parts), vectors, pull)

    def _product(self, a: Any, b: Any) -> Vector:
        axes, sites = joint_axes("a product", [a, b]), self.sites
        first, second = ([sites.mapped(part, layout.spread(v.axes, axes)) for _, part in self.parts(v)] for v in (a, b))
        self._needs_one_group([*first, *second])
        shares = [share for share, _ in self.parts(a)]
        parts = tuple((s, sites.multiplied(x, y)) for s, x, y in zip(shares, first, second, strict=True))

        def pull(c: Cotangent) -> list[Cotangent]:
            joint, found = self._cot_axes(axes), []
            for this, others in ((a, second), (b, first)):
                places = layout.places(axes, self.alone, self.functionals)
                move = layout.spread(self._cot_axes(this.axes), joint)
                back = self._back(move if isinstance(move, float) else move.T)
                pairs = zip(c, others, strict=True)
                found.append([sites.mapped(self._through(one, other, places), back) for one, other in pairs])
            return found

        return self._keep(axes, a.units, a.fan, parts, [a, b], pull)

    def _through(self, c: Jet, factor: Jet, places: NDArray[np.intp]) -> Jet:
        """A cotangent times a factor, site by site."""
        placed = self.sites.taken(factor, places) if len(places) != factor.rows else factor
        self._needs_one_group([c, placed])
        return self.sites.multiplied(c, placed)

    def _needs_one_group(self, vectors: Sequence[Jet]) -> None:
        if len({g for v in vectors for g in v.groups()}) > 1:
            raise Mixed

    def _apply(self, activation: Activation, v: Any) -> Vector:
        self.activations.add(activation)
        if isinstance(self.normals, Split) and activation not in self.normals.activations:
            raise Unplanned(activation)
        slope, curve, third = activation.dphi, _difference(activation, 1), _difference(activation, 2)
        parts, slopes = [], []
        for share, part in self.parts(v):
            self._needs_one_group([part])
            if activation.kinks and part.slopes:
                raise ProgramError(
                    f"expansion: {activation.label}, which has kinks, of the input itself; ask a matrix first"
                )
            parts.append((share, self.sites.applied(part, activation.phi, slope, curve)))
            slopes.append(self.sites.applied(part, slope, curve, third))

        def pull(c: Cotangent) -> list[Cotangent]:
            places = layout.places(v.axes, self.alone, self.functionals)
            return [[self._through(one, p, places) for one, p in zip(c, slopes, strict=True)]]

        return self._keep(v.axes, v.units, v.fan, tuple(parts), [v], pull)

    def _rows(self, matrix: Matrix, v: Any, axis: str, axes: Axes) -> Vector:
        move, sites = layout.along(matrix, v.axes, axis), self.sites
        parts = tuple((share, sites.mapped(part, move, origin=True)) for share, part in self.parts(v))

        def pull(c: Cotangent) -> list[Cotangent]:
            back = self._back(layout.along(matrix, self._cot_axes(v.axes), axis).T)
            return [[sites.mapped(one, back) for one in c]]

        return self._keep(axes, v.units, v.fan, parts, [v], pull)

    def _patches(self, v: Any, axes: tuple[str, ...], taps: list[tuple[int, ...]], variances: list[float]) -> Vector:
        sites, window = self.sites, list(zip(taps, variances, strict=True))
        parts = tuple(
            (share, sites.mapped(part, layout.tap(v.axes, axes, *tap), origin=True))
            for tap in window
            for share, part in self.parts(v)
        )

        def pull(c: Cotangent) -> list[Cotangent]:
            count, found = len(v.parts), []
            for place in range(count):
                total: Jet | None = None
                for k, tap in enumerate(window):
                    back = self._back(layout.tap(self._cot_axes(v.axes), axes, *tap).T)
                    part = sites.mapped(c[k * count + place], back)
                    total = part if total is None else sites.summed(total, part)
                assert total is not None
                found.append(total)
            return [found]

        made = self._keep(v.axes, v.units * len(taps), v.fan, parts, [v], pull)
        made.taps = tuple(variance for variance in variances for _ in self.parts(v))
        return made

    def _concat(self, vectors: list[Any]) -> Vector:
        fan = sum(v.units for v in vectors)
        if self.sites.expanded and any(v.units != self.width for v in vectors):
            raise ProgramError(
                "expansion: concat of vectors that do not have the width; all layers must be equally wide"
            )
        parts = tuple((v.units / fan, part) for v in vectors for _, part in self.parts(v))

        def pull(c: Cotangent) -> list[Cotangent]:
            return [[one] for one in c]

        return self._keep(vectors[0].axes, fan, fan, parts, vectors, pull)

    def _halves(self, first: Any, second: Any) -> Vector:
        axes = joint_axes("halves", [first, second])
        pairs = [(self._only(v, "halves")[0], layout.spread(v.axes, axes)) for v in (first, second)]
        value = self.halving.joined([self.sites.mapped(part, move) for part, move in pairs])

        def pull(c: Cotangent) -> list[Cotangent]:
            moves = [layout.spread(self._cot_axes(v.axes), self._cot_axes(axes)) for v in (first, second)]
            backs = [self._back(move if isinstance(move, float) else move.T) for move in moves]
            return [[self.sites.mapped(self.halving.half(c[0], side), back)] for side, back in enumerate(backs)]

        return self._keep(axes, first.units, first.fan, ((1.0, value),), [first, second], pull)

    def _layer_norm(self, v: Any, epsilon: float) -> Vector:
        found = [normalizing.layer_norm(self.sites, part, epsilon) for part in self._only(v, "layer_norm")]
        return self._normed(v, found)

    def _batch_norm(self, v: Any, epsilon: float) -> Vector:
        (part,) = self._only(v, "batch_norm")
        self._needs_one_group([part])
        count = v.axes[INPUT]
        mean = layout.along(np.full((count, count), 1.0 / count), v.axes, INPUT)
        return self._normed(v, [normalizing.batch_norm(self.sites, part, mean, epsilon)])

    def _only(self, v: Vector, operation: str) -> list[Jet]:
        """The one part of a vector."""
        if len(self.parts(v)) > 1:
            raise ProgramError(f"expansion: {operation} of vectors put side by side")
        return [part for _, part in self.parts(v)]

    def _normed(self, v: Vector, found: list[tuple[Jet, normalizing.Back]]) -> Vector:
        ((value, back),) = found

        def pull(c: Cotangent) -> list[Cotangent]:
            return [[back(c[0], layout.places(v.axes, self.alone, self.functionals))]]

        return self._keep(v.axes, v.units, v.fan, ((1.0, value),), [v], pull)

    def _attention(self, query: Any, key: Any, value: Any, axis: str, scale: float) -> Vector:
        strength = attention_strength(scale, query.units)
        parts = [part for v in (query, key, value) for part in self._only(v, "attention")]
        size = value.axes[axis]
        others = layout.along(np.ones((size, size)), value.axes, axis) > 0.0
        mixed, back = normalizing.attention(self.sites, parts[0], parts[1], parts[2], others, strength)

        def pull(c: Cotangent) -> list[Cotangent]:
            return [[one] for one in back(c[0], layout.places(value.axes, self.alone, self.functionals))]

        return self._keep(value.axes, value.units, value.fan, ((1.0, mixed),), [query, key, value], pull)

    def _draw(self, key: Key, variance: float, axes: Axes) -> Vector:
        g, z = self.normals.answers(key, np.eye(layout.size_of(axes)))
        return self._keep(axes, self.width, self.width, ((1.0, self.sites.at(g, variance**0.5 * z)),), (), None)

    def _probed(self, v: Any) -> Any:
        return v

    def _see(self, key: Key, v: Any) -> None:
        self.seen[key] = v

    # ------------------------------------------------------------ questions
    def question_gram(self, a: Vector, b: Vector) -> Quantity:
        """Products of the rows of two vectors over the fan."""
        if self._start is not None and a is self._start[0] and b is a:
            return Quantity.constant(self._start[1])
        return self.matrix.products([part for _, part in self.parts(a)], self.parts(b))

    def entries_gram(self, a: Vector, b: Vector) -> Quantity | None:
        """The same of entries of equal weight, where taps have variances of their own."""
        if not b.taps:
            return None
        shares = [(share / tap, part) for (share, part), tap in zip(self.parts(b), b.taps, strict=True)]
        return self.matrix.products([part for _, part in self.parts(a)], shares)

    def _question(self, v: Vector) -> tuple[tuple[float, Jet], ...]:
        """Parts of a question. Nodes are not made for an input that only matrices with no other question see."""
        if self._start is not None and v is self._start[0] and self._start_jet is None and not self.sites.persistent:
            rows = len(self._start[1])
            return ((1.0, Jet(zeros(rows), {}, zeros(rows))),)
        return self.parts(v)

    def _ask(self, key: Key, matrix: Asked, v: Any) -> Vector:
        law = self.laws.of(key)
        if law.law not in ("gaussian", "orthogonal"):
            raise ProgramError(f'expansion: weights "{law.law}" of the matrix "{text_of(key)}" are not covered')
        if key == READOUT:
            if law.law != "gaussian":
                raise ProgramError("expansion: the readout must be Gaussian")
            made = self._keep(v.axes, matrix.units, matrix.units, (), [v], lambda c: [self._from_readout(law, v)], True)
        else:
            if self.sites.expanded and matrix.units != self.width:
                raise ProgramError(f'expansion: the matrix "{text_of(key)}" does not have the width; all layers must')
            answer = self.matrix.answer(key, law, self._question(v), self.question_gram(v, v))
            parts = ((1.0, answer),)
            shares = [share for share, _ in self._question(v)]
            made = self._keep(
                v.axes, matrix.units, matrix.units, parts, [v], lambda c: [self.matrix.told(key, shares, c[0])], True
            )
        self.asks.append(Ask(key, law, v, made))
        return made

    # ------------------------------------------------------------ backward

    def _from_readout(self, law: Law, v: Vector) -> Cotangent:
        """Of one output the same Gaussian vector for all rows, at the row of its functional."""
        if self.copies > 1 and (self.mixes_inputs or tuple(v.axes) != (INPUT,)):
            raise ProgramError("expansion: outputs have rows beside the input, or mix the inputs; ask for one output")
        found = []
        for share, part in self.parts(v):
            if self._tops == SIGNAL:
                where = np.repeat(np.eye(self.inputs), self.inputs, axis=0)
                found.append(self.sites.mapped(part, law.sigma_w2 * share * where))
                continue
            g, z = self.normals.linear(part.groups(), self.copies)
            where = np.asarray(np.kron(np.eye(self.copies), self.top_rows(v.axes)[:, None]), np.float64)
            found.append(self.sites.mapped(self.sites.at(g, z), (law.sigma_w2 * share) ** 0.5 * where))
        return found

    def readout_products(self, one: Axes, other: Axes) -> Floats:
        """Products of the cotangents at the outputs, each of one unit."""
        if self._tops == SIGNAL:
            return np.zeros((self.inputs**2, self.inputs**2))
        whole = np.outer(self.top_rows(one), self.top_rows(other))
        return np.asarray(np.kron(np.eye(self.copies), whole))

    def top_rows(self, axes: Axes) -> Floats:
        """1 for the rows of cotangents that are outputs of their functional, as a flat array."""
        rows = layout.size_of(self._cot_axes(axes))
        if self.mixes_inputs:
            return np.eye(rows).ravel()
        sites = rows // self.inputs
        return np.repeat(np.eye(sites)[:, None, :], self.inputs, axis=1).ravel()

    def cotangents(self, output: Vector) -> dict[int, Cotangent]:
        """Cotangents of the rows of the output at all vectors on the way to matrices, by id."""
        if isinstance(self.normals, Together):
            self.normals.turn()
        rows = layout.size_of(self._cot_axes(output.axes))
        self.functionals = self.copies * (rows if self.mixes_inputs else rows // self.inputs)
        found: dict[int, Cotangent] = {}
        if output.parts and self.copies > 1:
            raise ProgramError("cumulants: the program returns no answers of a readout; return w.ask('readout', h)")
        if output.parts:  # a probe of expected squared length 1
            top = []
            for _, part in output.parts:
                g, z = self.normals.linear(part.groups(), 1)
                top.append(self.sites.mapped(self.sites.at(g, z), self.top_rows(output.axes)[:, None]))
            found[id(output)] = top
        else:
            found[id(output)] = []
        for v in reversed(self.tape):
            if id(v) not in found or v.pull is None or not any(one.answers for one in v.parents):
                continue
            for parent, cotangent in zip(v.parents, v.pull(found[id(v)]), strict=True):
                if not parent.answers:
                    continue
                known = found.get(id(parent))
                if known is not None:
                    cotangent = [self.sites.summed(a, b) for a, b in zip(known, cotangent, strict=True)]
                found[id(parent)] = cotangent
        return found


def _times(a: float, matrix: Floats | float) -> Floats | float:
    return a * matrix


def _difference(activation: Activation, order: int) -> Callable[[Floats], Floats]:
    """First or second derivative of phi' by differences of fourth order: error 1e-9."""
    step = 1e-2
    rule = ((1.0, -8.0, 0.0, 8.0, -1.0), (-1.0, 16.0, -30.0, 16.0, -1.0))[order - 1]

    def derivative(u: Floats) -> Floats:
        total = sum(w * activation.dphi(u + k * step) for k, w in zip(range(-2, 3), rule, strict=True) if w)
        return np.asarray(total) / (12.0 * step**order)

    return derivative
