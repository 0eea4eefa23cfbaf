"""The interpretation of a program at the sites of a network, to first order in 1/M, forward and backward.

Matrices answer as the conditioned sampler does (:mod:`mcnet.theory.program.conditioning`), with everything that depends
on the network carried as jets (:mod:`mcnet.theory.program.jets`). Answers of a matrix depend on Gram entries by weight
where sites are nodes or an activation has kinks, else by value. A Haar matrix is, by weight, a Gaussian one from whose
Gram matrix the noise of a Wishart matrix is taken away: Gaussian answers are Haar answers times an independent Wishart
factor. Cotangents are multiplied with the square root of M.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.activations import Activation
from mcnet.programs.axes import Axes, joint_axes
from mcnet.programs.names import READOUT, Key, ProgramError, text_of
from mcnet.programs.parameters import Law, Laws, Parameters
from mcnet.programs.vocabulary import AbstractInterpreter, AbstractVector, Asked, Matrix
from mcnet.theory.program import conditioning, layout
from mcnet.theory.program.densities import gaussian_scores
from mcnet.theory.program.jets import Jet, Sites
from mcnet.theory.program.normals import Mixed, Split, Together
from mcnet.theory.program.quantities import Quantity, Taylor, cholesky, inverse, root, smooth, stacked
from mcnet.theory.program.sites import Parts, zeros

Floats = NDArray[np.float64]
Cotangent = list[Jet]
Pull = Callable[[Cotangent], list[Cotangent]]


class Unplanned(Exception):
    """An activation for which the nodes were not made."""

    def __init__(self, activation: Activation) -> None:
        super().__init__(activation.label)
        self.activation = activation


@dataclass(eq=False)
class Vector(AbstractVector):
    """A vector at the sites; units that are not alike side by side, each with its share of the fan."""

    interpreter: AbstractInterpreter
    axes: Axes
    units: float
    fan: float
    parts: tuple[tuple[float, Jet], ...]
    parents: tuple[Vector, ...] = ()
    pull: Pull | None = None
    answers: bool = False


@dataclass(eq=False)
class State:
    """What a matrix was asked and answered.

    Attributes
    ----------
    law : Law
    x : list of Jet
        Questions that are independent, for each part.
    u : Jet
        Their answers; of a Haar matrix without the bias.
    gram : Quantity
        S = sigma_w2 x.x + sigma_b2; of a Haar matrix x.x.
    d, y : Jet and list of Jet, or None
        Backward questions and answers.
    backward : Quantity
        d.d.
    told : Quantity
        u.d.
    """

    law: Law
    x: list[Jet]
    u: Jet
    gram: Quantity
    d: Jet | None = None
    y: list[Jet] = field(default_factory=list)
    backward: Quantity = field(default_factory=lambda: Quantity.constant(np.zeros((0, 0))))
    told: Quantity = field(default_factory=lambda: Quantity.constant(np.zeros((0, 0))))


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
        self, parameters: Parameters, laws: Laws, inputs: int, normals: Split | Together, by_weight: bool
    ) -> None:
        super().__init__(parameters, parameters.width)
        self.laws, self.inputs, self.normals, self.by_weight = laws, inputs, normals, by_weight
        self.sites = Sites(normals.groups, isinstance(normals, Together))
        self.activations: set[Activation] = set()
        self.tape: list[Vector] = []
        self.asks: list[Ask] = []
        self.seen: dict[Key, Vector] = {}
        self.functionals = 0
        self._states: dict[Key, State] = {}
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

    def _patches(self, v: Any, axes: tuple[str, ...], shifts: list[list[Matrix]], variances: list[float]) -> Vector:
        sites = self.sites

        def move(tap: list[Matrix], share: float, rows: Axes) -> Floats:
            total: Floats = np.sqrt(share) * np.eye(layout.size_of(rows))
            for axis, matrix in zip(axes, tap, strict=True):
                total = layout.along(matrix, rows, axis) @ total
            return total

        taps = list(zip(shifts, variances, strict=True))
        parts = tuple(
            (share, sites.mapped(part, move(tap, variance, v.axes), origin=True))
            for tap, variance in taps
            for share, part in self.parts(v)
        )

        def pull(c: Cotangent) -> list[Cotangent]:
            count, found = len(v.parts), []
            for place in range(count):
                total: Jet | None = None
                for k, (tap, variance) in enumerate(taps):
                    back = self._back(move(tap, variance, self._cot_axes(v.axes)).T)
                    part = sites.mapped(c[k * count + place], back)
                    total = part if total is None else sites.summed(total, part)
                assert total is not None
                found.append(total)
            return [found]

        return self._keep(v.axes, v.units * len(taps), v.fan, parts, [v], pull)

    def _concat(self, vectors: list[Any]) -> Vector:
        fan = sum(v.units for v in vectors)
        if any(v.units != self.width for v in vectors):
            raise ProgramError(
                "expansion: concat of vectors that do not have the width; all layers must be equally wide"
            )
        parts = tuple((v.units / fan, part) for v in vectors for _, part in self.parts(v))

        def pull(c: Cotangent) -> list[Cotangent]:
            return [[one] for one in c]

        return self._keep(vectors[0].axes, fan, fan, parts, vectors, pull)

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
        return self._products([part for _, part in self.parts(a)], self.parts(b))

    def _products(self, mine: Sequence[Jet], others: Sequence[tuple[float, Jet]]) -> Quantity:
        total: Quantity | None = None
        for one, (share, other) in zip(mine, others, strict=True):
            gram = share * self.sites.gram(one, other)
            total = gram if total is None else total + gram
        assert total is not None
        return total

    def _ask(self, key: Key, matrix: Asked, v: Any) -> Vector:
        law = self.laws.of(key)
        if law.law not in ("gaussian", "orthogonal"):
            raise ProgramError(f'expansion: weights "{law.law}" of the matrix "{text_of(key)}" are not covered')
        if key == READOUT:
            if law.law != "gaussian":
                raise ProgramError("expansion: the readout must be Gaussian")
            made = self._keep(v.axes, matrix.units, matrix.units, (), [v], lambda c: [self._from_readout(law, v)], True)
        else:
            if matrix.units != self.width:
                raise ProgramError(f'expansion: the matrix "{text_of(key)}" does not have the width; all layers must')
            answer = self._answer(key, law, v)
            parts = ((1.0, answer),)
            made = self._keep(
                v.axes, matrix.units, matrix.units, parts, [v], lambda c: [self._told(key, v, c[0])], True
            )
        self.asks.append(Ask(key, law, v, made))
        return made

    def _answer(self, key: Key, law: Law, v: Vector) -> Jet:
        own = self.question_gram(v, v)
        if law.law == "orthogonal":
            return self._haar_answer(key, law, v, own)
        own = law.sigma_w2 * own + law.sigma_b2
        state = self._states.get(key)
        if state is None:
            cross, old = Quantity.constant(np.zeros((0, own.shape[0]))), Quantity.constant(np.zeros((0, 0)))
        else:
            cross, old = law.sigma_w2 * self._products(state.x, self.parts(v)) + law.sigma_b2, state.gram
        kept = conditioning.fresh_rows(old.value, cross.value, own.value)
        answer = self._by_weight(key, state, old, cross, own, kept) if self.by_weight else None
        if answer is None:
            answer = self._by_value(key, state, old, cross, own, kept)
        if state is None:
            questions = self._questions(v, kept)
            self._states[key] = State(law, questions, self.sites.taken(answer, kept), _block(own, kept, kept))
        else:
            state.x = [self.sites.side_by_side([a, b]) for a, b in zip(state.x, self._questions(v, kept), strict=True)]
            state.u = self.sites.side_by_side([state.u, self.sites.taken(answer, kept)])
            columns = np.arange(old.shape[0])
            state.gram = _bordered(old, _block(cross, columns, kept), _block(own, kept, kept))
        return answer

    def _questions(self, v: Vector, kept: NDArray[np.intp]) -> list[Jet]:
        """Independent rows of a question; of the input only where its sites are there, as nobody looks at it."""
        if self._start is not None and v is self._start[0] and self._start_jet is None:
            return [Jet(zeros(len(kept)), {}, zeros(len(kept)))]
        return [self.sites.taken(part, kept) for _, part in self.parts(v)]

    def _by_value(
        self, key: Key, state: State | None, old: Quantity, cross: Quantity, own: Quantity, kept: NDArray[np.intp]
    ) -> Jet:
        """u = a^T U + L z with coefficients that depend on the network."""
        g, z = self.normals.answers(key, np.eye(len(kept)))
        fresh = self.sites.at(g, z)

        def coefficients(old: Taylor, cross: Taylor, own: Taylor) -> list[Taylor]:
            if not len(old.zero):
                factor, share = conditioning.spread(own, kept)
                return [share.T @ factor]
            a, left = conditioning.projected(old, cross, own)
            factor, share = conditioning.spread(left, kept)
            return [a.T, share.T @ factor]

        found = smooth(self.sites.noise, coefficients, old, cross, own)
        answer = self.sites.combined(found[-1], fresh, _lower(kept, own.shape[0]))
        if state is None:
            return answer
        known = self.sites.combined(found[0], state.u, np.ones(found[0].shape, bool))
        return self.sites.summed(known, answer)

    def _by_weight(
        self, key: Key, state: State | None, old: Quantity, cross: Quantity, own: Quantity, kept: NDArray[np.intp]
    ) -> Jet | None:
        """Values that stay, and a density that depends on the network; None where rows are not independent."""
        if not len(kept):
            return None
        if state is not None and not self.sites.persistent:
            raise Mixed  # an answer has a part along earlier ones, in another group

        def coefficients(old: Taylor, cross: Taylor, own: Taylor) -> list[Taylor]:
            if not len(old.zero):
                return [own[np.ix_(kept, kept)]]
            a, left = conditioning.projected(old, cross, own)
            return [a[:, kept], left[np.ix_(kept, kept)]]

        found = smooth(self.sites.noise, coefficients, old, cross, own)
        covariance = found[-1]
        g, u = self.normals.answers(key, covariance.value)
        means = None if state is None else (found[0], state.u)
        return self._weighted(g, u, covariance, means, own.value, kept, cross.value, old.value)

    def _weighted(
        self,
        g: int,
        fresh: Floats,
        covariance: Quantity,
        means: tuple[Quantity, Jet] | None,
        own: Floats,
        kept: NDArray[np.intp],
        cross: Floats,
        old: Floats,
    ) -> Jet:
        known = None
        if means is not None:
            values = means[1].value.functions.get(g)
            assert values is not None
            known = values + means[1].value.constant[:, None, None]
        numbers, first, second = gaussian_scores(fresh, covariance, None if means is None else means[0], known)
        self.sites.weigh(g, numbers, first, second)
        left = own if known is None else own - cross.T @ np.linalg.solve(old, cross)
        share = np.linalg.solve(left[np.ix_(kept, kept)], left[kept])  # rows that are not kept follow those that are
        u = np.einsum("jr,jnm->rnm", share, fresh)
        if known is not None:
            u = u + np.einsum("kr,knm->rnm", np.linalg.solve(old, cross), known)
        return self.sites.at(g, u)

    def _haar_answer(self, key: Key, law: Law, v: Vector, own: Quantity) -> Jet:
        if key in self._states:
            raise ProgramError(
                f'expansion: the orthogonal matrix "{text_of(key)}" is asked more than once; use Gaussian weights'
            )
        if len(v.parts) > 1:
            raise ProgramError(f'expansion: the orthogonal matrix "{text_of(key)}" is asked vectors side by side')
        rows = own.shape[0]
        kept = conditioning.fresh_rows(np.zeros((0, 0)), np.zeros((0, rows)), own.value)
        inner = _block(own, kept, kept)
        if self.by_weight:
            answer, w = self._haar_by_weight(key, law, own, inner, kept)
        else:
            answer, w = self._haar_by_value(key, law, own, kept)
        self._states[key] = State(law, self._questions(v, kept), self.sites.taken(w, kept), inner)
        return answer

    def _haar_by_value(self, key: Key, law: Law, own: Quantity, kept: NDArray[np.intp]) -> tuple[Jet, Jet]:
        g, z = self.normals.answers(key, np.eye(len(kept)))
        fresh = self.sites.at(g, z)

        def coefficients(own: Taylor, size: Taylor) -> list[Taylor]:
            factor, share = conditioning.spread(law.sigma_w2 * own, kept)
            return [share.T @ factor @ inverse(cholesky(size))]

        (numbers,) = smooth(self.sites.noise, coefficients, own, self.sites.gram(fresh, fresh))
        w = self.sites.combined(numbers, fresh, np.ones(numbers.shape, bool))
        if law.sigma_b2 == 0.0:
            return w, w
        g, z = self.normals.linear({g}, 1)
        bias = self.sites.mapped(self.sites.at(g, z), np.full((w.rows, 1), law.sigma_b2**0.5))
        return self.sites.summed(w, bias), w

    def _haar_by_weight(
        self, key: Key, law: Law, own: Quantity, inner: Quantity, kept: NDArray[np.intp]
    ) -> tuple[Jet, Jet]:
        """Answers u = w + b by weight, and w given u by value."""
        weights = law.sigma_w2 * inner
        s, count = weights.value, len(kept)
        wishart = np.einsum("ac,bd->abcd", s, s) + np.einsum("ad,bc->abcd", s, s)
        taken = self.sites.noise.new(-wishart.reshape(count**2, count**2))
        weights = weights + taken.reshaped(count, count)
        covariance = weights + law.sigma_b2
        g, u = self.normals.answers(key, covariance.value)
        whole = law.sigma_w2 * own.value + law.sigma_b2
        none = np.zeros((0, len(whole)))
        answer = self._weighted(g, u, covariance, None, whole, kept, none, np.zeros((0, 0)))
        if law.sigma_b2 == 0.0:
            return answer, answer
        g, z = self.normals.linear({g}, 1)

        def coefficients(s: Taylor) -> list[Taylor]:  # of the bias given the answers, and of what is left of it
            gain = law.sigma_b2 * inverse(s).sum(-2)
            return [gain, root(-law.sigma_b2 * gain.sum(-1) + law.sigma_b2)]

        gain, rest = smooth(self.sites.noise, coefficients, covariance)
        known = self.sites.combined(gain, self.sites.taken(answer, kept), np.ones((1, count), bool))
        bias = self.sites.summed(known, self.sites.combined(rest, self.sites.at(g, z), np.ones((1, 1), bool)))
        return answer, self.sites.summed(answer, self.sites.mapped(bias, -np.ones((answer.rows, 1))))

    # ------------------------------------------------------------ backward
    def _home(self, vectors: Sequence[Jet]) -> set[int]:
        return set().union(*(v.groups() for v in vectors))

    def _from_readout(self, law: Law, v: Vector) -> Cotangent:
        """One output: the same Gaussian vector for all rows, at the row of its functional."""
        found = []
        for share, part in self.parts(v):
            g, z = self.normals.linear(self._home([part]), 1)
            ones = (law.sigma_w2 * share) ** 0.5 * self.top_rows(v.axes)[:, None]
            found.append(self.sites.mapped(self.sites.at(g, z), ones))
        return found

    def top_rows(self, axes: Axes) -> Floats:
        """1 for the rows of cotangents that are outputs of their functional, as a flat array."""
        rows = layout.size_of(self._cot_axes(axes))
        if self.mixes_inputs:
            return np.eye(rows).ravel()
        sites = rows // self.inputs
        return np.repeat(np.eye(sites)[:, None, :], self.inputs, axis=1).ravel()

    def _told(self, key: Key, v: Vector, c: Jet) -> Cotangent:
        """The answer of W^T to the cotangents of the answers of W."""
        state, sites = self._states[key], self.sites
        alive = np.flatnonzero(~c.dead)
        d = sites.taken(c, alive) if len(alive) < c.rows else c
        place = np.zeros((c.rows, len(alive)))
        place[alive, np.arange(len(alive))] = 1.0
        answers = self._backward_haar(state, d) if state.law.law == "orthogonal" else self._backward(state, v, d)
        return [sites.mapped(y, place) if len(alive) < c.rows else y for y in answers]

    def _backward(self, state: State, v: Vector, d: Jet) -> list[Jet]:
        sites, law = self.sites, state.law
        shares = [share for share, _ in v.parts]
        own, u_new = sites.gram(d, d), sites.gram(state.u, d)
        old = state.backward
        cross = Quantity.constant(np.zeros((0, d.rows))) if state.d is None else sites.gram(state.d, d)
        kept = conditioning.fresh_rows(old.value, cross.value, own.value)
        fresh, x_fresh = [], None
        for share, x in zip(shares, state.x, strict=True):
            g, z = self.normals.linear(self._home([x]), len(kept))
            fresh.append(sites.at(g, z))
            one = share**0.5 * sites.gram(x, fresh[-1])
            x_fresh = one if x_fresh is None else x_fresh + one
        bias = sites.noise.new(np.eye(len(kept))).reshaped(1, len(kept))
        u_old = state.told if state.d is not None else Quantity.constant(np.zeros((state.gram.shape[0], 0)))

        def coefficients(
            s: Taylor, known: Taylor, cross: Taylor, own: Taylor, u_old: Taylor, u_new: Taylor, x: Taylor, b: Taylor
        ) -> list[Taylor]:
            on_y, on_x, on_g = conditioning.backward_gaussian(
                law.sigma_w2, law.sigma_b2, kept, s, (known, cross, own), (u_old, u_new, x, b)
            )
            return [on_y, on_x, on_g] if len(known.zero) else [on_x, on_g]

        assert x_fresh is not None
        given = (state.gram, old, cross, own, u_old, u_new, x_fresh, bias)
        found = smooth(sites.noise, coefficients, *given)
        on_x, on_g = found[-2:]
        answers = []
        for place, share in enumerate(shares):
            y = sites.combined(share * on_x, state.x[place], np.ones(on_x.shape, bool))
            y = sites.summed(y, sites.combined(share**0.5 * on_g, fresh[place], _lower(kept, d.rows)))
            if state.d is not None:
                y = sites.summed(y, sites.combined(found[0], state.y[place], np.ones(found[0].shape, bool)))
            answers.append(y)
        self._remember(state, d, answers, kept, (cross, own, u_new))
        return answers

    def _remember(
        self,
        state: State,
        d: Jet,
        answers: list[Jet],
        kept: NDArray[np.intp],
        grams: tuple[Quantity, Quantity, Quantity],
    ) -> None:
        sites, (cross, own, u_new) = self.sites, grams
        rows = np.arange(u_new.shape[0])
        if state.d is None:
            state.d, state.y = sites.taken(d, kept), [sites.taken(y, kept) for y in answers]
            state.backward, state.told = _block(own, kept, kept), _block(u_new, rows, kept)
            return
        before = np.arange(cross.shape[0])
        state.d = sites.side_by_side([state.d, sites.taken(d, kept)])
        state.y = [sites.side_by_side([a, sites.taken(b, kept)]) for a, b in zip(state.y, answers, strict=True)]
        state.backward = _bordered(state.backward, _block(cross, before, kept), _block(own, kept, kept))
        state.told = _beside(state.told, _block(u_new, rows, kept))

    def _backward_haar(self, state: State, d: Jet) -> list[Jet]:
        sites, law = self.sites, state.law
        if state.d is not None:
            raise ProgramError("expansion: an orthogonal matrix is asked backward more than once; use Gaussian weights")
        (x,) = state.x
        own, answers = sites.gram(d, d), sites.gram(state.u, d)
        none = np.zeros((0, d.rows))
        kept = conditioning.fresh_rows(np.zeros((0, 0)), none, own.value)
        g, z = self.normals.linear(self._home([x]), len(kept))
        fresh = sites.at(g, z)

        def coefficients(s: Taylor, own: Taylor, answers: Taylor, x: Taylor, size: Taylor) -> list[Taylor]:
            return list(conditioning.backward_haar(law.sigma_w2, kept, s, own, (answers, x, size)))

        given = (state.gram, own, answers, sites.gram(x, fresh), sites.gram(fresh, fresh))
        on_x, on_g = smooth(sites.noise, coefficients, *given)
        y = sites.combined(on_x, x, np.ones(on_x.shape, bool))
        y = sites.summed(y, sites.combined(on_g, fresh, np.ones(on_g.shape, bool)))
        state.d = d
        return [y]

    def cotangents(self, output: Vector) -> dict[int, Cotangent]:
        """Cotangents of the rows of the output at all vectors on the way to matrices, by id."""
        if isinstance(self.normals, Together):
            self.normals.turn()
        rows = layout.size_of(self._cot_axes(output.axes))
        self.functionals = rows if self.mixes_inputs else rows // self.inputs
        found: dict[int, Cotangent] = {}
        if output.parts:  # a probe of expected squared length 1
            top = []
            for _, part in output.parts:
                g, z = self.normals.linear(self._home([part]), 1)
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


def _lower(kept: NDArray[np.intp], rows: int) -> NDArray[np.bool_]:
    """Which coefficients on fresh normals may differ from zero."""
    mask = np.ones((rows, len(kept)), bool)
    mask[kept] = np.tril(np.ones((len(kept), len(kept)), bool))
    return mask


def _block(q: Quantity, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Quantity:
    return q.taken(rows[:, None] * q.shape[1] + columns[None, :])


def _bordered(old: Quantity, cross: Quantity, own: Quantity) -> Quantity:
    """[[old, cross], [cross^T, own]]."""
    k, j = cross.shape
    index = np.zeros((k + j, k + j), np.intp)
    index[:k, :k] = np.arange(k * k).reshape(k, k)
    index[:k, k:] = k * k + np.arange(k * j).reshape(k, j)
    index[k:, :k] = index[:k, k:].T
    index[k:, k:] = k * k + k * j + np.arange(j * j).reshape(j, j)
    return stacked([old, cross, own]).taken(index)


def _beside(a: Quantity, b: Quantity) -> Quantity:
    """Columns of both."""
    rows, first, second = a.shape[0], a.shape[1], b.shape[1]
    index = np.concatenate(
        [
            np.arange(rows * first).reshape(rows, first),
            rows * first + np.arange(rows * second).reshape(rows, second),
        ],
        axis=1,
    )
    return stacked([a, b]).taken(index)


def _difference(activation: Activation, order: int) -> Callable[[Floats], Floats]:
    """First or second derivative of phi' by differences of fourth order: error 1e-9."""
    step = 1e-2
    rule = ((1.0, -8.0, 0.0, 8.0, -1.0), (-1.0, 16.0, -30.0, 16.0, -1.0))[order - 1]

    def derivative(u: Floats) -> Floats:
        total = sum(w * activation.dphi(u + k * step) for k, w in zip(range(-2, 3), rule, strict=True) if w)
        return np.asarray(total) / (12.0 * step**order)

    return derivative
