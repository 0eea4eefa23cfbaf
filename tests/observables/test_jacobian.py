"""The Jacobian's spectrum: finite differences, exact moments at finite width, counts and moments of the same values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from network_points import PlainNetwork, measured, point
from same_law import assert_same_law
from strict_backend import STRICT

import mcnet
from mcnet.errors import McnetError, ScenarioError
from mcnet.kernels import graded
from mcnet.networks import dense, jacobian
from mcnet.observables import costs
from mcnet.observables.catalog import OBSERVABLES
from mcnet.observables.jacobian import edges
from mcnet.observables.measure import resolve_sampler
from mcnet.plan.checks import require_request
from mcnet.request import Request


@pytest.mark.parametrize(
    "case",
    [{"dimension": 5}, {"dimension": 11, "weights": "orthogonal", "outputs": 2}, {"weights": "orthogonal"}],
    ids=str,
)
def test_singular_values_are_those_of_the_derivative(case: dict[str, Any]) -> None:
    where = point(2, **case)
    seen = measured(where, "explicit", {"jacobian": {"moments": 3}}, 4, 6)
    for n in range(2):
        plain, step, columns = PlainNetwork(where, 4 + n, seed=11), 1e-5, []
        for index in range(where.inputs.dimension):
            kept, ends = plain.x[0, index], []
            for sign in (1, -1):
                plain.x[0, index] = kept + sign * step
                ends.append(plain.activity()[1][-1][0])
            plain.x[0, index] = kept
            columns.append((ends[0] - ends[1]) / (2 * step))
        s = np.linalg.svd(np.array(columns).T, compute_uv=False)
        np.testing.assert_allclose(seen["jacobian_sv"][n], s, atol=1e-8 * s[0])
        np.testing.assert_allclose(seen["jacobian_moment"][n], [(s ** (2 * k)).sum() / 8 for k in (1, 2, 3)], rtol=1e-7)


def test_linear_haar_networks_have_one_singular_value() -> None:
    where = point(1, depth=5, activation="linear", weights="orthogonal")
    for precision, tolerance in (("mixed", 1e-6), ("float64", 1e-13)):
        s = measured(where, "explicit", {"jacobian": {}}, 0, 3, precision=precision)["jacobian_sv"]
        np.testing.assert_allclose(s, 1.7**2.5, rtol=tolerance)


def leaky_moments(width: int, dimension: int, depth: int, sigma_w2: float, slope: float) -> tuple[float, float]:
    """E (1/M) tr J J^T and E (1/M) tr (J J^T)^2 of Gaussian leaky-ReLU networks without bias, exact at any width.

    Layer by layer for X = J J^T, first for W (n x n_in) and then for D: tr X, tr X^2 and (tr X)^2.
    """
    p1, p2 = (1 + slope**2) / 2, (1 + slope**4) / 2
    t1, t2, t11 = float(dimension), float(dimension), float(dimension) ** 2
    for layer in range(depth):
        n, s = width, sigma_w2 / (dimension if layer == 0 else width)
        cross = s * s * (n * (n - 1) * p1 * p1)
        same = s * s * n * p2
        t1, t2, t11 = s * n * p1 * t1, cross * t2 + same * (2 * t2 + t11), cross * t11 + same * (2 * t2 + t11)
    return t1 / width, t2 / width


def test_moments_of_leaky_relu_are_exact() -> None:
    where = point(1, 6, width=9, depth=3, activation={"name": "leaky-relu", "slope": 0.3}, sigma_b2=0.0)
    moments = measured(where, "explicit", {"jacobian": {"keep": "moments"}}, 0, 12000, precision="mixed")
    assert list(moments) == ["jacobian_moment", "jacobian_rank", "jacobian_route"]
    x = moments["jacobian_moment"]
    error = x.std(0) / math.sqrt(len(x))
    exact = leaky_moments(9, 6, 3, 1.7, 0.3)
    assert np.all(np.abs(x[:, :2].mean(0) - exact) < 5 * error[:2])
    with pytest.raises(AssertionError):  # the mutant: weights 2 % too large in variance
        assert np.all(np.abs(x[:, :2].mean(0) - leaky_moments(9, 6, 3, 1.734, 0.3)) < 5 * error[:2])


def test_counts_are_of_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    where, options = point(1, depth=4), {"keep": "histogram", "bins": 7, "range": [0.1, 0.8], "moments": 2}
    s = measured(where, "explicit", {"jacobian": {}}, 0, 40)["jacobian_sv"]
    monkeypatch.setattr(costs, "sub_batch", lambda *_: 9)
    seen = measured(where, "explicit", {"jacobian": options}, 0, 40)
    counts = seen["jacobian_count"]
    assert counts.shape == (1, 9)
    assert counts.dtype == np.int64
    assert counts.sum() == s.size
    assert np.array_equal(counts[0, 1:-1], np.histogram(s, np.append(edges(options)[:-1], 0.8 - 1e-15))[0])
    assert counts[0, 0] == np.sum(s < 0.1)
    np.testing.assert_allclose(seen["jacobian_moment"][:, 1], (s**4).sum(1) / 8, rtol=1e-12)


def graded_factors(width: int, depth: int, seed: int) -> tuple[list[Any], Any]:
    """Factors U_l S_l U_(l-1)^T with graded S_l: the singular values of the product are prod_l S_l."""
    rng = np.random.default_rng(seed)
    frames = [np.linalg.qr(rng.normal(size=(width, width)))[0] for _ in range(depth + 1)]
    scales = np.exp(rng.normal(size=(depth, width)) - 2.0 * np.arange(width))
    factors = [u @ (s[:, None] * v.T) for v, u, s in zip(frames[:-1], frames[1:], scales, strict=True)]
    return factors, np.sort(np.log(scales).sum(0))[::-1]


def test_small_singular_values_survive_in_factors() -> None:
    factors, exact = graded_factors(6, 25, seed=5)
    product: graded.Graded | None = None
    for factor in factors:
        product = graded.split(factor if product is None else factor @ product.q, product)
    assert product is not None
    seen = np.log(graded.singular_values(product)) + product.exponent * math.log(2)
    np.testing.assert_allclose(seen, exact, atol=1e-9)  # a factor loses digits of its own small ones: 1e-16 / 1e-5
    assert exact[-1] - exact[0] < -230  # no plain product holds that
    plain = np.linalg.svd(np.linalg.multi_dot(factors[::-1]), compute_uv=False)
    assert abs(math.log(plain[-1]) - exact[-1]) > 50
    narrow = graded.split(np.diag([1.0, 1e-200]), None)
    with pytest.raises(OverflowError, match="290 orders"):
        graded.split(np.diag([1.0, 1e-200]) @ narrow.q, narrow)


@pytest.mark.parametrize(("depth", "route"), [(1, 0), (12, 1), (40, 2)])
def test_the_route_follows_the_conditioning(depth: int, route: int) -> None:
    """The log-determinant of J is a sum over layers: it sees the smallest singular value as well as the largest."""
    where = point(1, width=6, depth=depth, activation={"name": "leaky-relu", "slope": 0.3}, sigma_b2=0.0)
    seen = measured(where, "explicit", {"jacobian": {"moments": 1}}, 0, 40)
    assert np.median(seen["jacobian_route"]) == route
    assert np.all(seen["jacobian_rank"] == 6)
    exact = np.zeros(40)
    for n in range(40):
        plain = PlainNetwork(where, n, seed=11)
        for matrix, u in zip(plain.weights, plain.activity()[0], strict=False):
            slopes = np.where(u[0] > 0, 1.0, 0.3)
            exact[n] += np.linalg.slogdet(slopes[:, None] * matrix)[1]
    np.testing.assert_allclose(np.log(seen["jacobian_sv"]).sum(1), exact, atol=2e-3)


@pytest.mark.parametrize("sigma_w2", [1.7, 30.0])
def test_layers_accumulated_together_keep_their_digits(monkeypatch: pytest.MonkeyPatch, sigma_w2: float) -> None:
    """Every singular value to three digits beside those of one factorisation a layer, saturated slopes too."""
    where = point(1, width=24, depth=24, sigma_w2=sigma_w2)
    together = measured(where, "explicit", {"jacobian": {"moments": 1}}, 0, 8)
    monkeypatch.setattr(jacobian, "TOGETHER", 1)
    monkeypatch.setattr(jacobian, "LOST", 0.0)
    alone = measured(where, "explicit", {"jacobian": {"moments": 1}}, 0, 8)
    assert np.all(alone["jacobian_route"] == together["jacobian_route"])
    assert np.median(alone["jacobian_route"]) == 2
    np.testing.assert_allclose(together["jacobian_sv"], alone["jacobian_sv"], rtol=1e-3)
    monkeypatch.setattr(jacobian, "TOGETHER", 12)
    monkeypatch.setattr(jacobian, "KEPT_TOGETHER", -1.0)  # the mutant: whatever digits that costs
    spoiled = measured(where, "explicit", {"jacobian": {"moments": 1}}, 0, 8)["jacobian_sv"]
    assert not np.allclose(spoiled, alone["jacobian_sv"], rtol=0.1, atol=0.0)


def test_rotations_where_the_triangle_loses_digits() -> None:
    """Singular values of columns that are graded but mixed: by rotations, as their determinant says."""
    rng = np.random.default_rng(4)
    q = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    d = 10.0 ** -np.arange(0.0, 36.0, 3.0)
    exact = np.sort(d)[::-1]
    product = graded.Graded(np.eye(12), d, q, 0)
    np.testing.assert_allclose(graded.singular_values(product), exact, rtol=1e-10)
    np.testing.assert_allclose(graded._by_rotations(product.t.T * product.d), exact, rtol=1e-10)


def test_zeros_are_counted_by_the_rank() -> None:
    where = point(1, width=20, depth=4, activation="relu", sigma_b2=0.0)
    for precision in ("mixed", "float64"):
        seen = measured(where, "explicit", {"jacobian": {}}, 0, 30, precision=precision)
        for n in range(30):
            plain = PlainNetwork(where, n, seed=11)
            live = [int(np.sum(u[0] > 0)) for u in plain.activity()[0]]
            assert seen["jacobian_rank"][n] == min(live)
            assert np.all(seen["jacobian_sv"][n, min(live) :] == 0.0)
            assert np.all(seen["jacobian_sv"][n, : min(live)] > 0.0)
    counted = {"keep": "histogram", "bins": 4, "range": [0.0, 1.0]}
    counts = measured(where, "explicit", {"jacobian": counted}, 0, 30)["jacobian_count"]
    assert counts[0, 0] == np.sum(20 - seen["jacobian_rank"])


def test_largest_eigenvalue_by_products() -> None:
    """Lanczos on matrices that are built and on matrices that are asked, against all singular values."""
    for law in ("gaussian", "orthogonal"):
        where = point(1, width=300, depth=3, weights=law)
        exact = measured(where, "explicit", {"jacobian": {"moments": 1}}, 0, 12)["jacobian_sv"][:, 0] ** 2
        built = measured(where, "explicit", {"jacobian_lambda_max": {}}, 0, 12)["jacobian_lambda_max"]
        assert np.all(built <= exact * (1 + 1e-12))  # Ritz values lie inside
        np.testing.assert_allclose(built, exact, rtol=1e-3)
        both = measured(where, "explicit", {"jacobian_lambda_max": {}, "jacobian": {}}, 0, 3)
        np.testing.assert_allclose(both["jacobian_lambda_max"], both["jacobian_sv"][:, 0] ** 2, rtol=1e-14)
        alone = measured(where, "explicit", {"jacobian_lambda_max": {}}, 5, 6)["jacobian_lambda_max"]
        assert alone[0] == built[5]
        asked = measured(where, "conditioned", {"jacobian_lambda_max": {}}, 0, 40)["jacobian_lambda_max"]
        more = measured(where, "explicit", {"jacobian_lambda_max": {}}, 12, 52)["jacobian_lambda_max"]
        assert_same_law(asked[:, None], more[:, None], f"lambda_max, {law}")


@pytest.mark.parametrize("law", ["gaussian", "orthogonal"])
def test_largest_eigenvalue_of_long_float32_vectors(law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same networks asked in float32 and in float64, one with nearly linear layers, in which questions depend."""
    monkeypatch.setattr(dense, "LONG_VECTORS", 700)
    for sigma_w2 in (1.02, 3.0):
        where = point(1, width=700, depth=3, weights=law, sigma_w2=sigma_w2, sigma_b2=1e-4)
        long, exact = (
            measured(where, "conditioned", {"jacobian_lambda_max": {}}, 0, 2, precision=precision)
            for precision in ("mixed", "float64")
        )
        np.testing.assert_allclose(long["jacobian_lambda_max"], exact["jacobian_lambda_max"], rtol=1e-3)


