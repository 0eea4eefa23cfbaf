"""What names a point for a reader: its coordinates, as in the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mcnet.coordinates import DENSE, SWEPT

if TYPE_CHECKING:
    from mcnet.point import Point

SHOWN = (*SWEPT, "inputs", "q0", "c0", "outputs")
"""Coordinates that name a point; of a network that is not dense also its architecture and the keys of that."""


def coordinates(point: Point) -> dict[str, Any]:
    """The coordinates of a point that a sweep may run over, and its inputs."""
    known = point.coordinates
    own = {} if point.architecture == DENSE else {"architecture": point.architecture}
    return {**own, **point.keys, **{name: known[name] for name in SHOWN}}


def varying(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """The coordinates that tell points apart; where nothing varies, the usual ones."""
    names = [name for name in points[0] if len({repr(point.get(name)) for point in points}) > 1] if points else []
    return names or ["activation", "width", "sigma_w2", "sigma_b2"]
