"""The CUDA kernels, run on the host by the launch code of the GPU: against the reference, in three thread orders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_host.build import ORDERS, HostModule, compiler, host_module, kernels, module_of
from numpy.typing import NDArray
from scipy.special import erf

from mcnet import activations, streams
from mcnet.activations import table
from mcnet.kernels import grams, reference
from mcnet.kernels.cuda import kernels as gpu
from mcnet.kernels.cuda.kernels import Kernels
from mcnet.kernels.cuda.modules import Program

pytestmark = pytest.mark.skipif(compiler() is None, reason="g++ is missing: CUDA kernels cannot be built for the host")

KEY = streams.point_key(0x123456789ABCDEF0, 17)
EPSILON = {"mixed": 2.0**-23, "float64": 2.0**-52}
WIDTHS = (1, 31, 33, 1000)
BARRIER = "__syncthreads();"


def input_gram(networks: int, inputs: int, dimension: int) -> NDArray[np.float64]:
    x = np.random.default_rng(3).standard_normal((networks, inputs, dimension))
    return grams.to_difference(x @ x.swapaxes(1, 2) / dimension)


def chain(made: Any, weights: str, inputs: int, width: int, **changes: Any) -> reference.Chain:
    given: dict[str, Any] = {
        "activation": activations.get("tanh"),
        "weights": weights,
        "width": width,
        "depth": 3,
        "sigma_w2": 1.7,
        "sigma_b2": 0.1,
        "input_dimension": 40,
        "precision": "mixed",
    }
    given.update(changes)
    return made.conditioned_chain(KEY, 3, 5, input_gram(2, inputs, given["input_dimension"]), **given)  # type: ignore[no-any-return]


def assert_same_networks(found: Any, expected: Any, precision: str, what: str, factor: float = 32.0) -> None:
    """Equal up to `factor` rounding errors of the largest entry of each network's layer; finite on both sides."""
    for name, ours, theirs in zip(type(expected)._fields, found, expected, strict=True):
        assert np.all(np.isfinite(ours)), f"{what}: {name} is not finite"
        assert np.all(np.isfinite(theirs)), f"{what}: {name} of the reference is not finite"
        size = np.max(np.abs(theirs), axis=(-2, -1), keepdims=True)
        error = np.max(np.abs(ours - theirs) / np.where(size > 0, size, 1.0))
        assert error < factor * EPSILON[precision], f"{what}: {name} is off by {error:.1e}"


@pytest.mark.parametrize("precision", ["mixed", "float64"])
@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("inputs", [1, 2, 4, 5])
def test_chain(inputs: int, weights: str, precision: str) -> None:
    for width in WIDTHS:
        if inputs > width:
            continue
        for dimension in (7, 40):  # with Haar weights a frame longer than width 31, and one that is not
            # a nearly singular Gram matrix (T close to M, or random inputs in few dimensions) magnifies rounding
            factor = 1e3 if inputs * 3 > min(width, dimension) else 32.0
            given = {"precision": precision, "input_dimension": dimension}
            found = chain(kernels(), weights, inputs, width, **given)
            expected = chain(reference, weights, inputs, width, **given)
            assert_same_networks(found, expected, precision, f"width {width}, M_0 {dimension}", factor)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("inputs", [2, 6])
def test_chain_does_not_depend_on_the_order_of_threads(inputs: int, weights: str) -> None:
    results = [chain(kernels(order), weights, inputs, 300) for order in ORDERS]
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_chain_of_many_inputs() -> None:
    assert_same_networks(
        chain(kernels(), "orthogonal", 16, 100), chain(reference, "orthogonal", 16, 100), "mixed", "16 inputs", 1e3
    )
    with pytest.raises(ValueError, match="at most 16"):
        chain(kernels(), "gaussian", 17, 100)


