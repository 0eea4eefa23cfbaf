"""The conditioned chain: the fused kernel against the plain one, and both against exact laws and explicit networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from same_law import assert_same_law
from scipy import special
from scores import assert_standard_normal

from mcnet import activations, streams
from mcnet.kernels import cpu, reference
from mcnet.kernels.grams import one_minus_correlations, to_difference, to_plain
from mcnet.kernels.reference import Chain

KEY = streams.point_key(20, 7)


def equal_inputs(count: int, c: float = 0.6) -> NDArray[np.float64]:
    """Difference-basis Gram matrix (1, T, T) of inputs of length 1 with equal correlations."""
    return np.asarray(to_difference((np.eye(count) * (1 - c) + c)[None]))


def chain(
    kernels: Any = cpu,
    networks: tuple[int, int] = (3, 22),
    gram: NDArray[np.float64] | None = None,
    activation: Any = "tanh",
    **options: Any,
) -> Chain:
    given: dict[str, Any] = {
        "weights": "gaussian",
        "width": 37,
        "depth": 4,
        "sigma_w2": 1.7,
        "sigma_b2": 0.1,
        **options,
    }
    given.setdefault("input_dimension", given["width"])
    gram = equal_inputs(2) if gram is None else gram
    result: Chain = kernels.conditioned_chain(KEY, *networks, gram, activation=activations.get(activation), **given)
    return result


def errors(ours: Chain, judge: Chain) -> NDArray[np.float64]:
    """Differences of all Gram entries in units of the lengths of their two rows."""
    result = []
    for a, b in zip(ours, judge, strict=True):
        length = np.sqrt(np.diagonal(b, axis1=-2, axis2=-1))
        scale = length[..., :, None] * length[..., None, :]
        assert np.isfinite(a).all()
        assert np.isfinite(b).all()
        result.append(np.abs(a - b) / np.where(scale > 0, scale, 1.0))
    return np.stack(result)


CASES: list[dict[str, Any]] = [
    {"width": 1, "inputs": 1},
    {"width": 31, "inputs": 1},
    {"width": 33, "inputs": 2},
    {"width": 37, "inputs": 3, "sigma_b2": 0.0},
    {"width": 1000, "inputs": 2},
    {"width": 40, "inputs": 8},
    {"width": 20, "inputs": 2, "weights": "orthogonal"},
    {"width": 31, "inputs": 3, "weights": "orthogonal", "input_dimension": 70},
    {"width": 65, "inputs": 2, "weights": "orthogonal", "input_dimension": 9, "sigma_b2": 0.0},
    {"width": 1000, "inputs": 4, "weights": "orthogonal", "input_dimension": 1111},
]


@pytest.mark.parametrize("united", [False, True])
@pytest.mark.parametrize("precision", ["mixed", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernel_equals_reference(
    case: dict[str, Any], precision: str, united: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways of using the lanes, both precisions, ragged widths."""
    monkeypatch.setattr(cpu, "WIDE", 1 if united else 10**9)
    options = {key: value for key, value in case.items() if key != "inputs"} | {"gram": equal_inputs(case["inputs"])}
    networks = (3, 6) if case["width"] == 1000 else (3, 22)
    error = errors(chain(networks=networks, precision=precision, **options), chain(reference, networks, **options))
    assert error.max() < (5e-6 if precision == "mixed" else 1e-13)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_kinks_and_activations_off_centre(activation: str, weights: str) -> None:
    """A ReLU unit with u near 0 may round to the other side, which moves a Gram entry by 1/M: quantiles, not maxima."""
    options: dict[str, Any] = {"activation": activation, "weights": weights, "gram": equal_inputs(3), "depth": 3}
    error = errors(chain(networks=(0, 200), **options), chain(reference, (0, 200), **options))
    assert np.quantile(error, 0.99) < 5e-6
    assert error.max() < 0.1


