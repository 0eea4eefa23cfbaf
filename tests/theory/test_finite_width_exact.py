"""Exact laws of linear and ReLU-like networks, at any width, against explicit matrices and literal numbers."""

from __future__ import annotations

import numpy as np
import pytest

from mcnet.theory.exact.laws import (
    chi_square_moment,
    dead_probability,
    length_moments,
    linear_length_moment,
    output_fourth_moment,
    step_moments,
    tangent_kernel_moments,
)

WIDTHS, INPUTS, SIGMA_W2, SQUARE = (4, 3, 5), 4, 1.6, 1.3
ALPHA = (4.0, 1.0, 3.0, 5.0)


def networks(slope: float, count: int) -> dict[str, np.ndarray]:
    """Explicit Gaussian matrices: K^depth / K^0, f and the tangent kernel with factors ALPHA."""
    rng = np.random.default_rng(17)
    h = np.broadcast_to(np.sqrt(SQUARE), (count, INPUTS))
    below, weights, slopes = [h], [], []
    for width in WIDTHS:
        weights.append(np.sqrt(SIGMA_W2 / h.shape[1]) * rng.standard_normal((count, width, h.shape[1])))
        u = (weights[-1] @ h[:, :, None])[:, :, 0]
        slopes.append(np.where(u > 0, 1.0, slope))
        h = slopes[-1] * u
        below.append(h)
    readout = np.sqrt(SIGMA_W2 / h.shape[1]) * rng.standard_normal(h.shape)
    f = np.sum(readout * h, axis=1)
    k = [np.mean(x**2, axis=1) for x in below]
    theta, back = ALPHA[-1] * k[-1], readout
    for layer in reversed(range(len(WIDTHS))):
        d = slopes[layer] * back
        theta = theta + ALPHA[layer] * np.sum(d**2, axis=1) * k[layer]
        back = (d[:, None, :] @ weights[layer])[:, 0]
    return {"length": k[-1] / SQUARE, "output": f, "theta": theta}


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_moments_at_small_unequal_widths(slope: float) -> None:
    sample = networks(slope, 300_000)
    length = length_moments(slope, SIGMA_W2, WIDTHS)
    theta = tangent_kernel_moments(slope, SIGMA_W2, WIDTHS, ALPHA, SQUARE)
    fourth = output_fourth_moment(slope, SIGMA_W2, WIDTHS, SQUARE)
    measured = [
        (sample["length"], length.mean),
        (sample["length"] ** 2, length.second),
        (sample["theta"], theta.mean),
        (sample["theta"] ** 2, theta.second),
        (sample["output"] ** 4, fourth),
    ]

    def score(values: np.ndarray, expected: float) -> float:
        return float((values.mean() - expected) / (values.std() / np.sqrt(values.size)))

    for values, expected in measured:
        assert abs(score(values, expected)) < 5.0
    # forward and backward factors of one layer taken as independent would be seen
    independent = tangent_kernel_moments(slope, SIGMA_W2, [10**9] * 3, ALPHA, SQUARE).second
    assert abs(score(sample["theta"] ** 2, independent)) > 10.0


def test_literal_moments() -> None:
    """E K^2 of ReLU at sigma_w2 = 2 is the product of 1 + 5/M, of a linear network at 1 that of 1 + 2/M."""
    widths = (10, 20, 30)
    np.testing.assert_allclose(length_moments(0.0, 2.0, widths).second, 1.5 * 1.25 * (1 + 5 / 30), rtol=1e-14)
    np.testing.assert_allclose(length_moments(1.0, 1.0, widths).second, 1.2 * 1.1 * (1 + 2 / 30), rtol=1e-14)
    for order, expected in ((1, 1.0), (2, 1 + 2 / 10), (3, (1 + 2 / 10) * (1 + 4 / 10))):
        np.testing.assert_allclose(chi_square_moment(10, order), expected, rtol=1e-13)
    np.testing.assert_allclose(
        linear_length_moment(1.5, widths, 2), length_moments(1.0, 1.5, widths).second, rtol=1e-13
    )


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_orthogonal_step_is_the_sphere(slope: float) -> None:
    """ReLU: E K'^2 = (sigma_w2^2/4) (M + 5)/(M + 2) K^2; leaky against points on the sphere."""
    width = 6
    z = np.random.default_rng(3).standard_normal((400_000, width))
    s = np.sum(np.where(z > 0, 1.0, slope**2) * z**2, axis=1) / np.sum(z**2, axis=1)
    law = step_moments(slope, width, orthogonal=True)
    for values, expected in ((s, law.mean), (s**2, law.second)):
        assert abs(values.mean() - expected) < 5.0 * values.std() / np.sqrt(s.size)
    assert abs((s**2).mean() - step_moments(slope, width).second) > 50.0 * (s**2).std() / np.sqrt(s.size)
    np.testing.assert_allclose(step_moments(0.0, 7, orthogonal=True).second, 12 / (4 * 9), rtol=1e-14)


def test_dead_networks() -> None:
    np.testing.assert_allclose(dead_probability([3, 4]), 1 - (1 - 1 / 8) * (1 - 1 / 16), rtol=1e-14)
    np.testing.assert_allclose(dead_probability([60]), 2.0**-60, rtol=1e-14)


def test_wrong_number_of_factors_is_refused() -> None:
    with pytest.raises(ValueError, match="4 entries"):
        tangent_kernel_moments(0.0, 2.0, WIDTHS, [1.0, 1.0], 1.0)
