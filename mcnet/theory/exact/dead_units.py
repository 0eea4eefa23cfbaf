"""How many eigenvalues of J J^T are exactly zero: the largest number of units with phi' = 0 in a layer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ZeroMass(NamedTuple):
    """Share of zero eigenvalues over networks of one width: mean and variance."""

    mean: float
    variance: float


def zero_mass(probability: float, depth: int, width: int) -> ZeroMass:
    """Law of max_l n_l / M, with n_l the units of layer l where phi' vanishes.

    Parameters
    ----------
    probability : float
        P(phi'(u) = 0) of a unit.
    depth, width : int

    Notes
    -----
    The n_l are taken as independent binomials, P(max <= k) = P(n <= k)^depth. That is exact for relu with Gaussian or
    orthogonal weights, where the signs of u are independent and even, with or without biases. The mean exceeds the
    limit ``probability`` by about sqrt(p (1 - p)/M) times the mean of the largest of ``depth`` normals.
    """
    from scipy.stats import binom

    k = np.arange(width + 1)
    below = binom.cdf(k, width, probability) ** depth
    mass = np.diff(below, prepend=0.0)
    mean = float(mass @ k) / width
    return ZeroMass(mean, float(mass @ (k / width - mean) ** 2))
