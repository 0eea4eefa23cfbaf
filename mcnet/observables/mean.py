"""Mean of the activations over the units: an order parameter of residual networks with activations that are not odd."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.collected import PerLayer, collecting
from mcnet.observables.observable import Options, asked_layers, check_layers, with_rows
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


class Means(PerLayer):
    """The mean of every h."""

    def of(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, T, *rows)."""
        return np.asarray(rows.mean(-1, dtype=np.float64))


def _check(point: Point, options: Options) -> list[str]:
    beyond = check_layers(point, options)
    if beyond or asked_layers(point, options, "h").any():
        return beyond
    return ["layers: h is seen at none of them"]


OBSERVABLES = collecting("mean", Means, lambda point, options: (with_rows(_MEAN, point, "h"),), _check)
