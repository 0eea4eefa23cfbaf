"""What observables share that collect while vectors pass by: one array for each layer, and their description."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.observable import (
    LAYERS,
    Collector,
    Observable,
    Options,
    Values,
    asked_layers,
    layer_sizes,
)
from mcnet.point import Point
from mcnet.variables import Variable


class PerLayer:
    """A collector that makes one array of the vectors h of each layer, by :meth:`of`.

    Parameters
    ----------
    point : Point
    options : mapping
    first : int
        The first layer that has the observable.
    """

    def __init__(self, point: Point, options: Options, first: int = 0) -> None:
        self._mask = asked_layers(point, options, "h", first)
        self._found: dict[int, NDArray[np.float64]] = {}

    def of(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """What is kept of the vectors of a layer, (N, T, *rows, M): the networks first."""
        raise NotImplementedError

    def see(self, name: str, layer: int, rows: NDArray[np.floating]) -> None:
        """As :class:`mcnet.observables.observable.Collector`."""
        if name == "h" and self._mask[layer]:
            self._found[layer] = self.of(rows)

    def values(self) -> tuple[Values, ...]:
        """As :class:`mcnet.observables.observable.Collector`: layers last, 0..depth, NaN where there is none."""
        found = np.full((*next(iter(self._found.values())).shape, self._mask.size), np.nan)
        for layer, value in self._found.items():
            found[..., layer] = value
        return (Values(found, self._mask & self.defined(found)),)

    def defined(self, found: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where numbers must be finite, among the layers that were asked for; broadcastable to the values."""
        return np.ones(1, dtype=np.bool_)


def collecting(
    name: str,
    collect: Callable[[Point, Options], Collector],
    variables: Callable[[Point, Options], tuple[Variable, ...]],
    check: Callable[[Point, Options], list[str]],
    *,
    sizes: Callable[[Point, Options], dict[str, int]] = layer_sizes,
) -> dict[str, Observable]:
    """The table of a file with one observable that is made of vectors as they pass by."""
    described = Observable(
        name=name,
        options={"layers": LAYERS},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "vectors"}),
        variables=variables,
        check=check,
        evaluate=lambda point, options, sample: sample.collected[name].values(),
        sizes=sizes,
        collect=collect,
    )
    return {name: described}
