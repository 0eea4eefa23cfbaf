"""What a network has at a point: layers that are seen, and rows of an input beside the input itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures
from mcnet.coordinates import DENSE
from mcnet.point import Point
from mcnet.programs.axes import Axes
from mcnet.programs.names import INPUT


def layers_seen(point: Point, letter: str) -> tuple[bool, ...]:
    """For layers 0..depth: whether the vector of this letter (``u``, ``h``) is seen, with rows as at the last one."""
    if point.architecture == DENSE:
        return (letter == "h", *[True] * point.depth)
    seen, axes = architectures.of(point).count.seen, row_axes(point, letter)
    there = [seen.get((letter, layer)) for layer in range(point.depth + 1)]
    return tuple(v is not None and INPUT in v.axes and _others(v.axes) == axes for v in there)


def row_axes(point: Point, letter: str) -> Axes:
    """Names and sizes of the row axes of the vectors of a letter, beside the input; those of the last layer."""
    if point.architecture == DENSE:
        return {}
    seen = architectures.of(point).count.seen
    layers = [layer for name, layer, *_ in (key for key in seen if len(key) == 2) if name == letter]
    return _others(seen[letter, max(layers)].axes) if layers else {}


def _others(axes: Axes) -> Axes:
    return {name: size for name, size in axes.items() if name != INPUT}


def mask_of(point: Point, letter: str) -> NDArray[np.bool_]:
    """:func:`layers_seen` as an array."""
    return np.array(layers_seen(point, letter), dtype=np.bool_)
