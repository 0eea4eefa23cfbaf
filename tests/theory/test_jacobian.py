"""The spectrum of J J^T at infinite width against closed curves, series and small networks."""

from math import comb

import numpy as np
import pytest

from mcnet import activations
from mcnet.theory import jacobian
from mcnet.theory.free.product import Layers, ProductSystem, law_of, negative_axis
from mcnet.theory.free.slope_law import slope_law


def critical(activation, q):
    """sigma_w2 with mean eigenvalue 1."""
    return 1.0 / slope_law(activations.get(activation), q).moments(1)[0]


def fuss_catalan(depth, angles):
    """Eigenvalues and density of depth Gaussian layers, on the exact curve."""
    x = np.sin((depth + 1) * angles) ** (depth + 1) / (np.sin(angles) * np.sin(depth * angles) ** depth)
    rho = np.sin(angles) ** 2 * np.sin(depth * angles) ** (depth - 1) / (np.pi * np.sin((depth + 1) * angles) ** depth)
    return x, rho


@pytest.mark.parametrize("depth", [1, 2, 3, 8, 32])
def test_linear_gaussian_moments_are_fuss_catalan(depth):
    exact = [comb((depth + 1) * k, k) / (depth * k + 1) for k in range(1, 9)]
    found = jacobian.moments("linear", "gaussian", 1.0, 0.0, depth, 8)
    np.testing.assert_allclose(found, exact, rtol=1e-13)


@pytest.mark.parametrize("depth", [1, 2, 5, 32])
def test_linear_gaussian_density_is_fuss_catalan(depth):
    """The solution itself, on the exact curve: no interpolation."""
    x, rho = fuss_catalan(depth, np.linspace(0, np.pi / (depth + 1), 302)[1:-1])
    x, rho = x[x > 1e-280], rho[x > 1e-280]
    system = ProductSystem((Layers(slope_law(activations.get("linear"), 1.0), depth),), 0.0, False)
    s, states, _ = negative_axis(system, -690.0, 1e-9)
    keep = np.log(x) > s[-1]
    values = law_of(system, (s, states), float(np.log(x[0])))(np.log(x[keep]))
    np.testing.assert_allclose(values.density / x[keep], rho[keep], rtol=1e-9)


def test_public_density_is_marchenko_pastur():
    found = jacobian.spectrum("linear", "gaussian", 2.0, 0.0, 1)
    exact = np.sqrt((8 - found.x) / found.x) / (4 * np.pi)
    np.testing.assert_allclose(found.density, exact, rtol=1e-9)
    assert found.lambda_max == pytest.approx(8.0, rel=1e-13)
    angle = np.arcsin(np.sqrt(found.x / 8))
    np.testing.assert_allclose(found.cdf(found.x), 2 * angle / np.pi + np.sin(2 * angle) / np.pi, atol=1e-9)
    between = np.sqrt(found.x[1:] * found.x[:-1])
    angle = np.arcsin(np.sqrt(between / 8))
    np.testing.assert_allclose(found.cdf(between), 2 * angle / np.pi + np.sin(2 * angle) / np.pi, atol=1e-7)
    np.testing.assert_array_equal(found.cdf([-1.0, 0.0, 9.0]), [0.0, 0.0, 1.0])


def test_sigma_w2_scales_and_biases_do_not_matter_at_given_q():
    one = jacobian.spectrum("tanh", "gaussian", 1.0, 0.0, 3, 0.5, points=100)
    other = jacobian.spectrum("tanh", "gaussian", 1.5, 0.3, 3, 0.5, points=100)
    np.testing.assert_allclose(other.x, 1.5**3 * one.x, rtol=1e-10)
    np.testing.assert_allclose(other.density, one.density / 1.5**3, rtol=1e-7)


