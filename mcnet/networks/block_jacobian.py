"""The Jacobian D_l W_l of each hidden layer of a dense network, at input 0: singular values, or the largest alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcnet.backend import Backend
from mcnet.networks import extremes
from mcnet.networks.jacobian import slopes
from mcnet.point import Point
from mcnet.weights.explicit import ExplicitMatrix
from mcnet.weights.laws import AbstractMatrix, Array, Ensemble

Floats = NDArray[np.float64]


def singular_values(point: Point, matrix: AbstractMatrix, u: Array, backend: Backend) -> Floats:
    """Those of one layer, the largest first: (N, min(M, M_(l-1))).

    Parameters
    ----------
    point : Point
    matrix : AbstractMatrix
        W_l, a built one.
    u : Array, shape (N, T, M)
        Pre-activations in the difference basis.
    backend : Backend
    """
    assert isinstance(matrix, ExplicitMatrix)
    xp, slope = backend.xp, slopes(point, u, backend)
    if matrix.turns:  # D W times W^T is diagonal
        found = backend.fetch(xp.abs(slope[:, :, 0]) * matrix.scale)
        return np.asarray(-np.sort(-found.astype(np.float64), axis=1))
    entries, scale = matrix.unscaled()
    return np.asarray(backend.fetch(xp.linalg.svdvals(entries * (slope * scale))), dtype=np.float64)


def largest(point: Point, matrix: AbstractMatrix, columns: int, u: Array, ensemble: Ensemble) -> Floats:
    """Largest eigenvalue of D W W^T D of one layer, by products: (N,)."""
    operator = extremes.JacobianOperator(point, ensemble.backend)
    operator.add(matrix, u)
    return extremes.largest(operator, point, ensemble, columns)


def stacked(layers: Sequence[Floats], count: int) -> Floats:
    """Of layers 1, 2, ...: (N or 1, k_l) each -> (N, layers + 1, k), NaN at layer 0 and beyond k_l."""
    found = np.full((count, len(layers) + 1, max(part.shape[1] for part in layers)), np.nan)
    for layer, part in enumerate(layers, 1):
        found[:, layer, : part.shape[1]] = part
    return found
