"""The ``[train]`` section: from what is written to a recipe, and what cannot be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mcnet.point import Point
from mcnet.recipe import Recipe, default_record
from mcnet.scenario.draft import Draft
from mcnet.scenario.faults import Faults
from mcnet.scenario.schema import Train

OF_ORDER_1_OVER_M = ("ntk_drift", "linear_deviation")
"""Measures whose exponents float32 would change."""

_NEEDED = {
    "loss": '"squared" or "softmax"',
    "targets": '"teacher", "labels", "values" or "zero"',
    "learning_rate": "a number, or a list of numbers for trainings of the same networks",
    "steps": "how many steps",
}
_OF_OPTIMIZER = {"momentum": ("momentum",), "adam": ("adam",)}


def read(draft: Draft, faults: Faults) -> Recipe | None:
    """The recipe of a scenario; None where it trains nothing or has mistakes."""
    given, train = draft.given["train"], draft.train
    if not draft.trains:
        return None
    for name, what in _NEEDED.items():
        if name not in given:
            faults.missing(("train", name), f"Write {name} = ...: {what}.")
    _optimizer(train, given, faults)
    _order(train, given, faults)
    _targets(draft, faults)
    _record(train, faults)
    _method(draft, faults)
    if faults or train.loss is None or train.targets is None or train.steps is None or train.learning_rate is None:
        return None
    return Recipe(
        loss=train.loss,
        targets=train.targets,
        learning_rate=train.learning_rate,
        steps=train.steps,
        record=train.record or default_record(train.steps),
        learning_rate_unit=train.learning_rate_unit,
        listed=draft.listed_rates,
        target_values=train.target_values,
        batch_size=train.batch_size or (1 if train.order == "online" else None),
        order=train.order,
        optimizer=train.optimizer,
        momentum=train.momentum,
        adam=None if train.adam is None else (train.adam.beta_1, train.adam.beta_2, train.adam.epsilon),
        scaling=train.scaling if isinstance(train.scaling, str) else None,
        abc=train.scaling if isinstance(train.scaling, tuple) else None,
        method=train.method,
        test_inputs=train.test_inputs,
    )


def _optimizer(train: Train, given: Sequence[str], faults: Faults) -> None:
    for name, keys in _OF_OPTIMIZER.items():
        for key in keys:
            if train.optimizer == name and key not in given:
                told = "beta_1, beta_2, epsilon" if name == "adam" else "what is kept of the step before, from 0 to 1"
                faults.missing(("train", key), f'optimizer = "{name}" needs {key}: {told}.')
            elif train.optimizer != name and key in given:
                faults.add(
                    ("train", key), f'has no meaning for optimizer = "{train.optimizer}". Remove it.', at_key=True
                )
    if train.optimizer == "gd" and "batch_size" in given:
        faults.add(
            ("train", "batch_size"),
            'optimizer = "gd" takes all training inputs in every step. Write optimizer = "sgd", or remove it.',
        )
    if train.optimizer == "sgd" and "batch_size" not in given and train.order != "online":
        faults.missing(("train", "batch_size"), 'optimizer = "sgd" needs batch_size: inputs of one step.')


def _order(train: Train, given: Sequence[str], faults: Faults) -> None:
    if "order" not in given:
        return
    if train.optimizer == "gd":
        faults.add(
            ("train", "order"), 'optimizer = "gd" takes all inputs at once. Write optimizer = "sgd".', at_key=True
        )
    elif train.batch_size is None and train.order != "online":
        faults.add(("train", "order"), "is that of minibatches. Give batch_size too, or remove it.", at_key=True)


def _targets(draft: Draft, faults: Faults) -> None:
    train, outputs, count = draft.train, draft.network["outputs"], draft.count()
    if "outputs" not in draft.given["network"]:
        faults.missing(("network", "outputs"), "What is trained has a readout: write outputs = ... in [network].")
    if train.loss == "softmax" and outputs == 1:
        faults.add(
            ("train", "loss"), '"softmax" of 1 output is always 1. Give at least 2 outputs, or write loss = "squared".'
        )
    if train.loss == "softmax" and train.targets in ("values", "zero"):
        faults.add(("train", "targets"), 'loss = "softmax" has classes. Write targets = "teacher" or "labels".')
    if train.targets == "values" and "target_values" not in draft.given["train"]:
        faults.missing(("train", "target_values"), 'targets = "values" needs target_values: one for each input.')
    if train.targets != "values" and "target_values" in draft.given["train"]:
        faults.add(
            ("train", "target_values"), f'has no meaning for targets = "{train.targets}". Remove it.', at_key=True
        )
    if draft.inputs["fresh"] and train.targets == "values":
        faults.add(("train", "targets"), "are values for inputs that are new for every network. Remove inputs.fresh.")
    values = train.target_values
    if values is not None and count is not None and len(values) != count - train.test_inputs:
        faults.add(
            ("train", "target_values"),
            f"has {len(values)} targets, there are {count - train.test_inputs} training inputs. Give one for each.",
        )
    if values is not None and outputs is not None and len(values[0]) != outputs:
        faults.add(
            ("train", "target_values"),
            f"has {len(values[0])} numbers for each input, there are {outputs} outputs. Give one for each.",
        )
    if count is not None and train.test_inputs >= count:
        faults.add(("train", "test_inputs"), f"leaves none of {count} inputs to train on. Give more inputs.")


def _record(train: Train, faults: Faults) -> None:
    record, steps = train.record, train.steps
    if record is None or steps is None:
        return
    if sorted(set(record)) != list(record):
        faults.add(("train", "record"), "must be steps in ascending order, each once.")
    elif record[-1] > steps:
        faults.add(("train", "record"), f"has step {record[-1]}, the last one is {steps}. Give steps up to it.")


def _method(draft: Draft, faults: Faults) -> None:
    method, sampler = draft.train.method, draft.sampling.sampler
    meant = {"built": "explicit", "conditioned": "conditioned"}
    if method != "auto" and sampler not in ("auto", meant[method]):
        faults.add(
            ("train", "method"), f'"{method}" and sampling.sampler = "{sampler}" do not go together. Remove one.'
        )


def check(recipe: Recipe, points: Sequence[Point], draft: Draft, faults: Faults) -> None:
    """Note what cannot be trained at a point, the first of those that it cannot."""
    from mcnet.observables.catalog import OBSERVABLES
    from mcnet.training import costs

    sampler = draft.sampling.sampler
    for name in draft.measures:
        if recipe.method == "conditioned" and "conditioned" not in OBSERVABLES[name].samplers:
            limitation = OBSERVABLES[name].limitation
            faults.add(("train", "method"), f'"conditioned" cannot give the measure {name}. {limitation} Write "auto".')
        if name in OF_ORDER_1_OVER_M and draft.sampling.precision != "float64":
            faults.add(
                ("measure", name),
                'is of order 1/M, and rounding of float32 is seen in it. Write sampling.precision = "float64".',
                at_key=True,
            )

    told: set[str] = set()
    for number, point in enumerate(points, 1):
        found = _complaints(recipe, point)
        conditioned = recipe.method == "conditioned" or (recipe.method == "auto" and sampler == "conditioned")
        if not found and conditioned and (why := costs.unconditioned(point, recipe)):
            place = ("train", "method") if recipe.method == "conditioned" else ("sampling", "sampler")
            found = {place: f'"conditioned" {why}. Write "auto"'}
        for place, sentence in found.items():
            if sentence not in told:
                told.add(sentence)
                at = f" (point {number}: width {point.width}, depth {point.depth})" if len(points) > 1 else ""
                faults.add(place, f"{sentence}{at}.", at_key=place[1] not in ("method", "sampler"))


def _complaints(recipe: Recipe, point: Point) -> Mapping[tuple[str, str], str]:
    """Sentences about one point, by their places; without the full stop."""
    from mcnet.training.model import model_of
    from mcnet.training.targets import labels_of

    found: dict[tuple[str, str], str] = {}
    trained, rows = recipe.trained(point.inputs.count), recipe.rows(point.inputs.count)
    batch = ("train", "batch_size")
    if trained < 1:
        return {("train", "test_inputs"): f"leaves none of {point.inputs.count} inputs to train on"}
    if rows > trained or trained % rows:
        found[batch] = f"must divide the {trained} training inputs, got {rows}"
    elif recipe.order == "online" and recipe.steps * rows > trained:
        found["train", "steps"] = (
            f'order = "online" takes each input once: {trained} training inputs make {trained // rows} steps, not '
            f"{recipe.steps}"
        )
    if recipe.targets == "labels":
        labels = labels_of(point)
        if labels is None:
            found["train", "targets"] = 'are "labels", which these inputs do not have'
        elif (point.outputs or 1) > 1 and max(labels) >= (point.outputs or 1):
            found["train", "targets"] = (
                f"have {max(labels) + 1} classes, there are {point.outputs} outputs: give one for each class"
            )
    mixes = model_of(point, recipe).count(point.inputs.count).mixes_inputs
    if mixes and recipe.test_inputs:
        found["train", "test_inputs"] = (
            f'normalization = "{point.normalization}" mixes the inputs: test inputs would change the training'
        )
    if mixes and rows < 4 and batch not in found:
        found[batch if recipe.batch_size else ("network", "normalization")] = (
            f'normalization = "{point.normalization}" needs at least 4 inputs in a step, there are {rows}: gradients '
            "through the statistics of fewer have no mean"
        )
    if point.normalization == "last-layer" and (point.outputs or 1) <= 3:
        found["network", "normalization"] = (
            f'"last-layer" with {point.outputs} outputs has gradients of infinite mean: give at least 4 outputs'
        )
    return found