CASES = [
    ("relu", "gaussian", 8, 1.0),
    ("relu", "orthogonal", 2, 1.0),
    ("hard-tanh", "orthogonal", 32, 0.3),
    ({"name": "leaky-relu", "slope": 0.1}, "orthogonal", 2, 1.0),
    ({"name": "leaky-relu", "slope": 0.01}, "gaussian", 1, 1.0),
    ("tanh", "gaussian", 4, 0.5),
    ("tanh", "orthogonal", 2, 0.5),
    ("tanh", "orthogonal", 100, 0.1),
    ("erf", "gaussian", 8, 0.3),
    ("gelu", "orthogonal", 3, 1.0),
    ("silu", "gaussian", 3, 1.0),
    ("selu", "orthogonal", 4, 1.0),
    ("elu", "gaussian", 2, 1.0),
    ("softplus", "gaussian", 3, 1.0),
    ("sigmoid", "gaussian", 2, 1.0),
    ("sin", "gaussian", 2, 1.0),
    ("shifted-relu", "orthogonal", 4, 0.3),
]


@pytest.mark.parametrize(("activation", "weights", "depth", "q"), CASES)
def test_mass_and_moments_agree_with_the_series(activation, weights, depth, q):
    found = jacobian.spectrum(activation, weights, critical(activation, q), 0.0, depth, q, points=400)
    first, second, third = jacobian.moments(activation, weights, critical(activation, q), 0.0, depth, 3, q)
    assert first == pytest.approx(1.0, rel=1e-12)
    assert found.mass == pytest.approx(1.0, abs=1e-6)
    # The quadrature of the density, in the law's own grid, against Lagrange inversion.
    for power, exact in ((1, first), (2, second), (3, third)):
        assert quadrature(found, power) == pytest.approx(exact, rel=2e-6)


def quadrature(spectrum, power):
    """Moment by the midpoint rule of the grid, rebuilt here from the bands."""
    total = sum(mass * place**power for place, mass in spectrum.atoms)
    for band in spectrum.log.bands:
        n = band.log_x.size
        if np.isinf(band.low):
            t = (np.arange(n)[::-1] + 0.5) / n
            weight = 2 * (band.high - band.log_x) / t / n
        else:
            angle = (np.arange(n) + 0.5) * np.pi / n
            weight = (band.high - band.low) / 2 * np.sin(angle) * np.pi / n
        total += np.sum(weight * band.density * np.exp(power * band.log_x))
    return total


def test_distribution_function_agrees_with_the_density():
    """The argument of the potential (no quadrature) against the integral of the density, cell by cell."""
    found = jacobian.spectrum("tanh", "orthogonal", 1.5, 0.0, 4, 0.5)
    band = found.log.bands[0]
    width = np.diff(band.log_x)
    slope = np.gradient(band.density, band.log_x)
    cells = width * (band.density[1:] + band.density[:-1]) / 2 - width**2 / 12 * np.diff(slope)
    np.testing.assert_allclose(np.diff(band.below)[5:-5], cells[5:-5], atol=3e-8)


def test_closed_edges_and_atoms():
    p = 0.5
    for depth in (1, 2, 8):
        m = (-(depth - 1) + np.sqrt((depth - 1) ** 2 + 4 * depth * p)) / (2 * depth)
        edge = (1 + m) / m * (2 * (m + p)) ** depth
        found = jacobian.spectrum("relu", "gaussian", 2.0, 0.0, depth, points=100)
        assert found.lambda_max == pytest.approx(edge, rel=1e-12)
        assert found.atoms == ((0.0, 0.5),)
    law = slope_law(activations.get("hard-tanh"), 0.3)
    p = 1 - law.zero
    depth = 64  # depth (1 - p) > 1: a soft edge
    found = jacobian.spectrum("hard-tanh", "orthogonal", 1 / p, 0.0, depth, 0.3, points=200)
    edge = (1 - p) / p * (depth - 1) * (depth / (depth - 1)) ** depth
    assert found.lambda_max == pytest.approx(edge, rel=1e-12)
    depth = 4  # an atom at sigma_w2^depth of mass 1 - depth (1 - p), and a gap below it
    found = jacobian.spectrum("hard-tanh", "orthogonal", 1 / p, 0.0, depth, 0.3, points=200)
    (zero, at_zero), (top, at_top) = found.atoms
    assert (zero, top) == (0.0, pytest.approx(p**-depth, rel=1e-12))
    assert at_zero == pytest.approx(1 - p, rel=1e-12)
    assert at_top == pytest.approx(1 - depth * (1 - p), rel=1e-12)
    edge = (depth / (depth - 1)) ** depth * (1 - p) * (depth - 1) / p
    assert np.exp(found.log.bands[-1].high) == pytest.approx(edge, rel=1e-8)
    assert found.cdf(found.lambda_max * 0.999) == pytest.approx(1 - at_top, abs=1e-12)
    assert found.cdf(found.lambda_max) == 1.0


