"""What the verdict could have seen: for each observable the smallest deviation from theory that it would have found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from mcnet_analysis.judge.table import Row, Scales
from mcnet_analysis.predict.prediction import Predicted
from mcnet_analysis.statistics.estimate import Floats, Moments
from mcnet_analysis.statistics.power import LEVEL, PROBABILITY, detectable, with_growing_errors
from mcnet_analysis.study import Column

FEW = 5
"""Degrees of freedom below which a verdict is a weak test."""

BLIND = {"values": 0.25, "a1": 1.0, "v1": 1.0}
"""Smallest deviations, relative to the thing itself, from which on it was not tested at all."""

Information = dict[tuple[str, str], float]
"""Of an observable and what of it theory could have wrong: the squared size of that, see Verdict.information."""


def deviations(
    rows: Mapping[int, Row],
    weights: Floats,
    columns: Sequence[Column],
    measured: Sequence[Moments],
    predicted: Predicted,
    scales: Scales,
) -> dict[tuple[str, str], Floats]:
    """Deviations of the judged coefficients if theory were off, for each observable.

    Parameters
    ----------
    rows : mapping
        The judged coefficients: j of the mean, s + j of the variance of column j of s.
    weights : ndarray, shape (2 s, W)
        Of each width in the coefficient.
    columns, measured, predicted, scales
        Of the family; the prediction is that of the largest width.

    Returns
    -------
    dict
        ``values``: the values of an observable off by a factor 2 (its variances by 4), to first order; ``a1``, ``v1``:
        these coefficients by their predicted values; ``shift``: a1 by the size that it may be expected to have.
        Arrays (2 s,).
    """
    s = len(columns)
    names = np.array([column.observable for column in columns])
    means, variances = np.array([m.mean for m in measured]), np.array([m.variance for m in measured])
    of_means, of_variances = (weights[:s] * means.T).sum(axis=1), (weights[s:] * variances.T).sum(axis=1)
    weighed = np.array([j in rows and rows[j]["statistic"] == "a1" for j in range(s)])
    a1 = weighed & (np.abs(np.nan_to_num(predicted.a1)) > 1e-9 * scales.mean)  # else it is zero, to rounding
    nothing = np.zeros(s)
    kinds = {
        "values": np.concatenate([of_means, 2.0 * of_variances]),
        "a1": np.concatenate([np.where(a1, predicted.a1, 0.0), nothing]),
        "shift": np.concatenate([np.where(weighed, scales.mean, 0.0), nothing]),
        "v1": np.concatenate([nothing, predicted.v1]),
    }
    judged = np.array([j in rows for j in range(2 * s)])
    found = {}
    for name in dict.fromkeys(names.tolist()):
        for kind, pattern in kinds.items():
            mine = np.where(np.tile(names == name, 2) & judged, np.nan_to_num(pattern), 0.0)
            if mine.any():
                found[name, kind] = mine
    return found


def added(parts: Iterable[Information]) -> Information:
    """Information of independent families together."""
    total: Information = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total.get(key, 0.0) + value
    return total


def judged(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """How many rows of each observable and statistic the verdict weighs."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        if row["left_out"] is None:
            of = counts.setdefault(row["observable"], {})
            of[row["statistic"]] = of.get(row["statistic"], 0) + 1
    return counts


def power_table(information: Information, dof: int) -> list[Row]:
    """The smallest deviation of each observable that the verdict would have seen with 90 % probability at p < 0.01.

    Returns
    -------
    list of dict
        ``observable``; ``of``: "values", "a1" or "v1"; ``relative``: the share of its prediction by which it would be
        too large (inf: it is predicted to be zero, or none is ever seen); of a1 also ``of_expected``, in units of the
        size that a1 may be expected to have from the fluctuations. inf is None in JSON.
    """
    rows = []
    for (name, kind), amount in information.items():
        if kind == "shift" or amount <= 0.0:  # explained by others
            continue
        row: Row = {
            "observable": name,
            "of": kind,
            "level": LEVEL,
            "probability": PROBABILITY,
            "relative": detectable(amount, dof) if kind == "a1" else with_growing_errors(detectable(amount, dof)),
        }
        if kind == "a1":
            row["of_expected"] = detectable(information.get((name, "shift"), 0.0), dof)
        rows.append(row)
    for (name, kind), amount in information.items():
        if kind == "shift" and amount > 0.0 and (name, "a1") not in information:  # predicted to be zero
            expected = detectable(amount, dof)
            rows.append(
                {"observable": name, "of": "a1", "level": LEVEL, "probability": PROBABILITY, "relative": math.inf}
                | {"of_expected": expected}
            )
    return sorted(rows, key=lambda row: (row["observable"], ("values", "a1", "v1").index(row["of"])))


def is_blind(row: Row) -> bool:
    """Whether a thing could be off by its own size (one of zero by what may be expected) and not be seen."""
    size: float = row["relative"] if math.isfinite(row["relative"]) else row.get("of_expected", math.inf)
    return size >= BLIND[row["of"]]


def weakness(power: Sequence[Row], dof: int) -> str | None:
    """Why an agreement would be a weak test; None if it is none."""
    if not dof:
        return None
    if dof < FEW:
        return f"{dof} degree{'s' * (dof > 1)} of freedom"
    if all(is_blind(row) for row in power):
        return "no deviation of the size of what is predicted would have been seen"
    return None


def untested(power: Sequence[Row]) -> list[str]:
    """Coefficients that were weighed and could be off by their own size: ``a1 of ntk``."""
    return [f"{row['of']} of {row['observable']}" for row in power if row["of"] != "values" and is_blind(row)]
