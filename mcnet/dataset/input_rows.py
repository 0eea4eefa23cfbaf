"""Gram matrices of all rows of the inputs (positions, tokens), which a dataset does not store: they are drawn again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures
from mcnet.backend import get_backend
from mcnet.dataset import plan
from mcnet.networks import inputs
from mcnet.point import Point

if TYPE_CHECKING:
    import xarray

Floats = NDArray[np.float64]

MAX_ROWS = 1024
MAX_COMPONENTS = 2**26
"""Of the vectors of all rows together: half a gigabyte."""


def row_grams(tree: xarray.DataTree) -> list[Floats | None]:
    """For each point x_r . x_s / M_0 of the rows of inputs that all networks share, input slowest.

    Returns
    -------
    list of ndarray, shape (R, R), or None
        None where an input is one row, where inputs are drawn anew for every network, and where the dataset does not
        hold the plan of its run, from which inputs are drawn again.

    Notes
    -----
    Exactly the inputs of the networks: random streams are the same on every machine.
    """
    count = tree.to_dataset().sizes["point"]
    known = tree.to_dataset()["architecture"].values
    if not any(_has_rows(str(name)) for name in known):
        return [None] * count
    found = plan.in_tree(tree, "the dataset")
    if found is None or len(found.points) != count:
        return [None] * count
    return [_gram(planned.point, found.request.seed) for planned in found.points]


def _has_rows(name: str) -> bool:
    return name in architectures.names()


def _gram(point: Point, seed: int) -> Floats | None:
    if not _has_rows(point.architecture) or point.inputs.fresh:
        return None
    sites = architectures.of(point).rows
    rows = sites * point.inputs.count
    if sites == 1 or rows > MAX_ROWS or rows * point.inputs.dimension > MAX_COMPONENTS:
        return None
    backend = get_backend("cpu")
    x = np.asarray(backend.fetch(inputs.draw(point, seed, 0, 1, backend, sites))[0], dtype=np.float64)
    x = x.reshape(rows, point.inputs.dimension)
    return np.asarray(x @ x.T / point.inputs.dimension)
