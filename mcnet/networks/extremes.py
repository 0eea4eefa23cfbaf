"""The largest eigenvalue of J J^T by Lanczos steps: J is only multiplied, so its matrices need not be built.

Each step asks every matrix one question forward and one backward. With conditioned matrices k steps of a network of
width M cost O(depth k^2 M) and hold O(depth k M) numbers, where building the matrices would take depth M^2.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mcnet import streams
from mcnet.backend import Backend
from mcnet.errors import McnetError
from mcnet.kernels.linalg import extend
from mcnet.networks.jacobian import slopes
from mcnet.point import Point
from mcnet.weights.laws import AbstractMatrix, Array, Ensemble

Floats = NDArray[np.float64]

TOLERANCE = 1e-3
"""Relative accuracy of the largest eigenvalue."""

SAFETY = 0.25
"""The estimated error must fall below this share of the tolerance."""

EXHAUSTED = 1e-6
"""Coupling to the next vector, in units of the eigenvalue, below which there is none: the rest is rounding."""

MAX_STEPS = 300


class Operator(Protocol):
    """J of N networks, known by its products."""

    def normal_product(self, v: Array) -> Array:
        """J^T J v: (N, 1, n) -> the same, float64."""
        ...


class JacobianOperator:
    """J of input 0 of N networks as products with its layers, the first one first.

    Parameters
    ----------
    point : Point
    backend : Backend
    """

    def __init__(self, point: Point, backend: Backend) -> None:
        self._point, self._backend = point, backend
        self._matrices: list[AbstractMatrix] = []
        self._slopes: list[Array] = []
        self._none = backend.place(np.zeros(1))  # no bias in a product with J

    def add(self, matrix: AbstractMatrix, u: Array) -> None:
        """The next layer: its matrix and pre-activations (N, T, M) in the difference basis."""
        self._matrices.append(matrix)
        self._slopes.append(self._backend.xp.matrix_transpose(slopes(self._point, u, self._backend)))

    def normal_product(self, v: Array) -> Array:
        """J^T J v: (N, 1, M_0) -> the same, float64."""
        xp = self._backend.xp
        dtype = self._slopes[0].dtype
        x = xp.astype(v, dtype)
        for matrix, slope in zip(self._matrices, self._slopes, strict=True):
            x = slope * matrix.apply(x, self._none)
        for matrix, slope in zip(reversed(self._matrices), reversed(self._slopes), strict=True):
            x = matrix.apply_transpose(slope * x)
        return xp.astype(x, xp.float64)


def largest(operator: Operator, point: Point, ensemble: Ensemble, columns: int | None = None) -> Floats:
    """The largest eigenvalue of J J^T of each network to a relative :data:`TOLERANCE`, (N,).

    Parameters
    ----------
    operator : Operator
    point : Point
    ensemble : Ensemble
    columns : int, optional
        Of J; default: the components of an input.

    Raises
    ------
    McnetError
        If it is not found in :data:`MAX_STEPS` steps.

    Notes
    -----
    Lanczos on J^T J with full reorthogonalisation, from a random vector (role 6, layer 0). With theta the largest Ritz
    value, r its residual and g its distance to the second one, the error is about min(r, r^2/g) (Parlett, The Symmetric
    Eigenvalue Problem, chapter 11). Where that is below a quarter of the tolerance theta has found an eigenvalue, but
    not always the largest: one that the first vector hardly contains shows later. So half as many steps again are made,
    and the value is taken if it has not moved by more; whatever the networks beside it. A J of low rank (slopes that
    are zero) leaves nothing to multiply earlier: where the coupling to the next vector is rounding, the space is all
    that the first vector reaches, and the value is taken.
    """
    backend = ensemble.backend
    xp, size = backend.xp, columns or point.inputs.dimension
    v = ensemble.normals(streams.PROBES, 0, 1, size, dtype=xp.float64, first=(0, 0))
    basis = extend(xp, backend.place(np.empty((1, 0, size))), v).basis
    found = np.full(ensemble.count, np.nan)
    diagonal, beside = np.empty((ensemble.count, 0)), np.empty((ensemble.count, 0))
    candidate, confirmed_at = np.zeros(ensemble.count), np.zeros(ensemble.count)
    for step in range(1, min(size, MAX_STEPS) + 1):
        image = operator.normal_product(basis[:, -1:, :])
        grown = extend(xp, basis, image)
        coefficients = backend.fetch(grown.coefficients)[:, 0, :]  # the image in the basis: (N, step + 1)
        diagonal = np.concatenate([diagonal, coefficients[:, step - 1 : step]], axis=1)
        beside = np.concatenate([beside, coefficients[:, step:]], axis=1)
        basis = grown.basis
        for n in np.flatnonzero(np.isnan(found)):
            value, error = _ritz(diagonal[n], beside[n])
            if step == size or beside[n, -1] <= EXHAUSTED * value:
                found[n] = value
            elif error > SAFETY * TOLERANCE * value or step < confirmed_at[n]:
                continue
            elif confirmed_at[n] and value - candidate[n] <= SAFETY * TOLERANCE * value:
                found[n] = value
            else:
                candidate[n], confirmed_at[n] = value, math.ceil(1.5 * step) + 10
        if not np.isnan(found).any():
            return found
    raise McnetError(
        f"the largest singular value of the Jacobian was not found to {TOLERANCE:g} in {MAX_STEPS} steps at width "
        f"{point.width}, depth {point.depth}; below width 10^4 the measure jacobian gives the whole spectrum"
    )


def _ritz(diagonal: Floats, beside: Floats) -> tuple[float, float]:
    """Largest Ritz value and an estimate of its error; ``beside[-1]`` couples to the next vector."""
    small: Any = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    values, vectors = np.linalg.eigh(small)
    residual = float(abs(beside[-1] * vectors[-1, -1]))
    if len(values) < 2 or residual == 0.0:
        return float(values[-1]), residual
    gap = float(values[-1] - values[-2])
    return float(values[-1]), min(residual, residual**2 / gap if gap > 0.0 else residual)
