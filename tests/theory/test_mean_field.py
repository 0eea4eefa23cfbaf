"""Mean field against exact points, derivatives, 30-digit roots, sampled maps and sampled networks."""

import itertools
import math
import tomllib
from pathlib import Path

import mpmath
import numpy as np
import pytest

from mcnet import activations
from mcnet.activations import table
from mcnet.theory import gaussian, maps, mean_field

REFERENCE = tomllib.loads((Path(__file__).parents[2] / "data/reference/mean_field.toml").read_text())
SATURATING = ["tanh", "erf", "hard-tanh", "sin", "sigmoid"]
EVERY = [*SATURATING, "gelu", "silu", "elu", "selu", "softplus", "relu", "shifted-relu", "linear"]


def assert_scores(z, what, z_max=5.0):
    """z: scores of mean 0 and standard deviation 1, however correlated."""
    assert np.max(np.abs(z)) < z_max, f"{what}: a score of {np.max(np.abs(z)):.1f} sigma; allowed {z_max}"


# exact points


@pytest.mark.parametrize("entry", REFERENCE["critical"], ids=lambda e: f"{e['activation']}-{e['sigma_b2']}")
def test_critical_line(entry):
    point = mean_field.critical_point(entry["activation"], entry["sigma_b2"])
    assert point.sigma_w2 == pytest.approx(entry["sigma_w2"], rel=0, abs=6e-8 if entry["sigma_b2"] == 0.05 else 6e-9)
    assert point.q == pytest.approx(entry["q"], rel=0, abs=6e-8)
    assert mean_field.fixed_length(entry["activation"], point.sigma_w2, entry["sigma_b2"]) == pytest.approx(
        point.q, rel=1e-11
    )


@pytest.mark.parametrize("entry", REFERENCE["double_critical"], ids=lambda e: e["activation"])
def test_double_criticality(entry):
    point = mean_field.double_critical(entry["activation"])
    assert point.sigma_w2 == pytest.approx(entry["sigma_w2"], rel=0, abs=6e-9)
    assert point.sigma_b2 == pytest.approx(entry["sigma_b2"], rel=0, abs=6e-9)
    assert point.q == pytest.approx(entry["q"], rel=1e-7)
    assert mean_field.length_map(entry["activation"], point.q, point.sigma_w2, point.sigma_b2) == pytest.approx(point.q)
    assert mean_field.length_slope(entry["activation"], point.q, point.sigma_w2) == pytest.approx(1.0, abs=1e-12)
    assert mean_field.chi(entry["activation"], point.q, 1.0, point.sigma_w2) == pytest.approx(1.0, abs=1e-12)


def test_critical_tanh_to_thirty_digits():
    """The root of sigma_b2 = q - E phi^2 / E phi'^2 by another integrator and another root finder."""
    with mpmath.workdps(25):
        edges = [mpmath.mpf(z) / 2 for z in range(25)]

        def mean(f, q):
            root = mpmath.sqrt(q)
            return 2 * mpmath.quad(lambda z: f(root * z) * mpmath.npdf(z), edges, maxdegree=3)

        def bias(q):
            return q - mean(lambda u: mpmath.tanh(u) ** 2, q) / mean(lambda u: mpmath.sech(u) ** 4, q)

        q = mpmath.findroot(lambda q: bias(q) - mpmath.mpf(1) / 10, (0.8, 0.81), solver="secant", tol=1e-16)
        sigma_w2 = 1 / mean(lambda u: mpmath.sech(u) ** 4, q)
    assert mean_field.critical_sigma_w2("tanh", 0.1) == pytest.approx(float(sigma_w2), rel=1e-12)


def test_fixed_lengths_known_exactly():
    assert mean_field.fixed_length("erf", 1.5, 0.0) == pytest.approx(0.5, rel=1e-13)  # asin(1/2) = pi/6
    assert mean_field.fixed_length("relu", 1.5, 0.1) == pytest.approx(0.4, rel=1e-15)
    assert mean_field.fixed_length("linear", 0.5, 0.3) == pytest.approx(0.6, rel=1e-15)
    q = mean_field.fixed_length("sin", 2.0, 0.3)
    assert q == pytest.approx(1 - math.exp(-2 * q) + 0.3, rel=1e-13)
    # sigma_w2 (q - 2 q^2 + 17/3 q^3 - ...) = q close to the onset
    assert mean_field.fixed_length("tanh", 1.001, 0.0) == pytest.approx(0.0005 * (1 + 0.4167e-3), rel=2e-5)


