"""The table of activations: phi, phi', kinks, closed Gaussian means; and how to register a new one.

Each entry is written once, as elementwise functions of a value and a namespace of mathematics
(:mod:`mcnet.activations.expressions`); the NumPy, Numba and CUDA forms all come from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcnet.activations.expressions import Expression, numpy_math, remembering, trace
from mcnet.activations.verifying import verify

Elementwise = Callable[..., Any]


@dataclass(frozen=True)
class _Family:
    """An entry of the table: functions of (u, m, **parameters) and the defaults of the parameters."""

    name: str
    phi: Elementwise
    dphi: Elementwise
    parameters: Mapping[str, float]
    kinks: Callable[..., tuple[float, ...]]
    closed: Mapping[str, Callable[..., Any]]
    homogeneous: bool


@dataclass(frozen=True)
class Activation:
    """An activation with its parameters fixed.

    Attributes
    ----------
    name : str
        As in a scenario.
    parameters : tuple of (str, float)
        Sorted by name; empty for most.
    kinks : tuple of float
        Points where phi or phi' is not smooth: the quadrature puts panel edges there.
    homogeneous : bool
        True if phi(a u) = a phi(u) for a > 0.
    """

    name: str
    parameters: tuple[tuple[str, float], ...]
    kinks: tuple[float, ...]
    homogeneous: bool
    _family: _Family = field(repr=False, compare=False)

    def phi(self, u: ArrayLike, m: Any = numpy_math) -> Any:
        """phi(u), elementwise; ``m`` is the namespace of mathematics of u's array library (default: NumPy)."""
        return self._family.phi(_floats(u) if m is numpy_math else u, m, **dict(self.parameters))

    def dphi(self, u: ArrayLike, m: Any = numpy_math) -> Any:
        """phi'(u), elementwise, of the shape of u; at a kink the value of the table (relu: 0)."""
        if m is not numpy_math:
            return self._family.dphi(u, m, **dict(self.parameters))
        u = _floats(u)
        slope: NDArray[np.floating[Any]] = np.asarray(self._family.dphi(u, m, **dict(self.parameters)), dtype=u.dtype)
        return np.broadcast_to(slope, u.shape)

    def both(self, u: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """(phi(u), phi'(u)) of a NumPy array, what the two have in common computed once."""
        parameters, m = dict(self.parameters), remembering()
        slope = np.asarray(self._family.dphi(u, m, **parameters), dtype=u.dtype)
        return np.asarray(self._family.phi(u, m, **parameters)), np.broadcast_to(slope, u.shape)

    def closed(self, mean: str) -> Callable[..., Any] | None:
        """Closed Gaussian mean, or None where there is none.

        ``mean`` is ``"square"`` (E phi(u)^2 as a function of q), ``"derivative_square"`` (E phi'(u)^2 of q),
        ``"product"`` (E phi(u_a) phi(u_b) of q_a, q_b, k = Cov(u_a, u_b)) or ``"derivative_product"``; all vectorised.
        """
        function = self._family.closed.get(mean)
        if function is None:
            return None
        parameters = dict(self.parameters)
        return lambda *arguments: function(*arguments, **parameters)

    @property
    def closed_means(self) -> tuple[str, ...]:
        """Names of the means that have a closed form."""
        return tuple(self._family.closed)

    @property
    def expressions(self) -> tuple[Expression, Expression]:
        """(phi, phi') as expressions of one symbol, to print as Numba or CUDA source."""
        parameters = dict(self.parameters)
        return (
            trace(lambda u, m: self._family.phi(u, m, **parameters)),
            trace(lambda u, m: self._family.dphi(u, m, **parameters)),
        )

    @property
    def specification(self) -> str | dict[str, str | float]:
        """What a scenario would say: the name, or a table with the parameters."""
        return {"name": self.name, **dict(self.parameters)} if self.parameters else self.name

    @property
    def label(self) -> str:
        """One word for tables and datasets, for example ``leaky-relu(slope=0.1)``."""
        inner = ",".join(f"{key}={value:g}" for key, value in self.parameters)
        return f"{self.name}({inner})" if inner else self.name


def _floats(u: ArrayLike) -> NDArray[np.floating[Any]]:
    """Arrays keep their precision; whole and Python numbers are float64."""
    array = np.asarray(u)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


_TABLE: dict[str, _Family] = {}


def register(
    name: str,
    phi: Elementwise,
    dphi: Elementwise,
    *,
    kinks: tuple[float, ...] | Callable[..., tuple[float, ...]] = (),
    parameters: Mapping[str, float] | None = None,
    closed: Mapping[str, Callable[..., Any]] | None = None,
    homogeneous: bool = False,
) -> None:
    """Add an activation to the table.

    Parameters
    ----------
    name : str
        Lower case, words joined by ``-``; what scenarios will say.
    phi, dphi : callable
        ``phi(u, m, **parameters)`` and its derivative: elementwise formulas in ``u`` written with arithmetic,
        comparisons and the functions of ``m`` (:data:`mcnet.activations.expressions.FUNCTIONS`).
        Branches are ``m.where``.
    kinks : tuple of float, or callable of the parameters
        Points where phi or phi' is not smooth.
    parameters : mapping of str to float
        Names and default values of parameters.
    closed : mapping
        Closed Gaussian means, see :meth:`Activation.closed`; each also receives the parameters as keywords.
    homogeneous : bool
        Whether phi(a u) = a phi(u) for all a > 0.

    Raises
    ------
    ValueError
        If the name is taken or not a name, or the activation is not what it says
        (:func:`mcnet.activations.verifying.verify`): slope, kinks, homogeneity, closed means.
    TypeError
        If a function is not an elementwise formula.

    Examples
    --------
    A file ``myphi.py``, used as ``mcnet run study.toml --plugin myphi``::

        from mcnet.activations import register

        register("square-root", lambda u, m: m.sqrt(1 + u * u) - 1, lambda u, m: u / m.sqrt(1 + u * u))
    """
    if name in _TABLE:
        raise ValueError(f'activation "{name}" exists already')
    if not re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ValueError(f'activation name "{name}": use lower-case letters, digits and "-"')
    _add(name, phi, dphi, kinks=kinks, parameters=parameters, closed=closed, homogeneous=homogeneous)
    try:
        verify(get(name))
    except Exception:
        del _TABLE[name]
        raise


def _add(
    name: str,
    phi: Elementwise,
    dphi: Elementwise,
    *,
    kinks: tuple[float, ...] | Callable[..., tuple[float, ...]] = (),
    parameters: Mapping[str, float] | None = None,
    closed: Mapping[str, Callable[..., Any]] | None = None,
    homogeneous: bool = False,
) -> None:
    points = kinks if callable(kinks) else (lambda **_: tuple(kinks))
    _TABLE[name] = _Family(name, phi, dphi, dict(parameters or {}), points, dict(closed or {}), homogeneous)


def names() -> tuple[str, ...]:
    """Names of all known activations, registered ones included."""
    return tuple(_TABLE)


def parameters(name: str) -> Mapping[str, float]:
    """Parameters of an activation with their default values."""
    return _TABLE[name].parameters


def get(activation: str | Mapping[str, Any] | Activation) -> Activation:
    """The activation that a name, a table ``{name = ..., parameter = ...}`` or an :class:`Activation` means.

    Raises
    ------
    ValueError
        If the name or a parameter is unknown, or a parameter is no finite number.
    """
    if isinstance(activation, Activation):
        return activation
    given = {"name": activation} if isinstance(activation, str) else dict(activation)
    name = given.pop("name", None)
    if not isinstance(name, str) or name not in _TABLE:
        raise ValueError(f'activation "{name}" is not known ({", ".join(_TABLE)})')
    family = _TABLE[name]
    values = dict(family.parameters)
    for key, value in given.items():
        if key not in values:
            allowed = ", ".join(values) or "none"
            raise ValueError(f'activation "{name}" has no parameter "{key}" (its parameters: {allowed})')
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f'activation "{name}": parameter "{key}" must be a finite number')
        values[key] = float(value)
    return Activation(name, tuple(sorted(values.items())), family.kinks(**values), family.homogeneous, family)


