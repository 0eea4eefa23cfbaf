"""Judge the points of a dataset against theory: means and variances at each width, coefficients over the widths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from mcnet_analysis import study
from mcnet_analysis.judge.coefficients import fit_family
from mcnet_analysis.judge.fisher import Spectra, fisher_rows, spectra
from mcnet_analysis.judge.table import SUPPORT, Row, Scales, comparison, expected_scales
from mcnet_analysis.predict.catalog import OBSERVABLES, predict
from mcnet_analysis.predict.prediction import Predicted, Theory
from mcnet_analysis.statistics.estimate import Floats, Moments, moments
from mcnet_analysis.statistics.verdict import Verdict, judge
from mcnet_analysis.study import Column, Family, Setting
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray


class Judged(NamedTuple):
    """One family of widths, analysed."""

    family: Family
    columns: list[Column]
    moments: list[Moments]
    predicted: Predicted
    comparisons: list[Row]
    fits: list[Row]
    verdict: Verdict
    left_out: dict[str, int]
    notes: list[str]
    fisher: Spectra


def judge_family(tree: xarray.DataTree, family: Family, theory: Theory) -> Judged:
    """Measure, predict, fit and compare one family of widths.

    Parameters
    ----------
    tree : DataTree
        The dataset.
    family : Family
        Points that differ in width only.
    theory : Theory
        Which predictions are wanted.

    Notes
    -----
    Two kinds of rows. *Points*: the mean (predicted limit + a1/M) and the variance (v1/M) at one width, listed where
    the next order is expected to be smaller than the statistical error; the error includes both. *Coefficients*: a1
    and v1 fitted over all widths, with the limit taken from theory; and the limit itself, from a fit that leaves it
    free. The verdict uses the coefficients of means and variances only, see
    :func:`mcnet_analysis.judge.coefficients.fit_family`.
    """
    sources = [observable.source for observable in OBSERVABLES.values()]
    columns = study.columns(tree, family.first, sources)
    if not columns:  # spectra alone were measured
        nothing = Predicted(*(np.empty(0) for _ in range(5)))
        return Judged(
            family, [], [], nothing, [], [], judge([], np.empty((0, 0)), 0.0), {}, [], spectra(tree, family, [])
        )
    layers = study.thinned(family.first.depth)
    tabled = [j for j, column in enumerate(columns) if column.layer in (None, 0, *layers)]
    if not family.first.fluctuating:
        tabled = [j for j in tabled if columns[j].layer != 0]  # the inputs themselves: exact
    measured = [
        moments(study.reader(tree, setting, sources), networks=setting.networks, columns=len(columns), joint=tabled)
        for setting in family.settings
    ]
    predicted = predict(theory, family.first, columns)
    at = np.array(tabled, dtype=np.intp)
    table = [columns[j] for j in tabled]
    of_table = [_take(m, at) for m in measured]
    predictions = Predicted(*(values[at] for values in predicted))
    scales = expected_scales(family, table, of_table, predictions)
    left_out: dict[str, int] = {}
    rows = _point_rows(family, table, of_table, predictions, scales, left_out)
    of_fisher, limits = fisher_rows(family, table, of_table, theory)
    fitted = fit_family(family, table, of_table, predictions, scales)
    _count(
        left_out, "coefficients in the verdict (the neglected orders are not small against the error)", fitted.beyond
    )
    _count(left_out, "coefficients in the verdict (errors from too few effective networks)", fitted.heavy)
    return Judged(
        family=family,
        columns=columns,
        moments=measured,
        predicted=predicted,
        comparisons=fitted.comparisons + rows + of_fisher,
        fits=fitted.fits,
        verdict=fitted.verdict,
        left_out=left_out,
        notes=_notes(family, columns, measured, theory),
        fisher=spectra(tree, family, limits),
    )


def _point_rows(
    family: Family,
    columns: Sequence[Column],
    measured: Sequence[Moments],
    predicted: Predicted,
    scales: Scales,
    left_out: dict[str, int],
) -> list[Row]:
    """Mean and variance at every width, where the neglected order is below the statistical error."""
    rows = []
    for setting, m in zip(family.settings, measured, strict=True):
        width = float(setting.width)
        exact_moments = _exact_moments(setting, columns)
        to_first = np.isfinite(predicted.a1)
        mean = np.where(to_first, predicted.limit + predicted.a1 / width, predicted.limit)
        mean_neglected = np.where(to_first, scales.mean_growth / width, 1.0) * scales.mean / width
        exact = {"mean": predicted.exact_mean, "variance": predicted.exact_variance}
        table = {
            "mean": (m.mean, m.mean_error, m.mean_support, mean, mean_neglected),
            "variance": (
                m.variance,
                m.variance_error,
                m.variance_support,
                predicted.v1 / width,
                scales.variance * scales.variance_growth / width**2,
            ),
        }
        for (statistic, (value, error, support, prediction, neglected)), known in zip(
            table.items(), exact_moments, strict=True
        ):
            prediction = np.where(np.isfinite(known), known, prediction)
            neglected = np.where(np.isfinite(known), 0.0, neglected)
            for j, column in enumerate(columns):
                if not (scales.varying[j] and np.isfinite(prediction[j]) and np.isfinite(value[j])):
                    continue
                if neglected[j] > error[j]:
                    _count(left_out, "comparisons at single widths (the neglected order exceeds the error)")
                    continue
                if support[j] < SUPPORT:
                    _count(left_out, "scores at single widths (errors from too few effective networks)")
                to_all_orders = exact[statistic][j] or np.isfinite(known[j])
                order = "exact" if to_all_orders else "1/M" if statistic == "variance" or to_first[j] else "limit"
                rows.append(
                    comparison(
                        column,
                        setting.point,
                        statistic,
                        order,
                        measured=value[j],
                        statistical=error[j],
                        neglected=neglected[j],
                        predicted=prediction[j],
                        networks=int(m.defined[j]),
                        support=support[j],
                    )
                )
    return rows


def _exact_moments(setting: Setting, columns: Sequence[Column]) -> tuple[Floats, Floats]:
    """Means and variances that are known to all orders in 1/M at the width of a setting; NaN elsewhere."""
    known = np.full((2, len(columns)), np.nan)
    for j, column in enumerate(columns):
        exact = OBSERVABLES[column.observable].exact
        found = exact(setting, column) if exact is not None else None
        if found is not None:
            known[:, j] = found
    return known[0], known[1]


def _notes(family: Family, columns: Sequence[Column], measured: Sequence[Moments], theory: Theory) -> list[str]:
    """What a reader must know: what cannot be compared and why, undefined values, an expansion out of its range."""
    notes = []
    first = family.first
    reason = theory.why_no_limit(first)
    if reason is not None:
        notes.append(f"nothing predicted: {reason}")
    else:
        reason = theory.why_no_coefficients(first)
        if reason is not None:
            notes.append(f"compared with the limit only: {reason}")
    if first.inputs > study.MAX_INPUTS and any(column.inputs for column in columns):
        notes.append(f"of {first.inputs} inputs the first {study.MAX_INPUTS} and their pairs are analysed")
    for setting, m in zip(family.settings, measured, strict=True):
        missing = m.networks - m.defined
        for name in OBSERVABLES:
            mine = [j for j, c in enumerate(columns) if c.observable == name and m.defined[j]]  # else: not asked for
            worst = max((int(missing[j]) for j in mine), default=0)
            if worst:
                notes.append(
                    f"width {setting.width}: {name} is undefined (a dead layer) in up to {worst} of {m.networks} "
                    "networks; its means are over the others"
                )
        if setting.depth > 0.1 * setting.width:
            notes.append(f"width {setting.width}: depth/width = {setting.depth / setting.width:.2g} is not small")
    return notes


def _take(m: Moments, at: NDArray[np.intp]) -> Moments:
    """The moments of some columns (the joint covariance stays: it belongs to the table's columns)."""
    return m._replace(
        defined=m.defined[at],
        mean=m.mean[at],
        variance=m.variance[at],
        mean_error=m.mean_error[at],
        variance_error=m.variance_error[at],
        mean_support=m.mean_support[at],
        variance_support=m.variance_support[at],
    )


def _count(left_out: dict[str, int], what: str, number: int = 1) -> None:
    if number:
        left_out[what] = left_out.get(what, 0) + number
