"""Rows of the table of comparisons, and the size that neglected orders may have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from mcnet_analysis.predict.catalog import OBSERVABLES
from mcnet_analysis.predict.prediction import Predicted
from mcnet_analysis.statistics.estimate import Floats, Moments
from mcnet_analysis.study import Column, Family
from numpy.typing import NDArray

GROWTH = 5.0  # expected ratio of successive 1/M coefficients, at least; measured ratios are 3 to 10
FAR = 4.0  # deviations in standard errors that tables mark
SUPPORT = 30.0  # fewer effective networks behind an error than this, and it is not used for a score

Row = dict[str, Any]
Flags = NDArray[np.bool_]


class Scales(NamedTuple):
    """What higher orders may be: a_k ~ scale growth^(k-1); growth 0 where the expansion is known to end with 1/M.

    ``varying`` is False for columns that do not fluctuate (beyond rounding): they have no score.
    """

    mean: Floats
    variance: Floats
    mean_growth: Floats
    variance_growth: Floats
    varying: Flags


def expected_scales(
    family: Family, columns: Sequence[Column], measured: Sequence[Moments], predictions: Sequence[Predicted]
) -> Scales:
    """How large higher orders may be, from the size of the fluctuations.

    Parameters
    ----------
    family : Family
    columns : sequence of Column
    measured : sequence of Moments
        Of each width.
    predictions : sequence of Predicted
        At each width; the largest scale and growth count.

    Notes
    -----
    With D the natural scale of an observable, or the distance of an eigenvalue to the next one where that is less, and
    v1 its variance coefficient, a mean shifts by about v1/(2 D) (second order of the delta method) and orders grow by
    about v1/D^2 (for products of layers exactly half of that, which is how the depth enters: the expansion is one in
    depth/M), at least by 5. The largest growth of a layer holds for all its forward columns. A growth of four times the
    largest width is as good as any larger one: no order is small then.
    """
    last = max((i for i, m in enumerate(measured) if m.networks > 1), default=len(measured) - 1)
    widest, most = measured[last], 4.0 * float(family.widths[-1])
    constant = np.any([m.variance == 0.0 for m in measured], axis=0)
    parts = []
    for predicted in predictions:
        limit = np.where(np.isfinite(predicted.limit), predicted.limit, widest.mean)
        size = natural_scales(columns, limit)
        room = np.fmin(size, predicted.room)
        with np.errstate(divide="ignore", invalid="ignore"):
            # a measured variance relative to the measured mean: values that are all wrong by a factor say the same
            unit = np.where(size == np.abs(limit), limit / widest.mean, 1.0)
            seen = family.widths[last] * widest.variance * unit**2
            v1 = np.where(np.isfinite(predicted.v1), predicted.v1, seen)
            varying = (size > 1e-10) & (v1 / size**2 > 1e-9) & ~constant
            growth = np.where(varying, np.minimum(v1 / room**2, most), 0.0)
            shift = np.fmax(np.abs(predicted.a1), v1 / (2.0 * room))
        parts.append((shift, v1, growth, varying))
    shift, v1, relative = (np.max([part[i] for part in parts], axis=0) for i in range(3))
    varying = np.all([part[3] for part in parts], axis=0)
    groups = [c if OBSERVABLES[c.observable].backward else c.layer for c in columns]
    largest: dict[object, float] = {}
    for group, value in zip(groups, relative, strict=True):
        largest[group] = max(largest.get(group, GROWTH), value)
    growth = np.array([largest[group] for group in groups])
    first = predictions[-1]
    return Scales(
        mean=np.where(varying, shift, 0.0),
        variance=np.where(varying, v1, 0.0),
        mean_growth=np.where(first.exact_mean, 0.0, growth),
        variance_growth=np.where(first.exact_variance, 0.0, growth),
        varying=varying,
    )


def count(reasons: dict[str, int], what: str, number: int = 1) -> None:
    """Add to the number of what was left out for a reason."""
    if number:
        reasons[what] = reasons.get(what, 0) + number


def natural_scales(columns: Sequence[Column], limits: Floats) -> Floats:
    """Natural scale of each column; ``limits`` (or what is nearest to them) in the same order."""
    limit_of = dict(zip(columns, limits.tolist(), strict=True))
    return np.array([OBSERVABLES[c.observable].natural_scale(c, limit_of) for c in columns], dtype=np.float64)


def comparison(
    column: Column,
    point: Row,
    statistic: str,
    order: str,
    *,
    measured: float,
    statistical: float,
    neglected: float,
    predicted: float,
    networks: int,
    support: float,
    left_out: str | None = None,
) -> Row:
    """One row: the error is the statistical one and the neglected order together; z is NaN without a trusted error.

    ``left_out``: why the verdict does not weigh it.
    """
    error = float(np.hypot(statistical, neglected))
    scored = support >= SUPPORT and np.isfinite(error) and error > 0
    return {
        "observable": column.observable,
        "point": point,
        **column.place,
        "statistic": statistic,
        "order": order,
        "measured": float(measured),
        "error": error,
        "predicted": float(predicted),
        "z": float((measured - predicted) / error) if scored else float("nan"),
        "networks": networks,
        "statistical": float(statistical),
        "neglected": float(neglected),
        "left_out": left_out,
    }
