"""How widely tokens attend: the entropy of the weights of every head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures
from mcnet.observables.collected import PerLayer, collecting
from mcnet.observables.observable import Options, check_layers, layer_sizes
from mcnet.point import Point
from mcnet.variables import Variable

TRANSFORMER = "transformer"

_VARIABLE = Variable(
    name="attention_entropy",
    group="similarity",
    dims=("input", "head", "layer"),
    long_name="entropy of the attention weights of a head",
    symbol="H^l",
    definition="mean over the tokens t of an input of -sum_s p_ts ln p_ts, p_t the weights of token t; NaN at layer 0",
    normalisation="nats: 0 where a token attends to one alone, ln S where to all S alike",
    reference="Vaswani et al. 2017, arXiv:1706.03762; Noci et al. 2022, arXiv:2206.03126",
)


class Entropies(PerLayer):
    """The entropy of every head; the layer is that of the next h.

    Parameters
    ----------
    point : Point
    options : mapping
    """

    def __init__(self, point: Point, options: Options) -> None:
        super().__init__(point, options, first=1)
        self._heads: list[NDArray[np.float64]] = []

    def attend(self, weights: NDArray[np.float64]) -> None:
        """As :class:`mcnet.observables.observable.AttentionReader`."""
        logs = np.log(weights, out=np.zeros_like(weights), where=weights > 0.0)
        self._heads.append(-(weights * logs).sum(-1).mean(-1))  # (N, T)

    def see(self, name: str, layer: int, rows: NDArray[np.floating]) -> None:
        """As :class:`mcnet.observables.observable.Collector`."""
        super().see(name, layer, rows)
        if name == "h":
            self._heads = []

    def of(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, T, heads)."""
        return np.stack(self._heads, axis=-1)


def _check(point: Point, options: Options) -> list[str]:
    if point.architecture != TRANSFORMER:
        return ['it is read off the heads of architecture = "transformer"']
    return check_layers(point, options)


def _sizes(point: Point, options: Options) -> dict[str, int]:
    heads = architectures.of(point).parameters.heads if point.architecture == TRANSFORMER else 1
    return {**layer_sizes(point, options), "head": heads}


OBSERVABLES = collecting("attention_entropy", Entropies, lambda point, options: (_VARIABLE,), _check, sizes=_sizes)
