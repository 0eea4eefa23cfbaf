"""How much alike the tokens of an input have become: their mean cosine, 1 where all rows point one way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.collected import PerLayer, collecting
from mcnet.observables.observable import Options, check_layers
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


class Cosines(PerLayer):
    """The mean cosine of every h."""

    def of(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, T)."""
        gram = np.matmul(rows, rows.swapaxes(-1, -2), dtype=np.float64)  # (N, T, S, S)
        length = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines = gram / (length[..., :, None] * length[..., None, :])
        count = gram.shape[-1]
        return np.asarray((cosines.sum((-1, -2)) - count) / (count * (count - 1)))

    def defined(self, found: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where all tokens have a length."""
        return np.isfinite(found)


def _check(point: Point, options: Options) -> list[str]:
    axes = row_axes(point, "h")
    if list(axes) != ["token"]:
        return ['it is read off the tokens of an input; architecture = "transformer" has them']
    return ["one token is like no other; use tokens = 2 or more"] if axes["token"] < 2 else check_layers(point, options)


OBSERVABLES = collecting("token_similarity", Cosines, lambda point, options: (_VARIABLE,), _check)
