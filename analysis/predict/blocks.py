"""The first two moments of the spectrum of J_l J_l^T of each layer, block or step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mcnet_analysis.predict.prediction import ExactMoments, Observable, curve
from mcnet_analysis.study import Column, Setting

from mcnet.coordinates import DENSE
from mcnet.theory import exact
from mcnet.theory.exact.jacobian import SecondMoments, second_moments


def _itself(column: Column, limits: Mapping[Column, float]) -> float:
    return abs(limits[column])


def _one_layer(setting: Setting) -> SecondMoments | None:
    """At every width, where slopes are independent of the weights and matrices are square."""
    law, keys = setting.law, setting.keys
    if setting.input_dimension != setting.width or law["normalization"] != "none":
        return None
    linear, gaussian = setting.activation.label == "linear", law["weights"] == "gaussian"
    sigma_w2 = float(law["sigma_w2"])
    if law["architecture"] == DENSE and setting.activation.homogeneous and law["weights"] in ("gaussian", "orthogonal"):
        return second_moments(setting.activation, law["weights"], sigma_w2, 1, setting.width)
    if not (linear and gaussian):
        return None
    if law["architecture"] == "residual" and keys["block"] != "two":
        skip, branch = (float(setting.ensemble.program.parameters.get(name)) for name in ("skip", "branch"))
        return exact.linear_residual_jacobian(sigma_w2, skip, branch, setting.width, 1)
    if law["architecture"] == "convolution":
        p = setting.ensemble.program.parameters
        if len(p.positions) == 1:
            second = exact.linear_convolution_spread(sigma_w2, p.taps, p.positions[0], setting.width)
            return SecondMoments(sigma_w2, second, np.nan)
    return None


def _exact(setting: Setting, column: Column) -> ExactMoments | None:
    found = _one_layer(setting)
    if found is None:
        return None
    if column.observable == "block_mu_1":
        return ExactMoments(found.mean, found.trace_variance)
    return ExactMoments(found.second, np.nan)


def _moment(order: int) -> Observable:
    name = f"block_mu_{order}"
    return Observable(
        name, "block_jacobian", 1, rf"\mu_{order}", _itself, curve(name), exact=_exact,
        variable="block_jacobian_moment", at=(("order", order - 1),),
    )  # fmt: skip


BLOCKS = (_moment(1), _moment(2))
"""The observables of this kind."""
