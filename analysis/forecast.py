"""What a study will be able to say: the errors of its 1/M coefficients, from theory, before a network is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from mcnet_analysis.judge.table import expected_scales
from mcnet_analysis.predict.catalog import predict
from mcnet_analysis.predict.prediction import Predicted, Theory
from mcnet_analysis.statistics import scaling
from mcnet_analysis.statistics.estimate import Moments
from mcnet_analysis.study import Column, Family, Setting, families, planned

from mcnet.point import Point

MOST = 3
"""Families that are forecast, spread over the study."""

_CONSTANT = 1e-12  # of the squared mean: a variance that is rounding
_FEW = 3  # networks, from which on a width has errors


class Forecast(NamedTuple):
    """Errors to expect of an observable at the last layer, of the first input or pair.

    Attributes
    ----------
    law : dict
        Coordinates of the family.
    observable : str
    inputs : tuple of int
        The input (0,), the pair, or () where it is of all of them.
    a1, a1_error, v1, v1_error : float
        Predicted coefficients of the mean and of the variance over networks, and the standard errors that the fits over
        the widths will give them, neglected orders included.
    """

    law: dict[str, Any]
    observable: str
    inputs: tuple[int, ...]
    a1: float
    a1_error: float
    v1: float
    v1_error: float


def forecast(
    points: Sequence[tuple[Point, int]], measures: Mapping[str, Any], orders: tuple[str, ...] = ("mean-field", "1/M")
) -> list[Forecast]:
    """Errors of the coefficients that the analysis would fit.

    Parameters
    ----------
    points : sequence of (Point, int)
        The points of a study and their numbers of networks.
    measures : mapping
        What is measured: those of ``q``, ``q_hat``, ``c``, ``q_tilde``, ``ntk`` and ``fim`` are forecast.
    orders : tuple of str
        Which predictions are wanted, as in ``[analyze] theory``.

    Returns
    -------
    list of Forecast
        Of at most :data:`MOST` families of two widths or more, dense networks only (theory of others can take longer
        than the study); empty where theory has no coefficients.

    Notes
    -----
    A mean over N networks has the variance v1/(M N), a variance that of a normal law, 2 (v1/M)^2/(N - 1). The fit over
    the widths is that of the analysis, :func:`mcnet_analysis.statistics.scaling.fit`.
    """
    tangent = bool({"ntk", "fim"} & measures.keys())
    settings = [planned(index, point, networks, tangent) for index, (point, networks) in enumerate(points)]
    theory = Theory(orders)
    found = [family for family in families(settings) if _foreseeable(family)]
    chosen = sorted({round(i) for i in np.linspace(0, len(found) - 1, min(MOST, len(found)))}) if found else []
    return [row for i in chosen for row in _of_family(found[i], measures, theory)]


def _foreseeable(family: Family) -> bool:
    enough = len(family.settings) > 1 and min(setting.networks for setting in family.settings) >= _FEW
    return enough and family.first.why_no_theory is None


def _columns(setting: Setting, measures: Mapping[str, Any]) -> list[Column]:
    pair = setting.inputs > 1
    depth = setting.depth
    found = [Column(name, (0,), depth) for name in ("q", "q_hat", "q_tilde") if name in measures]
    found += [Column("c", (0, 1), depth)] if "c" in measures and pair else []
    if "ntk" in measures:
        found += [Column("ntk", index, None) for index in ([(0, 0), (0, 1), (1, 1)] if pair else [(0, 0)])]
    if "fim" in measures:
        found += [Column(name, (), None) for name in ("fim_trace", "fim_lambda_max")]
    return found


def _of_family(family: Family, measures: Mapping[str, Any], theory: Theory) -> list[Forecast]:
    columns = _columns(family.first, measures)
    predictions = [predict(theory, setting, columns) for setting in family.settings]
    last = predictions[-1]
    some = [
        j
        for j in range(len(columns))
        if np.isfinite([last.limit[j], last.a1[j], last.v1[j]]).all()
        and last.v1[j] > _CONSTANT * last.limit[j] ** 2
        and columns[j].inputs != (1, 1)
    ]
    if not some:
        return []
    expected = [_moments(predicted, setting) for predicted, setting in zip(predictions, family.settings, strict=True)]
    scales = expected_scales(family, columns, expected, predictions)
    widths, zero = family.widths, np.zeros((len(expected), len(some)))
    mean = scaling.fit(
        widths, zero, np.array([m.mean_error[some] for m in expected]),
        scale=scales.mean[some], growth=scales.mean_growth[some],
    )  # fmt: skip
    variance = scaling.fit(
        widths, zero, np.array([m.variance_error[some] for m in expected]),
        scale=scales.variance[some], growth=scales.variance_growth[some],
    )  # fmt: skip
    return [
        Forecast(
            law=family.first.law,
            observable=columns[j].observable,
            inputs=columns[j].inputs,
            a1=float(last.a1[j]),
            a1_error=float(mean.error[k, 0]),
            v1=float(last.v1[j]),
            v1_error=float(variance.error[k, 0]),
        )
        for k, j in enumerate(some)
        if math.isfinite(mean.error[k, 0])
    ]


def _moments(predicted: Predicted, setting: Setting) -> Moments:
    """What theory expects to be measured."""
    networks = setting.networks
    mean = predicted.limit + np.nan_to_num(predicted.a1) / setting.width
    variance = predicted.v1 / setting.width
    support = np.full(mean.size, float(networks))
    return Moments(
        networks=networks,
        defined=np.full(mean.size, networks, dtype=np.int64),
        mean=mean,
        variance=variance,
        mean_error=np.sqrt(variance / networks),
        variance_error=variance * math.sqrt(2.0 / (networks - 1)),
        mean_support=support,
        variance_support=support,
        joint=np.empty(0, dtype=np.intp),
        covariance=np.empty((0, 0)),
    )
