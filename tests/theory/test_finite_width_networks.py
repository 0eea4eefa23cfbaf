"""The 1/M coefficients against random networks: means and variances of every observable, Gaussian and Haar weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
from random_networks import Sample, conditioned, entries, explicit, unit_noise
from scipy.linalg import block_diag

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.theory import finite_width, gaussian
from mcnet.theory.expansion import backward, forward

DEPTH = 3
GRAM = np.array([[1.0, 0.6], [0.6, 1.3]])
# width, networks in a batch, weight in the extrapolation that drops the next two orders in 1/M
WIDTHS = ((32, 100, 1 / 3), (64, 400, -2.0), (128, 400, 8 / 3))
BATCHES = 40


@dataclass(frozen=True)
class Case:
    activation: str
    weights: str
    sigma_w2: float
    sigma_b2: float

    @property
    def phi(self) -> Activation:
        return activations.get(self.activation)

    @property
    def orthogonal(self) -> bool:
        return self.weights == "orthogonal"

    def theory(self) -> finite_width.Coefficients:
        return finite_width.coefficients(
            GRAM, self.activation, self.weights, self.sigma_w2, self.sigma_b2, DEPTH, "ntk", True
        )


TANH, TANH_HAAR = Case("tanh", "gaussian", 1.7, 0.1), Case("tanh", "orthogonal", 1.7, 0.1)
RELU, GELU_HAAR = Case("relu", "gaussian", 1.8, 0.0), Case("gelu", "orthogonal", 2.0, 0.1)
CASES = [TANH, TANH_HAAR, RELU, GELU_HAAR]


def observables(sample: Sample) -> np.ndarray:
    q = entries(sample.q)  # (N, depth, 3)
    c = q[..., 1] / np.sqrt(q[..., 0] * q[..., 2])
    top = np.linalg.eigvalsh(sample.theta)[:, -1:]
    flat = [entries(sample.k)[:, 1:], q, entries(sample.b), entries(sample.theta)]
    return np.concatenate([x.reshape(len(q), -1) for x in flat] + [c, top], axis=1)


def predictions(theory: finite_width.Coefficients) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Limits, a1 and v1 in the order of :func:`observables`; that of the largest eigenvalue has no predicted v1."""
    out = []
    for kind in ("limit", "mean", "variance"):
        q_hat, q, q_tilde, ntk, c = (
            getattr(theory, f"{name}_{kind}") for name in ("q_hat", "q", "q_tilde", "ntk", "c")
        )
        flat = [entries(q_hat)[1:], entries(q), entries(q_tilde), entries(ntk), c]
        top = np.nan if kind == "variance" else getattr(theory, f"lambda_max_{kind}")
        out.append(np.concatenate([x.ravel() for x in flat] + [[top]]))
    return out[0], out[1], out[2]


class Totals(NamedTuple):
    """Sums over networks, and over units, of what the estimates need; they add."""

    networks: float
    gram: np.ndarray  # (F + O, F + O) of (noise, observables)
    sums: np.ndarray  # (F + O,)
    units: np.ndarray  # (F, F), mean over units times networks; zero between layers


def totals(case: Case, theory: finite_width.Coefficients, width: int, batch: int, rng: np.random.Generator) -> Totals:
    """One batch of networks; the limits are taken off the observables."""
    b = np.concatenate([theory.q_tilde_limit[1:], np.ones((1, 2, 2))])
    means = np.array([feature_means(case.phi, gram) for gram in theory.q_limit])
    sample = conditioned(rng, case.phi, case.orthogonal, GRAM, case.sigma_w2, case.sigma_b2, DEPTH, width, batch)
    units = unit_noise(sample, case.phi, case.orthogonal, case.sigma_b2, theory.q_limit, b, means)
    noise = [layer.mean(axis=1) for layer in units]
    both = np.concatenate([*noise, observables(sample) - predictions(theory)[0]], axis=1)  # (N, F + O)
    squares = [np.einsum("nif,nig->fg", layer, layer, optimize=True) / width for layer in units]
    return Totals(batch, both.T @ both, both.sum(axis=0), block_diag(*squares))


