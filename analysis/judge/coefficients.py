"""Coefficients fitted over the widths of a family, their comparison with theory, and the whitened verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mcnet_analysis.judge.table import SUPPORT, Flags, Row, Scales, comparison
from mcnet_analysis.predict.prediction import Predicted
from mcnet_analysis.statistics import scaling
from mcnet_analysis.statistics.estimate import Floats, Moments
from mcnet_analysis.statistics.scaling import Fit
from mcnet_analysis.statistics.verdict import Verdict, judge
from mcnet_analysis.study import Column, Family
from numpy.typing import NDArray

_RESOLVED = 0.25  # largest truncation error, in statistical errors, of a coefficient that enters the verdict
_WEIGHT = 0.05  # share of the squared error from which on a width must have trusted errors


class Coefficients(NamedTuple):
    """Rows of the comparison table, the fits behind them, the verdict, and what it leaves out."""

    comparisons: list[Row]
    fits: list[Row]
    verdict: Verdict
    beyond: int
    heavy: int


class _Target(NamedTuple):
    """What is fitted: y = statistic - offset over the columns `which`, whose leading coefficient is `name`."""

    statistic: str
    name: str
    order: str
    first: int
    which: Flags
    offset: Floats
    predicted: Floats
    judged: bool


class _Fitted(NamedTuple):
    """Fits of the columns `at`; `support` is the smallest effective number of networks that matters."""

    at: NDArray[np.intp]
    fit: Fit
    support: Floats
    without: Floats
    z_without: Floats


def fit_family(
    family: Family, columns: Sequence[Column], measured: Sequence[Moments], predicted: Predicted, scales: Scales
) -> Coefficients:
    """Fit means and variances of all columns over the widths.

    With a 1/M theory the limit is taken from it and a1 is fitted; the limit is then also fitted free, for the table
    only. Without, the limit is what is compared. Variances start with v1/M. Widths with fewer than three networks
    have no error of the variance and are not used.

    The verdict takes a1 (or the limit) and v1 of all columns, except those whose truncation error exceeds a quarter
    of the statistical one (`beyond` counts them; it is unknown how theirs are correlated, and a chi-square with too
    much independent error would agree too well) and those whose errors rest on too few effective networks (`heavy`).
    """
    some = [i for i, m in enumerate(measured) if m.networks >= 3]
    rows: list[Row] = []
    fits: list[Row] = []
    s = len(columns)
    deviation, truncation = np.full(2 * s, np.nan), np.zeros(2 * s)
    weights = np.zeros((2 * s, len(some)))
    beyond = heavy = 0
    widths, chosen = family.widths[some], [measured[i] for i in some]
    for target in _targets(predicted, len(some)):
        done = _fit_target(target, widths, chosen, scales)
        if done is None:
            continue
        rows += _rows(target, done, family, columns, sum(m.networks for m in chosen))
        fits += [_fit_row(target, done, k, family, columns[int(j)]) for k, j in enumerate(done.at)]
        if target.judged:
            fit = done.fit
            trusted = done.support >= SUPPORT
            resolved = fit.truncation[:, 0] <= _RESOLVED * fit.statistical[:, 0]
            comparable = np.isfinite(target.predicted[done.at])
            clean = comparable & trusted & resolved
            beyond += int((comparable & trusted & ~resolved).sum())
            heavy += int((comparable & ~trusted).sum())
            place = done.at[clean] + (0 if target.statistic == "mean" else s)
            deviation[place] = fit.coefficient[clean, 0] - target.predicted[done.at[clean]]
            weights[place] = fit.weights[clean, 0, :]
            truncation[place] = fit.truncation[clean, 0]
    return Coefficients(rows, fits, _whiten(deviation, weights, truncation, chosen), beyond, heavy)


def _targets(predicted: Predicted, widths: int) -> list[_Target]:
    if not widths:
        return []
    to_first = np.isfinite(predicted.a1) & np.isfinite(predicted.limit)
    nothing = np.zeros(to_first.size)
    every = np.ones(to_first.size, dtype=bool)
    targets = [
        _Target("mean", "a1", "1/M", 1, to_first, predicted.limit, predicted.a1, True),
        _Target("mean", "limit", "limit", 0, ~to_first, nothing, predicted.limit, True),
        _Target("variance", "v1", "1/M", 1, every, nothing, predicted.v1, True),
    ]
    if widths >= 3:
        targets.append(_Target("mean", "limit", "limit", 0, to_first, nothing, predicted.limit, False))
    return targets


def _fit_target(target: _Target, widths: Floats, measured: Sequence[Moments], scales: Scales) -> _Fitted | None:
    mean = target.statistic == "mean"
    errors = np.array([m.mean_error if mean else m.variance_error for m in measured])
    at = np.flatnonzero(target.which & scales.varying & np.all(np.isfinite(errors) & (errors > 0), axis=0))
    if not at.size:
        return None
    y = np.array([(m.mean if mean else m.variance)[at] - target.offset[at] for m in measured])
    error = errors[:, at]
    scale = (scales.mean if mean else scales.variance)[at]
    growth = (scales.mean_growth if mean else scales.variance_growth)[at]
    fitted = scaling.fit(widths, y, error, scale=scale, growth=growth, first=target.first)
    without, z_without = scaling.drop_smallest(widths, y, error, fitted, scale=scale, growth=growth)
    support = np.array([(m.mean_support if mean else m.variance_support)[at] for m in measured])
    share = (fitted.weights[:, 0, :].T * error) ** 2 / fitted.statistical[:, 0] ** 2
    return _Fitted(at, fitted, np.where(share > _WEIGHT, support, np.inf).min(0), without, z_without)


def _whiten(deviation: Floats, weights: Floats, truncation: Floats, measured: Sequence[Moments]) -> Verdict:
    """Judge fitted coefficients: covariance = sum over widths of (weight weight^T) o Cov, plus truncation."""
    use = np.flatnonzero(np.isfinite(deviation))
    if not use.size:
        return judge([], np.empty((0, 0)), 0.0)
    parts = [
        np.outer(weights[use, i], weights[use, i]) * m.covariance[np.ix_(use, use)] for i, m in enumerate(measured)
    ]
    covariance = np.sum(parts, axis=0)
    share = np.array([np.mean(np.diag(part) / np.diag(covariance)) for part in parts])
    free = 1.0 / np.sum(share**2 / np.array([m.networks - 1.0 for m in measured]))  # Welch and Satterthwaite
    return judge(deviation[use], covariance + np.diag(truncation[use] ** 2), free + 1.0)


def _rows(target: _Target, done: _Fitted, family: Family, columns: Sequence[Column], networks: int) -> list[Row]:
    fit = done.fit
    return [
        comparison(
            columns[int(j)],
            family.point,
            target.name,
            target.order,
            measured=fit.coefficient[k, 0],
            statistical=fit.statistical[k, 0],
            neglected=fit.truncation[k, 0],
            predicted=target.predicted[j],
            networks=networks,
            support=done.support[k],
        )
        for k, j in enumerate(done.at)
        if np.isfinite(target.predicted[j])
    ]


def _fit_row(target: _Target, done: _Fitted, k: int, family: Family, column: Column) -> Row:
    fit, order = done.fit, int(done.fit.order[k])
    letter = "a" if target.statistic == "mean" else "v"
    names = [f"{letter}{power}" for power in range(fit.first, fit.first + order)]
    limit = "free" if fit.first == 0 else ("theory" if target.statistic == "mean" else "zero")
    return {
        "observable": column.observable,
        "point": family.point,
        **column.place,
        "statistic": target.statistic,
        "limit": limit,
        "coefficients": dict(zip(names, fit.coefficient[k, :order].tolist(), strict=True)),
        "errors": dict(zip(names, fit.error[k, :order].tolist(), strict=True)),
        "truncation": float(fit.truncation[k, 0]),
        "predicted": float(target.predicted[done.at[k]]),
        "chi2": float(fit.chi2[k]),
        "dof": int(fit.dof[k]),
        "p_value": float(fit.p_value[k]),
        "without_smallest_width": {"value": float(done.without[k]), "z": float(done.z_without[k])},
    }
