"""The tangent kernel, entry by entry: what theory says about each; what is a function of all of it: fisher.py.

In the ``standard`` parametrisation all values are divided by their power of the width (Theta/M, lambda/M, M eta).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from mcnet_analysis.predict.fisher import expandable, spectral
from mcnet_analysis.predict.prediction import ExactMoments, Observable, Theory, curve, homogeneous_slope
from mcnet_analysis.study import MAX_INPUTS, Column, Picks, Setting

from mcnet.predictions import Curve
from mcnet.theory import tangent
from mcnet.theory.exact import laws


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


def _ntk(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    """Entry (a, b) of the block of one output; its variance is not that of a mean over several."""
    found = curve("ntk")(theory, setting, index)
    return found._replace(v1=np.full_like(found.v1, np.nan)) if setting.tangent == "mean" else found


def _exact_ntk(setting: Setting, column: Column) -> ExactMoments | None:
    slope, law = homogeneous_slope(setting), setting.law
    if slope is None or law["weights"] != "gaussian" or not expandable(setting) or setting.tangent == "mean":
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
        lambda theory, setting, index: spectral(theory, setting, name),
        backward=True,
        power=power,
    )


TANGENT = (
    Observable("ntk", "ntk", None, r"\Theta", _diagonal, _ntk, True, _exact_ntk, _entries, power=1),
    Observable(
        "ntk_cross", "ntk", None, r"\Theta_\times", _diagonal, curve("ntk_cross"), True, None, _cross_entries, "ntk", 1
    ),
    _spectral("ntk_lambda_min", "ntk", r"\lambda_{\min}(\Theta)", 1),
    _spectral("fim_lambda_max", "fim", r"\lambda_{\max}", 1),
    _spectral("fim_lambda_top", "fim", r"\bar\lambda_{\mathrm{top}}", 1),
    _spectral("fim_trace", "fim", r"\mathrm{tr}\,F", 1),
    _spectral("fim_trace2", "fim", r"\mathrm{tr}\,F^2", 2),
    _spectral("learning_rate_bound", "fim", r"2/\lambda_{\max}", -1),
)
"""The observables of the groups of the tangent kernel and the Fisher matrix."""
