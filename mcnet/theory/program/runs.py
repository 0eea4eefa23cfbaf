"""What is read off a program at one set of sites: Gram matrices, cotangents, the tangent kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcnet.programs.axes import Axes
from mcnet.programs.names import INPUT, READOUT, Key, Name, ProgramError, found_by_name
from mcnet.programs.parameters import Law, Laws, Network, Parameters, called
from mcnet.theory.program import layout
from mcnet.theory.program.finite_width import Ask, Cotangent, How, SitesInterpreter, Vector
from mcnet.theory.program.normals import Split, Together
from mcnet.theory.program.quantities import Noise, Quantity, Taylor, product, reciprocal, root, smooth

Floats = NDArray[np.float64]


EXPANDED, PLAIN = How(), How(expanded=False)
"""With 1/M terms, and at infinite width alone."""


@dataclass(frozen=True, eq=False)
class Program:
    """A program with everything that it is given.

    Attributes
    ----------
    network : callable
    parameters : Parameters
    laws : Laws
    gram : ndarray, shape (R, R)
        Of the rows of the input.
    axes : dict
        Its row axes, the inputs first.
    """

    network: Network
    parameters: Parameters
    laws: Laws
    gram: Floats
    axes: Axes

    def run(self, normals: Split | Together, by_weight: bool, backward: bool, how: How = EXPANDED) -> Run:
        """At one set of sites."""
        w = SitesInterpreter(self.parameters, self.laws, self.axes[INPUT], normals, by_weight, how)
        start = w.input(self.gram, self.axes)
        output = called(self.network, w, start, self.parameters)
        if not isinstance(output, Vector):
            raise ProgramError(f"the program returns a {type(output).__name__}: return a vector of it")
        w.seen.setdefault(("h", 0), start)
        return Run(w, output, w.cotangents(output) if backward else None)


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
            raise ProgramError(UNREACHED)
        parts = [self.interpreter.sites.gram(c, c) for c in self.cotangents[id(v)]]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def kernel(self, parameterization: str, train_biases: bool) -> Quantity:
        """The tangent kernel of one output; with ``standard`` over M."""
        w = self.interpreter
        return kernel(w.sites.noise, self.terms(), w.width, parameterization, train_biases)

    def grams(self) -> list[tuple[Floats, float]]:
        """Products of the rows of all seen vectors, and of all questions of one matrix, each with its size."""
        w = self.interpreter
        pairs = [(v, v) for v in w.seen.values()]
        pairs += [(a.question, b.question) for a in w.asks for b in w.asks if a.key == b.key and a is not b]
        return [(w.question_gram(a, b).value, float(np.abs(w.question_gram(b, b).value).max())) for a, b in pairs]

    def terms(self) -> list[Term]:
        """What the tangent kernel is a sum of."""
        w, found = self.interpreter, []
        assert self.cotangents is not None
        rows = layout.size_of(layout.of_cotangents(self.output.axes, w.alone)) * w.copies
        reached = [ask for ask in w.asks if id(ask.answer) in self.cotangents]
        for one in reached:
            for other in reached:
                if one.key != other.key:
                    continue
                if one.answer.parts:
                    (c,), (d,) = self.cotangents[id(one.answer)], self.cotangents[id(other.answer)]
                    back = w.sites.gram(c, d)
                else:  # the readout: one unit, whose cotangents are 1
                    back = Quantity.constant(w.readout_products(one.answer.axes, other.answer.axes))
                index, gather = _contraction(one, other, w.alone, rows)
                question = one.question
                front = w.question_gram(question, other.question)
                plain = w.entries_gram(question, other.question) or front
                found.append(Term(one.law, question.fan, front, plain, back, index, gather, rows))
        return found

    def settled(self) -> Settled:
        """All numbers of the run, without its sites."""
        w, cotangents, terms = self.interpreter, {}, None
        if self.cotangents is not None:
            reached = [key for key, v in w.seen.items() if id(v) in self.cotangents]
            cotangents, terms = {key: self.backward(key) for key in reached}, self.terms()
        answers = [ask for ask in w.asks if ask.key == READOUT]
        outputs = None
        if len(answers) == 1:
            law, question = answers[0].law, answers[0].question
            outputs = w.question_gram(question, question) * law.sigma_w2 + law.sigma_b2
        return Settled(w.sites.noise, w.width, {key: self.gram(key) for key in w.seen}, cotangents, terms, outputs)


UNREACHED = "expansion: no cotangents of the outputs reach this vector on their way to a matrix"


@dataclass(frozen=True, eq=False)
class Term:
    """Two questions to one matrix: a term of the tangent kernel.

    Attributes
    ----------
    law : Law
    fan : float
    front, plain, back : Quantity
        Products of the questions over the fan, the same without the variances of taps, and those of the cotangents of
        the answers.
    index, gather : ndarray
        Which products of questions stand by those of cotangents, and where their sums go.
    rows : int
        Of the output.
    """

    law: Law
    fan: float
    front: Quantity
    plain: Quantity
    back: Quantity
    index: NDArray[np.intp]
    gather: Floats
    rows: int

    def scaled_front(self, width: float, parameterization: str, train_biases: bool) -> Quantity:
        """alpha question . question + beta; of ``standard`` over M."""
        law, gram = self.law, self.plain
        if parameterization == "ntk":
            return self.front * law.sigma_w2 + (law.sigma_b2 if train_biases else 0.0)
        if parameterization not in ("pdlt", "standard"):
            raise ProgramError(f'parameterization "{parameterization}" is not known (standard, ntk, pdlt)')
        beta = 1.0 if train_biases else 0.0
        if parameterization == "pdlt":
            return gram + beta
        gram = gram * (self.fan / width)
        return Quantity(gram.value, gram.response, gram.shift + beta)


def kernel(noise: Noise, terms: Sequence[Term], width: float, parameterization: str, train_biases: bool) -> Quantity:
    """The tangent kernel of one output from its terms; with ``standard`` over M."""
    rows = terms[0].rows
    total = Quantity.constant(np.zeros((rows, rows)))
    for term in terms:
        front = term.scaled_front(width, parameterization, train_biases).taken(term.index)
        both = product(noise, term.back.reshaped(term.back.value.size), front)
        total = total + both.mapped(term.gather, (rows, rows))
    return total


@dataclass(frozen=True, eq=False)
class Settled:
    """The numbers of a run: all that is kept of it.

    Attributes
    ----------
    noise : Noise
    width : float
    seen : dict of name to Quantity
        Products of the rows of seen vectors.
    reached : dict of name to Quantity
        Products of the rows of their cotangents, where there are any.
    terms : list of Term or None
        Of the tangent kernel, after a backward pass.
    outputs : Quantity or None
        Covariance of the outputs given all hidden layers, sigma_w2 question.question + sigma_b2, where there is one
        readout.
    """

    noise: Noise
    width: float
    seen: dict[Key, Quantity]
    reached: dict[Key, Quantity]
    terms: list[Term] | None
    outputs: Quantity | None

    def gram(self, name: Name) -> Quantity:
        """Products of the rows of a seen vector."""
        return found_by_name(self.seen, name, "vector")

    def backward(self, name: Name) -> Quantity:
        """Products of the rows of the cotangents at a seen vector."""
        key = found_by_name({one: one for one in self.seen}, name, "vector")
        if key not in self.reached:
            raise ProgramError(UNREACHED)
        return self.reached[key]

    def correlation(self, name: Name) -> Quantity:
        """Cosines of the rows of a seen vector."""

        def cosine(gram: Taylor) -> list[Taylor]:
            rows = np.arange(len(gram.zero))
            inverse = reciprocal(root(gram[rows, rows]))
            return [gram * inverse[:, None] * inverse[None, :]]

        gram = self.gram(name)
        if (np.diagonal(gram.value) <= 0.0).any():
            raise ProgramError("expansion: a row of length zero has no correlation")
        return smooth(self.noise, cosine, gram)[0]

    def kernel(self, parameterization: str, train_biases: bool) -> Quantity:
        """The tangent kernel of one output; with ``standard`` over M."""
        assert self.terms is not None
        return kernel(self.noise, self.terms, self.width, parameterization, train_biases)


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
