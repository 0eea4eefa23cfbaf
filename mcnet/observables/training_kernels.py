"""How the tangent kernel and the vectors of a layer move in training, and how far outputs leave the linear dynamics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.observable import Observable, Options, Values
from mcnet.observables.training import (
    TRAINING,
    by_rate,
    check_trained,
    recipe_of,
    recorded,
    stacked,
    training_sizes,
)
from mcnet.point import Point
from mcnet.training import limits
from mcnet.training.kernels import MOST_OUTPUTS
from mcnet.training.record import Trainings
from mcnet.training.trainer import outputs_of
from mcnet.variables import Variable

Floats = NDArray[np.float64]

_KERNEL = "of the training inputs, in the parametrisation of the training, learning rates of matrices included"
_SHARPNESS = Variable(
    name="sharpness",
    group="training",
    dims=("recorded_step",),
    long_name="largest curvature along the training",
    symbol=r"\lambda_{max}",
    definition="largest eigenvalue of F = (1/T) J^T Q J before the recorded step, J the derivatives of the outputs, "
    "Q = 1 (squared loss) or diag p - p p^T (softmax); NaN once the network has diverged",
    normalisation=_KERNEL,
    reference="Lewkowycz et al. 2020, arXiv:2003.02218",
)
_DRIFT = Variable(
    name="ntk_drift",
    group="training",
    dims=("recorded_step",),
    long_name="relative change of the tangent kernel along the training",
    symbol=r"|\Theta_t - \Theta_0| / |\Theta_0|",
    definition="Frobenius norm of Theta_t - Theta_0 over that of Theta_0, all outputs and training inputs; the "
    "network's own kernel at step 0",
    normalisation=_KERNEL,
    reference="Dyer, Gur-Ari 2020, arXiv:1909.11304",
)
_DEVIATION = Variable(
    name="linear_deviation",
    group="training",
    dims=("recorded_step",),
    long_name="distance of the outputs from the linear dynamics with the network's own kernel",
    symbol="f_t - f_t^{lin}",
    definition="root mean square over outputs and training inputs of f_t - y - (1 - eta Theta_0 / T)^t (f_0 - y); "
    "NaN once the network has diverged, and where eta lambda_max(Theta_0 / T) >= 2: there the linear dynamics diverge",
    normalisation="of the outputs as the network gives them",
    reference="Lee et al. 2019, arXiv:1902.06720",
)
_LIMIT = replace(
    _DEVIATION,
    name="limit_deviation",
    long_name="distance of the outputs from the linear dynamics at infinite width, from the same start",
    symbol=r"f_t - f_t^\infty",
    definition="root mean square over outputs and training inputs of f_t - y - (1 - eta Theta / T)^t (f_0 - y), "
    "Theta of infinite width, f_0 of the network; NaN once it has diverged, and where eta lambda_max(Theta / T) >= 2",
)
_COORDINATES = (
    Variable(
        name="activation_size",
        group="training",
        dims=("recorded_step", "layer"),
        long_name="size of the activations along the training",
        symbol="|h^l_t|",
        definition="root mean square of h^l over training inputs and units",
        normalisation="per unit",
        reference="Yang, Hu 2021, arXiv:2011.14522",
    ),
    Variable(
        name="activation_change",
        group="training",
        dims=("recorded_step", "layer"),
        long_name="change of the activations along the training",
        symbol="|h^l_t - h^l_0|",
        definition="root mean square of h^l_t - h^l_0 over training inputs and units",
        normalisation="per unit",
        reference="Yang, Hu 2021, arXiv:2011.14522",
    ),
    Variable(
        name="output_size",
        group="training",
        dims=("recorded_step",),
        long_name="size of the outputs along the training",
        symbol="|f_t|",
        definition="root mean square of f_t over outputs and training inputs",
        normalisation="per output",
        reference="Yang, Hu 2021, arXiv:2011.14522",
    ),
    Variable(
        name="output_change",
        group="training",
        dims=("recorded_step",),
        long_name="change of the outputs along the training",
        symbol="|f_t - f_0|",
        definition="root mean square of f_t - f_0 over outputs and training inputs",
        normalisation="per output",
        reference="Yang, Hu 2021, arXiv:2011.14522",
    ),
    Variable(
        name="kernel_size",
        group="training",
        dims=("recorded_step",),
        long_name="size of the tangent kernel along the training",
        symbol=r"|\Theta_t|",
        definition="root mean square of the entries of Theta_t, all outputs and training inputs",
        normalisation=_KERNEL,
        reference="Jacot, Gabriel, Hongler 2018, arXiv:1806.07572",
    ),
    Variable(
        name="kernel_change",
        group="training",
        dims=("recorded_step",),
        long_name="change of the tangent kernel along the training",
        symbol=r"|\Theta_t - \Theta_0|",
        definition="root mean square of the entries of Theta_t - Theta_0",
        normalisation=_KERNEL,
        reference="Dyer, Gur-Ari 2020, arXiv:1909.11304",
    ),
)


def check_kernel(point: Point, options: Options) -> list[str]:
    """Whether a kernel of all outputs can be made."""
    if told := check_trained(point, options):
        return told
    size = outputs_of(point, recipe_of(point)) * recipe_of(point).trained(point.inputs.count)
    if size <= MOST_OUTPUTS:
        return []
    return [f"needs the kernel of {size} outputs times training inputs; at most {MOST_OUTPUTS} are possible"]


def _check_change(point: Point, options: Options) -> list[str]:
    """Whether there is a start that changes are counted from."""
    if told := check_kernel(point, options):
        return told
    return [] if recipe_of(point).record[0] == 0 else ["counts from step 0: put it in train.record"]


def _check_linear(point: Point, options: Options) -> list[str]:
    if told := _check_change(point, options):
        return told
    recipe = recipe_of(point)
    if not recipe.is_gradient_descent or recipe.loss != "squared":
        return ['compares with the linear dynamics of optimizer = "gd" and loss = "squared" alone']
    if recipe.learning_rate_unit == "bound" and max(recipe.learning_rate) >= 1.0:
        return ["compares with linear dynamics, which diverge at the bound: give learning rates below 1"]
    return []


def _check_limit(point: Point, options: Options) -> list[str]:
    return _check_linear(point, options) or limits.complaints(point, recipe_of(point))


def _sharpness(point: Point, options: Options, trainings: Trainings) -> tuple[Values, ...]:
    return (recorded(point, trainings, "sharpness"),)


def _drift(point: Point, options: Options, trainings: Trainings) -> tuple[Values, ...]:
    found = [each.seen["kernel_change"] / each.seen["kernel_size"][:, :1] for each in trainings.records]
    return (stacked(point, found, [each.there for each in trainings.records]),)


def _deviation(point: Point, options: Options, trainings: Trainings) -> tuple[Values, ...]:
    return (_distance(point, trainings, trainings.start.curvature),)


def _limit_deviation(point: Point, options: Options, trainings: Trainings) -> tuple[Values, ...]:
    trainer = trainings.trainer
    x = trainer.ensemble.backend.fetch(trainer.training_inputs)[0]
    theta = limits.kernel(point, trainer.recipe, x)
    return (_distance(point, trainings, np.kron(np.eye(trainer.y.shape[1]), theta)[None] / trainer.trained),)


def _distance(point: Point, trainings: Trainings, curvature: Floats) -> Values:
    """Root mean square of the distance from the linear dynamics of a kernel over T, (N or 1, C T, C T)."""
    trainer = trainings.trainer
    count, steps = trainer.ensemble.count, np.asarray(trainer.recipe.record)
    y = trainer.ensemble.backend.fetch(trainer.y)
    y = np.broadcast_to(y, (count, *y.shape[1:])).reshape(count, 1, -1)
    values, vectors = (np.broadcast_to(part, (count, *part.shape[1:])) for part in np.linalg.eigh(curvature))
    found, there = [], []
    for each in trainings.records:
        f = each.seen["output"][..., : trainer.trained].reshape(count, steps.size, -1)
        along = np.einsum("nij,ni->nj", vectors, f[:, 0] - y[:, 0])
        shrinking = 1.0 - each.rates[:, None] * values
        stable = np.abs(shrinking[:, -1]) < 1.0
        powers = np.where(stable[:, None], shrinking, 0.0)[:, None, :] ** steps[:, None]  # (N, R, C T)
        linear = y + np.einsum("nij,nrj->nri", vectors, powers * along[:, None, :])
        known = each.there & stable[:, None]
        found.append(np.where(known, np.sqrt(np.mean((f - linear) ** 2, axis=2)), np.nan))
        there.append(known)
    return stacked(point, found, there)


def _coordinates(point: Point, options: Options, trainings: Trainings) -> tuple[Values, ...]:
    trained = trainings.trainer.trained
    found = [recorded(point, trainings, name) for name in ("activation_size", "activation_change")]
    found = [Values(each.values, each.defined & np.isfinite(each.values)) for each in found]
    outputs = [each.seen["output"][..., :trained] for each in trainings.records]
    sizes = [np.sqrt(np.mean(f**2, axis=(2, 3))) for f in outputs]
    changes = [np.sqrt(np.mean((f - f[:, :1]) ** 2, axis=(2, 3))) for f in outputs]
    there = [each.there for each in trainings.records]
    found += [stacked(point, sizes, there), stacked(point, changes, there)]
    rows = trainings.trainer.trained * outputs[0].shape[2]
    for name in ("kernel_size", "kernel_change"):
        found.append(stacked(point, [each.seen[name] / rows for each in trainings.records], there))
    return tuple(found)


def _observable(
    name: str,
    needs: set[str],
    variables: tuple[Variable, ...],
    check: Callable[[Point, Options], list[str]],
    evaluate: Callable[[Point, Options, Trainings], tuple[Values, ...]],
) -> Observable:
    return Observable(
        name=name,
        options={},
        samplers=("conditioned", "explicit"),
        needs=frozenset({TRAINING, "course", *needs}),
        variables=lambda point, options: tuple(by_rate(each, point) if point.train else each for each in variables),
        check=check,
        evaluate=evaluate,
        sizes=training_sizes,
    )


OBSERVABLES = {
    each.name: each
    for each in (
        _observable("sharpness", {"kernel"}, (_SHARPNESS,), check_kernel, _sharpness),
        _observable("ntk_drift", {"kernel"}, (_DRIFT,), _check_change, _drift),
        _observable("linear_deviation", {"output", "start"}, (_DEVIATION,), _check_linear, _deviation),
        _observable("limit_deviation", {"output"}, (_LIMIT,), _check_limit, _limit_deviation),
        _observable("coordinate_check", {"output", "kernel", "vectors"}, _COORDINATES, _check_change, _coordinates),
    )
}
