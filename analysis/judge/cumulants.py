"""Connected correlators V, D, A and B of outputs and tangent kernel, measured and compared with theory width by width.

Of the first input; defined in :func:`mcnet.theory.program.cumulants`. F needs the outputs themselves, which datasets do
not hold. They are other readings of what the coefficients of the kernel say, so the verdict does not weigh them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from mcnet_analysis.judge.table import GROWTH, Row, comparison, count
from mcnet_analysis.predict.prediction import Theory
from mcnet_analysis.statistics.cumulants import measured
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Column, Family, Setting

from mcnet.coordinates import DENSE
from mcnet.errors import UsageError
from mcnet.predictions import cumulants

if TYPE_CHECKING:
    import xarray

OBSERVABLE = "ntk_cumulant"
LEFT_OUT = "correlators of outputs and kernel (the coefficients of the same kernels are weighed)"
LEAST = 30
"""Networks from which on errors are given."""


def rows(tree: xarray.DataTree, family: Family, theory: Theory, missing: dict[str, int]) -> list[Row]:
    """Rows for all widths; none where the kernel between two outputs was not kept."""
    found: list[Row] = []
    for setting in family.settings:
        kernel = _kernel(tree, setting)
        if kernel is None or theory.why_nothing(setting) is not None:
            continue
        ensemble = setting.ensemble if "1/M" in theory.orders else setting.ensemble.of_limits()
        try:
            predicted = cumulants.correlators(ensemble, 0)
        except (UsageError, ValueError) as error:
            count(missing, f"{OBSERVABLE} ({error})")
            continue
        seen = measured(setting.width, kernel, covariance=_covariance(tree, setting))
        for name, part in seen.items():
            value = float(getattr(predicted, name).item())
            neglected = GROWTH * setting.depth / setting.width * abs(value)  # the next order, unknown
            found.append(
                comparison(
                    Column(OBSERVABLE, (0,), None),
                    setting.point,
                    name,
                    "1/M",
                    measured=part.value.item(),
                    statistical=part.error.item(),
                    neglected=float(np.hypot(neglected, predicted.errors[name].item())),
                    predicted=value,
                    networks=part.networks,
                    support=part.networks,
                    left_out=LEFT_OUT,
                )
            )
    return found


def _kernel(tree: xarray.DataTree, setting: Setting) -> Floats | None:
    """Kernels of the first input between all outputs, (N, C, 1, C, 1); with ``standard`` over the width."""
    if "ntk" not in tree.children or "ntk" not in tree["ntk"].to_dataset():
        return None
    variable = tree["ntk"].to_dataset()["ntk"]
    if "output_a" not in variable.dims or setting.networks < LEAST:
        return None
    entry = variable.isel(point=setting.index, input_a=0, input_b=0, network=slice(0, setting.networks))
    unit = float(setting.width) if setting.law["parameterization"] == "standard" else 1.0
    values = np.asarray(entry.transpose("network", "output_a", "output_b").values, dtype=np.float64) / unit
    return values[:, :, None, :, None]


def _covariance(tree: xarray.DataTree, setting: Setting) -> Floats | None:
    """sigma_w2 q_hat + sigma_b2 of the last layer of dense networks, (N, 1, 1), where it was measured."""
    if setting.law["architecture"] != DENSE or "signal" not in tree.children:
        return None
    signal = tree["signal"].to_dataset()
    if "q_hat" not in signal:
        return None
    entry = signal["q_hat"].isel(point=setting.index, input=0, network=slice(0, setting.networks))
    values = np.asarray(entry.transpose("network", "layer").values[:, setting.depth], dtype=np.float64)
    return np.asarray((setting.law["sigma_w2"] * values + setting.law["sigma_b2"])[:, None, None])
