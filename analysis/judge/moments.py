"""Moments of spectra against theory: exactly at every width where that is known, else their limits over the widths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mcnet_analysis.judge.elementary import product_rows
from mcnet_analysis.judge.moment_fits import CONSTANT, FEW_NETWORKS, moment_fits, say_what_is_left
from mcnet_analysis.judge.power import Information, added
from mcnet_analysis.judge.table import SUPPORT, Row, comparison
from mcnet_analysis.predict.spectra import SpectralKind, exact_moments, exact_zero_mass, limit_moments
from mcnet_analysis.statistics.distance import LawTable
from mcnet_analysis.statistics.estimate import Floats, Moments, moments
from mcnet_analysis.statistics.verdict import Verdict, combine, judge
from mcnet_analysis.study import Column, Family, Setting

HEAVY_TAILS = "exact moments (depth/width > 0.1: heavy tails)"
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
    *,
    to_first: bool,
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
    to_first : bool
        Whether 1/M terms are among the theories asked for.

    Notes
    -----
    Exact, where the slopes are independent of the weights (linear, relu, leaky-relu): E mu_1, E mu_2, Var mu_1, and for
    relu the mean share of zeros, at every width; they make the verdict, with their joint jackknife covariance. Beside
    it, mean products of different eigenvalues against the expected characteristic polynomial.
    Otherwise a1 and v1 of the first two moments and the limits of the others, fitted over the widths.
    """
    rows: list[Row] = []
    verdicts = []
    known: list[Information] = []
    measured = [None if sample is None or len(sample) < 3 else moments(sample) for sample in samples]
    for setting, sample, m in zip(family.settings, samples, measured, strict=True):
        if m is not None and sample is not None and kind.name == "jacobian":
            exact, verdict = _exact(setting, m, heavy)
            why_not = HEAVY_TAILS if setting.depth > heavy * setting.width else None
            rows += [*exact, *product_rows(setting, sample[:, :-1], why_not)]
            verdicts.append(verdict)
            if verdict.dof:
                known.append({("jacobian_moment", "values"): float(verdict.information[0])})
    judged = combine(verdicts)
    usable = [
        (setting, m, limits)
        for setting, m, table in zip(family.settings, measured, tables, strict=True)
        if m is not None and setting.depth <= heavy * setting.width
        if (limits := limit_moments(kind, setting, table, m.mean.size - 1)) is not None
    ]
    if len(usable) >= 2:
        fits = moment_fits(kind, family, usable, to_first=to_first, judge_them=judged.dof == 0)
        rows += fits.rows
        judged = combine([judged, fits.verdict])
        known.append(fits.information)
    return MomentRows(rows, judged, added(known))


def no_rows() -> MomentRows:
    """Nothing compared."""
    return MomentRows([], combine([]), {})


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
    fluctuates = np.tile(np.sqrt(m.variance) > CONSTANT * np.abs(m.mean), 2)
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
    say_what_is_left(trusted, verdict)
    return list(rows.values()), verdict
