"""Matrices asked in float32 against those that keep an orthonormal basis in float64: the same numbers to rounding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from strict_backend import STRICT, fetch, place

from mcnet import streams
from mcnet.backend import get_backend
from mcnet.kernels import asking
from mcnet.weights.asked import AskedGaussian, asked_matrix
from mcnet.weights.conditioned import ConditionedGaussian
from mcnet.weights.factors import factored
from mcnet.weights.laws import Ensemble, Layer

BACKEND = get_backend("cpu")
KEY = streams.seed_key(20240611)
ORDERS = ["f2", "f2 b3", "b3 f3", "f1 f2 b3 b1 f2 b2 f1", "f9 b1 b9 f1", "f30 b2 f30 b30"]


def ensemble(networks: int, precision: str, backend: Any = BACKEND) -> Ensemble:
    return Ensemble(backend, KEY, 0, networks, precision)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bias", [0.0, 0.3])
@pytest.mark.parametrize("expected", [(0, 0), (4, 3), (50, 50)], ids=str)
def test_answers_are_those_of_the_orthonormal_basis(order: str, bias: float, expected: tuple[int, int]) -> None:
    """Any order, repeated questions, shared ones, more of them than dimensions; memory foreseen or not."""
    layer = Layer(2, 24, 27, "gaussian", 1.7, bias)
    rng = np.random.default_rng(1)
    ours = AskedGaussian(layer, ensemble(3, "mixed"), *expected)
    theirs = ConditionedGaussian(layer, ensemble(3, "float64"))
    elsewhere = AskedGaussian(layer, ensemble(3, "mixed", STRICT), *expected)
    count = sum(int(part[1:]) for part in order.split())
    foreseen = expected[0] > 4 or count < 25  # else as many as dimensions come as a surprise to float32
    tolerance = 3e-6 if foreseen else 5e-4
    for part in order.split():
        number = int(part[1:])
        side = layer.inputs if part[0] == "f" else layer.units
        question = rng.normal(size=(1 if number == 2 else 3, number, side)).astype(np.float32)
        constants = rng.integers(0, 2, number).astype(float)
        if number == 9:
            question[:, 4], constants[4] = 2 * question[:, 1], 2 * constants[1]
        answers = []
        for matrix, put in ((ours, np.asarray), (theirs, np.asarray), (elsewhere, place)):
            if part[0] == "f":
                answers.append(matrix.apply(put(question), put(constants)))
            else:
                answers.append(matrix.apply_transpose(put(question)))
        assert answers[0].dtype == np.float32
        np.testing.assert_allclose(answers[0], answers[1], rtol=0, atol=tolerance)
        np.testing.assert_allclose(fetch(answers[2]), answers[1], rtol=0, atol=tolerance)
        if number == 9:
            np.testing.assert_allclose(answers[0][:, 4], 2 * answers[0][:, 1], rtol=0, atol=3e-5)


def test_question_r_takes_row_r_of_its_stream() -> None:
    """A question inside the span uses nothing of its row; the bias is column 2^30 of a backward row."""
    m, n, s, b = 16, 15, math.sqrt(1.7 / 15), math.sqrt(0.3)
    matrix = AskedGaussian(Layer(3, m, n, "gaussian", 1.7, 0.3), ensemble(2, "mixed"), 0, 0)
    eye, none = np.eye(n, dtype=np.float32), np.zeros(1)
    first = matrix.apply(np.stack([eye[0], eye[0]])[None], np.zeros(2))
    second = matrix.apply(eye[None, 1:2], none)
    unseen = matrix.apply_transpose(np.eye(m, dtype=np.float32)[None, :1])
    bias = matrix.apply(0 * eye[None, :1], np.ones(1))
    for network in range(2):
        z = streams.normals(KEY, network, streams.FORWARD, 3, 4, m).astype(float)
        y = streams.normals(KEY, network, streams.BACKWARD, 3, 1, n).astype(float)[0]
        gamma = streams.normals(KEY, network, streams.BACKWARD, 3, 1, 1, 0, streams.BIAS_COLUMN).astype(float)
        np.testing.assert_allclose(first[network], s * z[[0, 0]], atol=1e-6)
        np.testing.assert_allclose(second[network, 0], s * z[2], atol=1e-6)
        np.testing.assert_allclose(unseen[network, 0], s * np.r_[z[0, 0], z[2, 0], y[2:]], atol=1e-6)
        np.testing.assert_allclose(bias[network, 0, 0], b * gamma[0, 0], atol=1e-6)


def test_float64_and_haar_keep_their_basis() -> None:
    for law, precision, expected in (
        ("gaussian", "mixed", AskedGaussian),
        ("gaussian", "float64", ConditionedGaussian),
        ("orthogonal", "mixed", None),
    ):
        made = asked_matrix(Layer(1, 8, 8, law, 1.0, 0.0), ensemble(1, precision))
        assert isinstance(made, expected) if expected else not isinstance(made, AskedGaussian)


def test_factors_of_any_rank() -> None:
    rng = np.random.default_rng(2)
    q = rng.normal(size=(4, 5, 9))
    q[1, 2] = q[1, 0] - 2 * q[1, 1]
    q[2, 0] = 0
    q[3, 4] = q[3, 3] + 1e-4 * q[3, 4]  # close, and kept
    square = q @ q.swapaxes(1, 2)
    c, inverse = factored(np, square, np.diagonal(square, 0, 1, 2))
    np.testing.assert_allclose(c @ c.swapaxes(1, 2), square, atol=1e-12)
    dropped = [[], [2], [0], []]
    for n in range(4):
        assert list(np.flatnonzero(np.diag(c[n]) == 0)) == dropped[n]
        kept = [t for t in range(5) if t not in dropped[n]]
        a = inverse[n] @ q[n]
        np.testing.assert_allclose((a @ a.T)[np.ix_(kept, kept)], np.eye(len(kept)), atol=1e-7)
        assert np.all(a[dropped[n]] == 0)


@pytest.mark.parametrize(("units", "inputs"), [(300, 5000), (1003, 261)])
@pytest.mark.parametrize("bias", [0.0, 0.3])
@pytest.mark.parametrize("rows", [(2, 2), (3, 1), (5, 4)], ids=str)
def test_one_pass_is_the_general_way_to_the_bit(
    units: int, inputs: int, bias: float, rows: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """First questions of long rows, some of them dependent or zero, shared or not, and what is asked after them."""
    layer, who = Layer(3, units, inputs, "gaussian", 1.5, bias), Ensemble(BACKEND, KEY, 5, 8, "mixed")
    for lead in (1, 3):
        rng = np.random.default_rng(lead)
        x, d = (
            rng.normal(size=(n, r, m)).astype(np.float32) for n, r, m in ((lead, rows[0], inputs), (3, rows[1], units))
        )
        x[:, 2:3] = 2 * x[:, 1:2]
        d[:, 2:3] = 0.0
        constants = np.eye(1, rows[0])[0]
        found = []
        for least in (256, 1 << 30):
            monkeypatch.setattr(asking, "LONG_ROWS", least)
            matrix = AskedGaussian(layer, who, *rows)
            once = AskedGaussian(layer, who, rows[0], 0)
            found.append(
                [
                    matrix.apply(x, constants),
                    matrix.apply_transpose(d),
                    matrix.apply(x[:, :1] + 1.0, constants[:1]),
                    matrix.apply_transpose(d[:, :1] - 0.5),
                    once.apply(x, constants),
                    once.apply_transpose(d),
                    once.apply(x[:, :1] + 1.0, constants[:1]),
                ]
            )
        for one, general in zip(*found, strict=True):
            size = abs(general).max()  # factors differ in the last bit of float64
            assert size > 0
            np.testing.assert_allclose(one, general, rtol=0, atol=2e-7 * size)
        for first in (0, 4):
            assert np.array_equal(found[0][first], found[1][first])


def test_a_network_asked_in_one_pass_does_not_depend_on_the_others() -> None:
    layer = Layer(3, 300, 400, "gaussian", 1.5, 0.2)
    rng = np.random.default_rng(0)
    x, d = (rng.normal(size=(5, 2, m)).astype(np.float32) for m in (400, 300))
    constants = np.eye(1, 2)[0]

    def answers(start: int, stop: int) -> list[np.ndarray]:
        matrix = AskedGaussian(layer, Ensemble(BACKEND, KEY, start, stop, "mixed"), 2, 2)
        return [matrix.apply(x[start:stop], constants), matrix.apply_transpose(d[start:stop])]

    for together, alone in zip(answers(0, 5), answers(3, 4), strict=True):
        assert np.array_equal(together[3:4], alone)
