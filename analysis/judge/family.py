"""Judge the points of a dataset against theory: means and variances at each width, coefficients over the widths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from mcnet_analysis import study
from mcnet_analysis.judge import blocks, cumulants, stationary
from mcnet_analysis.judge.coefficients import fit_family
from mcnet_analysis.judge.fisher import Spectra, spectra
from mcnet_analysis.judge.power import Information
from mcnet_analysis.judge.table import GROWTH, Row, Scales, comparison, count, expected_scales
from mcnet_analysis.predict.catalog import OBSERVABLES, predict
from mcnet_analysis.predict.prediction import Predicted, Theory, no_predictions
from mcnet_analysis.statistics.estimate import Floats, Moments, moments
from mcnet_analysis.statistics.verdict import Verdict, judge
from mcnet_analysis.study import Column, Family, Setting
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray


TOP = ("fim_lambda_max", "fim_lambda_top")
"""Largest eigenvalues: their rows at single widths have a statistic of that name, and stand at every width."""

AT_ONE_WIDTH = "means and variances at single widths (the coefficients fitted to them are weighed)"


class Judged(NamedTuple):
    """One family of widths, analysed.

    ``predictions`` are those at each width; ``missing`` counts what was measured and has no row, by reason;
    ``information`` is what :mod:`mcnet_analysis.judge.power` reads; ``block_errors`` are those of
    :func:`mcnet_analysis.judge.blocks.ratio_errors` at each width.
    """

    family: Family
    columns: list[Column]
    moments: list[Moments]
    predictions: list[Predicted]
    comparisons: list[Row]
    fits: list[Row]
    verdict: Verdict
    missing: dict[str, int]
    information: Information
    notes: list[str]
    fisher: Spectra
    block_errors: list[Floats]

    @property
    def predicted(self) -> Predicted:
        """Predictions at the largest width; coefficients of the family are those."""
        return self.predictions[-1]

    @property
    def left_out(self) -> dict[str, int]:
        """What the verdict does not weigh, by reason: rows, and columns without one."""
        reasons = dict(self.missing)
        for row in self.comparisons:
            if row["left_out"] is not None:
                count(reasons, row["left_out"])
        return reasons


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
    the next order is expected to be smaller than the statistical error (largest eigenvalues always); the error includes
    both. *Coefficients*: a1 and v1 fitted over all widths, with the limit taken from theory; and the limit itself, from
    a fit that leaves it free. Points are in the units of the dataset; coefficients of the ``standard`` kernel are over
    powers of the width. The verdict uses the coefficients of means and variances only, see
    :func:`mcnet_analysis.judge.coefficients.fit_family`.
    """
    sources = [observable.source for observable in OBSERVABLES.values()]
    columns = study.columns(tree, family.first, sources)
    if not columns:  # spectra alone were measured
        nothing = judge([], np.empty((0, 0)), 0.0)
        unknown = [no_predictions() for _ in family.settings]
        return Judged(family, [], [], unknown, [], [], nothing, {}, {}, [], spectra(tree, family, [], []), [])
    layers = study.thinned(family.first.depth)
    tabled = [j for j, column in enumerate(columns) if column.layer in (None, 0, *layers)]
    if not family.first.fluctuating:
        tabled = [j for j in tabled if columns[j].layer != 0]  # the inputs themselves: exact
    measured = [
        moments(study.reader(tree, setting, sources), networks=setting.networks, columns=len(columns), joint=tabled)
        for setting in family.settings
    ]
    predictions = [predict(theory, setting, columns) for setting in family.settings]
    table = [columns[j] for j in tabled]
    of_table = [_take(m, np.array(tabled, dtype=np.intp)) for m in measured]
    of_theory = [predicted.take(tabled) for predicted in predictions]
    scales = expected_scales(family, table, of_table, of_theory)
    missing: dict[str, int] = {}
    rows = _point_rows(family, table, of_table, of_theory, scales, missing)
    rows += cumulants.rows(tree, family, theory, missing)
    chaos = stationary.compared(tree, family, theory)
    rows += chaos.rows
    fitted = fit_family(family, table, of_table, of_theory, scales)
    for what, number in fitted.missing.items():
        count(missing, what, number)
    return Judged(
        family=family,
        columns=columns,
        moments=measured,
        predictions=predictions,
        comparisons=fitted.comparisons + rows,
        fits=fitted.fits,
        verdict=fitted.verdict,
        missing=missing,
        information=fitted.information,
        notes=[*_notes(family, columns, measured, theory), *chaos.notes],
        fisher=spectra(tree, family, columns, predictions),
        block_errors=[blocks.ratio_errors(columns, m) for m in measured],
    )


def _point_rows(
    family: Family,
    columns: Sequence[Column],
    measured: Sequence[Moments],
    predictions: Sequence[Predicted],
    scales: Scales,
    missing: dict[str, int],
) -> list[Row]:
    """Mean and variance at every width, where the neglected order is below the statistical error."""
    rows = []
    of_kernel = np.array([not column.inputs for column in columns])  # its unknown 1/M terms: more than fluctuations say
    for setting, m, predicted in zip(family.settings, measured, predictions, strict=True):
        width = float(setting.width)
        standard = setting.law["parameterization"] == "standard"
        exact_moments = _exact_moments(setting, columns)
        to_first = np.isfinite(predicted.a1)
        mean = np.where(to_first, predicted.limit + predicted.a1 / width, predicted.limit)
        first_order = np.fmax(scales.mean, GROWTH * setting.depth * np.abs(predicted.limit) * of_kernel)
        mean_neglected = np.where(to_first, scales.mean_growth / width * scales.mean, first_order) / width
        of_limit, of_a1, of_v1 = predicted.errors
        mean_neglected = np.hypot(mean_neglected, np.hypot(of_limit, np.where(to_first, of_a1, 0.0) / width))
        exact = {"mean": predicted.exact_mean, "variance": predicted.exact_variance}
        table = {
            "mean": (m.mean, m.mean_error, m.mean_support, mean, mean_neglected),
            "variance": (
                m.variance,
                m.variance_error,
                m.variance_support,
                predicted.v1 / width,
                np.hypot(scales.variance * scales.variance_growth / width**2, of_v1 / width),
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
                top = column.observable in TOP and statistic == "mean"
                if neglected[j] > error[j] and not top:
                    count(missing, "comparisons at single widths (the neglected order exceeds the error)")
                    continue
                to_all_orders = exact[statistic][j] or np.isfinite(known[j])
                unit = (width ** OBSERVABLES[column.observable].power) if standard else 1.0
                unit = unit if statistic == "mean" else unit**2
                rows.append(
                    comparison(
                        column,
                        setting.point,
                        "lambda_max" if top else statistic,
                        "exact" if to_all_orders else "1/M" if statistic == "variance" or to_first[j] else "limit",
                        measured=unit * value[j],
                        statistical=unit * error[j],
                        neglected=unit * neglected[j],
                        predicted=unit * prediction[j],
                        networks=int(m.defined[j]),
                        support=support[j],
                        left_out=AT_ONE_WIDTH,
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
    reason = theory.why_no_limit(first) if first.why_no_theory is None else theory.why_nothing(first)
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
