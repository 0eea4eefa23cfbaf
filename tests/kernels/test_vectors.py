"""Passes over sets of vectors: programs of the CPU against plain NumPy, ragged sizes, shared and strided rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strict_backend import DEVICE, STRICT, fetch

from mcnet import activations
from mcnet.kernels import vectors

RNG = np.random.default_rng(0)
SIZES = [1, 15, 16, 31, 33, 1000, 5000]


def rows(networks: int, count: int, size: int, dtype: Any = np.float32) -> Any:
    return RNG.normal(size=(networks, count, size)).astype(dtype)


def strided(networks: int, count: int, size: int) -> Any:
    """Rows of a larger array, as matrices keep their questions."""
    return rows(networks, count + 3, size)[:, :count]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 3, 2, 2), (1, 4, 1, 5), (4, 1, 5, 3), (2, 2, 20, 18), (1, 1, 1, 40)], ids=str)
def test_products_and_sums(size: int, dtype: Any, shape: tuple[int, ...]) -> None:
    networks, others, r, k = shape
    a, b = rows(networks, r, size, dtype), strided(others, k, size).astype(dtype)
    for first, second in ((a, b), (a, a)):
        exact = first.astype(float) @ second.astype(float).swapaxes(1, 2)
        found = vectors.overlaps(np, first, second)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-13 * size)
    table = RNG.normal(size=(networks, r, k))
    exact = table @ b.astype(float)
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(vectors.combined(np, table, b), exact, rtol=0, atol=tolerance)
    to = rows(max(networks, others), r, size, dtype)
    np.testing.assert_allclose(vectors.combined(np, table, b, to.copy()), to + exact, rtol=0, atol=tolerance)


def test_a_product_with_the_negative_is_the_negative_to_the_bit() -> None:
    """So that the length of a dead row is exactly zero."""
    a = rows(2, 1, 1003)
    gram = vectors.overlaps(np, *[np.concatenate([a, -a], axis=1)] * 2)
    assert np.array_equal(gram[:, 0, 0], -gram[:, 0, 1])
    assert np.array_equal(gram[:, 0, 0], gram[:, 1, 1])


@pytest.mark.parametrize("size", [128, 1003])
@pytest.mark.parametrize("name", ["tanh", "relu", "gelu"])
def test_activations_and_slopes(size: int, name: str) -> None:
    activation = activations.get(name)
    u = rows(3, 3, size)
    plain = u.astype(float)
    plain[:, 1:] += plain[:, :1]
    h, p = activation.phi(plain), activation.dphi(plain)
    h[:, 1:] -= h[:, :1]
    for slopes in (True, False):
        made = vectors.activated(np, activation, u, slopes)
        assert made is not None
        np.testing.assert_allclose(made[0], h, atol=3e-6)
        assert (made[1] is not None) == slopes
    np.testing.assert_allclose(vectors.activated(np, activation, u, True)[1], p, atol=3e-6)  # type: ignore[index]
    assert vectors.activated(np, activation, u[:, :, :5], True) is None
    assert vectors.activated(np, activation, u[:, :, :8], True, 1) is None  # rows shorter than a register
    short = vectors.activated(np, activation, u[:, :, :17], True, 1)
    np.testing.assert_allclose(short[0], h[:, :, :17], atol=3e-6)  # type: ignore[index]
    assert vectors.activated(np, activation, u.astype(float), True) is None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lead", [(3, 3), (1, 3), (3, 1)], ids=str)
def test_errors_through_slopes(size: int, lead: tuple[int, int]) -> None:
    p = rows(lead[0], 3, size)
    y = RNG.normal(size=(lead[1], 2, 3, size)).astype(np.float32)
    plain = y.astype(float)
    plain[:, :, 1:] += plain[:, :, :1]
    exact = plain * p[:, None].astype(float)
    exact[:, :, 1:] -= exact[:, :, :1]
    for dtype, tolerance in ((np.float32, 2e-6), (np.float64, 1e-14)):
        found = vectors.through_slope(np, p.astype(dtype), y.astype(dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, exact, rtol=0, atol=tolerance)


def test_other_arrays() -> None:
    xp, place = STRICT.xp, STRICT.place
    for dtype in (np.float32, np.float64):
        a, b, table = rows(3, 2, 5000, dtype), rows(1, 3, 5000, dtype), RNG.normal(size=(3, 2, 3))
        found = vectors.overlaps(xp, place(a), place(b))
        assert found.device == DEVICE
        np.testing.assert_allclose(fetch(found), a.astype(float) @ b[0].astype(float).T, atol=1e-9)
        sums = vectors.combined(xp, place(table), place(b), place(a))
        np.testing.assert_allclose(fetch(sums), a + table @ b[0], atol=1e-5)
        y = RNG.normal(size=(3, 2, 2, 5000)).astype(dtype)
        ours, theirs = vectors.through_slope(xp, place(a), place(y)), vectors.through_slope(np, a, y)
        np.testing.assert_allclose(fetch(ours), theirs, atol=1e-5)
        assert vectors.activated(xp, activations.get("tanh"), place(a), True) is None


def test_sums_of_the_rows_above() -> None:
    """Coefficients right of the diagonal are not looked at: the same sums, to the bit."""
    table, b = np.tril(RNG.normal(size=(3, 5, 5))), rows(3, 5, 77, np.float32)
    assert np.array_equal(vectors.combined(np, table, b, lower=True), vectors.combined(np, table, b))


def test_factors_are_those_of_other_arrays() -> None:
    """The compiled one and the plain one, to the bit; a dependent row has no pivot, close ones have."""
    q = RNG.normal(size=(4, 6, 9))
    q[1, 3] = q[1, 0] - 2 * q[1, 2]
    q[2, 5] = q[2, 4] + 1e-4 * q[2, 5]
    square = q @ q.swapaxes(1, 2)
    size = np.diagonal(square, 0, 1, 2)
    ours = vectors.cholesky(np, square, size, 1e-11)
    theirs = vectors.cholesky(STRICT.xp, STRICT.place(square), STRICT.place(size.copy()), 1e-11)
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(np.tril(a) if a.ndim == 3 else a, fetch(b))
    np.testing.assert_allclose(ours[0] @ ours[0].swapaxes(1, 2), square, atol=1e-12)
    assert np.argwhere(ours[1] == 0.0).tolist() == [[1, 3]]
    shared = vectors.cholesky(np, square, size[:1], 1e-11)
    np.testing.assert_array_equal(shared[0][0], ours[0][0])
    np.testing.assert_array_equal(shared[0][3], ours[0][3])
