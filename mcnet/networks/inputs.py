"""The inputs of the networks: drawn from the input stream, or given; and their Gram matrix without drawing them.

Most of it is in the difference basis (x_0, x_1 - x_0, ..., x_(T-1) - x_0): close inputs keep their distance to full
precision.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet import streams
from mcnet.backend import Backend
from mcnet.kernels import grams
from mcnet.kernels.basis import Basis
from mcnet.point import Inputs, Point

CHUNK = 1 << 16
"""Components drawn at a time where only the Gram matrix is wanted."""


def draw(point: Point, seed: int, start: int, stop: int, backend: Backend, sites: int = 1) -> Any:
    """Input vectors of networks start..stop.

    Parameters
    ----------
    point : Point
    seed : int
        Seed of the study.
    start, stop : int
    backend : Backend
    sites : int
        Vectors of one input: positions, tokens. Of random kinds those of different sites are independent, and what is
        said of two inputs holds at each site.

    Returns
    -------
    Array, shape (N or 1, T, sites M_0), float64
        The vectors of an input one after the other. A leading 1 where all networks share one set.
    """
    if point.inputs.values is not None:
        return backend.place(_given_rows(point.inputs)[None])
    x = differences(point, seed, start, stop, backend, sites)
    return backend.xp.concat([x[:, :1, :], x[:, 1:, :] + x[:, :1, :]], axis=1)


def rows(point: Point, seed: int, start: int, stop: int, backend: Backend, basis: Basis) -> Any:
    """As :func:`draw`, in a basis."""
    return (differences if basis.differences else draw)(point, seed, start, stop, backend)


def differences(point: Point, seed: int, start: int, stop: int, backend: Backend, sites: int = 1) -> Any:
    """As :func:`draw`, in the difference basis.

    Notes
    -----
    single, pair: directions e_0, e_1 are rows 0 and 1 of the stream, normalised and made orthogonal;
    x_0 = r e_0 and x_1 = r (c0 e_0 + sqrt(1 - c0^2) e_1), r = sqrt(q0 M_0), so lengths and correlation hold exactly
    (to 1e-15). gaussian: every component is an independent N(0, G), G = q0 [(1 - c0) I + c0 11^T].
    """
    inputs = point.inputs
    if inputs.values is not None:
        values = _given_rows(inputs)
        return backend.place(np.concatenate([values[:1], values[1:] - values[:1]])[None])
    if sites > 1:
        return _at_sites(point, seed, start, stop, backend, sites)
    return _differences(point, backend, _normals(point, seed, start, stop, backend, 0, inputs.dimension))


def _at_sites(point: Point, seed: int, start: int, stop: int, backend: Backend, sites: int) -> Any:
    """Site p of all inputs from the components p M_0 ... (p + 1) M_0 of their rows of the stream."""
    size = point.inputs.dimension
    parts = [
        _differences(point, backend, _normals(point, seed, start, stop, backend, site * size, size))
        for site in range(sites)
    ]
    return backend.xp.concat(parts, axis=2)


def _differences(point: Point, backend: Backend, normals: Any) -> Any:
    """Inputs of a random kind from their rows of normals, (N, T, M_0)."""
    xp, inputs = backend.xp, point.inputs
    if inputs.kind == "gaussian":
        return xp.matmul(backend.place(_factor(inputs)[None]), normals)
    first = _unit(xp, normals[:, :1, :])
    scale = math.sqrt(_given(inputs.q0) * inputs.dimension)
    if inputs.kind == "single":
        return scale * first
    second = normals[:, 1:2, :]
    for _ in range(2):
        second = _unit(xp, second - xp.expand_dims(xp.vecdot(second, first), axis=-1) * first)
    c0 = _given(inputs.c0)
    return scale * xp.concat([first, (c0 - 1.0) * first + math.sqrt((1.0 - c0) * (1.0 + c0)) * second], axis=1)


def gram(point: Point, seed: int, start: int, stop: int, backend: Backend, sites: int = 1) -> Any:
    """Gram matrices x.x/M_0 of the inputs in the difference basis, the mean over the sites of an input.

    Returns
    -------
    Array, shape (N or 1, T, T), float64
        Exact for single and pair; for gaussian inputs summed over chunks of components, so that no input is stored.
    """
    inputs = point.inputs
    if inputs.kind == "single":
        return backend.place(np.full((1, 1, 1), _given(inputs.q0)))
    if inputs.kind == "pair":
        q0, distance = _given(inputs.q0), 1.0 - _given(inputs.c0)
        return backend.place(q0 * np.array([[[1.0, -distance], [-distance, 2.0 * distance]]]))
    xp = backend.xp
    if inputs.values is not None:
        x = differences(point, seed, start, stop, backend)
        return xp.matmul(x, xp.matrix_transpose(x)) / x.shape[2]
    total: Any = 0.0
    size = sites * inputs.dimension
    for column in range(0, size, CHUNK):
        part = _normals(point, seed, start, stop, backend, column, min(CHUNK, size - column))
        total = total + xp.matmul(part, xp.matrix_transpose(part))
    factor = backend.place(_factor(inputs)[None])
    return xp.matmul(xp.matmul(factor, total), xp.matrix_transpose(factor)) / size


def gram_of_inputs(point: Point, seed: int, start: int, stop: int, backend: Backend, sites: int = 1) -> Any:
    """The same of the inputs themselves: the length of a short one keeps its digits beside long ones."""
    if point.inputs.values is None:
        return grams.to_plain(gram(point, seed, start, stop, backend, sites))
    x = draw(point, seed, start, stop, backend)
    return backend.xp.matmul(x, backend.xp.matrix_transpose(x)) / x.shape[2]


def spread(inputs: Inputs) -> float:
    """How much shorter than input 0 the shortest given input is, in squared lengths; 0 for inputs that are drawn.

    Inputs that are zero count for nothing.
    """
    if inputs.values is None:
        return 0.0
    x = _given_rows(inputs)
    squares = np.vecdot(x, x)
    return float(squares[0] / squares[squares > 0.0].min(initial=np.inf))


def _given_rows(inputs: Inputs) -> NDArray[np.float64]:
    """Values with the sites of an input one after the other, (T, sites M_0)."""
    return np.asarray(inputs.values, dtype=np.float64).reshape(inputs.count, -1)


def _normals(point: Point, seed: int, start: int, stop: int, backend: Backend, column: int, columns: int) -> Any:
    """Components column.. of the rows of the input stream: the point's own if fresh, else one set for the study."""
    key = streams.point_key(seed, point.key) if point.inputs.fresh else streams.seed_key(seed)
    start, stop = (start, stop) if point.inputs.fresh else (0, 1)
    return backend.kernels.normals(
        key,
        start,
        stop,
        streams.INPUTS,
        0,
        point.inputs.count,
        columns,
        first_row=0,
        first_column=column,
        dtype=backend.xp.float64,
    )


def _factor(inputs: Inputs) -> NDArray[np.float64]:
    """Lower triangular F with F F^T = G of gaussian inputs in the difference basis; first inputs come first."""
    c0 = 0.0 if inputs.c0 is None else inputs.c0
    scale, count = math.sqrt(_given(inputs.q0)), inputs.count
    factor = np.zeros((count, count))
    factor[0, 0] = 1.0
    # input t > 0: given those before, mean and spread of an exchangeable Gaussian; closed form of the Cholesky factor
    for s in range(1, count):
        spread = (1.0 - c0) * (1.0 + s * c0) / (1.0 + (s - 1) * c0) if 1.0 + (s - 1) * c0 > 0.0 else 0.0
        root = math.sqrt(max(spread, 0.0))
        factor[s + 1 :, s] = c0 * (1.0 - c0) / (1.0 + (s - 1) * c0) / root if root else 0.0
        factor[s, s] = root
        factor[s, 0] = c0 - 1.0
    return scale * factor


def _unit(xp: Any, vectors: Any) -> Any:
    return vectors / xp.sqrt(xp.expand_dims(xp.vecdot(vectors, vectors), axis=-1))


def _given(value: float | None) -> float:
    assert value is not None  # the scenario has resolved it
    return value
