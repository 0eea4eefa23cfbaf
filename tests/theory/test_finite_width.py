"""The 1/M coefficients against deterministic judges: differentiated maps, exact laws, known recursions, symmetries."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from mcnet import activations
from mcnet.theory import gaussian
from mcnet.theory.exact.laws import length_moments, tangent_kernel_moments
from mcnet.theory.expansion import backward
from mcnet.theory.expansion.layer_moments import layer_moments
from mcnet.theory.expansion.pair_law import basis, from_basis, pair_law, to_matrix
from mcnet.theory.finite_width import Coefficients, coefficients

PAIR = np.array([[1.0, 0.6], [0.6, 1.3]])
ENTRIES = ([0, 0, 1], [0, 1, 1])
SIGMA_W2, SIGMA_B2 = 1.7, 0.2


def entries(matrix: np.ndarray) -> np.ndarray:
    return matrix[..., ENTRIES[0], ENTRIES[1]]


def features(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """h_a h_b and p_a p_b over the pairs 11, 12, 22 at nodes (n,): (6, n)."""
    phi = activations.get(name)

    def both(u_a: np.ndarray, u_b: np.ndarray) -> np.ndarray:
        pairs = ((u_a, u_a), (u_a, u_b), (u_b, u_b))
        return np.stack([f(x) * f(y) for f in (phi.phi, phi.dphi) for x, y in pairs])

    return both


def feature_mean(name: str, covariance: np.ndarray) -> np.ndarray:
    return np.asarray(gaussian.pair_mean(features(name), covariance, activations.get(name).kinks))


def feature_covariance(name: str, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """<F F^T>, and the same with the means taken off."""
    u, weight = gaussian.pair_nodes(covariance, activations.get(name).kinks)
    f = features(name)(*u)
    second = (f * weight) @ f.T
    mean = f @ weight
    return second, second - np.outer(mean, mean)


# one layer


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu", "hard-tanh", "elu", "softplus"])
@pytest.mark.parametrize("c", [0.9, -0.7])
def test_moments_of_a_layer_and_their_derivatives(name: str, c: float) -> None:
    """Hermite moments against central differences of the general quadrature."""
    one, two = 1.1, 0.6
    s = np.array([[one, c * np.sqrt(one * two)], [c * np.sqrt(one * two), two]])
    moments = layer_moments(activations.get(name), pair_law(basis(2) @ s @ basis(2).T))
    to_inputs = np.block([[from_basis(2), np.zeros((3, 3))], [np.zeros((3, 3)), np.eye(3)]])
    back = np.linalg.inv(from_basis(2))  # dS in the basis from dS
    np.testing.assert_allclose(to_inputs @ moments.mean, feature_mean(name, s), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(
        to_inputs @ moments.second @ to_inputs.T, feature_covariance(name, s)[0], rtol=1e-11, atol=1e-12
    )
    jacobian = to_inputs @ moments.jacobian @ back
    hessian = np.einsum("xf,fab,ac,bd->xcd", to_inputs, moments.hessian, back, back)

    def at(delta: np.ndarray) -> np.ndarray:
        return feature_mean(name, s + to_matrix(delta))

    step = 1e-3
    for direction in (np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), np.array([0.3, -0.5, 0.8])):
        values = [at(k * step * direction) for k in (-2, -1, 0, 1, 2)]
        first = (values[0] - 8 * values[1] + 8 * values[3] - values[4]) / (12 * step)
        second = (-values[0] + 16 * values[1] - 30 * values[2] + 16 * values[3] - values[4]) / (12 * step**2)
        np.testing.assert_allclose(jacobian @ direction, first, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(np.einsum("fab,a,b->f", hessian, direction, direction), second, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_mixed_moments_of_a_layer(name: str) -> None:
    """<u p h> and <u p u p> against the general quadrature."""
    phi = activations.get(name)
    moments = layer_moments(phi, pair_law(basis(2) @ PAIR @ basis(2).T))
    u, weight = gaussian.pair_nodes(PAIR, phi.kinks)
    p, tilde, h = phi.dphi(u), basis(2) @ u, basis(2) @ phi.phi(u)
    np.testing.assert_allclose(moments.cross, np.einsum("sn,tn,rn,n->tsr", tilde, p, h, weight), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(
        moments.overlap, np.einsum("sn,tn,vn,un,n->tusv", tilde, p, tilde, p, weight), rtol=1e-11, atol=1e-13
    )


# the whole expansion, without the term that correlates weights and activations, by differences of a noisy network


@pytest.mark.parametrize(("name", "fixed_inputs"), [("gelu", True), ("tanh", False), ("relu", False)])
def test_expansion_is_that_of_a_network_of_noisy_layers(
    name: str, fixed_inputs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every layer's Gram is its mean given the layer below plus noise of known covariance: differentiate that.

    With x the noise, Cov x = C/M, any observable has a1 = (1/2) tr(C X'') and v1 = X'^T C X'. The correlation between
    weights and activations that one step back leaves is not in it and is switched off in the code.
    """
    original = backward._trace
    monkeypatch.setattr(backward, "_trace", lambda *given: 0.0 * original(*given))
    depth = 2
    got = coefficients(PAIR, name, "gaussian", SIGMA_W2, SIGMA_B2, depth, "ntk", True, fixed_inputs)

    def network(x: np.ndarray) -> np.ndarray:
        k, noise = [entries(PAIR) + x[:3]], x[3:].reshape(depth, 9)
        m = []
        for layer in range(depth):
            mean = feature_mean(name, SIGMA_W2 * to_matrix(k[-1]) + SIGMA_B2)
            k.append(mean[:3] + noise[layer, :3])
            m.append(mean[3:] + noise[layer, 3:6])
        b = [np.ones(3)]
        for layer in reversed(range(depth)):
            b.insert(0, SIGMA_W2 * (m[layer] * b[0] + noise[layer, 6:]))
        theta = sum(above * (SIGMA_W2 * below + SIGMA_B2) for above, below in zip(b, k, strict=True))
        q = SIGMA_W2 * k[-2] + SIGMA_B2
        c = q[1] / np.sqrt(q[0] * q[2])
        return np.concatenate([*k[1:], *b[:-1], theta, [c]])

    noise = np.zeros((3 + 9 * depth, 3 + 9 * depth))
    k, limits = PAIR, [*got.q_tilde_limit[1:], np.ones((2, 2))]
    if not fixed_inputs:
        noise[:3, :3] = wick(PAIR)
    for layer in range(depth):
        second, centred = feature_covariance(name, SIGMA_W2 * k + SIGMA_B2)
        place = slice(3 + 9 * layer, 9 + 9 * layer)
        noise[place, place] = centred
        last = slice(9 + 9 * layer, 12 + 9 * layer)
        noise[last, last] = second[3:, 3:] * wick(limits[layer])
        k = got.q_hat_limit[layer + 1]

    values, vectors = np.linalg.eigh(noise)
    limit, mean, gradients = network(np.zeros(len(noise))), 0.0, []
    t = 3e-3
    for value, vector in zip(values, vectors.T, strict=True):
        if value > 1e-12:
            step = t * np.sqrt(value) * vector
            up, down = network(step), network(-step)
            mean = mean + (up - 2 * limit + down) / (2 * t**2)
            gradients.append((up - down) / (2 * t))
    covariance = np.einsum("go,gx->ox", gradients, gradients)

    def flat(kind: str) -> np.ndarray:
        fields = [getattr(got, f"{field}_{kind}") for field in ("q_hat", "q_tilde", "ntk")]
        return np.concatenate([entries(fields[0])[1:].ravel(), entries(fields[1]).ravel(), entries(fields[2])])

    np.testing.assert_allclose(flat("limit"), limit[:-1], rtol=1e-11)
    np.testing.assert_allclose(flat("mean"), mean[:-1], rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(flat("variance"), np.diagonal(covariance)[:-1], rtol=2e-4)
    np.testing.assert_allclose(got.ntk_covariance, covariance[-4:-1, -4:-1], rtol=2e-4)
    np.testing.assert_allclose(got.q_hat_covariance[1, :, 2, :], covariance[:3, 3:6], rtol=2e-4)


def wick(gram: np.ndarray) -> np.ndarray:
    pairs = list(zip(*ENTRIES, strict=True))
    return np.array([[gram[a, c] * gram[b, d] + gram[a, d] * gram[b, c] for c, d in pairs] for a, b in pairs])


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_correlation_follows_the_delta_method(weights: str) -> None:
    """c = q_12 / sqrt(q_11 q_22) differentiated by hand, from the coefficients of q in the first layer."""
    got = coefficients(PAIR, "tanh", weights, SIGMA_W2, SIGMA_B2, 1, "ntk", True)
    covariance = wick(got.q_limit[0]) - (wick(SIGMA_W2 * PAIR) if weights == "orthogonal" else 0.0)
    np.testing.assert_allclose(entries(got.q_variance[0]), np.diagonal(covariance), rtol=1e-12)

    def c(q: np.ndarray) -> float:
        return q[1] / np.sqrt(q[0] * q[2])

    q, t = entries(got.q_limit[0]), 1e-3
    values, vectors = np.linalg.eigh(covariance)
    steps = t * np.sqrt(np.maximum(values, 0.0)) * vectors
    mean = sum(c(q + step) - 2 * c(q) + c(q - step) for step in steps.T) / (2 * t**2)
    variance = sum((c(q + step) - c(q - step)) ** 2 for step in steps.T) / (4 * t**2)
    np.testing.assert_allclose(got.c_mean[0], mean, rtol=1e-4)
    np.testing.assert_allclose(got.c_variance[0], variance, rtol=1e-4)


# one input


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu"])
def test_single_input_follows_the_recursions_of_the_literature(name: str) -> None:
    """Variance of the length by the recursion of Roberts, Yaida, Hanin 2022; gradient norms by the same steps."""
    depth, phi = 6, activations.get(name)
    got = coefficients(1.3, name, "gaussian", SIGMA_W2, SIGMA_B2, depth, "ntk", True)
    q, variance = SIGMA_W2 * 1.3 + SIGMA_B2, 0.0
    for layer in range(depth):
        u, weight = gaussian.nodes(q, phi.kinks)
        square, fourth = (phi.phi(u) ** n @ weight for n in (2, 4))
        slope = SIGMA_W2 * (weight @ (phi.phi(u) ** 2 * (u**2 / q - 1))) / (2 * q)
        np.testing.assert_allclose(got.q_variance[layer, 0, 0], 2 * q**2 + variance, rtol=1e-11)
        variance = SIGMA_W2**2 * (fourth - square**2) + slope**2 * variance
        np.testing.assert_allclose(SIGMA_W2**2 * got.q_hat_variance[layer + 1, 0, 0], variance, rtol=1e-10)
        q = SIGMA_W2 * square + SIGMA_B2
    np.testing.assert_allclose(got.output_kurtosis, [3 * variance / q**2], rtol=1e-10)


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("depth", [1, 4, 10])
def test_homogeneous_networks_follow_the_exact_laws(slope: float, depth: int) -> None:
    """v1 is the limit of M (variance) of the exact finite-width laws; the mean of the kernel has no correction."""
    name = {"name": "leaky-relu", "slope": slope}
    width = 10**7
    got = coefficients(1.3, name, "gaussian", SIGMA_W2, 0.0, depth, "pdlt", False)
    exact = tangent_kernel_moments(slope, SIGMA_W2, [width] * depth, np.ones(depth + 1), 1.3)
    np.testing.assert_allclose(got.ntk_limit, exact.mean, rtol=1e-12)
    np.testing.assert_allclose(got.ntk_mean / got.ntk_limit, 0.0, atol=1e-11)
    np.testing.assert_allclose(got.ntk_variance, width * (exact.second - exact.mean**2), rtol=1e-5)
    # the closed form of the same
    v, w = (6 * (1 + slope**4) / (1 + slope**2) ** 2 - 1, 2 * (1 + slope**4) / (1 + slope**2) ** 2 - 1)
    layers = depth + 1
    relative = v * depth - (v - w) * (layers**2 - 1) / (3 * layers)
    np.testing.assert_allclose(got.ntk_variance, relative * got.ntk_limit**2, rtol=1e-10)
    for weights in ("gaussian", "orthogonal"):
        both = coefficients(1.3, name, weights, SIGMA_W2, 0.0, depth, "pdlt", False)
        law = length_moments(slope, SIGMA_W2, [width] * depth, orthogonal=weights == "orthogonal")
        relative = both.q_hat_variance[-1, 0, 0] / both.q_hat_limit[-1, 0, 0] ** 2
        np.testing.assert_allclose(relative, width * (law.second / law.mean**2 - 1), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(both.q_hat_mean / both.q_hat_limit, 0.0, atol=1e-11)


def test_square_orthogonal_linear_networks_do_not_fluctuate() -> None:
    got = coefficients(PAIR, "linear", "orthogonal", SIGMA_W2, 0.0, 5, "ntk", False)
    np.testing.assert_allclose(got.q_hat_variance, 0.0, atol=1e-11)
    np.testing.assert_allclose(got.q_variance, 0.0, atol=1e-11)
    np.testing.assert_allclose(got.c_mean, 0.0, atol=1e-12)
    # the first layer alone, from fewer inputs than units: W x is a partial isometry too, from more it is not
    for ratio, variance in ((0.5, 0.0), (2.0, 1.0 - 0.5)):
        got = coefficients(1.0, "linear", "orthogonal", 1.0, 0.0, 1, "ntk", False, input_over_width=ratio)
        np.testing.assert_allclose(got.q_hat_variance[1, 0, 0], 2.0 * variance, atol=1e-12)


# symmetries and conventions


@pytest.mark.parametrize("name", ["tanh", "relu"])
@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_two_inputs_contain_each_one_and_may_be_exchanged(name: str, weights: str) -> None:
    given = (name, weights, SIGMA_W2, SIGMA_B2, 3, "ntk", True)
    both = coefficients(PAIR, *given)
    swapped = coefficients(PAIR[::-1, ::-1], *given)
    for field in ("q_hat", "q", "q_tilde", "ntk"):
        for kind in ("limit", "mean", "variance"):
            value = getattr(both, f"{field}_{kind}")
            np.testing.assert_allclose(value, value.swapaxes(-1, -2), rtol=1e-12)
            np.testing.assert_allclose(
                value[..., ::-1, ::-1], getattr(swapped, f"{field}_{kind}"), rtol=1e-9, atol=1e-10
            )
            for input_ in (0, 1):
                one = getattr(coefficients(PAIR[input_, input_], *given), f"{field}_{kind}")
                np.testing.assert_allclose(value[..., input_, input_], one[..., 0, 0], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(both.ntk_covariance[::-1, ::-1], swapped.ntk_covariance, rtol=1e-9)
    np.testing.assert_allclose(both.lambda_max_mean, swapped.lambda_max_mean, rtol=1e-9)


@pytest.mark.parametrize("name", ["tanh", "relu", "softplus"])
@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize(
    "gram", [[[1.0, 1.0], [1.0, 1.0]], [[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 1.0]], [[1.0, -1.0], [-1.0, 1.0]]]
)
@pytest.mark.parametrize("sigma_b2", [0.0, 0.1])
def test_parallel_and_vanishing_inputs(name: str, weights: str, gram: list[list[float]], sigma_b2: float) -> None:
    """Singular covariances: each input by itself as alone, and continuous in the correlation."""
    given = (name, weights, SIGMA_W2, sigma_b2, 3, "ntk", True)
    got = coefficients(gram, *given)
    for field in ("q_hat", "q_tilde", "ntk"):
        for kind in ("mean", "variance"):
            value = getattr(got, f"{field}_{kind}")
            assert np.all(np.isfinite(value))
            one = getattr(coefficients(gram[1][1], *given), f"{field}_{kind}")
            np.testing.assert_allclose(value[..., 1, 1], one[..., 0, 0], rtol=1e-8, atol=1e-9)
    if gram[0][1] == gram[0][0] == gram[1][1]:  # equal inputs are one
        np.testing.assert_allclose(got.ntk_mean, got.ntk_mean[0, 0], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(got.ntk_covariance, got.ntk_covariance[0, 0], rtol=1e-9)
        np.testing.assert_array_equal(got.c_limit, 1.0)
        np.testing.assert_allclose(got.c_mean, 0.0, atol=1e-12)


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu", "hard-tanh"])
@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_coefficients_of_the_correlation_keep_their_accuracy_near_one(name: str, weights: str) -> None:
    """a1 of c is proportional to 1 - c as c -> 1, v1 to its square."""

    def relative(gap: float) -> np.ndarray:
        got = coefficients([[1.0, 1.0 - gap], [1.0 - gap, 1.0]], name, weights, 1.3, 0.1, 6, "ntk", True)
        exact = 1.0 - (1.0 - gap)  # what the input Gram can hold
        return np.concatenate([got.c_mean / exact, got.c_variance / exact**2])

    # where phi' jumps the next term is of relative order sqrt(1 - c)
    at = {gap: relative(gap) for gap in (1e-6, 1e-8, 1e-10)}
    np.testing.assert_allclose(at[1e-8], at[1e-10], rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(at[1e-6], at[1e-10], rtol=2e-2, atol=1e-3)


def test_parametrisations_differ_in_their_factors_only() -> None:
    given = (PAIR, "gelu", "gaussian", SIGMA_W2, SIGMA_B2, 3)
    ntk, pdlt = coefficients(*given, "ntk", False), coefficients(*given, "pdlt", False)
    np.testing.assert_allclose(ntk.ntk_mean, SIGMA_W2 * pdlt.ntk_mean, rtol=1e-12)
    np.testing.assert_allclose(ntk.ntk_covariance, SIGMA_W2**2 * pdlt.ntk_covariance, rtol=1e-12)
    # of Theta/M in the standard one: the same without biases, which only shift the mean by the sum of the q_tilde
    frozen, trained = coefficients(*given, "standard", False), coefficients(*given, "standard", True)
    np.testing.assert_allclose(frozen.ntk_mean, pdlt.ntk_mean, rtol=1e-12)
    np.testing.assert_allclose(trained.ntk_limit, frozen.ntk_limit, rtol=1e-12)
    np.testing.assert_allclose(trained.ntk_variance, frozen.ntk_variance, rtol=1e-12)
    np.testing.assert_allclose(trained.ntk_mean - frozen.ntk_mean, frozen.q_tilde_limit.sum(axis=0) + 1.0, rtol=1e-11)


def test_random_inputs_are_one_more_linear_layer() -> None:
    fixed = coefficients(PAIR, "linear", "gaussian", 1.0, 0.0, 4, "ntk", False)
    drawn = coefficients(PAIR, "linear", "gaussian", 1.0, 0.0, 3, "ntk", False, fixed_inputs=False)
    np.testing.assert_allclose(drawn.q_hat_mean, fixed.q_hat_mean[1:], atol=1e-12)
    np.testing.assert_allclose(drawn.q_hat_variance, fixed.q_hat_variance[1:], rtol=1e-12)
    np.testing.assert_allclose(drawn.c_mean, fixed.c_mean[1:], rtol=1e-10)
    narrow = coefficients(
        PAIR, "linear", "gaussian", 1.0, 0.0, 3, "ntk", False, fixed_inputs=False, input_over_width=0.5
    )
    np.testing.assert_allclose(narrow.q_hat_variance[0], 2.0 * drawn.q_hat_variance[0], rtol=1e-12)


def test_largest_eigenvalue_of_a_symmetric_pair() -> None:
    """For two inputs alike, shift = shift(Theta_11) + shift(Theta_12) + Var(Theta_11 - Theta_22)/(8 Theta_12)."""
    got = coefficients([[1.0, 0.5], [0.5, 1.0]], "gelu", "gaussian", SIGMA_W2, SIGMA_B2, 3, "ntk", True)
    spread = got.ntk_covariance[0, 0] + got.ntk_covariance[2, 2] - 2 * got.ntk_covariance[0, 2]
    expected = got.ntk_mean[0, 0] + got.ntk_mean[0, 1] + spread / (8 * got.ntk_limit[0, 1])
    np.testing.assert_allclose(got.lambda_max_mean, expected, rtol=1e-10)
    np.testing.assert_allclose(got.lambda_max_limit, got.ntk_limit[0].sum(), rtol=1e-12)
    # without an overlap the two eigenvalues meet, and the shift is not of order 1/M
    assert np.isnan(coefficients(np.eye(2), "tanh", "gaussian", 1.5, 0.0, 2, "ntk", False).lambda_max_mean)
    # a gap of 1 % of the eigenvalue: a1 would be 85, and the shift at width 100 is nothing like 0.85
    near = coefficients([[1.0, -0.3], [-0.3, 1.0]], "sin", "gaussian", 1.5, 0.1, 2, "ntk", True)
    assert np.isnan(near.lambda_max_mean)
    apart = coefficients([[1.0, 0.1], [0.1, 1.0]], "tanh", "gaussian", 1.5, 0.0, 2, "ntk", False)
    assert apart.lambda_max_mean == pytest.approx(5.29, abs=0.01)


def test_shapes() -> None:
    depth = 4
    for inputs, pairs in ((1, 1), (2, 3)):
        got = coefficients(PAIR[:inputs, :inputs], "tanh", "gaussian", SIGMA_W2, SIGMA_B2, depth, "standard", True)
        assert isinstance(got, Coefficients)
        for kind in ("limit", "mean", "variance"):
            assert getattr(got, f"q_hat_{kind}").shape == (depth + 1, inputs, inputs)
            assert getattr(got, f"q_{kind}").shape == (depth, inputs, inputs)
            assert getattr(got, f"q_tilde_{kind}").shape == (depth, inputs, inputs)
            assert getattr(got, f"ntk_{kind}").shape == (inputs, inputs)
            c = getattr(got, f"c_{kind}")
            assert c is None if inputs == 1 else c.shape == (depth,)
        assert got.q_hat_covariance.shape == (depth + 1, pairs, depth + 1, pairs)
        assert got.ntk_covariance.shape == (pairs, pairs)
        assert got.ntk_cross_variance.shape == (inputs, inputs)
        assert got.output_kurtosis.shape == (inputs,)
        assert (got.lambda_max_mean is None) == (inputs == 1)
    np.testing.assert_allclose(got.q_hat_limit[0], PAIR, rtol=1e-15)
    np.testing.assert_array_equal(got.q_hat_mean[0], 0.0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"weights": "uniform"}, "uniform"),
        ({"sigma_w2": -1.0}, "sigma_w2"),
        ({"depth": 0}, "depth"),
        ({"parameterization": "mup"}, "parameterization"),
        ({"gram": np.eye(3)}, "1 x 1 or 2 x 2"),
        ({"gram": [[1.0, 2.0], [2.0, 1.0]]}, "semidefinite"),
        ({"gram": [[1.0, 0.5], [0.2, 1.0]]}, "symmetric"),
        ({"activation": "tanhh"}, "not known"),
        ({"input_over_width": 0.0}, "input_over_width"),
        ({"sigma_w2": 1e6}, "too rough"),
    ],
)
def test_what_is_refused(change: dict[str, object], match: str) -> None:
    given: dict[str, object] = {
        "gram": PAIR,
        "activation": "tanh",
        "weights": "gaussian",
        "sigma_w2": 1.5,
        "sigma_b2": 0.1,
        "depth": 2,
        "parameterization": "ntk",
        "train_biases": True,
    }
    with pytest.raises(ValueError, match=match):
        coefficients(**{**given, **change})


@pytest.mark.parametrize("name", ["tanh", "hard-tanh"])
def test_ten_layers_take_well_under_two_seconds(name: str) -> None:
    start = time.process_time()
    coefficients(PAIR, name, "gaussian", SIGMA_W2, SIGMA_B2, 10, "standard", True)
    assert time.process_time() - start < 2.0
