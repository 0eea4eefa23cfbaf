"""Tangent kernel, gradients, one step of training and Jacobians of every architecture against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain_programs as plain
import program_zoo as zoo
import pytest
from network_points import point
from same_law import assert_same_law

from mcnet.networks.extremes import TOLERANCE, largest
from mcnet.programs import rows
from mcnet.programs.names import ProgramError
from mcnet.programs.passes import tangents
from mcnet.programs.questions import Parameterization
from mcnet.programs.trace import Trace

TAPS = {"convolution": np.array([0.2, 0.5, 0.3]), "convolution_2d": np.full(4, 0.25)}


def names(case: zoo.Case) -> str:
    return case.name


def factors(case: zoo.Case, trace: Trace, key: Any, how: Parameterization) -> tuple[Any, float]:
    """Derivatives with respect to the trained parameters, over those with respect to W' and b."""
    law, asked = zoo.laws(zoo.parameters(case)).of(key), trace.count.matrices[key].asked
    taps = TAPS.get(case.name) if asked.columns > asked.fan and key[0] == "W" else None
    spread = 1.0 if taps is None else 1 / np.sqrt(np.repeat(taps, asked.fan))[None, :, None]
    weight: Any = {
        "ntk": np.sqrt(law.sigma_w2 / asked.fan),
        "standard": spread,
        "pdlt": spread / np.sqrt(asked.fan),
    }[how.name]
    bias = (np.sqrt(law.sigma_b2) if how.name == "ntk" else 1.0) if how.train_biases else 0.0
    return weight, bias


def gradients(case: zoo.Case, how: Parameterization) -> tuple[Any, Trace]:
    """(parameters, Q): derivatives of all outputs."""
    weights, trace = plain.weights_of(case)
    parts = []
    for key, (dw, db) in plain.derivatives(case, weights).items():
        weight, bias = factors(case, trace, key, how)
        parts += [(weight * dw).reshape(-1, dw.shape[-1]), bias * db]
    return np.concatenate(parts), trace


@pytest.mark.parametrize("case", zoo.CASES, ids=names)
def test_tangent_kernel_and_fisher_are_those_of_all_weights(case: zoo.Case) -> None:
    for how in (Parameterization("ntk", True), Parameterization("standard", False), Parameterization("pdlt", True)):
        g, trace = gradients(case, how)
        theta = trace.backward(how).kernel[0]
        np.testing.assert_allclose(theta, g.T @ g, rtol=0, atol=1e-9 * abs(theta).max(), err_msg=how.name)
    fisher = np.linalg.eigvalsh(g @ g.T / case.inputs)[-theta.shape[0] :]
    np.testing.assert_allclose(np.linalg.eigvalsh(theta / case.inputs), fisher, atol=1e-9 * fisher.max())
    v = np.random.default_rng(1).normal(size=trace.outputs.shape)
    product = trace.kernel_product(v, how).reshape(-1)
    np.testing.assert_allclose(product, theta @ v.reshape(-1), atol=1e-12 * abs(theta).max())


@pytest.mark.parametrize("case", zoo.CASES, ids=names)
def test_moves_are_the_gradient_of_all_weights(case: zoo.Case) -> None:
    """sum_a g_a x_a^T and sum_a constant_a g_a are derivatives of sum v f; built networks."""
    weights, trace = plain.weights_of(case)
    trace = zoo.run(case, "explicit", options={"one_functional": True})
    v = np.random.default_rng(3).normal(size=trace.outputs.shape)
    moves = trace.moves(v)
    for key, (dw, db) in plain.derivatives(case, weights).items():
        _, x, constants, _ = moves[key]
        g = moves[key].times(np, np.ones(1))
        expected = dw @ v.reshape(-1)
        size = abs(expected).max()
        np.testing.assert_allclose(g[0].T @ x[0], expected, rtol=0, atol=1e-8 * size)
        np.testing.assert_allclose(constants @ g[0], db @ v.reshape(-1), rtol=0, atol=1e-8 * size)


@pytest.mark.parametrize("case", zoo.CASES, ids=names)
@pytest.mark.parametrize("sampler", ["explicit", "conditioned"])
def test_cotangents_and_tangents_are_adjoint(case: zoo.Case, sampler: str) -> None:
    """<g, t> is the change of the outputs, for every seen vector and the input; g by the backward pass."""
    trace = zoo.run(case, sampler, 2, width=12)
    rng = np.random.default_rng(2)
    back = trace.backward(None, [key for key in trace.seen if key != ("h", 0)])
    assert back.kernel is None
    for key, g in back.cotangents.items():
        v = trace.vector(key)
        t = rng.normal(size=v.value.shape)
        push = rows.to_difference(np, t)[:, None]
        moved = tangents(trace._w.tape, {id(v): push}, trace._output, case.inputs, lambda _: None)
        changed = rows.to_plain(np, moved)[:, 0]
        if trace.count.probed:
            changed = (changed * trace._probe()[:, None]).sum(-1, keepdims=True)
        expected = (g * t[:, None]).sum((2, 3, 4))
        np.testing.assert_allclose(trace._by_output(changed).reshape(2, -1), expected, atol=1e-12)
        squares = (g.reshape(2, -1, case.inputs, *g.shape[2:]) ** 2).sum((3, 5)).mean(1)
        np.testing.assert_allclose(back.lengths[key] * 4 ** back.exponents[key][:, None, None], squares, rtol=1e-11)


