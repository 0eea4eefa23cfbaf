"""Moments of spectra fitted over the widths: a1 and v1 where theory has the terms of order 1/M, else the limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mcnet_analysis.judge.power import Information
from mcnet_analysis.judge.table import GROWTH, SUPPORT, Row, comparison
from mcnet_analysis.predict.spectra import SpectralKind, moment_coefficients
from mcnet_analysis.statistics import scaling
from mcnet_analysis.statistics.estimate import Floats, Moments
from mcnet_analysis.statistics.verdict import Verdict, judge, with_truncation
from mcnet_analysis.study import Column, Family, Setting
from numpy.typing import NDArray

_RESOLVED = 0.25  # largest truncation error, in statistical errors, of a coefficient that enters the verdict
CONSTANT = 1e-6  # relative spread below which there is only rounding

FEW_NETWORKS = "moments (errors from too few effective networks)"
EXPLAINED = "moments (explained to 95 % by those that are weighed)"
TOO_MANY = "moments (more than one for ten networks)"
NEGLECTED = "moments over the widths (the neglected orders are not small against the error)"
EXACT_WEIGHED = "moments over the widths (the exact moments of the same networks are weighed)"

Usable = Sequence[tuple[Setting, Moments, Floats]]


class MomentFits(NamedTuple):
    """Rows of the table of comparisons, the verdict on them, and what it would have seen."""

    rows: list[Row]
    verdict: Verdict
    information: Information


class _Target(NamedTuple):
    """What is fitted to the moments ``at``: y = statistic - offset, whose leading coefficient is ``name``."""

    statistic: str
    name: str
    order: str
    first: int
    at: NDArray[np.intp]
    offset: Floats
    predicted: Floats
    scale: Floats


def moment_fits(kind: SpectralKind, family: Family, usable: Usable, *, to_first: bool, judge_them: bool) -> MomentFits:
    """Fit the moments of a spectrum over the widths and compare with theory.

    Parameters
    ----------
    kind : SpectralKind
    family : Family
    usable : sequence of (Setting, Moments, limits of moments 1, 2, ...)
        Of at least two widths.
    to_first : bool
        Whether 1/M terms are among the theories asked for.
    judge_them : bool
        False where exact moments of the same networks make the verdict: there are only limits then.

    Notes
    -----
    Of J J^T the 1/M terms of tr (J J^T)^k, k = 1, 2, are known for fixed inputs: a1 of their means (limit taken off)
    and v1 of their variances are fitted. Of everything else the limit, with 1/M terms of unknown size: of order
    mu_k k^2 s/2 and growing by k^2 s/1.5, with s = mu_2/mu_1^2 - 1 the relative variance of the limit law, at least
    1/2. That bounds what is known (linear and relu networks exactly); it bounds the next orders of a1 and v1 too.
    """
    count = len(usable[0][1].mean)
    means, variances = (np.array([getattr(m, name) for _, m, _ in usable]) for name in ("mean", "variance"))
    weights, truncation, support = np.zeros((2 * count, len(usable))), np.zeros(2 * count), np.zeros(2 * count)
    deviation = np.full(2 * count, np.nan)
    first_order = {"a1": np.zeros(2 * count), "v1": np.zeros(2 * count)}
    rows: dict[int, Row] = {}
    targets, growth = _targets(kind, family, usable, to_first and judge_them)
    for target in targets:
        fitted, behind = _fit(target, usable, growth)
        for i, j in enumerate(target.at.tolist()):
            place = j + (count if target.statistic == "variance" else 0)
            row = comparison(
                column(kind, family.first),
                family.point,
                target.name,
                target.order,
                measured=fitted.coefficient[i, 0],
                statistical=fitted.statistical[i, 0],
                neglected=fitted.truncation[i, 0],
                predicted=target.predicted[i],
                networks=sum(m.networks for _, m, _ in usable),
                support=behind[i],
                left_out=None if judge_them else EXACT_WEIGHED,
            )
            rows[place] = {**row, "k": j + 1}
            weights[place], truncation[place] = fitted.weights[i, 0], fitted.truncation[i, 0]
            support[place] = behind[i]
            if target.name in first_order:
                first_order[target.name][place] = target.predicted[i]
            if behind[i] < SUPPORT:
                rows[place]["left_out"] = FEW_NETWORKS
            elif fitted.truncation[i, 0] > _RESOLVED * fitted.statistical[i, 0]:
                rows[place]["left_out"] = NEGLECTED
            else:
                deviation[place] = fitted.coefficient[i, 0] - target.predicted[i]
    if not judge_them or not rows:
        return MomentFits(list(rows.values()), judge([], np.empty((0, 0)), 0.0), {})
    parts = [np.outer(w, w) * m.covariance for w, (_, m, _) in zip(weights.T, usable, strict=True)]
    scaled = (weights * np.concatenate([means, 2.0 * variances], axis=1).T).sum(axis=1)
    patterns = {"values": scaled, **{name: p for name, p in first_order.items() if (p * np.isfinite(deviation)).any()}}
    verdict = judge(
        deviation,
        with_truncation(np.sum(parts, axis=0), truncation),
        min(m.networks for _, m, _ in usable),
        patterns=np.array(list(patterns.values())),
        support=support,
    )
    say_what_is_left({place: row for place, row in rows.items() if row["left_out"] is None}, verdict)
    name = column(kind, family.first).observable
    seen = {
        (name, of): amount for of, amount in zip(patterns, verdict.information.tolist(), strict=True) if verdict.dof
    }
    return MomentFits(list(rows.values()), verdict, seen)


def say_what_is_left(rows: dict[int, Row], verdict: Verdict) -> None:
    """Why candidates that were not chosen are left out."""
    for j in rows.keys() - set(verdict.chosen.tolist()):
        rows[j]["left_out"] = TOO_MANY if verdict.full else EXPLAINED


def column(kind: SpectralKind, setting: Setting) -> Column:
    """Where the moments of a spectrum stand in the tables."""
    return Column(kind.moments or f"{kind.name}_moment", (0,), setting.depth)


def _targets(kind: SpectralKind, family: Family, usable: Usable, to_first: bool) -> tuple[list[_Target], Floats]:
    """What is fitted, and how much orders grow, for each moment."""
    limits = usable[0][2]
    k = np.arange(1.0, limits.size + 1.0)
    spread = max(0.5, limits[1] / limits[0] ** 2 - 1.0) if limits.size > 1 else 0.5
    scale, growth = np.abs(limits) * k**2 * spread / 2, np.maximum(GROWTH, k**2 * spread / 1.5)
    fluctuates = np.all([_fluctuates(m, limits.size) for _, m, _ in usable], axis=0) & np.isfinite(limits)
    known = moment_coefficients(family.first) if to_first and kind.name == "jacobian" else None
    if known is None:
        at = np.flatnonzero(fluctuates)
        return [_Target("mean", "moment", "limit", 0, at, np.zeros(at.size), limits[at], scale[at])], growth
    at, higher = np.flatnonzero(fluctuates[:2]), 2 + np.flatnonzero(fluctuates[2:])
    a1, v1, nothing = known.mean[at], known.variance[at], np.zeros(at.size)
    return [
        _Target("mean", "a1", "1/M", 1, at, limits[at], a1, np.maximum(np.abs(a1), scale[at])),
        _Target("mean", "moment", "limit", 0, higher, np.zeros(higher.size), limits[higher], scale[higher]),
        _Target("variance", "v1", "1/M", 1, at, nothing, v1, v1),
    ], growth


def _fluctuates(m: Moments, count: int) -> NDArray[np.bool_]:
    floor = CONSTANT * np.abs(m.mean[:count]) / np.sqrt(m.networks)
    return np.asarray(m.mean_error[:count] > floor)


def _fit(target: _Target, usable: Usable, growth: Floats) -> tuple[scaling.Fit, Floats]:
    """The fits, and the smallest effective number of networks behind each."""
    at, name = target.at, target.statistic
    y, errors, support = (
        np.array([getattr(m, what)[at] for _, m, _ in usable]) for what in (name, f"{name}_error", f"{name}_support")
    )
    widths = np.array([setting.width for setting, _, _ in usable], dtype=np.float64)
    fitted = scaling.fit(widths, y - target.offset, errors, scale=target.scale, growth=growth[at], first=target.first)
    return fitted, support.min(axis=0)
