"""Inputs: exact lengths and correlations, prefixes across widths, the Gram matrix without the vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mcnet import activations
from mcnet.backend import get_backend
from mcnet.networks import inputs
from mcnet.point import Inputs, Point

BACKEND = get_backend("cpu")


def point(kind: str, count: int, dimension: int, **settings: Any) -> Point:
    given = Inputs(kind, count, dimension, **settings)
    return Point("dense", activations.get("tanh"), "gaussian", 16, 2, 1.0, 0.0, given)


@pytest.mark.parametrize("c0", [0.6, -0.3, 1.0, -1.0, 1 - 1e-10])
@pytest.mark.parametrize("fresh", [False, True])
def test_pairs_have_exact_lengths_and_correlation(c0: float, fresh: bool) -> None:
    where = point("pair", 2, 37, q0=1.3, c0=c0, fresh=fresh)
    x = inputs.draw(where, 5, 2, 6, BACKEND)
    assert x.shape == (4 if fresh else 1, 2, 37)
    overlap = x @ x.swapaxes(1, 2) / 37
    np.testing.assert_allclose(overlap, np.broadcast_to([[1.3, 1.3 * c0], [1.3 * c0, 1.3]], overlap.shape), atol=1e-14)
    gap = inputs.differences(where, 5, 2, 6, BACKEND)
    exact = np.array([[1.3, 1.3 * (c0 - 1)], [1.3 * (c0 - 1), 2.6 * (1 - c0)]])
    found = gap @ gap.swapaxes(1, 2) / 37
    np.testing.assert_allclose(found, np.broadcast_to(exact, found.shape), rtol=1e-12, atol=1e-15 * math.sqrt(1 - c0))
    np.testing.assert_allclose(inputs.gram(where, 5, 2, 6, BACKEND), exact[None], rtol=1e-15)


def test_one_set_for_the_study_or_new_ones_for_every_network() -> None:
    shared, fresh = (point("single", 1, 12, q0=2.0, fresh=flag) for flag in (False, True))
    assert np.array_equal(inputs.draw(shared, 5, 0, 3, BACKEND), inputs.draw(shared, 5, 7, 9, BACKEND))
    first, later = inputs.draw(fresh, 5, 0, 3, BACKEND), inputs.draw(fresh, 5, 1, 3, BACKEND)
    assert np.array_equal(first[1:], later)
    assert not np.any(first[0] == first[1])
    np.testing.assert_allclose((first**2).sum(2), 24.0, rtol=1e-14)


def test_vectors_of_another_width_are_prefixes() -> None:
    small, large = (inputs.draw(point("gaussian", 3, size, q0=1.0, c0=0.2), 5, 0, 1, BACKEND) for size in (9, 30))
    assert np.array_equal(large[..., :9], small)
    small, large = (inputs.draw(point("single", 1, size, q0=1.0), 5, 0, 1, BACKEND)[0, 0] for size in (9, 30))
    np.testing.assert_allclose(large[:9] / large[0], small / small[0], rtol=1e-12)
    fewer = inputs.draw(point("gaussian", 2, 9, q0=1.0, c0=0.2), 5, 0, 1, BACKEND)
    more = inputs.draw(point("gaussian", 4, 9, q0=1.0, c0=0.2), 5, 0, 1, BACKEND)
    assert np.array_equal(more[:, :2], fewer)


@pytest.mark.parametrize(("count", "c0"), [(3, 0.4), (3, -0.5), (4, 0.0), (2, 1.0), (3, 1 - 1e-9)])
def test_gaussian_inputs_have_the_covariance_asked_for(count: int, c0: float, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 60000
    where = point("gaussian", count, size, q0=1.5, c0=c0)
    x = inputs.draw(where, 5, 0, 1, BACKEND)[0]
    exact = 1.5 * ((1 - c0) * np.eye(count) + c0)
    error = np.sqrt((np.outer(np.diag(exact), np.diag(exact)) + exact**2) / size)
    assert np.all(np.abs(x @ x.T / size - exact) < 5 * error)
    gap = inputs.differences(where, 5, 0, 1, BACKEND)[0, 1:]  # close inputs: their distance has full precision
    spread = (gap * gap).mean(1)
    assert np.all(np.abs(spread - 3 * (1 - c0)) <= 5 * 3 * (1 - c0) * math.sqrt(2 / size))
    monkeypatch.setattr(inputs, "CHUNK", 10000)
    rows = inputs.differences(where, 5, 0, 1, BACKEND)
    np.testing.assert_allclose(inputs.gram(where, 5, 0, 1, BACKEND), rows @ rows.swapaxes(1, 2) / size, rtol=1e-10)


def test_given_vectors_are_taken_as_they_are() -> None:
    values = ((1.0, 2.0, 0.5), (0.0, -1.0, 1.0))
    where = point("values", 2, 3, values=values)
    np.testing.assert_array_equal(inputs.draw(where, 5, 0, 4, BACKEND)[0], values)
    rows = np.array([values[0], np.subtract(values[1], values[0])])
    np.testing.assert_allclose(inputs.gram(where, 5, 0, 4, BACKEND)[0], rows @ rows.T / 3, rtol=1e-15)
