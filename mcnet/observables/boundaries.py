"""Large learning rates: the peak of the catapult, and three boundaries that are not to be mixed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mcnet.observables.observable import Observable, Option, Options, Values, whole_number
from mcnet.observables.training import TRAINING, by_rate, check_trained, recipe_of, stacked, training_sizes
from mcnet.observables.training_kernels import check_kernel
from mcnet.point import Point
from mcnet.recipe import DIVERGED, SMALLEST_LOSS
from mcnet.training.boundaries import CRITERIA, NOISE, RISE, bisected
from mcnet.training.record import Trainings
from mcnet.variables import Variable

HALVINGS = 8
PREFIX = "boundary_"

_PEAK = Variable(
    name="catapult_peak",
    group="training",
    dims=(),
    long_name="largest loss of the training over the first one",
    symbol="max_t E_t / E_0",
    definition="maximum over all steps of the loss, divided by the first loss; NaN for a network that diverges",
    normalisation="1 where the loss never exceeds its first value",
    reference="Lewkowycz et al. 2020, arXiv:2003.02218",
)
_STEP = Variable(
    name="catapult_step",
    group="training",
    dims=(),
    long_name="step of the largest loss",
    symbol="t_peak",
    definition="first step at which the loss is largest; NaN for a network that diverges",
    normalisation="counted from 0",
    reference="Lewkowycz et al. 2020, arXiv:2003.02218",
)
_TOLD = {
    "instability": "where max over 1 <= t <= {steps} of |v.(f_t - y)| exceeds |v.(f_0 - y)|, v the top eigenvector of "
    "the tangent kernel before training",
    "monotone": "where the loss rises from one step to the next within {steps} steps, by more than "
    f"{RISE:g} of itself and above {NOISE:g} of the first loss",
    "divergence": "where within {steps} steps the loss is not finite or exceeds "
    f"{DIVERGED:g} times the larger of the first loss and {SMALLEST_LOSS:g}",
}


def _peak(point: Point, options: Options, trainings: Trainings) -> tuple[Values, ...]:
    peaks, steps, there = [], [], []
    for each in trainings.records:
        known = each.diverged < 0
        loss = np.where(known[:, None], each.loss, 0.0)
        first = np.where(loss[:, 0] > 0.0, loss[:, 0], np.nan)
        peaks.append(np.where(known, loss.max(axis=1) / first, np.nan))
        steps.append(np.where(known, loss.argmax(axis=1), np.nan))
        there.append(known & (loss[:, 0] > 0.0))
    return stacked(point, peaks, there), stacked(point, steps, [np.isfinite(each) for each in steps])


def _dying(point: Point, options: Options) -> list[str]:
    """Rectified networks reach 0 by dying, whatever the learning rate."""
    if told := check_trained(point, options):
        return told
    if recipe_of(point).targets == "zero" and point.activation.homogeneous and point.activation.name != "linear":
        return [
            f'has no meaning for {point.activation.name} with targets = "zero": such a network gets there by dying, at '
            'any learning rate. Take targets = "teacher"'
        ]
    return []


def _check_boundary(name: str, point: Point, options: Options) -> list[str]:
    if told := _dying(point, options) or check_kernel(point, options):
        return told
    recipe = recipe_of(point)
    if not recipe.is_gradient_descent:
        return ['is a boundary of optimizer = "gd"']
    if name == "instability" and recipe.loss != "squared":
        return ['follows the residual of loss = "squared"']
    if name == "divergence" and point.output_normalization == "last-batch":
        return ["does not exist with batch norm of the outputs: they are bounded and the weights only grow, so that no "
                "learning rate makes it diverge. Take boundary_monotone"]  # fmt: skip
    _, _, low, high = CRITERIA[name]
    if options.get("low", low) >= options.get("high", high):
        return ["needs low < high"]
    return []


def numbers(name: str, options: Options) -> tuple[int, float, float, int]:
    """Steps, low, high, halvings."""
    _, steps, low, high = CRITERIA[name]
    chosen = (options.get("steps", steps), options.get("low", low), options.get("high", high))
    return int(chosen[0]), float(chosen[1]), float(chosen[2]), int(options.get("halvings", HALVINGS))


def _boundary_variables(name: str, point: Point, options: Options) -> tuple[Variable, ...]:
    steps, low, high, halvings = numbers(name, options)
    resolution = np.log(high / low) / 2**halvings
    return (
        Variable(
            name=f"{PREFIX}{name}",
            group="training",
            dims=(),
            long_name=f"learning rate of {name}, in units of the bound",
            symbol=f"k_{name}",
            definition=f"eta lambda_max / 2 {_TOLD[name].format(steps=steps)}; full-batch gradient descent, each "
            f"network by {halvings} halvings of log eta between {low:g} and {high:g}, known to {resolution:.2g} of "
            "itself; NaN where it does not lie between",
            normalisation="lambda_max of the curvature of the network itself before training",
            reference="Lewkowycz et al. 2020, arXiv:2003.02218",
        ),
    )


def _boundary(name: str, point: Point, options: Options, trainings: Trainings) -> tuple[Values, ...]:
    steps, low, high, halvings = numbers(name, options)
    found = bisected(CRITERIA[name][0](trainings, steps), trainings.bound, low, high, halvings)
    return (Values(found, np.isfinite(found)),)


def _positive(value: Any) -> str | None:
    right = isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value < 1e12
    return None if right else "must be a number greater than 0"


def _observable(name: str) -> Observable:
    check: Callable[[Point, Options], list[str]] = partial(_check_boundary, name)
    return Observable(
        name=f"{PREFIX}{name}",
        options={
            "steps": whole_number("steps of gradient descent", 1_000_000),
            "low": Option("lower end of the interval, in units of the bound", _positive),
            "high": Option("upper end of the interval, in units of the bound", _positive),
            "halvings": whole_number("halvings of the interval", 50),
        },
        samplers=("explicit",),
        needs=frozenset({TRAINING, "start"}),
        variables=partial(_boundary_variables, name),
        check=check,
        evaluate=partial(_boundary, name),
        sizes=training_sizes,
        limitation="It trains each network many times, which asks more than building the matrices costs.",
    )


OBSERVABLES = {
    "catapult_peak": Observable(
        name="catapult_peak",
        options={},
        samplers=("conditioned", "explicit"),
        needs=frozenset({TRAINING, "course"}),
        variables=lambda point, options: tuple(
            by_rate(each, point) if point.train else each for each in (_PEAK, _STEP)
        ),
        check=_dying,
        evaluate=_peak,
        sizes=training_sizes,
    ),
    **{f"{PREFIX}{name}": _observable(name) for name in CRITERIA},
}
