"""Answers of the matrices of a program at the sites, forward and backward, given all that they were asked before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mcnet.programs.names import Key, ProgramError, text_of
from mcnet.programs.parameters import Law
from mcnet.theory.program import conditioning
from mcnet.theory.program.densities import gaussian_scores
from mcnet.theory.program.jets import Jet, Sites
from mcnet.theory.program.normals import Mixed, Split, Together
from mcnet.theory.program.quantities import (
    Quantity,
    Taylor,
    beside,
    block,
    bordered,
    cholesky,
    inverse,
    root,
    smooth,
)

Floats = NDArray[np.float64]
Parts = Sequence[tuple[float, Jet]]
"""Units that are not alike side by side, each with its share of the fan."""


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


@dataclass(eq=False)
class Answers:
    """The matrices of a program.

    Attributes
    ----------
    sites : Sites
    normals : Split or Together
    by_weight : bool
        Whether answers depend on Gram entries by weight; else by value.
    """

    sites: Sites
    normals: Split | Together
    by_weight: bool
    _states: dict[Key, State] = field(default_factory=dict)

    def products(self, mine: Sequence[Jet], others: Parts) -> Quantity:
        """Products of the rows of two vectors over the fan."""
        total: Quantity | None = None
        for one, (share, other) in zip(mine, others, strict=True):
            gram = share * self.sites.gram(one, other)
            total = gram if total is None else total + gram
        assert total is not None
        return total

    def answer(self, key: Key, law: Law, v: Parts, own: Quantity) -> Jet:
        """Of W to a question with this Gram matrix."""
        if law.law == "orthogonal":
            return self._haar_answer(key, law, v, own)
        own = law.sigma_w2 * own + law.sigma_b2
        state = self._states.get(key)
        if state is None:
            cross, old = Quantity.constant(np.zeros((0, own.shape[0]))), Quantity.constant(np.zeros((0, 0)))
        else:
            cross, old = law.sigma_w2 * self.products(state.x, v) + law.sigma_b2, state.gram
        kept = conditioning.fresh_rows(old.value, cross.value, own.value)
        answer = self._by_weight(key, state, old, cross, own, kept) if self.by_weight else None
        if answer is None:
            answer = self._by_value(key, state, old, cross, own, kept)
        if state is None:
            questions = [self.sites.taken(part, kept) for _, part in v]
            self._states[key] = State(law, questions, self.sites.taken(answer, kept), block(own, kept, kept))
        else:
            pairs = zip(state.x, v, strict=True)
            state.x = [self.sites.side_by_side([x, self.sites.taken(part, kept)]) for x, (_, part) in pairs]
            state.u = self.sites.side_by_side([state.u, self.sites.taken(answer, kept)])
            columns = np.arange(old.shape[0])
            state.gram = bordered(old, block(cross, columns, kept), block(own, kept, kept))
        return answer

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

    def _haar_answer(self, key: Key, law: Law, v: Parts, own: Quantity) -> Jet:
        if key in self._states:
            raise ProgramError(
                f'expansion: the orthogonal matrix "{text_of(key)}" is asked more than once; use Gaussian weights'
            )
        if len(v) > 1:
            raise ProgramError(f'expansion: the orthogonal matrix "{text_of(key)}" is asked vectors side by side')
        rows = own.shape[0]
        kept = conditioning.fresh_rows(np.zeros((0, 0)), np.zeros((0, rows)), own.value)
        inner = block(own, kept, kept)
        if self.by_weight:
            answer, w = self._haar_by_weight(key, law, own, inner, kept)
        else:
            answer, w = self._haar_by_value(key, law, own, kept)
        self._states[key] = State(
            law, [self.sites.taken(part, kept) for _, part in v], self.sites.taken(w, kept), inner
        )
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

    def told(self, key: Key, shares: Sequence[float], c: Jet) -> list[Jet]:
        """Of W^T to the cotangents of the answers of W, for each part of the questions."""
        state, sites = self._states[key], self.sites
        alive = np.flatnonzero(~c.dead)
        d = sites.taken(c, alive)
        place = np.zeros((c.rows, len(alive)))
        place[alive, np.arange(len(alive))] = 1.0
        answers = self._backward_haar(state, d) if state.law.law == "orthogonal" else self._backward(state, shares, d)
        return [sites.mapped(y, place) if len(alive) < c.rows else y for y in answers]

    def _backward(self, state: State, shares: Sequence[float], d: Jet) -> list[Jet]:
        sites, law = self.sites, state.law
        own, u_new = sites.gram(d, d), sites.gram(state.u, d)
        old = state.backward
        cross = Quantity.constant(np.zeros((0, d.rows))) if state.d is None else sites.gram(state.d, d)
        kept = conditioning.fresh_rows(old.value, cross.value, own.value)
        fresh, x_fresh = [], None
        for share, x in zip(shares, state.x, strict=True):
            g, z = self.normals.linear(x.groups(), len(kept))
            fresh.append(sites.at(g, z))
            one = share**0.5 * sites.gram(x, fresh[-1])
            x_fresh = one if x_fresh is None else x_fresh + one
        bias = Quantity.constant(np.zeros((1, len(kept))))
        if sites.expanded:
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
            state.backward, state.told = block(own, kept, kept), block(u_new, rows, kept)
            return
        before = np.arange(cross.shape[0])
        state.d = sites.side_by_side([state.d, sites.taken(d, kept)])
        state.y = [sites.side_by_side([a, sites.taken(b, kept)]) for a, b in zip(state.y, answers, strict=True)]
        state.backward = bordered(state.backward, block(cross, before, kept), block(own, kept, kept))
        state.told = beside(state.told, block(u_new, rows, kept))

    def _backward_haar(self, state: State, d: Jet) -> list[Jet]:
        sites, law = self.sites, state.law
        if state.d is not None:
            raise ProgramError("expansion: an orthogonal matrix is asked backward more than once; use Gaussian weights")
        (x,) = state.x
        own, answers = sites.gram(d, d), sites.gram(state.u, d)
        none = np.zeros((0, d.rows))
        kept = conditioning.fresh_rows(np.zeros((0, 0)), none, own.value)
        g, z = self.normals.linear(x.groups(), len(kept))
        fresh = sites.at(g, z)

        def coefficients(s: Taylor, own: Taylor, answers: Taylor, x: Taylor, size: Taylor) -> list[Taylor]:
            return list(conditioning.backward_haar(law.sigma_w2, kept, s, own, (answers, x, size)))

        given = (state.gram, own, answers, sites.gram(x, fresh), sites.gram(fresh, fresh))
        on_x, on_g = smooth(sites.noise, coefficients, *given)
        y = sites.combined(on_x, x, np.ones(on_x.shape, bool))
        y = sites.summed(y, sites.combined(on_g, fresh, np.ones(on_g.shape, bool)))
        state.d = d
        return [y]


def _lower(kept: NDArray[np.intp], rows: int) -> NDArray[np.bool_]:
    """Which coefficients on fresh normals may differ from zero."""
    mask = np.ones((rows, len(kept)), bool)
    mask[kept] = np.tril(np.ones((len(kept), len(kept)), bool))
    return mask
