"""Haar matrices asked in float32: the answers of float64 lists, on every array library, also where questions depend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strict_backend import STRICT, fetch, place

from mcnet import streams
from mcnet.backend import get_backend
from mcnet.weights import asked_haar
from mcnet.weights.asked_haar import AskedHaar
from mcnet.weights.conditioned import ConditionedHaar
from mcnet.weights.laws import Ensemble, Layer

BACKEND = get_backend("cpu")
KEY = streams.seed_key(20240611)
ORDERS = ["f2", "f2 b3", "b3 f3", "f1 f2 b3 b1 f2 b2 f1", "f9 b1 b9 f1"]


def ensemble(networks: int, precision: str, backend: Any = BACKEND) -> Ensemble:
    return Ensemble(backend, KEY, 0, networks, precision)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(70, 70), (60, 80), (80, 60)], ids=str)
def test_answers_are_those_of_float64(order: str, shape: tuple[int, int]) -> None:
    """Any order and shape, repeated questions, shared ones."""
    layer = Layer(2, *shape, "orthogonal", 1.7, 0.3)
    rng = np.random.default_rng(1)
    matrices = (
        (AskedHaar(layer, ensemble(3, "mixed")), np.asarray),
        (ConditionedHaar(layer, ensemble(3, "float64")), np.asarray),
        (AskedHaar(layer, ensemble(3, "mixed", STRICT)), place),
    )
    for part in order.split():
        number, side = int(part[1:]), layer.inputs if part[0] == "f" else layer.units
        question = rng.normal(size=(1 if number == 2 else 3, number, side)).astype(np.float32)
        constants = rng.integers(0, 2, number).astype(float)
        if number == 9:
            question[:, 4], constants[4] = 2 * question[:, 1], 2 * constants[1]
        ours, exact, elsewhere = (
            matrix.apply(put(question), put(constants)) if part[0] == "f" else matrix.apply_transpose(put(question))
            for matrix, put in matrices
        )
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, exact, rtol=0, atol=5e-6)
        np.testing.assert_allclose(fetch(elsewhere), exact, rtol=0, atol=5e-6)


def krylov(matrix: Any, size: int, steps: int) -> tuple[float, float]:
    """Largest errors of |O x| = |x| and d.(O x) = (O^T d).x, x and d of one Krylov space of two such layers."""
    slope = 1 - 0.03 * np.random.default_rng(2).random(size)  # nearly linear: what is asked nearly depends
    x = np.random.default_rng(3).normal(size=(1, 1, size)).astype(np.float32)
    asked: list[Any] = []
    for _ in range(steps):
        x /= np.linalg.norm(x)
        y = matrix.apply(x, np.zeros(1))
        d = (slope * y).astype(np.float32)
        z = matrix.apply_transpose(d)
        asked.append((x, y, d, z))
        x = (slope * z).astype(np.float32)
        for before, *_ in asked:
            x = x - np.float32((x * before).sum(dtype=float)) * before
    x, y, d, z = (np.concatenate(part, axis=1)[0].astype(float) for part in zip(*asked, strict=True))
    lengths = np.linalg.norm(y, axis=1) / np.linalg.norm(x, axis=1) - 1
    return float(np.abs(lengths).max()), float(np.abs(d @ y.T - z @ x.T).max())


def test_questions_that_nearly_depend_get_answers_of_one_orthogonal_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Layer(1, 2500, 2500, "orthogonal", 1.0, 0.0)
    length, product = krylov(AskedHaar(layer, ensemble(1, "mixed")), 2500, 120)
    assert length < 1e-5
    assert product < 1e-5
    monkeypatch.setattr(asked_haar.Orthonormal, "split", asked_haar.Orthonormal.once)  # the mutant: orthogonalised once
    length, product = krylov(AskedHaar(layer, ensemble(1, "mixed")), 2500, 120)
    assert max(length, product) > 1e-4