def test_two_bands_of_leaky_relu():
    """A two-valued phi' with one Gaussian layer: half the eigenvalues near the square of the slope, half near one."""
    found = jacobian.spectrum({"name": "leaky-relu", "slope": 0.01}, "gaussian", 1.0, 0.0, 1)
    (low, high) = found.log.bands
    assert low.stop - low.start == pytest.approx(0.5, abs=1e-8)
    assert np.exp(high.low) > 100 * np.exp(low.high)
    assert found.mass == pytest.approx(1.0, abs=1e-7)
    assert found.cdf(np.sqrt(np.exp(low.high + high.low))) == pytest.approx(0.5, abs=1e-8)


def test_one_orthogonal_layer_is_the_law_of_the_slope():
    from scipy.special import ndtr

    q = 0.5
    found = jacobian.spectrum("tanh", "orthogonal", 1.0, 0.0, 1, q)
    u = np.arctanh(np.sqrt(1 - np.sqrt(found.x)))
    rho = 2 * np.exp(-u * u / (2 * q)) / np.sqrt(2 * np.pi * q) / (4 * found.x * np.tanh(u))
    np.testing.assert_allclose(found.density, rho, rtol=1e-6)
    np.testing.assert_allclose(found.cdf(found.x), 2 * ndtr(-u / np.sqrt(q)), atol=1e-9)
    assert found.mass == pytest.approx(1.0, abs=1e-9)
    relu = jacobian.spectrum("relu", "orthogonal", 2.0, 0.0, 1)
    assert relu.atoms == ((0.0, 0.5), (2.0, 0.5))
    linear = jacobian.spectrum("linear", "orthogonal", 0.9, 0.0, 7)
    assert linear.atoms == ((pytest.approx(0.9**7), 1.0),)
    np.testing.assert_array_equal(linear.cdf([0.4, linear.lambda_max, 2.0]), [0.0, 1.0, 1.0])


def test_published_settings():
    """Universality classes are approached slowly: the values of the implicit equation (theory sheets)."""
    assert jacobian.spectrum("tanh", "orthogonal", critical("tanh", 0.01), 0.0, 1000, 0.01).lambda_max == pytest.approx(
        3.9038, abs=1e-4
    )
    first, second = jacobian.moments("tanh", "orthogonal", 1.05, 2.01e-5, 50, 2)
    assert second / first**2 - 1 == pytest.approx(0.21344, abs=1e-5)


def test_layers_with_their_own_q():
    q = np.array([0.9, 0.6, 0.4])
    for weights in ("gaussian", "orthogonal"):
        found = jacobian.spectrum("tanh", weights, 1.4, 0.0, 3, q, points=200)
        exact = jacobian.moments("tanh", weights, 1.4, 0.0, 3, 3, q)
        laws = [slope_law(activations.get("tanh"), value).moments(2) for value in q]
        assert exact[0] == pytest.approx(1.4**3 * np.prod([law[0] for law in laws]), rel=1e-12)
        spread = sum(law[1] / law[0] ** 2 - (weights == "orthogonal") for law in laws)
        assert exact[1] / exact[0] ** 2 == pytest.approx(1 + spread, rel=1e-12)
        assert found.mass == pytest.approx(1.0, abs=1e-6)
        for power in (1, 2, 3):
            assert quadrature(found, power) == pytest.approx(exact[power - 1], rel=1e-6)
    # The order of the layers does not matter, nor that equal ones are merged.
    again = jacobian.spectrum("tanh", "orthogonal", 1.4, 0.0, 3, q[::-1], points=200)
    np.testing.assert_allclose(again.density, found.density, rtol=1e-6, atol=1e-12)