def test_inputs_more_than_units() -> None:
    """Gram matrices without full rank."""
    for width, inputs in [(1, 2), (3, 5), (2, 2)]:
        options: dict[str, Any] = {"width": width, "gram": equal_inputs(inputs), "sigma_b2": 0.0}
        error = errors(chain(**options), chain(reference, **options))
        assert np.median(error) < 1e-13
        assert error.max() < 1e-5  # a pivot of pure rounding that just passes for one has the size 1e-13
    repeated = np.zeros((1, 3, 3))
    repeated[0, 0, 0] = 1.0  # three times the same input
    result = chain(gram=repeated)
    assert (result.h[:, :, 1:] == 0).all()
    np.testing.assert_array_equal(result.h[:, :, 0, 0], chain(gram=repeated[:, :1, :1]).h[:, :, 0, 0])


def test_numbers_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "WIDE", 64)
    rng = np.random.default_rng(4)
    inputs = rng.standard_normal((40, 2, 5))
    grams = to_difference(inputs @ np.swapaxes(inputs, 1, 2))  # inputs of their own for every network
    for weights in ("gaussian", "orthogonal"):
        for width in (20, 70):
            options: dict[str, Any] = {"weights": weights, "width": width, "input_dimension": 5, "depth": 3}
            whole = chain(networks=(5, 45), gram=grams, **options)
            for start, stop in [(5, 6), (6, 22), (22, 39), (44, 45)]:
                part = chain(networks=(start, stop), gram=grams[start - 5 : stop - 5], **options)
                for a, b in zip(part, whole, strict=True):
                    np.testing.assert_array_equal(a, b[start - 5 : stop - 5])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("distance", [1e-4, 1e-8, 1e-11])
def test_close_inputs(activation: str, distance: float) -> None:
    """1 - c of close inputs keeps six digits through the layers; the reference itself loses 1e-16 / sqrt(1 - c)."""
    gram = np.array([[[1.0, -distance], [-distance, 2 * distance]]])
    options: dict[str, Any] = {"gram": gram, "activation": activation, "width": 101, "depth": 6, "networks": (0, 48)}
    ours, judge = (
        one_minus_correlations(result.h)[..., 0, 1] for result in (chain(**options), chain(reference, **options))
    )
    error = np.abs(ours / judge - 1)
    assert np.median(error) < 1e-5
    assert np.quantile(error, 0.99) < 1e-4


def test_no_range_is_lost() -> None:
    """Growth and decay far beyond float32, layer after layer, and differences beyond float64's 1 - c."""
    gram = equal_inputs(2)
    for activation, sigma_w2 in [("relu", 2.0**4), ("relu", 2.0**-6), ("linear", 2.0**8)]:
        options: dict[str, Any] = {"gram": gram, "activation": activation, "depth": 100, "sigma_b2": 0.0, "width": 64}
        big, plain = chain(sigma_w2=sigma_w2, **options), chain(sigma_w2=1.0, **options)
        powers = sigma_w2 ** np.arange(1, 101)[:, None, None]
        np.testing.assert_array_equal(big.h, plain.h * powers)  # homogeneous: sigma_w is an exact power of two
    shrinking = chain(gram=gram, sigma_w2=2.0**-6, sigma_b2=0.0, depth=30)  # tanh of tiny u is u
    judge = chain(reference, gram=gram, sigma_w2=2.0**-6, sigma_b2=0.0, depth=30)
    assert errors(shrinking, judge).max() < 1e-5
    ordered = one_minus_correlations(chain(sigma_w2=0.5, sigma_b2=0.3, depth=80).h)[..., 0, 1]
    rate = np.diff(np.log(ordered[:, 20:]), axis=1)  # exponential all the way, to 1 - c = 1e-34
    assert ordered[:, -1].max() < 1e-25
    assert np.abs(rate[:, -20:].mean() - rate[:, :20].mean()) < 0.05 * np.abs(rate.mean())


