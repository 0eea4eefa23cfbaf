"""Which rows stand for T inputs: their difference basis (x_0, x_1 - x_0, ..., x_(T-1) - x_0), or the inputs themselves.

In the difference basis a small distance between two inputs keeps its digits. An input that is much shorter than input 0
loses its own there, and has them in a row of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.kernels import grams

Array = Any


@dataclass(frozen=True)
class Basis:
    """A basis of the T inputs; take :data:`DIFFERENCES` or :data:`INPUTS`.

    Attributes
    ----------
    differences : bool
        Whether rows 1..T-1 are differences to input 0.
    """

    differences: bool

    def to_inputs(self, xp: Any, rows: Array) -> Array:
        """The inputs themselves from rows (..., T, M)."""
        if not self.differences:
            return rows
        return xp.concat([rows[..., :1, :], rows[..., 1:, :] + rows[..., :1, :]], axis=-2)

    def from_inputs(self, xp: Any, rows: Array) -> Array:
        """Rows (..., T, M) of this basis from the inputs themselves."""
        if not self.differences:
            return rows
        return xp.concat([rows[..., :1, :], rows[..., 1:, :] - rows[..., :1, :]], axis=-2)

    def gram_of_inputs(self, gram: Array) -> Array:
        """The Gram matrix of the inputs themselves, (..., T, T)."""
        return grams.to_plain(gram) if self.differences else gram

    def multiples(self, inputs: int) -> NDArray[np.float64]:
        """Multiples of a vector that all inputs share, such as a bias: 1, 0, ..., 0 or all 1."""
        return np.eye(1, inputs)[0] if self.differences else np.ones(inputs)


DIFFERENCES, INPUTS = Basis(True), Basis(False)
