"""Trainings of the networks of a point, in sub-batches that fit the memory."""

from __future__ import annotations

from collections.abc import Iterator

from mcnet.backend import Backend
from mcnet.errors import McnetError
from mcnet.observables import boundaries, costs
from mcnet.observables.sample import ensemble_of
from mcnet.observables.training import recipe_of
from mcnet.point import Point
from mcnet.request import Request
from mcnet.training import costs as training_costs
from mcnet.training.record import Trainings


def passes(
    point: Point, request: Request, sampler: str, start: int, stop: int, backend: Backend
) -> Iterator[tuple[int, int, Trainings]]:
    """Networks start..stop: first network, one past the last, their trainings."""
    wants = costs.needs_of(request)
    size, first = sub_batch(point, request, sampler, backend), start
    while first < stop:
        last = min(first + size, stop)
        ensemble = ensemble_of(point, request.seed, first, last, precision(request, sampler), backend)
        try:
            trainings = Trainings(point, recipe_of(point), request.seed, ensemble, sampler, wants)
            trainings.make(wants)
            yield first, last, trainings
            first = last
        except backend.exhausted as error:
            size = (last - first) // 2
            if not size:
                told = f"width {point.width}, depth {point.depth}"
                raise McnetError(
                    f"the training of one network does not fit the memory of {backend.device} at {told}"
                ) from error


def precision(request: Request, sampler: str) -> str:
    """Of the arrays: questions of a training are nearly equal from step to step, and what is new in them is all that an
    asked matrix draws for. In float32 it drowns in rounding, and after some steps outputs are wrong by any factor.
    """
    return "float64" if sampler == "conditioned" else request.precision


def bytes_per_network(point: Point, request: Request, sampler: str) -> int:
    """Working memory of one network."""
    kernels = bool(costs.needs_of(request) & {"kernel", "start"}) or recipe_of(point).learning_rate_unit == "bound"
    itemsize = costs.itemsize(precision(request, sampler))
    return training_costs.bytes_per_network(point, recipe_of(point), sampler, itemsize, kernels)


def seconds(point: Point, request: Request, sampler: str) -> float:
    """Time of one network on one core, with all that is looked at and all trainings of a bisection."""
    recipe, needs = recipe_of(point), costs.needs_of(request)
    total = 0.0
    if "course" in needs:
        total += len(recipe.learning_rate) * training_costs.seconds(point, recipe, sampler)
    looks = len(recipe.record) * len(recipe.learning_rate) if "kernel" in needs else 0
    looks += "start" in needs or recipe.learning_rate_unit == "bound"
    if looks:
        total += looks * training_costs.kernel_seconds(point, recipe)
    for name, options in request.measures.items():
        if name.startswith(boundaries.PREFIX):
            steps, _, _, halvings = boundaries.numbers(name.removeprefix(boundaries.PREFIX), options)
            total += (halvings + 2) * training_costs.seconds(point, recipe, sampler, steps)
    return total


def sub_batch(point: Point, request: Request, sampler: str, backend: Backend) -> int:
    """Networks trained together."""
    by_memory = max(1, backend.memory() // bytes_per_network(point, request, sampler))
    if backend.name != "cpu":
        return by_memory
    return max(1, min(by_memory, costs.CACHE // (8 * training_costs.widest(point, recipe_of(point)))))
