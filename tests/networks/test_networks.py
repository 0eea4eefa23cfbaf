"""Dense networks: against a plain network and finite differences, asked against built, exact laws at finite width."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from network_points import GRADIENT, SIGNAL, PlainNetwork, measured, point
from same_law import assert_same_law

from mcnet.kernels import cpu
from mcnet.observables import costs
from mcnet.point import Point
from mcnet.weights import conditioned

CASES: list[dict[str, Any]] = [
    {"count": 3, "dimension": 11, "outputs": 2},
    {"count": 2, "dimension": 5, "weights": "orthogonal", "activation": "gelu"},
    {"count": 1, "weights": "uniform", "outputs": 3, "sigma_b2": 0.0, "activation": "erf"},
    {"count": 2, "weights": "orthogonal", "outputs": 2, "readout": "orthogonal", "fresh": True, "depth": 1},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case.values())))
def test_built_networks_are_the_plain_network(case: dict[str, Any]) -> None:
    where = point(**case)
    measures = {name: options for name, options in GRADIENT.items() if where.inputs.count > 1 or name != "c"}
    seen = measured(where, "explicit", measures, 4, 6)
    for n in range(2):
        plain = PlainNetwork(where, 4 + n, seed=11)
        u, h, _ = plain.activity()
        np.testing.assert_allclose(seen["q"][n, :, 1:], np.stack([(v * v).mean(1) for v in u], 1), rtol=1e-12)
        np.testing.assert_allclose(seen["q_hat"][n], np.stack([(v * v).mean(1) for v in h], 1), rtol=1e-12)
        if "c" in measures:
            a, b = np.triu_indices(where.inputs.count, 1)
            overlap = np.stack([(v @ v.T)[a, b] / where.width for v in u], 1)
            np.testing.assert_allclose(seen["q_ab"][n, :, 1:], overlap, rtol=1e-12, atol=1e-14)
            lengths = np.stack([np.diag(v @ v.T) / where.width for v in u], 1)
            np.testing.assert_allclose(
                seen["c"][n, :, 1:], overlap / np.sqrt(lengths[a] * lengths[b]), rtol=1e-12, atol=1e-13
            )
        squares = (plain.errors() ** 2).sum(1).mean(2).T  # (T, depth)
        np.testing.assert_allclose(seen["q_tilde"][n, :, 1:], squares, rtol=1e-7)
        np.testing.assert_allclose(seen["chi"][n, :, 2:], squares[:, :-1] / squares[:, 1:], rtol=1e-7)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("dimension", [5, 8, 13])
def test_fused_chain_and_asked_matrices_make_the_same_networks(
    weights: str, dimension: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for activation, bias, count in (("tanh", 0.3, 3), ("relu", 0.0, 2)):
        where = point(count, dimension, weights=weights, activation=activation, sigma_b2=bias)
        for precision, tolerance in (("float64", 1e-11), ("mixed", 1e-4)):
            fused = measured(where, "conditioned", SIGNAL, 0, 24, precision=precision)
            with monkeypatch.context() as patch:
                patch.setattr(costs, "fused", lambda *_: False)
                general = measured(where, "conditioned", SIGNAL, 0, 24, precision=precision)
            for name, values in fused.items():
                np.testing.assert_allclose(values, general[name], rtol=tolerance, atol=tolerance, err_msg=name)


def columns(where: Point, sampler: str, networks: int, seed: int) -> np.ndarray[Any, Any]:
    """Signal, gradients and their products at every layer, one row a network."""
    single = where.inputs.count == 1
    measures: dict[str, dict[str, Any]] = {"q": {}, "q_tilde": {}} | ({} if single else {"c": {"q_ab": True}})
    seen = measured(where, sampler, measures, 0, networks, precision="mixed", seed=seed)
    q, errors = seen["q"][..., 1:], seen["q_tilde"][..., 1:]
    parts = [q, errors, q * errors, q[..., :1] * errors[..., -1:]]
    if not single:
        parts.append(seen["q_ab"][..., 1:])
    return np.concatenate([part.reshape(networks, -1) for part in parts], axis=1)


def asked_and_built(
    case: dict[str, Any], route: str, networks: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The two samplers at one point with other streams; asked by the fused pass or by the general matrices."""
    where = point(**case)
    with monkeypatch.context() as patch:
        if route == "general":
            patch.setattr(costs, "fused", lambda *_: False)
        else:
            assert costs.fused(where, frozenset({"signal", "errors"}), "conditioned")
        asked = columns(where, "conditioned", networks, seed=11)
    return asked, columns(where, "explicit", networks, seed=12)


