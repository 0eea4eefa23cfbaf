"""The tangent kernel and the Fisher spectrum: what theory says about each.

In the ``standard`` parametrisation all values are divided by their power of the width (Theta/M, lambda/M, M eta).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from mcnet_analysis.predict.prediction import Curve, ExactMoments, Observable, Theory, homogeneous_slope
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import MAX_INPUTS, Column, Picks, Setting

from mcnet.theory import tangent
from mcnet.theory.exact import laws
from mcnet.theory.finite_width import Coefficients


def _entries(setting: Setting, dims: tuple[str, ...]) -> Picks:
    """Entries a <= b of the kernel of the first output (or of the mean over outputs, where only that was kept)."""
    output: dict[str, int | slice] = {dim: 0 for dim in dims if dim.startswith("output")}
    return {pair: {**output, "input_a": pair[0], "input_b": pair[1]} for pair in _pairs(setting)}


def _cross_entries(setting: Setting, dims: tuple[str, ...]) -> Picks:
    """Entries of the block between the first two outputs, where it was kept."""
    if "output_b" not in dims:
        return {}
    return {(a, b): {"output_a": 0, "output_b": 1, "input_a": a, "input_b": b} for a, b in _pairs(setting)}


def _pairs(setting: Setting) -> list[tuple[int, int]]:
    count = min(setting.inputs, MAX_INPUTS)
    return [(a, b) for a in range(count) for b in range(a, count)]


def _outputs(setting: Setting) -> int:
    return int(setting.law["outputs"] or 1)


def _expandable(setting: Setting) -> bool:
    """The coefficients are for a Gaussian readout without normalisation."""
    return bool(setting.law["readout"] == "gaussian") and setting.law["normalization"] == "none"


def _ntk(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    """Entry (a, b) of the block of one output; its variance is known if it is not a mean over several."""
    if setting.law["normalization"] != "none":
        return _unknown()
    c = theory.coefficients(setting, tuple(dict.fromkeys(index)))
    limit, a1, v1 = (float(x[0, -1]) for x in (c.ntk_limit, c.ntk_mean, c.ntk_variance))
    if not _expandable(setting):
        a1 = math.nan
    if not _expandable(setting) or setting.tangent == "mean":
        v1 = math.nan
    exact = homogeneous_slope(setting) is not None and setting.law["weights"] == "gaussian" and index[0] == index[1]
    return _curve(limit, a1, v1, exact)


def _ntk_cross(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    """Entry (a, b) of the block between two outputs: its mean is zero at every width."""
    if not _expandable(setting):
        return _unknown()
    c = theory.coefficients(setting, tuple(dict.fromkeys(index)))
    return _curve(0.0, 0.0, float(c.ntk_cross_variance[0, -1]), True)


def _exact_ntk(setting: Setting, column: Column) -> ExactMoments | None:
    slope, law = homogeneous_slope(setting), setting.law
    if slope is None or law["weights"] != "gaussian" or not _expandable(setting) or setting.tangent == "mean":
        return None
    if column.inputs[0] != column.inputs[1]:
        return None
    if law["train_biases"] and law["parameterization"] != "ntk":
        return None  # the law is that of the weights; in "ntk" the share of the biases is sigma_b2 = 0
    unit = 1.0 if law["parameterization"] != "standard" else float(setting.width)
    alpha, _ = tangent.layer_factors(
        law["parameterization"],
        law["sigma_w2"],
        law["sigma_b2"],
        setting.depth,
        False,
        width=setting.width,
        input_dimension=setting.input_dimension,
    )
    q_hat_0 = float(setting.gram[column.inputs[0], column.inputs[0]])
    found = laws.tangent_kernel_moments(slope, law["sigma_w2"], [setting.width] * setting.depth, alpha / unit, q_hat_0)
    return ExactMoments(found.mean, found.second - found.mean**2)


_MIXING = 0.15
"""Mean square turn of an eigenvector, at the smallest width, up to which the expansion of its eigenvalue is of use."""


class _Functional(NamedTuple):
    """A function of the entries (11, 12, 22) of the kernel at its limit: value and first and second derivatives."""

    value: float
    gradient: Floats
    second: Floats


def expanded(function: _Functional, c: Coefficients) -> tuple[float, float, float]:
    """Limit, a1 and v1 of a function of the kernel, by the delta method to second order.

    a1 = F' a1(Theta) + (1/2) F'' : M Cov(Theta) ,     v1 = F' M Cov(Theta) F'^T
    """
    shift = _vector(c.ntk_mean)
    a1 = function.gradient @ shift + 0.5 * np.sum(function.second * c.ntk_covariance)
    return function.value, float(a1), float(function.gradient @ c.ntk_covariance @ function.gradient)


def _vector(matrix: Floats) -> Floats:
    return matrix[np.triu_indices(len(matrix))]


def _trace(theta: Floats) -> _Functional:
    gradient = _vector(np.eye(len(theta)))
    return _Functional(float(np.trace(theta)), gradient, np.zeros((gradient.size, gradient.size)))


def _trace_of_square(theta: Floats) -> _Functional:
    weight = _vector(2.0 - np.eye(len(theta)))  # off-diagonal entries stand twice
    return _Functional(float(np.sum(theta**2)), 2.0 * weight * _vector(theta), np.diag(2.0 * weight))


def _eigenvalue(theta: Floats, place: int) -> _Functional:
    """An eigenvalue of the T x T kernel by second-order perturbation theory; NaN where it is degenerate."""
    values, vectors = np.linalg.eigh(theta)
    v = vectors[:, place]

    def form(x: Floats, y: Floats) -> Floats:
        """x^T Theta y as a function of the entries."""
        return _vector(np.outer(x, y) + np.outer(y, x) - np.diag(x * y))

    first = form(v, v)
    second = np.zeros((first.size, first.size))
    for j in (j for j in range(len(theta)) if j != place):
        gap = float(values[place] - values[j])
        mixing = form(v, vectors[:, j])
        second += 2.0 * np.outer(mixing, mixing) / (gap if abs(gap) > 1e-12 * abs(float(values[-1])) else np.nan)
    return _Functional(float(values[place]), first, second)


def _scaled(function: _Functional, factor: float) -> _Functional:
    return _Functional(factor * function.value, factor * function.gradient, factor * function.second)


def _inverse(function: _Functional) -> _Functional:
    x, g = function.value, function.gradient
    return _Functional(1.0 / x, -g / x**2, -function.second / x**2 + 2.0 * np.outer(g, g) / x**3)


def _of_kernel(theory: Theory, setting: Setting, name: str) -> Curve:
    """A function of the whole kernel: of one output, one or two inputs; the mean of the trace of any."""
    t = setting.inputs
    if name == "fim_trace" and (t > 2 or _outputs(setting) > 1):
        return _trace_of_equal_inputs(theory, setting)
    if not _expandable(setting) or _outputs(setting) != 1 or t > 2:
        return _unknown()
    c = theory.coefficients(setting, tuple(range(t)))
    if t == 2 and setting.gram[0, 1] ** 2 >= setting.gram[0, 0] * setting.gram[1, 1]:
        return _unknown()  # equal inputs: the smallest eigenvalue is zero, and nothing else is told by two
    theta = c.ntk_limit
    top = _scaled(_eigenvalue(theta, t - 1), 1.0 / t)
    function = {
        "fim_lambda_max": lambda: top,
        "fim_lambda_top": lambda: top,
        "fim_trace": lambda: _scaled(_trace(theta), 1.0 / t),
        "fim_trace2": lambda: _scaled(_trace_of_square(theta), 1.0 / t**2),
        "learning_rate_bound": lambda: _scaled(_inverse(top), 2.0),
        "ntk_lambda_min": lambda: _eigenvalue(theta, 0),
    }[name]()
    if t == 2 and not name.startswith("fim_trace") and not _mixing(c) <= _MIXING * setting.width:
        return _unknown()  # nearly degenerate: no width of these is large
    return _curve(*expanded(function, c), False)


def _mixing(c: Coefficients) -> float:
    """Width times the mean square angle by which the noise of a 2 x 2 kernel turns its eigenvectors, to first order."""
    values, vectors = np.linalg.eigh(c.ntk_limit)
    x, y = vectors.T
    form = _vector(np.outer(x, y) + np.outer(y, x) - np.diag(x * y))
    return float(form @ c.ntk_covariance @ form / (values[1] - values[0]) ** 2)


def _trace_of_equal_inputs(theory: Theory, setting: Setting) -> Curve:
    """(1/T) sum_t sum_k Theta_kk(t, t) of inputs of one length; its variance needs the entries of all pairs."""
    lengths = np.diagonal(setting.gram)
    if not _expandable(setting) or not np.allclose(lengths, lengths[0], rtol=1e-12):
        return _unknown()
    c = theory.coefficients(setting, (0,))
    limit, a1 = (_outputs(setting) * float(part[0, 0]) for part in (c.ntk_limit, c.ntk_mean))
    return _curve(limit, a1, math.nan, False)


def _curve(limit: float, a1: float, v1: float, exact_mean: bool) -> Curve:
    return Curve(*(np.array([x]) for x in (limit, a1, v1, float(exact_mean), 0.0)))


def _unknown() -> Curve:
    return _curve(math.nan, math.nan, math.nan, False)


def _diagonal(column: Column, limits: Mapping[Column, float]) -> float:
    """Root of the two diagonal entries: the size of a kernel entry, whatever its own value."""
    a, b = column.inputs
    return math.sqrt(abs(limits[Column("ntk", (a, a), None)] * limits[Column("ntk", (b, b), None)]))


def _itself(column: Column, limits: Mapping[Column, float]) -> float:
    return abs(limits[column])


def _spectral(name: str, group: str, symbol: str, power: int) -> Observable:
    return Observable(
        name,
        group,
        None,
        symbol,
        _itself,
        lambda theory, setting, index: _of_kernel(theory, setting, name),
        backward=True,
        power=power,
    )


TANGENT = (
    Observable("ntk", "ntk", None, r"\Theta", _diagonal, _ntk, True, _exact_ntk, _entries, power=1),
    Observable("ntk_cross", "ntk", None, r"\Theta_\times", _diagonal, _ntk_cross, True, None, _cross_entries, "ntk", 1),
    _spectral("ntk_lambda_min", "ntk", r"\lambda_{\min}(\Theta)", 1),
    _spectral("fim_lambda_max", "fim", r"\lambda_{\max}", 1),
    _spectral("fim_lambda_top", "fim", r"\bar\lambda_{\mathrm{top}}", 1),
    _spectral("fim_trace", "fim", r"\mathrm{tr}\,F", 1),
    _spectral("fim_trace2", "fim", r"\mathrm{tr}\,F^2", 2),
    _spectral("learning_rate_bound", "fim", r"2/\lambda_{\max}", -1),
)
"""The observables of the groups of the tangent kernel and the Fisher matrix."""