def test_lengths_that_die_out():
    for activation, sigma_w2 in (("tanh", 0.9), ("tanh", 1.0), ("relu", 1.9), ("gelu", 1.9), ("sin", 0.3)):
        assert mean_field.fixed_length(activation, sigma_w2, 0.0) == 0.0
        assert mean_field.fixed_correlation(activation, sigma_w2, 0.0) == 1.0
    assert mean_field.chi_1("tanh", 0.9, 0.0) == pytest.approx(0.9, rel=1e-13)
    xi_q, xi_c = mean_field.depth_scales("tanh", 0.9, 0.0)
    assert (xi_q, xi_c) == pytest.approx((-1 / math.log(0.9),) * 2, rel=1e-12)


def test_homogeneous_activations():
    for activation, slope2 in (("relu", 0.5), ({"name": "leaky-relu", "slope": 0.5}, 0.625), ("linear", 1.0)):
        for sigma_b2 in (0.0, 0.3):
            assert mean_field.critical_sigma_w2(activation, sigma_b2) == pytest.approx(1 / slope2, rel=1e-15)
            assert mean_field.chi_1(activation, 3.0, sigma_b2) == pytest.approx(3 * slope2, rel=1e-15)
        assert mean_field.fixed_length(activation, 1 / slope2, 0.0) == 1.0  # every length is fixed
        assert mean_field.fixed_lengths(activation, 3.0, 0.1) == []
    assert mean_field.fixed_correlation("relu", 2.5, 0.1) == 1.0  # whatever the length
    assert mean_field.depth_scales("relu", 2.0, 0.0) == (math.inf, math.inf)


@pytest.mark.parametrize(
    ("activation", "sigma_w2", "sigma_b2"),
    [("relu", 2.1, 0.0), ("relu", 2.0, 0.1), ("linear", 1.0, 0.1), ("elu", 2.5, 0.0), ("gelu", 3.0, 0.1)],
)
def test_growth_without_bound_is_said(activation, sigma_w2, sigma_b2):
    with pytest.raises(ValueError, match=r"no stable length at sigma_w2 = .* lengths grow without bound"):
        mean_field.fixed_length(activation, sigma_w2, sigma_b2)


def test_wrong_variances_are_refused():
    for sigma_w2, sigma_b2 in ((-1.0, 0.0), (1.0, -0.1), (math.nan, 0.0), (math.inf, 0.0)):
        for function in (mean_field.fixed_length, mean_field.chi_1, mean_field.fixed_correlation):
            for activation in ("tanh", "relu"):
                with pytest.raises(ValueError, match="variances must be finite and >= 0"):
                    function(activation, sigma_w2, sigma_b2)


def test_no_critical_variance():
    for activation, sigma_b2 in (("softplus", 0.1), ("gelu", 0.05)):
        with pytest.raises(ValueError, match="no critical sigma_w2"):
            mean_field.critical_sigma_w2(activation, sigma_b2)
    for activation in ("tanh", "relu"):
        with pytest.raises(ValueError, match="both slopes are 1"):
            mean_field.double_critical(activation)
    assert mean_field.critical_sigma_w2("tanh", 0.0) == 1.0
    assert mean_field.critical_sigma_w2("erf", 0.0) == pytest.approx(math.pi / 4, rel=1e-13)


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_no_critical_variance_where_every_length_grows(activation):
    """sigma_w2 = 4 and no bias: the slope at length 0 is 1, and the length leaves it, fast from where inputs are."""
    with pytest.raises(ValueError, match="every length grows without bound"):
        mean_field.critical_sigma_w2(activation, 0.0)
    assert mean_field.lengths(activation, 4.0, 0.0, 1.0, 5)[-1] > 30.0


