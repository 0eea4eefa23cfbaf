"""The conjugate kernel, the Gram matrix of the last hidden layer over many inputs: its eigenvalues."""

from __future__ import annotations

import numpy as np

from mcnet.observables.observable import Observable, Options, Values
from mcnet.observables.rows import layers_seen, row_axes
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

_EIGENVALUE = Variable(
    name="conjugate_kernel_eigenvalue",
    group="conjugate_kernel",
    dims=("rank",),
    long_name="eigenvalues of the conjugate kernel",
    symbol="lambda_i(K)",
    definition="of K_ab = h_a . h_b / M over the T inputs, h the activations of the last hidden layer; the largest "
    "first, exactly zero beyond the width. Precision mixed: those below 1e-6 of the largest are rounding",
    normalisation="divided by the width M, not by the number of inputs",
    reference="Fan and Wang 2020, arXiv:2005.11879",
)


def _evaluate(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    kernel = sample.h_overlaps()[:, -1]  # (N, T, T)
    finite = np.asarray(np.isfinite(kernel).all(axis=(1, 2)))
    values = np.linalg.eigvalsh(np.where(finite[:, None, None], kernel, 0.0))[:, ::-1].copy()
    values[:, point.width :] = 0.0
    values = np.where(finite[:, None], np.maximum(values, 0.0), np.nan)
    return (Values(values, np.ones(values.shape, bool)),)


def _check(point: Point, options: Options) -> list[str]:
    if row_axes(point, "h") or not layers_seen(point, "h")[-1]:
        return ["it is over inputs of one vector each at the last layer, which this architecture does not have"]
    return [] if point.inputs.count > 1 else ["a spectrum needs inputs; use 2 or more"]


OBSERVABLES = {
    "conjugate_kernel": Observable(
        name="conjugate_kernel",
        options={},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal"}),
        variables=lambda point, options: (_EIGENVALUE,),
        check=_check,
        evaluate=_evaluate,
        sizes=lambda point, options: {"rank": point.inputs.count},
    )
}
