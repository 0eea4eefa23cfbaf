"""Rows of vectors and of cotangents as flat arrays, and the matrices that act on them.

Rows of a vector are flattened in the order of its axes. Rows of a cotangent have an axis of functionals in front: where
the program does not mix inputs, functional k means one for each input, whose cotangent lives on the rows of that input
alone; they are kept together, and every cotangent has the axis of the inputs. Where it mixes inputs there is one
functional for each row of the output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcnet.programs.axes import Axes, shifted
from mcnet.programs.names import INPUT

Floats = NDArray[np.float64]


def size_of(axes: Axes) -> int:
    """How many rows there are."""
    return math.prod(axes.values())


def along(matrix: Floats, axes: Axes, axis: str) -> Floats:
    """The matrix on all rows that acts along one axis."""
    return _kron([matrix if name == axis else np.eye(size) for name, size in axes.items()])


def tap(rows: Axes, axes: Sequence[str], offsets: Sequence[int], variance: float) -> Floats:
    """The matrix on all rows that makes one tap of a window: sqrt(variance) times the rows at other places."""
    total: Floats = np.sqrt(variance) * np.eye(size_of(rows))
    for axis, offset in zip(axes, offsets, strict=True):
        total = along(shifted(rows[axis], offset), rows, axis) @ total
    return total


def spread(own: Axes, joint: Axes) -> Floats | float:
    """The matrix that repeats rows along the axes which a vector lacks; 1 where it lacks none."""
    if own == joint:
        return 1.0
    return _kron([np.eye(size) if name in own else np.ones((size, 1)) for name, size in joint.items()])


def on_functionals(count: int, matrix: Floats | float) -> Floats | float:
    """The same matrix for each of the functionals."""
    if isinstance(matrix, float) or count == 1:
        return matrix
    return _kron([np.eye(count), matrix])


def of_cotangents(axes: Axes, inputs: int | None) -> Axes:
    """Axes of the cotangents of a vector beside the functionals; ``inputs`` where the program does not mix them."""
    return axes if inputs is None or INPUT in axes else {INPUT: inputs, **axes}


def places(axes: Axes, inputs: int | None, functionals: int) -> NDArray[np.intp]:
    """For each row of a cotangent, the row of the vector at which it sits."""
    rows = np.arange(size_of(axes))
    if inputs is not None and INPUT not in axes:
        rows = np.tile(rows, inputs)
    return np.tile(rows, functionals)


def _kron(parts: Sequence[Floats]) -> Floats:
    total: Floats = np.eye(1)
    for part in parts:
        total = np.asarray(np.kron(total, part), np.float64)
    return total