def test_depths_out_of_the_double_range():
    with pytest.raises(ValueError, match="log_spectrum"):
        jacobian.spectrum("linear", "gaussian", 1.0, 0.0, 1000)
    found = jacobian.log_spectrum("linear", "gaussian", 1.0, 0.0, 1000)
    assert found.mass == pytest.approx(1.0, abs=1e-8)
    band = found.bands[0]
    t = (np.arange(band.log_x.size)[::-1] + 0.5) / band.log_x.size
    mean = np.sum(2 * (band.high - band.log_x) / t / t.size * band.density * band.log_x)
    assert mean == pytest.approx(-1000.0, rel=1e-6)  # E log x = -1 for each square Gaussian layer


def test_a_lost_atom_inside_a_band():
    """Two orthogonal layers of selu: an atom of mass 1/2 + 1/2 - 1 leaves a diverging density inside the support."""
    found = jacobian.spectrum("selu", "orthogonal", critical("selu", 1.0), 0.0, 2, 1.0, points=400)
    assert found.mass == pytest.approx(1.0, abs=1e-5)
    second = jacobian.moments("selu", "orthogonal", critical("selu", 1.0), 0.0, 2, 2, 1.0)[1]
    assert quadrature(found, 1) == pytest.approx(1.0, rel=1e-5)
    assert quadrature(found, 2) == pytest.approx(second, rel=1e-5)
    assert len(found.log.bands) == 2  # cut there


def test_what_is_beyond_a_double_is_refused():
    for function in (jacobian.spectrum, lambda *law: jacobian.moments(*law, 2)):
        with pytest.raises(ValueError, match=r"1e\+398, beyond the range of a double.*log_spectrum"):
            function("linear", "gaussian", 2.5, 0.0, 1000)
    found = jacobian.log_spectrum("linear", "orthogonal", 2.5, 0.0, 1000)
    assert found.log_max == pytest.approx(1000 * np.log(2.5))


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_layers_with_atoms_and_their_own_q(weights):
    """hard-tanh: the atom at zero is that of the longest pre-activations; each layer takes its part of that at 1."""
    q = 0.3 * np.array([1.0, 0.9, 0.8, 0.7])
    found = jacobian.spectrum("hard-tanh", weights, 1.0, 0.0, 4, q, points=200)
    dead = np.array([slope_law(activations.get("hard-tanh"), value).zero for value in q])
    atoms = dict(found.atoms)
    assert atoms[0.0] == pytest.approx(dead.max(), rel=1e-12)
    assert atoms.get(1.0, 0.0) == pytest.approx(0.0 if weights == "gaussian" else 1 - dead.sum(), rel=1e-12)
    assert found.mass == pytest.approx(1.0, abs=1e-6)
    exact = jacobian.moments("hard-tanh", weights, 1.0, 0.0, 4, 2, q)
    for power in (1, 2):
        assert quadrature(found, power) == pytest.approx(exact[power - 1], rel=1e-6)


