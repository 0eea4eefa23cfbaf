"""What an observable is: its options, its variables, what it needs of a network, how it is read off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mcnet.coordinates import DENSE
from mcnet.errors import UsageError
from mcnet.observables.rows import mask_of, row_axes
from mcnet.point import Point
from mcnet.variables import Variable

if TYPE_CHECKING:
    from mcnet.programs.trace import Trace

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Option:
    """A key of a measure's table.

    Attributes
    ----------
    explanation : str
        What values it takes and what they mean.
    complaint : callable
        What is wrong with a value, as the end of a sentence that begins with the key; None if nothing.
    """

    explanation: str
    complaint: Callable[[Any], str | None]


MOST_MOMENTS = 1000
"""Higher ones are refused; long before, rounding is all that is left of them."""


class Values(NamedTuple):
    """The numbers of one variable for some networks.

    Attributes
    ----------
    values : ndarray, shape (N, ...)
        One entry per network, or one record (leading 1) where the variable is per shard.
    defined : ndarray of bool, broadcastable to ``values``
        Where a number must be finite; elsewhere it is NaN.
    """

    values: NDArray[Any]
    defined: NDArray[np.bool_]


class Collector(Protocol):
    """What an observable notes of N networks of a point while they are sampled."""

    def see(self, name: str, layer: int, rows: NDArray[Any]) -> None:
        """A vector that passes by: ``("u", l)`` or ``("h", l)``, of the inputs themselves, (N, T, *rows, M)."""
        ...

    def values(self) -> tuple[Values, ...]:
        """One :class:`Values` per variable, after everything was seen."""
        ...


@runtime_checkable
class TraceReader(Protocol):
    """A collector of an observable that needs ``trace``: it reads what it wants off the whole run of a program."""

    def read(self, trace: Trace) -> None:
        """The networks with all their vectors, after the forward pass."""
        ...


@runtime_checkable
class AttentionReader(Protocol):
    """A collector that is also shown how tokens attend to each other."""

    def attend(self, weights: NDArray[np.float64]) -> None:
        """Weights of a head, (N, T, S, S): of token s in the sum for token t in ``[..., t, s]``; before their h."""
        ...


@dataclass(frozen=True)
class _Guarded:
    """A collector whose failures carry the name of its observable."""

    name: str
    collector: Collector

    def see(self, name: str, layer: int, rows: NDArray[Any]) -> None:
        """As :class:`Collector`."""
        self._call(self.collector.see, name, layer, rows)

    def attend(self, weights: NDArray[np.float64]) -> None:
        """As :class:`AttentionReader`."""
        if isinstance(self.collector, AttentionReader):
            self._call(self.collector.attend, weights)

    def read(self, trace: Trace) -> None:
        """As :class:`TraceReader`."""
        if isinstance(self.collector, TraceReader):
            self.collector.read(trace)

    def values(self) -> tuple[Values, ...]:
        """As :class:`Collector`."""
        found: tuple[Values, ...] = self._call(self.collector.values)
        return found

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError) as error:
            raise UsageError(f'observable "{self.name}": fails: {type(error).__name__}: {error}') from error


@dataclass(frozen=True)
class Observable:
    """A measure as ``[measure]`` names it.

    Attributes
    ----------
    name : str
    options : mapping of str to Option
        Allowed keys.
    samplers : tuple of str
        The samplers it can be had by.
    needs : frozenset of str
        Parts of a :class:`mcnet.observables.sample.Sample`: ``signal``, ``errors``, ``tangent``, ``jacobian``,
        ``block_jacobian``, ``batch``.
    variables : callable
        ``(point, options)`` -> the variables it stores.
    check : callable
        ``(point, options)`` -> sentences that say why a point cannot be measured so; empty if it can.
    evaluate : callable
        ``(point, options, sample)`` -> one :class:`Values` per variable.
    sizes : callable
        ``(point, options)`` -> size of each dimension of its variables.
    limitation : str
        Why a sampler is not among them and what to do instead, as a sentence.
    collect : callable or None
        ``(point, options)`` -> a :class:`Collector`, where it reads vectors themselves; needs ``vectors``, or
        ``trace`` where it is a :class:`TraceReader`, and there is nothing to evaluate.
    """

    name: str
    options: Mapping[str, Option]
    samplers: tuple[str, ...]
    needs: frozenset[str]
    variables: Callable[[Point, Options], tuple[Variable, ...]]
    check: Callable[[Point, Options], list[str]]
    evaluate: Callable[[Point, Options, Any], tuple[Values, ...]]
    sizes: Callable[[Point, Options], Mapping[str, int]]
    limitation: str = ""
    collect: Callable[[Point, Options], Collector] | None = None

    def collector(self, point: Point, options: Options) -> Collector:
        """A new collector for some networks of a point."""
        assert self.collect is not None, "asked of observables that collect"
        return _Guarded(self.name, self.collect(point, options))

    def unfit(self, point: Point) -> list[str]:
        """Why it is not read off networks of this architecture; empty if it is."""
        if not point.is_program or self.needs <= PROGRAMS or "training" in self.needs:
            return []
        kind = point.architecture if point.architecture != DENSE else f"{point.normalization} normalisation"
        return [f'it is read off dense networks, not off "{kind}"']


PROGRAMS = frozenset(
    {
        *("signal", "errors", "tangent", "vectors", "batch", "trace"),
        *("jacobian", "jacobian_top", "block_jacobian", "block_jacobian_top"),
    }
)
"""Needs that every architecture meets."""


def _layers_complaint(value: Any) -> str | None:
    if value == "all":
        return None
    if isinstance(value, list | tuple) and value and all(_is_integer(layer) and layer >= 0 for layer in value):
        return None if len(set(value)) == len(value) else "names a layer twice"
    return 'must be "all" or a list of layer numbers from 0 (the input) to the depth'


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _flag_complaint(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def flag(explanation: str) -> Option:
    """An option that is true or false."""
    return Option(explanation, _flag_complaint)


def choice(explanation: str, *words: str) -> Option:
    """An option that is one of some words."""
    listed = ", ".join(f'"{word}"' for word in words)
    return Option(explanation, lambda value: None if value in words else f"must be one of {listed}")


def whole_number(explanation: str, most: int) -> Option:
    """An option that is a whole number from 1 to a bound: arrays of this size are made before anything is drawn."""
    told = f"must be a whole number from 1 to {most}"
    return Option(explanation, lambda value: None if _is_integer(value) and 1 <= value <= most else told)


LAYERS = Option('"all" or a list of layers, 0 (the input) to the depth; others are stored as NaN', _layers_complaint)
"""The option ``layers``, the same for all layered observables."""


def check_layers(point: Point, options: Options) -> list[str]:
    """Whether the layers asked for exist."""
    asked = options.get("layers", "all")
    beyond = [] if asked == "all" else [layer for layer in asked if layer > point.depth]
    if not beyond:
        return []
    return [f"layers: {beyond[0]} lies beyond the depth {point.depth}"]


def asked_layers(point: Point, options: Options, letter: str, first: int = 0) -> NDArray[np.bool_]:
    """Mask over layers 0..depth: those asked for where the vector of a letter is seen, from the first one on."""
    asked = options.get("layers", "all")
    numbers = np.arange(point.depth + 1)
    chosen = np.ones(point.depth + 1, bool) if asked == "all" else np.isin(numbers, list(asked))
    return chosen & mask_of(point, letter) & (numbers >= first)


def layer_sizes(point: Point, options: Options) -> dict[str, int]:
    """Sizes of the dimensions input, pair and layer, and of the rows of an input."""
    inputs = point.inputs.count
    rows = {**row_axes(point, "u"), **row_axes(point, "h")}
    return {"input": inputs, "pair": inputs * (inputs - 1) // 2, "layer": point.depth + 1, **rows}


def with_rows(variable: Variable, point: Point, letter: str) -> Variable:
    """A variable with the row axes of a vector between its first dimension and the layers."""
    first, *rest = variable.dims
    return replace(variable, dims=(first, *row_axes(point, letter), *rest))


def layered(values: NDArray[np.float64], mask: NDArray[np.bool_], point: Point, letter: str) -> NDArray[np.float64]:
    """Values of the last layers of 0..depth by rows, (N, n, [P,] layers) -> (N, n, *rows, depth + 1).

    NaN at layers not asked for.
    """
    values = values.reshape(*values.shape[:2], *row_axes(point, letter).values(), values.shape[-1])
    full = np.full((*values.shape[:-1], mask.size), np.nan)
    full[..., mask.size - values.shape[-1] :] = values
    full[..., ~mask] = np.nan
    return full
