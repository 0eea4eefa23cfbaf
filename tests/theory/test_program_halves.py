"""Halves of the units to first order in 1/M: exactly for linear networks, and what would be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mcnet.theory import program
from mcnet.theory.program.sites import Group

GRAM = np.array([[1.0, 0.3, 0.1], [0.3, 0.5, 0.0], [0.1, 0.0, 0.8]])
NEXT = np.roll(np.arange(3), -1)


def network(w: Any, x: Any, p: Any) -> Any:
    """The second factor asks for the halves, so that answers of it carry their Gram matrix on."""
    h = w.ask("first", x)
    v = w.halves(h, w.shift(h, "position", 1))
    w.see("v", 1, v)
    w.see("u", 1, w.ask("second", v))
    return w.ask("readout", w.mean(v, "position"))


def variances(weights: str, names: tuple[str, ...] = ("v", "u")) -> list[np.ndarray]:
    laws = {"first": (1.0, 0.0), "second": (1.0, 0.0, "orthogonal"), "readout": (1.0, 0.0)}
    found = program.expansion(
        network, laws, GRAM, activation="linear", weights=weights, axes={"position": 3}, sites=2**16
    )
    for name in names:
        np.testing.assert_allclose(found.limit((name, 1)), 0.5 * (GRAM + GRAM[np.ix_(NEXT, NEXT)]), rtol=1e-10)
        assert np.abs(found.mean((name, 1))).max() < 1e-10
    return [found.variance((name, 1)) for name in names]


def exact(weights: str) -> np.ndarray:
    """With A and B the Gram matrices of the two halves, K_pq = A_pq + B_p+1,q+1.

    Gaussian: A and B are independent, M Cov(A_ab, A_cd) = (S_ac S_bd + S_ad S_bc)/2. Haar: A + B = S, and the
    covariance of A, a matrix beta variable, is half of that.
    """
    s, size = GRAM, np.diagonal(GRAM)
    own = np.outer(size, size) + s**2
    after = own[np.ix_(NEXT, NEXT)]
    if weights == "gaussian":
        return np.asarray(0.5 * (own + after))
    both = np.outer(np.diagonal(s[:, NEXT]), np.diagonal(s[:, NEXT])) + s[:, NEXT] * s[:, NEXT].T
    return np.asarray(0.25 * (own + after - 2.0 * both))


@pytest.mark.parametrize("weights", ["orthogonal", "gaussian"])
def test_linear_networks_are_exact(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To 1 %: fourth moments of the points are that much too small. Refused: sites in a half at random."""
    for found in variances(weights):
        np.testing.assert_allclose(found, exact(weights), rtol=0.01)
    monkeypatch.setattr(Group, "noise", lambda self, values, mean: values - mean[:, None, None])
    assert np.abs(variances(weights, ("v",))[0] / exact(weights) - 1.0).max() > 0.04
