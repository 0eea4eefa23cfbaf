"""Fisher information of one input with as many outputs as the width, through its dual, layer by layer.

For input 0 and the output u^L of the last hidden layer before its activation, all weights trained,

    Theta_L = sum_l q_hat_(l-1) J_l J_l^T,   J_l = du^L/du^l,   q_hat_(l-1) = |h^(l-1)|^2 / M                (1)

is M x M and has the non-zero eigenvalues of the Fisher matrix, divided by M (Hayase and Karakida 2020). It grows by

    Theta_1 = q_hat_0,      Theta_(l+1) = q_hat_l + W_(l+1) D_l Theta_l D_l W_(l+1)^T ;                      (2)

trained biases add 1/M to every q_hat.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mcnet.backend import Backend
from mcnet.kernels import linalg
from mcnet.networks.jacobian import slopes
from mcnet.point import Point
from mcnet.weights.explicit import ExplicitMatrix
from mcnet.weights.laws import AbstractMatrix, Array


class Dual(NamedTuple):
    """Theta_l of equation (2) and what the next layer needs.

    Attributes
    ----------
    theta : Array, shape (N, M, M)
        Of the type of the activations.
    slope : Array, shape (N, M, 1)
        phi'(u^l).
    """

    theta: Array
    slope: Array


def through_layer(
    point: Point, below: Dual | None, matrix: AbstractMatrix, h: Array, u: Array, backend: Backend
) -> Dual:
    """Theta_l from Theta_(l-1).

    Parameters
    ----------
    point : Point
    below : Dual or None
    matrix : AbstractMatrix
        W_l, a built one.
    h : Array, shape (N or 1, T, M_(l-1))
        Activations h^(l-1), in the difference basis: input 0 counts.
    u : Array, shape (N, T, M)
    backend : Backend
    """
    assert isinstance(matrix, ExplicitMatrix)
    xp: Any = backend.xp
    first = xp.astype(h[:, 0, :], xp.float64)
    trained = 1.0 if point.train_biases else 0.0
    length = xp.astype((xp.vecdot(first, first) + trained) / point.width, u.dtype)  # (N,)
    one = xp.astype(backend.place(np.eye(point.width)[None]), u.dtype)
    theta = xp.broadcast_to(length[:, None, None] * one, (u.shape[0], point.width, point.width))
    if below is not None:
        weighted = below.slope * below.theta * linalg.transpose(xp, below.slope)
        half, scale = matrix.product(weighted)  # W D Theta D
        whole, _ = matrix.product(linalg.transpose(xp, half))
        theta = theta + scale**2 * whole
    return Dual(theta, slopes(point, u, backend))


def eigenvalues(dual: Dual, backend: Backend) -> Array:
    """Eigenvalues of Theta, the largest first: (N, M), float64."""
    xp = backend.xp
    theta = xp.astype(dual.theta, xp.float64)
    return linalg.eigenvalues(xp, (theta + linalg.transpose(xp, theta)) / 2)
