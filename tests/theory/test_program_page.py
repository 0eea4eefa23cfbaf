"""The page on the theory of programs: its code runs as it stands, and its hand calculations agree with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcnet.theory import program

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "theory" / "programs.md").read_text()
NODES = np.linspace(-10.0, 10.0, 2001)  # a trapezoid: exponentially accurate for analytic functions
WEIGHTS = np.exp(-(NODES**2) / 2)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def mean(f: Any, variance: float) -> float:
    return float(WEIGHTS @ f(np.sqrt(variance) * NODES))


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(code, found)
    return found


def test_the_code_is_short_and_its_block_is_that_of_the_page(page: dict[str, Any]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    calls = code.split("return w.ask")[1].strip().splitlines()[1:]
    assert len([line for line in calls if line]) < 10
    k1 = 1.0 + 0.25 * 1.0 * mean(lambda u: np.tanh(u) ** 2, 1.5 * 1.0 + 0.05)
    np.testing.assert_allclose(page["limit"].gram(("h", 1))[0, 0], k1, rtol=1e-9)
    np.testing.assert_allclose(page["made"].limit(("h", 1)), k1, rtol=1e-9)
    assert np.isfinite([page["made"].ntk_mean.item(), page["made"].ntk_variance.item()]).all()


def dense(w: Any, x: Any) -> Any:
    h = x
    for layer in (1, 2):
        h = w.phi(w.ask(("W", layer), h))
        w.see("h", layer, h)
    return w.ask("readout", h)


def test_two_dense_layers_by_hand() -> None:
    sw2, sb2 = 1.5, 0.05
    found = program.expansion(dense, {"W": (sw2, sb2), "readout": (1.0, 0.0)}, [[1.0]], activation="tanh")
    s1 = sw2 + sb2
    v = [mean(lambda u, k=k: np.tanh(u) ** k, s1) for k in (2, 4)]
    v1 = v[1] - v[0] ** 2
    s2, step = sw2 * v[0] + sb2, 1e-3
    around = [mean(lambda u: np.tanh(u) ** 2, s2 + shift * step) for shift in (-1, 0, 1)]
    slope, bend = (around[2] - around[0]) / (2 * step), (around[0] - 2 * around[1] + around[2]) / step**2
    own = mean(lambda u: np.tanh(u) ** 4, s2) - around[1] ** 2
    assert abs(found.mean(("h", 1)).item()) < 1e-8
    np.testing.assert_allclose(found.variance(("h", 1)).item(), v1, rtol=1e-6)
    np.testing.assert_allclose(found.mean(("h", 2)).item(), 0.5 * sw2**2 * bend * v1, rtol=1e-5)
    np.testing.assert_allclose(found.variance(("h", 2)).item(), own + (sw2 * slope) ** 2 * v1, rtol=1e-5)


def gate(w: Any, x: Any) -> Any:
    h = w.apply("sigmoid", w.ask("G", x)) * x
    w.see("h", 1, h)
    return w.ask("readout", h)


def test_one_gate_by_hand() -> None:
    found = program.limit(gate, {"G": (2.0, 0.0), "readout": (1.0, 0.0)}, [[0.7]])
    expected = 0.7 * mean(lambda e: 1 / (1 + np.exp(-e)) ** 2, 2.0 * 0.7)
    error = found.error(("h", 1)).item()
    assert 0 < error < 2e-3 * expected
    assert abs(found.gram(("h", 1)).item() - expected) < 5 * error
