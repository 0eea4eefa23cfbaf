"""What networks are trained to give: targets of all inputs, (N or 1, C, T), float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet import streams
from mcnet.backend import Backend
from mcnet.point import Point
from mcnet.recipe import Recipe

Floats = NDArray[np.float64]

TEACHER_WIDTH = 200


def targets(point: Point, recipe: Recipe, seed: int, x: Floats, backend: Backend) -> Floats:
    """Targets of all inputs; those of inputs that are not trained on are NaN where nobody gives them.

    Parameters
    ----------
    point : Point
    recipe : Recipe
    seed : int
        Of the study: the teacher is one for all networks.
    x : ndarray, shape (N or 1, T, sites M_0)
        The inputs.
    backend : Backend

    Notes
    -----
    The teacher is y_k = V_k tanh(U x) with 200 units, U ~ N(0, 1/dim x), V ~ N(0, 1/200), from the streams of the seed
    (role 3; layers 1 and 2); its class is the largest output. Labels and classes: 1 for the class and 0 for others;
    with one output the labels are 1 for an odd number and -1 for an even one.
    """
    outputs, count = point.outputs or 1, point.inputs.count
    if recipe.targets == "zero":
        return np.zeros((1, outputs, count))
    if recipe.targets == "values":
        given = np.asarray(recipe.target_values, np.float64).T[None]  # (1, C, T)
        rest = np.full((1, outputs, count - given.shape[2]), np.nan)
        return np.concatenate([given, rest], axis=2)
    if recipe.targets == "labels":
        labels = np.asarray(labels_of(point))
        if outputs == 1:
            return np.asarray(np.where(labels % 2 == 1, 1.0, -1.0)[None, None, :])
        return np.asarray(np.eye(outputs)[labels].T[None])
    f = teacher(seed, x, outputs, backend)
    if recipe.loss == "softmax":
        return np.asarray(np.eye(outputs)[f.argmax(axis=1)].swapaxes(1, 2))
    return f


def labels_of(point: Point) -> tuple[int, ...] | None:
    """Numbers of the classes of the inputs, where the data have them."""
    found: tuple[int, ...] | None = getattr(point.inputs, "labels", None)
    return found


def teacher(seed: int, x: Floats, outputs: int, backend: Backend) -> Floats:
    """A random network of one hidden layer, (N or 1, T, n) -> (N or 1, C, T)."""
    key, size = streams.seed_key(seed), x.shape[2]

    def normals(layer: int, rows: int, columns: int) -> Floats:
        made = backend.kernels.normals(
            key, 0, 1, streams.LABELS, layer, rows, columns, first_row=0, first_column=0, dtype=backend.xp.float64
        )
        found: Floats = np.asarray(backend.fetch(made), np.float64)
        return np.asarray(found[0])

    hidden: Floats = np.tanh(x @ normals(1, TEACHER_WIDTH, size).T / np.sqrt(size))
    made: Floats = hidden @ normals(2, outputs, TEACHER_WIDTH).T / np.sqrt(TEACHER_WIDTH)
    return np.ascontiguousarray(made.swapaxes(1, 2))
