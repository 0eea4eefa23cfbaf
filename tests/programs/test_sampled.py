"""Sampled programs: dense ones against networks/dense.py, asked against built, batches, close inputs, other arrays."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from typing import Any

import numpy as np
import program_zoo as zoo
import pytest
from network_points import point
from same_law import assert_same_law
from strict_backend import STRICT, fetch

from mcnet import streams
from mcnet.backend import get_backend
from mcnet.kernels import windows
from mcnet.networks import inputs
from mcnet.observables import sample
from mcnet.point import Point
from mcnet.programs import sampled
from mcnet.programs.names import ProgramError
from mcnet.programs.parameters import Parameters, laws_of
from mcnet.programs.questions import Parameterization
from mcnet.programs.trace import Trace
from mcnet.weights.asked import asked_matrix
from mcnet.weights.laws import Ensemble, Layer

CPU = get_backend("cpu")
NTK = Parameterization("ntk", True)


def parameters(where: Point) -> Parameters:
    names = ("width", "depth", "outputs", "activation", "sigma_w2", "sigma_b2", "weights", "readout")
    return Parameters({name: getattr(where, name) for name in names})


def dense(where: Point, sampler: str, ensemble: Ensemble, backward: bool = True) -> Trace:
    """The dense program at a point."""
    p = parameters(where)
    x = inputs.differences(where, 11, ensemble.start, ensemble.stop, ensemble.backend)
    return sampled.run(zoo.dense, p, laws_of(p), x, (), ensemble, sampler, backward=backward)


POINTS: list[dict[str, Any]] = [
    {"count": 3, "dimension": 11, "outputs": 2, "width": 16},
    {"count": 2, "dimension": 5, "weights": "orthogonal", "activation": "gelu"},
    {"count": 2, "outputs": 1, "sigma_b2": 0.0, "activation": "relu", "width": 12, "depth": 4, "sigma_w2": 2.0},
    {"count": 2, "weights": "orthogonal", "outputs": 2, "readout": "orthogonal", "fresh": True, "depth": 1},
    {"count": 9, "outputs": 2, "width": 8},
]


DYING = {"count": 2, "outputs": 1, "sigma_b2": 0.0, "activation": "relu", "width": 3, "depth": 6, "sigma_w2": 2.0}
"""Vectors of a single unit are multiples of each other: in float32 rounding decides what is in a span."""


@pytest.mark.parametrize(
    ("case", "precision"),
    [*((case, precision) for case in POINTS for precision in ("float64", "mixed")), (DYING, "float64")],
    ids=lambda part: part if isinstance(part, str) else " ".join(map(str, part.values())),
)
@pytest.mark.parametrize("sampler", ["explicit", "conditioned"])
def test_the_dense_program_is_the_dense_network(case: dict[str, Any], sampler: str, precision: str) -> None:
    """The same networks, number by number: signal, cotangents and kernel; in a batch of its own or another."""
    where = point(**case, parameterization="ntk", train_biases=True)
    needs = {"signal", "errors"} | ({"tangent"} if where.outputs else set())
    who = sample.ensemble_of(where, 11, 3, 9, precision, CPU)
    theirs = sample.draw(where, 11, sampler, needs, who, keep=True)
    ours = dense(where, sampler, who)
    back = ours.backward(NTK)
    loose = {"rtol": 1e-10, "atol": 1e-12} if precision == "float64" else {"rtol": 3e-4, "atol": 3e-5}
    for layer in range(1, where.depth + 1):
        np.testing.assert_allclose(ours.gram(("u", layer)), theirs.u_gram[:, layer - 1], **loose)
        np.testing.assert_allclose(ours.gram(("h", layer)), theirs.h_gram[:, layer], **loose)
        exponent = back.exponents["u", layer]
        lengths = back.lengths["u", layer][:, :, 0] * 4 ** exponent[:, None]
        expected = theirs.error_length[:, :, layer - 1] * 4 ** theirs.error_exponent[:, layer - 1 :][:, :1]
        np.testing.assert_allclose(lengths, expected, **loose)
        assert np.array_equal(
            np.diagonal(ours.gram(("u", layer)), 0, 1, 2)[:, 0] == 0, theirs.u_gram[:, layer - 1, 0, 0] == 0
        )
    np.testing.assert_allclose(ours.gram("h0"), theirs.h_gram[: len(ours.gram("h0")), 0], rtol=1e-14)
    if where.outputs:
        np.testing.assert_allclose(back.kernel, theirs.tangent, **loose)


@pytest.mark.parametrize("case", zoo.CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(
    ("sampler", "precision"), [("explicit", "mixed"), ("conditioned", "mixed"), ("conditioned", "float64")]
)
def test_networks_do_not_depend_on_their_batch(case: zoo.Case, sampler: str, precision: str) -> None:
    """To the bit: outputs, Gram matrices, lengths, kernel, products."""

    def numbers(start: int, stop: int) -> list[Any]:
        trace = zoo.run(case, sampler, stop - start, start=start, precision=precision, width=21)
        back = trace.backward(NTK)
        v = np.ones((1, *trace.outputs.shape[1:]))
        grams = [trace.gram(key) for key in trace.seen if key != ("h", 0)]
        return [trace.outputs, back.kernel, *back.lengths.values(), *grams, trace.kernel_product(v, NTK)]

    whole = numbers(0, 7)
    for start, stop in ((0, 1), (3, 5), (6, 7)):
        for part, all_of_them in zip(numbers(start, stop), whole, strict=True):
            assert np.array_equal(part, all_of_them[start:stop])


@pytest.mark.parametrize("case", zoo.CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("sampler", ["explicit", "conditioned"])
def test_programs_on_arrays_that_are_not_numpy(case: zoo.Case, sampler: str) -> None:
    """Array-API arrays on a device of their own refuse what a GPU refuses; the numbers are those of the CPU."""
    for precision, tolerance in (("float64", 1e-10), ("mixed", 2e-3)):
        ours, theirs = (zoo.run(case, sampler, 2, backend=b, precision=precision, width=9) for b in (STRICT, CPU))
        back = ours.backward(NTK)
        kernel = theirs.backward(NTK).kernel
        np.testing.assert_allclose(fetch(back.kernel), kernel, atol=tolerance * abs(kernel).max())
        np.testing.assert_allclose(fetch(ours.outputs), theirs.outputs, atol=tolerance)
    v = ours.outputs
    product = ours.kernel_product(v, NTK)
    expected = np.einsum("nab,nb->na", kernel, fetch(v).reshape(2, -1))
    np.testing.assert_allclose(fetch(product).reshape(2, -1), expected, atol=tolerance * abs(kernel).max())
    one = zoo.run(case, sampler, 2, backend=STRICT, width=9, options={"one_functional": True})
    assert one.moves(v).keys() == one.matrices.keys()
    j = ours.jacobian(max(key for key in ours.seen if key != ("h", 0)))
    assert j.transposed(j.product(STRICT.place(np.eye(j.shape[1])[None, :2]))).shape == (2, 2, j.shape[1])


def columns(case: zoo.Case, sampler: str, networks: int, seed: int, **changes: Any) -> np.ndarray[Any, Any]:
    """Outputs, Gram matrices, cotangents, kernel, and an answer asked for after all that; one row a network."""
    trace = zoo.run(case, sampler, networks, seed=seed, precision="mixed", **changes)
    back = trace.backward(NTK)
    last = max(key for key in trace.seen if key != ("h", 0))
    gram = trace.gram(last)
    parts = [trace.outputs, gram[:, 0, :2], back.lengths[last][:, :, 0], back.kernel[:, 0, :]]
    parts.append(np.linalg.eigvalsh(back.kernel)[:, -1:])
    parts.append((back.kernel[:, 0, 0] * gram[:, 0, 0])[:, None])
    v = np.ones((1, *trace.outputs.shape[1:]))
    parts.append(trace.kernel_product(v, NTK) * trace.outputs)
    return np.concatenate([part.reshape(networks, -1) for part in parts], axis=1)


@pytest.mark.parametrize("case", zoo.CASES, ids=lambda case: case.name)
def test_asked_programs_have_the_law_of_built_ones(case: zoo.Case) -> None:
    """Width 6, few inputs with shared matrices: more questions than units in most of them."""
    asked, built = (columns(case, sampler, 3000, seed) for sampler, seed in (("conditioned", 5), ("explicit", 6)))
    assert_same_law(asked, built, case.name)


@pytest.mark.parametrize("name", ["recurrent", "residual_two", "transformer"])
def test_asked_in_float32_with_room(name: str) -> None:
    """Wide enough for the matrices that keep their questions in float32."""
    case = zoo.BY_NAME[name]
    asked, built = (
        columns(case, sampler, 2000, seed, width=24) for sampler, seed in (("conditioned", 5), ("explicit", 6))
    )
    assert_same_law(asked, built, case.name)


class TwoMatrices:
    """Named mutant: backward questions go to another matrix, as if gradients were independent of the signal."""

    def __init__(self, layer: Layer, *rest: Any) -> None:
        self._forward = asked_matrix(layer, *rest)
        self._backward = asked_matrix(dataclasses.replace(layer, index=layer.index + 50), *rest)

    def apply(self, x: Any, constants: Any) -> Any:
        return self._forward.apply(x, constants)

    def apply_transpose(self, d: Any) -> Any:
        return self._backward.apply_transpose(d)


@pytest.mark.parametrize("width", [6, 24])
def test_the_law_check_rejects_independent_gradients(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = zoo.BY_NAME["recurrent"]
    built = columns(case, "explicit", 3000, 6, width=width)
    monkeypatch.setattr(sampled, "asked_matrix", TwoMatrices)
    with pytest.raises(AssertionError, match="mutant"):
        assert_same_law(columns(case, "conditioned", 3000, 5, width=width), built, "mutant")


def close_inputs(case: zoo.Case, width: int, distance: float) -> Any:
    x = np.random.default_rng(0).normal(size=(1, 2, *case.axes.values(), width))
    x[:, 1] *= np.sqrt(2 * distance)
    return x


EXACT = ("dense", "residual_two", "convolution", "recurrent", "minimal_rnn", "batch_norm", "layer_norm")


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("sampler", ["explicit", "conditioned"])
def test_close_inputs_keep_their_distance(name: str, sampler: str) -> None:
    """1 - c = 1e-8: squared distances in float32 to a relative 1e-3, far below the rounding of a squared length."""
    case = zoo.BY_NAME[name]._replace(inputs=2)
    x = close_inputs(case, 400, 1e-8)
    found = []
    for precision in ("mixed", "float64"):
        trace = zoo.run(case, sampler, 2, x=x, width=400, precision=precision, backward=False)
        sites = trace.gram(trace.seen[-2]).shape[1] // 2
        found.append(np.stack([trace.gram(key)[:, sites, sites] for key in trace.seen if key != ("h", 0)]))
    assert np.all(found[1] < 1e-6) or name == "batch_norm"
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)


def test_far_closer_inputs_through_exact_operations() -> None:
    """1 - c = 1e-16 where every operation is exact on differences; two inputs as such are equal in float32."""

    def linear(w: Any, x: Any, p: Any) -> Any:
        h = w.shift(2 * x - x / 3, "position", 1)
        h = h * w.draw("scale", 1.0) + w.ask("W", w.patches(h, "position", [0, 1], [0.5, 0.5]))
        w.see("h", 1, h)
        return w.ask("readout", w.mean(h, "position"))

    case = zoo.Case(linear, {"position": 3})
    x = close_inputs(case, 50, 1e-16)
    for sampler in ("explicit", "conditioned"):
        mixed, exact = (
            zoo.run(case, sampler, 2, x=x, width=50, precision=p, backward=False).gram("h1")
            for p in ("mixed", "float64")
        )
        np.testing.assert_allclose(mixed, exact, rtol=1e-5, atol=1e-6 * exact[:, 3:, 3:].max())


def test_cotangents_keep_their_range() -> None:
    """Chaotic and deep, in float32: 40 orders of growth and more."""
    where = point(2, width=16, depth=400, sigma_w2=25.0, sigma_b2=0.0)
    who = sample.ensemble_of(where, 11, 0, 2, "mixed", CPU)
    back = dense(where, "conditioned", who).backward()
    size = np.log10(back.lengths["u", 1][:, 0, 0]) + 2 * np.log10(2) * back.exponents["u", 1]
    assert np.all(np.isfinite(size))
    assert np.all(abs(size - np.log10(back.lengths["u", 400][:, 0, 0])) > 40)


def test_dead_layers_are_exactly_zero() -> None:
    case = zoo.BY_NAME["residual_post"]

    def dying(w: Any, x: Any, p: Any) -> Any:
        h = x
        for layer in range(1, 6):
            h = w.phi(w.ask(("W", layer), h))
            w.see("h", layer, h)
        return w.ask("readout", h)

    p = zoo.parameters(case, activation="relu", width=2)
    who = Ensemble(CPU, streams.seed_key(1), 0, 200, "mixed")
    for sampler in ("explicit", "conditioned"):
        x = zoo.inputs(case, 2)
        laws = laws_of(p.replaced(sigma_b2=0.0))
        trace = sampled.run(dying, p, laws, x, (), who, sampler, backward=True)
        back = trace.backward(NTK)
        gram = trace.gram("h5")
        lengths = np.stack([gram[:, 0, 0], gram[:, 0, 0] + 2 * gram[:, 0, 1] + gram[:, 1, 1]])
        dead = lengths == 0
        assert 20 < dead.sum() < 380
        assert np.all(lengths[~dead] > 1e-12)
        assert np.all(back.kernel[dead[0], 0] == 0)
        assert np.all(back.lengths["h", 1][dead[1], 1] == 0)


def test_what_cannot_be_sampled_is_told() -> None:
    case = zoo.BY_NAME["dense"]
    who = Ensemble(CPU, streams.seed_key(1), 0, 1, "mixed")
    p, x = zoo.parameters(case), zoo.inputs(case, 6)
    with pytest.raises(ProgramError, match='matrix "W1" has weights "uniform", which have no conditioned form'):
        sampled.run(case.network, p, laws_of(p.replaced(weights="uniform")), x, (), who, "conditioned", backward=False)
    with pytest.raises(ProgramError, match='sampler "auto" is not known'):
        sampled.run(case.network, p, laws_of(p), x, (), who, "auto", backward=False)
    with pytest.raises(ProgramError, match="inputs of axes input, position have 4 dimensions, got 3"):
        sampled.run(case.network, p, laws_of(p), x, ("position",), who, "explicit", backward=False)
    with pytest.raises(ProgramError, match="the program returns NoneType; it must return its outputs"):
        sampled.run(lambda w, x: None, p, laws_of(p), x, (), who, "explicit", backward=False)
    with pytest.raises(ProgramError, match="they do not depend on the input"):
        sampled.run(lambda w, x: w.draw("z", 1.0), p, laws_of(p), x, (), who, "explicit", backward=False)


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
@pytest.mark.parametrize("positions", [4, [2, 2]])
def test_products_at_sites_are_those_of_all_rows(sampler: str, positions: Any) -> None:
    """One input is zero, so that a row is dead; 2 inputs at 4 positions."""
    case = zoo.shipped("convolution", positions=positions, kernel=1)
    x = zoo.inputs(case, zoo.WIDTH)
    x[:, 1] = -x[:, 0]
    whole, alone = (zoo.run(case, sampler, 3, x=x, options={"per_site": each}) for each in (False, True))
    for name in whole.seen:
        gram = whole.gram(name).reshape(-1, 2, 4, 2, 4)
        expected = np.einsum("narbr->nrab", gram)
        np.testing.assert_allclose(alone.site_grams(name), expected, rtol=1e-12, atol=1e-14 * abs(expected).max())
        np.testing.assert_array_equal(whole.site_grams(name), expected)
    if sampler == "explicit":
        with pytest.raises(ProgramError, match="products at single sites"):
            alone.gram(("h", 1))


@pytest.mark.parametrize("precision", ["mixed", "float64"])
def test_products_without_windows_are_those_with_them(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A built convolution from slabs, with biases, an exactly dead row and a backward pass."""
    case = zoo.shipped("convolution", positions=[3, 4], taps=[0.1] * 8 + [0.2], depth=2)
    x = zoo.inputs(case, zoo.WIDTH)
    x[:, 1] = -x[:, 0]
    found = []
    for large in (0, 1 << 30):
        monkeypatch.setattr(windows, "LARGE", large)
        trace = zoo.run(case, "explicit", 3, x=x, precision=precision, sigma_b2=0.0)
        found.append([trace.gram(name) for name in trace.seen] + [trace.backward(NTK).kernel])
    for ours, theirs in zip(*found, strict=True):
        size = abs(theirs).max()
        assert size > 0
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=size * (3e-6 if precision == "mixed" else 1e-13))
        assert np.array_equal(ours == 0, theirs == 0)


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
@pytest.mark.parametrize("name", ["residual_two", "convolution", "transformer"])
def test_a_trace_is_freed_with_its_last_name(name: str, sampler: str) -> None:
    """Not when the collector of cycles comes by: vectors of many networks are large."""
    case = zoo.BY_NAME[name]
    gc.collect()
    gc.disable()
    try:
        trace = zoo.run(case, sampler, 2, precision="mixed")
        trace.backward()
        last = weakref.ref(trace.vector(trace.seen[-1]))
        assert last() is not None
        del trace
        assert last() is None
    finally:
        gc.enable()
