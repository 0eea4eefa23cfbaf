"""Lengths, correlations and gradients: what theory says about each."""

from __future__ import annotations

from collections.abc import Mapping

from mcnet_analysis.predict.prediction import ExactMoments, Observable, curve, homogeneous_slope
from mcnet_analysis.study import Column, Setting

from mcnet.theory.exact import laws


def _length(column: Column, limits: Mapping[Column, float]) -> float:
    return abs(limits[column])


def _room(column: Column, limits: Mapping[Column, float]) -> float:
    """Distance of a correlation from +-1."""
    return 1.0 - abs(limits[column])


def _exact_length(setting: Setting, column: Column) -> ExactMoments | None:
    """|h|^2 or |u|^2 of a homogeneous activation without biases: a product over the layers."""
    slope, layer = homogeneous_slope(setting), column.layer
    if slope is None or not layer:
        return None
    orthogonal = setting.law["weights"] == "orthogonal"
    if orthogonal and setting.input_dimension != setting.width:
        return None
    gain, width = setting.law["sigma_w2"], setting.width
    q_hat_0 = float(setting.gram[column.inputs[0], column.inputs[0]])
    hidden = layer if column.observable == "q_hat" else layer - 1
    found = laws.length_moments(slope, gain, [width] * hidden, orthogonal)
    mean, second = found.mean * q_hat_0, found.second * q_hat_0**2
    if column.observable == "q":  # u = W h: a chi-square, or of the length of h to the digit
        mean, second = gain * mean, gain**2 * second * (1.0 if orthogonal else 1.0 + 2.0 / width)
    return ExactMoments(mean, second - mean**2)


def _exact_gradient(setting: Setting, column: Column) -> ExactMoments | None:
    """The error of one output of a homogeneous activation: the law of a length through the layers above."""
    slope, law = homogeneous_slope(setting), setting.law
    if slope is None or not column.layer or law["weights"] != "gaussian" or law["normalization"] != "none":
        return None
    if law["outputs"] != 1 or law["readout"] != "gaussian":
        return None
    layers = [setting.width] * (setting.depth - column.layer + 1)
    found = laws.length_moments(slope, law["sigma_w2"], layers)
    return ExactMoments(found.mean, found.second - found.mean**2)


SIGNAL = (
    Observable("q", "signal", 1, r"q", _length, curve("q"), exact=_exact_length),
    Observable("q_hat", "signal", 1, r"\hat q", _length, curve("q_hat"), exact=_exact_length),
    Observable("c", "signal", 1, r"c", _room, curve("c")),
    Observable("q_tilde", "signal", 1, r"\tilde q", _length, curve("q_tilde"), backward=True, exact=_exact_gradient),
    Observable("chi", "signal", 2, r"\chi", _length, curve("chi"), backward=True),
)
"""The observables of the groups of the signal."""