def estimate(total: Totals, width: int) -> tuple[np.ndarray, np.ndarray]:
    """M (mean - limit) and M times the variance of all observables.

    The noise that the layers add at M = infinity is taken off by a regression on noise of exactly zero mean, whose
    covariance is measured on single units: what is left to chance is of the next order in 1/M.
    """
    f, n = len(total.units), total.networks
    mean = total.sums / n
    covariance = total.gram / n - np.outer(mean, mean)
    scale = np.sqrt(np.diagonal(covariance)[:f])
    normal = covariance[:f, :f] / np.outer(scale, scale)
    response = np.linalg.pinv(normal, rcond=1e-9) @ (covariance[:f, f:] / scale[:, None]) / scale[:, None]  # (F, O)
    rest = np.diagonal(covariance)[f:] - np.einsum("fo,fo->o", response, covariance[:f, f:])
    spread = width * rest / (1.0 - f / n)
    linear = np.einsum("fo,fg,go->o", response, total.units / n, response) - f / n * spread
    return width * (mean[f:] - mean[:f] @ response), linear + spread


def measure(case: Case, theory: finite_width.Coefficients) -> list[tuple[np.ndarray, np.ndarray]]:
    """(a1, v1) of all observables with their errors, extrapolated in the width; errors by a jackknife over batches."""
    rng = np.random.default_rng(2026)
    value, variance = np.zeros((2, 1)), np.zeros((2, 1))
    for width, batch, weight in WIDTHS:
        parts = [totals(case, theory, width, batch, rng) for _ in range(BATCHES)]
        total = Totals(*(sum(column) for column in zip(*parts, strict=True)))
        left_out = [
            estimate(Totals(*(whole - own for whole, own in zip(total, part, strict=True))), width) for part in parts
        ]
        value = value + weight * np.array(estimate(total, width))
        variance = variance + weight**2 * (BATCHES - 1) * np.var(left_out, axis=0)
    return list(zip(value, np.sqrt(variance), strict=True))


def feature_means(phi: Activation, gram: np.ndarray) -> np.ndarray:
    """<h_a h_b> and <p_a p_b> by the general quadrature, (6,)."""

    def both(u_a: np.ndarray, u_b: np.ndarray) -> np.ndarray:
        pairs = [f(x) * f(y) for f in (phi.phi, phi.dphi) for x, y in ((u_a, u_a), (u_a, u_b), (u_b, u_b))]
        return np.stack(pairs)

    return np.asarray(gaussian.pair_mean(both, gram, phi.kinks))


