"""Functions of the whole tangent kernel, the spectrum of the Fisher matrix among them: what theory says about each.

Of one output and one or two inputs the delta method gives 1/M terms; of more, the kernel of the actual inputs gives
limits, and 1/M terms of the traces. Units as in :mod:`mcnet_analysis.predict.tangent`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from mcnet_analysis.predict.prediction import Theory
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Setting

from mcnet.predictions import Curve
from mcnet.predictions.programs import MEETING, MEETS, SPLITS
from mcnet.theory.finite_width import Coefficients

PAIRS = 120
"""Pairs of inputs up to which the 1/M terms of all are computed: each takes some hundredths of a second."""

MORE_INPUTS = "its 1/M terms are known for one or two inputs and one output"


def spectral(theory: Theory, setting: Setting, name: str) -> Curve:
    """Limit, a1 and v1 of a function of the kernel, as far as they are known."""
    outputs = int(setting.law["outputs"] or 1)
    if setting.law["normalization"] != "none":
        return unknown(no_theory(setting))
    if outputs > 1 and name in ("fim_lambda_max", "learning_rate_bound", "ntk_lambda_min"):
        return unknown(SPLITS)
    if setting.inputs <= 2 and outputs == 1 and expandable(setting):
        return _expanded(theory, setting, name)
    if name in ("fim_trace", "fim_trace2") and expandable(setting):
        known = _trace(theory, setting, outputs) if name == "fim_trace" else _trace2(theory, setting, outputs)
        if known is not None:
            return known
    try:
        return _limit(theory.kernel(setting), setting, outputs, name)
    except ValueError as error:
        return unknown(str(error))


def expandable(setting: Setting) -> bool:
    """Whether the networks are those of the coefficients: a Gaussian readout without normalisation."""
    return bool(setting.law["readout"] == "gaussian") and setting.law["normalization"] == "none"


def no_theory(setting: Setting) -> str:
    """Why networks that are not :func:`expandable` are not predicted."""
    law = setting.law
    if law["normalization"] != "none":
        return f'no theory of the tangent kernel with normalization = "{law["normalization"]}"'
    return f'no 1/M theory with readout = "{law["readout"]}"'


class Functional(NamedTuple):
    """A function of the entries (11, 12, 22) of the kernel at its limit: value and first and second derivatives."""

    value: float
    gradient: Floats
    second: Floats


def expanded(function: Functional, c: Coefficients) -> tuple[float, float, float]:
    """Limit, a1 and v1 of a function of the kernel, by the delta method to second order.

    a1 = F' a1(Theta) + (1/2) F'' : M Cov(Theta) ,     v1 = F' M Cov(Theta) F'^T
    """
    shift = _vector(c.ntk_mean)
    a1 = function.gradient @ shift + 0.5 * np.sum(function.second * c.ntk_covariance)
    return function.value, float(a1), float(function.gradient @ c.ntk_covariance @ function.gradient)


def _expanded(theory: Theory, setting: Setting, name: str) -> Curve:
    """One output, one or two inputs."""
    t = setting.inputs
    c = theory.coefficients(setting, tuple(range(t)))
    theta = c.ntk_limit
    if name == "fim_trace":
        return curve(*expanded(_scaled(_linear_trace(theta), 1.0 / t), c))
    if name == "fim_trace2":
        return curve(*expanded(_scaled(_trace_of_square(theta), 1.0 / t**2), c))
    if t == 2 and setting.gram[0, 1] ** 2 >= setting.gram[0, 0] * setting.gram[1, 1]:
        return unknown("the two inputs are parallel: the kernel has one eigenvalue, and the entries say it")
    low, high = np.linalg.eigvalsh(theta)[[0, -1]]
    gap = math.inf if t == 1 else float(high - low)
    if gap <= MEETING * abs(high):
        return unknown(MEETS)
    if name == "ntk_lambda_min":
        return curve(*expanded(_eigenvalue(theta, 0), c), room=gap)
    top = _scaled(_eigenvalue(theta, t - 1), 1.0 / t)
    if name == "learning_rate_bound":
        return curve(*expanded(_scaled(_inverse(top), 2.0), c), room=2.0 / top.value * gap / float(high))
    return curve(*expanded(top, c), room=gap / t)


def _trace(theory: Theory, setting: Setting, outputs: int) -> Curve | None:
    """(1/T) sum_t sum_k Theta_kk(t, t): the mean of every entry is known; None if there are too many inputs."""
    count = 1 if setting.exchangeable else setting.inputs
    if count > PAIRS:
        return None
    found = [theory.coefficients(setting, (a,)) for a in range(count)]
    limit, a1 = (outputs * float(np.mean([part(c) for c in found])) for part in (_first_limit, _first_mean))
    return curve(limit, a1, math.nan, why_not=MORE_INPUTS)


def _trace2(theory: Theory, setting: Setting, outputs: int) -> Curve | None:
    """(1/T^2) sum of the squares of all entries; None if there are too many pairs.

    E Theta_ab^2 = limit^2 + (2 limit a1 + v1)/M in the block of one output, v1/M in those between two.
    """
    t = setting.inputs
    pairs = [(0, 0, t), (0, 1, t * (t - 1))] if setting.exchangeable else [
        (a, b, 1 if a == b else 2) for a in range(t) for b in range(a, t)
    ]  # fmt: skip
    if len(pairs) > PAIRS:
        return None
    limit = a1 = 0.0
    for a, b, times in pairs:
        c = theory.coefficients(setting, (a,) if a == b else (a, b))
        entry, shift, variance, cross = (
            float(x[0, -1]) for x in (c.ntk_limit, c.ntk_mean, c.ntk_variance, c.ntk_cross_variance)
        )
        limit += times * outputs * entry**2
        a1 += times * outputs * (2.0 * entry * shift + variance + (outputs - 1) * cross)
    return curve(limit / t**2, a1 / t**2, math.nan, why_not=MORE_INPUTS)


def _limit(theta: Floats, setting: Setting, outputs: int, name: str) -> Curve:
    """Functions of the limit of the kernel; of exchangeable inputs that is (2, 2)."""
    t = setting.inputs
    if setting.exchangeable:
        same, other = float(theta[0, 0]), float(theta[0, 1])
        values = np.sort([same + (t - 1) * other, same - other, same - other])
        diagonal, squares = same, t * same**2 + t * (t - 1) * other**2
    else:
        values = np.linalg.eigvalsh(theta)
        diagonal, squares = float(np.trace(theta)) / t, float(np.sum(theta**2))
    if name == "fim_trace":
        return curve(outputs * diagonal, math.nan, math.nan, why_not=MORE_INPUTS)
    if name == "fim_trace2":
        return curve(outputs * squares / t**2, math.nan, math.nan, why_not=MORE_INPUTS)
    smallest = name == "ntk_lambda_min"
    value, *others = values if smallest else values[::-1]
    gap = abs(float(value) - float(others[0])) if others else math.inf
    if gap <= MEETING * float(np.abs(values).max()):
        return unknown(f"it {MEETS}")
    if smallest:
        return curve(float(value), math.nan, math.nan, room=gap, why_not=MORE_INPUTS)
    if name == "learning_rate_bound":
        bound = 2.0 * t / float(value)
        return curve(bound, math.nan, math.nan, room=bound * gap / float(value), why_not=MORE_INPUTS)
    return curve(float(value) / t, math.nan, math.nan, room=gap / t, why_not=MORE_INPUTS)


def _first_limit(c: Coefficients) -> float:
    return float(c.ntk_limit[0, 0])


def _first_mean(c: Coefficients) -> float:
    return float(c.ntk_mean[0, 0])


def _vector(matrix: Floats) -> Floats:
    return matrix[np.triu_indices(len(matrix))]


def _linear_trace(theta: Floats) -> Functional:
    gradient = _vector(np.eye(len(theta)))
    return Functional(float(np.trace(theta)), gradient, np.zeros((gradient.size, gradient.size)))


def _trace_of_square(theta: Floats) -> Functional:
    weight = _vector(2.0 - np.eye(len(theta)))  # off-diagonal entries stand twice
    return Functional(float(np.sum(theta**2)), 2.0 * weight * _vector(theta), np.diag(2.0 * weight))


def _eigenvalue(theta: Floats, place: int) -> Functional:
    """An eigenvalue of the T x T kernel by second-order perturbation theory."""
    values, vectors = np.linalg.eigh(theta)
    v = vectors[:, place]

    def form(x: Floats, y: Floats) -> Floats:
        """x^T Theta y as a function of the entries."""
        return _vector(np.outer(x, y) + np.outer(y, x) - np.diag(x * y))

    first = form(v, v)
    second = np.zeros((first.size, first.size))
    for j in (j for j in range(len(theta)) if j != place):
        mixing = form(v, vectors[:, j])
        second += 2.0 * np.outer(mixing, mixing) / float(values[place] - values[j])
    return Functional(float(values[place]), first, second)


def _scaled(function: Functional, factor: float) -> Functional:
    return Functional(factor * function.value, factor * function.gradient, factor * function.second)


def _inverse(function: Functional) -> Functional:
    x, g = function.value, function.gradient
    return Functional(1.0 / x, -g / x**2, -function.second / x**2 + 2.0 * np.outer(g, g) / x**3)


def curve(
    limit: float, a1: float, v1: float, exact_mean: bool = False, *, room: float = math.inf, why_not: str = ""
) -> Curve:
    """A prediction without layers."""
    limits, shifts, variances, exact = (np.array([x]) for x in (limit, a1, v1, float(exact_mean)))
    return Curve(limits, shifts, variances, exact, np.zeros(1), room, why_not)


def unknown(why_not: str) -> Curve:
    """No prediction, and why."""
    return curve(math.nan, math.nan, math.nan, why_not=why_not)