def test_several_fixed_lengths():
    """gelu without bias: small inputs die out, large ones explode, an unstable length between."""
    (zero, stable), (q, unstable) = mean_field.fixed_lengths("gelu", 2.5, 0.0)
    assert (zero, stable, unstable) == (0.0, True, False)
    assert mean_field.length_slope("gelu", q, 2.5) > 1
    assert mean_field.length_map("gelu", q, 2.5, 0.0) == pytest.approx(q, rel=1e-12)
    assert mean_field.fixed_length("gelu", 2.5, 0.0) == 0.0
    assert mean_field.lengths("gelu", 2.5, 0.0, 0.9 * q / 2.5, 200)[-1] < 1e-3
    assert mean_field.lengths("gelu", 2.5, 0.0, 1.1 * q / 2.5, 200)[-1] > 1e3


def test_functions_that_overflow(monkeypatch):
    """E sinh^2 = (e^2q - 1) / 2: the largest lengths of the search overflow, which is growth."""
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))
    activations.register("sinh", lambda u, m: 0.5 * (m.exp(u) - m.exp(-u)), lambda u, m: 0.5 * (m.exp(u) + m.exp(-u)))
    (low, stable), (high, unstable) = mean_field.fixed_lengths("sinh", 0.5, 0.01)
    assert (stable, unstable) == (True, False)
    for q in (low, high):
        assert 0.25 * math.expm1(2 * q) + 0.01 == pytest.approx(q, rel=1e-12)


# derivatives and residuals


