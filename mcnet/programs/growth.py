"""How fast small changes of the input grow on their way through a program: QR decompositions of the tangent pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcnet.backend import Backend
from mcnet.kernels.linalg import extend
from mcnet.programs.tape import Vector

Array = Any


def stretches(backend: Backend, tape: Sequence[Vector], start: Array, stops: Mapping[int, int], steps: int) -> Array:
    """Diagonals of R at some vectors on the way: the k-th direction has grown by the k-th entry since the last one.

    Parameters
    ----------
    backend : Backend
    tape : sequence of Vector
        The input first.
    start : Array, shape (N, K, n), n = P M_0
        Orthonormal changes of input 0.
    stops : mapping of id of a vector to number
        Where directions are made orthonormal again, in this order.
    steps : int

    Returns
    -------
    Array, shape (N, K, steps), float64
        Zero where the changes do not reach a vector.

    Notes
    -----
    The tangent pass is linear, so that one triangular matrix takes the changes of *all* vectors from one set of
    directions to another: after a stop all that are still needed are multiplied with the inverse of R. The products of
    the diagonals are those of the QR decomposition of the Jacobian from the input to that vector, whatever else than
    that vector (cells, leaky states) carries the changes on.
    """
    xp, source = backend.xp, tape[0]
    shape = (*start.shape[:2], 1, source.value.shape[2], source.units)
    known: dict[int, Array] = {id(source): xp.astype(xp.reshape(start, shape), source.value.dtype)}
    last = {id(parent): place for place, v in enumerate(tape) for parent in v.parents}
    found = [xp.zeros_like(start[:, :, 0])] * steps
    for place, v in enumerate(tape):
        if any(id(parent) in known for parent in v.parents):
            parts = [known.get(id(parent), parent.value[:1, None, :1, ...] * 0.0) for parent in v.parents]
            assert v.push is not None
            known[id(v)] = v.push(parts, 1)
        known = {key: tangent for key, tangent in known.items() if last.get(key, -1) > place or key == id(v)}
        if id(v) in stops and id(v) in known:
            diagonal, inverse = _triangular(backend, known[id(v)])
            found[stops[id(v)]] = diagonal
            known = {key: _combined(xp, inverse, tangent) for key, tangent in known.items()}
    return xp.stack(found, axis=-1)


def _triangular(backend: Backend, tangent: Array) -> tuple[Array, Array]:
    """Diagonal of R, (N, K), and its inverse transpose, (N, K, K); rows of zeros where nothing is left."""
    xp = backend.xp
    wide = xp.astype(tangent, xp.float64)
    rows = xp.reshape(wide, (*wide.shape[:2], -1))
    c = extend(xp, backend.place(np.empty((1, 0, rows.shape[-1]))), rows).coefficients
    diagonal = xp.linalg.diagonal(c)
    there = diagonal > 0.0
    whole = c + xp.where(there, 0.0 * diagonal, xp.ones_like(diagonal))[:, None, :] * backend.place(np.eye(c.shape[-1]))
    inverse = xp.linalg.inv(whole) * xp.astype(there, xp.float64)[:, :, None]
    return diagonal, inverse


def _combined(xp: Any, inverse: Array, tangent: Array) -> Array:
    networks, directions, inputs, sites, units = tangent.shape
    flat = xp.reshape(xp.astype(tangent, xp.float64), (networks, directions, -1))
    moved = xp.matmul(inverse, flat)
    return xp.astype(xp.reshape(moved, (moved.shape[0], directions, inputs, sites, units)), tangent.dtype)
