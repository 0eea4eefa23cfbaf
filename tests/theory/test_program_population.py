"""Limits by a population, normalisation and attention: other theories of the same networks, and identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from theory_programs import GRAM

from mcnet.programs.names import ProgramError
from mcnet.theory import gated, normalization, program
from mcnet.theory.program import Limit, Population, population


def within(found: np.ndarray, known: np.ndarray, error: np.ndarray, most: float) -> None:
    """Five standard errors, which are small themselves."""
    assert np.all(error <= most * np.abs(known).max())
    score = (found - known) / np.maximum(error, 1e-9)
    assert np.abs(score).max() < 5.0, f"largest score {np.abs(score).max():.1f}"


def minimal_rnn(w: Any, x: Any, p: Any) -> Any:
    h = x
    for step in range(1, 4):
        z = w.draw(("x", step), 0.8)
        u = w.apply("sigmoid", w.ask(("W", step), h) + w.ask(("V", step), z) + 1.0)
        h = u * h + (1 - u) * z
        w.see("h", step, h)
    return w.ask("readout", h)


def test_minimal_rnn_untied() -> None:
    """The closed recursion of Chen, Pennington, Schoenholz; the population knows nothing of it."""
    laws = {"W": (2.0, 0.1), "V": (0.5, 0.0), "readout": (1.0, 0.0)}
    found = program.limit(minimal_rnn, laws, GRAM, accuracy=1e-3)
    known = gated.minimal_rnn(2.0, 0.5, 0.1, 1.0, GRAM, 0.8, 3)
    assert isinstance(found, Population)
    for step in (1, 2, 3):
        name = ("h", step)
        within(found.gram(name), known.q_hat[step], found.error(name), 1e-3)
    back = np.ones((2, 2))
    for step in (2, 1):
        back = back * known.chi[step]
        within(found.backward(("h", step)), back, found.error(("h", step), backward=True), 1e-3)


def test_population_agrees_with_gaussian_means() -> None:
    """The same residual network, its skip written as a product with ones that the limit cannot see through."""

    def network(w: Any, x: Any, p: Any) -> Any:
        h = w.ask("embedding", x)
        for layer in (1, 2):
            branch = w.ask(("W", layer), w.phi(h))
            one = 1.0 + 0.0 * branch
            h = 0.9 * h + 0.7 * (branch * one if p.hidden else branch)
            w.see("h", layer, h)
        return w.ask("readout", w.phi(h))

    laws = {"W": (1.6, 0.1), "embedding": (1.0, 0.0), "readout": (1.2, 0.2)}
    exact, found = (
        program.limit(network, laws, GRAM, activation="tanh", parameters={"hidden": hidden}) for hidden in (False, True)
    )
    assert isinstance(exact, Limit)
    assert isinstance(found, Population)
    within(found.gram("h2"), exact.gram("h2"), found.error("h2"), 2e-3)
    within(found.ntk, exact.ntk, found.error("ntk"), 2e-3)
    with pytest.raises(AssertionError, match="largest score"):
        within(found.ntk, 1.01 * exact.ntk, found.error("ntk"), 2e-3)


def test_halves() -> None:
    """Of neighbours, and with a vector that has no positions; hidden as above. Refused: halves of one position."""

    def network(w: Any, x: Any, p: Any) -> Any:
        v = w.ask("embedding", x)
        h = w.halves(v, w.shift(v, "position", 1))
        for layer in (1, 2):
            u = w.ask(("W", layer), h)
            one = 1.0 + 0.0 * u
            u = u * one if p.hidden else u
            other = w.mean(w.phi(u), "position") + 0.5
            h = w.halves(u, other)
            h = w.halves(h, w.shift(u, "position", p.step)) if layer == 1 else h
            w.see("u", layer, u)
            w.see("h", layer, h)
        return w.ask("readout", w.mean(h, "position"))

    laws = {"W": (1.6, 0.1), "embedding": (1.0, 0.0), "readout": (1.2, 0.2)}
    how = {"activation": "tanh", "axes": {"position": 3}, "accuracy": 4e-3}
    gram = np.array([[1.0, 0.3, 0.1], [0.3, 0.5, 0.0], [0.1, 0.0, 0.8]])
    exact, found, wrong = (
        program.limit(network, laws, gram, **how, parameters={"hidden": hidden, "step": step})
        for hidden, step in ((False, 1), (True, 1), (False, 0))
    )
    assert isinstance(exact, Limit)
    assert isinstance(found, Population)
    within(found.gram("h2"), exact.gram("h2"), found.error("h2"), 4e-3)
    within(found.backward("u1"), exact.backward("u1"), found.error("u1", backward=True), 4e-3)
    within(found.ntk, exact.ntk, found.error("ntk"), 4e-3)
    with pytest.raises(AssertionError, match="largest score"):
        within(found.gram("h2"), wrong.gram("h2"), found.error("h2"), 4e-3)


def test_batch_norm() -> None:
    """Exchangeable inputs reach the fixed point in one layer; no gradient along what is taken away."""
    batch = 6

    def network(w: Any, x: Any) -> Any:
        h = x
        for layer in (1, 2):
            u = w.ask(("W", layer), h)
            w.see("u", layer, u)
            h = w.phi(w.batch_norm(u))
            w.see("h", layer, h)
        return w.ask("readout", h)

    gram = 0.6 * np.eye(batch) + 0.4
    found = program.limit(network, {"W": (1.7, 0.0), "readout": (1.0, 0.0)}, gram, activation="tanh", accuracy=4e-3)
    k_11, k_12 = normalization.gram("tanh", batch)
    known = np.full((batch, batch), k_12) + (k_11 - k_12) * np.eye(batch)
    within(found.gram("h2"), known, found.error("h2"), 4e-3)
    few = program.limit(network, {"W": (1.7, 0.0), "readout": (1.0, 0.0)}, gram, activation="tanh", accuracy=0.5)
    back = few.backward("u2").reshape((batch,) * 4)  # of outputs q, p at rows r, s: constant vectors feel nothing
    assert np.abs(back.sum(axis=3)).max() < 1e-10 * back.max()
    with pytest.raises(ProgramError, match="fewer than 4 inputs"):
        _ = program.limit(network, {"W": (1.7, 0.0), "readout": (1.0, 0.0)}, GRAM, activation="tanh").ntk


def layer_normed(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in (1, 2):
        u = w.ask(("W", layer), h)
        w.see("u", layer, u)
        n = w.layer_norm(u)
        w.see("n", layer, n)
        h = w.phi(n)
        w.see("h", layer, h)
    return w.ask("readout", h)


LAWS = {"W": (1.7, 0.2), "readout": (1.7, 0.2)}


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_layer_norm(name: str) -> None:
    found = program.limit(layer_normed, LAWS, GRAM, activation=name)
    known = normalization.layer_norm(name, 1.7, 0.2, GRAM, 2)
    assert isinstance(found, Limit)
    for layer in (1, 2):
        np.testing.assert_allclose(found.gram(("h", layer)), known.q_hat[layer], rtol=1e-10)
        np.testing.assert_allclose(found.backward(("u", layer)), known.q_tilde[layer - 1], rtol=1e-10)
    kernel = normalization.layer_norm_kernel(GRAM, name, 1.7, 0.2, 2, "ntk", True)
    np.testing.assert_allclose(found.ntk, kernel, rtol=1e-10)


def test_layer_norm_at_finite_width() -> None:
    """Identities at every width: rows of unit length, whatever sigma_w2 is where there is no bias; no length in c."""
    found = program.expansion(layer_normed, LAWS, GRAM, activation="tanh")
    assert not found.sampled(backward=True)
    for layer in (1, 2):
        assert np.abs(np.diagonal(found.mean(("n", layer)))).max() < 1e-8
        assert np.abs(np.diagonal(found.variance(("n", layer)))).max() < 1e-8
    assert found.variance(("n", 2))[0, 1] > 0.1
    small, large = (
        program.expansion(layer_normed, {"W": (s, 0.0), "readout": (1.0, 0.0)}, GRAM, activation="tanh")
        for s in (0.5, 3.0)
    )
    for name in ("h2", "ntk"):
        np.testing.assert_allclose(small.mean(name), large.mean(name), rtol=1e-6)
        np.testing.assert_allclose(small.variance(name), large.variance(name), rtol=1e-6)


def attended(w: Any, x: Any, p: Any) -> Any:
    h = w.ask("embedding", x)
    w.see("h", 0, h)
    q, k, v = (w.ask((n, 1), h) for n in ("query", "query" if p.shared else "key", "value"))
    h = h + w.attention(q, k, v, scale=p.strength / p.width)
    w.see("h", 1, h)
    return w.ask("readout", w.mean(h, "token"))


def test_attention() -> None:
    """Scores are the Gram matrix of query and key: 0 for two matrices, that of the tokens for one."""
    a = np.random.default_rng(4).normal(size=(6, 9))
    gram = a @ a.T / 9
    laws = {"query": (1.5, 0.0), "key": (1.5, 0.0), "value": (0.9, 0.0), "embedding": (1.0, 0.0), "readout": (1.0, 0.0)}
    for shared in (False, True):
        p = {"shared": shared, "strength": 2.0, "width": 400}
        found = program.limit(attended, laws, gram, axes={"token": 3}, parameters=p)
        blocks = np.kron(np.eye(2), np.ones((3, 3)))
        weights = blocks * np.exp(2.0 * 1.5 * gram * shared)
        weights /= weights.sum(1, keepdims=True)
        known = gram + 0.9 * weights @ gram @ weights.T
        np.testing.assert_allclose(found.gram("h1"), known, rtol=1e-12)
        average = np.kron(np.eye(2), np.full((1, 3), 1 / 3))
        kernel = average @ known @ average.T  # the readout
        both = average @ weights
        kernel += 0.9 * both @ gram @ both.T  # the values
        kernel += average @ gram @ average.T + 0.9 * both @ gram @ both.T  # the embedding, by the skip and the values
        np.testing.assert_allclose(found.ntk, kernel, rtol=1e-12)
    with pytest.raises(ProgramError, match="do not average themselves out"):
        program.limit(attended, laws, gram, axes={"token": 3}, parameters={**p, "strength": 20.0})
    expansion = program.expansion(attended, laws, gram, axes={"token": 3}, activation="linear", sites=2**10,
                                  parameters=p)  # fmt: skip
    assert np.isfinite(expansion.mean("h1")).all()
    with pytest.raises(ProgramError, match="pass attention scores"):
        expansion.mean("ntk")


def test_accuracy_that_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcnet.theory.program.population.MOST", 2**12)
    laws = {"W": (2.0, 0.1), "V": (0.5, 0.0), "readout": (1.0, 0.0)}
    with pytest.raises(ProgramError, match="relative error of"):
        program.limit(minimal_rnn, laws, GRAM, accuracy=1e-7).gram("h3")


def test_a_population_that_would_take_minutes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def gate(w: Any, x: Any) -> Any:
        return w.ask("readout", w.apply("sigmoid", w.ask("G", x)) * x)

    monkeypatch.setattr(population, "MOST_NORMALS", 2**13)
    found = program.limit(gate, {"G": (2.0, 0.0), "readout": (1.0, 0.0)}, [[0.7]], accuracy=1e-9)
    with pytest.raises(ProgramError, match="points leave a relative error"):
        found.ntk  # noqa: B018
