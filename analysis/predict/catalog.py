"""All observables that are analysed, and their predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mcnet_analysis.predict.prediction import Curve, Observable, Predicted, Theory
from mcnet_analysis.predict.signal import SIGNAL
from mcnet_analysis.predict.tangent import TANGENT
from mcnet_analysis.study import Column, Setting

OBSERVABLES: dict[str, Observable] = {observable.name: observable for observable in (*SIGNAL, *TANGENT)}


def predict(theory: Theory, setting: Setting, columns: Sequence[Column]) -> Predicted:
    """Predictions for columns at a setting; NaN, and the reason, where theory has none."""
    no_limit, no_coefficients = theory.why_no_limit(setting), theory.why_no_coefficients(setting)
    curves: dict[tuple[str, tuple[int, ...]], Curve] = {}
    table = np.full((6, len(columns)), np.nan)
    table[3:5], table[5] = 0.0, np.inf
    reasons = [no_limit or no_coefficients or ""] * len(columns)
    if no_limit is None:
        for j, column in enumerate(columns):
            place = (column.observable, column.inputs)
            if place not in curves:
                curves[place] = OBSERVABLES[column.observable].curve(theory, setting, column.inputs)
            curve = curves[place]
            table[:5, j] = [values[column.layer or 0] for values in curve[:5]]
            table[5, j] = curve.room
            reasons[j] = reasons[j] or curve.why_not
        if no_coefficients is not None:
            table[1:3] = np.nan
            table[3:5] = 0.0
    return Predicted(table[0], table[1], table[2], table[3] > 0, table[4] > 0, table[5], tuple(reasons))