@pytest.mark.parametrize("case", zoo.CASES, ids=names)
def test_jacobians_are_those_of_differences(case: zoo.Case) -> None:
    """Entries by identity questions, products from both sides; at input 0 unless inputs are mixed."""
    trace = zoo.run(case, "explicit", 1)
    j = trace.jacobian(max(key for key in trace.seen if key != ("h", 0)))
    entries = j.entries()[0]
    assert entries.shape == j.shape
    x, size = zoo.inputs(case, zoo.WIDTH), j.shape[1]
    step = 2e-4
    found = []
    for sign in (1, -1, 2, -2):
        moved = np.repeat(x, size, axis=0).reshape(size, case.inputs, -1)
        moved[:, 1:] += moved[:, :1]
        flat = moved.reshape(size, -1)
        flat[:, :size] += sign * step * np.eye(size)
        moved = flat.reshape(size, case.inputs, -1)
        moved[:, 1:] -= moved[:, :1]
        after = plain.run(case, plain.weights_of(case)[0], size, backward=True, x=moved.reshape(size, *x.shape[1:]))
        target = rows.to_plain(np, after.vector(max(key for key in after.seen if key != ("h", 0))).value)
        found.append(target[:, : j.inputs].reshape(size, -1))
    slope = (8 * (found[0] - found[1]) - (found[2] - found[3])) / (12 * step)
    np.testing.assert_allclose(entries, slope.T, atol=1e-9 * abs(entries).max())
    rng = np.random.default_rng(4)
    v, d = rng.normal(size=(1, 2, j.shape[1])), rng.normal(size=(1, 2, j.shape[0]))
    np.testing.assert_allclose(j.product(v)[0], v[0] @ entries.T, atol=1e-12)
    np.testing.assert_allclose(j.transposed(d)[0], d[0] @ entries, atol=1e-12)


@pytest.mark.parametrize("name", ["residual_post", "recurrent"])
def test_largest_singular_values_by_lanczos_steps(name: str) -> None:
    """Built: those of the entries, to the tolerance of the steps; asked: the same law, which twice the value is not."""
    case = zoo.BY_NAME[name]
    where = point(case.inputs, 20, width=20)
    key = max(key for key in zoo.run(case, "explicit").seen if key != ("h", 0))
    found = {}
    for sampler, seed in (("explicit", 5), ("conditioned", 6)):
        trace = zoo.run(case, sampler, 400, seed=seed, width=20)
        j = trace.jacobian(key)
        found[sampler] = largest(j, where, trace.ensemble)  # type: ignore[arg-type]
        if sampler == "explicit":
            exact = np.linalg.svd(j.entries(), compute_uv=False)[:, 0] ** 2
            np.testing.assert_allclose(found[sampler], exact, rtol=TOLERANCE)
    asked, built = (np.log(found[sampler]) for sampler in ("conditioned", "explicit"))
    assert_same_law(asked, built, name)
    with pytest.raises(AssertionError, match="twice"):
        assert_same_law(asked + np.log(2), built, "twice")


def test_a_kernel_without_pairs_of_questions_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named mutant: each question of a shared matrix counts alone, as if weights were not shared."""
    g, trace = gradients(zoo.BY_NAME["recurrent"], Parameterization("ntk", True))
    from mcnet.programs import questions

    whole = questions.kernel_term

    def alone(backend: Any, asked: Any, cotangents: Any, *rest: Any) -> Any:
        return sum(whole(backend, [one], [c], *rest) for one, c in zip(asked, cotangents, strict=True))

    monkeypatch.setattr("mcnet.programs.trace.kernel_term", alone)
    theta = trace.backward(Parameterization("ntk", True)).kernel[0]
    assert abs(theta - g.T @ g).max() > 1e-3 * abs(theta).max()


def test_what_a_trace_cannot_do_is_told() -> None:
    case = zoo.BY_NAME["dense"]
    forward = zoo.run(case, "conditioned", backward=False, options={"grams": False})
    with pytest.raises(ProgramError, match="a backward pass of a run that keeps no vectors: backward=True"):
        forward.backward()
    with pytest.raises(ProgramError, match="without products of rows: grams=True"):
        forward.gram("u1")
    trace = zoo.run(case, "conditioned")
    with pytest.raises(ProgramError, match='parameterization "half" is not known'):
        trace.backward(Parameterization("half", True))
    with pytest.raises(ProgramError, match='vector "u9" is not seen; there are: u1'):
        trace.gram("u9")

    def with_empty_tap(w: Any, x: Any, p: Any) -> Any:
        return w.ask("readout", w.mean(w.phi(w.ask("W", w.patches(x, "time", [0, 1], [1.0, 0.0]))), "time"))

    trace = zoo.run(zoo.Case(with_empty_tap, {"time": 3}), "explicit")
    with pytest.raises(ProgramError, match="trains a tap of variance 0 too"):
        trace.backward(Parameterization("standard", True))
    assert np.isfinite(trace.backward(Parameterization("ntk", True)).kernel).all()
