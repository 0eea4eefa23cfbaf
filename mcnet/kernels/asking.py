"""First questions to Gaussian matrices, answered in one pass on the CPU; see :mod:`mcnet.weights.asked`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mcnet import streams
from mcnet.kernels.vectors import FEW_ROWS, in_line

Array = Any

LONG_ROWS = 256
"""Units from which normals are made row by row."""


class Place(NamedTuple):
    """Whose normals are taken: networks from ``start`` on, of a layer."""

    key: streams.Key
    start: int
    networks: int
    layer: int


class Answer(NamedTuple):
    """An answer from the left; all but vectors are float64.

    Attributes
    ----------
    answer : ndarray, shape (N, r, n)
    fresh : ndarray, shape (N, r, n)
        The normals that it was made of; of one network alone where they were not to be kept.
    c, inverse : ndarray, shape (N, r, r)
        Cholesky factor of the questions, and its inverse.
    told : ndarray, shape (N, r, k)
        Products of the orthonormal questions d with the answers U.
    bias : ndarray, shape (N, r)
    """

    answer: Array
    fresh: Array
    c: Array
    inverse: Array
    told: Array
    bias: Array


class Asked(NamedTuple):
    """What a matrix was asked from the right.

    Attributes
    ----------
    answers : Array, shape (N, k, m)
        U, of the orthonormal questions.
    questions : Array, shape (N or 1, k, n)
    inverse : Array, shape (N or 1, k, k), float64
        Of their Cholesky factor.
    constants : Array, shape (k,), float64
    deviation, shift : float
        Of entries and of biases.
    """

    answers: Array
    questions: Array
    inverse: Array
    constants: Array
    deviation: float
    shift: float


def fits(xp: Any, rows: Array, columns: int) -> bool:
    """Whether there is a program for questions and answers of so many units."""
    return xp is np and rows.dtype == np.float32 and rows.shape[1] <= FEW_ROWS and columns >= LONG_ROWS


def forward(c: Array, columns: int, place: Place, keep: bool) -> tuple[Array, Array]:
    """C z with fresh normals z (N, r, ``columns``) of role 4, and z, which else never leaves the cache.

    Parameters
    ----------
    c : Array, shape (N or 1, r, r), float64
    columns : int
    place : Place
    keep : bool
        Whether z is wanted of more than one network.
    """
    answer, fresh = _vectors(place.networks, c.shape[1], columns, keep)
    table = np.ascontiguousarray(c).reshape(-1)
    where = _stream(place, streams.FORWARD)
    _program().forward(answer.reshape(-1), fresh.reshape(-1), table, *answer.shape, *where)
    return answer, fresh


def backward(d: Array, bias: Array, asked: Asked, tolerance: float, place: Place, keep: bool) -> Answer:
    """Answers to questions d (N or 1, r, m) from the left; fresh normals are of role 5, ``bias`` (N, r) theirs."""
    rows, inputs = d.shape[1], asked.questions.shape[2]
    small = (place.networks, rows, rows)
    told = np.empty((place.networks, rows, asked.questions.shape[1]))
    made = Answer(*_vectors(place.networks, rows, inputs, keep), np.zeros(small), np.zeros(small), told, np.array(bias))
    vectors, steps = zip(*(in_line(part) for part in (d, asked.answers, asked.questions)), strict=True)
    _program().backward(
        *(part.reshape(-1) for part in made),
        *vectors,
        np.ascontiguousarray(asked.inverse).reshape(-1),
        asked.constants,
        steps,
        place.networks,
        told.shape[1:],
        d.shape[2],
        inputs,
        asked.deviation,
        asked.shift,
        tolerance,
        *_stream(place, streams.BACKWARD),
    )
    return made


def _vectors(networks: int, rows: int, columns: int, keep: bool) -> tuple[Array, Array]:
    """Room for an answer and for normals."""
    answer = np.empty((networks, rows, columns), np.float32)
    return answer, np.empty((networks if keep else 1, rows, columns), np.float32)


def _stream(place: Place, role: int) -> tuple[int, int, int, int]:
    return place.start, role << 24 | place.layer, place.key.k0, place.key.k1


def _program() -> Any:
    from mcnet.kernels.lanes.programs import program  # Numba, which other devices do without

    return program("asking")