def _register_all() -> None:
    from mcnet.activations import closed_means as closed

    root2 = math.sqrt(2.0)
    erf_slope = 2.0 / math.sqrt(math.pi)
    normal = 1.0 / math.sqrt(2.0 * math.pi)
    selu_scale, selu_alpha = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017, section 2

    def sigmoid(u: Any, m: Any) -> Any:
        return 0.5 + 0.5 * m.tanh(0.5 * u)

    def zero(u: Any) -> Any:
        return 0.0 * u

    _add("linear", lambda u, m: 1.0 * u, lambda u, m: 1.0 + zero(u), closed=closed.LINEAR, homogeneous=True)
    _add(
        "relu",
        lambda u, m: m.maximum(u, 0.0),
        lambda u, m: m.where(u > 0.0, 1.0, 0.0),
        kinks=(0.0,),
        closed=closed.RELU,
        homogeneous=True,
    )
    _add(
        "leaky-relu",
        lambda u, m, slope: m.where(u > 0.0, u, slope * u),
        lambda u, m, slope: m.where(u > 0.0, 1.0, slope),
        kinks=(0.0,),
        parameters={"slope": 0.01},
        closed=closed.LEAKY_RELU,
        homogeneous=True,
    )
    _add(
        "shifted-relu",
        lambda u, m, shift: m.maximum(u, -shift),  # Pennington et al. 2018
        lambda u, m, shift: m.where(u > -shift, 1.0, 0.0),
        kinks=lambda shift: (-shift,),
        parameters={"shift": 0.5},
        closed=closed.SHIFTED_RELU,
    )
    _add("tanh", lambda u, m: m.tanh(u), lambda u, m: 1.0 - m.tanh(u) * m.tanh(u))
    _add(
        "erf",
        lambda u, m, scale: m.erf(scale * u),
        lambda u, m, scale: (erf_slope * scale) * m.exp(-(scale * u) * (scale * u)),
        parameters={"scale": 1.0},
        closed=closed.ERF,
    )
    _add(
        "hard-tanh",
        lambda u, m: m.maximum(m.minimum(u, 1.0), -1.0),
        lambda u, m: m.where(m.abs(u) < 1.0, 1.0, 0.0),
        kinks=(-1.0, 1.0),
        closed=closed.HARD_TANH,
    )
    _add(
        "gelu",
        lambda u, m: u * (0.5 + 0.5 * m.erf(u / root2)),
        lambda u, m: 0.5 + 0.5 * m.erf(u / root2) + normal * u * m.exp(-0.5 * u * u),
        closed=closed.GELU,
    )
    _add("silu", lambda u, m: u * sigmoid(u, m), lambda u, m: sigmoid(u, m) * (1.0 + u * (1.0 - sigmoid(u, m))))
    _add(
        "elu",
        lambda u, m, alpha: m.where(u > 0.0, u, alpha * m.expm1(m.minimum(u, 0.0))),
        lambda u, m, alpha: m.where(u > 0.0, 1.0, alpha * m.exp(m.minimum(u, 0.0))),
        kinks=(0.0,),
        parameters={"alpha": 1.0},
    )
    _add(
        "selu",
        lambda u, m: selu_scale * m.where(u > 0.0, u, selu_alpha * m.expm1(m.minimum(u, 0.0))),
        lambda u, m: selu_scale * m.where(u > 0.0, 1.0, selu_alpha * m.exp(m.minimum(u, 0.0))),
        kinks=(0.0,),
    )
    _add("softplus", lambda u, m: m.maximum(u, 0.0) + m.log1p(m.exp(-m.abs(u))), lambda u, m: sigmoid(u, m))
    _add("sigmoid", lambda u, m: sigmoid(u, m), lambda u, m: sigmoid(u, m) * (1.0 - sigmoid(u, m)))
    _add("sin", lambda u, m: m.sin(u), lambda u, m: m.cos(u), closed=closed.SIN)


_register_all()