def test_a_dead_layer_stays_dead() -> None:
    """ReLU, width 2, no bias: a layer with all units off has length exactly zero, and so have all layers above."""
    for weights in ("gaussian", "orthogonal"):
        result = chain(activation="relu", width=2, depth=6, sigma_b2=0.0, networks=(0, 2000), weights=weights)
        lengths = np.diagonal(to_plain(result.h), axis1=-2, axis2=-1)  # (N, depth, T)
        dead = lengths == 0
        share = dead[:, 0].mean(0)
        z = (share - 0.25) / np.sqrt(0.25 * 0.75 / 2000)  # both signs of both units, 2^-M
        assert np.abs(z).max() < 5
        assert (dead[:, 1:] | ~dead[:, :-1]).all()
        alive_alone = dead[:, :, 0] & ~dead[:, :, 1]
        assert alive_alone.any()
        assert np.isfinite(result.u).all()


def test_wide_networks_take_little_memory() -> None:
    width, inputs = 200_003, 4
    result = chain(networks=(0, 3), width=width, depth=1, gram=equal_inputs(inputs), sigma_b2=0.0, sigma_w2=1.0)
    z = (result.u[:, 0] - equal_inputs(inputs)) * np.sqrt(width)
    covariance = equal_inputs(inputs)[0]
    d = np.diag(covariance)
    assert np.abs(z / np.sqrt(covariance**2 + d[:, None] * d[None, :])).max() < 5


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="no conditioned form"):
        chain(weights="uniform")
    with pytest.raises(ValueError, match="more than the width"):
        chain(weights="orthogonal", width=3, gram=equal_inputs(4))


# --- exact laws at finite width ---


def check_deep_linear(**wrong: Any) -> None:
    """Increments of log length are independent log chi-squares, Gaussian weights without bias."""
    width, depth, networks = 12, 5, 8000
    options: dict[str, Any] = {"sigma_w2": 1.3, "width": width, "depth": depth} | wrong
    gram = np.full((1, 1, 1), 0.8)
    h = chain(activation="linear", sigma_b2=0.0, networks=(0, networks), gram=gram, **options).h[:, :, 0, 0]
    steps = np.diff(np.log(np.concatenate([np.full((networks, 1), 0.8), h], axis=1)), axis=1) - np.log(1.3)
    mean, variance = special.digamma(width / 2) + np.log(2 / width), special.polygamma(1, width / 2)
    assert_standard_normal((steps - mean) / np.sqrt(variance), "log chi-square")
    product = h[:, -1] / (0.8 * 1.3**depth)
    moments = [(2 / width) ** k * np.exp(special.gammaln(width / 2 + k) - special.gammaln(width / 2)) for k in range(5)]
    for k in (1, 2):
        z = (np.mean(product**k) - moments[k] ** depth) / np.sqrt(
            (moments[2 * k] ** depth - moments[k] ** (2 * depth)) / networks
        )
        assert abs(z) < 5, f"moment {k} of the product of chi-squares: {z:+.1f} standard errors"


def test_deep_linear_networks() -> None:
    check_deep_linear()


@pytest.mark.parametrize("bug", [{"sigma_w2": 1.3 * 1.02}, {"width": 13}], ids=str)
def test_the_linear_check_rejects(bug: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="chi-square"):
        check_deep_linear(**bug)


def test_relu_second_moments() -> None:
    """sigma_w2 = 2: Gaussian E K^2 = (1 + 5/M)^L; square Haar, one layer above another: (M + 5)/(M + 2) each."""
    width, depth, networks = 25, 3, 20000
    for weights, second in (("gaussian", 1 + 5 / width), ("orthogonal", (width + 5) / (width + 2))):
        result = chain(
            activation="relu",
            weights=weights,
            sigma_w2=2.0,
            sigma_b2=0.0,
            width=width,
            depth=depth,
            networks=(0, networks),
            gram=np.ones((1, 1, 1)),
        )
        k = result.h[:, :, 0, 0]
        for layer in range(depth):
            for power, exact in ((1, 1.0), (2, second ** (layer + 1))):
                x = k[:, layer] ** power
                z = (x.mean() - exact) / (x.std() / np.sqrt(networks))
                assert abs(z) < 5, f"{weights}, layer {layer + 1}: moment {power} is off by {z:+.1f} standard errors"


