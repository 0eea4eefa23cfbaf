"""The Fisher matrix of networks whose outputs are the logits of a softmax: its largest eigenvalues and its trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcnet.kernels import linalg
from mcnet.observables import tangent
from mcnet.observables.observable import Observable, Options, Values
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.training.kernels import MOST_OUTPUTS, of_softmax
from mcnet.variables import Variable

_EIGENVALUE = Variable(
    name="fim_softmax_eigenvalue",
    group="fim",
    dims=("class_rank",),
    long_name="largest eigenvalues of the Fisher matrix of a softmax output",
    symbol="lambda_i(F)",
    definition="the C largest eigenvalues of F = (1/T) sum_t J_t^T (diag p_t - p_t p_t^T) J_t, p_t the softmax of the "
    "C outputs at input t, from its dual (1/T) A^T Theta A, A_t = diag sqrt(p_t) - p_t sqrt(p_t)^T; the largest first: "
    "C - 1 that theory separates from the bulk where T is large, and the next one",
    normalisation="",
    reference="Karakida, Akaho, Amari 2021, Neural Computation 33; Papyan 2019, arXiv:1901.08244",
)
_TOP = replace(
    _EIGENVALUE,
    name="fim_softmax_top",
    dims=(),
    long_name="mean of the C - 1 largest eigenvalues of the Fisher matrix of a softmax output",
    symbol="lambda_top(F)",
    definition="mean of the C - 1 largest eigenvalues of which fim_softmax_eigenvalue has C",
)
_TRACE = replace(
    _EIGENVALUE,
    name="fim_softmax_trace",
    dims=(),
    long_name="trace of the Fisher matrix of a softmax output",
    symbol="tr F",
    definition="sum of all eigenvalues of F, not divided by the number of parameters",
)


def _evaluate(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.tangent is not None
    assert sample.outputs is not None
    assert point.outputs is not None
    backend = sample.backend
    f = backend.xp.astype(sample.outputs, backend.xp.float64)
    dual = of_softmax(backend, sample.tangent / point.inputs.count, f)
    values = backend.fetch(linalg.eigenvalues(backend.xp, dual))[:, : point.outputs]  # (N, C)
    found = values, values[:, :-1].mean(axis=1), backend.fetch(backend.xp.linalg.trace(dual))
    return tuple(Values(part, np.ones(part.shape, bool)) for part in found)


def _check(point: Point, options: Options) -> list[str]:
    if point.outputs == 1:
        return ["the softmax of one output is always 1; give at least two, network.outputs = 2"]
    if point.output_normalization != "none":
        return [f'it is read off networks without normalisation of the outputs, not "{point.output_normalization}"']
    if (size := point.inputs.count * (point.outputs or 0)) > MOST_OUTPUTS:
        return [f"needs the kernel of {size} outputs times inputs; at most {MOST_OUTPUTS} are possible"]
    return tangent.check(point, options)


OBSERVABLES = {
    "fim_softmax_eigenvalue": Observable(
        name="fim_softmax_eigenvalue",
        options={},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "tangent"}),
        variables=lambda point, options: tuple(
            tangent.described(variable, point) for variable in (_EIGENVALUE, _TOP, _TRACE)
        ),
        check=_check,
        evaluate=_evaluate,
        sizes=lambda point, options: {"class_rank": point.outputs or 1},
    ),
}
