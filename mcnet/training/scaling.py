"""In which parameters networks are trained: the rate of each matrix, and the scale it starts from.

In an abc-parametrisation (Yang and Hu 2021, arXiv:2011.14522) W = M^-a w with w ~ N(0, M^-2b) and rate eta M^-c, so a
step of gradient descent is W - eta M^(-2a - c) dE/dW. Exponents differ for matrices that read the input, for the
readout, and for those between. ``standard`` and ``ntk`` are those of the tangent kernel, with the factors sigma_w2/fan
and sigma_b2 that belong to ``ntk``. In muP a bias of a hidden layer is scaled as a matrix that reads the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mcnet.programs.counted import Counted
from mcnet.programs.names import READOUT, Key
from mcnet.programs.parameters import Law, Laws, Network, Parameters, called
from mcnet.programs.questions import Parameterization, Question
from mcnet.programs.tape import Vector
from mcnet.programs.vocabulary import Axes
from mcnet.recipe import Triple

INPUT_MATRIX, HIDDEN, OUTPUT = range(3)

MUP: Mapping[bool, tuple[Triple, Triple, Triple]] = {
    False: ((-0.5, 0.0, 0.5), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0)),
    True: ((-0.5, 0.0, 0.5), (0.5, 0.5, 0.5), (0.5, 1.0, 0.5)),
}
"""Exponents (a, b, c) of muP, for gradients and (True) for Adam, whose steps do not scale with them."""


class Factors(NamedTuple):
    """Of one matrix.

    Attributes
    ----------
    weight, bias : float
        dW/dw and db/dbeta: what a trained parameter is multiplied with; 0 where biases are not trained.
    rate : float
        Its learning rate over that of the recipe.
    """

    weight: float
    bias: float
    rate: float


@dataclass(frozen=True)
class Scaling:
    """The parametrisation of a training.

    Attributes
    ----------
    base : Parameterization
        Where there are no exponents.
    abc : tuple of triples, or None
    width : int
        M.
    roles : mapping of name to int
        Which of three numbers belongs to a matrix.
    """

    base: Parameterization
    abc: tuple[Triple, Triple, Triple] | None
    width: int
    roles: Mapping[Key, int]

    def factors(self, key: Key, law: Law, fan: int) -> Factors:
        """Of a matrix of this name and law, whose questions have this fan."""
        if self.abc is None:
            alpha, beta = self.base.scales(law, fan)
            return Factors(alpha**0.5, beta**0.5, 1.0)
        (a, _, c), role, m = self.abc, self.roles[key], float(self.width)
        bias = (1.0 if role == OUTPUT else m ** -a[INPUT_MATRIX]) if self.base.train_biases else 0.0
        return Factors(m ** -a[role], bias, m ** -c[role])

    def scales_of(self, question: Question) -> tuple[float, float]:
        """(alpha, beta): what products of cotangents are multiplied with in kernel and gradient."""
        weight, bias, rate = self.factors(question.key, question.law, question.question.fan)
        return rate * weight**2, rate * bias**2

    def tap_weights(self, question: Vector) -> tuple[float, ...]:
        """See :meth:`mcnet.programs.questions.Parameterization.tap_weights`."""
        return self.base.tap_weights(question)

    def laws(self, laws: Laws) -> Laws:
        """The laws of matrices that start so."""
        if self.abc is None:
            return laws
        a, b, _ = self.abc
        given = {}
        for key, role in self.roles.items():
            law = laws.of(key)
            usual = 0.0 if role == INPUT_MATRIX else 1.0  # variance sigma_w2 / fan, a + b = 1/2 but for the input
            spread = float(self.width) ** (usual - 2.0 * (a[role] + b[role]))
            given[key] = (law.sigma_w2 * spread, law.sigma_b2, law.law)
        return Laws(given)


def roles_of(network: Network, parameters: Parameters, axes: Axes, dimension: int) -> dict[Key, int]:
    """Which matrices read the input alone, which one is the readout."""
    w = Counted(parameters, parameters.width)
    x = w.input(axes, dimension)
    called(network, w, x, parameters)
    inner = {ask.key for ask in w.asks if ask.question is not x}
    return {key: OUTPUT if key == READOUT else HIDDEN if key in inner else INPUT_MATRIX for key in w.matrices}
