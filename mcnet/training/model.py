"""What is trained at a point: its program, normalised outputs included, its laws and parametrisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from mcnet import architectures
from mcnet.point import Point
from mcnet.programs.axes import Axes
from mcnet.programs.counted import Count, count
from mcnet.programs.names import INPUT
from mcnet.programs.parameters import Laws, Network, Parameters, called
from mcnet.programs.questions import Parameterization
from mcnet.recipe import Recipe
from mcnet.training.scaling import MUP, Scaling, roles_of


@dataclass(frozen=True, eq=False)
class Model:
    """The program of a training.

    Attributes
    ----------
    network : callable
    parameters : Parameters
    laws : Laws
    axes : dict
        Row axes of the input.
    dimension : int
        M_0.
    scaling : Scaling
    normalization : str
        Of the outputs, after the network.
    bare : Model or None
        The same without it; None where there is none.
    """

    network: Network
    parameters: Parameters
    laws: Laws
    axes: Axes
    dimension: int
    scaling: Scaling
    normalization: str = "none"
    bare: Model | None = None

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the row axes after the input."""
        return tuple(name for name in self.axes if name != INPUT)

    @property
    def sites(self) -> int:
        """Rows of one input."""
        return math.prod(size for name, size in self.axes.items() if name != INPUT)

    def count(self, inputs: int) -> Count:
        """The program on shapes, for so many inputs."""
        return _counted(self, inputs)


@lru_cache(maxsize=64)
def _counted(model: Model, inputs: int) -> Count:
    return count(model.network, model.parameters, model.laws, {**model.axes, INPUT: inputs}, model.dimension)


@lru_cache(maxsize=256)
def model_of(point: Point, recipe: Recipe) -> Model:
    """The program that a recipe trains at a point."""
    program = architectures.of(point)
    network = _normalized(program.network, point.output_normalization)
    roles = roles_of(network, program.parameters, program.axes, point.inputs.dimension)
    abc = recipe.abc or (MUP[recipe.optimizer == "adam"] if recipe.scaling == "mup" else None)
    name = "ntk" if abc else recipe.scaling or point.parameterization
    scaling = Scaling(Parameterization(name, point.train_biases), abc, point.width, roles)
    laws = scaling.laws(program.laws)
    bare = Model(program.network, program.parameters, laws, program.axes, point.inputs.dimension, scaling)
    if point.output_normalization == "none":
        return bare
    return replace(bare, network=network, normalization=point.output_normalization, bare=bare)


def _normalized(network: Network, kind: str) -> Network:
    """The program with its outputs normalised: over the inputs (mean, or mean and deviation) or over the outputs."""
    if kind == "none":
        return network

    def outputs(w: Any, x: Any, p: Any) -> Any:
        f = called(network, w, x, p)
        if kind == "last-layer":
            return w.layer_norm(f)
        return w.batch_norm(f) if kind == "last-batch" else f - w.mean(f, INPUT)

    return outputs
