"""The forward part of the 1/M expansion alone."""

from __future__ import annotations

import numpy as np
import pytest

from mcnet.theory import finite_width


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_the_signal_alone_is_the_same(weights: str) -> None:
    """Lengths and correlations without the backward pass; and those of an input are those of a pair with it."""
    gram = np.array([[1.0, 0.6], [0.6, 0.8]])
    law = ("tanh", weights, 1.4, 0.1, 6)
    alone, whole = finite_width.signal(gram, *law), finite_width.coefficients(gram, *law, "ntk", True)
    for name, value in alone._asdict().items():
        np.testing.assert_array_equal(value, getattr(whole, name))
    single = finite_width.signal(gram[1:, 1:], *law)
    for name in ("q_hat_limit", "q_hat_mean", "q_hat_variance", "q_limit", "q_mean", "q_variance"):
        np.testing.assert_allclose(getattr(alone, name)[:, 1, 1], getattr(single, name)[:, 0, 0], rtol=1e-8, atol=1e-9)