@pytest.mark.parametrize("activation", EVERY)
def test_slopes_are_derivatives(activation):
    sigma_w2, sigma_b2, step = 1.3, 0.2, 1e-4
    for q in (0.05, 1.0, 8.0):
        five = [mean_field.length_map(activation, q * (1 + k * step), sigma_w2, sigma_b2) for k in (-2, -1, 1, 2)]
        numeric = (five[0] - 8 * five[1] + 8 * five[2] - five[3]) / (12 * step * q)
        assert mean_field.length_slope(activation, q, sigma_w2) == pytest.approx(numeric, rel=1e-9, abs=1e-10)
        u, weights = gaussian.nodes(q, activations.get(activation).kinks)
        by_hermite = sigma_w2 * weights @ (activations.get(activation).phi(u) ** 2 * (u * u / q - 1)) / (2 * q)
        assert mean_field.length_slope(activation, q, sigma_w2) == pytest.approx(by_hermite, rel=1e-10)
        q_next = mean_field.length_map(activation, q, sigma_w2, sigma_b2)
        for c in (0.9, 0.3, -0.5):
            five = [mean_field.correlation_map(activation, q, c + k * step, sigma_w2, sigma_b2) for k in (-2, -1, 1, 2)]
            numeric = (five[0] - 8 * five[1] + 8 * five[2] - five[3]) / (12 * step)
            slope = mean_field.chi(activation, q, c, sigma_w2) * q / q_next
            assert slope == pytest.approx(numeric, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("activation", SATURATING)
def test_fixed_points_are_fixed(activation):
    for sigma_w2, sigma_b2 in itertools.product((0.7, 1.2, 2.0, 6.0), (0.0, 1e-4, 0.05, 1.0)):
        point = mean_field.fixed_point(activation, sigma_w2, sigma_b2)
        assert point.converged
        assert point.q == mean_field.fixed_length(activation, sigma_w2, sigma_b2)
        assert point.c == mean_field.fixed_correlation(activation, sigma_w2, sigma_b2)
        assert point.chi_1 == mean_field.chi_1(activation, sigma_w2, sigma_b2)
        assert abs(point.slope_q) < 1
        assert abs(point.slope_c) <= 1
        if point.q > 0:
            assert (point.c < 1) == (point.chi_1 > 1)
            # what a deep network forgets: its first length and correlation
            if sigma_b2 == 0.05 and max(point.slope_q, point.slope_c) < 0.8:
                c = mean_field.correlations(activation, sigma_w2, sigma_b2, 1.3, 0.2, 100)
                assert c[-1] == pytest.approx(point.c, abs=1e-9)


@pytest.mark.parametrize("activation", ["tanh", "hard-tanh", "selu"])
def test_fixed_correlation_close_to_the_critical_line(activation):
    """1 - c* is as small as chi_1 - 1 (smooth) or its square (kinks), and found to many digits."""
    critical = mean_field.critical_sigma_w2(activation, 0.05)
    gaps = [1 - mean_field.fixed_correlation(activation, critical * (1 + e), 0.05) for e in (1e-3, 5e-4)]
    order = math.log2(gaps[0] / gaps[1])
    assert order == pytest.approx(2 if activation != "tanh" else 1, abs=0.02)
    assert mean_field.fixed_correlation(activation, critical * (1 - 1e-3), 0.05) == 1.0


def test_depth_scales_are_seen_in_the_layers():
    """Distances from the fixed point shrink by exp(-1/xi) a layer."""
    for sigma_w2, sigma_b2 in ((1.3, 0.1), (3.0, 0.1)):
        xi_q, xi_c = mean_field.depth_scales("tanh", sigma_w2, sigma_b2)
        q_star = mean_field.fixed_length("tanh", sigma_w2, sigma_b2)
        c_star = mean_field.fixed_correlation("tanh", sigma_w2, sigma_b2)
        q = mean_field.lengths("tanh", sigma_w2, sigma_b2, 1.5, 14) - q_star
        assert -1 / math.log(q[13] / q[12]) == pytest.approx(xi_q, rel=1e-3)
        start = (q_star - sigma_b2) / sigma_w2
        if c_star == 1.0:
            gaps = mean_field.correlation_gaps("tanh", sigma_w2, sigma_b2, start, 1e-6, 12)
        else:
            gaps = mean_field.correlations("tanh", sigma_w2, sigma_b2, start, 0.5, 60) - c_star
        assert -1 / math.log(gaps[-1] / gaps[-2]) == pytest.approx(xi_c, rel=1e-3)


def test_arrays_are_broadcast():
    q = mean_field.fixed_length("tanh", np.array([[0.5], [1.5], [3.0]]), np.array([0.0, 0.2]))
    assert q.shape == (3, 2)
    assert q[2, 1] == pytest.approx(mean_field.fixed_length("tanh", 3.0, 0.2), rel=1e-13)
    xi_q, xi_c = mean_field.depth_scales("erf", [1.5, 2.0], 0.1)
    assert xi_q.shape == xi_c.shape == (2,)
    assert mean_field.critical_sigma_w2("tanh", [0.01, 0.1]) == pytest.approx([1.42420529, 1.98607264], abs=6e-9)
    assert isinstance(mean_field.chi_1("tanh", 1.5, 0.1), float)


# correlations near 1


@pytest.mark.parametrize("activation", EVERY)
def test_gaps_do_not_cancel(activation):
    """E (phi_a - phi_b)^2 / 2 from three ways of computing it, at gaps from 1e-2 to 1e-12."""
    entry = activations.get(activation)
    q = 1.4
    for gap in (1.5, 1e-2, 1e-4, 2e-6, 5e-7, 1e-9, 1e-12):
        u, weights = gaussian.pair_nodes(
            [[q, q * (1 - gap)], [q * (1 - gap), q]], entry.kinks, gaussian.feature_scale(entry), gap
        )
        expected = 0.5 * weights @ (entry.phi(u[0]) - entry.phi(u[1])) ** 2
        # the difference itself is rounded: 1e-16 / sqrt(gap)
        assert maps.half_square_difference(activation, q, gap) == pytest.approx(
            expected, rel=1e-11 + 2e-15 / math.sqrt(gap)
        )


def test_gap_of_relu_is_the_arc_cosine():
    with mpmath.workdps(40):
        for gap in (1.0, 1e-3, 1e-4, 1e-8, 1e-12):
            theta = mpmath.acos(1 - mpmath.mpf(gap))
            exact = 1 - (mpmath.sin(theta) + (mpmath.pi - theta) * mpmath.cos(theta)) / mpmath.pi
            assert mean_field.gap_map("relu", 0.7, gap, 2.0, 0.0) == pytest.approx(float(exact), rel=1e-10)


def test_tiny_gaps_grow_by_chi_1():
    q_star = mean_field.fixed_length("tanh", 1.5, 0.05)
    start = (q_star - 0.05) / 1.5
    gaps = mean_field.correlation_gaps("tanh", 1.5, 0.05, start, 1e-25, 30)
    np.testing.assert_allclose(gaps[1:] / gaps[:-1], mean_field.chi_1("tanh", 1.5, 0.05), rtol=1e-11)


# recursions


@pytest.mark.parametrize("activation", ["tanh", "erf", "gelu", "selu", {"name": "leaky-relu", "slope": 0.3}])
def test_recursions_agree(activation):
    sigma_w2, sigma_b2, depth = 1.4, 0.1, 5
    gram = np.array([[1.2, 0.5, -0.3], [0.5, 1.2, 1.2], [-0.3, 1.2, 2.0]])
    q_hat, q = mean_field.covariances(activation, sigma_w2, sigma_b2, gram, depth)
    assert q_hat.shape == (depth + 1, 3, 3)
    np.testing.assert_allclose(q[:, 0, 0], mean_field.lengths(activation, sigma_w2, sigma_b2, 1.2, depth), rtol=1e-13)
    np.testing.assert_allclose(q, sigma_w2 * q_hat[:-1] + sigma_b2, rtol=1e-14)
    c = mean_field.correlations(activation, sigma_w2, sigma_b2, 1.2, 0.5 / 1.2, depth)
    np.testing.assert_allclose(q[:, 0, 1] / q[:, 0, 0], c, rtol=1e-11)
    for readout, top in ((True, 1.0), (False, 1 / sigma_w2)):
        q_tilde = mean_field.gradient_covariances(activation, sigma_w2, sigma_b2, gram, depth, readout)
        slopes = np.array(
            [[[pair_slope(activation, q[i], a, b) for b in range(3)] for a in range(3)] for i in range(5)]
        )
        expected = top * np.cumprod(sigma_w2 * slopes[::-1], axis=0)[::-1]
        np.testing.assert_allclose(q_tilde, expected, rtol=1e-12)
        np.testing.assert_allclose(
            mean_field.gradients(activation, sigma_w2, sigma_b2, 1.2, depth, readout), q_tilde[:, 0, 0], rtol=1e-13
        )


def pair_slope(activation, q, a, b):
    entry = activations.get(activation)
    kinks = entry.kinks
    return gaussian.pair_mean(lambda x, y: entry.dphi(x) * entry.dphi(y), q[np.ix_([a, b], [a, b])], kinks)


def test_dead_layers_are_nan():
    assert np.all(mean_field.lengths("tanh", 1.0, 0.0, 0.0, 3) == 0.0)
    assert np.all(np.isnan(mean_field.correlations("tanh", 1.0, 0.0, 0.0, 0.3, 3)))


# sampled maps: E phi phi and E phi' phi' by plain Monte Carlo


def check_maps(product, derivative_product):
    """12 activations x 2 settings x 2 means; 4e5 pairs see 2 % where the spread is below 1.6 times the mean."""
    rng = np.random.default_rng(20240607)
    scores = []
    for activation in EVERY:
        entry = activations.get(activation)
        for q_a, q_b, c in ((1.3, 0.8, 0.7), (0.4, 0.4, 0.95)):
            z = rng.standard_normal((2, 400_000))
            u_a, u_b = np.sqrt(q_a) * z[0], np.sqrt(q_b) * (c * z[0] + np.sqrt(1 - c * c) * z[1])
            k = c * np.sqrt(q_a * q_b)
            for f, predicted in ((entry.phi, product), (entry.dphi, derivative_product)):
                sample = f(u_a) * f(u_b)
                error = sample.std() / np.sqrt(sample.size)
                difference = sample.mean() - predicted(activation, q_a, q_b, k)
                scores.append(difference / error if error > 1e-12 else 0.0 if abs(difference) < 1e-12 else np.inf)
    assert_scores(scores, "Gaussian means")


def test_maps_against_sampling():
    check_maps(gaussian.product, gaussian.derivative_product)


@pytest.mark.parametrize("bug", ["product", "slope"])
def test_two_per_cent_are_seen(bug):
    off = {"product": 1.0, "slope": 1.0} | {bug: 1.02}
    with pytest.raises(AssertionError, match="Gaussian means"):
        check_maps(
            lambda *a: off["product"] * gaussian.product(*a), lambda *a: off["slope"] * gaussian.derivative_product(*a)
        )


# sampled networks with explicit matrices


def sample_overlaps(width, networks, sigma_w2, sigma_b2, gram, depth, rng):
    """Overlaps h_a . h_b / M of two inputs in layers 1 to depth, (networks, depth, 3)."""
    x = np.linalg.cholesky(gram) @ np.linalg.qr(rng.standard_normal((width, 2)))[0].T * np.sqrt(width)  # (2, M)
    overlaps = np.empty((networks, depth, 3))
    for n in range(networks):
        h = x.T.astype(np.float32)
        for layer in range(depth):
            w = rng.standard_normal((width, width), dtype=np.float32)
            b = rng.standard_normal((width, 1), dtype=np.float32)
            h = np.tanh(np.sqrt(sigma_w2 / width) * (w @ h) + np.sqrt(sigma_b2) * b)
            overlaps[n, layer] = [h[:, a] @ h[:, b] / width for a, b in ((0, 0), (0, 1), (1, 1))]
    return overlaps


@pytest.fixture(scope="module")
def extrapolated():
    """Overlaps extrapolated from widths 64 and 128, whose O(1/M) shifts cancel: means and errors, (depth, 3)."""
    rng = np.random.default_rng(77)
    gram = np.array([[1.0, 1.05], [1.05, 1.2]])
    small, large = (sample_overlaps(m, 5000, 4.0, 1.0, gram, 3, rng) for m in (64, 128))
    mean = 2 * large.mean(0) - small.mean(0)
    return mean, np.sqrt(4 * large.var(0) / len(large) + small.var(0) / len(small)), gram


def check_networks(extrapolated, sigma_w2):
    mean, error, gram = extrapolated
    q_hat = mean_field.covariances("tanh", sigma_w2, 1.0, gram, 3).q_hat[1:]
    assert np.max(8 * error / mean) < 0.02, "too few networks to see 2 %"
    assert_scores((mean - q_hat[:, [0, 0, 1], [0, 1, 1]]) / error, "overlaps of sampled networks")


def test_lengths_and_overlaps_of_sampled_networks(extrapolated):
    check_networks(extrapolated, 4.0)


def test_a_wrong_variance_is_seen(extrapolated):
    with pytest.raises(AssertionError, match="overlaps of sampled networks"):
        check_networks(extrapolated, 4.0 * 1.1)


def test_gradients_of_sampled_relu_networks():
    """Exact at any width for relu without bias: E |d^l|^2 = (sigma_w2 / 2)^(depth - l + 1), both conventions."""
    width, networks, depth, sigma_w2 = 32, 20_000, 3, 1.7
    rng = np.random.default_rng(5)
    w = [rng.standard_normal((networks, width, width), dtype=np.float32) for _ in range(depth)]
    h = np.ones((networks, width, 1), dtype=np.float32)
    slopes = []
    for layer in range(depth):
        u = np.sqrt(sigma_w2 / width) * (w[layer] @ h)
        slopes.append(u > 0)
        h = u * slopes[-1]
    for readout in (True, False):
        predicted = mean_field.gradients("relu", sigma_w2, 0.0, 1.0, depth, readout)
        assert predicted == pytest.approx(
            [(sigma_w2 / 2) ** (depth - i) * (1 if readout else 1 / sigma_w2) for i in range(depth)], rel=1e-14
        )
        error = rng.standard_normal((networks, width, 1), dtype=np.float32) * np.sqrt(
            (sigma_w2 if readout else 1) / width
        )
        scores = []
        for layer in reversed(range(depth)):
            error = error * slopes[layer]
            norms = (error.astype(np.float64) ** 2).sum((1, 2))
            spread = norms.std() / np.sqrt(networks)
            assert 8 * spread < 0.06 * predicted[layer]
            scores.append((norms.mean() - predicted[layer]) / spread)
            error = np.sqrt(sigma_w2 / width) * (w[layer].swapaxes(1, 2) @ error)
        assert_scores(scores, "gradients of sampled networks")
