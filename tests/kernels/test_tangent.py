"""The fused pass: against the plain one, the general matrices, explicit networks and exact laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from network_points import Array, measured, point
from same_law import assert_same_law
from scipy import stats

from mcnet import activations, streams
from mcnet.backend import get_backend
from mcnet.errors import McnetError
from mcnet.kernels import cpu, reference
from mcnet.kernels.grams import to_difference, to_plain
from mcnet.kernels.reference import TangentChain
from mcnet.networks import inputs
from mcnet.observables import costs
from mcnet.theory.exact.laws import tangent_kernel_moments

KEY = streams.point_key(20, 7)
ALL: dict[str, dict[str, Any]] = {"q": {}, "c": {}, "q_tilde": {}, "chi": {}, "ntk": {}, "fim": {}}


def equal_inputs(count: int, c: float = 0.6) -> Array:
    """Difference-basis Gram matrix (1, T, T) of inputs of length 1 with equal correlations."""
    return np.asarray(to_difference((np.eye(count) * (1 - c) + c)[None]))


def pair(distance: float) -> Array:
    """Of two inputs with 1 - c = distance."""
    return np.array([[[1.0, -distance], [-distance, 2.0 * distance]]])


def chain(
    kernels: Any = cpu,
    networks: tuple[int, int] = (3, 22),
    gram: Array | None = None,
    activation: Any = "tanh",
    **options: Any,
) -> TangentChain:
    given: dict[str, Any] = {
        "width": 37,
        "depth": 3,
        "sigma_w2": 1.7,
        "sigma_b2": 0.1,
        "readout": True,
        **options,
    }
    gram = equal_inputs(2) if gram is None else gram
    result: TangentChain = kernels.tangent_chain(KEY, *networks, gram, activation=activations.get(activation), **given)
    return result


def errors(ours: TangentChain, judge: TangentChain) -> Array:
    """Differences of all Gram entries in units of the lengths of their two rows, (u h b, N, depth, T, T)."""
    result = []
    for a, b in zip(ours[:3], judge[:3], strict=True):
        length = np.sqrt(np.diagonal(b, axis1=-2, axis2=-1))
        scale = length[..., :, None] * length[..., None, :]
        assert np.isfinite(a).all()
        assert np.isfinite(b).all()
        result.append(np.abs(a - b) / np.where(scale > 0, scale, 1.0))
    return np.stack(result)


def theta(result: TangentChain, gram: Array, width: int) -> Array:
    """Tangent kernel in the parametrisation ``ntk`` of sigma_w2 = 1.7 and 0.1 with biases, (N, T, T)."""
    k = np.concatenate([np.broadcast_to(gram, (len(result.h), 1, *gram.shape[1:])), result.h], axis=1)
    b = result.b * (4.0**result.exponent)[..., None, None]
    last = np.ones((len(b), 1, *b.shape[2:]))
    return np.asarray((np.concatenate([b, last], axis=1) * (1.7 * to_plain(k) + 0.1)).sum(axis=1))


# --- against the plain one ---


@pytest.mark.parametrize("united", [False, True])
@pytest.mark.parametrize("precision", ["mixed", "float64"])
def test_kernel_equals_reference(precision: str, united: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of using the lanes, both precisions, ragged widths, with and without readout and bias."""
    monkeypatch.setattr(cpu, "WIDE", 1 if united else 10**9)
    for width, count, depth, sigma_b2, readout in [
        (2, 1, 1, 0.0, True),
        (31, 1, 3, 0.1, False),
        (33, 2, 3, 0.1, True),
        (64, 2, 1, 0.0, False),
        (130, 2, 2, 0.0, True),
        (37, 3, 3, 0.1, True),
        (601, 4, 2, 0.1, False),
        (40, 7, 2, 0.0, True),
    ]:
        options: dict[str, Any] = {"width": width, "depth": depth, "sigma_b2": sigma_b2, "readout": readout}
        options["gram"] = equal_inputs(count)
        networks = (3, 6) if width > 100 else (3, 22)
        error = errors(chain(networks=networks, precision=precision, **options), chain(reference, networks, **options))
        assert error.max() < (1e-5 if precision == "mixed" else 1e-13), (width, count)


