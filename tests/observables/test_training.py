"""Observables of training against closed forms: linear models, the reduced catapult map, explicit Fisher matrices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from network_points import measured
from trained_networks import entries, point, recipe, trainer

from mcnet import activations, architectures
from mcnet.architectures import registry
from mcnet.observables.catalog import OBSERVABLES
from mcnet.point import Inputs, Point
from mcnet.recipe import Recipe
from mcnet.theory import tangent
from mcnet.theory import training as theory
from mcnet.training import losses
from mcnet.training.kernels import kernels


def linear_model(w: Any, x: Any, p: Any) -> Any:
    w.see("h", 1, x)
    return w.ask("readout", x)


@pytest.fixture(scope="module", autouse=True)
def one_matrix() -> Iterator[None]:
    """An architecture for these tests alone."""
    architectures.register("linear-model", linear_model)
    yield
    del registry._TABLE["linear-model"]


def seen(where: Point, how: Recipe, **measures: Any) -> dict[str, Any]:
    """Values by variable, of six built networks in float64."""
    return measured(replace(where, train=how), "explicit", measures, 0, 6)


def test_a_model_linear_in_its_parameters_has_one_kernel_and_the_linear_dynamics() -> None:
    where = point(count=4, dimension=7, architecture="linear-model", outputs=2, sigma_b2=0.0, depth=1)
    how = recipe(20, learning_rate=(0.3, 0.95), listed=True, learning_rate_unit="bound")
    names = ("loss", "sharpness", "ntk_drift", "linear_deviation", "coordinate_check", "catapult_peak")
    found = seen(where, how, **{name: {} for name in names})
    x = trainer(where, how, seed=11).x[0]
    top = np.linalg.eigvalsh(x @ x.T / 4)[-1]
    np.testing.assert_allclose(found["sharpness"], np.full((6, 2, 7), top), rtol=1e-12)
    np.testing.assert_allclose(found["learning_rate_of_network"], [[0.6 / top, 1.9 / top]] * 6, rtol=1e-12)
    assert abs(found["ntk_drift"]).max() < 1e-13
    assert found["linear_deviation"].max() < 1e-12
    np.testing.assert_array_equal(found["catapult_peak"], 1.0)
    np.testing.assert_array_equal(found["activation_change"][..., 1], 0.0)
    assert (found["output_change"][..., 1:] > 0.01).all()
    np.testing.assert_allclose(found["kernel_size"], np.full((6, 2, 7), _size(x)), rtol=1e-12)


def _size(x: Any) -> Any:
    """Root mean square of the entries of (x x^T) times the identity over two outputs."""
    return np.sqrt((np.kron(np.eye(2), x @ x.T) ** 2).mean())


def test_linear_deviation_is_that_of_a_network_that_is_not_linear() -> None:
    """Against a kernel that is wrong by a percent the linear model deviates: the measure sees it."""
    where = point(count=4, width=32, outputs=2, depth=2, parameterization="ntk")
    how = recipe(10, learning_rate=(0.5,), learning_rate_unit="bound", test_inputs=1)
    found = seen(where, how, linear_deviation={}, ntk_drift={}, output={})
    assert found["output"].shape == (6, 6, 2, 4)
    assert (found["linear_deviation"][:, 1:] > 1e-6).all()
    assert (found["linear_deviation"][:, 0] < 1e-14).all()
    assert (found["ntk_drift"][:, 0] == 0).all()
    wide = seen(replace(where, width=512), how, linear_deviation={}, ntk_drift={})
    for name in ("linear_deviation", "ntk_drift"):  # of order 1/M
        ratio = np.median(found[name][:, -1]) / np.median(wide[name][:, -1])
        assert 6 < ratio < 40, name


def test_limit_deviation_is_the_distance_from_the_kernel_of_infinite_width() -> None:
    where = point(count=4, width=64, dimension=12, outputs=2, depth=2, parameterization="ntk", train_biases=True)
    how = recipe(10, learning_rate=(0.5,), record=(0, 3, 10))
    found = seen(where, how, limit_deviation={}, output={})
    made = trainer(where, how, seed=11)
    x, y = made.x[0], made.y[0]
    theta = tangent.kernel(x @ x.T / 12, "tanh", 1.7, 0.3, 2, "ntk", True)
    for n in range(6):
        f = found["output"][n].swapaxes(1, 2)  # (R, T, C)
        expected = [theory.linearized(theta, f[0], y.T, 0.5, step) for step in how.record]
        distance = np.sqrt(((f - expected) ** 2).mean((1, 2)))
        np.testing.assert_allclose(found["limit_deviation"][n], distance, atol=1e-13)
    wide = seen(replace(where, width=1024), how, limit_deviation={})
    ratio = np.median(found["limit_deviation"][:, -1]) / np.median(wide["limit_deviation"][:, -1])
    assert 2.0 < ratio < 8.0  # of order M^(-1/2): 4


def one_sample(width: int) -> Point:
    one = Inputs("values", 1, 1, values=((1.0,),))
    shape = ("dense", activations.get("linear"), "gaussian", width, 1, 1.0, 0.0, one, 1)
    return Point(*shape, parameterization="ntk")


@pytest.mark.parametrize("width", [4, 300])
def test_boundaries_of_two_linear_layers(width: int) -> None:
    """One step turns unstable at kappa = 2 + phi_0^2, the smaller root in eta; wide networks diverge at kappa = 4."""
    where, how = one_sample(width), recipe(1, targets="zero")
    options = {"steps": 1, "halvings": 24, "low": 0.9, "high": 1.9}
    found = seen(where, how, boundary_monotone=options, boundary_instability=options, boundary_divergence={})
    u, v = (w.reshape(6, -1) for w in entries(trainer(where, how, networks=(0, 6), seed=11).networks()).values())
    curvature, f = (u**2).sum(1) / width + (v**2).sum(1), (u * v).sum(1)
    a = f**2 / width  # eta lambda = 2 + a eta^2
    root = curvature**2 - 8 * a
    eta = (curvature - np.sqrt(np.where(root > 0, root, np.nan))) / (2 * a)
    k = eta * curvature / 2
    there = (k > 0.9) & (k < 1.9)
    assert there.sum() >= 3
    for name in ("boundary_instability", "boundary_monotone"):
        np.testing.assert_allclose(found[name][there], k[there], rtol=3e-6, err_msg=name)
    if width == 300:
        np.testing.assert_allclose(found["boundary_divergence"], 2.0, atol=0.06)


def test_the_peak_of_a_catapult() -> None:
    where = one_sample(300)
    how = recipe(30, targets="zero", learning_rate=(1.4,), learning_rate_unit="bound")
    found = seen(where, how, loss={}, catapult_peak={})
    assert (found["catapult_peak"] > 5).all()
    np.testing.assert_array_equal(found["catapult_step"], found["loss"].argmax(axis=1))
    np.testing.assert_allclose(found["catapult_peak"], found["loss"].max(axis=1) / found["loss"][:, 0])


def test_curvature_of_the_softmax_is_the_explicit_fisher_matrix() -> None:
    where = point(count=4, dimension=7, architecture="linear-model", outputs=3, sigma_b2=0.0)
    made = trainer(where, recipe(1, loss="softmax"))
    found = kernels(made.networks(), made.training_inputs, "softmax")
    x = made.x[0]
    p = losses.probabilities(np, found.f.reshape(3, 3, 4))
    for n in range(3):
        q = [np.diag(p[n, :, t]) - np.outer(p[n, :, t], p[n, :, t]) for t in range(4)]
        fisher = np.mean([np.kron(q[t], np.outer(x[t], x[t])) for t in range(4)], axis=0)
        expected = np.linalg.eigvalsh(fisher)[-12:]
        np.testing.assert_allclose(np.linalg.eigvalsh(found.curvature[n]), expected, atol=1e-12 * expected[-1])


@pytest.mark.parametrize("kind", ["last-mean", "last-batch", "last-layer"])
def test_kernels_of_normalised_outputs_are_those_of_the_program(kind: str) -> None:
    made = trainer(point(count=5, outputs=4, normalization=kind, parameterization="ntk"), recipe(1))
    networks = made.networks()
    found = kernels(networks, made.training_inputs, "squared")
    networks.model = replace(networks.model, bare=None)
    whole = kernels(networks, made.training_inputs, "squared")
    np.testing.assert_allclose(found.theta, whole.theta, atol=1e-11 * abs(whole.theta).max())
    np.testing.assert_allclose(found.f, whole.f, atol=1e-12)


def test_what_is_refused() -> None:
    relu = replace(one_sample(8), activation=activations.get("relu"))

    def told(name: str, where: Point, **changes: Any) -> str:
        made = replace(where, train=recipe(4, **changes))
        return " ".join(OBSERVABLES[name].check(made, {}))

    assert "by dying" in told("catapult_peak", relu, targets="zero")
    assert "by dying" in told("boundary_divergence", relu, targets="zero")
    assert not told("boundary_divergence", relu)
    stopped = point(count=5, outputs=4, normalization="last-batch")
    assert "does not exist with batch norm" in told("boundary_divergence", stopped)
    assert not told("boundary_monotone", stopped)
    sgd = {"optimizer": "sgd", "batch_size": 1}
    assert 'optimizer = "gd"' in told("boundary_monotone", point(), **sgd, learning_rate=(0.1,))
    assert "diverge at the bound" in told(
        "linear_deviation", point(outputs=1), learning_rate=(1.0,), learning_rate_unit="bound"
    )
    assert "linear dynamics of" in told("linear_deviation", point(outputs=2), loss="softmax")
    assert "limit of dense networks" in told("limit_deviation", point(outputs=4, normalization="hidden-layer"))
    assert "inputs.fresh" in told("limit_deviation", point(outputs=1, fresh=True))
    assert "put it in train.record" in told("ntk_drift", point(outputs=1), record=(2, 4))
    assert "at most 1024" in told("sharpness", point(count=600, outputs=2))
    assert 'loss = "squared"' in told("boundary_instability", point(outputs=2), loss="softmax")
