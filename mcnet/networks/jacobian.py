"""The input-output Jacobian J = D_L W_L ... D_1 W_1 of the hidden layers, as one matrix per network."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mcnet.backend import Backend
from mcnet.networks.dense import rescaled
from mcnet.point import Point
from mcnet.weights.explicit import ExplicitMatrix
from mcnet.weights.laws import AbstractMatrix, Array


class Product(NamedTuple):
    """The Jacobian up to some layer.

    Attributes
    ----------
    j : Array, shape (N, M, M_0)
        Divided by 2^exponent.
    exponent : Array, shape (N,), float64
    """

    j: Array
    exponent: Array


def through_layer(point: Point, below: Product | None, matrix: AbstractMatrix, u: Array, backend: Backend) -> Product:
    """D_l W_l times the product below (the identity at the input), at input 0.

    Parameters
    ----------
    point : Point
    below : Product or None
    matrix : AbstractMatrix
        W_l, a built one: all its entries are needed.
    u : Array, shape (N, T, M)
        Pre-activations u^l in the difference basis.
    backend : Backend
    """
    assert isinstance(matrix, ExplicitMatrix)
    xp: Any = backend.xp
    first = u[:, 0, :]
    slope = point.activation.dphi(first, backend.mathematics(first))[:, :, None]  # (N, M, 1)
    if below is None:
        j, shift = rescaled(xp, slope * matrix.entries())
        return Product(j, shift + backend.place(np.zeros(1)))
    j, shift = rescaled(xp, slope * matrix.product(below.j))
    return Product(j, below.exponent + shift)
