"""Overlaps of a network with itself at two layers; Lyapunov exponents."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mcnet_analysis.predict.prediction import ExactMoments, Observable, curve
from mcnet_analysis.study import Column, Setting

from mcnet.predictions.dynamics import TIMES as TIMES
from mcnet.theory.exact import linear_lyapunov


def _length(column: Column, limits: Mapping[Column, float]) -> float:
    """The squared length of the last layer: an overlap may vanish, and fluctuates no less for it."""
    last = max(other.layer or 0 for other in limits if other[:2] == column[:2])
    return abs(limits[column._replace(layer=last)])


EXPONENTS = 4
"""Lyapunov exponents that are analysed: the first ones."""


def _once(column: Column, limits: Mapping[Column, float]) -> float:
    """An exponent that lets a change grow e times more by this layer, whether changes grow or not."""
    return 1.0 / (column.layer or 1)


def _exact_exponent(number: int) -> Callable[[Setting, Column], ExactMoments | None]:
    """Of linear networks with a new Gaussian matrix at every step."""

    def exact(setting: Setting, column: Column) -> ExactMoments | None:
        law, keys = setting.law, setting.keys
        untied = law["architecture"] == "recurrent" and not keys.get("tied", True) and keys.get("leak", 1.0) == 1.0
        if not (untied and setting.activation.label == "linear" and law["weights"] == "gaussian" and column.layer):
            return None
        if law["normalization"] != "none":
            return None
        return ExactMoments(*linear_lyapunov(float(law["sigma_w2"]), setting.width, column.layer, number))

    return exact


def _exponent(number: int) -> Observable:
    name = "lyapunov" if number == 1 else f"lyapunov_{number}"
    return Observable(
        name, "dynamics", 1, rf"\lambda_{number}", _once, curve("lyapunov"), exact=_exact_exponent(number),
        variable="lyapunov", at=(("exponent", number - 1),),
    )  # fmt: skip


def _at_time(column: Column, limits: Mapping[Column, float]) -> float:
    """The squared length at the time that is fixed: an overlap may vanish, and fluctuates no less for it."""
    time = int(column.observable.rsplit("_", 1)[1])
    return abs(limits.get(column._replace(layer=time), limits[column]))


def _two_time(letter: str, time: int) -> Observable:
    hat, symbol = ("_hat", r"\hat C") if letter == "h" else ("", "C")
    name = f"two_time{hat}_{time}"
    return Observable(
        name, "dynamics", 1, rf"{symbol}_{{{time},\,s}}", _at_time, curve(name), variable=f"two_time{hat}",
        at=(("time", time),),
    )  # fmt: skip


DYNAMICS = (
    Observable("autocorrelation", "dynamics", 1, r"C", _length, curve("autocorrelation")),
    Observable("autocorrelation_hat", "dynamics", 1, r"\hat C", _length, curve("autocorrelation_hat")),
    *(_two_time(letter, time) for time in TIMES for letter in ("u", "h")),
    *(_exponent(number) for number in range(1, EXPONENTS + 1)),
)
"""Of networks in time: autocorrelations, overlaps of two times, Lyapunov exponents."""
