"""Fisher information of one input with as many outputs as the width: its eigenvalues and their moments."""

from __future__ import annotations

import numpy as np

from mcnet.observables.observable import MOST_MOMENTS, Observable, Options, Values, choice, whole_number
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

MOMENTS = 4

_THETA = (
    "Theta = sum_l q_hat_(l-1) J_l J_l^T, J_l = du^L/du^l, q_hat_0 = |x|^2/M (M the width, whatever the dimension of "
    "x; q_hat of layer 0 is |x|^2/M_0), of input 0 and the output u^L of the last hidden layer "
    "before its activation: the non-zero part of the Fisher matrix of all hidden weights; the readout is left out"
)
_REFERENCE = "Hayase and Karakida 2020, arXiv:2006.07814"


def _variables(point: Point, options: Options) -> tuple[Variable, ...]:
    trained = "; trained biases add 1/M to every q_hat" if point.train_biases else ""
    unit = f"in units of M: eigenvalues of the Fisher matrix divided by M{trained}"
    values = Variable(
        name="conditional_fim_eigenvalue",
        group="conditional_fim",
        dims=("rank",),
        long_name="eigenvalues of the Fisher information of one input with M outputs",
        symbol="lambda_i(Theta)",
        definition=f"of {_THETA}; the largest first",
        normalisation=unit,
        reference=_REFERENCE,
    )
    moments = Variable(
        name="conditional_fim_moment",
        group="conditional_fim",
        dims=("order",),
        long_name="moments of the spectrum of the Fisher information of one input with M outputs",
        symbol="m_k(Theta)",
        definition=f"(1/M) tr Theta^k, k = 1, 2, ...; {_THETA}",
        normalisation=unit,
        reference=_REFERENCE,
    )
    return (values, moments) if options.get("keep", "values") == "values" else (moments,)


def _evaluate(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.fisher is not None
    values = sample.fisher
    orders = np.arange(1, options.get("moments", MOMENTS) + 1)
    moments = np.stack([(values**order).mean(1) for order in orders], axis=1)
    found = (values, moments) if options.get("keep", "values") == "values" else (moments,)
    return tuple(Values(part, np.ones(part.shape, bool)) for part in found)


OBSERVABLES = {
    "conditional_fim": Observable(
        name="conditional_fim",
        options={
            "keep": choice('"values" (the default: all eigenvalues) or "moments" only', "values", "moments"),
            "moments": whole_number(
                f"the highest order k of the moments (1/M) tr Theta^k, by default {MOMENTS}", MOST_MOMENTS
            ),
        },
        samplers=("explicit",),
        needs=frozenset({"signal", "fisher"}),
        variables=_variables,
        check=lambda point, options: [],
        evaluate=_evaluate,
        sizes=lambda point, options: {"rank": point.width, "order": options.get("moments", MOMENTS)},
        limitation="A full spectrum needs whole matrices, which are never built there.",
    )
}
