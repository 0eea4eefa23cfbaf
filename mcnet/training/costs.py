"""What a training costs: memory and time of one network, and whether its matrices are built or asked."""

from __future__ import annotations

from dataclasses import replace

from mcnet.point import Point
from mcnet.programs.counted import Count, MatrixCount, seconds_of_matrix
from mcnet.recipe import Recipe
from mcnet.training.model import model_of
from mcnet.training.networks import is_small
from mcnet.training.optimizers import arrays_of_state
from mcnet.weights.laws import CONDITIONED_LAWS


def _count(point: Point, recipe: Recipe) -> Count:
    """The program on the inputs of one step, of one functional."""
    found = model_of(point, recipe).count(recipe.rows(point.inputs.count))
    return replace(found, mixes_inputs=True, functionals=1)


def _entries(count: Count) -> int:
    return sum(int(use.asked.units) * int(use.asked.columns) for use in count.matrices.values())


def _over_steps(use: MatrixCount, steps: int) -> MatrixCount:
    """A matrix and what it is asked in all: each step asks both ways."""
    return replace(use, forward=use.forward * (steps + 1), backward=use.forward * steps)


def questions(point: Point, recipe: Recipe) -> int:
    """2 T t: questions that the most asked matrix gets over the training, both ways."""
    return max(2 * use.forward * recipe.steps for use in _count(point, recipe).matrices.values())


def unconditioned(point: Point, recipe: Recipe) -> str | None:
    """Why matrices cannot be asked, as the end of a sentence that begins with a method; None if they can."""
    model = model_of(point, recipe)
    laws = {model.laws.of(key).law for key in model.scaling.roles} - set(CONDITIONED_LAWS)
    if laws:
        return f"is exact for gaussian and orthogonal weights only, not for {sorted(laws)[0]} ones"
    if recipe.optimizer in ("momentum", "adam"):
        return f'knows matrices by their products, which do not tell what optimizer = "{recipe.optimizer}" does to them'
    asked = questions(point, recipe)
    if asked > point.width:
        return (
            f"asks each matrix 2 T steps = {asked} questions, more than the width {point.width}: building them is "
            "exact and faster"
        )
    return None


def sampler_of(point: Point, recipe: Recipe) -> str:
    """``explicit`` or ``conditioned``: what ``method`` says, or what costs less where it is ``auto``."""
    if recipe.method != "auto":
        return "explicit" if recipe.method == "built" else "conditioned"
    if unconditioned(point, recipe):
        return "explicit"
    return min(("conditioned", "explicit"), key=lambda sampler: seconds(point, recipe, sampler))


def kernel_seconds(point: Point, recipe: Recipe) -> float:
    """Time of one tangent kernel of one network and its eigenvalues."""
    inputs = recipe.trained(point.inputs.count)
    count = model_of(point, recipe).count(inputs)
    rows = inputs * int(count.output.units)
    units = sum(int(use.asked.units) for use in count.matrices.values())
    return 1e-10 * units * rows**2 + 3e-10 * rows**3 + count.seconds_per_network("explicit", True)


def seconds(point: Point, recipe: Recipe, sampler: str, steps: int | None = None) -> float:
    """Time of one network with one learning rate on one core, within a factor of about three.

    ``steps``: of other trainings than that of the recipe. Without what is looked at on the way.
    """
    count, steps = _count(point, recipe), recipe.steps if steps is None else steps
    vectors = sum(v.size for v in count.vectors)
    total = 2e-8 * vectors * (steps + 1)
    rows = recipe.rows(point.inputs.count) * model_of(point, recipe).sites
    if sampler == "explicit":
        each = 1.5e-10 * rows + 1e-9 * (1 + 2 * arrays_of_state(recipe))
        total += _entries(count) * (3e-9 + each * steps)
    else:
        for use in count.matrices.values():
            if is_small(use, steps):
                total += int(use.asked.units) * int(use.asked.columns) * (3e-9 + 3e-9 * steps)
            else:
                total += 1.5 * seconds_of_matrix(_over_steps(use, steps), "conditioned", True)
    return total


def bytes_per_network(point: Point, recipe: Recipe, sampler: str, itemsize: int, kernels: bool) -> int:
    """Working memory of one network; ``kernels``: whether tangent kernels are looked at."""
    count = _count(point, recipe)
    total = count.numbers("conditioned", True) * itemsize + 32 * count.in_float64[0]
    if sampler == "explicit":
        total += _entries(count) * itemsize * (2 + arrays_of_state(recipe))
    else:
        for use in count.matrices.values():
            if is_small(use, recipe.steps):
                total += 2 * int(use.asked.units) * int(use.asked.columns) * itemsize
                continue
            asked = _over_steps(use, recipe.steps)
            both = asked.forward + asked.backward
            total += 2 * both * (int(use.asked.units) + int(use.asked.columns)) * itemsize + 40 * both**2
    if kernels:
        inputs = recipe.trained(point.inputs.count)
        whole = model_of(point, recipe).count(inputs)
        size = inputs * (point.outputs or 1)
        total += whole.bytes_per_network(sampler, itemsize, True) + 8 * size**2 * (4 + 2 * len(recipe.record))
    return int(total)


def widest(point: Point, recipe: Recipe) -> int:
    """Numbers of the largest vector of one network in a step."""
    return _count(point, recipe).widest("conditioned", True)
