"""Mean of the activations over the units: an order parameter of residual networks with activations that are not odd."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.observable import (
    LAYERS,
    Observable,
    Options,
    Values,
    asked_layers,
    check_layers,
    layer_sizes,
    with_rows,
)
from mcnet.point import Point
from mcnet.variables import Variable

_MEAN = Variable(
    name="h_mean",
    group="signal",
    dims=("input", "layer"),
    long_name="mean of the activations over the units",
    symbol="m^l",
    definition="(1/M_l) sum_i h_i^l; layer 0 is the input",
    normalisation="per unit; one network and one input",
    reference="Yang, Schoenholz 2017, arXiv:1712.08969",
)


class Means:
    """Keeps the mean of every h that it is shown.

    Parameters
    ----------
    point : Point
    options : mapping
    """

    def __init__(self, point: Point, options: Options) -> None:
        self._mask = asked_layers(point, options, "h")
        self._means: dict[int, NDArray[np.float64]] = {}

    def see(self, name: str, layer: int, rows: NDArray[np.floating]) -> None:
        """As :class:`mcnet.observables.observable.Collector`."""
        if name == "h" and self._mask[layer]:
            self._means[layer] = rows.mean(-1, dtype=np.float64)

    def values(self) -> tuple[Values, ...]:
        """As :class:`mcnet.observables.observable.Collector`."""
        found = np.full((*next(iter(self._means.values())).shape, self._mask.size), np.nan)
        for layer, mean in self._means.items():
            found[..., layer] = mean
        return (Values(found, self._mask),)


def _check(point: Point, options: Options) -> list[str]:
    beyond = check_layers(point, options)
    if beyond or asked_layers(point, options, "h").any():
        return beyond
    return ["layers: h is seen at none of them"]


OBSERVABLES = {
    "mean": Observable(
        name="mean",
        options={"layers": LAYERS},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "vectors"}),
        variables=lambda point, options: (with_rows(_MEAN, point, "h"),),
        check=_check,
        evaluate=lambda point, options, sample: sample.collected["mean"].values(),
        sizes=layer_sizes,
        collect=Means,
    ),
}
