"""Predictions for the first two moments of Jacobians: of single layers, blocks and steps, and of residual networks.

Limits. Dense layers, plain recurrent steps and convolutions have J = D W, residual blocks and leaky steps a skip beside
it; gates have the closed forms of untied networks. Given the past, one matrix of a tied network without gates is still
free of the slopes of a step, so that its steps have the moments of untied ones.

To first order in 1/M the first moment of dense Gaussian layers is known: with m(S) = E phi'^2 at the variance S of u
given the layer below, and a1, v1 those of S = sigma_w2 q_hat + sigma_b2,

    a1(mu_1) = sigma_w2 [m' a1 + m'' v1/2 + 2 (S - sigma_b2) m'] ,
    v1(mu_1) = sigma_w2^2 [E phi'^4 - m^2 + m'^2 v1] ,

the last term of a1 because a row of W is longer where its u is. Where slopes are independent of the weights (relu,
linear) the mean of mu_2 ends with its term of order 1/M, which is known too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mcnet.coordinates import DENSE
from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.programs import theory_of
from mcnet.predictions.registry import Curve, Predictor, Unknown, curve, predict, register
from mcnet.theory import exact, gated, gaussian, jacobian, mean_field, residual
from mcnet.theory.free.slope_law import slope_law

Floats = NDArray[np.float64]
Moments = residual.JacobianMoments

ORDERS = (1, 2)
NO_TERMS = "moments of Jacobians of blocks have no 1/M theory"
PLAIN = {"gaussian": "gaussian", "orthogonal": "orthogonal", "delta-orthogonal": "orthogonal"}
"""Laws of weights -> those of square matrices of the same spectrum."""


def _weights(ensemble: Ensemble) -> str:
    point = ensemble.point
    if point.weights not in PLAIN:
        raise Unknown(f"moments of Jacobians are known for gaussian and orthogonal weights, not for {point.weights}")
    if point.inputs.dimension != point.width:
        raise Unknown("moments of Jacobians are those of square matrices: inputs.dimension = width")
    if point.normalization != point.output_normalization:
        raise Unknown(f'there is no theory of Jacobians with normalization "{point.normalization}"')
    return PLAIN[point.weights]


def _block(ensemble: Ensemble, skip: float, branch: float) -> residual.Block:
    """One matrix of the networks beside a skip."""
    point = ensemble.point
    return residual.Block("post", point.activation, point.sigma_w2, point.sigma_b2, skip, branch)


def _dense(ensemble: Ensemble) -> list[Moments]:
    point, weights = ensemble.point, _weights(ensemble)
    arguments = (point.activation, point.sigma_w2, point.sigma_b2)
    q = mean_field.lengths(*arguments, _length(ensemble), point.depth)
    return [residual.block_moments(_block(ensemble, 0.0, 1.0), float(each), weights) for each in q]


def _convolution(ensemble: Ensemble) -> list[Moments]:
    """Those of dense layers where all positions are alike: also in the limit, one matrix acts at all of them."""
    lengths = np.diagonal(ensemble.gram)[: ensemble.program.rows]
    if not np.allclose(lengths, lengths[0], rtol=1e-9):
        raise Unknown("moments of convolutions are known for inputs of one length at all positions")
    return _dense(ensemble)


def _recurrent(ensemble: Ensemble) -> list[Moments]:
    """D W of h, or (1 - d) + d W D of the state: s_(t-1) has the slopes, and s_0 = h_0 none."""
    weights, p, depth = _weights(ensemble), ensemble.program.parameters, ensemble.point.depth
    q = _variances(ensemble)
    if p.leak == 1.0:
        return [residual.block_moments(_block(ensemble, 0.0, 1.0), each, weights) for each in q]
    block, linear = (
        residual.Block("post", phi, ensemble.point.sigma_w2, ensemble.point.sigma_b2, 1.0 - p.leak, p.leak)
        for phi in (ensemble.point.activation, "linear")
    )
    first = residual.block_moments(linear, 1.0, weights)
    return [first, *(residual.block_moments(block, q[t - 1], weights) for t in range(1, depth))]


def _residual(ensemble: Ensemble) -> list[Moments]:
    block = residual_block(ensemble)
    weights = _weights(ensemble)
    path = residual.signal(block, _length(ensemble), ensemble.point.depth)
    return [residual.block_moments(block, float(q), weights) for q in path.q]


def gated_steps(ensemble: Ensemble) -> list[Moments]:
    """Closed forms of networks with new matrices and a new entry of the sequence at every step."""
    point, p = ensemble.point, ensemble.program.parameters
    if _weights(ensemble) != "gaussian":
        raise Unknown("Jacobians of gated steps are known for gaussian weights")
    if p.tied or p.sequence == "constant":
        raise Unknown(
            "Jacobians of gated steps are known for new matrices (tied = false) and a new or no entry of the sequence "
            "at every step; else gates and state are correlated"
        )
    if point.architecture == "gru" and point.activation.label != "tanh":
        raise Unknown("Jacobians of gru steps are known for tanh")
    sequence = 0.0 if p.sequence == "none" else float(p.sequence_variance)
    arguments = (point.sigma_w2, p.sigma_v2, point.sigma_b2)
    gram = ensemble.gram[:1, :1]
    if point.architecture == "gru":
        found = gated.gru(*arguments, p.gate_bias, gram, sequence, point.depth)
    else:
        found = gated.minimal_rnn(*arguments, p.gate_bias["update"], gram, sequence, point.depth)
    return [Moments(*each) for each in zip(found.chi[:, 0, 0].tolist(), found.jacobian[:, 0].tolist(), strict=True)]


_BLOCKS: dict[str, Callable[[Ensemble], list[Moments]]] = {
    DENSE: _dense,
    "convolution": _convolution,
    "recurrent": _recurrent,
    "residual": _residual,
    "minimal-rnn": gated_steps,
    "gru": gated_steps,
}


def residual_block(ensemble: Ensemble) -> residual.Block:
    """The block of a residual network."""
    point, p = ensemble.point, ensemble.program.parameters
    two = p.block == "two"
    second = (float(p.sigma_v2 or 0.0), float(p.sigma_c2 or 0.0)) if two else (None, None)
    laws = (point.activation, point.sigma_w2, point.sigma_b2)
    return residual.Block(p.block, *laws, float(p.skip), float(p.branch), *second)


def _length(ensemble: Ensemble) -> float:
    length = float(ensemble.gram[0, 0])
    if not np.isfinite(length):
        raise Unknown("the Gram matrix of the inputs is unknown")
    return length


def _variances(ensemble: Ensemble) -> list[float]:
    """Of u^1..u^depth of input 0, in the limit of the program."""
    found = theory_of(ensemble.of_limits(), (0,)).limit
    if found is None:
        raise Unknown("moments of Jacobians are those of the limit, which this program does not have")
    return [float(found.gram(("u", layer))[0, 0]) for layer in range(1, ensemble.point.depth + 1)]


def _exact_term(ensemble: Ensemble) -> float:
    """a1 of mu_2 of one layer with which its mean ends; NaN where the slopes depend on the weights."""
    point, p = ensemble.point, ensemble.program.parameters
    linear, w2 = point.activation.label == "linear", point.sigma_w2
    if point.architecture == DENSE and point.activation.homogeneous:
        if _weights(ensemble) == "orthogonal":
            return 0.0
        second, fourth = slope_law(point.activation, 1.0).moments(2)
        return float(w2**2 * (2.0 * fourth - second**2))
    if not (linear and point.weights == "gaussian"):
        return np.nan
    if point.architecture == "residual" and p.block != "two":
        return float(2.0 * (p.skip * p.branch) ** 2 * w2 + p.branch**4 * w2**2)
    if point.architecture == "convolution" and len(p.positions) == 1:
        return float(exact.linear_convolution_spread(w2, p.taps, p.positions[0], 1) - 2.0 * w2**2)
    return np.nan


def _dense_terms(ensemble: Ensemble) -> tuple[Floats, Floats]:
    """a1 and v1 of mu_1 of dense Gaussian layers."""
    point = ensemble.point
    below = predict("q_hat", ensemble, (0,))
    s = point.sigma_w2 * below.limit[:-1] + point.sigma_b2
    shift, spread = point.sigma_w2 * below.a1[:-1], point.sigma_w2**2 * below.v1[:-1]
    step = 1e-2 * s
    m = np.array([gaussian.derivative_square(point.activation, s + k * step) for k in range(-2, 3)])
    slope = np.array([1.0, -8.0, 0.0, 8.0, -1.0]) @ m / (12.0 * step)
    bend = np.array([-1.0, 16.0, -30.0, 16.0, -1.0]) @ m / (12.0 * step**2)
    fourth = np.array([slope_law(point.activation, float(q)).moments(2)[1] for q in s])
    a1 = point.sigma_w2 * (slope * shift + 0.5 * bend * spread + 2.0 * (s - point.sigma_b2) * slope)
    return a1, point.sigma_w2**2 * (fourth - m[2] ** 2 + slope**2 * spread)


def _of_blocks(order: int) -> Predictor:
    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        point = ensemble.point
        function = _BLOCKS.get(point.architecture)
        if function is None:
            raise Unknown(f'there is no theory of the Jacobians of single blocks of "{point.architecture}"')
        limits = np.array([np.nan, *(each[order - 1] for each in function(ensemble))])
        if not ensemble.limits_only and np.isfinite(term := _exact_term(ensemble)):
            found = curve(limits, a1=term if order == 2 else 0.0, why_not=NO_TERMS)
            return found._replace(exact_mean=np.ones_like(limits))
        dense = point.architecture == DENSE and point.weights == "gaussian" and not ensemble.fluctuating
        if order == 1 and dense and not ensemble.limits_only:
            a1, v1 = (np.array([np.nan, *part]) for part in _dense_terms(ensemble))
            return curve(limits, a1, v1)
        return curve(limits, why_not=NO_TERMS)

    return predictor


def _end_to_end(order: int) -> Predictor:
    """Of networks without a law of their whole spectrum."""

    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        point = ensemble.point
        if point.architecture == "residual":
            weights = _weights(ensemble)
            found = residual.network_moments(residual_block(ensemble), _length(ensemble), point.depth, weights)
            return curve(found[order - 1], why_not=NO_TERMS)
        if point.architecture == "recurrent" and ensemble.program.parameters.leak == 1.0:
            laws = (point.activation, _weights(ensemble), point.sigma_w2, point.sigma_b2)
            q = np.array(_variances(ensemble))
            return curve(jacobian.moments(*laws, point.depth, 2, q)[order - 1], why_not=NO_TERMS)
        raise Unknown(f'there is no theory of the Jacobian of "{point.architecture}"')

    return predictor


for _order in ORDERS:
    register(f"block_mu_{_order}", _of_blocks(_order))
    register(f"jacobian_mu_{_order}", _end_to_end(_order))
