"""What is kept of a training: the course of the loss, and at recorded steps whatever is wanted."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.point import Point
from mcnet.programs.trace import Trace
from mcnet.recipe import Recipe
from mcnet.training.kernels import Kernels, kernels
from mcnet.training.networks import Networks
from mcnet.training.trainer import Trainer
from mcnet.weights.laws import Ensemble

Array = Any
Floats = NDArray[np.float64]

WANTS = frozenset({"output", "kernel"})
"""What beside the loss may be kept."""


@dataclass(frozen=True)
class Record:
    """Trainings of N networks with one learning rate of the recipe.

    Attributes
    ----------
    trainer : Trainer
        That made them: it can train the same networks again.
    rates : ndarray, shape (N,)
        Learning rates.
    loss : ndarray, shape (N, steps + 1)
        See :class:`mcnet.training.trainer.Course`.
    diverged : ndarray of int, shape (N,)
    outputs : ndarray, shape (N, R, C, T), or None
        At recorded steps, test inputs last; NaN once a network has diverged.
    kernels : tuple of Kernels
        At recorded steps, of the training inputs.
    """

    trainer: Trainer
    rates: Floats
    loss: Floats
    diverged: NDArray[np.int64]
    outputs: Floats | None = None
    kernels: tuple[Kernels, ...] = ()
    first: Kernels | None = None

    def there(self) -> NDArray[np.bool_]:
        """Whether a network has not diverged by a recorded step, (N, R)."""
        steps = np.asarray(self.trainer.recipe.record)
        return (self.diverged[:, None] < 0) | (steps < self.diverged[:, None])


@dataclass
class _Watch:
    """Looks at recorded steps."""

    trainer: Trainer
    wants: Set[str]
    outputs: list[Floats] = field(default_factory=list)
    kernels: list[Kernels] = field(default_factory=list)

    def see(self, step: int, networks: Networks, trace: Trace | None) -> None:
        trainer = self.trainer
        if step not in trainer.recipe.record:
            return
        if "output" in self.wants:
            self.outputs.append(self._outputs(networks, trace))
        if "kernel" in self.wants:
            self.kernels.append(kernels(networks, trainer.training_inputs, trainer.recipe.loss))

    def _outputs(self, networks: Networks, trace: Trace | None) -> Floats:
        """Of all inputs, (N, C, T + test inputs)."""
        trainer, backend = self.trainer, networks.ensemble.backend
        if trace is None:
            parts = [networks.forward(networks.placed(trainer.training_inputs), backward=False)]
        else:
            parts = [trace]
        if trainer.recipe.test_inputs:
            parts.append(networks.forward(networks.placed(trainer.x[:, trainer.trained :, :]), backward=False))
        found: Floats = np.concatenate([backend.fetch(part.outputs) for part in parts], axis=2)
        return found


def rates_of(trainer: Trainer, first: Kernels | None, rate: float) -> Floats:
    """A learning rate of the recipe for each network, (N,)."""
    if trainer.recipe.learning_rate_unit == "absolute":
        return np.full(trainer.ensemble.count, rate)
    assert first is not None
    with np.errstate(divide="ignore"):
        return rate * 2.0 / first.sharpness()


def records(point: Point, recipe: Recipe, seed: int, ensemble: Ensemble, sampler: str, wants: Set[str]) -> list[Record]:
    """Trainings of the same networks with each learning rate of a recipe.

    ``wants``: of :data:`WANTS`, and ``start`` for the kernels before training alone.
    """
    trainer = Trainer(point, recipe, seed, ensemble, sampler)
    first: Kernels | None = None
    if recipe.learning_rate_unit == "bound" or "start" in wants:
        first = kernels(trainer.networks(), trainer.training_inputs, recipe.loss)
    found = []
    for rate in recipe.learning_rate:
        rates = rates_of(trainer, first, rate)
        watch = _Watch(trainer, wants)
        course = trainer.descend(rates, recipe.steps, watch.see if wants & WANTS else None)
        record = Record(trainer, rates, course.loss, course.diverged, first=first)
        missing = len(recipe.record) - max(len(watch.outputs), len(watch.kernels))
        if "output" in wants:
            outputs = np.stack(watch.outputs + missing * [np.full_like(watch.outputs[0], np.nan)], axis=1)
            record = replace(record, outputs=outputs)
        found.append(replace(record, kernels=tuple(watch.kernels)))
    return found