@pytest.mark.parametrize("activation", ["hard-tanh", "shifted-relu"])
@pytest.mark.parametrize("precision", ["mixed", "float64"])
def test_largest_eigenvalue_of_a_jacobian_of_low_rank(activation: str, precision: str) -> None:
    """Zero slopes exhaust the Krylov space after half the steps; from then on there is only rounding to multiply."""
    low = {"width": 40, "activation": activation, "weights": "orthogonal", "sigma_w2": 1.6, "sigma_b2": 0.0}
    where = point(1, **low)
    asked = {"jacobian_lambda_max": {}}
    built = measured(where, "explicit", asked, 0, 300, precision=precision)["jacobian_lambda_max"]
    exact = measured(where, "explicit", {"jacobian": {}}, 0, 300)
    assert np.mean(exact["jacobian_rank"]) < 34
    np.testing.assert_allclose(built, exact["jacobian_sv"][:, 0] ** 2, rtol=1e-3)
    drawn = measured(where, "conditioned", asked, 0, 300, precision=precision)["jacobian_lambda_max"]
    more = measured(where, "explicit", asked, 300, 600, precision=precision)["jacobian_lambda_max"]
    assert_same_law(drawn[:, None], more[:, None], f"lambda_max, {activation}")


@pytest.mark.parametrize("precision", ["mixed", "float64"])
def test_saturated_slopes_are_not_zero(precision: str) -> None:
    """1 - tanh^2 is zero in float32 from |u| = 9 on; the rank is full all the same."""
    where = point(1, width=64, sigma_w2=30.0, depth=2)
    assert np.all(measured(where, "explicit", {"jacobian": {}}, 0, 20, precision=precision)["jacobian_rank"] == 64)


