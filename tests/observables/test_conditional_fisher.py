"""Fisher information of one input with M outputs, and the conjugate kernel: against gradients and Gram matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from network_points import PlainNetwork, measured, point
from strict_backend import STRICT

from mcnet.backend import get_backend
from mcnet.observables.catalog import OBSERVABLES
from mcnet.observables.measure import measure
from mcnet.request import Request


@pytest.mark.parametrize("case", [{}, {"dimension": 5, "train_biases": True}, {"weights": "orthogonal", "outputs": 2}])
def test_eigenvalues_are_those_of_the_gradients(case: dict[str, Any]) -> None:
    """The Fisher matrix from one gradient after the other: du^L_k / dW_l,ij = (J_l)_ki h^(l-1)_j."""
    where = point(2, **case)
    seen = measured(where, "explicit", {"conditional_fim": {"moments": 2}}, 3, 6)
    for n in range(3):
        plain = PlainNetwork(where, 3 + n, seed=11)
        u, h, _ = plain.activity()
        back, gradients = np.eye(where.width), []
        for layer in range(where.depth - 1, -1, -1):
            gradients.append((back[:, :, None] * h[layer][0]).reshape(where.width, -1))
            if where.train_biases:
                gradients.append(back)
            if layer:
                back = back @ plain.weights[layer] * (1 - np.tanh(u[layer - 1][0]) ** 2)
        jacobian = np.concatenate(gradients, axis=1)
        exact = np.linalg.eigvalsh(jacobian @ jacobian.T)[::-1] / where.width
        np.testing.assert_allclose(seen["conditional_fim_eigenvalue"][n], exact, rtol=1e-10)
        np.testing.assert_allclose(seen["conditional_fim_moment"][n], [exact.mean(), (exact**2).mean()], rtol=1e-10)


def test_mean_and_second_moment_of_linear_networks_are_exact() -> None:
    """Gaussian, no bias: E (1/M) tr Theta = sum_l q_hat_0 sigma_w2^(L-1); Haar: every eigenvalue is that sum."""
    where = point(1, width=24, depth=3, activation="linear", sigma_w2=0.8, sigma_b2=0.0)
    seen = measured(where, "explicit", {"conditional_fim": {"keep": "moments"}, "q": {}}, 0, 8000, precision="mixed")
    mean = seen["conditional_fim_moment"][:, 0] / seen["q_hat"][:, 0, 0]
    score = (mean.mean() - 3 * 0.8**2) / (mean.std() / math.sqrt(len(mean)))
    assert abs(score) < 5
    assert abs(score + 0.02 * 3 * 0.8**2 / (mean.std() / math.sqrt(len(mean)))) > 5  # a formula 2 % off is seen
    haar = point(1, width=12, depth=3, activation="linear", weights="orthogonal", sigma_w2=0.8, sigma_b2=0.0)
    seen = measured(haar, "explicit", {"conditional_fim": {}, "q": {}}, 0, 3)
    length = seen["q_hat"][:, 0, :1] * 3 * 0.8**2
    np.testing.assert_allclose(seen["conditional_fim_eigenvalue"], np.repeat(length, 12, 1), rtol=1e-12)


@pytest.mark.parametrize("inputs", [3, 8, 13])
def test_conjugate_kernel(inputs: int) -> None:
    where = point(inputs, width=8, depth=2)
    seen = measured(where, "explicit", {"conjugate_kernel": {}}, 0, 4)["conjugate_kernel_eigenvalue"]
    for n in range(4):
        h = PlainNetwork(where, n, seed=11).activity()[1][2]
        s = np.linalg.svd(h / math.sqrt(8), compute_uv=False)
        expected = np.zeros(inputs)
        expected[: s.size] = s**2
        np.testing.assert_allclose(seen[n], expected, atol=1e-13)
        assert np.all(seen[n, 8:] == 0.0)


def test_other_arrays_and_refusals() -> None:
    where = point(2)
    asked: dict[str, dict[str, Any]] = {"conditional_fim": {}, "conjugate_kernel": {}, "jacobian_lambda_max": {}}
    ours, theirs = (measured(where, "explicit", asked, 0, 2, backend=backend) for backend in (None, STRICT))
    for name, values in ours.items():
        np.testing.assert_allclose(theirs[name], values, rtol=1e-9, err_msg=name)
    assert OBSERVABLES["conditional_fim"].samplers == ("explicit",)
    assert OBSERVABLES["conjugate_kernel"].check(point(1), {})


def test_the_length_of_the_input_is_said_where_it_differs() -> None:
    where = point(1, dimension=5)
    parts = measure(where, Request({"conditional_fim": {}}, 1, "explicit", "mixed"), 0, 1, get_backend("cpu"))
    assert all("q_hat_0 = |x|^2/M (M the width" in part.variable.definition for part in parts)
