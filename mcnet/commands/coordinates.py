"""What names a point for a reader: its coordinates, as in the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcnet.point import Point

_NAMES = ("activation", "weights", "normalization", "width", "depth", "sigma_w2", "sigma_b2")


def coordinates(point: Point) -> dict[str, Any]:
    """The coordinates of a point that a sweep may run over, and its inputs."""
    values = {name: getattr(point, name) for name in _NAMES}
    return {
        **values,
        "activation": point.activation.label,
        "inputs": point.inputs.count,
        "q0": point.inputs.q0,
        "c0": point.inputs.c0,
        "outputs": point.outputs,
    }


def varying(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """The coordinates that tell points apart; where nothing varies, the usual ones."""
    names = [name for name in points[0] if len({repr(point.get(name)) for point in points}) > 1] if points else []
    return names or ["activation", "width", "sigma_w2", "sigma_b2"]
