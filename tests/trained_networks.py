"""Small trainings for the tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from network_points import point
from numpy.typing import NDArray

from mcnet.backend import Backend, get_backend
from mcnet.observables.sample import ensemble_of
from mcnet.point import Point
from mcnet.recipe import Recipe, default_record
from mcnet.training.trainer import Trainer

Floats = NDArray[np.float64]


def recipe(steps: int = 4, **changes: Any) -> Recipe:
    """Gradient descent towards a teacher, with changes."""
    settings: dict[str, Any] = {"loss": "squared", "targets": "teacher", "learning_rate": (0.3,), **changes}
    return Recipe(steps=steps, record=settings.pop("record", default_record(steps)), **settings)


def trainer(
    where: Point,
    how: Recipe,
    sampler: str = "explicit",
    networks: tuple[int, int] = (0, 3),
    precision: str = "float64",
    seed: int = 5,
    backend: Backend | None = None,
) -> Trainer:
    """A trainer of some networks of a point."""
    ensemble = ensemble_of(where, seed, *networks, precision, backend or get_backend("cpu"))
    return Trainer(replace(where, train=how), how, seed, ensemble, sampler)


def descended(where: Point, how: Recipe, rate: float = 0.3, **settings: Any) -> tuple[Floats, Floats]:
    """Loss along a training, and outputs after it."""
    made = trainer(where, how, **settings)
    outputs: list[Floats] = []

    def watch(step: int, networks: Any, trace: Any) -> None:
        if step == how.steps:
            outputs.append(networks.forward(networks.placed(made.training_inputs), backward=False).outputs)

    course = made.descend(np.full(made.ensemble.count, rate), how.steps, watch)
    return course.loss, outputs[0]


def entries(networks: Any) -> dict[Any, Floats]:
    """Entries of built matrices, by name; copies."""
    return {key: matrix._w.copy() for key, matrix in networks.matrices.items()}


__all__ = ["descended", "entries", "point", "recipe", "trainer"]
