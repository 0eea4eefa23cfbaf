"""Lengths and gradients whose moments are known at every width, to all orders in 1/M."""

from __future__ import annotations

from mcnet_analysis.predict.prediction import ExactMoments, homogeneous_slope
from mcnet_analysis.study import Column, Setting

from mcnet import activations
from mcnet.theory.exact import laws
from mcnet.theory.exact.residual import relu_residual_gradients, relu_residual_lengths


def length(setting: Setting, column: Column) -> ExactMoments | None:
    """|h|^2 or |u|^2 of a homogeneous activation without biases: a product over the layers, or over the blocks."""
    layer = column.layer
    if not layer:
        return None
    q_hat_0 = float(setting.gram[column.inputs[0], column.inputs[0]])
    blocks = _blocks(setting)
    slope = homogeneous_slope(setting)
    gain, width = float(setting.law["sigma_w2"]), setting.width
    hidden = layer if column.observable == "q_hat" else layer - 1
    if blocks is not None:
        orthogonal, found = False, relu_residual_lengths(gain, *blocks, width, hidden)
    elif slope is not None:
        orthogonal = setting.law["weights"] == "orthogonal"
        if orthogonal and setting.input_dimension != width:
            return None
        found = laws.length_moments(slope, gain, [width] * hidden, orthogonal)
    else:
        return None
    mean, second = found.mean * q_hat_0, found.second * q_hat_0**2
    if column.observable == "q":  # u = W h: a chi-square, or of the length of h to the digit
        mean, second = gain * mean, gain**2 * second * (1.0 if orthogonal else 1.0 + 2.0 / width)
    return ExactMoments(mean, second - mean**2)


def gradient(setting: Setting, column: Column) -> ExactMoments | None:
    """The error of one output of a homogeneous activation: the law of a length through the layers above."""
    law, layer = setting.law, column.layer
    if not layer or law["outputs"] != 1 or law["readout"] != "gaussian" or law["normalization"] != "none":
        return None
    above = setting.depth - layer
    blocks = _blocks(setting)
    slope = homogeneous_slope(setting)
    if blocks is not None:
        found = relu_residual_gradients(float(law["sigma_w2"]), *blocks, setting.width, above)
    elif slope is not None and law["weights"] == "gaussian":
        found = laws.length_moments(slope, law["sigma_w2"], [setting.width] * (above + 1))
    else:
        return None
    return ExactMoments(found.mean, found.second - found.mean**2)


def _blocks(setting: Setting) -> tuple[float, float, float] | None:
    """(sigma_v2, skip, branch) of relu blocks of two matrices without biases on fixed inputs; else None."""
    law = setting.law
    if law["architecture"] != "residual" or setting.activation.label != activations.get("relu").label:
        return None
    p = setting.ensemble.program.parameters
    bare = p.block == "two" and not p.sigma_b2 and not p.sigma_c2
    if not bare or setting.fluctuating or law["weights"] != "gaussian" or law["normalization"] != "none":
        return None
    return float(p.sigma_v2), float(p.skip), float(p.branch)
