"""The largest eigenvalues of a symmetric operator from its products: block Lanczos with full reorthogonalisation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TOLERANCE = 1e-11
"""Residual, relative to the largest eigenvalue, at which an eigenvalue counts as found."""


def largest(product: Callable[[Floats], Floats], start: Floats, count: int) -> Floats:
    """The ``count`` largest eigenvalues of a symmetric positive semidefinite operator, descending.

    Parameters
    ----------
    product : callable
        From a vector (n,) to the operator times it.
    start : (n, b)
        Block of first vectors, b >= count. Eigenvalues of multiplicity up to b are found with their multiplicity; an
        eigenvector that all of them are orthogonal to is not.
    count : int

    Returns
    -------
    ndarray, shape (count,)
        NaN if the products are not finite.

    Notes
    -----
    The Krylov space grows by b vectors a step, each orthogonalised twice against all before, until the residuals of the
    wanted Ritz values, |A x - theta x|, fall below :data:`TOLERANCE` of the largest, or the space is full or invariant:
    then they are exact to rounding. The error of a Ritz value is at most its residual, and of the order of its square
    over the gap (Parlett, The Symmetric Eigenvalue Problem, chapter 13).
    """
    n = len(start)
    basis = np.zeros((n, 0))
    images = np.zeros((n, 0))
    block = start
    while True:
        fresh = _outside(basis, block)
        if not fresh.shape[1]:
            return _ritz(basis, images, count)[0]
        basis = np.hstack([basis, fresh])
        image = np.stack([product(column) for column in fresh.T], axis=1)
        if not np.isfinite(image).all():
            return np.full(count, np.nan)
        images = np.hstack([images, image])
        values, vectors = _ritz(basis, images, count)
        if basis.shape[1] >= count:
            residual = images @ vectors - basis @ vectors * values
            if np.all(np.linalg.norm(residual, axis=0) <= TOLERANCE * abs(values[0])):
                return values
        if basis.shape[1] == n:
            return values
        block = image


def _outside(basis: Floats, block: Floats) -> Floats:
    """Orthonormal columns for the part of the block outside the span of the basis; what is lost in rounding dropped."""
    columns: list[Floats] = []
    for column in block.T:
        rest, size = column, float(np.linalg.norm(column))
        for _ in range(2):
            rest = rest - basis @ (basis.T @ rest)
            for other in columns:
                rest = rest - other * (other @ rest)
        length = float(np.linalg.norm(rest))
        if length > 1e-12 * size and len(columns) + basis.shape[1] < len(column):
            columns.append(rest / length)
    return np.stack(columns, axis=1) if columns else np.zeros((len(block), 0))


def _ritz(basis: Floats, images: Floats, count: int) -> tuple[Floats, Floats]:
    small = basis.T @ images
    values, vectors = np.linalg.eigh(0.5 * (small + small.T))
    return values[::-1][:count], vectors[:, ::-1][:, :count]
