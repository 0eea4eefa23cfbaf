"""``sampling.target``: the accuracy that a study shall reach, checked, and as plain values for its plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mcnet.point import Point
from mcnet.scenario.faults import Faults
from mcnet.variables import Variable

if TYPE_CHECKING:
    from mcnet.scenario.schema import Target

PATH = ("sampling", "target")
_KNOWN_LIMITS = ("q", "q_hat", "c")


def families(points: Sequence[Point]) -> tuple[tuple[int, ...], ...]:
    """Indices of the points that differ in their width alone (and the input dimension, where it is the width)."""
    follows = all(point.inputs.dimension == point.width for point in points)
    found: dict[str, list[int]] = {}
    for index, point in enumerate(points):
        physics = {**point.physics, "width": None}
        if follows:
            physics["inputs"] = {**physics["inputs"], "dimension": None}
        found.setdefault(json.dumps(physics, sort_keys=True), []).append(index)
    return tuple(tuple(sorted(family, key=lambda i: points[i].width)) for family in found.values())


def check(target: Target, points: Sequence[Point], stored: Mapping[str, Variable], faults: Faults) -> None:
    """Note what a target asks for that cannot be had; its observable is one that is measured."""
    variable = stored[target.observable]
    if variable.per_shard:
        faults.add((*PATH, "observable"), f"{variable.name} has no value for one network. Name another variable.")
        return
    depth = min(point.depth for point in points)
    if target.layer is not None and "layer" not in variable.dims:
        faults.add((*PATH, "layer"), f"{variable.name} has no layers. Remove it.")
    elif target.layer is not None and target.layer > depth:
        faults.add((*PATH, "layer"), f"{target.layer} lies beyond the depth {depth}. Give a layer up to it.")
    elif target.limit == "theory":
        if target.coefficient == "mean":
            faults.add((*PATH, "limit"), 'has no meaning for coefficient = "mean". Remove it.')
        elif not all(_has_limit(point, variable.name, target.layer) for point in points):
            known = ", ".join(_KNOWN_LIMITS)
            faults.add((*PATH, "limit"), f'is known for {known} of inputs of kind single and pair. Write "free".')
    elif target.coefficient == "1/M" and any(len(family) < 2 for family in families(points)):
        faults.add((*PATH, "coefficient"), "a coefficient of 1/M needs two widths or more. Sweep the width.")


def _has_limit(point: Point, observable: str, layer: int | None) -> bool:
    known = observable in _KNOWN_LIMITS and not point.is_program
    return known and point.inputs.kind in ("single", "pair") and layer != 0


def plain(target: Target, points: Sequence[Point]) -> dict[str, Any]:
    """The target as a plan holds it: its keys, and the limit of every family where theory gives it."""
    document = target.model_dump()
    if target.limit == "theory":
        document["limits"] = {
            f"{points[index].key:016x}": limit
            for family in families(points)
            for limit in [_limit(points[family[0]], target.observable, target.layer)]
            for index in family
        }
    return document


def _limit(point: Point, observable: str, layer: int | None) -> float:
    """Mean field: the mean at M -> infinity."""
    from mcnet.theory import mean_field

    law = (point.activation, point.sigma_w2, point.sigma_b2)
    depth, given = layer or point.depth, point.inputs
    assert given.q0 is not None, "checked when the scenario was read"
    if observable == "c":
        assert given.c0 is not None, "checked when the scenario was read"
        return float(mean_field.correlations(*law, given.q0, given.c0, depth)[-1])
    lengths = mean_field.lengths(*law, given.q0, depth + 1)
    return float(lengths[-2] if observable == "q" else (lengths[-1] - point.sigma_b2) / point.sigma_w2)
