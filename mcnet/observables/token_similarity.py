"""How much alike the tokens of an input have become: their mean cosine, 1 where all rows point one way."""

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
)
from mcnet.observables.rows import row_axes
from mcnet.point import Point
from mcnet.variables import Variable

_VARIABLE = Variable(
    name="token_similarity",
    group="similarity",
    dims=("input", "layer"),
    long_name="mean cosine between the tokens of an input",
    symbol="s^l",
    definition="mean over pairs of tokens of h_s.h_t / (|h_s| |h_t|) of one network and one input; NaN where a token "
    "has no length",
    normalisation="not centred; 1 where all tokens point one way (rank collapse)",
    reference="Dong, Cordonnier, Loukas 2021, arXiv:2103.03404; Noci et al. 2022, arXiv:2206.03126",
)


class Cosines:
    """Keeps the mean cosine of every h that it is shown.

    Parameters
    ----------
    point : Point
    options : mapping
    """

    def __init__(self, point: Point, options: Options) -> None:
        self._mask = asked_layers(point, options, "h")
        self._found: dict[int, NDArray[np.float64]] = {}

    def see(self, name: str, layer: int, rows: NDArray[np.floating]) -> None:
        """As :class:`mcnet.observables.observable.Collector`."""
        if name == "h" and self._mask[layer]:
            gram = np.matmul(rows, rows.swapaxes(-1, -2), dtype=np.float64)  # (N, T, S, S)
            length = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
            with np.errstate(divide="ignore", invalid="ignore"):
                cosines = gram / (length[..., :, None] * length[..., None, :])
            count = gram.shape[-1]
            self._found[layer] = (cosines.sum((-1, -2)) - count) / (count * (count - 1))

    def values(self) -> tuple[Values, ...]:
        """As :class:`mcnet.observables.observable.Collector`."""
        found = np.full((*next(iter(self._found.values())).shape, self._mask.size), np.nan)
        for layer, value in self._found.items():
            found[..., layer] = value
        return (Values(found, self._mask & np.isfinite(found)),)


def _check(point: Point, options: Options) -> list[str]:
    axes = row_axes(point, "h")
    if list(axes) != ["token"]:
        return ['it is read off the tokens of an input; architecture = "transformer" has them']
    return ["one token is like no other; use tokens = 2 or more"] if axes["token"] < 2 else check_layers(point, options)


OBSERVABLES = {
    "token_similarity": Observable(
        name="token_similarity",
        options={"layers": LAYERS},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "vectors"}),
        variables=lambda point, options: (_VARIABLE,),
        check=_check,
        evaluate=lambda point, options, sample: sample.collected["token_similarity"].values(),
        sizes=layer_sizes,
        collect=Cosines,
    ),
}
