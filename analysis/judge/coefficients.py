"""Coefficients fitted over the widths of a family, their comparison with theory, and the whitened verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mcnet_analysis.judge.power import Information, deviations
from mcnet_analysis.judge.table import SUPPORT, Flags, Row, Scales, comparison
from mcnet_analysis.predict.catalog import OBSERVABLES
from mcnet_analysis.predict.prediction import Predicted
from mcnet_analysis.statistics import scaling
from mcnet_analysis.statistics.estimate import Floats, Moments
from mcnet_analysis.statistics.scaling import Fit
from mcnet_analysis.statistics.verdict import Verdict, judge, with_outliers, with_truncation
from mcnet_analysis.study import Column, Family
from numpy.typing import NDArray

_RESOLVED = 0.25  # largest truncation error, in statistical errors, of a coefficient that enters the verdict
_WEIGHT = 0.05  # share of the squared error from which on a width must have trusted errors

FREE = "limits fitted without theory (a1 of the same data is weighed)"
NEGLECTED = "coefficients (the neglected orders are not small against the error)"
SAMPLED = "coefficients (the prediction was sampled, with a larger error than the networks)"
HEAVY = "coefficients (errors from too few effective networks)"
EXPLAINED = "coefficients (explained to 95 % by those that are weighed)"
TOO_MANY = "coefficients (more than one for ten networks)"
CONSTANT = "columns (they do not fluctuate)"
NO_ERROR = "coefficients (no error at some width)"


class Coefficients(NamedTuple):
    """Rows of the comparison table, the fits behind them, the verdict, what has no row and why, what would be seen."""

    comparisons: list[Row]
    fits: list[Row]
    verdict: Verdict
    missing: dict[str, int]
    information: Information


class _Target(NamedTuple):
    """What is fitted: y = statistic - offset over the columns `which`, whose leading coefficient is `name`."""

    statistic: str
    name: str
    order: str
    first: int
    which: Flags
    offset: Floats  # (W, p)
    predicted: Floats
    judged: bool


class _Fitted(NamedTuple):
    """Fits of the columns `at`; `support` is the smallest effective number of networks that matters.

    ``theory`` is the standard error of the predicted coefficient, and of the limit that was taken off, together.
    """

    at: NDArray[np.intp]
    fit: Fit
    support: Floats
    without: Floats
    z_without: Floats
    theory: Floats

    @property
    def beside(self) -> Floats:
        """Standard error beside the statistical one: of neglected orders, and of theory where it was sampled."""
        return np.hypot(self.fit.truncation[:, 0], self.theory)


class _Vector(NamedTuple):
    """What is judged: entry j of the means, s + j of the variances, of s columns.

    ``rows`` are those that may be weighed, ``others`` those whose errors are trusted and too large to be; ``support``
    is the effective number of networks behind each error.
    """

    deviation: Floats
    truncation: Floats
    support: Floats
    weights: Floats  # (2 s, W)
    rows: dict[int, Row]
    others: dict[int, Row]


def fit_family(
    family: Family,
    columns: Sequence[Column],
    measured: Sequence[Moments],
    predictions: Sequence[Predicted],
    scales: Scales,
) -> Coefficients:
    """Fit means and variances of all columns over the widths.

    With a 1/M theory the limit is taken from it and a1 is fitted; the limit is then also fitted free, for the table
    only. Without, the limit is what is compared. Variances start with v1/M; those of observables that stay random
    at infinite width are not fitted. Widths with fewer than three networks
    have no error of the variance and are not used. What theory says to differ between the widths (inputs of a fixed
    dimension, other vectors) is taken off before, so that the coefficients are those of the largest width.

    The verdict takes a1 (or the limit) and v1 of all columns, except those whose truncation error exceeds a quarter
    of the statistical one (it is unknown how theirs are correlated, and a chi-square with too much independent error
    would agree too well), those whose prediction was sampled with a larger error than the networks, and those whose
    errors rest on too few effective networks. Each row says why it is left out.
    """
    some = [i for i, m in enumerate(measured) if m.networks >= 3]
    rows: list[Row] = []
    fits: list[Row] = []
    s = len(columns)
    vector = _Vector(np.full(2 * s, np.nan), np.zeros(2 * s), np.zeros(2 * s), np.zeros((2 * s, len(some))), {}, {})
    missing: dict[str, int] = {}
    widths, chosen, known = family.widths[some], [measured[i] for i in some], [predictions[i] for i in some]
    for target in _targets(known, widths, _settling(columns)):
        done = _fit_target(target, widths, chosen, scales, known[-1])
        if target.judged:
            _count_missing(missing, target, done, columns, known[-1].why_not, scales.varying)
        if done is None:
            continue
        mine = _rows(target, done, family, columns, sum(m.networks for m in chosen))
        fits += [_fit_row(target, done, k, family, columns[int(j)]) for k, j in enumerate(done.at)]
        rows += mine.values()
        if target.judged:
            _enter(vector, target, done, mine, s)
    verdict, information = _whiten(vector, columns, chosen, known, scales)
    return Coefficients(rows, fits, verdict, missing, information)


def _settling(columns: Sequence[Column]) -> Flags:
    """Columns in which networks of infinite width are all alike: their variance starts with v1/M."""
    return np.array([not OBSERVABLES[column.observable].stays_random for column in columns], dtype=bool)


def _targets(predictions: Sequence[Predicted], widths: Floats, settling: Flags) -> list[_Target]:
    if not widths.size:
        return []
    last = predictions[-1]
    limits, a1s, v1s = (np.array([getattr(p, name) for p in predictions]) for name in ("limit", "a1", "v1"))
    to_first = np.isfinite(a1s).all(axis=0) & np.isfinite(limits).all(axis=0)
    of_means = np.where(to_first, (a1s - last.a1) / widths[:, None], 0.0)  # what differs between the widths
    of_limits = np.where(np.isfinite(limits).all(axis=0), limits - last.limit, 0.0)
    of_variances = np.where(np.isfinite(v1s).all(axis=0), (v1s - last.v1) / widths[:, None], 0.0)
    targets = [
        _Target("mean", "a1", "1/M", 1, to_first, limits + of_means, last.a1, True),
        _Target("mean", "limit", "limit", 0, ~to_first, of_limits, last.limit, True),
        _Target("variance", "v1", "1/M", 1, settling, of_variances, last.v1, True),
    ]
    if widths.size >= 3:
        targets.append(_Target("mean", "limit", "limit", 0, to_first, of_limits + of_means, last.limit, False))
    return targets


def _fit_target(
    target: _Target, widths: Floats, measured: Sequence[Moments], scales: Scales, last: Predicted
) -> _Fitted | None:
    mean = target.statistic == "mean"
    errors = np.array([m.mean_error if mean else m.variance_error for m in measured])
    at = np.flatnonzero(target.which & scales.varying & np.all(np.isfinite(errors) & (errors > 0), axis=0))
    if not at.size:
        return None
    y = np.array([(m.mean if mean else m.variance)[at] for m in measured]) - target.offset[:, at]
    error = errors[:, at]
    scale = (scales.mean if mean else scales.variance)[at]
    growth = (scales.mean_growth if mean else scales.variance_growth)[at]
    fitted = scaling.fit(widths, y, error, scale=scale, growth=growth, first=target.first)
    without, z_without = scaling.drop_smallest(widths, y, error, fitted, scale=scale, growth=growth)
    support = np.array([(m.mean_support if mean else m.variance_support)[at] for m in measured])
    share = (fitted.weights[:, 0, :].T * error) ** 2 / fitted.statistical[:, 0] ** 2
    of_limit, of_a1, of_v1 = last.errors[:, at]
    of_a1 = np.hypot(fitted.weights[:, 0, :].sum(axis=1) * of_limit, of_a1)  # the limit is taken off at every width
    theory = {"a1": of_a1, "v1": of_v1, "limit": of_limit}[target.name]
    return _Fitted(at, fitted, np.where(share > _WEIGHT, support, np.inf).min(0), without, z_without, theory)


def _count_missing(
    missing: dict[str, int],
    target: _Target,
    done: _Fitted | None,
    columns: Sequence[Column],
    reasons: Sequence[str],
    varying: Flags,
) -> None:
    """Count the columns of a target that get no row, by reason."""
    fitted = set() if done is None else set(done.at.tolist())
    for j in np.flatnonzero(target.which).tolist():
        if not np.isfinite(target.predicted[j]):
            name = "v1" if target.name == "v1" else "means"
            why = reasons[j] or "no prediction"
            what = f"{name} of {columns[j].observable} ({why})"
        elif not varying[j]:
            what = CONSTANT
        elif j not in fitted:
            what = NO_ERROR
        else:
            continue
        missing[what] = missing.get(what, 0) + 1


def _enter(vector: _Vector, target: _Target, done: _Fitted, rows: dict[int, Row], columns: int) -> None:
    """What of a target is judged, and why the rest is not."""
    fit, place = done.fit, done.at + (0 if target.statistic == "mean" else columns)
    for k, j in enumerate(done.at.tolist()):
        row = rows.get(j)
        if row is None:
            continue
        vector.support[place[k]] = done.support[k]
        if done.support[k] < SUPPORT:
            row["left_out"] = HEAVY
        elif not fit.truncation[k, 0] <= _RESOLVED * fit.statistical[k, 0]:
            row["left_out"] = NEGLECTED
            vector.others[int(place[k])] = row
        elif done.theory[k] > fit.statistical[k, 0]:
            row["left_out"] = SAMPLED
            vector.others[int(place[k])] = row
        else:
            vector.deviation[place[k]] = fit.coefficient[k, 0] - target.predicted[j]
            vector.weights[place[k]] = fit.weights[k, 0, :]
            vector.truncation[place[k]] = done.beside[k]
            vector.rows[int(place[k])] = row


def _whiten(
    vector: _Vector,
    columns: Sequence[Column],
    measured: Sequence[Moments],
    predictions: Sequence[Predicted],
    scales: Scales,
) -> tuple[Verdict, Information]:
    """Judge fitted coefficients: covariance = sum over widths of (weight weight^T) o Cov, and truncation."""
    use = np.flatnonzero(np.isfinite(vector.deviation))
    if not use.size:
        return _with_others(judge([], np.empty((0, 0)), 0.0), vector), {}
    weights = vector.weights
    parts = [
        np.outer(weights[use, i], weights[use, i]) * m.covariance[np.ix_(use, use)] for i, m in enumerate(measured)
    ]
    covariance = np.sum(parts, axis=0)
    share = np.array([np.mean(np.diag(part) / np.diag(covariance)) for part in parts])
    free = 1.0 / np.sum(share**2 / np.array([m.networks - 1.0 for m in measured]))  # Welch and Satterthwaite
    patterns = deviations(vector.rows, weights, columns, measured, predictions[-1], scales)
    verdict = judge(
        vector.deviation[use],
        with_truncation(covariance, vector.truncation[use]),
        free + 1.0,
        support=vector.support[use],
        first=np.searchsorted(use, _one_of_each(vector.rows)).tolist(),
        patterns=np.array([pattern[use] for pattern in patterns.values()]).reshape(len(patterns), use.size),
    )
    weighed = set(use[verdict.chosen].tolist())
    for place, row in vector.rows.items():
        if place not in weighed:
            row["left_out"] = TOO_MANY if verdict.full else EXPLAINED
            vector.others[place] = row
    return _with_others(verdict, vector), dict(zip(patterns, verdict.information.tolist(), strict=True))


def _with_others(verdict: Verdict, vector: _Vector) -> Verdict:
    """The verdict with what did not enter; a row that is a verdict of its own is weighed."""
    places = list(vector.others)
    z = np.array([vector.others[place]["z"] for place in places])
    known = np.isfinite(z)
    found = with_outliers(verdict, z[known], vector.support[places][known])
    if found.dof > verdict.dof:
        vector.others[places[int(np.nanargmax(np.abs(z)))]]["left_out"] = None
    return found


def _one_of_each(rows: dict[int, Row]) -> list[int]:
    """Of every observable and statistic the coefficient of the deepest layer and the first inputs, in their order."""
    chosen: dict[tuple[str, str], tuple[int, int]] = {}
    for place, row in sorted(rows.items()):
        key, layer = (row["observable"], row["statistic"]), row["layer"] or 0
        if key not in chosen or layer > chosen[key][1]:
            chosen[key] = place, layer
    return [place for place, _ in chosen.values()]


def _rows(target: _Target, done: _Fitted, family: Family, columns: Sequence[Column], networks: int) -> dict[int, Row]:
    """Rows by column."""
    fit = done.fit
    return {
        int(j): comparison(
            columns[int(j)],
            family.point,
            target.name,
            target.order,
            measured=fit.coefficient[k, 0],
            statistical=fit.statistical[k, 0],
            neglected=done.beside[k],
            predicted=target.predicted[j],
            networks=networks,
            support=done.support[k],
            left_out=None if target.judged else FREE,
        )
        for k, j in enumerate(done.at)
        if np.isfinite(target.predicted[j])
    }


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
