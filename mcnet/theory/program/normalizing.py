"""Normalisation and attention at the sites, forward and backward.

Where an operation looks at all units at once (layer norm, attention) it is a sum with numbers of the network as
coefficients: means over the sites, made by :meth:`mcnet.theory.program.jets.Sites.gram`. Batch norm looks at the rows
of one unit: it is a function of the vector, site by site.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mcnet.programs.names import ProgramError
from mcnet.theory.program.jets import Jet, Sites, kron, plain
from mcnet.theory.program.quantities import Quantity, Taylor, exponential, reciprocal, root, smooth
from mcnet.theory.program.sites import Parts

Floats = NDArray[np.float64]
Index = NDArray[np.intp]
Back = Callable[[Jet, Index], Jet]
"""Takes cotangents, and for each of their rows the row at which it sits, to those of the argument."""


def layer_norm(sites: Sites, v: Jet, epsilon: float) -> tuple[Jet, Back]:
    """Each row minus its mean over the sites, over its standard deviation."""
    one = plain(Parts(np.ones(1), {}))
    rows, everything = v.rows, np.ones((v.rows, 1), bool)
    mean = sites.gram(v, one)  # (R, 1)
    centred = sites.summed(v, sites.combined(-mean, one, everything))
    square = sites.gram(centred, centred).taken(np.arange(rows) * (rows + 1))

    def invert(x: Taylor) -> list[Taylor]:
        return [reciprocal(root(x + epsilon))]

    (inverse,) = smooth(sites.noise, invert, square)
    unit = scaled(sites, inverse, centred)

    def back(c: Jet, places: Index) -> Jet:
        there = sites.taken(unit, places)
        count = c.rows
        diagonal = np.arange(count) * (count + 1)
        along, level = sites.gram(c, there).taken(diagonal), sites.gram(c, one)
        rest = sites.summed(c, scaled(sites, -along, there))
        rest = sites.summed(rest, sites.combined(-level, one, np.ones((count, 1), bool)))
        return scaled(sites, inverse.taken(places), rest)

    return unit, back


def scaled(sites: Sites, numbers: Quantity, v: Jet) -> Jet:
    """Each row times a number of the network."""
    rows = v.rows
    index = np.full((rows, rows), -1)
    index[np.arange(rows), np.arange(rows)] = np.arange(rows)
    return sites.combined(_filled(numbers, index), v, np.eye(rows, dtype=bool))


def batch_norm(sites: Sites, v: Jet, mean: Floats, epsilon: float) -> tuple[Jet, Back]:
    """Minus the mean over the inputs, over the standard deviation, unit by unit.

    Parameters
    ----------
    mean : ndarray, shape (R, R)
        Takes each row to the mean over the inputs at its place.
    """
    inputs = round(1.0 / mean.max())
    if sites.expanded and epsilon == 0.0 and inputs < 6:
        raise ProgramError("expansion: batch_norm of fewer than 6 inputs without epsilon: its slopes have no variance")
    away = np.eye(v.rows) - mean
    centred = sites.mapped(v, away)
    variance = sites.mapped(sites.multiplied(centred, centred), mean)

    def power(exponent: float, factor: float) -> Callable[[Floats], Floats]:
        return lambda x: factor * (x + epsilon) ** exponent

    inverse = sites.applied(variance, power(-0.5, 1.0), power(-1.5, -0.5), power(-2.5, 0.75))
    unit = sites.multiplied(centred, inverse)

    def back(c: Jet, places: Index) -> Jet:
        if epsilon == 0.0 and inputs < 4:
            raise ProgramError("limit: batch_norm of fewer than 4 inputs without epsilon: gradients have no mean")
        count = c.rows // v.rows
        there, size = sites.taken(unit, places), sites.taken(inverse, places)
        over = kron(np.eye(count), mean)
        along = sites.multiplied(there, sites.mapped(sites.multiplied(c, there), over))
        rest = sites.summed(sites.mapped(c, kron(np.eye(count), away)), sites.mapped(along, -1.0))
        return sites.multiplied(rest, size)

    return unit, back


def attention(
    sites: Sites, query: Jet, key: Jet, value: Jet, others: NDArray[np.bool_], strength: float
) -> tuple[Jet, Callable[[Jet, Index], tuple[Jet, Jet, Jet]]]:
    """Rows of value mixed by softmax of strength times query . key per unit.

    Parameters
    ----------
    others : ndarray of bool, shape (R, R)
        Which rows a row attends to.
    strength : float
        The scale times the number of units.
    """
    rows = value.rows
    first, second = np.nonzero(others)  # row by row, equally many in each
    many = len(second) // rows
    scores = (strength * sites.gram(query, key)).taken(first * rows + second).reshaped(rows, many)

    def softmax(x: Taylor) -> list[Taylor]:
        top = x.zero.max(axis=-1, keepdims=True)
        e = exponential(x + (-top))
        return [e * reciprocal(e.sum(-1))]

    (weights,) = smooth(sites.noise, softmax, scores)
    mixed = sites.combined(_placed(weights, second, rows), value, others)

    def back(c: Jet, places: Index) -> tuple[Jet, Jet, Jet]:
        if sites.expanded:
            raise ProgramError("expansion: the 1/M terms of cotangents that pass attention scores are not covered")
        functionals = c.rows // rows
        change = sites.gram(c, value)  # (K R, R); of order M^(-1/2), with the square root of M
        at = np.arange(c.rows)
        column = second.reshape(rows, many)[places]  # (K R, many)
        picked = change.taken(at[:, None] * rows + column)

        def turned(w: Taylor, x: Taylor) -> list[Taylor]:
            w = w[places]
            return [strength * (w * (x - (w * x).sum(-1)))]

        (slopes,) = smooth(sites.noise, turned, weights, picked)
        index = np.full((c.rows, functionals * rows), -1)
        start = (at // rows) * rows
        index[np.repeat(at, many), (start[:, None] + column).ravel()] = np.arange(c.rows * many)
        mask = index >= 0
        tiled = [sites.taken(x, np.tile(np.arange(rows), functionals)) for x in (key, query)]
        to_query = sites.combined(_filled(slopes, index), tiled[0], mask)
        to_key = sites.combined(_filled(slopes, index.T), tiled[1], mask.T)
        w = weights.taken(places[:, None] * many + np.arange(many))
        to_value = sites.combined(_filled(w, index.T), c, mask.T)
        return to_query, to_key, to_value

    return mixed, back


def _placed(weights: Quantity, columns: Index, rows: int) -> Quantity:
    """Weights (R, many) at their columns of an (R, R) array."""
    many = weights.shape[1]
    index = np.full((rows, rows), -1)
    index[np.repeat(np.arange(rows), many), columns] = np.arange(rows * many)
    return _filled(weights, index)


def _filled(numbers: Quantity, index: Index) -> Quantity:
    """Elements of the flat array, 0 where the index is -1."""
    size = numbers.value.size
    with_zero = Quantity(
        np.append(numbers.value.ravel(), 0.0),
        np.concatenate([numbers.response, np.zeros((1, numbers.response.shape[1]))]),
        np.append(numbers.shift, 0.0),
    )
    return with_zero.taken(np.where(index < 0, size, index))