def scores(theory: finite_width.Coefficients, measured: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Standard scores of all a1, then of all v1."""
    out = []
    for (value, error), predicted in zip(measured, predictions(theory)[1:], strict=True):
        # what has no noise left, such as the first layer, is known to the rounding of the regression
        z = (value - predicted) / np.sqrt(error**2 + (1e-5 * (1.0 + np.abs(predicted))) ** 2)
        out.append(z[np.isfinite(predicted)])
    return np.concatenate(out)


@pytest.fixture(scope="module")
def measured() -> dict[Case, list[tuple[np.ndarray, np.ndarray]]]:
    return {case: measure(case, case.theory()) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_means_and_variances_of_random_networks(case: Case, measured) -> None:
    z = scores(case.theory(), measured[case])
    assert np.all(np.isfinite(z))
    assert np.max(np.abs(z)) < 5.0, np.round(z, 1)
    # one network feeds all observables, so the scores are correlated; the mean square is loose
    assert np.mean(z**2) < 2.0


def without_violation_of_independence(monkeypatch: pytest.MonkeyPatch) -> None:
    original = backward._trace
    monkeypatch.setattr(backward, "_trace", lambda *given: 0.0 * original(*given))


def without_curvature(monkeypatch: pytest.MonkeyPatch) -> None:
    original = forward.layer_moments

    def flat(*given: object):
        moments = original(*given)
        return replace(moments, hessian=0.0 * moments.hessian)

    monkeypatch.setattr(forward, "layer_moments", flat)


def with_gaussian_backward_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    original = backward.fill_backward_noise
    monkeypatch.setattr(finite_width, "fill_backward_noise", lambda chain, b: original(replace(chain, haar=False), b))


def with_the_length_one_step_early(monkeypatch: pytest.MonkeyPatch) -> None:
    original = forward.Layer
    monkeypatch.setattr(
        forward,
        "Layer",
        lambda *given: original(*given[:-1], given[-1] - forward.wick(given[2])),
    )


def without_coupling_of_forward_and_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    original = backward.tangent_kernel

    def uncoupled(chain, errors, *given):
        late = [replace(error, response=error.response * (np.arange(len(chain.noise)) >= 3)) for error in errors]
        blind = replace(chain, layers=tuple(replace(x, k_response=0.0 * x.k_response) for x in chain.layers))
        return original(blind, late, *given)

    monkeypatch.setattr(finite_width, "tangent_kernel", uncoupled)


@pytest.mark.parametrize(
    ("mutant", "case"),
    [
        (without_violation_of_independence, TANH),
        (without_violation_of_independence, TANH_HAAR),
        (without_curvature, TANH),
        (without_curvature, TANH_HAAR),
        (with_gaussian_backward_noise, GELU_HAAR),
        (with_the_length_one_step_early, TANH),
        (without_coupling_of_forward_and_backward, RELU),
    ],
)
def test_the_comparison_rejects(mutant, case: Case, measured, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert np.max(np.abs(scores(case.theory(), measured[case]))) > 5.0


@pytest.mark.parametrize("case", [TANH_HAAR, RELU], ids=str)
def test_gaussian_and_haar_coefficients_are_not_exchangeable(case: Case, measured) -> None:
    other = Case(case.activation, "gaussian" if case.orthogonal else "orthogonal", case.sigma_w2, case.sigma_b2)
    assert np.max(np.abs(scores(other.theory(), measured[case]))) > 10.0


@pytest.mark.parametrize("orthogonal", [False, True])
def test_the_two_samplers_have_one_law(orthogonal: bool) -> None:
    given = (activations.get("gelu"), orthogonal, GRAM, 1.7, 0.1, DEPTH, 8, 20000, 2)
    one = explicit(np.random.default_rng(1), *given)
    two = conditioned(np.random.default_rng(2), *given)
    for name in ("k", "q", "b", "theta"):
        x, y = getattr(one, name), getattr(two, name)
        for power in (1, 2):
            a, b = (x - x.mean(0)) ** power if power == 2 else x, (y - y.mean(0)) ** power if power == 2 else y
            error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / len(a))
            z = (a.mean(axis=0) - b.mean(axis=0)) / (error + 1e-9)
            assert np.max(np.abs(z)) < 5.0, name


@pytest.mark.parametrize("case", [TANH_HAAR, RELU], ids=str)
def test_variance_of_the_block_between_two_outputs(case: Case) -> None:
    predicted = case.theory().ntk_cross_variance
    rng = np.random.default_rng(5)
    value, square = np.zeros((2, 2)), np.zeros((2, 2))
    for width, weight in ((32, -1.0), (64, 2.0)):
        given = (case.phi, case.orthogonal, GRAM, case.sigma_w2, case.sigma_b2, DEPTH, width, 1000, 2)
        block = np.concatenate([conditioned(rng, *given).theta[:, :2, 2:] for _ in range(8)])
        value += weight * width * np.mean(block**2, axis=0)
        square += weight**2 * np.var(width * block**2, axis=0) / len(block)
    z = (value - predicted) / np.sqrt(square)
    assert np.max(np.abs(z)) < 5.0, z
    assert np.all(np.sqrt(square) < 0.1 * predicted)