@pytest.mark.parametrize("name", activations.names())
def test_every_activation_in_the_chain(name: str) -> None:
    given = {"activation": activations.get(name), "sigma_w2": 1.2}
    found, expected = (chain(made, "gaussian", 2, 70, **given) for made in (kernels(), reference))
    assert_same_networks(found, expected, "mixed", name)


def test_registered_activation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))
    given = {"activation": activations.get({"name": "leaky-relu", "slope": 0.3})}
    assert_same_networks(
        chain(kernels(), "gaussian", 2, 70, **given), chain(reference, "gaussian", 2, 70, **given), "mixed", "leaky"
    )
    activations.register("bump", lambda u, m: u * m.exp(-u * u), lambda u, m: (1 - 2 * u * u) * m.exp(-u * u))
    given = {"activation": activations.get("bump")}
    assert_same_networks(
        chain(kernels(), "gaussian", 2, 70, **given), chain(reference, "gaussian", 2, 70, **given), "mixed", "bump"
    )


def test_networks_do_not_depend_on_the_batch() -> None:
    gram = input_gram(1, 2, 40)
    given: dict[str, Any] = {"activation": activations.get("erf"), "weights": "gaussian", "width": 90, "depth": 2}
    given |= {"sigma_w2": 1.7, "sigma_b2": 0.1, "input_dimension": 40, "precision": "mixed"}
    whole = kernels().conditioned_chain(KEY, 0, 5, gram, **given)
    for start, stop in ((0, 1), (1, 4), (4, 5)):
        part = kernels().conditioned_chain(KEY, start, stop, gram, **given)
        assert all(np.array_equal(a[start:stop], b) for a, b in zip(whole, part, strict=True))


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_close_inputs_keep_their_distance(weights: str) -> None:
    gram = np.array([[[1.0, -1e-9], [-1e-9, 2e-9]]])
    given: dict[str, Any] = {"activation": activations.get("tanh"), "weights": weights, "width": 200, "depth": 4}
    given |= {"sigma_w2": 1.7, "sigma_b2": 0.1, "input_dimension": 200, "precision": "mixed"}
    found, expected = (made.conditioned_chain(KEY, 0, 2, gram, **given) for made in (kernels(), reference))
    ours, theirs = grams.one_minus_correlations(found.u), grams.one_minus_correlations(expected.u)
    assert np.all(np.abs(ours[..., 0, 1] / theirs[..., 0, 1] - 1) < 1e-5)
    assert np.all(theirs[..., 0, 1] < 1e-7)


def test_a_dead_input_stays_exactly_dead() -> None:
    gram = np.array([[[1.0, -1.0], [-1.0, 1.0]]])  # input 1 is zero
    given: dict[str, Any] = {"activation": activations.get("relu"), "weights": "gaussian", "width": 50, "depth": 4}
    given |= {"sigma_w2": 2.0, "sigma_b2": 0.0, "input_dimension": 50, "precision": "mixed"}
    found = kernels().conditioned_chain(KEY, 0, 3, gram, **given)
    for gram in found:
        assert np.all(grams.to_plain(gram)[..., 1, 1] == 0.0)
        assert np.all(gram[..., 0, 0] > 0.0)


def test_deep_homogeneous_networks_stay_in_range() -> None:
    given = {"activation": activations.get("relu"), "sigma_w2": 40.0, "sigma_b2": 0.0, "depth": 60}
    found, expected = (chain(made, "gaussian", 2, 40, **given) for made in (kernels(), reference))
    assert_same_networks(found, expected, "mixed", "growing signal", 200.0)  # rounding adds up over 60 layers
    assert np.max(found.u) > 1e60


def tangent(made: Any, inputs: int, width: int, **changes: Any) -> reference.TangentChain:
    given: dict[str, Any] = {"activation": activations.get("tanh"), "width": width, "depth": 4, "sigma_w2": 1.7}
    given |= {"sigma_b2": 0.1, "readout": True, "precision": "mixed", **changes}
    return made.tangent_chain(KEY, 3, 5, input_gram(2, inputs, 40), **given)  # type: ignore[no-any-return]


