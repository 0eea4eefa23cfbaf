"""Tangent kernel and Fisher matrix: against gradients by finite differences, asked against built, exact means."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from network_points import Array, PlainNetwork, measured, point
from same_law import assert_same_law
from strict_backend import STRICT

from mcnet.backend import get_backend
from mcnet.errors import McnetError
from mcnet.networks import tangent
from mcnet.observables import costs
from mcnet.observables.catalog import OBSERVABLES
from mcnet.observables.measure import measure
from mcnet.request import Request

NORMALIZATIONS: dict[str, Callable[[Array], Array]] = {  # of outputs (T, C)
    "none": lambda f: f,
    "last-mean": lambda f: f - f.mean(0),
    "last-batch": lambda f: (f - f.mean(0)) / f.std(0),
    "last-layer": lambda f: (f - f.mean(1, keepdims=True)) / f.std(1, keepdims=True),
}


def kernel_by_differences(plain: PlainNetwork) -> Array:
    """Sum over all parameters of df_k(a) df_k'(b), by moving each of them; (C, C, T, T)."""
    slopes = plain.slopes(NORMALIZATIONS[plain.point.normalization])
    return np.einsum("pak,pbj->kjab", slopes, slopes)


CASES: list[dict[str, Any]] = [
    {"parameterization": "standard", "train_biases": True, "weights": "orthogonal"},
    {"parameterization": "ntk", "train_biases": True, "activation": "gelu"},
    {"parameterization": "pdlt", "train_biases": True},
    {"parameterization": "ntk", "train_biases": False, "weights": "uniform"},
    {"parameterization": "standard", "train_biases": True, "normalization": "last-mean"},
    {"parameterization": "ntk", "train_biases": True, "normalization": "last-batch"},
    {"parameterization": "standard", "train_biases": False, "normalization": "last-layer"},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case.values())))
def test_the_kernel_is_the_gram_matrix_of_the_gradients(case: dict[str, Any]) -> None:
    where = point(4, 3, width=5, depth=2, outputs=3, **case)
    seen = measured(where, "explicit", {"ntk": {"blocks": "all"}, "fim": {}}, 6, 7)
    exact = kernel_by_differences(PlainNetwork(where, 6, seed=11))
    size = np.abs(exact).max()
    np.testing.assert_allclose(seen["ntk"][0], exact, atol=1e-7 * size)
    matrix = exact.swapaxes(1, 2).reshape(12, 12)
    eigenvalues = np.linalg.eigvalsh(matrix)[::-1]
    np.testing.assert_allclose(seen["ntk_eigenvalue"][0], eigenvalues, atol=1e-7 * size)
    np.testing.assert_allclose(seen["fim_eigenvalue"][0], eigenvalues / 4, atol=1e-7 * size)
    for name, value in (
        ("fim_lambda_max", eigenvalues[0] / 4),
        ("fim_trace", eigenvalues.sum() / 4),
        ("fim_trace2", (eigenvalues**2).sum() / 16),
        ("learning_rate_bound", 8 / eigenvalues[0]),
    ):
        assert seen[name][0] == pytest.approx(value, rel=1e-6), name
    lost = {"last-mean": 3, "last-batch": 6, "last-layer": 8}.get(where.normalization, 0)  # C, 2 C, 2 T
    assert np.sum(seen["ntk_eigenvalue"][0] > 1e-9 * size) == 12 - lost


