"""Boundaries of the learning rate of each network, in units of 2 / lambda_max of it at the start: bisection in log eta.

Three boundaries that are not to be mixed. **Instability**: the residual along the top eigenvector grows within a few
steps; at 1 + O(1/M). **Monotone**: the loss rises; tends to 1 slowly. **Divergence**: the network diverges; does not
tend to 1, the catapult (Lewkowycz et al. 2020, arXiv:2003.02218) lies between. All of full-batch gradient descent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.programs.trace import Trace
from mcnet.training import losses
from mcnet.training.networks import Networks
from mcnet.training.record import Trainings

Floats = NDArray[np.float64]
Crossed = Callable[[Floats], NDArray[np.bool_]]
"""From learning rates (N,) to whether each network is beyond the boundary."""

RISE = 1e-6
"""A loss rises where it does by more than this share of itself: less is rounding."""

NOISE = 1e-10
"""Losses below this share of the first one are rounding."""


def bisected(crossed: Crossed, unit: Floats, low: float, high: float, halvings: int) -> Floats:
    """Boundary in units (N,), the geometric middle of the last interval.

    NaN where a network is beyond it at ``low`` or not beyond it at ``high``.
    """
    below, above = np.full(len(unit), np.log(low)), np.full(len(unit), np.log(high))
    there = ~crossed(low * unit) & crossed(high * unit)
    for _ in range(halvings):
        middle = (below + above) / 2.0
        beyond = crossed(np.exp(middle) * unit)
        above, below = np.where(beyond, middle, above), np.where(beyond, below, middle)
    return np.where(there, np.exp((below + above) / 2.0), np.nan)


def instability(trainings: Trainings, steps: int) -> Crossed:
    """Beyond: max over 1 <= t <= steps of |v.r_t| exceeds |v.r_0|, r = f - y, v the top eigenvector at the start."""
    trainer = trainings.trainer
    backend, xp = trainer.ensemble.backend, trainer.ensemble.backend.xp
    top = backend.place(trainings.start.top())  # (N, C T)

    def crossed(rates: Floats) -> NDArray[np.bool_]:
        along: list[Floats] = []

        def watch(step: int, networks: Networks, trace: Trace | None) -> None:
            assert trace is not None, "every step is one of all inputs"
            r = losses.residual(xp, trainer.recipe.loss, trace.outputs, trainer.y)
            along.append(np.abs(backend.fetch(xp.vecdot(top, xp.reshape(r, top.shape)))))

        course = trainer.descend(rates, steps, watch)
        later = np.max(along[1:], axis=0)
        return np.asarray((course.diverged >= 0) | ~(later <= along[0]))

    return crossed


def monotone(trainings: Trainings, steps: int) -> Crossed:
    """Beyond: the loss rises from one step to the next within so many steps."""

    def crossed(rates: Floats) -> NDArray[np.bool_]:
        course = trainings.trainer.descend(rates, steps)
        loss: Any = course.loss
        rises = (loss[:, 1:] > (1.0 + RISE) * loss[:, :-1]) & (loss[:, 1:] > NOISE * loss[:, :1])
        return np.asarray((course.diverged >= 0) | rises.any(axis=1))

    return crossed


def divergence(trainings: Trainings, steps: int) -> Crossed:
    """Beyond: the network diverges within so many steps."""
    return lambda rates: trainings.trainer.descend(rates, steps).diverged >= 0


CRITERIA: dict[str, tuple[Callable[[Trainings, int], Crossed], int, float, float]] = {
    "instability": (instability, 4, 0.5, 2.0),
    "monotone": (monotone, 40, 0.5, 16.0),
    "divergence": (divergence, 200, 0.5, 64.0),
}
"""Criterion, and its usual number of steps and interval of eta lambda_max / 2."""
