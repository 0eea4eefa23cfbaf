"""Which inputs a step takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet import streams
from mcnet.recipe import Recipe
from mcnet.weights.laws import Ensemble

Rows = NDArray[np.int64]


class Order:
    """Minibatches of a training.

    Parameters
    ----------
    recipe : Recipe
    inputs : int
        T, training inputs.
    ensemble : Ensemble
        Its networks shuffle for themselves, from role 9 of their streams: row = epoch.
    """

    def __init__(self, recipe: Recipe, inputs: int, ensemble: Ensemble) -> None:
        self._size, self._inputs, self._ensemble = recipe.batch_size, inputs, ensemble
        self._shuffled = recipe.order == "shuffled"
        self._epoch, self._permutation = -1, np.empty((0, 0), np.int64)

    def rows(self, step: int) -> Rows | None:
        """Inputs of a step, (1 or N, batch size); None: all training inputs as they come."""
        if self._size is None:
            return None
        each = self._inputs // self._size
        epoch, part = divmod(step, each)
        here = slice(part * self._size, (part + 1) * self._size)
        if not self._shuffled:
            return np.arange(self._inputs)[None, here]
        if epoch != self._epoch:
            self._epoch, self._permutation = epoch, self._of_epoch(epoch)
        return self._permutation[:, here]

    def _of_epoch(self, epoch: int) -> Rows:
        ensemble = self._ensemble
        where = (epoch, 0)
        drawn = ensemble.uniforms(streams.ORDER, 0, 1, self._inputs, dtype=ensemble.backend.xp.float32, first=where)
        return np.argsort(ensemble.backend.fetch(drawn)[:, 0, :], axis=1, kind="stable")
