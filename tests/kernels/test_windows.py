"""Windows of a grid: rows, products from slabs and cotangents against plain shifts of arrays."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from strict_backend import DEVICE, STRICT, fetch

from mcnet.kernels.windows import Windows

RNG = np.random.default_rng(0)
THREE = tuple(product((-1, 0, 1), repeat=2))
CASES: dict[str, tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]] = {
    "line": ((7,), ((-1,), (0,), (1,))),
    "far": ((5,), ((0,), (4,), (-7,), (13,))),
    "grid": ((4, 6), THREE),
    "narrow": ((1, 5), THREE),
    "small": ((2, 3), THREE),
    "time before": ((3, 8), ((0, -1), (0, 0), (0, 2))),
    "time after": ((8, 3), ((-1, 0), (0, 0), (2, 0))),
    "mixed order": ((4, 5), ((1, 0), (-1, 1), (1, 1), (0, 0))),
}


def windows(case: str, networks: int, scales: str, dtype: Any = np.float64, units: int = 5) -> Windows:
    sizes, offsets = CASES[case]
    value = RNG.normal(size=(networks, 2, int(np.prod(sizes)), units)).astype(dtype)
    factors = np.ones(len(offsets)) / 3.0 if scales == "even" else RNG.uniform(0.2, 1.0, len(offsets))
    return Windows(np, value, sizes, offsets, tuple(float(f) for f in factors))


def shifted(w: Windows) -> Any:
    """The rows as they are defined."""
    networks, inputs, sites, units = w.value.shape
    grid = w.value.reshape(networks, inputs, *w.sizes, units)
    axes = tuple(range(2, 2 + len(w.sizes)))
    taps = [s * np.roll(grid, tuple(-o for o in at), axes) for at, s in zip(w.offsets, w.scales, strict=True)]
    return np.stack(taps, axis=-2).reshape(networks, inputs, sites, -1)


@pytest.mark.parametrize("scales", ["even", "uneven"])
@pytest.mark.parametrize("case", CASES)
def test_rows_products_and_cotangents(case: str, scales: str) -> None:
    w = windows(case, 3, scales)
    rows = shifted(w)
    assert w.shape == rows.shape
    assert np.array_equal(w.rows(), rows)
    weights = RNG.normal(size=(3, 4, rows.shape[-1]))
    exact = 1.7 * rows.reshape(3, -1, rows.shape[-1]) @ weights.swapaxes(1, 2)
    np.testing.assert_allclose(w.product(weights, 1.7), exact, rtol=0, atol=1e-12)
    cotangent = RNG.normal(size=(3, 6, *rows.shape[1:]))
    back = w.transposed(cotangent)
    assert back.shape == (3, 6, *w.value.shape[1:])
    of_v, of_windows = (back * w.value[:, None]).sum((-2, -1)), (cotangent * rows[:, None]).sum((-2, -1))
    np.testing.assert_allclose(of_v, of_windows, rtol=0, atol=1e-12)


def test_one_vector_for_all_networks() -> None:
    w = windows("grid", 1, "even")
    weights = RNG.normal(size=(3, 4, w.shape[-1]))
    exact = w.rows().reshape(1, -1, w.shape[-1]) @ weights.swapaxes(1, 2)
    np.testing.assert_allclose(w.product(weights, 1.0), exact, rtol=0, atol=1e-12)


def test_a_network_is_the_same_to_the_bit_whatever_is_beside_it() -> None:
    w = windows("grid", 5, "uneven", np.float32, 33)
    weights = RNG.normal(size=(5, 35, w.shape[-1])).astype(np.float32)
    together = w.product(weights, 0.3)
    assert together.dtype == np.float32
    for n in range(5):
        assert np.array_equal(w.of(w.value[n : n + 1]).product(weights[n : n + 1], 0.3)[0], together[n])


def test_arrays_of_a_device() -> None:
    w = windows("grid", 2, "uneven", np.float32)
    weights = RNG.normal(size=(2, 4, w.shape[-1])).astype(np.float32)
    xp = STRICT.xp
    there = Windows(xp, STRICT.place(w.value), w.sizes, w.offsets, w.scales)
    assert np.array_equal(fetch(there.rows()), w.rows())
    found = there.product(STRICT.place(weights), 0.7)
    assert found.device == DEVICE
    np.testing.assert_allclose(fetch(found), w.product(weights, 0.7), atol=1e-5)
    cotangent = RNG.normal(size=(2, 3, *w.shape[1:])).astype(np.float32)
    np.testing.assert_allclose(fetch(there.transposed(STRICT.place(cotangent))), w.transposed(cotangent), atol=1e-5)
