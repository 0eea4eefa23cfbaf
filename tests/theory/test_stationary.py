"""Stationary chaos at finite leak: the two-time recursion after long times, its own equation, continuous time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mcnet.theory import gaussian, recurrent
from mcnet.theory.stationary import stationary

UNIT_ERF = {"name": "erf", "scale": math.sqrt(math.pi) / 2}


@pytest.mark.parametrize(("leak", "tolerance"), [(0.8, 5e-6), (0.5, 5e-5)])
def test_it_is_where_the_recursion_over_two_times_ends(leak: float, tolerance: float) -> None:
    """160 steps from a first state of another length; refused: the neighbouring gain, and time in steps of the leak."""
    times = recurrent.leaky(UNIT_ERF, 9.0, 0.0, leak, 5.0, 160)[160, :148:-1]
    found = stationary(UNIT_ERF, 9.0, leak, 11)
    assert np.abs(found - times).max() < tolerance * times[0]
    assert np.abs(stationary(UNIT_ERF, 9.01, leak, 11) - times).max() > 1e-3 * times[0]
    naive = recurrent.continuous(UNIT_ERF, 9.0).autocovariance(leak * np.arange(12))
    assert np.abs(naive - times).max() > 0.1 * times[0]


def test_it_solves_its_equation_and_ends_at_rest() -> None:
    """Steps of h = leak/sqrt(1 - leak), E phi phi without the polynomial; beyond the last lag solved for too."""
    leak = 0.5
    found = stationary(UNIT_ERF, 4.0, leak, 400)
    inner = found[1:60]
    same = np.full(inner.size, found[0])
    force = inner - 4.0 * gaussian.product(UNIT_ERF, same, same, inner)
    acceleration = (found[2:61] - 2.0 * inner + found[:59]) * (1.0 - leak) / leak**2
    np.testing.assert_allclose(acceleration, force, atol=1e-8)
    assert abs(2.0 * (found[1] - found[0]) * 2.0 - found[0] + 4.0 * gaussian.square(UNIT_ERF, found[0])) < 1e-8
    assert found.size == 401
    assert np.abs(found[200:]).max() < 1e-10


def test_it_approaches_continuous_time() -> None:
    """Second order in h at lags k h; the variance faster."""
    smooth = recurrent.continuous(UNIT_ERF, 4.0)
    away = []
    for leak in (0.2, 0.1):
        h = leak / math.sqrt(1.0 - leak)
        lags = np.arange(round(6.0 / h))
        away.append(np.abs(stationary(UNIT_ERF, 4.0, leak, lags[-1]) - smooth.autocovariance(lags * h)).max() / h**2)
    np.testing.assert_allclose(away[0], away[1], rtol=0.1)
    assert abs(stationary(UNIT_ERF, 4.0, 0.1, 0)[0] / smooth.variance - 1.0) < 1e-4


@pytest.mark.parametrize(
    ("leak", "sigma_w2", "told"), [(1.0, 4.0, "below 1"), (0.0, 4.0, "above 0"), (0.5, 0.9, "no chaotic")]
)
def test_what_is_refused(leak: float, sigma_w2: float, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        stationary(UNIT_ERF, sigma_w2, leak, 3)
