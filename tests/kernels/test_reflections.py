"""Haar frames as products of reflections: orthogonal to rounding, Haar, the same in every array library."""

from __future__ import annotations

from typing import Any

import array_api_strict as strict
import numpy as np
import pytest

from mcnet.kernels import reflections

SHAPES = [(1, 1), (5, 3), (64, 64), (65, 65), (150, 70)]


def frame(size: int, count: int, dtype: Any, networks: int = 2, seed: int = 1) -> tuple[Any, Any]:
    normals = np.random.default_rng(seed).normal(size=(networks, count, size)).astype(dtype)

    def draw(first: int, rows: int, columns: int) -> Any:
        return normals[:, first : first + rows, first : first + columns].copy()

    return reflections.frame(np, draw, size, count), draw


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "rounding"), [(np.float32, 3e-6), (np.float64, 1e-14)])
def test_frames_are_orthonormal_and_transposed_exactly(shape: tuple[int, int], dtype: Any, rounding: float) -> None:
    size, count = shape
    q, draw = frame(size, count, dtype)
    one = np.broadcast_to(np.eye(count, dtype=dtype), (2, count, count))
    entries = reflections.apply(np, q, one)
    assert entries.dtype == dtype
    np.testing.assert_allclose(entries.swapaxes(1, 2) @ entries, one, atol=rounding)
    all_at_once = np.broadcast_to(np.eye(size, dtype=dtype), (2, size, size))
    np.testing.assert_allclose(reflections.apply_transpose(np, q, all_at_once), entries.swapaxes(1, 2), atol=rounding)
    few = np.random.default_rng(2).normal(size=(2, count, 3)).astype(dtype)  # fewer columns than a block
    np.testing.assert_allclose(reflections.apply(np, q, few), entries @ few, atol=3 * rounding)
    theirs = reflections.frame(strict, lambda *where: strict.asarray(draw(*where)), size, count)
    np.testing.assert_allclose(reflections.apply(strict, theirs, strict.asarray(one)), entries, atol=rounding)


def fourth_moments(entries: Any) -> Any:
    """Scores of E q_11^2, E q_11^4, E q_11^2 q_12^2, E q_11 q_12 q_21 q_22, E q_11 and E tr Q against Haar."""
    n = entries.shape[1]
    a, b, c, d = entries[:, 0, 0], entries[:, 0, 1], entries[:, 1, 0], entries[:, 1, 1]
    exact = np.array([1 / n, 3 / (n * (n + 2)), 1 / (n * (n + 2)), -1 / ((n - 1) * n * (n + 2)), 0.0, 0.0])
    seen = np.stack([a**2, a**4, a**2 * b**2, a * b * c * d, a, np.trace(entries, axis1=1, axis2=2)], axis=1)
    return (seen.mean(0) - exact) / (seen.std(0) / np.sqrt(len(seen)))


def test_frames_are_haar() -> None:
    networks, size = 40000, 3
    q, _ = frame(size, size, np.float64, networks)
    entries = reflections.apply(np, q, np.broadcast_to(np.eye(size), (networks, size, size)))
    assert np.abs(fourth_moments(entries)).max() < 5
    unsigned = entries * q.signs.swapaxes(1, 2)  # the mutant: without the signs
    assert np.abs(fourth_moments(unsigned)).max() > 5
