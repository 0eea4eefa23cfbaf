"""Trainings beside each other: the same to the bit in any ensemble, asked matrices in the law of built ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from same_law import assert_same_law
from strict_backend import STRICT
from trained_networks import descended, point, recipe, trainer

from mcnet.architectures import lookup
from mcnet.architectures.program import frozen_keys
from mcnet.backend import get_backend
from mcnet.training import networks
from mcnet.training.matrices import AskedMatrix
from mcnet.training.order import Order

NETWORKS = 1500


def law_of(where: Any, sampler: str, rate: float) -> Any:
    """(N, variables): logarithms of the loss along six large steps, outputs after them and their product."""
    loss, f = descended(where, recipe(6), rate, sampler=sampler, networks=(0, NETWORKS), seed=7)
    return np.concatenate([np.log(loss[:, [0, 1, 3, 6]]), f[:, 0, :], f[:, 0, :1] * f[:, 0, 1:]], axis=1)


CASES = {
    "dense": (point(width=24, outputs=1, train_biases=True, parameterization="ntk", depth=2), 1.5),
    "residual": (
        point(width=24, outputs=1, architecture="residual", depth=2, parameters=frozen_keys(lookup("residual"), {})),
        0.01,
    ),
    "recurrent": (
        point(width=24, outputs=1, architecture="recurrent", depth=3, parameters=frozen_keys(lookup("recurrent"), {})),
        0.02,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_asked_matrices_train_in_the_law_of_built_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, rate = CASES[name]
    monkeypatch.setattr(networks, "is_small", lambda use, steps: False)  # all of them asked
    built = law_of(where, "explicit", rate)
    assert abs(np.median(built[:, 3] - built[:, 0])) > 0.3  # training does something
    assert_same_law(built, law_of(where, "conditioned", rate), name)
    if name == "dense":  # the backward pass forgets the steps

        def forgetful(self: Any, d: Any) -> Any:
            return self._start.apply_transpose(d)

        monkeypatch.setattr(AskedMatrix, "apply_transpose", forgetful)
        with pytest.raises(AssertionError, match=r"differs|Kolmogorov"):
            assert_same_law(built, law_of(where, "conditioned", rate), name)


@pytest.mark.parametrize("precision", ["float64", "mixed"])
@pytest.mark.parametrize(
    ("sampler", "changes"),
    [
        ("explicit", {}),
        ("conditioned", {}),
        ("explicit", {"optimizer": "sgd", "batch_size": 2, "order": "shuffled"}),
        ("explicit", {"optimizer": "adam", "adam": (0.9, 0.99, 1e-8), "loss": "softmax"}),
    ],
)
def test_a_network_is_the_same_in_any_ensemble(sampler: str, changes: Any, precision: str) -> None:
    where = point(count=6, width=40, outputs=3, train_biases=True, parameterization="ntk")
    how = recipe(5, **changes)
    together = descended(where, how, sampler=sampler, networks=(0, 7), precision=precision)
    for first, last in ((0, 3), (3, 4), (4, 7)):
        apart = descended(where, how, sampler=sampler, networks=(first, last), precision=precision)
        for one, other in zip(together, apart, strict=True):
            np.testing.assert_array_equal(one[first:last], other)


@pytest.mark.parametrize("sampler", ["explicit", "conditioned"])
def test_a_network_that_diverges_rests_and_disturbs_nobody(sampler: str) -> None:
    where = point(count=3, width=40, outputs=2, activation="relu", parameterization="ntk")
    how = recipe(40)
    alone = trainer(where, how, sampler).descend(np.full(3, 0.3), 40)
    both = trainer(where, how, sampler).descend(np.array([0.3, 1e3, 0.3]), 40)
    assert (alone.diverged == -1).all()
    assert both.diverged[1] > 0
    assert (both.diverged[[0, 2]] == -1).all()
    np.testing.assert_array_equal(both.loss[[0, 2]], alone.loss[[0, 2]])
    step = int(both.diverged[1])
    assert np.isfinite(both.loss[1, :step]).all()
    assert np.isnan(both.loss[1, step:]).all()


@pytest.mark.parametrize("sampler", ["explicit", "conditioned"])
def test_training_on_arrays_that_are_not_numpy(sampler: str) -> None:
    where = point(count=3, width=9, outputs=2, train_biases=True, parameterization="ntk", normalization="last-mean")
    ours, theirs = (trainer(where, recipe(4), sampler, backend=backend) for backend in (STRICT, get_backend("cpu")))
    losses = [each.descend(np.full(3, 0.3), 4).loss for each in (ours, theirs)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10)


def test_minibatches_take_every_input_once_an_epoch() -> None:
    made = trainer(point(count=12), recipe(6))
    for order in ("fixed", "shuffled"):
        how = recipe(6, optimizer="sgd", batch_size=4, order=order)
        rows = Order(how, 12, made.ensemble)
        epochs = [np.concatenate([rows.rows(step) for step in range(3 * e, 3 * e + 3)], axis=1) for e in range(2)]
        for epoch in epochs:
            np.testing.assert_array_equal(np.sort(epoch, axis=1), np.broadcast_to(np.arange(12), epoch.shape))
        assert (epochs[0].shape == (3, 12)) == (order == "shuffled")
        if order == "shuffled":
            assert (epochs[0] != epochs[1]).any()
            assert (epochs[0][0] != epochs[0][1]).any()


def test_online_steps_are_gradient_descent_on_one_input_after_the_other() -> None:
    where = point(count=4, width=10, outputs=2, parameterization="ntk")
    made = trainer(where, recipe(4, optimizer="sgd", batch_size=1, order="online"))
    course = made.descend(np.full(3, 0.4), 3)
    networks = made.networks()
    for t in range(4):
        trace = networks.forward(networks.placed(made.x[:, t : t + 1]), backward=True)
        r = trace.outputs - made.y[:, :, t : t + 1]
        np.testing.assert_allclose(course.loss[:, t], (r**2).sum((1, 2)) / 2, rtol=1e-13)
        networks.step(trace, r, np.full(3, 0.4))
