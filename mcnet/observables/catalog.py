"""All observables by name: those of mcnet, and those that plug-ins register."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mcnet import activations
from mcnet.coordinates import DENSE
from mcnet.errors import UsageError
from mcnet.observables import (
    attention_entropy,
    block_jacobian,
    boundaries,
    branch_energy,
    conditional_fisher,
    conjugate_kernel,
    fourier,
    gradient,
    jacobian,
    lyapunov,
    mean,
    normalization,
    signal,
    softmax_fisher,
    tangent,
    token_similarity,
    training,
    training_kernels,
    two_time,
)
from mcnet.observables.observable import Collector, Observable, Option, Options, Values, layer_sizes
from mcnet.point import Inputs, Point
from mcnet.variables import Variable

_MODULES = (
    signal,
    gradient,
    tangent,
    jacobian,
    block_jacobian,
    conditional_fisher,
    conjugate_kernel,
    training,
    two_time,
    normalization,
    mean,
    branch_energy,
    fourier,
    training_kernels,
    boundaries,
    lyapunov,
    token_similarity,
    attention_entropy,
    softmax_fisher,
)
OBSERVABLES: dict[str, Observable] = {
    name: observable for module in _MODULES for name, observable in module.OBSERVABLES.items()
}
_SHIPPED = frozenset(OBSERVABLES)
_TRIAL = Point(DENSE, activations.get("tanh"), "gaussian", 8, 2, 1.5, 0.1, Inputs("pair", 2, 8, 1.0, 0.5), outputs=2)


def register(
    name: str,
    collect: Callable[[Point, Options], Collector],
    variables: Callable[[Point, Options], tuple[Variable, ...]],
    *,
    options: Mapping[str, Option] | None = None,
    sizes: Callable[[Point, Options], Mapping[str, int]] = layer_sizes,
    check: Callable[[Point, Options], list[str]] = lambda point, options: [],
) -> None:
    """Add an observable: networks of every architecture show it their vectors, and what it makes of them is stored.

    Parameters
    ----------
    name : str
        What ``[measure]`` says; letters, digits and ``_``.
    collect : callable
        ``collect(point, options)`` -> an object with ``see(name, layer, rows)``, called with every vector
        (``"u"``, ``"h"``) of some networks, (N, T, M), and ``values()`` -> one
        :class:`mcnet.observables.observable.Values` for each variable, (N, ...).
    variables : callable
        ``variables(point, options)`` -> the dataset variables; dimensions ``input``, ``pair``, ``layer`` or own ones.
    options : mapping of str to Option
        Keys of its table in ``[measure]``.
    sizes : callable
        ``sizes(point, options)`` -> size of each dimension.
    check : callable
        ``check(point, options)`` -> sentences that say why a point cannot be measured.

    Raises
    ------
    UsageError
        If the name is taken or is not a name, or it fails on a small network, or gives other shapes than it says.
    """
    known = OBSERVABLES.get(name)
    if name in _SHIPPED or (known is not None and known.collect is not None and _home(known.collect) != _home(collect)):
        raise UsageError(f'observable "{name}" exists already')
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise UsageError(f'observable name "{name}": use lower-case letters, digits and "_"')
    made = Observable(
        name=name,
        options=dict(options or {}),
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "vectors"}),
        variables=variables,
        check=check,
        evaluate=lambda point, options, sample: sample.collected[name].values(),
        sizes=sizes,
        collect=collect,
    )
    _try(made)
    OBSERVABLES[name] = made


def _home(function: Callable[..., Any]) -> str | None:
    return getattr(function, "__module__", None)


def _try(observable: Observable) -> None:
    """Show it three small networks of random vectors, and look at what it makes of them."""
    rng = np.random.default_rng(0)
    try:
        collector = observable.collector(_TRIAL, {})
        collector.see("h", 0, rng.normal(size=(3, 2, 8)))
        for layer in (1, 2):
            collector.see("u", layer, u := rng.normal(size=(3, 2, 8)))
            collector.see("h", layer, np.tanh(u))
        found, variables = collector.values(), observable.variables(_TRIAL, {})
        taken = {variable.name for other in _SHIPPED for variable in _variables(other)}
        for variable in variables:
            if variable.name in taken:
                raise UsageError(f'observable "{observable.name}": its variable {variable.name} exists already')
        require_shapes(observable, _TRIAL, {}, variables, found, 3)
    except (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError) as error:
        told = f"fails on a small network: {type(error).__name__}: {error}"
        raise UsageError(f'observable "{observable.name}": {told}') from error


def registered_variables() -> tuple[Variable, ...]:
    """Variables of the observables that plug-ins registered, with their usual options."""
    return tuple(variable for name in OBSERVABLES if name not in _SHIPPED for variable in _variables(name))


def _variables(name: str) -> tuple[Variable, ...]:
    return OBSERVABLES[name].variables(_TRIAL, {})


def require_shapes(
    observable: Observable,
    point: Point,
    options: Options,
    variables: tuple[Variable, ...],
    found: tuple[Values, ...],
    networks: int,
) -> None:
    """Refuse values of other shapes than the variables have.

    Raises
    ------
    UsageError
        Naming the variable.
    """
    what = f'observable "{observable.name}": '
    if len(found) != len(variables):
        raise UsageError(f"{what}gives {len(found)} arrays for {len(variables)} variables")
    sizes = observable.sizes(point, options)
    for variable, part in zip(variables, found, strict=True):
        lacking = [dim for dim in variable.dims if dim not in sizes]
        if lacking:
            raise UsageError(f'{what}its variable {variable.name} has a dimension "{lacking[0]}" of no size')
        shape = (1 if variable.per_shard else networks, *(sizes[dim] for dim in variable.dims))
        if np.shape(part.values) != shape:
            raise UsageError(f"{what}its variable {variable.name} has the shape {np.shape(part.values)}, not {shape}")
        if not np.isfinite(np.where(part.defined, part.values, 0.0)).all():
            raise UsageError(f"{what}its variable {variable.name} is not finite where it is said to be defined")
