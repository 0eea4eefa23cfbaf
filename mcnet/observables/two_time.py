"""Overlaps of a network with itself at two times: C(t, s), and C(T, t) with the last time. Layers are times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.observable import (
    Observable,
    Values,
    asked_layers,
    layer_sizes,
    with_rows,
)
from mcnet.point import Point
from mcnet.variables import Variable

_U = Variable(
    name="two_time",
    group="dynamics",
    dims=("input", "time", "layer"),
    long_name="overlap of the pre-activations of one input at two times, per unit",
    symbol="C_ts",
    definition="(1/M) u^t(a).u^s(a) of layers t, s of one network and one input; NaN where one is layer 0",
    normalisation="per unit, not divided by the lengths, not centred",
    reference="Sompolinsky, Crisanti, Sommers 1988, Phys. Rev. Lett. 61, 259",
)
_H = replace(
    _U,
    name="two_time_hat",
    long_name="overlap of the activations of one input at two times, per unit",
    symbol=r"\hat C_ts",
    definition="(1/M) h^t(a).h^s(a) of layers t, s of one network and one input; NaN where h has other units",
)
_LAST_U = replace(
    _U,
    name="autocorrelation",
    dims=("input", "layer"),
    long_name="overlap of the pre-activations of one input with those of the last layer, per unit",
    symbol="C^l",
    definition="(1/M) u^L(a).u^l(a), L the depth: the time lag is L - l; NaN at layer 0",
)
_LAST_H = replace(
    _LAST_U,
    name="autocorrelation_hat",
    long_name="overlap of the activations of one input with those of the last layer, per unit",
    symbol=r"\hat C^l",
    definition="(1/M) h^L(a).h^l(a), L the depth: the time lag is L - l; NaN where h has other units",
)

LETTERS = ("u", "h")


class Overlaps:
    """Keeps the vectors of all layers that it is shown, and multiplies them with those of some.

    Parameters
    ----------
    point : Point
    times : ndarray of int
        Layers that all others are multiplied with; of a single one the axis is dropped.
    """

    def __init__(self, point: Point, times: NDArray[np.intp]) -> None:
        self._times, self._depth = times, point.depth
        self._masks = {letter: _usable(point, letter) for letter in LETTERS}
        self._kept: dict[tuple[str, int], NDArray[np.floating]] = {}

    def see(self, name: str, layer: int, rows: NDArray[np.floating]) -> None:
        """As :class:`mcnet.observables.observable.Collector`."""
        if name in LETTERS and self._masks[name][layer]:
            self._kept[name, layer] = rows

    def values(self) -> tuple[Values, ...]:
        """As :class:`mcnet.observables.observable.Collector`."""
        return tuple(self._overlaps(letter) for letter in LETTERS)

    def _overlaps(self, letter: str) -> Values:
        """(N, T, *rows, times, depth + 1)."""
        mask, last = self._masks[letter], self._kept[letter, self._depth]
        found = np.full((*last.shape[:-1], self._times.size, self._depth + 1), np.nan)
        for place, t in enumerate(self._times):
            for s in np.flatnonzero(mask) if mask[t] else ():
                a, b = self._kept[letter, int(t)], self._kept[letter, int(s)]
                found[..., place, s] = np.einsum("...i,...i->...", a, b, dtype=np.float64) / a.shape[-1]
        defined = mask[self._times][:, None] & mask
        return Values(found[..., 0, :], defined[0]) if self._times.size == 1 else Values(found, defined)


def _usable(point: Point, letter: str) -> NDArray[np.bool_]:
    """Layers whose vectors have the units of the last one."""
    mask = asked_layers(point, {}, letter)
    if letter == "h" and point.inputs.dimension != point.width:
        mask[0] = False
    return mask


def _made(name: str, times: Callable[[int], NDArray[np.intp]], u: Variable, h: Variable) -> Observable:
    return Observable(
        name=name,
        options={},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "vectors"}),
        variables=lambda point, options: (with_rows(u, point, "u"), with_rows(h, point, "h")),
        check=lambda point, options: [],
        evaluate=lambda point, options, sample: sample.collected[name].values(),
        sizes=lambda point, options: {**layer_sizes(point, options), "time": point.depth + 1},
        collect=lambda point, options: Overlaps(point, times(point.depth)),
    )


OBSERVABLES = {
    "two_time": _made("two_time", lambda depth: np.arange(depth + 1), _U, _H),
    "autocorrelation": _made("autocorrelation", lambda depth: np.array([depth]), _LAST_U, _LAST_H),
}
