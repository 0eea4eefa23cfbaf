"""The tangent kernel at infinite width against closed forms, wide networks and plain gradient descent."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import explicit

from mcnet import activations
from mcnet.theory import finite_width, tangent

GRAM = np.array([[1.0, 0.6, -0.2], [0.6, 1.3, 0.1], [-0.2, 0.1, 0.8]])


@pytest.mark.parametrize("depth", [1, 3])
def test_relu_kernel_by_the_arc_cosine_recursion(depth: int) -> None:
    """Arc-cosine kernels written out, sigma_w2 = 2: the diagonal is (depth + 1) sigma_w2 |x|^2/M_0."""
    theta, sigma = 2.0 * GRAM, 2.0 * GRAM
    for _ in range(depth):
        length = np.sqrt(np.diagonal(sigma))
        angle = np.arccos(np.clip(sigma / np.outer(length, length), -1, 1))
        np.fill_diagonal(angle, 0.0)
        slopes = (np.pi - angle) / np.pi  # sigma_w2 <p p>
        sigma = np.outer(length, length) * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi
        theta = sigma + slopes * theta
    got = tangent.kernel(GRAM, "relu", 2.0, 0.0, depth, "ntk", False)
    np.testing.assert_allclose(got, theta, rtol=1e-12)
    np.testing.assert_allclose(np.diagonal(got), 2.0 * (depth + 1) * np.diagonal(GRAM), rtol=1e-12)


def test_linear_kernel_in_every_parametrisation() -> None:
    """One hidden layer, phi(u) = u: alpha_1 sigma_w2 K + alpha_2 (sigma_w2 K + sigma_b2) + beta_1 sigma_w2 + beta_2."""
    w2, b2, hidden = 1.5, 0.2, 1.5 * GRAM + 0.2
    given = (GRAM, "linear", w2, b2, 1)
    np.testing.assert_allclose(tangent.kernel(*given, "pdlt", False), w2 * GRAM + hidden, rtol=1e-13)
    np.testing.assert_allclose(tangent.kernel(*given, "pdlt", True), w2 * GRAM + hidden + w2 + 1, rtol=1e-13)
    expected = w2 * (w2 * GRAM + hidden) + b2 * (w2 + 1)
    np.testing.assert_allclose(tangent.kernel(*given, "ntk", True), expected, rtol=1e-13)
    expected = 30 * w2 * GRAM + 50 * hidden + w2 + 1
    got = tangent.kernel(*given, "standard", True, 50, input_dimension=30)
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    same = tangent.kernel(*given, "standard", True, 50)
    np.testing.assert_allclose(same, tangent.kernel(*given, "standard", True, 50, input_dimension=50), rtol=1e-14)


@pytest.mark.parametrize("name", ["tanh", "gelu", "elu", "hard-tanh"])
@pytest.mark.parametrize("parameterization", ["ntk", "pdlt"])
def test_kernel_is_the_limit_of_the_finite_width_theory(name: str, parameterization: str) -> None:
    """Two implementations, with different quadrature."""
    pair = GRAM[:2, :2]
    got = tangent.kernel(pair, name, 1.7, 0.2, 4, parameterization, True)
    other = finite_width.coefficients(pair, name, "gaussian", 1.7, 0.2, 4, parameterization, True)
    np.testing.assert_allclose(got, other.ntk_limit, rtol=1e-11)


def test_kernel_of_explicit_networks() -> None:
    """Mean over networks of width 64, with the predicted 1/M; the limit alone is refused by the data."""
    pair, width, count = GRAM[:2, :2], 64, 4000
    given = ("tanh", 2.5, 0.1)
    rng = np.random.default_rng(8)
    sample = explicit(rng, activations.get("tanh"), False, pair, *given[1:], 2, width, count)
    theta = tangent.kernel(pair, *given, 2, "ntk", True)
    shift = finite_width.coefficients(pair, "tanh", "gaussian", *given[1:], 2, "ntk", True).ntk_mean
    error = sample.theta.std(axis=0) / np.sqrt(count)
    z = (sample.theta.mean(axis=0) - theta - shift / width) / error
    assert np.max(np.abs(z)) < 5.0
    frozen = tangent.kernel(pair, *given, 2, "ntk", False)
    assert np.max(np.abs(sample.theta.mean(axis=0) - frozen - shift / width) / error) > 20.0


def test_training_follows_plain_gradient_descent() -> None:
    """A linear model f = J theta whose kernel is J J^T, trained step by step; new inputs and outputs included."""
    rng = np.random.default_rng(4)
    train, new = rng.standard_normal((4, 9)), rng.standard_normal((3, 9))
    y, parameters = rng.standard_normal((4, 2)), rng.standard_normal((9, 2))
    kernel, cross = train @ train.T, new @ train.T
    rate = 0.9 * tangent.learning_rate_bound(kernel)
    start, start_new = train @ parameters, new @ parameters
    seen, unseen = [], []
    for _ in range(41):
        seen.append(train @ parameters)
        unseen.append(new @ parameters)
        parameters = parameters - rate / 4 * train.T @ (train @ parameters - y)
    steps = [0, 1, 7, 40]
    got = tangent.gradient_descent(kernel, y, rate, steps, start)
    np.testing.assert_allclose(got, np.array(seen)[steps], rtol=1e-10, atol=1e-11)
    got = tangent.gradient_descent(kernel, y, rate, steps, start, cross, start_new)
    np.testing.assert_allclose(got, np.array(unseen)[steps], rtol=1e-9, atol=1e-10)
    # the flow is the limit of small steps, and ends in kernel regression
    flow = tangent.gradient_flow(kernel, y, [3.0], start, cross, start_new)
    fine = tangent.gradient_descent(kernel, y, 3e-6, [10**6], start, cross, start_new)
    np.testing.assert_allclose(flow, fine, atol=1e-5)
    end = tangent.gradient_flow(kernel, y, [1e6], cross=cross)[0]
    np.testing.assert_allclose(end, tangent.regression(kernel, y, cross), rtol=1e-8)
    np.testing.assert_allclose(end, cross @ np.linalg.solve(kernel, y), rtol=1e-8)
    one_output = tangent.gradient_descent(kernel, y[:, 0], rate, steps, start[:, 0])
    np.testing.assert_allclose(one_output, np.array(seen)[steps][..., 0], rtol=1e-10, atol=1e-11)


def test_learning_rate_bound_is_sharp() -> None:
    kernel = tangent.kernel(GRAM, "gelu", 1.7, 0.2, 3, "ntk", True)
    bound = tangent.learning_rate_bound(kernel)
    below = tangent.gradient_descent(kernel, np.ones(3), 0.99 * bound, [2000])
    above = tangent.gradient_descent(kernel, np.ones(3), 1.01 * bound, [2000])
    assert np.max(np.abs(below - 1.0)) < 1.0
    assert np.max(np.abs(above)) > 1e6


def test_repeated_inputs() -> None:
    """A singular kernel: regression refuses unless there is a ridge; training does not mind."""
    kernel = np.array([[2.0, 2.0], [2.0, 2.0]])
    with pytest.raises(ValueError, match="singular"):
        tangent.regression(kernel, [1.0, 1.0], kernel)
    np.testing.assert_allclose(tangent.regression(kernel, [1.0, 1.0], kernel, ridge=1e-9), 1.0, rtol=1e-8)
    np.testing.assert_allclose(tangent.gradient_flow(kernel, [1.0, 1.0], [100.0], cross=kernel), 1.0, rtol=1e-10)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"parameterization": "standard"}, "width"),
        ({"parameterization": "mup"}, "parameterization"),
        ({"gram": np.ones((2, 3))}, "square"),
    ],
)
def test_what_is_refused(change: dict[str, object], match: str) -> None:
    given: dict[str, object] = {
        "gram": GRAM,
        "activation": "tanh",
        "sigma_w2": 1.5,
        "sigma_b2": 0.1,
        "depth": 2,
        "parameterization": "ntk",
        "train_biases": True,
    }
    with pytest.raises(ValueError, match=match):
        tangent.kernel(**{**given, **change})