@pytest.mark.parametrize("case", [{}, {"normalization": "last-batch", "parameterization": "ntk"}], ids=str)
def test_large_kernels_are_made_block_by_block(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    where = point(5, outputs=3, train_biases=True, **case)
    whole = measured(where, "explicit", {"ntk": {"blocks": "all"}}, 0, 4)["ntk"]
    monkeypatch.setattr(tangent, "BLOCK_FROM", 1)
    for backend in (None, STRICT):
        blocks = measured(where, "explicit", {"ntk": {"blocks": "all"}}, 0, 4, backend=backend)["ntk"]
        np.testing.assert_allclose(blocks, whole, rtol=1e-11, atol=1e-11 * np.abs(whole).max())


def test_blocks_and_parts() -> None:
    where = point(2, outputs=3)
    every = measured(where, "conditioned", {"ntk": {"blocks": "all"}}, 0, 3)["ntk"]
    diagonal = measured(where, "conditioned", {"ntk": {"eigenvalues": False}}, 0, 3)
    mean = measured(where, "conditioned", {"ntk": {"blocks": "mean"}}, 0, 3)["ntk"]
    assert list(diagonal) == ["ntk"]
    assert np.array_equal(diagonal["ntk"], every[:, np.arange(3), np.arange(3)])
    np.testing.assert_allclose(mean, diagonal["ntk"].mean(1), rtol=1e-14)
    np.testing.assert_allclose(every, every.transpose(0, 2, 1, 4, 3), rtol=1e-12)
    least = measured(where, "conditioned", {"ntk": {"eigenvalues": False, "entries": False, "lambda_min": True}}, 0, 3)
    all_values = measured(where, "conditioned", {"ntk": {"entries": False}}, 0, 3)
    assert list(least) == ["ntk_lambda_min"]
    assert np.array_equal(least["ntk_lambda_min"], all_values["ntk_eigenvalue"][:, -1])
    one = measured(point(2, outputs=1), "conditioned", {"ntk": {"entries": False}, "fim": {"eigenvalue": False}}, 0, 3)
    assert sorted(one) == [
        *("fim_lambda_max", "fim_trace", "fim_trace2", "learning_rate_bound"),
        *("ntk_eigenvalue", "ntk_lambda_min"),
    ]
    assert measured(point(2, outputs=1), "conditioned", {"ntk": {}}, 0, 3)["ntk"].shape == (3, 2, 2)
    for name in ("ntk", "fim"):
        assert OBSERVABLES[name].check(point(2), {}) == [
            "the gradients of the outputs need a readout; set network.outputs"
        ]
        assert OBSERVABLES[name].check(point(2, outputs=2, normalization="last-batch"), {})
        assert OBSERVABLES[name].check(point(2, outputs=2, normalization="last-layer"), {})
        assert OBSERVABLES[name].check(point(2, outputs=2, normalization="last-mean"), {})
        assert not OBSERVABLES[name].check(where, {})


@pytest.mark.parametrize(
    "case",
    [
        {"count": 2, "width": 4, "outputs": 2, "parameterization": "ntk", "train_biases": True},
        {"count": 2, "width": 4, "outputs": 1, "weights": "orthogonal", "readout": "orthogonal", "activation": "relu"},
        {"count": 3, "dimension": 2, "width": 5, "outputs": 1, "normalization": "last-mean", "sigma_w2": 5.0},
        {"count": 1, "width": 3, "outputs": 2, "activation": "relu", "sigma_b2": 0.0},
    ],
    ids=lambda case: " ".join(map(str, case.values())),
)
def test_asked_kernels_have_the_law_of_built_ones(case: dict[str, Any]) -> None:
    where = point(**{"parameterization": "ntk", **case}, fresh=True, depth=2)
    samples = []
    for sampler, seed in (("conditioned", 11), ("explicit", 12)):
        seen = measured(where, sampler, {"ntk": {"blocks": "all"}}, 0, 4000, precision="mixed", seed=seed)
        samples.append(np.concatenate([seen["ntk"].reshape(4000, -1), seen["ntk_eigenvalue"][:, :1]], axis=1))
    assert_same_law(*samples, str(case))


def relu_second_moment(hidden: int, width: int) -> float:
    """E Theta^2 / (K^0)^2 of ReLU networks at sigma_w2 = 2 with one output, no bias, alpha = 2 (backward recursion)."""
    total, depth, keep, mix, kick = 0.0, hidden + 1, 1 - 1 / width, 2 / width, 1 + 5 / width  # g = sigma_w2/2 = 1
    for low in range(1, depth + 1):
        for high in range(low, depth + 1):
            r, q, b = 1.0, 3.0, 1.0
            for _ in range(depth - high):
                r, q, b = keep * r + mix * q, kick * q, kick * b
            p, q = b, r
            for _ in range(high - low):
                p, q = keep * p + mix * q, kick * q
            # E B^l K^(l-1) B^m K^(m-1) = P (K^0)^2 (1 + 5/M)^(l-1)
            total += (1 if low == high else 2) * 4.0 * p * kick ** (low - 1)
    return total


@pytest.mark.parametrize(("sampler", "networks"), [("conditioned", 40000), ("explicit", 10000)])
def test_relu_kernels_have_their_exact_mean(sampler: str, networks: int) -> None:
    """E Theta = sigma_w2 L (sigma_w2/2)^(L-1) K^0, and with C = 1 the exact second moment, at width 10."""
    where = point(
        1, 10, width=10, depth=2, activation="relu", sigma_w2=2.0, sigma_b2=0.0, outputs=1, parameterization="ntk"
    )
    seen = measured(where, sampler, {"q": {}, "ntk": {"eigenvalues": False}}, 0, networks, precision="mixed")
    x = seen["ntk"][:, 0, 0] / seen["q_hat"][:, 0, 0]
    for power, exact in ((1, 6.0), (2, relu_second_moment(2, 10))):
        y = x**power
        assert abs(y.mean() - exact) < 5 * y.std() / math.sqrt(networks), power


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
def test_sub_batches_and_other_arrays(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = point(4, 7, outputs=3, normalization="last-batch", train_biases=True, weights="orthogonal", fresh=True)
    measures: dict[str, dict[str, Any]] = {"ntk": {"blocks": "all"}, "fim": {}, "q_tilde": {}}
    ours = measured(where, sampler, measures, 0, 9, precision="mixed")
    monkeypatch.setattr(costs, "sub_batch", lambda *_: 4)
    parts = measured(where, sampler, measures, 0, 9, precision="mixed")
    for name, values in ours.items():
        assert np.array_equal(parts[name], values, equal_nan=True), name
    double = measured(where, sampler, measures, 0, 3)
    theirs = measured(where, sampler, measures, 0, 3, backend=STRICT)
    for name, values in double.items():
        np.testing.assert_allclose(theirs[name], values, rtol=1e-9, atol=1e-10, err_msg=name)


def test_close_inputs_keep_their_difference_in_float32() -> None:
    """1 - c = 1e-6: the relative error of every entry stays near float32 level."""
    far = point(2, 20, width=40, outputs=1, parameterization="ntk")
    close = replace(far, inputs=replace(far.inputs, c0=1 - 1e-6))
    exact, rounded = (
        measured(close, "conditioned", {"ntk": {}}, 0, 20, precision=precision) for precision in ("float64", "mixed")
    )
    np.testing.assert_allclose(rounded["ntk"], exact["ntk"], rtol=3e-5)


def test_a_dead_output_is_undefined_where_it_is_normalised() -> None:
    """Width 2, ReLU, no bias: some networks are dead, their kernel is zero; over sigma = 0 it is no number."""
    dead = {"width": 2, "depth": 3, "activation": "relu", "sigma_b2": 0.0, "outputs": 1, "fresh": True}
    seen = measured(point(3, **dead), "conditioned", {"q": {}, "fim": {}}, 0, 200, precision="mixed")
    none = (seen["q_hat"][..., -1] == 0.0).all(1)
    assert 10 < none.sum() < 190
    assert np.array_equal(seen["fim_lambda_max"] == 0.0, none)
    assert np.array_equal(np.isnan(seen["learning_rate_bound"]), none)
    seen = measured(point(3, **dead, normalization="last-batch"), "explicit", {"q": {}, "fim": {}}, 0, 200)
    none = (seen["q_hat"][..., -1] == 0.0).all(1)
    assert np.array_equal(np.isnan(seen["fim_lambda_max"]), none)


def test_a_kernel_beyond_its_range_is_refused_by_name() -> None:
    where = point(1, width=8, depth=400, activation="linear", weights="orthogonal", sigma_w2=100.0, outputs=1)
    with pytest.raises(McnetError, match="ntk is not finite at width 8"):
        measured(where, "conditioned", {"ntk": {}}, 0, 3, precision="mixed")


def test_counted_eigenvalues_are_those_of_the_networks() -> None:
    where = point(3, outputs=2)
    values = measured(where, "conditioned", {"ntk": {}}, 0, 40)["ntk_eigenvalue"]
    options = {"spectrum": "histogram", "bins": 7, "range": [float(np.quantile(values, 0.2)), 1e8]}
    counts = measured(where, "conditioned", {"ntk": options}, 0, 40)["ntk_count"]
    bounds = np.geomspace(options["range"][0], 1e8, 8)
    expected = [np.sum((values >= low) & (values < high)) for low, high in pairwise([-np.inf, *bounds, np.inf])]
    assert counts.tolist() == [expected]
    assert counts.sum() == values.size


def test_bins_need_a_histogram() -> None:
    for options in ({"bins": 7}, {"range": [1.0, 2.0]}, {"bins": 7, "spectrum": "histogram", "eigenvalues": False}):
        told = OBSERVABLES["ntk"].check(point(2, outputs=1), options)
        assert 'for spectrum = "histogram"' in told[0]


def test_smallest_eigenvalues_are_as_precise_as_they_say() -> None:
    """Mixed against double precision, close inputs included: errors below 1e-7 of the largest eigenvalue."""
    for changes in ({"count": 8}, {"count": 40}):
        where = point(changes["count"], width=64, depth=4, outputs=1)
        seen = [
            measured(where, "explicit", {"ntk": {"entries": False}}, 0, 30, precision=precision)
            for precision in ("mixed", "float64")
        ]
        largest = seen[1]["ntk_eigenvalue"][:, 0]
        assert np.max(np.abs(seen[0]["ntk_lambda_min"] - seen[1]["ntk_lambda_min"]) / largest) < 3e-7


def test_variables_say_what_they_leave_out() -> None:
    where = point(3, outputs=2, normalization="last-mean")
    request = Request({"q_tilde": {}, "ntk": {}}, 1, "explicit", "mixed")
    parts = measure(where, request, 0, 1, get_backend("cpu"))
    found = {part.variable.name: part.variable for part in parts}
    assert "whatever normalization" in found["q_tilde"].normalisation
    assert "1e-7 of the largest eigenvalue in precision mixed" in found["ntk_lambda_min"].definition
