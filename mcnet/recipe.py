"""How networks are trained: what ``[train]`` says, resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

LOSSES = ("squared", "softmax")
TARGETS = ("teacher", "labels", "values", "zero")
OPTIMIZERS = ("gd", "sgd", "momentum", "adam")
ORDERS = ("fixed", "shuffled", "online")
METHODS = ("auto", "built", "conditioned")
UNITS = ("absolute", "bound")
SCALINGS = ("standard", "ntk", "mup")

DIVERGED = 1e8
"""A network has diverged where its loss exceeds this multiple of the first loss: peaks of a catapult stay below."""

SMALLEST_LOSS = 1e-3
"""A first loss below this counts as this."""

Triple = tuple[float, float, float]
"""Of the matrices that read the input, of the readout, and of those between: (input, hidden, output)."""


@dataclass(frozen=True)
class Recipe:
    """A training.

    Attributes
    ----------
    loss : str
        ``squared``: (1/2T) sum_t |f_t - y_t|^2. ``softmax``: the mean over inputs of the cross-entropy.
    targets : str
        ``teacher`` (a random tanh network, one for the study), ``labels`` (of the data), ``values``, ``zero``.
    learning_rate : tuple of float
        One training of the same networks with each.
    steps : int
    record : tuple of int
        Steps at which outputs, kernels and vectors are looked at; ascending, from 0 to ``steps``.
    learning_rate_unit : str
        ``absolute``, or ``bound``: in units of 2 / lambda_max of each network at step 0.
    listed : bool
        Whether learning rates came as a list: then results have an axis for them.
    target_values : tuple of tuple of float, or None
        One row for each training input, one number for each output.
    batch_size : int or None
        Inputs of one step; None: all of them.
    order : str
        Of minibatches: ``fixed`` (one after the other, again and again), ``shuffled`` (anew in each epoch of each
        network), ``online`` (each input once).
    optimizer : str
        ``gd`` (all inputs), ``sgd``, ``momentum``, ``adam``.
    momentum : float or None
    adam : tuple of float or None
        beta_1, beta_2, epsilon.
    scaling : str or None
        Parametrisation of the training; None: that of the tangent kernel, ``network.parameterization``.
    abc : tuple of triples, or None
        Exponents a, b, c of a parametrisation of one's own: W = M^-a w, w ~ N(0, M^-2b), rate eta M^-c.
    method : str
        ``auto``, ``built`` or ``conditioned``.
    test_inputs : int
        The last so many inputs are evaluated, not trained on.
    """

    loss: str
    targets: str
    learning_rate: tuple[float, ...]
    steps: int
    record: tuple[int, ...]
    learning_rate_unit: str = "absolute"
    listed: bool = False
    target_values: tuple[tuple[float, ...], ...] | None = None
    batch_size: int | None = None
    order: str = "fixed"
    optimizer: str = "gd"
    momentum: float | None = None
    adam: Triple | None = None
    scaling: str | None = None
    abc: tuple[Triple, Triple, Triple] | None = None
    method: str = "auto"
    test_inputs: int = 0

    @property
    def is_gradient_descent(self) -> bool:
        """Whether every step is one of gradient descent on all training inputs."""
        return self.optimizer == "gd"

    def trained(self, count: int) -> int:
        """T, training inputs, of so many inputs."""
        return count - self.test_inputs

    def rows(self, count: int) -> int:
        """Inputs of one step, of so many inputs."""
        return self.batch_size or self.trained(count)

    def plain(self) -> dict[str, Any]:
        """As JSON values; what is None is absent."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: _listed(value) for name, value in found.items() if value is not None}

    @classmethod
    def of_plain(cls, content: Mapping[str, Any]) -> Self:
        """The recipe that :meth:`plain` wrote."""
        return cls(**{name: _tupled(value) for name, value in content.items()})


def default_record(steps: int) -> tuple[int, ...]:
    """0, powers of two, and the last step."""
    powers = [1 << k for k in range(steps.bit_length()) if 1 << k < steps]
    return (0, *powers, steps)


def _listed(value: Any) -> Any:
    return [_listed(entry) for entry in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(entry) for entry in value) if isinstance(value, list) else value
