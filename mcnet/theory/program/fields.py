"""Vectors at infinite width: what is needed of them are their Gram matrices, and those follow from Gaussian means.

A field is a vector of infinitely many sites with R rows. There are five kinds:

* ``Atom``: its rows are jointly Gaussian over the sites: an input, an answer of a matrix, forward or backward;
* ``Sum``: linear maps of the rows of other fields, plus a constant;
* ``Function``: an activation of a Gaussian field, site by site;
* ``Slope``: the slope of an activation times a backward field, which is independent of it;
* ``Halves``: one field at half of the sites and another at the other half, the same halves always. What is made of it
  is made of both, so that no other field but a question holds one.

Answers of one matrix have the covariance sigma_w2 (question . question) + sigma_b2, those of different matrices are
independent, and so are forward and backward answers (gradient independence: exact in the limit, because cotangents are
odd in the readout). So the Gram matrix of any two fields is a sum of Gaussian means of two variables times other Gram
matrices.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mcnet.theory.program import means
from mcnet.theory.program.means import Shape

Floats = NDArray[np.float64]


@dataclass(eq=False)
class Field:
    """A vector; made by :class:`Algebra` alone.

    Attributes
    ----------
    index : int
        Its number in the order in which fields are made.
    mean : ndarray, shape (R,)
        Mean of each row over the sites.
    gaussian : bool
        Whether its rows are jointly Gaussian with those of other such fields.
    """

    index: int
    mean: Floats
    gaussian: bool

    @property
    def rows(self) -> int:
        """R."""
        return len(self.mean)


@dataclass(frozen=True)
class Question:
    """What a matrix is asked: fields side by side, each with its share of the fan."""

    parts: tuple[tuple[float, Field], ...]


@dataclass(eq=False)
class Atom(Field):
    """Gaussian rows.

    Attributes
    ----------
    family : hashable
        Atoms of different families are independent.
    question : Question or None
        Covariances are sigma_w2 (question . question') + sigma_b2.
    sigma_w2, sigma_b2 : float
    covariance : ndarray, shape (R, R), or None
        The covariance itself where there is no question; two such atoms of one family are the same.
    """

    family: Hashable
    question: Question | None
    sigma_w2: float
    sigma_b2: float
    covariance: Floats | None


@dataclass(eq=False)
class Sum(Field):
    """Sum of matrices (R, R_i) times fields, plus a constant (R,)."""

    terms: tuple[tuple[Floats | float, Field], ...]
    constant: Floats


@dataclass(eq=False)
class Function(Field):
    """An activation of a Gaussian field."""

    shape: Shape
    argument: Field


@dataclass(eq=False)
class Slope(Field):
    """The slope of an activation at rows ``places`` of a Gaussian field, times a backward field."""

    shape: Shape
    argument: Field
    places: NDArray[np.intp]
    cotangent: Field


@dataclass(eq=False)
class Halves(Field):
    """One field at the first half of the sites, another at the second half."""

    first: Field
    second: Field


Pair = tuple[Field, Field]


@dataclass
class Algebra:
    """Makes fields and knows their Gram matrices."""

    _grams: dict[tuple[int, int], Floats] = field(default_factory=dict)
    _fronts: dict[tuple[int, int, Shape, Shape], Floats] = field(default_factory=dict)
    _count: int = 0

    def _next(self) -> int:
        self._count += 1
        return self._count

    # ------------------------------------------------------------ fields
    def given(self, family: Hashable, covariance: Floats) -> Field:
        """Gaussian rows of mean zero with a given covariance."""
        rows = len(covariance)
        return Atom(self._next(), np.zeros(rows), True, family, None, 0.0, 0.0, np.asarray(covariance, np.float64))

    def answer(self, family: Hashable, question: Question, sigma_w2: float, sigma_b2: float) -> Field:
        """The answer of a matrix, W or W^T."""
        rows = question.parts[0][1].rows
        return Atom(self._next(), np.zeros(rows), True, family, question, sigma_w2, sigma_b2, None)

    def sum(self, terms: list[tuple[Floats | float, Field]], constant: Floats | float = 0.0) -> Field:
        """A sum of linear maps of the rows of fields, plus a constant."""
        if len(terms) == 1 and isinstance(terms[0][0], float) and terms[0][0] == 1.0 and not np.any(constant):
            return terms[0][1]
        if any(isinstance(one, Halves) for _, one in terms):
            sides = zip(*(_sides(one) for _, one in terms), strict=True)
            first, second = ([(a, one) for (a, _), one in zip(terms, side, strict=True)] for side in sides)
            return self.halves(self.sum(first, constant), self.sum(second, constant))
        parts = [_on_rows(a, one.mean) for a, one in terms]
        shift = np.broadcast_to(np.asarray(constant, np.float64), parts[0].shape)
        mean = shift + np.sum(parts, axis=0)
        return Sum(self._next(), mean, all(one.gaussian for _, one in terms), tuple(terms), shift)

    def function(self, shape: Shape, argument: Field) -> Field:
        """An activation of a Gaussian field."""
        assert argument.gaussian
        if isinstance(argument, Halves):
            return self.halves(self.function(shape, argument.first), self.function(shape, argument.second))
        mean = means.mean(shape, self.variances(argument), argument.mean)
        return Function(self._next(), mean, False, shape, argument)

    def slope(self, shape: Shape, argument: Field, places: NDArray[np.intp], cotangent: Field) -> Field:
        """The slope of an activation times a cotangent."""
        assert argument.gaussian
        assert cotangent.gaussian
        if isinstance(argument, Halves) or isinstance(cotangent, Halves):
            pairs = zip(_sides(argument), _sides(cotangent), strict=True)
            return self.halves(*(self.slope(shape, one, places, other) for one, other in pairs))
        return Slope(self._next(), np.zeros(cotangent.rows), False, shape, argument, places, cotangent)

    def halves(self, first: Field, second: Field) -> Field:
        """The first of two fields at the first half of the sites, the second at the second half."""
        first, second = _sides(first)[0], _sides(second)[1]
        mean = 0.5 * (first.mean + second.mean)
        return Halves(self._next(), mean, first.gaussian and second.gaussian, first, second)

    # ------------------------------------------------------------ Gram matrices
    def question_gram(self, a: Question, b: Question) -> Floats:
        """question . question' over the fan."""
        pairs = zip(a.parts, b.parts, strict=True)
        return np.asarray(np.sum([share * self.gram(p, q) for (share, p), (_, q) in pairs], axis=0))

    def gram(self, a: Field, b: Field) -> Floats:
        """Mean over the sites of a_r b_s (forward), or the sum over them (backward): shape (R, S)."""
        work = [(a, b)]
        while work:
            one, two = _ordered(*work[-1])
            key = (one.index, two.index)
            if key in self._grams:
                work.pop()
                continue
            missing = [pair for pair in self._needs(one, two) if self._known(*pair) is None]
            if missing:
                work += missing
            else:
                self._grams[key] = self._computed(one, two)
        found = self._known(a, b)
        assert found is not None
        return found

    def covariance(self, a: Field, b: Field) -> Floats:
        """The same without the product of the means."""
        return self.gram(a, b) - np.outer(a.mean, b.mean)

    def variances(self, a: Field) -> Floats:
        """Variance of each row."""
        return np.maximum(np.diagonal(self.covariance(a, a)), 0.0)

    def _known(self, a: Field, b: Field) -> Floats | None:
        if a.index >= b.index:
            return self._grams.get((a.index, b.index))
        found = self._grams.get((b.index, a.index))
        return None if found is None else found.T

    def _needs(self, a: Field, b: Field) -> list[Pair]:
        """Pairs whose Gram matrices are used by that of a and b, a the younger."""
        if isinstance(a, Halves) or isinstance(b, Halves):
            return list(zip(_sides(a), _sides(b), strict=True))
        if isinstance(a, Sum):
            return [(one, b) for _, one in a.terms]
        if isinstance(b, Sum):
            return [(a, one) for _, one in b.terms]
        if isinstance(a, Atom) and isinstance(b, Atom):
            if a.family != b.family or a.question is None or b.question is None:
                return []
            return [(p, q) for (_, p), (_, q) in zip(a.question.parts, b.question.parts, strict=True)]
        arguments = [one.argument for one in (a, b) if isinstance(one, Function | Slope)]
        pairs = [(one, one) for one in arguments]
        if len(arguments) == 2:
            pairs.append((arguments[0], arguments[1]))
        backs = [one.cotangent if isinstance(one, Slope) else one for one in (a, b)]
        if any(isinstance(one, Slope) for one in (a, b)):
            return [*pairs, (backs[0], backs[1])]
        if len(arguments) == 1:
            pairs.append((arguments[0], a if isinstance(a, Atom) else b))
        return pairs

    def _computed(self, a: Field, b: Field) -> Floats:
        if isinstance(a, Halves) or isinstance(b, Halves):
            first, second = (self.gram(*pair) for pair in zip(_sides(a), _sides(b), strict=True))
            return 0.5 * (first + second)
        if isinstance(a, Sum):
            parts = [_on_rows(m, self.gram(one, b)) for m, one in a.terms]
            return np.asarray(np.sum(parts, axis=0) + np.outer(a.constant, b.mean))
        if isinstance(b, Sum):
            parts = [_on_rows(m, self.gram(one, a)).T for m, one in b.terms]
            return np.asarray(np.sum(parts, axis=0) + np.outer(a.mean, b.constant))
        if isinstance(a, Atom) and isinstance(b, Atom):
            return self._of_atoms(a, b)
        if isinstance(a, Slope) or isinstance(b, Slope):
            return self._of_slopes(a, b)
        if isinstance(a, Function) and isinstance(b, Function):
            return self._front(a, a.shape, b, b.shape)
        function, atom = (a, b) if isinstance(a, Function) else (b, a)
        assert isinstance(function, Function)
        slopes = means.mean(function.shape.derivative, self.variances(function.argument), function.argument.mean)
        gram = slopes[:, None] * self.covariance(function.argument, atom)  # E f(u) v = E f' Cov(u, v)
        return gram if function is a else gram.T

    def _of_atoms(self, a: Atom, b: Atom) -> Floats:
        if a.family != b.family:
            return np.zeros((a.rows, b.rows))
        if a.question is None or b.question is None:
            assert a.covariance is not None
            return a.covariance
        return a.sigma_w2 * self.question_gram(a.question, b.question) + a.sigma_b2

    def _of_slopes(self, a: Field, b: Field) -> Floats:
        """Means of slopes times the Gram matrix of the cotangents, which are independent of them."""
        if isinstance(a, Slope) and isinstance(b, Slope):
            back = self.gram(a.cotangent, b.cotangent)
            if not back.any():
                return back
            return self._front(a, a.shape, b, b.shape)[np.ix_(a.places, b.places)] * back
        one, other = (a, b) if isinstance(a, Slope) else (b, a)
        assert isinstance(one, Slope)
        slopes = means.mean(one.shape, self.variances(one.argument), one.argument.mean)[one.places]
        gram = slopes[:, None] * self.gram(one.cotangent, other)
        return gram if one is a else gram.T

    def _front(self, a: Function | Slope, f: Shape, b: Function | Slope, g: Shape) -> Floats:
        key = (a.argument.index, b.argument.index, f, g)
        if key not in self._fronts:
            u, v = a.argument, b.argument
            covariance = (self.variances(u), self.variances(v), self.covariance(u, v))
            self._fronts[key] = means.products(f, g, covariance, (u.mean, v.mean))
        return self._fronts[key]


def _sides(a: Field) -> Pair:
    """What a field is at the two halves of the sites."""
    return (a.first, a.second) if isinstance(a, Halves) else (a, a)


def _ordered(a: Field, b: Field) -> Pair:
    return (a, b) if a.index >= b.index else (b, a)


def _on_rows(matrix: Floats | float, value: Floats) -> Floats:
    return matrix * value if isinstance(matrix, float) else matrix @ value