def test_square_haar_linear_networks_do_not_fluctuate() -> None:
    for precision, error in (("mixed", 1e-5), ("float64", 1e-13)):
        options: dict[str, Any] = {"activation": "linear", "weights": "orthogonal", "sigma_b2": 0.0, "depth": 6}
        result = chain(gram=equal_inputs(3), sigma_w2=1.1, precision=precision, **options)
        exact = equal_inputs(3) * 1.1 ** np.arange(1, 7)[:, None, None]
        assert np.abs(result.u / exact - 1).max() < error
        assert np.abs(result.h / exact - 1).max() < error
        taller = chain(gram=equal_inputs(3), sigma_w2=1.1, input_dimension=9, precision=precision, **options)
        assert np.abs(taller.u / exact - 1).max() < error


def test_a_part_of_a_haar_frame() -> None:
    """M of n coordinates of orthonormal x, y: |x|^2 is beta(M/2, (n - M)/2), E (x.y)^2 = M (n-M)/((n-1) n (n+2))."""
    width, n, networks = 8, 20, 40000
    result = chain(
        activation="linear",
        weights="orthogonal",
        sigma_w2=1.0,
        sigma_b2=0.0,
        width=width,
        depth=1,
        input_dimension=n,
        networks=(0, networks),
        gram=np.eye(2)[None],  # x_0 and x_1 - x_0 orthogonal, both of squared length n
    )
    part = result.u[:, 0] * width / n
    a, b = width / 2, (n - width) / 2
    moments = [a / (a + b), a * (a + 1) / ((a + b) * (a + b + 1))]
    cross = width * (n - width) / ((n - 1) * n * (n + 2))
    for x, exact in [
        (part[:, 0, 0], moments[0]),
        (part[:, 1, 1] ** 2, moments[1]),
        (part[:, 0, 1], 0.0),
        (part[:, 0, 1] ** 2, cross),
    ]:
        assert abs((x.mean() - exact) / (x.std() / np.sqrt(networks))) < 5


def explicit(weights: str, networks: int, width: int, fan_in: int) -> NDArray[np.float64]:
    """Gram matrices (N, 3, 2, 2) of h of three tanh layers with matrices of NumPy's own generator, plain basis."""
    rng = np.random.default_rng(11)
    root = np.linalg.cholesky(np.array([[1.0, 0.6], [0.6, 1.0]]))
    h = np.broadcast_to((root @ np.eye(2, fan_in)).T * np.sqrt(fan_in), (networks, fan_in, 2))
    grams = []
    for n in (fan_in, width, width):
        w = rng.standard_normal((networks, width, n)) / np.sqrt(n)
        if weights == "orthogonal":
            big = rng.standard_normal((networks, max(n, width), max(n, width)))
            q, r = np.linalg.qr(big)
            q *= np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
            w = q[:, :width, :n] * np.sqrt(max(width, n) / n)
        bias = np.sqrt(0.1) * rng.standard_normal((networks, width, 1))
        h = np.tanh(np.sqrt(1.7) * w @ h + bias)
        grams.append(np.swapaxes(h, 1, 2) @ h / width)
    return np.stack(grams, axis=1)


LAWS = [("gaussian", 6, 150_000), ("orthogonal", 6, 30_000), ("orthogonal", 9, 30_000), ("orthogonal", 4, 30_000)]


@pytest.mark.parametrize(("weights", "fan_in", "networks"), LAWS)
def test_the_law_is_that_of_explicit_networks(weights: str, fan_in: int, networks: int) -> None:
    options: dict[str, Any] = {"weights": weights, "input_dimension": fan_in, "width": 6, "depth": 3}
    plain = to_plain(chain(networks=(0, networks), **options).h)
    theirs = explicit(weights, networks, 6, fan_in)
    entries = [(0, 0), (0, 1), (1, 1)]
    ours, judge = (np.stack([grams[:, :, a, b] for a, b in entries], -1) for grams in (plain, theirs))
    assert_same_law(ours, judge, f"{weights} from {fan_in}")
    if weights == "gaussian":
        wrong = to_plain(chain(networks=(0, networks), sigma_w2=1.7 * 1.02, **options).h)
        with pytest.raises(AssertionError, match="mutant"):
            assert_same_law(wrong[:, :, 0, 0], theirs[:, :, 0, 0], "mutant")
