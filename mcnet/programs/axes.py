"""Row axes of vectors: names and sizes, the input first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.programs.names import INPUT, ProgramError

Axes = dict[str, int]


def joint_axes(operation: str, vectors: Sequence[Any]) -> Axes:
    """Axes of a sum or product: those of all; a vector is constant along the axes that it lacks.

    Raises
    ------
    ProgramError
        If two sizes of an axis differ, or the axes come in another order.
    """
    sizes: Axes = {}
    for v in sorted(vectors, key=lambda v: -len(v.axes)):
        for name, size in v.axes.items():
            if sizes.setdefault(name, size) != size:
                raise ProgramError(f'{operation}: the axis "{name}" has size {sizes[name]} and {size}')
    joint = {name: sizes[name] for name in sorted(sizes, key=lambda name: name != INPUT)}
    for v in vectors:
        if list(v.axes) != [name for name in joint if name in v.axes]:
            raise ProgramError(f"{operation}: axes come in different orders, {list(v.axes)} and {list(joint)}")
    return joint


def shifted(size: int, steps: int) -> NDArray[np.float64]:
    """Permutation matrix whose row p picks row p + steps."""
    return np.asarray(np.roll(np.eye(size), int(steps), axis=1))