def test_what_leaves_the_range_of_a_double_is_refused() -> None:
    check = OBSERVABLES["jacobian"].check
    deep = point(1, depth=200, activation="relu", sigma_w2=0.3, sigma_b2=0.0)
    assert "take fewer moments" in check(deep, {})[0]
    assert check(deep, {"moments": 1}) == []
    tanh = point(1, depth=100, sigma_w2=1e-3, sigma_b2=0.0)
    with pytest.raises(McnetError, match="jacobian_moment is not finite"):
        measured(tanh, "explicit", {"jacobian": {"moments": 2}}, 0, 1)


def test_range_beyond_float32_and_other_arrays() -> None:
    deep = point(1, depth=250, sigma_w2=60.0, sigma_b2=0.0, weights="orthogonal")
    moments = measured(deep, "explicit", {"jacobian": {"moments": 1}}, 0, 2, precision="mixed")["jacobian_moment"]
    assert np.all(np.abs(np.log10(moments)) > 77)
    where = point(2, 11)
    ours, theirs = (measured(where, "explicit", {"jacobian": {}}, 0, 2, backend=backend) for backend in (None, STRICT))
    for name, values in ours.items():
        np.testing.assert_allclose(theirs[name], values, rtol=1e-10, err_msg=name)


def test_the_spectrum_needs_the_matrices() -> None:
    assert OBSERVABLES["jacobian"].samplers == ("explicit",)
    assert resolve_sampler(point(1, width=512), Request({"q": {}, "jacobian": {}}, 1)) == "explicit"
    for key, value in (("keep", "all"), ("moments", 0), ("moments", True), ("range", [1, 1]), ("bins", 2.5)):
        assert OBSERVABLES["jacobian"].options[key].complaint(value)
    for key, value in (("keep", "moments"), ("moments", 3), ("range", [0, 1.5]), ("bins", 2)):
        assert OBSERVABLES["jacobian"].options[key].complaint(value) is None


def test_sizes_beyond_all_use_are_refused_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand million bins, or moments: told by a scenario, a plan and a sample alike."""
    monkeypatch.setattr(np, "linspace", None)
    monkeypatch.setattr(np, "geomspace", None)
    study = {
        "mcnet": 1,
        "network": {"activation": "relu", "width": 8, "depth": 2, "sigma_w2": 2.0, "sigma_b2": 0.0, "outputs": 1},
        "inputs": {"kind": "single", "q0": 1.0},
        "sampling": {"networks": 2},
    }
    huge: dict[str, dict[str, Any]] = {
        "jacobian": {"keep": "histogram", "bins": 10**9},
        "ntk": {"spectrum": "histogram", "bins": 10**9},
        "conditional_fim": {"moments": 10**9},
    }
    for name, options in huge.items():
        key = next(key for key in options if key in ("bins", "moments"))
        with pytest.raises(ScenarioError, match=rf"measure\.{name}\.{key}: must be a whole number from 1 to 1000"):
            mcnet.sample({**study, "measure": {name: options}})
        with pytest.raises(ValueError, match=f"the option '{key}' of {name}"):
            require_request(Request({name: options}, 1), None)
