"""Predictions for dense networks: limits and coefficients of 1/M of lengths, correlations, gradients and the kernel.

In the ``standard`` parametrisation the tangent kernel is that of Theta/M. Of any number of inputs: the law of one or
two of them is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet.activations.table import Activation
from mcnet.point import Point
from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.registry import Curve, Predictor, Unknown, register
from mcnet.theory import finite_width
from mcnet.theory.finite_width import Coefficients, Signal

Floats = NDArray[np.float64]


def coefficients(ensemble: Ensemble, inputs: tuple[int, ...]) -> Coefficients:
    """Limits and 1/M coefficients for one input or a pair."""
    point = ensemble.point
    return _coefficients(
        _gram(ensemble, inputs), _law(point), point.parameterization, point.train_biases, *_top(ensemble)
    )


def signal(ensemble: Ensemble, inputs: tuple[int, ...]) -> Signal:
    """The same of lengths and correlations alone: with the backward pass where there are outputs, which ask for it."""
    if ensemble.point.outputs:
        c = coefficients(ensemble, inputs)
        return Signal(*(getattr(c, name) for name in Signal._fields))
    return _signal(_gram(ensemble, inputs), _law(ensemble.point), *_top(ensemble))


def _of_one(ensemble: Ensemble, inputs: tuple[int, ...]) -> tuple[Signal, int]:
    """A signal that says all of an input, and which of its inputs that is.

    Of two inputs that of the pair: their correlation needs it anyway.
    """
    if inputs[0] < 2 and ensemble.point.inputs.count == 2:
        try:
            return signal(ensemble, (0, 1)), inputs[0]
        except ValueError:  # of the pair, maybe not of the input
            pass
    return signal(ensemble, inputs), 0


class _Law(NamedTuple):
    activation: Activation
    weights: str
    sigma_w2: float
    sigma_b2: float
    depth: int


def _law(point: Point) -> _Law:
    weights = "orthogonal" if point.weights == "orthogonal" else "gaussian"
    return _Law(point.activation, weights, point.sigma_w2, point.sigma_b2, point.depth)


def _gram(ensemble: Ensemble, inputs: tuple[int, ...]) -> bytes:
    return ensemble.gram[np.ix_(inputs, inputs)].tobytes()


def _top(ensemble: Ensemble) -> tuple[bool, float]:
    """Whether inputs are fixed, and M_0/M where it matters."""
    point = ensemble.point
    matters = ensemble.fluctuating or point.weights != "gaussian"
    matters = matters or (bool(point.outputs) and point.parameterization == "standard")  # alpha_1 = M_0
    return not ensemble.fluctuating, point.inputs.dimension / point.width if matters else 1.0


@lru_cache(maxsize=4096)
def _coefficients(
    gram: bytes, law: _Law, parameterization: str, train_biases: bool, fixed_inputs: bool, ratio: float
) -> Coefficients:
    return finite_width.coefficients(
        _square(gram), *law, parameterization, train_biases, fixed_inputs, input_over_width=ratio
    )


@lru_cache(maxsize=4096)
def _signal(gram: bytes, law: _Law, fixed_inputs: bool, ratio: float) -> Signal:
    return finite_width.signal(_square(gram), *law, fixed_inputs, input_over_width=ratio)


def _square(entries: bytes) -> Floats:
    flat = np.frombuffer(entries)
    size = math.isqrt(flat.size)
    return flat.reshape(size, size)


def why_no_coefficients(point: Point) -> str:
    """Why only limits are known; empty if 1/M coefficients are known too."""
    return "" if point.weights in ("gaussian", "orthogonal") else f"no 1/M theory for {point.weights} weights"


def expandable(point: Point) -> bool:
    """Whether gradients and kernel are those of the coefficients: a Gaussian readout without normalisation."""
    return point.readout == "gaussian" and point.normalization == "none"


def why_not_expandable(point: Point) -> str:
    """Why gradients and kernel are not predicted."""
    if point.normalization != "none":
        return f'no theory of the tangent kernel with normalization = "{point.normalization}"'
    return f'no 1/M theory with readout = "{point.readout}"'


def homogeneous_slope(ensemble: Ensemble) -> float | None:
    """Slope below zero of phi = u (u > 0), slope u (u < 0) in a network without biases on fixed inputs; else None."""
    point = ensemble.point
    fitting = not point.is_program and point.activation.homogeneous and point.sigma_b2 == 0.0
    if not fitting or ensemble.fluctuating or point.weights not in ("gaussian", "orthogonal"):
        return None
    above, below = (float(point.activation.phi(np.array(u))) for u in (1.0, -1.0))
    return -below if above == 1.0 else None


def _q(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    c, a = _of_one(ensemble, inputs)
    limit, a1, v1 = (_layers(x[:, a, a], 1) for x in (c.q_limit, c.q_mean, c.q_variance))
    return Curve(limit, a1, v1, _exact_mean(ensemble, a1), _exact_first(ensemble, a1))


def _q_hat(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    c, a = _of_one(ensemble, inputs)
    limit, a1, v1 = (x[:, a, a] for x in (c.q_hat_limit, c.q_hat_mean, c.q_hat_variance))
    return Curve(limit, a1, v1, _exact_mean(ensemble, a1), _exact_first(ensemble, a1))


def _c(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    c = signal(ensemble, inputs)
    assert c.c_limit is not None
    assert c.c_mean is not None
    assert c.c_variance is not None
    limit, a1, v1 = (_layers(x, 1) for x in (c.c_limit, c.c_mean, c.c_variance))
    nowhere = np.zeros_like(limit)
    return Curve(limit, a1, v1, nowhere, nowhere)


def _q_tilde(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """Mean over the outputs of |df/du|^2: the limit and a1 are those of one output, v1 only if there is just one.

    Without a readout the signal at the top is a Gaussian vector of mean square length 1 instead of sigma_w2.
    """
    c, point = coefficients(ensemble, inputs), ensemble.point
    outputs = point.outputs or 0
    unit = 1.0 if outputs else 1.0 / point.sigma_w2
    limit = unit * _layers(c.q_tilde_limit[:, 0, 0], 1)
    a1, v1 = unit * _layers(c.q_tilde_mean[:, 0, 0], 1), unit**2 * _layers(c.q_tilde_variance[:, 0, 0], 1)
    unknown = np.full_like(limit, np.nan)
    if point.normalization != "none":
        limit = unknown
    if outputs and not expandable(point):
        a1 = unknown
    nowhere = np.zeros_like(limit)
    return Curve(limit, a1, v1 if outputs <= 1 and np.isfinite(a1[-1]) else unknown, nowhere, nowhere)


def _chi(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """The mean of ratios has no 1/M theory here; its limit is the ratio of the limits."""
    q_tilde = _q_tilde(ensemble, inputs).limit
    unknown = np.full_like(q_tilde, np.nan)
    limit = unknown.copy()
    limit[2:] = q_tilde[1:-1] / q_tilde[2:]
    nowhere = np.zeros_like(limit)
    return Curve(limit, unknown, unknown, nowhere, nowhere)


def _ntk(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """Entry (a, b) of the block of one output."""
    point = ensemble.point
    if not point.outputs:
        raise Unknown("without outputs there is no tangent kernel")
    if point.normalization != "none":
        raise Unknown(why_not_expandable(point))
    c = coefficients(ensemble, tuple(dict.fromkeys(inputs)))
    known = 1.0 if expandable(point) else math.nan
    limit, a1, v1 = float(c.ntk_limit[0, -1]), known * float(c.ntk_mean[0, -1]), known * float(c.ntk_variance[0, -1])
    exact = homogeneous_slope(ensemble) is not None and point.weights == "gaussian" and inputs[0] == inputs[1]
    return _number(limit, a1, v1, exact)


def _ntk_cross(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """Entry (a, b) of the block between two outputs: its mean is zero at every width."""
    if not expandable(ensemble.point):
        raise Unknown(why_not_expandable(ensemble.point))
    c = coefficients(ensemble, tuple(dict.fromkeys(inputs)))
    return _number(0.0, 0.0, float(c.ntk_cross_variance[0, -1]), True)


def _number(limit: float, a1: float, v1: float, exact_mean: bool) -> Curve:
    at, first, spread, exact, nowhere = (np.array([x]) for x in (limit, a1, v1, float(exact_mean), 0.0))
    return Curve(at, first, spread, exact, nowhere)


def _layers(values: Floats, first: int) -> Floats:
    """Values of the layers first..depth as layers 0..depth."""
    return np.concatenate([np.full(first, np.nan), values])


def _exact_first(ensemble: Ensemble, like: Floats) -> Floats:
    """Layer 1 of Gaussian weights and fixed inputs: independent units, so mean and variance end with 1/M."""
    flags = np.zeros_like(like)
    flags[1] = ensemble.point.weights == "gaussian" and not ensemble.fluctuating
    return flags


def _exact_mean(ensemble: Ensemble, like: Floats) -> Floats:
    """Homogeneous phi and Gaussian weights: E|h|^2 is linear in |h|^2 of the layer below, so means have no 1/M."""
    if ensemble.point.activation.homogeneous and ensemble.point.weights == "gaussian":
        return np.ones_like(like)
    return _exact_first(ensemble, like)


def _of_dense(function: Predictor) -> Predictor:
    """The predictor for dense networks alone; of weights without 1/M theory the limit."""

    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        if ensemble.point.is_program:
            raise Unknown("")  # others are asked
        if not np.isfinite(ensemble.gram[np.ix_(inputs, inputs)]).all():
            raise Unknown("the Gram matrix of the inputs is unknown")
        found = function(ensemble, inputs)
        if not (why := why_no_coefficients(ensemble.point)):
            return found
        unknown, nowhere = np.full_like(found.limit, np.nan), np.zeros_like(found.limit)
        return Curve(found.limit, unknown, unknown, nowhere, nowhere, why_not=why)

    return predictor


_PREDICTORS: dict[str, Callable[[Ensemble, tuple[int, ...]], Curve]] = {
    "q": _q,
    "q_hat": _q_hat,
    "c": _c,
    "q_tilde": _q_tilde,
    "chi": _chi,
    "ntk": _ntk,
    "ntk_cross": _ntk_cross,
}
for _name, _predictor in _PREDICTORS.items():
    register(_name, _of_dense(_predictor))
