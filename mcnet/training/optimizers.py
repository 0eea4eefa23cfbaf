"""Steps of built matrices that need the gradient itself: momentum and Adam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mcnet.recipe import Recipe
from mcnet.training.scaling import Factors

Array = Any


class Rule(Protocol):
    """What becomes of the gradients of one array of trained parameters."""

    def change(self, xp: Any, gradient: Array, factor: float) -> Array:
        """What is subtracted, before the learning rate: from dE/dW and dW/dw."""
        ...


@dataclass
class Momentum:
    """v <- mu v + g (Polyak 1964, as written by Sutskever et al. 2013 without Nesterov's shift)."""

    mu: float
    _velocity: Array = None

    def change(self, xp: Any, gradient: Array, factor: float) -> Array:
        """See :class:`Rule`."""
        before = self._velocity
        self._velocity = gradient if before is None else self.mu * before + gradient
        return factor**2 * self._velocity


@dataclass
class Adam:
    """m / (sqrt(v) + epsilon) with corrected means (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1)."""

    beta_1: float
    beta_2: float
    epsilon: float
    _step: int = 0
    _first: Array = 0.0
    _second: Array = 0.0

    def change(self, xp: Any, gradient: Array, factor: float) -> Array:
        """See :class:`Rule`."""
        self._step += 1
        g = factor * gradient
        self._first = self.beta_1 * self._first + (1.0 - self.beta_1) * g
        self._second = self.beta_2 * self._second + (1.0 - self.beta_2) * g * g
        mean = self._first / (1.0 - self.beta_1**self._step)
        square = self._second / (1.0 - self.beta_2**self._step)
        return factor * mean / (xp.sqrt(square) + self.epsilon)


def rule(recipe: Recipe) -> Callable[[], Rule] | None:
    """A maker of rules, one for each array; None where steps are plain."""
    if recipe.optimizer == "momentum":
        assert recipe.momentum is not None
        mu = recipe.momentum
        return lambda: Momentum(mu)
    if recipe.optimizer == "adam":
        assert recipe.adam is not None
        given = recipe.adam
        return lambda: Adam(*given)
    return None


def arrays_of_state(recipe: Recipe) -> int:
    """Arrays of the size of a matrix that a step holds beside it."""
    return {"momentum": 3, "adam": 6}.get(recipe.optimizer, 0)


def scaled(factors: Factors) -> tuple[float, float]:
    """(alpha, beta): what a plain step multiplies gradients with."""
    return factors.rate * factors.weight**2, factors.rate * factors.bias**2
