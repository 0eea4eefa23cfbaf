"""The trainer: networks of an ensemble from their initialisation on, step by step.

A network that diverges rests from then on and does not disturb those beside it. Every network's numbers are the same to
the bit whatever the ensemble, so a training that was interrupted is made again from its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.networks import inputs
from mcnet.point import Point
from mcnet.programs.trace import Trace
from mcnet.recipe import DIVERGED, SMALLEST_LOSS, Recipe
from mcnet.training import losses
from mcnet.training.model import model_of
from mcnet.training.networks import Networks
from mcnet.training.order import Order
from mcnet.training.targets import targets
from mcnet.weights.laws import Ensemble

Array = Any
Floats = NDArray[np.float64]
Watch = Callable[[int, Networks, Trace | None], None]
"""Called before each step and after the last one: its number, the networks, and the trace of all training inputs where
the step has one."""


@dataclass(frozen=True)
class Course:
    """What became of N networks.

    Attributes
    ----------
    loss : ndarray, shape (N, steps + 1)
        Of the inputs of each step before it, the last one after the last step; NaN from the step of divergence on.
    diverged : ndarray of int, shape (N,)
        The step before which the loss was found not finite or too large; -1 for none.
    """

    loss: Floats
    diverged: NDArray[np.int64]


class Trainer:
    """Trains networks of an ensemble, from the beginning each time.

    Parameters
    ----------
    point : Point
    recipe : Recipe
    seed : int
        Of the study, for inputs and targets.
    ensemble : Ensemble
    sampler : str
        ``explicit`` or ``conditioned``.

    Attributes
    ----------
    x : Array, shape (N or 1, T + test inputs, sites M_0), float64
        All inputs.
    y : Array, shape (N or 1, C, T), float64
        Targets of the training inputs.
    """

    def __init__(self, point: Point, recipe: Recipe, seed: int, ensemble: Ensemble, sampler: str) -> None:
        self.point, self.recipe, self.ensemble, self._sampler = point, recipe, ensemble, sampler
        self._backend = backend = ensemble.backend
        self.model = model_of(point, recipe)
        x = backend.fetch(inputs.draw(point, seed, ensemble.start, ensemble.stop, backend, self.model.sites))
        y = targets(point, recipe, seed, x, backend)
        self.trained = recipe.trained(point.inputs.count)
        self.x, self.y = backend.place(x), backend.place(np.ascontiguousarray(y[:, :, : self.trained]))

    def networks(self) -> Networks:
        """The networks at their initialisation."""
        return Networks(self.model, self.recipe, self.ensemble, self._sampler, self.point.inputs.count)

    @property
    def training_inputs(self) -> Array:
        """(N or 1, T, sites M_0)."""
        return self.x[:, : self.trained, :]

    def descend(self, rates: Floats, steps: int, watch: Watch | None = None) -> Course:
        """Train.

        Parameters
        ----------
        rates : ndarray, shape (N,)
            Learning rate of each network.
        steps : int
        watch : callable, optional
            See :data:`Watch`.
        """
        xp, count, loss = self._backend.xp, self.ensemble.count, self.recipe.loss
        networks, order = self.networks(), Order(self.recipe, self.trained, self.ensemble)
        everything = networks.placed(self.training_inputs)
        values = np.full((count, steps + 1), np.nan)
        diverged = np.full(count, -1)
        for step in range(steps + 1):
            rows = order.rows(step)
            x, y = (everything, self.y) if rows is None else self._batch(networks, rows)
            trace = networks.forward(x, backward=step < steps or watch is not None)
            f = trace.outputs
            value = self._backend.fetch(losses.value(xp, loss, f, y))
            known = value if step == 0 else values[:, 0]
            with np.errstate(invalid="ignore"):
                lost = ~(value <= DIVERGED * np.maximum(known, SMALLEST_LOSS)) & (diverged < 0)
            diverged[lost] = step
            values[:, step] = np.where(diverged < 0, value, np.nan)
            if watch is not None:
                watch(step, networks, trace if rows is None else None)
            if step == steps or not (diverged < 0).any():
                break
            running = diverged < 0
            v = losses.residual(xp, loss, f, y) / f.shape[2]
            v = xp.where(self._backend.place(running)[:, None, None], v, xp.zeros_like(v))
            networks.step(trace, v, np.where(running, rates, 0.0))
        return Course(values, diverged)

    def _batch(self, networks: Networks, rows: NDArray[np.int64]) -> tuple[Array, Array]:
        """Inputs and targets of a minibatch, rows (1 or N, b)."""
        x, y = self._backend.fetch(self.training_inputs), self._backend.fetch(self.y)
        some = np.take_along_axis(x, rows[:, :, None], axis=1)
        wanted = np.take_along_axis(y, rows[:, None, :], axis=2)
        return networks.placed(self._backend.place(some)), self._backend.place(wanted)


def outputs_of(point: Point, recipe: Recipe) -> int:
    """Outputs of a network for one input, rows beside the input included."""
    output = model_of(point, recipe).count(recipe.trained(point.inputs.count)).output
    return int(output.units) * output.rows // recipe.trained(point.inputs.count)
