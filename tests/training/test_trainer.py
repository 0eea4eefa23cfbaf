"""Steps of training against finite differences, closed forms and plain NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from trained_networks import descended, entries, point, recipe, trainer

from mcnet import activations, architectures
from mcnet.architectures import registry
from mcnet.architectures.program import frozen_keys
from mcnet.point import Inputs, Point
from mcnet.theory import training as theory
from mcnet.training import losses

CASES: list[tuple[str, dict[str, Any]]] = [
    ("plain", {}),
    ("biases", {"train_biases": True, "parameterization": "ntk"}),
    *[(name, {"normalization": name, "outputs": 4}) for name in ("last-mean", "last-batch", "last-layer")],
    *[(name, {"normalization": name}) for name in ("hidden-batch", "hidden-layer")],
    ("residual", {"architecture": "residual", "parameters": (("block", "two"), ("sigma_v2", 1.2))}),
    ("recurrent", {"architecture": "recurrent", "train_biases": True}),
    ("convolution", {"architecture": "convolution", "parameters": (("kernel", 3), ("positions", 4))}),
]


def complete(changes: dict[str, Any]) -> Point:
    """A point of five inputs with all keys of its architecture."""
    name = changes.get("architecture", "dense")
    architecture = architectures.lookup(name)
    keys = frozen_keys(architecture, dict(changes.get("parameters", ())))
    return point(count=5, **{"outputs": 3, **changes, "parameters": keys})


@pytest.mark.parametrize("loss", ["squared", "softmax"])
@pytest.mark.parametrize("changes", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_one_step_goes_along_the_gradient(changes: dict[str, Any], loss: str) -> None:
    """(W_0 - W_1) / (rate alpha) is the gradient: its products with directions are central differences of the loss."""
    made = trainer(complete(changes), recipe(1, loss=loss, scaling=changes.get("parameterization", "standard")))
    networks, rng = made.networks(), np.random.default_rng(1)
    x = networks.placed(made.training_inputs)

    def energy() -> Any:
        return losses.value(np, loss, networks.forward(x, backward=False).outputs, made.y)

    trace = networks.forward(x, backward=True)
    v = losses.residual(np, loss, trace.outputs, made.y) / made.trained
    before, biases = entries(networks), {key: matrix._b for key, matrix in networks.matrices.items()}
    networks.step(trace, v, np.full(3, 1e-3))
    moved = {key: before[key] - matrix._w for key, matrix in networks.matrices.items()}
    of_bias = {key: None if (b := biases[key]) is None else b - networks.matrices[key]._b for key in biases}
    for key, matrix in networks.matrices.items():  # back to the start
        matrix._w[...], matrix._b = before[key], biases[key]

    def change(move: Any, direction: Any) -> Any:
        found = []
        for sign in (1.0, -1.0):
            move(sign * 1e-5 * direction)
            found.append(energy())
            move(0.0 * direction)
        return (found[0] - found[1]) / 2e-5

    for key, matrix in networks.matrices.items():
        asked = next(question for question in trace._w.asked if question.key == key)
        alpha, beta = networks.model.scaling.scales_of(asked)
        taps = networks.model.scaling.tap_weights(asked.question)
        gradient = moved[key] / (1e-3 * alpha) / (np.repeat(taps, moved[key].shape[2] // len(taps)) if taps else 1.0)
        direction = rng.normal(size=gradient.shape) / np.sqrt(gradient[0].size)
        expected = change(lambda d, m=matrix, w=before[key]: m._w.__setitem__(..., w + d), direction)
        np.testing.assert_allclose((gradient * direction).sum((1, 2)), expected, rtol=1e-5, atol=2e-9, err_msg=str(key))
        if beta > 0.0:
            gradient = of_bias[key] / (1e-3 * beta)
            direction = rng.normal(size=gradient.shape)
            expected = change(lambda d, m=matrix, b=biases[key]: setattr(m, "_b", b + d), direction)
            np.testing.assert_allclose((gradient * direction).sum((1, 2)), expected, rtol=1e-5, atol=2e-9)


def linear_model(w: Any, x: Any, p: Any) -> Any:
    w.see("h", 1, x)
    return w.ask("readout", x)


@pytest.fixture(scope="module", autouse=True)
def one_matrix() -> Iterator[None]:
    """An architecture for these tests alone."""
    architectures.register("linear-model", linear_model)
    yield
    del registry._TABLE["linear-model"]


def test_a_model_linear_in_its_parameters_is_the_discrete_formula() -> None:
    where = point(count=4, dimension=7, architecture="linear-model", outputs=2, sigma_b2=0.0)
    made = trainer(where, recipe(30))
    f_0 = made.networks().forward(made.networks().placed(made.x), backward=False).outputs
    x, y = made.x[0], np.broadcast_to(made.y, f_0.shape)
    rate = 1.7 / np.linalg.eigvalsh(x @ x.T / 4)[-1]
    for sampler in ("explicit", "conditioned"):
        loss, f = descended(where, recipe(30), rate, sampler=sampler)
        if sampler == "explicit":
            expected = np.stack([theory.linearized(x @ x.T, a.T, b.T, rate, 30).T for a, b in zip(f_0, y, strict=True)])
            np.testing.assert_allclose(f, expected, atol=1e-12)
    assert (loss[:, -1] < loss[:, 0]).all()


@pytest.mark.parametrize("width", [3, 50])
def test_two_linear_layers_are_the_reduced_catapult_map(width: int) -> None:
    one = Inputs("values", 1, 1, values=((1.0,),))
    where = Point(*("dense", activations.get("linear"), "gaussian", width, 1, 1.0, 0.0, one, 1), parameterization="ntk")
    how = recipe(8, targets="zero")
    made = trainer(where, how, networks=(0, 20))
    networks = made.networks()
    u, v = (w.reshape(20, -1) for w in entries(networks).values())
    curvature = ((u**2).sum(1) / width) + (v**2).sum(1)
    f_0 = (u * v).sum(1)
    rates = 2.5 / curvature
    course = made.descend(rates, 8)
    with np.errstate(over="ignore"):
        expected = theory.catapult(f_0, curvature, width, rates, 8)
    np.testing.assert_allclose(course.loss, (expected.f**2 / 2).T, rtol=1e-10, atol=1e-15)
    rises = course.loss[:, 1] > course.loss[:, 0]
    np.testing.assert_array_equal(rises, 2 + (rates * f_0) ** 2 / width < 2.5)  # |f'| > |f|: kappa > 2 + phi_0^2


def test_momentum_and_adam_are_their_recursions() -> None:
    where = point(count=4, dimension=7, architecture="linear-model", outputs=2, sigma_b2=0.0)
    for optimizer, given in (("momentum", {"momentum": 0.8}), ("adam", {"adam": (0.7, 0.9, 1e-4)})):
        how = recipe(5, optimizer=optimizer, **given)
        _, f = descended(where, how, 0.05)
        made = trainer(where, how)
        (w,) = entries(made.networks()).values()
        x, y = made.x[0], made.y[0]
        first, second = np.zeros_like(w), np.zeros_like(w)
        for step in range(1, 6):
            g = (w @ x.T - y) @ x / 4
            if optimizer == "momentum":
                first = 0.8 * first + g
                w = w - 0.05 * first
            else:
                first, second = 0.7 * first + 0.3 * g, 0.9 * second + 0.1 * g**2
                w = w - 0.05 * (first / (1 - 0.7**step)) / (np.sqrt(second / (1 - 0.9**step)) + 1e-4)
        np.testing.assert_allclose(f, w @ x.T, rtol=1e-12)


def test_parametrisations_are_exponents() -> None:
    where = point(count=4, outputs=2, sigma_w2=1.0, sigma_b2=0.0, dimension=8)
    standard, f = descended(where, recipe(6, scaling="standard"), 0.1)
    _, g = descended(where, recipe(6, abc=((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.0, 0.0, 0.0))), 0.1)
    np.testing.assert_allclose(g, f, rtol=1e-12)
    _, f = descended(where, recipe(6, scaling="ntk"), 0.1)
    where = point(count=4, outputs=2, sigma_w2=1.0, sigma_b2=0.0, dimension=8)
    exponents = ((0.5, 0.5, 0.5), (-0.5, 0.0, 0.0), (0.0, 0.0, 0.0))  # M_0 = M here
    _, g = descended(where, recipe(6, abc=exponents), 0.1)
    np.testing.assert_allclose(g, f, rtol=1e-12)
    mup, _ = descended(where, recipe(6, scaling="mup"), 0.1)
    assert mup[:, 0] != pytest.approx(standard[:, 0])


def test_batch_norm_of_the_readout() -> None:
    """Weights only grow, and (W, eta) -> (c W, c^2 eta) is the same training; nothing passes it at T = 2."""
    settings: dict[str, Any] = {"architecture": "linear-model", "normalization": "last-batch", "sigma_b2": 0.0}
    where = point(count=5, dimension=7, outputs=3, **settings)
    made = trainer(where, recipe(3))
    networks = made.networks()
    x = networks.placed(made.training_inputs)
    for _ in range(3):
        (before,) = entries(networks).values()
        trace = networks.forward(x, backward=True)
        networks.step(trace, (trace.outputs - made.y) / 5, np.full(3, 0.5))
        (after,) = entries(networks).values()
        lengths = [(w**2).sum(2) for w in (before, after - before, after)]
        np.testing.assert_allclose(lengths[2], lengths[0] + lengths[1], rtol=1e-12)
        np.testing.assert_allclose((before * (after - before)).sum(2), 0.0, atol=1e-13)
    scaled = point(count=5, dimension=7, outputs=3, sigma_w2=1.7 * 9, **settings)
    made = trainer(where, recipe(10)), trainer(scaled, recipe(10))
    first, second = (one.networks() for one in made)
    (w,), (w_scaled,) = (list(one.matrices.values()) for one in (first, second))
    w_scaled._w[...] = 3 * w._w
    for networks, rate in ((first, 0.5), (second, 4.5)):
        for _ in range(10):
            trace = networks.forward(x, backward=True)
            networks.step(trace, (trace.outputs - made[0].y) / 5, np.full(3, rate))
    np.testing.assert_allclose(w_scaled._w, 3 * w._w, rtol=1e-11)
    two = trainer(point(count=2, dimension=7, outputs=3, **settings), recipe(1)).networks()
    rows = two.placed(np.random.default_rng(0).normal(size=(1, 2, 7)))
    (before,) = entries(two).values()
    trace = two.forward(rows, backward=True)
    two.step(trace, trace.outputs - 1.0, np.full(3, 0.5))
    (after,) = entries(two).values()
    np.testing.assert_allclose(after, before, atol=1e-14)
