"""Matrices that are asked against matrices that are built: exact identities, conventions of the streams, same law."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from same_law import assert_same_law

from mcnet import streams
from mcnet.backend import get_backend
from mcnet.kernels import linalg
from mcnet.weights import explicit
from mcnet.weights.conditioned import conditioned_matrix
from mcnet.weights.explicit import ExplicitMatrix
from mcnet.weights.laws import AbstractMatrix, Ensemble, Layer

BACKEND = get_backend("cpu")
KEY = streams.seed_key(20240611)
SHAPES = [(7, 5), (5, 7), (6, 6)]


def ensemble(networks: int, precision: str = "float64") -> Ensemble:
    return Ensemble(BACKEND, KEY, 0, networks, precision)


def close(actual: Any, expected: Any, atol: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def made(sampler: str, layer: Layer, who: Ensemble) -> AbstractMatrix:
    return conditioned_matrix(layer, who) if sampler == "conditioned" else ExplicitMatrix(layer, who, keep=True)


@pytest.mark.parametrize("law", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_answer_belongs_to_one_matrix(law: str, shape: tuple[int, int]) -> None:
    """d.(W x) = (W^T d).x for all questions asked, in any order, repeated ones and more of them than dimensions."""
    m, n = shape
    rng = np.random.default_rng(1)
    matrix = conditioned_matrix(Layer(1, m, n, law, 1.7, 0.3), ensemble(4))
    x, d, forward, backward = (np.empty((4, 0, size)) for size in (n, m, m, n))
    constants = np.empty(0)
    for count in (1, 3, 2, 9):
        asked, multiples = rng.normal(size=(4, count, n)), rng.integers(0, 2, count).astype(float)
        if count == 9:
            asked[:, 4], multiples[4] = x[:, 2], constants[2]
            answer = matrix.apply(asked, multiples)
            close(answer[:, 4], forward[:, 2], 1e-12)
        else:
            answer = matrix.apply(asked, multiples)
        x, forward = np.concatenate([x, asked], 1), np.concatenate([forward, answer], 1)
        constants = np.concatenate([constants, multiples])
        asked = rng.normal(size=(4, count, m))
        d, backward = np.concatenate([d, asked], 1), np.concatenate([backward, matrix.apply_transpose(asked)], 1)
    excess = d @ forward.swapaxes(1, 2) - backward @ x.swapaxes(1, 2)  # d.b where the bias counts, else 0
    with_bias = constants == 1
    close(excess[:, :, ~with_bias], 0, 1e-12)
    close(excess[:, :, with_bias] - excess[:, :, with_bias][:, :, :1], 0, 1e-12)


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_orthogonal_matrices_are_orthogonal(sampler: str, shape: tuple[int, int]) -> None:
    m, n = shape
    matrix = made(sampler, Layer(2, m, n, "orthogonal", 1.7, 0.0), ensemble(3))
    w = matrix.apply(np.eye(n)[None], np.zeros(n)).swapaxes(1, 2)  # (N, m, n)
    close(matrix.apply_transpose(np.eye(m)[None]), w, 1e-12)
    square = w @ w.swapaxes(1, 2) if m <= n else w.swapaxes(1, 2) @ w
    expected = 1.7 * max(m, n) / n * np.eye(min(m, n))  # so that an entry has variance 1.7 / n
    close(square, np.broadcast_to(expected, square.shape), 1e-12)


def test_question_r_takes_row_r_of_its_stream() -> None:
    """A question inside the span uses nothing of its row; the bias is column 2^30 of a backward row."""
    m, n, s, b = 6, 5, math.sqrt(1.7 / 5), math.sqrt(0.3)
    matrix = conditioned_matrix(Layer(3, m, n, "gaussian", 1.7, 0.3), ensemble(2))
    e0, e1 = np.eye(n)[:1], np.eye(n)[1:2]
    first = matrix.apply(np.concatenate([e0, e0])[None], np.zeros(2))
    second = matrix.apply(e1[None], np.zeros(1))
    only_bias = matrix.apply(np.zeros((1, 1, n)), np.ones(1))
    unseen = matrix.apply_transpose(np.eye(m)[None, :1])
    for network in range(2):
        z = streams.normals(KEY, network, streams.FORWARD, 3, 4, m).astype(float)
        y = streams.normals(KEY, network, streams.BACKWARD, 3, 1, n).astype(float)[0]
        close(first[network], s * z[[0, 0]], 1e-14)
        close(second[network, 0], s * z[2], 1e-14)
        close(only_bias[network, 0], b * z[3], 1e-14)
        close(unseen[network, 0], s * np.r_[z[0, 0], z[2, 0], y[2:]], 1e-14)


def test_bias_coordinate_of_a_backward_answer() -> None:
    """A bias asked for after W^T d must agree with the bias coordinate drawn then."""
    matrix = conditioned_matrix(Layer(3, 6, 5, "gaussian", 1.7, 0.3), ensemble(2))
    matrix.apply_transpose(np.eye(6)[None, :1])
    bias = matrix.apply(np.zeros((1, 1, 5)), np.ones(1))
    for network in range(2):
        z = streams.normals(KEY, network, streams.BACKWARD, 3, 1, 1, 0, streams.BIAS_COLUMN).astype(float)
        close(bias[network, 0, 0], math.sqrt(0.3) * z[0, 0], 1e-14)


def reflected(rows: Any) -> Any:
    """Householder's Q of a Gaussian matrix, one plain reflection after the other: (m, n) -> (n, m)."""
    m, n = rows.shape
    q, signs = np.eye(n), []
    for k in range(m):
        v = np.where(np.arange(n) < k, 0.0, rows[k])
        signs.append(-1.0 if rows[k, k] > 0 else 1.0)
        v[k] -= signs[-1] * np.linalg.norm(v)
        q = q @ (np.eye(n) - 2 * np.outer(v, v) / (v @ v))
    return q[:, :m] * signs