@pytest.mark.parametrize("united", [False, True])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_kinks_and_activations_off_centre(activation: str, united: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ReLU unit with u near 0 may round to the other side, which moves an entry by 1/M: quantiles, not maxima."""
    monkeypatch.setattr(cpu, "WIDE", 1 if united else 10**9)
    options: dict[str, Any] = {"activation": activation, "gram": equal_inputs(3)}
    error = errors(chain(networks=(0, 100), **options), chain(reference, (0, 100), **options))
    assert np.quantile(error, 0.99) < 5e-6
    assert error.max() < 0.2


def test_numbers_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "WIDE", 64)
    x = np.random.default_rng(4).standard_normal((40, 2, 5))
    grams = to_difference(x @ np.swapaxes(x, 1, 2))  # inputs of their own for every network
    for width in (20, 70):
        whole = chain(networks=(5, 45), gram=grams, width=width)
        for start, stop in [(5, 6), (6, 22), (22, 39), (44, 45)]:
            part = chain(networks=(start, stop), gram=grams[start - 5 : stop - 5], width=width)
            for a, b in zip(part, whole, strict=True):
                np.testing.assert_array_equal(a, b[start - 5 : stop - 5])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(("distance", "bound"), [(1e-2, 1e-5), (1e-4, 1e-5), (1e-6, 1e-4), (1e-8, 1e-3)])
def test_close_inputs(activation: str, distance: float, bound: float) -> None:
    """The inverse of a nearly singular Gram matrix multiplies errors of the sums; the difference basis has none."""
    options: dict[str, Any] = {"activation": activation, "gram": pair(distance), "width": 80, "networks": (0, 64)}
    ours, judge = (
        theta(result, options["gram"], 80)
        for result in (chain(precision="mixed", **options), chain(precision="float64", **options))
    )
    error = np.abs(ours / judge - 1).max(axis=(1, 2))
    if activation == "relu":  # one unit on the other side of its kink
        error = np.sort(error)[:-2]
    assert error.max() < bound


def test_no_range_is_lost() -> None:
    """Errors that grow and shrink beyond float32, and beyond float64 squares, by exact powers of two."""
    options: dict[str, Any] = {"activation": "relu", "sigma_b2": 0.0, "depth": 90, "networks": (0, 20), "width": 64}
    plain = chain(sigma_w2=2.0, **options)
    assert (plain.exponent == 0).all()
    for power in (10, -10):
        result = chain(sigma_w2=2.0 ** (1 + power), **options)
        layers = np.arange(1, 91)
        np.testing.assert_array_equal(result.h, plain.h * 2.0 ** (power * layers)[:, None, None])
        assert (np.abs(result.exponent[:, 0]) >= 200).all()
        left = power * (91 - layers) - 2 * result.exponent  # powers of two in b itself
        np.testing.assert_array_equal(result.b, plain.b * 2.0 ** left[..., None, None])
    where = point(width=64, depth=700, activation="tanh", sigma_w2=100.0, outputs=None)
    chi = measured(where, "conditioned", {"chi": {}}, 0, 4)["chi"][..., 2:]
    assert np.isfinite(chi).all()
    assert np.log2(chi).sum(axis=-1).min() > 1100  # q_tilde itself is beyond float64
    with pytest.raises(McnetError, match="q_tilde is not finite"):
        measured(where, "conditioned", {"q_tilde": {}}, 0, 4)


def test_errors_of_very_different_length() -> None:
    """Chaos: after 300 layers the errors of two inputs differ by many orders of magnitude and both are right."""
    options: dict[str, Any] = {"sigma_w2": 30.0, "sigma_b2": 0.0, "depth": 300, "width": 30, "networks": (0, 16)}
    lengths = []
    for precision in ("mixed", "float64"):
        result = chain(precision=precision, **options)
        length = np.log(np.diagonal(result.b, axis1=-2, axis2=-1))  # (N, depth, T)
        lengths.append(length + np.log(4.0) * result.exponent[..., None])
    assert np.ptp(lengths[0][:, 0], axis=1).max() > np.log(1e12)
    assert np.abs(lengths[0] - lengths[1]).max() < 2e-3
    steps = lengths[0][:, :-1] - lengths[0][:, 1:]
    first, second = (steps[:, :250, t].reshape(-1) for t in range(2))  # one law for both inputs, layer by layer
    z = (first.mean() - second.mean()) / np.sqrt((first.var() + second.var()) / first.size)
    assert abs(z) < 5
    assert abs(np.log(first.var() / second.var())) < 5 * np.sqrt(2 * (stats.kurtosis(first) + 2) / first.size)


def test_a_dead_layer_stays_dead() -> None:
    """Width 3, no bias: where all units of a layer are off for an input, its signal above and errors below vanish."""
    options: dict[str, Any] = {"activation": "relu", "width": 3, "depth": 4, "sigma_b2": 0.0, "networks": (0, 3000)}
    result = chain(**options)
    assert all(np.isfinite(part).all() for part in result)
    lengths = np.diagonal(to_plain(result.h), axis1=-2, axis2=-1)  # (N, depth, T)
    back = np.diagonal(result.b, axis1=-2, axis2=-1)
    dead = lengths[:, 0] == 0
    share = dead.mean(0)
    assert np.abs(share - 2.0**-3).max() < 5 * math.sqrt(2.0**-3 * (1 - 2.0**-3) / 3000)
    assert (back[:, 0][dead] == 0).all()
    assert (back[:, 0] == 0)[dead.any(axis=1) & ~dead.all(axis=1)].any(axis=1).all()


# --- against the general matrices: the same networks ---


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs": 1, "train_biases": True, "width": 24},
        {"outputs": 1, "parameterization": "ntk", "train_biases": True, "activation": "relu", "dimension": 3},
        {"outputs": 1, "parameterization": "pdlt", "sigma_b2": 0.0, "count": 3, "fresh": True, "width": 20},
        {"outputs": None, "count": 4, "width": 24},
        {"outputs": 1, "count": 1, "width": 5},
    ],
    ids=str,
)
def test_the_general_route_draws_the_same_networks(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    where = point(**changes)
    asked = {
        name: options
        for name, options in ALL.items()
        if (where.outputs or name not in ("ntk", "fim")) and (where.inputs.count > 1 or name != "c")
    }
    assert costs.fused(where, frozenset({"signal", "errors", "tangent"}), "conditioned")
    ours = measured(where, "conditioned", asked, 2, 30)
    monkeypatch.setattr(costs, "fused", lambda *_: False)
    judge = measured(where, "conditioned", asked, 2, 30)
    assert ours.keys() == judge.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(values, judge[name], rtol=1e-9, atol=1e-9 * np.nanmax(np.abs(judge[name])))


def test_what_is_not_fused() -> None:
    needs = frozenset({"signal", "errors", "tangent"})
    for changes in (
        {"outputs": 2},
        {"outputs": 1, "readout": "orthogonal"},
        {"outputs": 1, "weights": "orthogonal"},
        {"outputs": 1, "normalization": "last-mean"},
        {"outputs": 1, "width": 2},
        {"outputs": 1, "count": 17, "width": 40},
    ):
        assert not costs.fused(point(**changes), needs, "conditioned")
    assert not costs.fused(point(outputs=1), needs, "explicit")
    assert not costs.fused(point(outputs=1), needs | {"jacobian"}, "conditioned")


# --- laws ---


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_law_is_that_of_explicit_networks(activation: str) -> None:
    """Rectangular first layer, biases; every entry of the kernel and every length of the errors."""
    where = point(outputs=1, activation=activation, width=6, dimension=3, train_biases=True)
    asked: dict[str, dict[str, Any]] = {"q_tilde": {}, "ntk": {"eigenvalues": False, "lambda_min": False}}

    def columns(values: dict[str, Array]) -> Array:
        parts = [values["q_tilde"][..., 1:].reshape(-1, 6), values["ntk"].reshape(-1, 4)[:, :3]]
        return np.asarray(np.arcsinh(np.concatenate(parts, axis=1)))  # the tails of relu are heavy

    ours = columns(measured(where, "conditioned", asked, 0, 100_000, precision="mixed"))
    judge = columns(measured(where, "explicit", asked, 100_000, 140_000, precision="mixed"))
    assert_same_law(ours, judge, activation)
    wrong = point(outputs=1, activation=activation, width=6, dimension=3, train_biases=True, sigma_w2=1.7 * 1.02)
    mutant = columns(measured(wrong, "conditioned", asked, 0, 100_000, precision="mixed"))
    with pytest.raises(AssertionError, match="mutant"):
        assert_same_law(mutant, judge, "mutant")


def check_relu_moments(kernel: Array, width: int, depth: int) -> None:
    """E Theta and E Theta^2 of alpha = sigma_w2 = 2 without bias, on independent networks (N,)."""
    exact = tangent_kernel_moments(0.0, 2.0, [width] * depth, [2.0] * (depth + 1), 1.0)
    for power, expected in ((1, exact.mean), (2, exact.second)):
        x = kernel**power
        z = (x.mean() - expected) / (x.std() / np.sqrt(x.size))
        assert abs(z) < 5, f"E Theta^{power} is off by {z:+.1f} standard errors"


@pytest.mark.parametrize(("width", "networks"), [(20, 200_000), (80, 100_000)])
def test_relu_moments_are_exact(width: int, networks: int) -> None:
    where = point(
        outputs=1, activation="relu", width=width, sigma_w2=2.0, sigma_b2=0.0, dimension=2, parameterization="ntk"
    )
    gram = to_plain(inputs.gram(where, 11, 0, 1, get_backend("cpu")))[0]
    kernel = measured(where, "conditioned", {"ntk": {}}, 0, networks, precision="mixed")["ntk"]
    for a in range(2):
        check_relu_moments(kernel[:, a, a] / gram[a, a], width, 3)


def test_the_moments_reject_independent_gradients() -> None:
    """Errors that know nothing of the signal, those of other networks: the mean is right and the square is not."""
    options: dict[str, Any] = {"activation": "relu", "width": 5, "sigma_w2": 2.0, "sigma_b2": 0.0}
    networks = 200_000
    result = chain(networks=(0, networks), gram=np.ones((1, 1, 1)), **options)
    one = np.ones((networks, 1))
    k = np.concatenate([one, result.h[:, :, 0, 0]], axis=1)
    b = np.concatenate([result.b[:, :, 0, 0], one], axis=1)
    check_relu_moments(2.0 * (k * b).sum(axis=1), 5, 3)
    with pytest.raises(AssertionError, match=r"Theta\^2"):
        check_relu_moments(2.0 * (k * np.roll(b, 1, axis=0)).sum(axis=1), 5, 3)
