"""Moments of spectra against theory: exactly at every width where that is known, else their limits over the widths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mcnet_analysis.judge.power import Information, added
from mcnet_analysis.judge.table import GROWTH, SUPPORT, Row, comparison
from mcnet_analysis.predict.spectra import SpectralKind, exact_moments, exact_zero_mass
from mcnet_analysis.statistics import scaling
from mcnet_analysis.statistics.distance import LawTable
from mcnet_analysis.statistics.estimate import Floats, Moments, moments
from mcnet_analysis.statistics.verdict import Verdict, combine, judge, with_truncation
from mcnet_analysis.study import Column, Family, Setting

from mcnet.theory import jacobian, mean_field

_RESOLVED = 0.25  # largest truncation error, in statistical errors, of a limit that enters the verdict
_CONSTANT = 1e-6  # relative spread below which there is only rounding

HEAVY_TAILS = "exact moments (depth/width > 0.1: heavy tails)"
FEW_NETWORKS = "moments (errors from too few effective networks)"
EXPLAINED = "moments (explained to 95 % by those that are weighed)"
TOO_MANY = "moments (more than one for ten networks)"
NEGLECTED = "limits of moments (1/M terms are not small against the error)"
EXACT_WEIGHED = "limits of moments (the exact moments of the same networks are weighed)"
OTHERS_WEIGHED = "moments of spectra (other observables of the same networks are weighed)"


class MomentRows(NamedTuple):
    """Rows of the table of comparisons and the verdict on them."""

    comparisons: list[Row]
    verdict: Verdict
    information: Information


def moment_rows(
    kind: SpectralKind,
    family: Family,
    samples: Sequence[Floats | None],
    tables: Sequence[LawTable | None],
    heavy: float,
) -> MomentRows:
    """Compare the moments of a spectrum with theory.

    Parameters
    ----------
    kind : SpectralKind
    family : Family
    samples : sequence of (N, orders) arrays
        Moments 1, 2, ... by network for each width; of a Jacobian the share of zero eigenvalues is the last column.
    tables : sequence of LawTable or None
        Predicted laws.
    heavy : float
        Depth over width beyond which moments stay out of the verdict.

    Notes
    -----
    Exact, where the slopes are independent of the weights (linear, relu, leaky-relu): E mu_1, E mu_2, Var mu_1, and for
    relu the mean share of zeros, at every width; they make the verdict, with their joint jackknife covariance.
    Otherwise the limits of the moments, fitted over the widths with a free limit and 1/M terms of unknown size.
    """
    rows: list[Row] = []
    verdicts = []
    known: list[Information] = []
    measured = [None if sample is None or len(sample) < 3 else moments(sample) for sample in samples]
    for setting, m in zip(family.settings, measured, strict=True):
        if m is not None and kind.name == "jacobian":
            exact, verdict = _exact(setting, m, heavy)
            rows += exact
            verdicts.append(verdict)
            known.append(_information("jacobian_moment", verdict))
    judged = combine(verdicts)
    usable = [
        (setting, m, table)
        for setting, m, table in zip(family.settings, measured, tables, strict=True)
        if m is not None and table is not None and setting.depth <= heavy * setting.width
    ]
    if len(usable) >= 2:
        limits, verdict = _limits(kind, family, usable, judge_them=judged.dof == 0)
        rows += limits
        judged = combine([judged, verdict])
        known.append(_information(_column(kind, family.first).observable, verdict))
    return MomentRows(rows, judged, added(known))


def no_rows() -> MomentRows:
    """Nothing compared."""
    return MomentRows([], combine([]), {})


def _information(observable: str, verdict: Verdict) -> Information:
    return {(observable, "values"): float(verdict.information[0])} if verdict.dof else {}


def _say_what_is_left(rows: dict[int, Row], verdict: Verdict) -> None:
    """Why candidates that were not chosen are left out."""
    for j in rows.keys() - set(verdict.chosen.tolist()):
        rows[j]["left_out"] = TOO_MANY if verdict.full else EXPLAINED


def _column(kind: SpectralKind, setting: Setting) -> Column:
    return Column(kind.moments or f"{kind.name}_moment", (0,), setting.depth)


def _exact(setting: Setting, m: Moments, heavy: float) -> tuple[list[Row], Verdict]:
    """Rows of order "exact" at one width."""
    nothing = judge([], np.empty((0, 0)), 0.0)
    known = exact_moments(setting)
    if known is None:
        return [], nothing
    p = m.mean.size
    predicted = np.full(2 * p, np.nan)  # means, then variances, as in the joint covariance
    predicted[0], predicted[1], predicted[p] = known.first, known.second, known.first_variance
    zeros = exact_zero_mass(setting)
    if zeros is not None:
        predicted[p - 1], predicted[2 * p - 1] = zeros
    seen, error = np.concatenate([m.mean, m.variance]), np.concatenate([m.mean_error, m.variance_error])
    support = np.concatenate([m.mean_support, m.variance_support])
    fluctuates = np.tile(np.sqrt(m.variance) > _CONSTANT * np.abs(m.mean), 2)
    rows: dict[int, Row] = {}
    for j in np.flatnonzero(np.isfinite(predicted) & fluctuates).tolist():
        which, statistic = int(j % p), "moment" if j < p else "variance"
        zero = which == p - 1
        row = comparison(
            Column("jacobian_zero" if zero else "jacobian_moment", (0,), setting.depth),
            setting.point,
            ("atom" if j < p else "variance") if zero else statistic,
            "exact",
            measured=seen[j],
            statistical=error[j],
            neglected=0.0,
            predicted=predicted[j],
            networks=m.networks,
            support=support[j],
        )
        rows[j] = row if zero else {**row, "k": which + 1}
    if setting.depth > heavy * setting.width:
        for row in rows.values():
            row["left_out"] = HEAVY_TAILS
        return list(rows.values()), nothing
    trusted = {j: row for j, row in rows.items() if support[j] >= SUPPORT}
    for j in rows.keys() - trusted.keys():
        rows[j]["left_out"] = FEW_NETWORKS
    deviation = np.full(2 * p, np.nan)
    deviation[list(trusted)] = (seen - predicted)[list(trusted)]
    scaled = np.nan_to_num(np.concatenate([m.mean, 2.0 * m.variance]))
    scaled[[p - 1, 2 * p - 1]] = 0.0  # the share of zeros has no scale
    verdict = judge(deviation, m.covariance, m.networks, patterns=scaled[None], support=support)
    _say_what_is_left(trusted, verdict)
    return list(rows.values()), verdict


def _limits(
    kind: SpectralKind,
    family: Family,
    usable: Sequence[tuple[Setting, Moments, LawTable]],
    *,
    judge_them: bool,
) -> tuple[list[Row], Verdict]:
    """Rows of order "limit": moments at M -> infinity, fitted over the widths.

    The unknown coefficients of 1/M are taken as mu_k k^2 s/2 and growing by k^2 s/1.5, with s = mu_2/mu_1^2 - 1 the
    relative variance of the limit law, at least 1/2: that bounds what is known (linear and relu networks exactly).
    """
    table = usable[-1][2]
    limits = _limit_moments(kind, family.first, table, usable[0][1])
    count = limits.size
    widths = np.array([setting.width for setting, _, _ in usable], dtype=np.float64)
    means = np.array([m.mean[:count] for _, m, _ in usable])
    errors = np.array([m.mean_error[:count] for _, m, _ in usable])
    fluctuates = np.all(errors > _CONSTANT * np.abs(means) / np.sqrt([[m.networks] for _, m, _ in usable]), axis=0)
    at = np.flatnonzero(fluctuates & np.isfinite(limits))
    nothing = judge([], np.empty((0, 0)), 0.0)
    if not at.size:
        return [], nothing
    k = at + 1.0
    spread = max(0.5, limits[1] / limits[0] ** 2 - 1.0) if count > 1 else 0.5
    scale, growth = np.abs(limits[at]) * k**2 * spread / 2, np.maximum(GROWTH, k**2 * spread / 1.5)
    fitted = scaling.fit(widths, means[:, at], errors[:, at], scale=scale, growth=growth, first=0)
    support = np.min([m.mean_support[at] for _, m, _ in usable], axis=0)
    rows: dict[int, Row] = {}
    for i, j in enumerate(at.tolist()):
        row = comparison(
            _column(kind, family.first),
            family.point,
            "moment",
            "limit",
            measured=fitted.coefficient[i, 0],
            statistical=fitted.statistical[i, 0],
            neglected=fitted.truncation[i, 0],
            predicted=limits[j],
            networks=sum(m.networks for _, m, _ in usable),
            support=support[i],
        )
        rows[i] = {**row, "k": j + 1}
    if not judge_them:
        for row in rows.values():
            row["left_out"] = EXACT_WEIGHED
        return list(rows.values()), nothing
    resolved = (fitted.truncation[:, 0] <= _RESOLVED * fitted.statistical[:, 0]) & (support >= SUPPORT)
    for i in np.flatnonzero(~resolved).tolist():
        rows[i]["left_out"] = NEGLECTED if support[i] >= SUPPORT else FEW_NETWORKS
    deviation = np.where(resolved, fitted.coefficient[:, 0] - limits[at], np.nan)
    weights = fitted.weights[:, 0, :]
    parts = [
        np.outer(weights[:, i], weights[:, i]) * m.covariance[np.ix_(at, at)] for i, (_, m, _) in enumerate(usable)
    ]
    covariance = with_truncation(np.sum(parts, axis=0), fitted.truncation[:, 0])
    networks = min(m.networks for _, m, _ in usable)
    verdict = judge(deviation, covariance, networks, patterns=fitted.coefficient[:, 0][None], support=support)
    _say_what_is_left({i: rows[i] for i in np.flatnonzero(resolved).tolist()}, verdict)
    return list(rows.values()), verdict


def _limit_moments(kind: SpectralKind, setting: Setting, table: LawTable, m: Moments) -> Floats:
    """Moments 1, 2, ... of the limit law, as many as were measured; of J J^T all, else two."""
    if kind.name != "jacobian":
        return np.array([table.law.mean, table.law.second_moment])
    law = setting.law
    q = mean_field.lengths(
        setting.activation, law["sigma_w2"], law["sigma_b2"], float(setting.gram[0, 0]), setting.depth
    )
    arguments = (setting.activation, law["weights"], law["sigma_w2"], law["sigma_b2"], setting.depth)
    return np.asarray(jacobian.moments(*arguments, m.mean.size - 1, q))
