"""What figures show of the Fisher matrix: its largest eigenvalues at every width, and how they grow."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from mcnet_analysis.predict.prediction import Predicted
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Column, Family

if TYPE_CHECKING:
    import xarray

SHOWN_NETWORKS = 10_000
SHOWN_SPECTRA = 200


class Spectra(NamedTuple):
    """What figures show of the Fisher matrix of a family; empty lists where it was not measured.

    Attributes
    ----------
    limits : list of float
        Largest eigenvalue (of several outputs the mean of the C largest) at each width, limit + a1/M as far as they are
        known, in the units of F; NaN without theory.
    top : list of (ranks,) arrays
        Mean over networks of the largest eigenvalues, up to C + 1, at each width.
    eigenvalues : (networks, ranks)
        Of some networks of the largest width.
    bounds : list of (networks,) arrays
        2/lambda_max of some networks, at each width.
    """

    limits: list[float]
    top: list[Floats]
    eigenvalues: Floats
    bounds: list[Floats]


def spectra(
    tree: xarray.DataTree, family: Family, columns: Sequence[Column], predictions: Sequence[Predicted]
) -> Spectra:
    """Collect what figures show."""
    limits = _limits(family, columns, predictions)
    group = tree["fim"].to_dataset() if "fim" in tree.children else {}
    top, bounds, eigenvalues = [], [], np.empty((0, 0))
    for setting in family.settings:
        shown = slice(0, min(setting.networks, SHOWN_NETWORKS))
        some: dict[Hashable, int | slice] = {"point": setting.index, "network": shown}
        if "fim_eigenvalue" in group:
            outputs = int(setting.law["outputs"] or 1)
            ranks = setting.inputs * outputs
            few = group["fim_eigenvalue"].isel({**some, "rank": slice(0, min(ranks, outputs + 1))}).values
            top.append(np.nanmean(few, axis=0))
            if setting is family.settings[-1]:
                first = {**some, "network": slice(0, min(setting.networks, SHOWN_SPECTRA))}
                eigenvalues = np.asarray(group["fim_eigenvalue"].isel({**first, "rank": slice(0, ranks)}).values)
        if "learning_rate_bound" in group:
            bounds.append(np.asarray(group["learning_rate_bound"].isel(some).values))
    return Spectra(limits, top, eigenvalues, bounds)


def _limits(family: Family, columns: Sequence[Column], predictions: Sequence[Predicted]) -> list[float]:
    names = {column.observable: j for j, column in enumerate(columns)}
    j = names.get("fim_lambda_top", names.get("fim_lambda_max"))
    if j is None:
        return []
    standard = family.first.law["parameterization"] == "standard"
    found = []
    for setting, predicted in zip(family.settings, predictions, strict=True):
        unit = float(setting.width) if standard else 1.0
        shift = float(np.nan_to_num(predicted.a1[j])) / setting.width
        found.append(unit * (float(predicted.limit[j]) + shift))
    return found


def growth_exponent(widths: Floats, mean: Floats, error: Floats) -> tuple[float, float]:
    """Slope of log mean against log width by weighted least squares, and its error (by the scatter, if larger)."""
    x, y, weight = np.log(widths), np.log(mean), (mean / error) ** 2
    x = x - np.average(x, weights=weight)
    slope = float(np.sum(weight * x * y) / np.sum(weight * x * x))
    residual = y - np.average(y, weights=weight) - slope * x
    scatter = float(np.sum(weight * residual**2) / max(len(x) - 2, 1)) if len(x) > 2 else 1.0
    return slope, float(np.sqrt(max(scatter, 1.0) / np.sum(weight * x * x)))
