"""The tangent kernel at infinite width, for what is by definition a distance to the limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.point import Point
from mcnet.recipe import Recipe
from mcnet.theory import tangent

Floats = NDArray[np.float64]


def complaints(point: Point, recipe: Recipe) -> list[str]:
    """Why the limit of the linear dynamics is not known at a point; empty if it is."""
    if point.is_program or point.output_normalization != "none":
        return ["compares with the limit of dense networks without normalisation"]
    if recipe.abc is not None or recipe.scaling == "mup":
        return ['compares with the limit of the parametrisations "standard" and "ntk"']
    if point.weights == "orthogonal" or point.readout == "orthogonal":
        return ["compares with the limit of Gaussian weights"]
    if point.inputs.fresh:
        return ["needs one limit for all networks: remove inputs.fresh"]
    return []


def kernel(point: Point, recipe: Recipe, x: Floats) -> Floats:
    """Theta of one output at infinite width, of inputs (T, M_0): (T, T)."""
    gram = x @ x.T / x.shape[1]
    return tangent.kernel(
        gram,
        point.activation,
        point.sigma_w2,
        point.sigma_b2,
        point.depth,
        recipe.scaling or point.parameterization,
        point.train_biases,
        width=point.width,
        input_dimension=x.shape[1],
    )
