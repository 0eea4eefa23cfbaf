"""Cholesky factors of questions that come one block after the other, and their inverses; float64."""

from __future__ import annotations

from typing import Any

from mcnet.backend import Backend
from mcnet.kernels.vectors import cholesky
from mcnet.weights.laws import Array

RANK_TOLERANCE = 1e-11
"""A pivot below this share of a question's squared length is zero: what is left of a float32 vector inside a span."""


class Square:
    """Products of the rows of one block of questions; the factors of several matrices that begin with it are one.

    Parameters
    ----------
    backend : Backend
    products : Array, shape (N or 1, r, r), float64
    """

    def __init__(self, backend: Backend, products: Array) -> None:
        self._xp, self.products = backend.xp, products
        self._corners: dict[tuple[float, float], Corner] = {}

    def corner(self, scale: float, bias: float, constants: Array) -> Corner:
        """Of scale x.x + bias c c^T."""
        known = self._corners.get((scale, bias))
        if known is None:
            square = scale * self.products + bias * (constants[:, None] * constants[None, :])
            known = self._corners[scale, bias] = Corner(self._xp, square, self._xp.linalg.diagonal(square))
        return known


class Corner:
    """Lower Cholesky factor of products, rows inside the span before without pivot, and its inverse where it is needed.

    Parameters
    ----------
    xp : namespace
    square : Array, shape (N, r, r)
        Products of what is left of the rows.
    size : Array, shape (N, r)
        Their squared lengths before anything was taken away.
    tolerance : float
        See :data:`RANK_TOLERANCE`.
    """

    def __init__(self, xp: Any, square: Array, size: Array, tolerance: float = RANK_TOLERANCE) -> None:
        self._xp = xp
        self.c, self._scales = cholesky(xp, square, size, tolerance)
        self._inverse: Array = None

    @classmethod
    def known(cls, xp: Any, c: Array, inverse: Array) -> Corner:
        """One that is factored already."""
        corner = cls.__new__(cls)
        corner._xp, corner.c, corner._scales, corner._inverse = xp, c, None, inverse
        return corner

    @property
    def inverse(self) -> Array:
        """C^-1 on the rows with a pivot, zero elsewhere: (N, r, r)."""
        if self._inverse is None:
            self._inverse = inverted(self._xp, self.c, self._scales)
        return self._inverse


class Factor:
    """Q Q^T = C C^T of questions that come one block after the other; rows inside the span before have no pivot."""

    def __init__(self, backend: Backend) -> None:
        self._xp = backend.xp
        self._first: Corner | None = None
        self._inverse: Array = None

    @property
    def inverse(self) -> Array:
        """C^-1 on the rows with a pivot (zero elsewhere), (N or 1, k, k), float64."""
        if self._inverse is None:
            assert self._first is not None
            self._inverse = self._first.inverse
        return self._inverse

    def begin(self, corner: Corner) -> None:
        """The first questions."""
        self._first = corner

    def grow(self, before: Array, square: Array) -> tuple[Array, Corner]:
        """Add r questions.

        Parameters
        ----------
        before : Array, shape (N or 1, r, k)
            Their products with the questions before.
        square : Array, shape (N or 1, r, r)
            Their products with each other.

        Returns
        -------
        tuple of Array and Corner
            The new rows of C: (N, r, k) and the square beside them.
        """
        xp = self._xp
        if not before.shape[2]:
            self.begin(Corner(xp, square, xp.linalg.diagonal(square)))
            assert self._first is not None
            return before, self._first
        below = xp.matmul(before, xp.matrix_transpose(self.inverse))
        rest = square - xp.matmul(below, xp.matrix_transpose(below))
        corner = Corner(xp, rest, xp.linalg.diagonal(square))
        down = -xp.matmul(corner.inverse, xp.matmul(below, self.inverse))
        self._inverse = _joined(xp, self.inverse, down, corner.inverse)
        return below, corner


def factored(xp: Any, square: Array, size: Array, tolerance: float = RANK_TOLERANCE) -> tuple[Array, Array]:
    """Lower Cholesky factor of (N, r, r), and its inverse on the rows with a pivot; ``size`` (N, r): of full rows."""
    corner = Corner(xp, square, size, tolerance)
    return corner.c, corner.inverse


def inverted(xp: Any, c: Array, scales: Array) -> Array:
    """Row t of the inverse: (e_t - sum_s c_ts row_s) / c_tt."""
    inverse = xp.zeros_like(c)
    for t in range(c.shape[1]):
        inverse[:, t, t] = scales[:, t]
        if t:
            before = xp.matmul(c[:, t : t + 1, :t], inverse[:, :t, :t])
            inverse[:, t, :t] = -scales[:, t][:, None] * before[:, 0, :]
    return inverse


def _joined(xp: Any, corner: Array, below: Array, square: Array) -> Array:
    """[[corner, 0], [below, square]]."""
    if not corner.shape[1]:
        return square
    lead = max(corner.shape[0], below.shape[0], square.shape[0])
    corner, below, square = (xp.broadcast_to(part, (lead, *part.shape[1:])) for part in (corner, below, square))
    zero = xp.zeros_like(xp.matrix_transpose(below))
    return xp.concat([xp.concat([corner, zero], axis=2), xp.concat([below, square], axis=2)], axis=1)
