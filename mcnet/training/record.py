"""What is kept of a training: the course of the loss, and at recorded steps whatever is wanted."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.point import Point
from mcnet.programs import rows
from mcnet.programs.trace import Trace
from mcnet.recipe import Recipe
from mcnet.training.kernels import Kernels, kernels
from mcnet.training.networks import Networks
from mcnet.training.trainer import Trainer
from mcnet.weights.laws import Ensemble

Array = Any
Floats = NDArray[np.float64]

WANTS = frozenset({"output", "kernel", "vectors"})
"""What beside the loss may be kept at recorded steps."""


@dataclass(frozen=True)
class Record:
    """Trainings of N networks with one learning rate of the recipe; R recorded steps, NaN once a network has diverged.

    Attributes
    ----------
    rates : ndarray, shape (N,)
        Learning rates.
    loss : ndarray, shape (N, steps + 1)
        See :class:`mcnet.training.trainer.Course`.
    diverged : ndarray of int, shape (N,)
    there : ndarray of bool, shape (N, R)
        Whether a network has not diverged by a recorded step.
    seen : mapping of str to ndarray, shape (N, R, ...)
        ``output`` (C, T), test inputs last; ``sharpness``, ``kernel_size``, ``kernel_change``: of the tangent kernel of
        the training inputs, largest eigenvalue of the curvature and Frobenius norms; ``activation_size``,
        ``activation_change`` (depth + 1): root mean squares over inputs and units.
    """

    rates: Floats
    loss: Floats
    diverged: NDArray[np.int64]
    there: NDArray[np.bool_]
    seen: dict[str, Floats]


class Trainings:
    """Trainings of the same networks, made when they are asked for.

    Parameters
    ----------
    point : Point
    recipe : Recipe
    seed : int
    ensemble : Ensemble
    sampler : str
    wants : set of str
        Of :data:`WANTS`.
    """

    def __init__(
        self, point: Point, recipe: Recipe, seed: int, ensemble: Ensemble, sampler: str, wants: Set[str]
    ) -> None:
        self.trainer = Trainer(point, recipe, seed, ensemble, sampler)
        self._wants = wants & WANTS

    def make(self, wants: Set[str]) -> None:
        """Make what is wanted now: ``course``, ``start``."""
        if "start" in wants:
            self.start  # noqa: B018 (it is kept)
        if "course" in wants:
            self.records  # noqa: B018

    @cached_property
    def start(self) -> Kernels:
        """Kernels before training."""
        return kernels(self.trainer.networks(), self.trainer.training_inputs, self.trainer.recipe.loss)

    @cached_property
    def bound(self) -> Floats:
        """2 / lambda_max before training, (N,)."""
        with np.errstate(divide="ignore"):
            return np.asarray(2.0 / self.start.sharpness())

    @cached_property
    def records(self) -> list[Record]:
        """One for each learning rate."""
        return [self._record(rate) for rate in self.trainer.recipe.learning_rate]

    def _record(self, rate: float) -> Record:
        trainer = self.trainer
        recipe, count = trainer.recipe, trainer.ensemble.count
        rates = rate * self.bound if recipe.learning_rate_unit == "bound" else np.full(count, rate)
        watch = _Watch(trainer, self._wants)
        course = trainer.descend(rates, recipe.steps, watch.see if self._wants else None)
        steps = np.asarray(recipe.record)
        there = (course.diverged[:, None] < 0) | (steps < course.diverged[:, None])
        seen = {}
        for name, parts in watch.seen.items():
            missing = [np.full_like(parts[0], np.nan)] * (steps.size - len(parts))
            values = np.stack(parts + missing, axis=1)
            known = there.reshape(*there.shape, *[1] * (values.ndim - 2))
            seen[name] = np.where(known, values, np.nan)
        return Record(rates, course.loss, course.diverged, there, seen)


class _Watch:
    """Looks at recorded steps.

    Parameters
    ----------
    trainer : Trainer
    wants : set of str
    """

    def __init__(self, trainer: Trainer, wants: Set[str]) -> None:
        self._trainer, self._wants = trainer, wants
        self.seen: dict[str, list[Floats]] = {}
        self._theta: Floats | None = None
        self._vectors: list[Array] = []

    def see(self, step: int, networks: Networks, trace: Trace | None) -> None:
        """See :data:`mcnet.training.trainer.Watch`."""
        trainer = self._trainer
        if step not in trainer.recipe.record:
            return
        if trace is None:
            trace = networks.forward(networks.placed(trainer.training_inputs), backward="vectors" in self._wants)
        if "output" in self._wants:
            self._add("output", self._outputs(networks, trace))
        if "kernel" in self._wants:
            self._see_kernel(kernels(networks, trainer.training_inputs, trainer.recipe.loss))
        if "vectors" in self._wants:
            self._see_vectors(trace)

    def _add(self, name: str, values: Any) -> None:
        self.seen.setdefault(name, []).append(np.asarray(values, np.float64))

    def _outputs(self, networks: Networks, trace: Trace) -> Floats:
        """Of all inputs, (N, C, T + test inputs)."""
        trainer, backend = self._trainer, networks.ensemble.backend
        parts = [trace]
        if trainer.recipe.test_inputs:
            parts.append(networks.forward(networks.placed(trainer.x[:, trainer.trained :, :]), backward=False))
        found: Floats = np.concatenate([backend.fetch(part.outputs) for part in parts], axis=2)
        return found

    def _see_kernel(self, found: Kernels) -> None:
        if self._theta is None:
            self._theta = found.theta
        self._add("sharpness", found.sharpness())
        self._add("kernel_size", np.linalg.norm(found.theta, axis=(1, 2)))
        self._add("kernel_change", np.linalg.norm(found.theta - self._theta, axis=(1, 2)))

    def _see_vectors(self, trace: Trace) -> None:
        """Of h^0..h^depth as far as the program sees them, and their change since the first recorded step."""
        backend, depth = trace.ensemble.backend, self._trainer.point.depth
        xp, first = backend.xp, not self._vectors
        sizes, changes = np.full((2, trace.ensemble.count, depth + 1), np.nan)
        seen = [layer for layer in range(depth + 1) if ("h", layer) in trace.seen]
        for place, layer in enumerate(seen):
            plain = rows.to_plain(xp, xp.astype(trace.vector(("h", layer)).value, xp.float64))
            flat = xp.reshape(plain, (plain.shape[0], -1))
            if first:
                self._vectors.append(flat)
            moved = flat - self._vectors[place]
            for squares, values in ((sizes, flat), (changes, moved)):
                squares[:, layer] = np.sqrt(backend.fetch(xp.vecdot(values, values)) / values.shape[1])
        self._add("activation_size", sizes)
        self._add("activation_change", changes)
