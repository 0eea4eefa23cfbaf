"""N networks while they are trained: forward on some inputs, one step."""

from __future__ import annotations

import numpy as np

from mcnet.programs import sampled
from mcnet.programs.counted import MatrixCount
from mcnet.programs.names import Key
from mcnet.programs.questions import spread
from mcnet.programs.trace import Trace
from mcnet.recipe import Recipe
from mcnet.training.matrices import AskedMatrix, BuiltMatrix, TrainedMatrix
from mcnet.training.model import Model
from mcnet.training.optimizers import rule
from mcnet.weights.laws import Array, Ensemble, Layer


def is_small(use: MatrixCount, steps: int) -> bool:
    """Whether a matrix has fewer rows or columns than it is asked questions: it is built, whatever the others are."""
    return int(min(use.asked.units, use.asked.columns)) <= 2 * use.forward * steps


class Networks:
    """Networks of an ensemble, and their matrices as they are now.

    Parameters
    ----------
    model : Model
    recipe : Recipe
    ensemble : Ensemble
    sampler : str
        ``explicit`` (built) or ``conditioned`` (asked).
    inputs : int
        Inputs of the point.
    """

    def __init__(self, model: Model, recipe: Recipe, ensemble: Ensemble, sampler: str, inputs: int) -> None:
        self.model, self.ensemble, self._sampler = model, ensemble, sampler
        self._backend = ensemble.backend
        plan = model.count(recipe.rows(inputs))
        self.matrices: dict[Key, TrainedMatrix] = {}
        for key, use in plan.matrices.items():
            asked, law = use.asked, model.laws.of(key)
            variance = law.sigma_w2 * asked.columns / asked.fan  # entries have variance sigma_w2 / fan
            layer = Layer(asked.order, asked.units, asked.columns, law.law, variance, law.sigma_b2)
            factors = model.scaling.factors(key, law, asked.fan)
            questions = use.forward * recipe.steps
            if sampler == "explicit" or is_small(use, recipe.steps):
                self.matrices[key] = BuiltMatrix(layer, ensemble, factors, rule(recipe))
            else:
                self.matrices[key] = AskedMatrix(layer, ensemble, factors, questions, questions)

    def placed(self, x: Array) -> Array:
        """Inputs (N or 1, T, sites M_0), float64, as programs take them: in the difference basis, with their axes."""
        xp, model = self._backend.xp, self.model
        x = xp.concat([x[:, :1, :], x[:, 1:, :] - x[:, :1, :]], axis=1)
        sizes = [model.axes[name] for name in model.others]
        return xp.astype(xp.reshape(x, (*x.shape[:2], *sizes, model.dimension)), self.ensemble.dtype, copy=False)

    def forward(self, x: Array, *, backward: bool, one_functional: bool = True) -> Trace:
        """The networks on inputs of :meth:`placed`.

        Parameters
        ----------
        x : Array
        backward : bool
            Whether a step or a kernel is to follow.
        one_functional : bool
            Whether cotangents of one functional are wanted (:meth:`step`), or of all outputs before normalisation.
        """
        model = self.model if one_functional else self.model.bare or self.model
        plan = model.count(x.shape[1])
        return sampled.run(
            model.network,
            model.parameters,
            model.laws,
            x,
            model.others,
            self.ensemble,
            self._sampler,
            backward=backward,
            grams=False,
            matrices=self.matrices,
            plan=plan,
            one_functional=one_functional,
        )

    def step(self, trace: Trace, v: Array, rates: Array) -> None:
        """A step of training.

        Parameters
        ----------
        trace : Trace
            Of :meth:`forward`.
        v : Array, shape (N, C P, T), float64
            Derivatives of the loss with respect to the outputs; 0 for networks that rest.
        rates : ndarray, shape (N,)
            Learning rates; 0 for networks that rest.
        """
        xp = self._backend.xp
        placed = xp.astype(self._backend.place(np.asarray(rates, np.float64)), self.ensemble.dtype)
        for key, move in trace.moves(v).items():
            weights = self.model.scaling.tap_weights(move.asked[0].question)
            x = move.x
            if weights:
                x = x * xp.astype(spread(self._backend, weights, x.shape[2]), x.dtype)
            self.matrices[key].step(move, x, placed)
