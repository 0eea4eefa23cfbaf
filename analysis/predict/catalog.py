"""All observables that are analysed, and their predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np
from mcnet_analysis.predict import registered
from mcnet_analysis.predict.blocks import BLOCKS
from mcnet_analysis.predict.dynamics import DYNAMICS
from mcnet_analysis.predict.normalization import NORMALIZATION
from mcnet_analysis.predict.prediction import Observable, Predicted, Theory, curve
from mcnet_analysis.predict.seen import SEEN
from mcnet_analysis.predict.signal import SIGNAL
from mcnet_analysis.predict.tangent import TANGENT
from mcnet_analysis.predict.tokens import TOKENS
from mcnet_analysis.study import Column, Setting

from mcnet.predictions import Curve

_KINDS = (SIGNAL, TANGENT, DYNAMICS, BLOCKS, TOKENS, NORMALIZATION, SEEN)
_OWN: dict[str, Observable] = {observable.name: observable for kind in _KINDS for observable in kind}


class _All(Mapping[str, Observable]):
    """Those of mcnet, and what plug-ins have registered by now."""

    def __getitem__(self, name: str) -> Observable:
        return _OWN[name] if name in _OWN else registered.observables()[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**_OWN, **registered.observables()})

    def __len__(self) -> int:
        return len(list(iter(self)))


OBSERVABLES: Mapping[str, Observable] = _All()


def predict(theory: Theory, setting: Setting, columns: Sequence[Column]) -> Predicted:
    """Predictions for columns at a setting; NaN, and the reason, where theory has none.

    Of dense networks by the theory of those; of others, and of what plug-ins register, by whom the registry names.
    """
    no_coefficients = [theory.why_no_coefficients(setting, column.observable) for column in columns]
    curves: dict[tuple[str, tuple[int, ...]], Curve] = {}
    table, errors = np.full((6, len(columns)), np.nan), np.zeros((3, len(columns)))
    table[3:5], table[5] = 0.0, np.inf
    reasons: list[str] = []
    why_no_limit = cache(lambda ours: theory.why_no_limit(setting) if ours else theory.why_nothing(setting))
    for j, column in enumerate(columns):
        ours = setting.why_no_theory is None and column.observable in _OWN
        no_limit = why_no_limit(ours)
        reasons.append(no_limit or no_coefficients[j] or "")
        if no_limit is not None:
            continue
        place = (column.observable, column.inputs)
        if place not in curves:
            function = _OWN[column.observable].curve if ours else curve(column.observable)
            curves[place] = function(theory, setting, column.inputs)
        found, layer = curves[place], column.layer or 0
        table[:5, j] = [values[layer if len(values) > 1 else 0] for values in found[:5]]
        table[5, j] = found.room
        if found.errors is not None:
            errors[:, j] = [np.nan_to_num(values[layer if len(values) > 1 else 0]) for values in found.errors]
        reasons[j] = reasons[j] or found.why_not
    without = np.array([reason is not None for reason in no_coefficients], dtype=bool)
    table[1:3, without] = np.nan
    table[3:5, without] = 0.0
    return Predicted(table[0], table[1], table[2], table[3] > 0, table[4] > 0, table[5], tuple(reasons), errors)