def test_what_is_not_covered_is_refused():
    with pytest.raises(ValueError, match="uniform"):
        jacobian.moments("tanh", "uniform", 1.0, 0.0, 2, 2, 0.5)
    with pytest.raises(ValueError, match="not known"):
        jacobian.spectrum("tanh", "cauchy", 1.0, 0.0, 2, 0.5)
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        jacobian.spectrum("tanh", "gaussian", 1.0, 0.0, 2, [0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match="not negative"):
        jacobian.spectrum("tanh", "gaussian", 1.0, 0.0, 2, -0.5)


def eigenvalues(rng, phi, weights, sigma_w2, depth, q, width, networks):
    """Eigenvalues of J J^T at the fixed point, biases chosen to hold q."""
    u = np.sqrt(q) * rng.standard_normal(1_000_000)
    q_hat = np.mean(phi.phi(u) ** 2)
    sigma_b2 = q - sigma_w2 * q_hat
    found = []
    for _ in range(networks):
        h = rng.standard_normal(width)
        h *= np.sqrt(width * q_hat) / np.linalg.norm(h)
        product = np.eye(width)
        for _ in range(depth):
            w = rng.standard_normal((width, width)) / np.sqrt(width)
            if weights == "orthogonal":
                basis, triangle = np.linalg.qr(w)
                w = basis * np.sign(np.diag(triangle))
            w = np.sqrt(sigma_w2) * w
            pre = w @ h + np.sqrt(sigma_b2) * rng.standard_normal(width)
            h = phi.phi(pre)
            product = phi.dphi(pre)[:, None] * (w @ product)
        found.append(np.linalg.svd(product, compute_uv=False) ** 2)
    return np.sort(np.concatenate(found))


def distance(found, values):
    """Kolmogorov-Smirnov distance of a law without atoms."""
    steps = np.arange(values.size + 1) / values.size
    cdf = found.cdf(values)
    return max(np.max(np.abs(cdf - steps[1:])), np.max(np.abs(cdf - steps[:-1])))


@pytest.mark.parametrize(("weights", "depth", "mutant"), [("gaussian", 2, 0.55), ("orthogonal", 4, 0.55)])
def test_small_networks_follow_the_law(weights, depth, mutant):
    """Pooled distribution of 16 networks of width 150: eigenvalues repel, so the noise is far below 1/sqrt(2400)."""
    sigma_w2 = critical("tanh", 0.4)
    rng = np.random.default_rng(5)
    values = eigenvalues(rng, activations.get("tanh"), weights, sigma_w2, depth, 0.4, 150, 16)
    found = jacobian.spectrum("tanh", weights, sigma_w2, 0.0, depth, 0.4, points=300)
    assert distance(found, values) < 0.02
    wrong = jacobian.spectrum("tanh", weights, sigma_w2, 0.0, depth, mutant, points=300)
    assert distance(wrong, values) > 0.03


def test_a_slow_transient_is_binned_and_keeps_its_mean():
    q = 1.0 / (1.0 + 2.0 * np.arange(120))  # all different, as at criticality
    found = jacobian.spectrum("tanh", "orthogonal", 1.0, 0.0, 120, q, points=200)
    first, second = jacobian.moments("tanh", "orthogonal", 1.0, 0.0, 120, 2, q)
    assert found.mass == pytest.approx(1.0, abs=1e-6)
    assert quadrature(found, 1) == pytest.approx(first, rel=1e-6)
    assert quadrature(found, 2) == pytest.approx(second, rel=3e-4)


def test_cells_and_nodes_are_one_law():
    """Off the axis both represent the law of phi'^2; at 1e-3 of the axis only the cells do."""
    from mcnet.theory.free.product import _cell_sums, _far_sums

    for activation in ("tanh", "gelu", "elu"):
        law = slope_law(activations.get(activation), 0.5)
        fine = slope_law(activations.get(activation), 0.5, refine=6)
        t = -np.exp(np.linspace(-8, 0.4, 40)) * np.exp(0.6j)
        for cells, nodes in zip(_cell_sums(t, law), _far_sums(t, fine), strict=True):
            np.testing.assert_allclose(cells, nodes, rtol=2e-5, atol=1e-6)
        assert law.weights.sum() + law.zero == pytest.approx(1.0, abs=1e-12)
        assert law.cells.mass.sum() + law.cells.atom_weights.sum() == pytest.approx(1.0 - law.zero, abs=1e-10)
