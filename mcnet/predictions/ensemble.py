"""What a prediction is about: the networks of a point and the Gram matrix of their inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures
from mcnet.architectures import Program
from mcnet.point import Point

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks of a point on inputs of a known Gram matrix.

    Attributes
    ----------
    point : Point
    gram : ndarray, shape (R, R)
        x.x/M_0 of the rows of all inputs, input slowest: exact, or of the law of inputs drawn anew for every network.
    fluctuating : bool
        Whether the Gram matrix differs from network to network.
    limits_only : bool
        Whether terms of 1/M are not wanted: predictors need not compute them.
    """

    point: Point
    gram: Floats
    fluctuating: bool
    limits_only: bool = False

    @classmethod
    def of(cls, point: Point) -> Ensemble:
        """Of a point: the Gram matrix of its inputs, of Gaussian ones its mean.

        Notes
        -----
        Rows of one input are drawn independently of each other: orthogonal in the mean.
        """
        inputs = point.inputs
        if inputs.values is not None:
            values = np.asarray(inputs.values, dtype=np.float64).reshape(-1, inputs.dimension)
            return cls(point, values @ values.T / inputs.dimension, False)
        q0, c0 = inputs.q0 or 0.0, inputs.c0 or 0.0
        gram = q0 * np.where(np.eye(inputs.count, dtype=bool), 1.0, c0)
        rows = architectures.of(point).rows
        whole: Floats = np.kron(gram, np.eye(rows)).astype(np.float64)
        return cls(point, whole, inputs.fresh and (inputs.kind == "gaussian" or rows > 1))

    def of_limits(self) -> Ensemble:
        """The same, of which only limits are wanted."""
        return replace(self, limits_only=True)

    @cached_property
    def program(self) -> Program:
        """The program of the point."""
        return architectures.of(self.point)

    def rows(self, inputs: tuple[int, ...]) -> NDArray[np.intp]:
        """Rows of some inputs."""
        per_input = len(self.gram) // self.point.inputs.count
        return np.concatenate([np.arange(per_input) + a * per_input for a in inputs])