LAWS: list[dict[str, Any]] = [
    {"count": 2, "dimension": 9, "width": 5},
    {"count": 3, "dimension": 4, "width": 6, "outputs": 2},
    {"count": 1, "width": 5, "activation": "relu", "sigma_b2": 0.0, "sigma_w2": 2.0, "outputs": 1},
    {"count": 2, "width": 4, "activation": "relu", "sigma_b2": 0.0, "sigma_w2": 2.0},
    {"count": 2, "dimension": 9, "width": 5, "weights": "orthogonal"},
    {"count": 3, "dimension": 4, "width": 6, "weights": "orthogonal", "outputs": 2, "readout": "orthogonal"},
    {"count": 2, "width": 4, "activation": "relu", "sigma_b2": 0.0, "weights": "orthogonal", "outputs": 1},
    {"count": 5, "width": 4, "outputs": 1},
]


ROUTES = [
    (case, route)
    for case in LAWS
    for route in ("general", "fused")
    if route == "general" or costs.fused(point(**case), frozenset({"signal", "errors"}), "conditioned")
]


@pytest.mark.parametrize(("case", "route"), ROUTES, ids=str)
def test_asked_networks_have_the_law_of_built_ones(
    case: dict[str, Any], route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among them dead layers (exact zeros), unequal dimensions, Haar readouts, more inputs than units.

    Inputs are random, one set per network and drawn from the same law on both sides.
    """
    asked, built = asked_and_built({**case, "fresh": True}, route, 4000, monkeypatch)
    assert_same_law(asked, built, f"{case}, {route}")


ASK, FUSED = conditioned._ask_gaussian, cpu.tangent_chain


def answers_of_one_side(xp: Any, own: Any, other: Any, question: Any, fresh: Any) -> Any:
    """Named mutant of a Gaussian answer: forgets what was asked from the other side."""
    return ASK(xp, own, (other[0][:, :0, :], other[1][:, :0, :]), question, fresh)


def errors_of_the_next_network(*arguments: Any, **options: Any) -> Any:
    """Named mutant of the fused pass: errors that know nothing of the signal beside them."""
    found = FUSED(*arguments, **options)
    return found._replace(b=np.roll(found.b, 1, axis=0))


@pytest.mark.parametrize("mutant", [False, True])
@pytest.mark.parametrize("route", ["general", "fused"])
def test_the_law_check_rejects_independent_gradients(route: str, mutant: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where saturation makes forward and backward signals depend most: width 3, large weights."""
    case = {"count": 2, "width": 3, "sigma_w2": 6.0, "sigma_b2": 0.1, "outputs": 1, "fresh": True}
    if not mutant:
        assert_same_law(*asked_and_built(case, route, 16000, monkeypatch), str(case))
        return
    if route == "general":
        monkeypatch.setattr(conditioned, "_ask_gaussian", answers_of_one_side)
    else:
        monkeypatch.setattr(cpu, "tangent_chain", errors_of_the_next_network)
    asked, built = asked_and_built(case, route, 16000, monkeypatch)
    with pytest.raises(AssertionError, match="independent gradients"):
        assert_same_law(asked, built, "independent gradients")


def check_relu_moments(ratio: np.ndarray[Any, Any], width: int, kick: float = 5.0) -> None:
    """q_hat^l / q_hat^0 at sigma_w2 = 2 without bias: mean 1, second moment (1 + 5/M)^l, exactly."""
    for layer in range(1, ratio.shape[1]):
        for power, exact in ((1, 1.0), (2, (1 + kick / width) ** layer)):
            x = ratio[:, layer] ** power
            z = (x.mean() - exact) / (x.std() / math.sqrt(len(x)))
            assert abs(z) < 5, f"moment {power} of layer {layer}: {z:+.1f} standard errors from the exact value"


def relu_ratios(sampler: str, networks: int, **changes: Any) -> np.ndarray[Any, Any]:
    where = point(1, 16, width=32, depth=2, activation="relu", sigma_b2=0.0, **changes)
    q_hat = measured(where, sampler, {"q": {}}, 0, networks, precision="mixed")["q_hat"]
    return q_hat[:, 0] / q_hat[:, 0, :1]


@pytest.mark.parametrize(("sampler", "networks"), [("conditioned", 80000), ("explicit", 20000)])
def test_relu_lengths_have_their_exact_moments(sampler: str, networks: int) -> None:
    """Relative spread of q_hat^2 is about 1: 80 000 networks see 2 %."""
    check_relu_moments(relu_ratios(sampler, networks, sigma_w2=2.0), 32)


@pytest.mark.parametrize("bug", [{"sigma_w2": 2.04}, {"weights": "orthogonal", "sigma_w2": 2.0}], ids=str)
def test_the_moment_check_rejects(bug: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="exact value"):
        check_relu_moments(relu_ratios("conditioned", 80000, **bug), 32)


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
def test_square_haar_networks(sampler: str) -> None:
    """Linear: no fluctuation at all, forward or backward. ReLU: E K'^2 = (sigma_w2^2/4) (M+5)/(M+2) K^2."""
    where = point(2, depth=4, weights="orthogonal", activation="linear", sigma_b2=0.0)
    seen = measured(where, sampler, {"q": {}, "q_tilde": {}, "c": {}}, 0, 5)
    powers = 1.7 ** np.arange(5)
    assert np.allclose(seen["q_hat"], seen["q_hat"][:, :, :1] * powers, rtol=1e-12)
    assert np.allclose(seen["c"][..., 1:], seen["c"][..., 1:2], rtol=1e-12)
    assert np.allclose(seen["q_tilde"][..., 1:], seen["q_tilde"][..., -1:] * powers[3::-1], rtol=1e-12)

    width = 8
    where = point(1, width=width, depth=1, weights="orthogonal", activation="relu", sigma_w2=2.0, sigma_b2=0.0)
    q_hat = measured(where, sampler, {"q": {}}, 0, 20000)["q_hat"][:, 0]
    square = (q_hat[:, 1] / q_hat[:, 0]) ** 2
    error = square.std() / math.sqrt(square.size)
    assert abs(square.mean() - (width + 5) / (width + 2)) < 5 * error


def test_gradients_of_relu_have_the_exact_moments_of_lengths() -> None:
    """|d^1|^2 without bias and with one output: mean 1, second moment 3 (1 + 5/M)^(L-1) (Gaussian readout)."""
    where = point(1, width=12, depth=2, activation="relu", sigma_w2=2.0, sigma_b2=0.0, outputs=1)
    x = measured(where, "conditioned", {"q_tilde": {}}, 0, 20000, precision="mixed")["q_tilde"][:, 0, 1]
    for power, exact in ((1, 1.0), (2, (1 + 5 / 12) ** 2)):
        y = x**power
        assert abs(y.mean() - exact) < 5 * y.std() / math.sqrt(y.size)


def test_errors_keep_their_range_however_fast_they_grow() -> None:
    """tanh, chaotic and ordered: |d|^2 grows or falls by 80 orders and more, |d| itself beyond what float32 holds."""
    for sigma_w2, depth, sigma_b2 in ((25.0, 800, 0.0), (0.3, 160, 1.0)):
        where = point(1, width=16, depth=depth, sigma_w2=sigma_w2, sigma_b2=sigma_b2)
        seen = measured(where, "conditioned", {"q_tilde": {}, "chi": {}}, 0, 4, precision="mixed")
        growth = np.log10(seen["q_tilde"][..., 1] / seen["q_tilde"][..., -1])
        assert np.all(np.abs(growth) > 80)
        assert np.allclose(np.log10(seen["chi"][..., 2:]).sum(2), growth, rtol=1e-12)
