"""Lengths, correlations and gradients: what theory says about each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mcnet_analysis.predict.prediction import Curve, ExactMoments, Observable, Theory, homogeneous_slope
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Column, Setting

from mcnet.theory.exact import laws


def _q(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    c = theory.coefficients(setting, index)
    limit, a1, v1 = (_layers(x[:, 0, 0], 1) for x in (c.q_limit, c.q_mean, c.q_variance))
    return Curve(limit, a1, v1, _exact_mean(setting, a1), _exact_first(setting, a1))


def _q_hat(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    c = theory.coefficients(setting, index)
    limit, a1, v1 = (_layers(x[:, 0, 0], 0) for x in (c.q_hat_limit, c.q_hat_mean, c.q_hat_variance))
    return Curve(limit, a1, v1, _exact_mean(setting, a1), _exact_first(setting, a1))


def _c(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    c = theory.coefficients(setting, index)
    assert c.c_limit is not None
    assert c.c_mean is not None
    assert c.c_variance is not None
    limit, a1, v1 = (_layers(x, 1) for x in (c.c_limit, c.c_mean, c.c_variance))
    nowhere = np.zeros_like(limit)
    return Curve(limit, a1, v1, nowhere, nowhere)


def _q_tilde(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    """Mean over the outputs of |df/du|^2: the limit and a1 are those of one output, v1 only if there is just one.

    Without a readout the error at the top is a Gaussian vector of mean square length 1 instead of sigma_w2.
    """
    c = theory.coefficients(setting, index)
    outputs = int(setting.law["outputs"] or 0)
    unit = 1.0 if outputs else 1.0 / setting.law["sigma_w2"]
    limit = unit * _layers(c.q_tilde_limit[:, 0, 0], 1)
    a1, v1 = unit * _layers(c.q_tilde_mean[:, 0, 0], 1), unit**2 * _layers(c.q_tilde_variance[:, 0, 0], 1)
    unknown = np.full_like(limit, np.nan)
    if setting.law["normalization"] != "none":
        limit = unknown
    if outputs and (setting.law["readout"] != "gaussian" or setting.law["normalization"] != "none"):
        a1 = unknown
    nowhere = np.zeros_like(limit)
    return Curve(limit, a1, v1 if outputs <= 1 and np.isfinite(a1[-1]) else unknown, nowhere, nowhere)


def _chi(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    """The mean of ratios has no 1/M theory here; its limit is the ratio of the limits."""
    q_tilde = _q_tilde(theory, setting, index).limit
    unknown = np.full_like(q_tilde, np.nan)
    limit = unknown.copy()
    limit[2:] = q_tilde[1:-1] / q_tilde[2:]
    nowhere = np.zeros_like(limit)
    return Curve(limit, unknown, unknown, nowhere, nowhere)


def _layers(values: Floats, first: int) -> Floats:
    """Values of the layers first..depth as layers 0..depth."""
    return np.concatenate([np.full(first, np.nan), values])


def _exact_first(setting: Setting, like: Floats) -> Floats:
    """Layer 1 of Gaussian weights and fixed inputs: independent units, so mean and variance end with 1/M."""
    flags = np.zeros_like(like)
    flags[1] = setting.law["weights"] == "gaussian" and not setting.fluctuating
    return flags


def _exact_mean(setting: Setting, like: Floats) -> Floats:
    """Homogeneous phi and Gaussian weights: E|h|^2 is linear in |h|^2 of the layer below, so means have no 1/M."""
    if setting.activation.homogeneous and setting.law["weights"] == "gaussian":
        return np.ones_like(like)
    return _exact_first(setting, like)


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
    Observable("q", "signal", 1, r"q", _length, _q, exact=_exact_length),
    Observable("q_hat", "signal", 1, r"\hat q", _length, _q_hat, exact=_exact_length),
    Observable("c", "signal", 1, r"c", _room, _c),
    Observable("q_tilde", "signal", 1, r"\tilde q", _length, _q_tilde, backward=True, exact=_exact_gradient),
    Observable("chi", "signal", 2, r"\chi", _length, _chi, backward=True),
)
"""The observables of the groups of the signal."""