@pytest.mark.parametrize("law", ["gaussian", "uniform", "orthogonal"])
@pytest.mark.parametrize("precision", ["mixed", "float64"])
def test_explicit_entries_come_from_the_stream(law: str, precision: str) -> None:
    m, n = 4, 6
    layer = Layer(2, m, n, law, 1.3, 0.2)
    matrix = ExplicitMatrix(layer, ensemble(3, precision), keep=False)
    x = np.concatenate([np.eye(n), np.zeros((1, n))])[None].astype(np.float32 if precision == "mixed" else float)
    answer = matrix.apply(x, np.r_[np.zeros(n), 1.0])
    assert answer.dtype == x.dtype
    tolerance = 1e-6 if precision == "mixed" else 1e-14
    for network in range(3):
        source = streams.uniforms if law == "uniform" else streams.normals
        w = source(KEY, network, streams.WEIGHTS, 2, m, n).astype(float)
        if law == "uniform":
            w *= math.sqrt(3 * 1.3 / n)
        elif law == "gaussian":
            w *= math.sqrt(1.3 / n)
        else:
            w = math.sqrt(1.3) * reflected(w).T
        bias = math.sqrt(0.2) * streams.normals(KEY, network, streams.BIAS, 2, 1, m)[0].astype(float)
        close(answer[network, :n].T, w, tolerance)
        close(answer[network, n], bias, tolerance)


def test_matrices_kept_made_again_and_in_blocks_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    x, d = rng.normal(size=(2, 3, 11)), rng.normal(size=(2, 2, 13))
    for law in ("gaussian", "uniform", "orthogonal"):
        layer = Layer(1, 13, 11, law, 1.0, 0.1)
        kept, again = (ExplicitMatrix(layer, ensemble(2), keep) for keep in (True, False))
        forward, backward = kept.apply(x, np.ones(3)), kept.apply_transpose(d)
        assert np.array_equal(again.apply(x, np.ones(3)), forward)
        assert np.array_equal(again.apply_transpose(d), backward)
        with monkeypatch.context() as patch:
            patch.setattr(explicit, "BLOCK_BYTES", 8 * 11 * 4)  # four rows at a time
            close(again.apply(x, np.ones(3)), forward, 1e-13)
            close(again.apply_transpose(d), backward, 1e-13)