@pytest.mark.parametrize("precision", ["mixed", "float64"])
@pytest.mark.parametrize("readout", [True, False])
@pytest.mark.parametrize("inputs", [1, 2])
def test_tangent_chain(inputs: int, readout: bool, precision: str) -> None:
    for width in WIDTHS:
        if inputs > width:
            continue
        for sigma_b2 in (0.0, 0.1):
            given = {"precision": precision, "readout": readout, "sigma_b2": sigma_b2}
            results = [tangent(kernels(order), inputs, width, **given) for order in ORDERS]
            for other in results[1:]:
                assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
            assert_same_networks(
                results[0],
                tangent(reference, inputs, width, **given),
                precision,
                f"width {width}",
                1e3 if width < 10 else 64.0,
            )
    with pytest.raises(ValueError, match="at most 2"):
        tangent(kernels(), 3, 100)


def test_tangent_chain_of_other_activations() -> None:
    for name in ("relu", "erf", "sigmoid"):
        given = {"activation": activations.get(name)}
        found, expected = (tangent(made, 2, 70, **given) for made in (kernels(), reference))
        assert_same_networks(found, expected, "mixed", name, 64.0)


def test_errors_that_explode_keep_their_digits() -> None:
    given = {"activation": activations.get("linear"), "sigma_w2": 1e12, "sigma_b2": 0.0, "depth": 30}
    found = tangent(kernels(), 2, 33, precision="float64", **given)
    assert np.all(np.isfinite(found.b))
    assert np.max(found.exponent) > 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        expected = tangent(reference, 2, 33, precision="float64", **given)
        inside = np.isfinite(expected.b) & (expected.b != 0)
        ratio = found.b * 4.0 ** found.exponent[..., None, None] / expected.b
    assert np.any(inside)
    assert np.max(np.abs(ratio[inside] - 1)) < 1e-9


CHAIN = gpu.chain_program(activations.get("tanh"), "gaussian", 2, 9, double=False)
TANGENT = gpu.tangent_program(activations.get("tanh"), 2, 9, double=False)


def without(barrier: int, order: str) -> Kernels:
    """The kernels with one barrier taken out of their source."""

    def broken(program: Program) -> HostModule:
        head, *rest = program.text.split(BARRIER)
        return module_of(
            head + "".join((";" if n == barrier else BARRIER) + part for n, part in enumerate(rest)), order
        )

    return Kernels(np, broken, erf)


def assert_noticed(barrier: int, *draws: Any) -> None:
    for draw in draws:
        right = draw(kernels())
        for order in ORDERS:
            try:
                found = draw(without(barrier, order))
            except RuntimeError:
                return
            if not all(np.array_equal(a, b) for a, b in zip(found, right, strict=True)):
                return
    pytest.fail(f"barrier {barrier} may be left out and nothing changes")


@pytest.mark.parametrize("barrier", range(CHAIN.text.count(BARRIER)))
def test_a_missing_barrier_is_noticed(barrier: int) -> None:
    """Each barrier in turn is taken out of the source: some order of the threads gives other numbers."""
    given = {"activation": activations.get("leaky-relu"), "input_dimension": 250, "sigma_b2": 30.0}
    in_registers, in_tiles = (
        lambda made, inputs=inputs: chain(made, "orthogonal", inputs, 220, **given) for inputs in (2, 6)
    )
    assert_noticed(barrier, in_registers, in_tiles)


@pytest.mark.parametrize("barrier", range(TANGENT.text.count(BARRIER)))
def test_a_missing_barrier_of_the_tangent_chain_is_noticed(barrier: int) -> None:
    given = {"activation": activations.get("leaky-relu"), "sigma_b2": 30.0}
    assert_noticed(barrier, lambda made: tangent(made, 2, 220, **given))


