"""The largest eigenvalue and the trace of the Fisher matrix against leading-order theory, at every width."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from mcnet_analysis.judge.table import GROWTH, Row, comparison
from mcnet_analysis.predict.prediction import Theory
from mcnet_analysis.statistics.estimate import Floats, Moments
from mcnet_analysis.study import Column, Family, Setting

from mcnet.theory import fisher, tangent

if TYPE_CHECKING:
    import xarray

SHOWN_NETWORKS = 10_000
SHOWN_SPECTRA = 200
MAX_EXACT = 8  # inputs of unequal overlaps up to which every entry of the kernel is computed


class Fisher(NamedTuple):
    """Leading-order predictions for a point, in the units of F."""

    lambda_max: float
    trace: float
    formula: float


def predicted(setting: Setting) -> Fisher | None:
    """The Fisher matrix of a point in the limit; None where there is no theory of it.

    Notes
    -----
    Through duality: the kernel of the actual inputs, or of the law of inputs drawn anew, has the eigenvalues T lambda.
    ``formula`` is :func:`mcnet.theory.fisher.eigenvalue_statistics`, for inputs of one length and one overlap, M_0 = M
    and the ``standard`` parametrisation; NaN elsewhere. Of many inputs of unequal overlaps only that is given.
    """
    law, t = setting.law, setting.inputs
    if law["normalization"] != "none" or not np.isfinite(setting.gram).all():
        return None
    gram = setting.gram[:2, :2]
    alike = t > 2 and np.allclose(setting.gram, np.where(np.eye(t, dtype=bool), gram[0, 0], gram[0, 1]), rtol=1e-12)
    theta = tangent.kernel(
        gram if alike else setting.gram[:MAX_EXACT, :MAX_EXACT],
        setting.activation,
        law["sigma_w2"],
        law["sigma_b2"],
        setting.depth,
        law["parameterization"],
        law["train_biases"],
        setting.width,
        input_dimension=setting.input_dimension,
    )
    outputs = int(law["outputs"] or 1)
    formula = np.nan
    fitting = law["q0"] is not None and setting.input_dimension == setting.width and t > 1
    if fitting and law["parameterization"] == "standard":
        formula = fisher.eigenvalue_statistics(
            setting.activation,
            law["sigma_w2"],
            law["sigma_b2"],
            setting.depth,
            setting.width,
            t,
            outputs,
            law["q0"],
            law["q0"] * (law["c0"] or 0.0),
            law["train_biases"],
        ).lambda_max
    if t > MAX_EXACT and not alike:
        return Fisher(np.nan, np.nan, formula)
    if alike:
        return Fisher(float(theta[0, 0] + (t - 1) * theta[0, 1]) / t, outputs * float(theta[0, 0]), formula)
    return Fisher(float(np.linalg.eigvalsh(theta)[-1]) / t, outputs * float(np.trace(theta)) / t, formula)


class Spectra(NamedTuple):
    """What figures show of the Fisher matrix of a family; empty lists where it was not measured.

    Attributes
    ----------
    limits : list of Fisher or None
        Of each width.
    top : list of (ranks,) arrays
        Mean over networks of the largest eigenvalues, up to C + 1, at each width.
    eigenvalues : (networks, ranks)
        Of some networks of the largest width.
    bounds : list of (networks,) arrays
        2/lambda_max of some networks, at each width.
    """

    limits: list[Fisher | None]
    top: list[Floats]
    eigenvalues: Floats
    bounds: list[Floats]


def spectra(tree: xarray.DataTree, family: Family, limits: list[Fisher | None]) -> Spectra:
    """Collect what figures show."""
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


def fisher_rows(
    family: Family, columns: Sequence[Column], measured: Sequence[Moments], theory: Theory
) -> tuple[list[Row], list[Fisher | None]]:
    """Rows of order "limit" for lambda_max (of several outputs the mean of the C largest) and the trace.

    The statistic "lambda_max" is held against the formula of Karakida, Akaho and Amari, "mean" against the kernel of
    the inputs themselves. The error includes a relative neglected order of 5 depth/M (first eigenvalue of C > 1
    outputs: also the splitting, sqrt(C/M)).
    """
    names = {column.observable: j for j, column in enumerate(columns)}
    top = names.get("fim_lambda_top", names.get("fim_lambda_max"))
    wanted = [(top, "lambda_max"), (names.get("fim_trace"), "trace")]
    if all(j is None for j, _ in wanted) or theory.why_no_limit(family.first) is not None:
        return [], []
    found = [predicted(setting) for setting in family.settings]
    rows = []
    for setting, m, limit in zip(family.settings, measured, found, strict=True):
        if limit is None:
            continue
        unit = float(setting.width) if setting.law["parameterization"] == "standard" else 1.0
        for j, what in wanted:
            if j is None:
                continue
            values = {"mean": limit.lambda_max, "lambda_max": limit.formula}
            if what == "trace":
                values = {"mean": limit.trace}
            outputs = int(setting.law["outputs"] or 1)
            split = outputs / setting.width if outputs > 1 and columns[j].observable == "fim_lambda_max" else 0.0
            relative = float(np.hypot(GROWTH * setting.depth / setting.width, np.sqrt(split)))
            rows += [
                comparison(
                    columns[j],
                    setting.point,
                    statistic,
                    "limit",
                    measured=unit * m.mean[j],
                    statistical=unit * m.mean_error[j],
                    neglected=relative * value,
                    predicted=value,
                    networks=int(m.defined[j]),
                    support=m.mean_support[j],
                )
                for statistic, value in values.items()
                if np.isfinite(value)
            ]
    return rows, found


def growth_exponent(widths: Floats, mean: Floats, error: Floats) -> tuple[float, float]:
    """Slope of log mean against log width by weighted least squares, and its error (by the scatter, if larger)."""
    x, y, weight = np.log(widths), np.log(mean), (mean / error) ** 2
    x = x - np.average(x, weights=weight)
    slope = float(np.sum(weight * x * y) / np.sum(weight * x * x))
    residual = y - np.average(y, weights=weight) - slope * x
    scatter = float(np.sum(weight * residual**2) / max(len(x) - 2, 1)) if len(x) > 2 else 1.0
    return slope, float(np.sqrt(max(scatter, 1.0) / np.sum(weight * x * x)))