def test_extension_is_the_factorisation_with_positive_diagonal() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(5, 4, 9))
    vectors[:, 2] = vectors[:, 0] + 1e-9 * vectors[:, 2]  # close to the span: kept, and orthogonal all the same
    vectors[2, 1] = 3 * vectors[2, 0]
    first = linalg.extend(np, np.empty((1, 0, 9)), vectors[:, :1])
    basis, coefficients = linalg.extend(np, first.basis, vectors[:, 1:])
    close(coefficients @ basis, vectors[:, 1:], 1e-14)
    gram = basis @ basis.swapaxes(1, 2)
    expected = np.tile(np.eye(4), (5, 1, 1))
    expected[2, 1, 1] = 0
    close(gram, expected, 1e-14)
    assert np.all(np.diagonal(coefficients[:, :, 1:], axis1=1, axis2=2) >= 0)


class TwoMatrices:
    """Named mutant: backward questions go to another matrix, as if gradients were independent."""

    def __init__(self, layer: Layer, who: Ensemble) -> None:
        self._forward = conditioned_matrix(layer, who)
        other = Layer(layer.index + 1, layer.units, layer.inputs, layer.law, layer.sigma_w2, layer.sigma_b2)
        self._backward = conditioned_matrix(other, who)

    def apply(self, x: Any, constants: Any) -> Any:
        return self._forward.apply(x, constants)

    def apply_transpose(self, d: Any) -> Any:
        return self._backward.apply_transpose(d)


def recurrent(matrix: AbstractMatrix, width: int, networks: int) -> np.ndarray[Any, Any]:
    """One shared matrix: three steps forward, two backward, one forward again; lengths and overlaps of what is seen."""
    one = np.ones(1)
    h = np.tile(np.sqrt(np.arange(1, width + 1) * 2 / (width + 1)), (networks, 1, 1))
    seen, signals = [], [h]
    for _ in range(3):
        u = matrix.apply(h, one)
        seen.append((u * u).mean((1, 2)))
        h = np.tanh(u) + 0.3 * u
        signals.append(h)
    d = h / np.sqrt((h * h).sum(2, keepdims=True))
    for step in (2, 1):
        y = matrix.apply_transpose(d)
        seen += [(y * y).sum((1, 2)), (y * signals[step]).sum((1, 2))]
        d = (1 - np.tanh(signals[step]) ** 2) * y
    u = matrix.apply(y + h, one)
    return np.stack([*seen, (u * u).mean((1, 2)), (u * d).sum((1, 2))], axis=1)


def check_recurrent(law: str, asked: AbstractMatrix, networks: int, width: int) -> None:
    layer = Layer(9, width, width, law, 1.5, 0.2)
    built = ExplicitMatrix(layer, Ensemble(BACKEND, streams.seed_key(77), 0, networks, "float64"), keep=True)
    assert_same_law(recurrent(asked, width, networks), recurrent(built, width, networks), f"recurrent, {law}")


@pytest.mark.parametrize("law", ["gaussian", "orthogonal"])
def test_a_shared_matrix_asked_from_both_sides_has_the_law_of_a_built_one(law: str) -> None:
    layer = Layer(1, 6, 6, law, 1.5, 0.2)
    check_recurrent(law, conditioned_matrix(layer, ensemble(12000)), 12000, 6)


@pytest.mark.parametrize("law", ["gaussian", "orthogonal"])
def test_the_recurrent_check_rejects_independent_gradients(law: str) -> None:
    with pytest.raises(AssertionError, match="recurrent"):
        check_recurrent(law, TwoMatrices(Layer(1, 6, 6, law, 1.5, 0.2), ensemble(3000)), 3000, 6)