@pytest.mark.parametrize("law", ["gaussian", "uniform"])
@pytest.mark.parametrize("vectors", [1, 3, 8])
@pytest.mark.parametrize("precision", ["mixed", "float64"])
def test_weights_made_in_registers(law: str, vectors: int, precision: str) -> None:
    dtype = np.float32 if precision == "mixed" else np.float64
    for units, inputs in ((1, 31), (33, 1), (31, 1000), (150, 33)):
        for transpose in (False, True):
            shape = (1 if units == 31 else 2, vectors, units if transpose else inputs)
            x = np.random.default_rng(5).standard_normal(shape).astype(dtype)
            given: dict[str, Any] = {"law": law, "layer": 4, "units": units, "inputs": inputs, "scale": 0.3}
            found, expected = (
                m.apply_weights(KEY, 3, 5, x, **given, transpose=transpose) for m in (kernels(), reference)
            )
            assert found.dtype == dtype
            assert np.all(np.isfinite(found))
            length = np.linalg.norm(x, axis=2, keepdims=True) * given["scale"]
            assert np.max(np.abs(found - expected) / length) < 16 * EPSILON[precision]
    with pytest.raises(ValueError, match="at most 8"):
        kernels().apply_weights(KEY, 0, 1, np.zeros((1, 9, 4)), **given, transpose=False)


def test_transpose_is_the_transpose() -> None:
    """(W^T d) . x = d . (W x) to rounding, with the very same W."""
    rng = np.random.default_rng(6)
    x, d = rng.standard_normal((1, 2, 65)), rng.standard_normal((1, 2, 47))
    given: dict[str, Any] = {"law": "gaussian", "layer": 2, "units": 47, "inputs": 65, "scale": 1.0}
    forward = kernels().apply_weights(KEY, 0, 1, x, **given, transpose=False)
    backward = kernels().apply_weights(KEY, 0, 1, d, **given, transpose=True)
    np.testing.assert_allclose(d @ forward.swapaxes(1, 2), backward @ x.swapaxes(1, 2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("precision", ["mixed", "float64"])
@pytest.mark.parametrize("inputs", [1, 2, 4, 5])
def test_activation_slope_and_moments(inputs: int, precision: str) -> None:
    dtype = np.float32 if precision == "mixed" else np.float64
    for width in WIDTHS:
        u = np.random.default_rng(7).standard_normal((2, inputs, width)).astype(dtype)
        results = [kernels(order).activate(activations.get("gelu"), u) for order in ORDERS]
        for other in results[1:]:
            assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
        assert_same_networks(results[0], reference.activate(activations.get("gelu"), u), precision, f"width {width}")


def test_a_nan_is_not_hidden() -> None:
    """Extrema of the C library drop a NaN; those of an activation must not."""
    u = np.full((1, 1, 5), np.nan, np.float32)
    for name in ("relu", "hard-tanh", "softplus", "elu", "tanh"):
        assert np.all(np.isnan(kernels().activate(activations.get(name), u).h)), name


def test_launches_are_checked() -> None:
    program = Program("fill", (("MC_BLOCK", 128), ("MC_DOUBLE", 0), ("MC_UNIFORM", 0)))
    module, out = host_module(program), np.empty((1, 1, 4), np.float32)
    words = gpu.words(1, 1, 4, 1, 0, 1, 0, 0, 5, 6)
    module.launch("mc_fill", (1,), (128,), out, *words)
    with pytest.raises(TypeError, match="argument 0"):
        module.launch("mc_fill", (1,), (128,), out.astype(np.float64), *words)
    with pytest.raises(TypeError, match="argument 3"):
        module.launch("mc_fill", (1,), (128,), out, *words[:2], 4, *words[3:])
    with pytest.raises(TypeError, match="takes 11"):
        module.launch("mc_fill", (1,), (128,), out, *words[1:])
