"""The Jacobian of a vector of a sampled program with respect to its input or another vector, by products.

At input 0, all rows of both vectors side by side; at all inputs where the program mixes them. With respect to a vector
on the way everything that does not pass it is held fixed.
J v is a tangent pass and J^T d a backward pass: matrices may be asked, and extreme singular values follow by Lanczos
steps (:func:`mcnet.networks.extremes.largest` reads :meth:`Jacobian.normal_product`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mcnet.backend import Backend
from mcnet.programs import rows
from mcnet.programs.passes import powers, reverse, tangents
from mcnet.programs.tape import Vector

Array = Any


@dataclass(frozen=True)
class Jacobian:
    """J of N networks, (n', n).

    Attributes
    ----------
    backend : Backend
    tape : tuple of Vector
        The input first.
    source : Vector
        With respect to what; it comes before the target.
    target : Vector
    inputs : int
        How many inputs take part.
    mixing : bool
        Whether the program mixes inputs.
    """

    backend: Backend
    tape: tuple[Vector, ...]
    source: Vector
    target: Vector
    inputs: int
    mixing: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(n', n)."""
        sizes = [self.inputs * rows.sites_of(v.axes) * v.units for v in (self.target, self.source)]
        return sizes[0], sizes[1]

    def product(self, v: Array) -> Array:
        """J v: (N or 1, K, n) -> (N, K, n'), float64."""
        xp, source = self.backend.xp, self.source
        start = self._shaped(v, source)
        start = rows.to_difference(xp, start)
        found = tangents(self.tape, {id(source): start}, self.target, self.inputs, lambda _: None)
        if found is None:  # a vector that the source does not reach
            return xp.zeros((*v.shape[:2], self.shape[0]), dtype=xp.float64)
        return self._flat(rows.to_plain(xp, xp.astype(found, xp.float64)))

    def transposed(self, d: Array) -> Array:
        """J^T d: (N or 1, K, n') -> (N, K, n), float64."""
        xp, source = self.backend.xp, self.source
        found: list[Array] = []

        def visit(v: Vector, c: Array, exponent: Array) -> None:
            if v is source:
                wide = xp.astype(c, xp.float64)
                found.append(self._flat(wide * powers(xp, exponent, wide)))

        reverse(self.backend, self.tape, (self.target, self._shaped(d, self.target)), [source], visit)
        return found[0]

    def normal_product(self, v: Array) -> Array:
        """J^T J v."""
        return self.transposed(self.product(v))

    def entries(self) -> Array:
        """J itself, (N, n', n): every unit of the source asks a question; for matrices that are built."""
        identity = self.backend.place(np.eye(self.shape[1])[None])
        return self.backend.xp.matrix_transpose(self.product(identity))

    def _shaped(self, flat: Array, v: Vector) -> Array:
        """(N, K, n) -> (N, K, T, P, M), of the type of a vector."""
        xp = self.backend.xp
        shape = (*flat.shape[:2], self.inputs, rows.sites_of(v.axes), v.units)
        return xp.astype(xp.reshape(flat, shape), v.value.dtype)

    def _flat(self, array: Array) -> Array:
        return self.backend.xp.reshape(array, (*array.shape[:2], -1))
