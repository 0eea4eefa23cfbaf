"""The stationary chaos of recurrent networks: Delta(0) and C(tau)/C(0) over the widths against their own equation.

The two-time recursion predicts the same overlaps at every time, so the verdict weighs those; here they are read as what
Sompolinsky, Crisanti and Sommers solve for. What the networks still remember of their first state at the last time is
the distance of the two theories, and is part of the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from mcnet_analysis.judge.table import GROWTH, Row, comparison
from mcnet_analysis.predict.prediction import Theory
from mcnet_analysis.predict.stationary import Stationary, stationary
from mcnet_analysis.statistics import scaling
from mcnet_analysis.statistics.estimate import Floats, jackknife
from mcnet_analysis.study import Column, Family, Setting
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray

OBSERVABLE = "autocorrelation"
VARIANCE, RATIO = "Delta(0)", "C(tau)/C(0)"
LEFT_OUT = "stationary state (the same overlaps are weighed against the theory of two times)"
LAGS = 8
SMALLEST = 0.05
"""Of C(tau)/C(0); beyond, only noise is left."""
LEAST = 30
"""Networks of a width from which on errors are given."""


class Compared(NamedTuple):
    """Rows of the table of comparisons, and what they say in a sentence."""

    rows: list[Row]
    notes: list[str]


def compared(tree: xarray.DataTree, family: Family, theory: Theory) -> Compared:
    """Of a family of recurrent networks whose autocorrelation was measured; nothing of others.

    Notes
    -----
    Of every width C(T, T) and the ratios of means C(T, T - k)/C(T, T), jackknife errors; then fits in powers of 1/M
    with the limit free, higher orders as large as fluctuations let expect.
    """
    settings = [setting for setting in family.settings if setting.networks >= LEAST]
    if OBSERVABLE not in _variables(tree) or len(settings) < 2 or theory.why_nothing(family.first) is not None:
        return Compared([], [])
    found = stationary(family.first)
    if found is None:
        return Compared([], [])
    lags = _lags(found)
    estimates = [jackknife(lambda sample: _summary(sample, lags), _values(tree, setting)) for setting in settings]
    y, errors = (
        np.array(part) for part in zip(*((value, np.sqrt(np.diag(cov))) for value, cov in estimates), strict=True)
    )
    widths = np.array([setting.width for setting in settings], dtype=np.float64)
    count = np.array([setting.networks for setting in settings], dtype=np.float64)
    v1 = float(widths[-1] * count[-1]) * errors[-1] ** 2  # of the widest
    scale = np.append(found.variance, np.ones(lags.size))
    fitted = scaling.fit(widths, y, errors, scale=v1 / (2.0 * scale), growth=np.maximum(GROWTH, v1 / scale**2), first=0)
    predicted = np.append(found.variance, found.overlap[lags] / found.variance)
    remembered = np.abs(np.append(found.transient[0], found.transient[lags]))
    rows = [
        comparison(
            Column(OBSERVABLE, (0,), family.first.depth - int(lag)),
            family.point,
            VARIANCE if lag == 0 else RATIO,
            "limit",
            measured=fitted.coefficient[j, 0],
            statistical=fitted.statistical[j, 0],
            neglected=float(np.hypot(fitted.truncation[j, 0], remembered[j])),
            predicted=predicted[j],
            networks=int(count.sum()),
            support=float(count.min()),
            left_out=LEFT_OUT,
        )
        for j, lag in enumerate([0, *lags.tolist()])
    ]
    return Compared(rows, [_sentence(rows, found)])


def _sentence(rows: Sequence[Row], found: Stationary) -> str:
    first, ratios = rows[0], [row for row in rows if row["statistic"] == RATIO]
    worst = max(ratios, key=lambda row: abs(row["z"]))
    last = found.leak * (rows[0]["layer"] - ratios[-1]["layer"])
    errors = [row["error"] for row in ratios]
    return (
        f"stationary chaos at leak {found.leak:g}: Delta(0) = {first['measured']:.4f} +- {first['error']:.4f} "
        f"extrapolated to infinite width, self-consistent solution {found.variance:.4f} (z = {first['z']:+.1f}), "
        f"in continuous time {found.continuous:.4f}; C(tau)/C(0) at {len(ratios)} lags up to tau = {last:g}: "
        f"largest z {worst['z']:+.1f}, errors {min(errors):.1g} to {max(errors):.1g}"
    )


def _lags(found: Stationary) -> NDArray[np.intp]:
    """Lags 1, 2, ... in steps, evenly spaced as far as the correlation lasts and at most half of the time."""
    reach = np.flatnonzero(found.overlap > SMALLEST * found.variance)[-1]
    most = max(1, min(int(reach), (found.overlap.size - 1) // 2))
    return np.unique(np.linspace(1, most, LAGS).round().astype(int))


def _variables(tree: xarray.DataTree) -> set[str]:
    return {str(name) for name in tree["dynamics"].to_dataset()} if "dynamics" in tree.children else set()


def _values(tree: xarray.DataTree, setting: Setting) -> Floats:
    """C(T, t) of the first input, t = 0..T: (N, T + 1)."""
    variable = tree["dynamics"].to_dataset()[OBSERVABLE].isel(point=setting.index, input=0)
    some = variable.isel(network=slice(0, setting.networks), layer=slice(0, setting.depth + 1))
    return np.asarray(some.transpose("network", "layer").values, dtype=np.float64)


def _summary(sample: Floats, lags: NDArray[np.intp]) -> Floats:
    mean = sample.mean(axis=0)[::-1]  # by the lag
    return np.append(mean[0], mean[lags] / mean[0])
