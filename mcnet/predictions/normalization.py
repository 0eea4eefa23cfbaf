"""Limits of networks with batch normalisation in every hidden layer, on exchangeable inputs; the constant mode of F."""

from __future__ import annotations

import math

import numpy as np

from mcnet.coordinates import DENSE
from mcnet.predictions.ensemble import Ensemble, Floats
from mcnet.predictions.registry import Curve, Predictor, Unknown, curve, register
from mcnet.theory import normalization, tangent

FINITE_VARIANCE = 6
"""Inputs from which on squared gradients have a variance: E 1/sigma^4 is proportional to 1/((T - 3)(T - 5))."""

NO_TERMS = "no 1/M theory of batch normalisation in hidden layers"


def _batch(ensemble: Ensemble) -> int:
    """T, where the theory of batch normalisation holds."""
    point = ensemble.point
    if point.architecture != DENSE or point.normalization != "hidden-batch":
        raise Unknown("predicted of dense networks with batch normalisation in their hidden layers")
    if point.keys.get("epsilon", 0.0) != 0.0:
        raise Unknown(f"the theory of batch normalisation is for epsilon = 0, not {point.keys['epsilon']:g}")
    exchangeable(ensemble.gram)
    return point.inputs.count


def exchangeable(gram: Floats) -> tuple[float, float]:
    """K_11 and K_12 of inputs that are exchangeable."""
    diagonal, off = np.diagonal(gram), gram[~np.eye(len(gram), dtype=bool)]
    if not (np.allclose(diagonal, diagonal[0], rtol=1e-9) and np.allclose(off, off[:1], rtol=0.0, atol=1e-9)):
        raise Unknown("the inputs are not exchangeable: their Gram matrix has unequal entries")
    return float(diagonal[0]), float(off[0]) if off.size else math.nan


def _gram(place: int) -> Predictor:
    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        count = _batch(ensemble)
        entry = normalization.gram(ensemble.point.activation, count)[place]
        return curve([exchangeable(ensemble.gram)[place], *[entry] * ensemble.point.depth], why_not=NO_TERMS)

    return predictor


def _growth(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """chi_BN; at layer 1 the Gram of the inputs stands in the place of the fixed point."""
    point, count = ensemble.point, _batch(ensemble)
    if count < FINITE_VARIANCE:
        raise Unknown(f"below {FINITE_VARIANCE} inputs the growth has no variance, and its mean no error")
    chi = normalization.chi(point.activation, count)
    k_11, k_12 = normalization.gram(point.activation, count)
    first, other = exchangeable(ensemble.gram)
    step = chi * (k_11 - k_12) / (first - other) if first > other else math.nan
    limit = np.full(point.depth + 1, chi)
    limit[[0, 1, -1]] = math.nan, step, math.nan
    return curve(limit, why_not=NO_TERMS)


def _fisher(name: str) -> Predictor:
    """Eigenvalues of batch-normalised networks, of weights alone or with the biases; ``standard`` over the width."""

    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        point, count = ensemble.point, _batch(ensemble)
        if point.parameterization != "standard" or not point.outputs:
            raise Unknown('known for outputs in parameterization = "standard"')
        if 2 * count > point.width:
            raise Unknown("known for many more units than inputs")
        found = normalization.fim(point.activation, count, point.depth + 1)
        return curve({"lambda_1": found.lambda_1, "trace": point.outputs * found.trace}[name], why_not=NO_TERMS)

    return predictor


def _constant_mode(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """Of dense networks without normalisation: the mean of all entries of the limit of the kernel."""
    point = ensemble.point
    if point.is_program or point.normalization != "none" or not point.outputs:
        raise Unknown("predicted of dense networks without normalisation, or with that of the hidden layers")
    count = point.inputs.count
    whole = len(ensemble.gram) == count
    gram = ensemble.gram if whole else ensemble.gram[:2, :2]
    if not whole:
        exchangeable(ensemble.gram)
    standard = point.parameterization == "standard"
    width = float(point.width)
    theta = tangent.kernel(
        gram, point.activation, point.sigma_w2, point.sigma_b2, point.depth,
        point.parameterization, point.train_biases, width=width if standard else None,
    )  # fmt: skip
    value = theta.mean() if whole else (theta[0, 0] + (count - 1) * theta[0, 1]) / count
    return curve(float(value) / (width if standard else 1.0), why_not="no 1/M theory of the constant mode")


register("bn_gram_diagonal", _gram(0))
register("bn_gram_off_diagonal", _gram(1))
register("bn_gradient_growth", _growth)
register("fim_trace", _fisher("trace"))
register("fim_constant_mode", _constant_mode)
register("fim_constant_mode", _fisher("lambda_1"))
