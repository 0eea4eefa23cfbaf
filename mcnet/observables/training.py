"""What is seen of networks while they are trained: loss, outputs, divergence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.observable import Observable, Options, Values
from mcnet.point import Point
from mcnet.recipe import DIVERGED, SMALLEST_LOSS, Recipe
from mcnet.training.record import Trainings
from mcnet.training.trainer import outputs_of
from mcnet.variables import Variable

Floats = NDArray[np.float64]

TRAINING = "training"
"""The need of every observable that is seen in training."""

_LOSSES = {
    "squared": "(1/2T) sum_t |f_t - y_t|^2",
    "softmax": "mean over inputs of the cross-entropy -sum_k y_k log softmax(f)_k",
}
_LOSS = Variable(
    name="loss",
    group="training",
    dims=("step",),
    long_name="loss along the training",
    symbol="E",
    definition="",
    normalisation="",
    reference="",
)
_RATE = Variable(
    name="learning_rate_of_network",
    group="training",
    dims=(),
    long_name="learning rate of each network",
    symbol="eta",
    definition="learning_rate times 2 / lambda_max of the network before training",
    normalisation="of the loss as stored",
    reference="",
)
_OUTPUT = Variable(
    name="output",
    group="training",
    dims=("recorded_step", "output_unit", "input"),
    long_name="outputs along the training",
    symbol="f",
    definition="outputs of all inputs before the recorded steps, test inputs last; NaN once the network has diverged",
    normalisation="as the network gives them, normalisation of the outputs included",
    reference="",
)
_DIVERGED = Variable(
    name="diverged_step",
    group="training",
    dims=(),
    long_name="step at which the network was found diverged",
    symbol="t_div",
    definition="first step before which the loss is not finite or exceeds "
    f"{DIVERGED:g} times the larger of the first loss and {SMALLEST_LOSS:g}; the network rests from then on; "
    "NaN for a network that never diverges",
    normalisation="counted from 0",
    reference="",
)


def recipe_of(point: Point) -> Recipe:
    """The recipe of a point that is trained."""
    assert point.train is not None, "observables of training are refused where nothing is trained"
    return point.train


def by_rate(variable: Variable, point: Point) -> Variable:
    """A variable with an axis for the learning rates where they came as a list."""
    if not recipe_of(point).listed:
        return variable
    return Variable(**{**vars(variable), "dims": ("learning_rate", *variable.dims)})


def stacked(point: Point, values: list[Floats], defined: list[NDArray[np.bool_]]) -> Values:
    """Of all learning rates: (N, ...) of each -> (N, [learning_rate,] ...)."""
    if not recipe_of(point).listed:
        return Values(values[0], defined[0])
    return Values(np.stack(values, axis=1), np.stack(defined, axis=1))


def recorded(point: Point, trainings: Trainings, name: str) -> Values:
    """What was seen at recorded steps, undefined where a network has diverged."""
    found = [each.seen[name] for each in trainings.records]
    there = [
        np.broadcast_to(each.there.reshape(*each.there.shape, *[1] * (values.ndim - 2)), values.shape)
        for each, values in zip(trainings.records, found, strict=True)
    ]
    return stacked(point, found, there)


def training_sizes(point: Point, options: Options) -> dict[str, int]:
    """Sizes of the dimensions of training."""
    recipe = recipe_of(point)
    return {
        "learning_rate": len(recipe.learning_rate),
        "step": recipe.steps + 1,
        "recorded_step": len(recipe.record),
        "output_unit": outputs_of(point, recipe),
        "input": point.inputs.count,
        "layer": point.depth + 1,
    }


def check_trained(point: Point, options: Options) -> list[str]:
    """Whether anything is trained."""
    return [] if point.train is not None else ["is seen in training. Write a section [train], or leave it out"]


def _loss_variables(point: Point, options: Options) -> tuple[Variable, ...]:
    if point.train is None:
        return (_LOSS,)
    recipe = point.train
    each = "the inputs of the step" if recipe.batch_size else "all training inputs"
    told = f"{_LOSSES[recipe.loss]} of {each}, before the step, the last after the last step; NaN from divergence on"
    loss = by_rate(Variable(**{**vars(_LOSS), "definition": told, "normalisation": f"T counts {each}"}), point)
    return (loss, by_rate(_RATE, point)) if recipe.learning_rate_unit == "bound" else (loss,)


def _loss(point: Point, options: Options, trainings: Trainings) -> tuple[Values, ...]:
    records, steps = trainings.records, np.arange(recipe_of(point).steps + 1)
    there = [(each.diverged[:, None] < 0) | (steps < each.diverged[:, None]) for each in records]
    found = [stacked(point, [each.loss for each in records], there)]
    if recipe_of(point).learning_rate_unit == "bound":
        rates = [each.rates for each in records]
        found.append(stacked(point, rates, [np.isfinite(rate) for rate in rates]))
    return tuple(found)


def _output(point: Point, options: Options, trainings: Trainings) -> tuple[Values, ...]:
    return (recorded(point, trainings, "output"),)


def _diverged(point: Point, options: Options, trainings: Trainings) -> tuple[Values, ...]:
    records = trainings.records
    steps = [np.where(each.diverged < 0, np.nan, each.diverged.astype(np.float64)) for each in records]
    return (stacked(point, steps, [each.diverged >= 0 for each in records]),)


OBSERVABLES = {
    "loss": Observable(
        name="loss",
        options={},
        samplers=("conditioned", "explicit"),
        needs=frozenset({TRAINING, "course"}),
        variables=_loss_variables,
        check=check_trained,
        evaluate=_loss,
        sizes=training_sizes,
    ),
    "output": Observable(
        name="output",
        options={},
        samplers=("conditioned", "explicit"),
        needs=frozenset({TRAINING, "course", "output"}),
        variables=lambda point, options: (by_rate(_OUTPUT, point) if point.train else _OUTPUT,),
        check=check_trained,
        evaluate=_output,
        sizes=training_sizes,
    ),
    "diverged_step": Observable(
        name="diverged_step",
        options={},
        samplers=("conditioned", "explicit"),
        needs=frozenset({TRAINING, "course"}),
        variables=lambda point, options: (by_rate(_DIVERGED, point) if point.train else _DIVERGED,),
        check=check_trained,
        evaluate=_diverged,
        sizes=training_sizes,
    ),
}
