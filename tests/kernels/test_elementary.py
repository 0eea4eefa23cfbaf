"""Elementary functions of sixteen lanes: accuracy over the whole range, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray
from scipy import special

from mcnet.kernels.lanes import elementary
from mcnet.kernels.lanes.simd import load, store

FUNCTIONS: dict[str, tuple[Callable[..., Any], float, float]] = {
    "exp": (np.exp, -100, 88),
    "expm1": (np.expm1, -20, 88),
    "log1p": (np.log1p, -1, 50),
    "tanh": (np.tanh, -12, 12),
    "erf": (special.erf, -6, 6),
    "sin": (np.sin, -50, 50),
    "cos": (np.cos, -50, 50),
}


def evaluated(name: str, x: NDArray[Any]) -> NDArray[Any]:
    function = getattr(elementary, name)

    @njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def loop(x: NDArray[Any], out: NDArray[Any]) -> None:
        for i in range(0, x.size, 16):
            store(out, i, function(load(x, i)))

    out = np.empty_like(x)
    assert x.size % 16 == 0
    loop(x, out)
    return out


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_error_below_5e_7(name: str) -> None:
    judge, low, high = FUNCTIONS[name]
    rng = np.random.default_rng(1)
    magnitudes = np.exp(rng.uniform(np.log(1e-38), np.log(3e38), 1 << 16)) * rng.choice([-1, 1], 1 << 16)
    x = np.concatenate([np.linspace(low, high, 1 << 18), np.linspace(-1, 1, 1 << 17), magnitudes]).astype(np.float32)
    value = evaluated(name, x).astype(np.float64)
    with np.errstate(all="ignore"):
        exact = judge(x.astype(np.float64))
        error = np.abs(value - exact)
        normal = (np.abs(exact) > 2e-38) & (np.abs(exact) < 3.4e38)
        assert np.max(error[normal] / np.abs(exact[normal])) < 5e-7
        assert np.max(error[np.abs(exact) <= 2e-38], initial=0.0) < 5e-7 * 2e-38  # denormal
        np.testing.assert_array_equal(value[np.isnan(exact)], np.nan)
        assert np.all(np.abs(value[np.abs(exact) > 3.5e38]) == np.inf)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ends(name: str) -> None:
    judge = FUNCTIONS[name][0]
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 3e38, -3e38] * 2, np.float32)
    value = evaluated(name, x)
    with np.errstate(all="ignore"):
        exact = judge(x.astype(np.float64))
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(value, exact.astype(np.float32), rtol=5e-7, atol=0)


def test_float64_is_the_library() -> None:
    x = np.linspace(-0.9, 3, 160)
    for name, (judge, _, _) in FUNCTIONS.items():
        np.testing.assert_allclose(evaluated(name, x), judge(x), rtol=1e-15, atol=0)


def test_tanh_and_erf_never_exceed_one_and_rise() -> None:
    for name in ("tanh", "erf"):
        value = evaluated(name, np.linspace(0, 20, 1 << 16).astype(np.float32))
        assert value.max() <= 1
        assert np.diff(value).min() > -5e-7
