"""The points of ``plan.json``: one entry of JSON each, written and read.

A study has up to a hundred thousand of them, and most differ in a few numbers. Their texts, and the keys that their
physics gives them, come from one template for all points that differ in nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.plan import checks
from mcnet.point import Inputs, Point, frozen, number_text

if TYPE_CHECKING:
    from mcnet.plan.plan import PlannedPoint

_INPUTS_FIELDS = tuple(name for name in Inputs.__dataclass_fields__ if name not in ("labels", "description"))
_POINT_FIELDS = tuple(name for name in Point.__dataclass_fields__ if name not in ("parameters", "train"))
_PLACE = "\0"


def lines(points: Iterable[PlannedPoint]) -> Iterator[str]:
    """The entry of each point as one line of JSON."""
    for planned in points:
        point, given = planned.point, planned.point.inputs
        special = given.values is not None or given.labels is not None or given.description or point.parameters
        if special or not type(point.depth) is type(point.width) is type(given.dimension) is type(planned.batch) is int:
            yield json.dumps(entry(planned), ensure_ascii=False)
            continue
        template = _template(
            planned.sampler, point.architecture, point.activation, point.weights, point.outputs, point.readout,
            point.normalization, point.parameterization, point.train_biases, given.kind, given.count, given.fresh,
        )  # fmt: skip
        w2, b2 = number_text(point.sigma_w2), number_text(point.sigma_b2)
        q0, c0 = number_text(given.q0), number_text(given.c0)
        counts = planned.key, list(planned.stops), planned.batch
        yield template % (*counts, point.width, point.depth, w2, b2, given.dimension, q0, c0)


@lru_cache(maxsize=1024, typed=True)  # 1 and True are equal, and other text
def _template(
    sampler: str,
    architecture: str,
    activation: Activation,
    weights: str,
    outputs: int | None,
    readout: str,
    normalization: str,
    parameterization: str,
    train_biases: bool,
    kind: str,
    count: int,
    fresh: bool,
) -> str:
    """Text of an entry with places for what :func:`lines` puts there, in the order of the text."""
    inputs = Inputs(kind, count, 1, fresh=fresh)
    point = Point(
        *(architecture, activation, weights, 1, 1, 1.0, 0.0, inputs, outputs, readout, normalization),
        *(parameterization, train_biases),
    )
    content = _content(point)
    content["inputs"] |= dict.fromkeys(("dimension", "q0", "c0"), _PLACE)
    content |= dict.fromkeys(("width", "depth", "sigma_w2", "sigma_b2"), _PLACE)
    whole = {"key": _PLACE, "stops": _PLACE, "batch": _PLACE, "sampler": sampler, "parameters": content}
    place = json.dumps(_PLACE)
    text = json.dumps(whole, ensure_ascii=False).replace("%", "%%").replace(place, "%s")
    return text.replace('"key": %s', '"key": "%s"')


def entry(planned: PlannedPoint) -> dict[str, Any]:
    """The entry of a point, as plain values."""
    return {
        "key": planned.key,
        "stops": list(planned.stops),
        "batch": planned.batch,
        "sampler": planned.sampler,
        "parameters": _content(planned.point),
    }


def _content(point: Point) -> dict[str, Any]:
    inputs = {name: getattr(point.inputs, name) for name in _INPUTS_FIELDS}
    if point.inputs.values is not None:
        inputs["values"] = point.physics["inputs"]["values_sha256"]
    if point.inputs.labels is not None:
        inputs["labels"] = point.physics["inputs"]["labels_sha256"]
    if point.inputs.description:
        inputs["description"] = point.inputs.description
    parameters = {name: getattr(point, name) for name in _POINT_FIELDS}
    parameters["activation"], parameters["inputs"] = point.activation.specification, inputs
    if point.parameters:  # plans of dense networks are those of before
        parameters["parameters"] = point.keys
    return parameters


def point_of(given: Mapping[str, Any], values: Mapping[str, Any], labels: Mapping[str, Any]) -> Point:
    """The point that an entry describes, not trained.

    Parameters
    ----------
    given : mapping
        As :func:`entry` makes it.
    values, labels : mapping
        Input vectors and their classes by digest.

    Raises
    ------
    UsageError, ValueError, LookupError, TypeError
        If it describes none.
    """
    checks.require_parameters(given["parameters"])
    inputs = dict(given["parameters"]["inputs"])
    if inputs["values"] is not None:
        inputs["values"] = tuple(tuple(row) for row in values[inputs["values"]])
    if "labels" in inputs:
        inputs["labels"] = tuple(labels[inputs["labels"]])
    parameters = {
        **given["parameters"],
        "activation": activations.get(given["parameters"]["activation"]),
        "inputs": Inputs(**inputs),
        "parameters": frozen(given["parameters"].get("parameters", {})),
    }
    point = Point(**parameters)
    checks.require_vectors(point)
    return point
