"""The program of a point: what all interpretations of a network are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from mcnet.architectures.registry import Architecture, lookup
from mcnet.coordinates import OUTPUT_NORMALIZATIONS
from mcnet.point import Point, frozen
from mcnet.programs.axes import Axes
from mcnet.programs.counted import Count
from mcnet.programs.names import INPUT, ProgramError
from mcnet.programs.parameters import Laws, Network, Parameters

_COMMON = (
    "width",
    "depth",
    "outputs",
    "activation",
    "sigma_w2",
    "sigma_b2",
    "weights",
    "readout",
    "normalization",
    "parameterization",
)

LEAST_BATCH = 4
"""Inputs from which on gradients through batch norm have a mean: E 1/sigma^2 is proportional to 1/(T - 3)."""


@dataclass(frozen=True, eq=False)
class Program:
    """A network function with everything that it is called with.

    Attributes
    ----------
    architecture : Architecture
    parameters : Parameters
    inputs, dimension : int
        T and M_0.
    """

    architecture: Architecture
    parameters: Parameters
    inputs: int
    dimension: int

    @property
    def network(self) -> Network:
        """``network(w, x, p)``."""
        return self.architecture.network

    @property
    def axes(self) -> Axes:
        """Row axes of the input."""
        return self.architecture.axes_of(self.parameters, self.inputs)

    @property
    def rows(self) -> int:
        """Rows of one input."""
        rows = 1
        for name, size in self.axes.items():
            rows *= 1 if name == INPUT else size
        return rows

    @property
    def laws(self) -> Laws:
        """Laws of the matrices."""
        return self.architecture.laws_of(self.parameters)

    @property
    def complaints(self) -> list[str]:
        """Sentences about values that do not go together."""
        return [*self.architecture.check(self.parameters), *self._normalization()]

    def _normalization(self) -> list[str]:
        kind, own = self.parameters.get("normalization", "none"), self.architecture.normalizations
        allowed = own or (*OUTPUT_NORMALIZATIONS, "hidden-batch", "hidden-layer")
        if kind not in allowed:
            listed = ", ".join(f'"{name}"' for name in allowed)
            return [f'normalization = "{kind}" does not go with "{self.architecture.name}", which has {listed}']
        if kind == "hidden-batch" and self.inputs < LEAST_BATCH:
            told = f"normalization = {kind!r} needs at least {LEAST_BATCH} inputs, there are {self.inputs}"
            return [f"{told}: gradients through the statistics of fewer have no mean".replace("'", '"')]
        return []

    @cached_property
    def count(self) -> Count:
        """The program on shapes.

        Raises
        ------
        ProgramError
            If it does not run at these sizes; the message begins with the architecture.
        """
        try:
            return self.architecture.count(self.parameters, self.inputs, self.dimension)
        except ProgramError as error:
            raise ProgramError(f'architecture "{self.architecture.name}": {error}') from error
        except (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError) as error:
            told = f"fails at this point: {type(error).__name__}: {error}"
            raise ProgramError(f'architecture "{self.architecture.name}": {told}') from error


def of(point: Point) -> Program:
    """The program of a point.

    Raises
    ------
    ProgramError
        If its architecture is not known.
    """
    return _of(point, lookup(point.architecture))


@lru_cache(maxsize=1024)
def _of(point: Point, architecture: Architecture) -> Program:
    common = {name: getattr(point, name) for name in _COMMON}
    return Program(architecture, architecture.resolved(common, point.keys), point.inputs.count, point.inputs.dimension)


def frozen_keys(architecture: Architecture, values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Keys as a point has them: those given, the defaults of the others, sorted by name; absent where there is none."""
    known = {name: values.get(name, key.default) for name, key in architecture.keys.items()}
    return tuple((name, frozen(value)) for name, value in sorted(known.items()) if value is not None)
