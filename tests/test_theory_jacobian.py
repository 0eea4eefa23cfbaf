"""The spectrum of J J^T at infinite width against closed curves, series and small networks."""

from math import comb

import numpy as np
import pytest

from mcnet import activations
from mcnet.theory import jacobian
from mcnet.theory.squared_slope import slope_law


def critical(activation, q):
    """sigma_w2 with mean eigenvalue 1."""
    return 1.0 / slope_law(activations.get(activation), q).moments(1)[0]


def fuss_catalan(depth, angles):
    """Eigenvalues and density of depth Gaussian layers, on its exact curve."""
    x = np.sin((depth + 1) * angles) ** (depth + 1) / (np.sin(angles) * np.sin(depth * angles) ** depth)
    density = np.sin(angles) ** 2 * np.sin(depth * angles) ** (depth - 1) / (np.pi * np.sin((depth + 1) * angles) ** depth)
    return x, density


@pytest.mark.parametrize("depth", [1, 2, 3, 8, 32])
def test_linear_gaussian_moments_are_fuss_catalan(depth):
    exact = [comb((depth + 1) * k, k) / (depth * k + 1) for k in range(1, 9)]
    found = jacobian.moments("linear", "gaussian", 1.0, 0.0, depth, 8)
    np.testing.assert_allclose(found, exact, rtol=1e-13)
