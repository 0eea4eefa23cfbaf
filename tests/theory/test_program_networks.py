"""Coefficients of 1/M against sampled networks of the same programs, whitened; and without the memory term."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from mcnet import streams
from mcnet.backend import get_backend
from mcnet.programs import sampled
from mcnet.programs.questions import Parameterization
from mcnet.theory import program
from mcnet.theory.program.jets import Sites
from mcnet.theory.program.limits import laws_of, parameters_of
from mcnet.theory.program.sites import zeros
from mcnet.weights.laws import Ensemble

LAWS = {"W": (1.9, 0.2), "V": (1.2, 0.1), "embedding": (1.0, 0.0), "readout": (1.0, 0.1)}
WIDTH = 256
NAMES = (("h", 1), ("h", 2), ("h", 3), "ntk")


def recurrent(w: Any, x: Any) -> Any:
    h = x
    for step in range(1, 4):
        h = w.phi(w.ask("W", h))
        w.see("h", step, h)
    return w.ask("readout", h)


def residual_pre(w: Any, x: Any) -> Any:
    h = w.ask("embedding", x)
    for layer in range(1, 4):
        h = 0.9 * h + 0.7 * w.ask(("W", layer), w.phi(h))
        w.see("h", layer, h)
    return w.ask("readout", w.phi(h))


def residual_post(w: Any, x: Any) -> Any:
    h = x
    for layer in range(1, 4):
        h = 0.9 * h + 0.7 * w.phi(w.ask(("W", layer), h))
        w.see("h", layer, h)
    return w.ask("readout", h)


def minimal_rnn(w: Any, x: Any) -> Any:
    h = x
    for step in range(1, 4):
        z = w.draw(("x", step), 0.8)
        u = w.apply("sigmoid", w.ask("W", h) + w.ask("V", z) + 0.5)
        h = u * h + (1 - u) * z
        w.see("h", step, h)
    return w.ask("readout", h)


def layer_normed(w: Any, x: Any) -> Any:
    h = x
    for layer in range(1, 4):
        h = w.phi(w.layer_norm(w.ask(("W", layer), h)))
        w.see("h", layer, h)
    return w.ask("readout", h)


def measured(network: Any, activation: str, networks: int, seed: int) -> np.ndarray:
    """Squared lengths of h^1..h^3 per unit and the tangent kernel, (N, 4); inputs of length 1 in new directions."""
    p = parameters_of(activation, "gaussian", {"width": WIDTH})
    x = np.random.default_rng(seed).normal(size=(networks, 1, WIDTH))
    x *= np.sqrt(WIDTH / np.sum(x * x, axis=2, keepdims=True))
    who = Ensemble(get_backend("cpu"), streams.seed_key(seed), 0, networks, "float64")
    trace = sampled.run(network, p, laws_of(LAWS, p), x, (), who, "conditioned", backward=True)
    kernel = trace.backward(Parameterization("ntk", True)).kernel
    return np.stack([*(np.asarray(trace.gram(("h", step)))[:, 0, 0] for step in (1, 2, 3)), kernel[:, 0, 0]], axis=1)


def predicted(network: Any, activation: str) -> dict[str, np.ndarray]:
    sites = 2**16 if network is minimal_rnn else 2**14  # its limit is sampled too
    found = program.expansion(network, LAWS, [[1.0]], activation=activation, sites=sites)
    theory = {of: np.array([getattr(found, of)(n)[0, 0] for n in NAMES]) for of in ("limit", "mean", "variance")}
    errors = {f"{of} error": np.array([found.error(n, of)[0, 0] for n in NAMES]) for of in theory}
    return {**theory, **errors}


def p_value(values: np.ndarray, theory: dict[str, np.ndarray]) -> float:
    """Of means and variances together, whitened by their covariance over the networks, theory's errors added."""
    away = values - theory["limit"] - theory["mean"] / WIDTH
    centred = values - values.mean(axis=0)
    both = np.concatenate([away, centred**2 - theory["variance"] / WIDTH], axis=1)
    of_mean = np.hypot(theory["limit error"], theory["mean error"] / WIDTH)
    errors = np.concatenate([of_mean, theory["variance error"] / WIDTH])
    score = both.mean(axis=0)
    covariance = np.cov(both.T) / len(values) + np.diag(errors**2)
    return float(stats.chi2.sf(score @ np.linalg.solve(covariance, score), len(score)))


CASES = [
    (recurrent, "gelu"),
    (residual_pre, "tanh"),
    (residual_post, "relu"),
    (minimal_rnn, "tanh"),
    (layer_normed, "tanh"),
]


def convolution(w: Any, x: Any) -> Any:
    h = x
    for layer in range(1, 4):
        h = w.phi(w.ask(("W", layer), w.patches(h, "position", [-1, 0, 1], [0.5, 0.3, 0.2])))
        w.see("h", layer, h)
    return w.ask("readout", w.mean(h, "position"))


def test_the_standard_kernel_of_uneven_taps() -> None:
    """Three orthogonal positions: entries of all taps weigh the same. The kernel by variances of taps is rejected."""
    networks, p = 1500, parameters_of("tanh", "gaussian", {"width": WIDTH})
    x, _ = np.linalg.qr(np.random.default_rng(8).normal(size=(networks, WIDTH, 3)))
    rows = WIDTH**0.5 * x.swapaxes(1, 2)[:, None]  # (N, 1, 3, M)
    who = Ensemble(get_backend("cpu"), streams.seed_key(8), 0, networks, "float64")
    trace = sampled.run(convolution, p, laws_of(LAWS, p), rows, ("position",), who, "conditioned", backward=True)
    values = np.asarray(trace.backward(Parameterization("standard", True)).kernel)[:, 0, 0] / WIDTH
    found = program.expansion(convolution, LAWS, np.eye(3), activation="tanh", axes={"position": 3}, sites=2**14)

    def scores(parameterization: str) -> tuple[float, float]:
        theory = found.tangent_kernel(parameterization, True)
        limit, a1, v1 = (part.item() for part in (theory.limit, theory.mean, theory.variance))
        errors = [part.item() for part in (theory.limit_error, theory.mean_error, theory.variance_error)]
        spread, count = values.var(ddof=1), len(values)
        of_mean = np.sqrt(spread / count + errors[0] ** 2 + (errors[1] / WIDTH) ** 2)
        of_variance = np.sqrt(2 * spread**2 / count + (errors[2] / WIDTH) ** 2)
        return (values.mean() - limit - a1 / WIDTH) / of_mean, (spread - v1 / WIDTH) / of_variance

    assert max(map(abs, scores("standard"))) < 4
    assert max(map(abs, scores("ntk"))) > 4


@pytest.mark.parametrize(("network", "activation"), CASES, ids=[case[0].__name__ for case in CASES])
def test_networks(network: Any, activation: str) -> None:
    theory = predicted(network, activation)
    values = measured(network, activation, 1500, seed=3)
    assert p_value(values, theory) > 1e-3
    for wrong in ({"variance": 1.2 * theory["variance"]}, {"limit": 1.02 * theory["limit"]}):
        assert p_value(values, {**theory, **wrong}) < 1e-3


def halved(w: Any, x: Any) -> Any:
    """The orthogonal kernel of two taps on a ring, of Haar matrices and halves."""
    h = x
    for layer in (1, 2):
        h = w.ask(("factor", layer), h)
        h = w.phi(w.ask(("W", layer), w.halves(h, w.shift(h, "position", 1))))
        w.see("h", layer, h)
    return w.ask("readout", w.mean(h, "position"))


ORTHOGONAL = {"factor": (1.0, 0.0), "W": (1.9, 0.2), "readout": (1.0, 0.1)}
UNEQUAL = np.diag([2.0, 0.3, 0.7])
"""Positions of different lengths, orthogonal."""
LENGTHS = ((("h", 1), 0), (("h", 1), 1), (("h", 2), 0))


def theory_of_halves(activation: str) -> dict[str, np.ndarray]:
    how = {"axes": {"position": 3}, "weights": "orthogonal", "sites": 2**13}
    found = program.expansion(halved, ORTHOGONAL, UNEQUAL, activation=activation, **how)
    names = [*LENGTHS, ("ntk", 0)]
    theory = {of: np.array([getattr(found, of)(n)[i, i] for n, i in names]) for of in ("limit", "mean", "variance")}
    return {**theory, **{f"{of} error": np.array([found.error(n, of)[i, i] for n, i in names]) for of in theory}}


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_halves(activation: str) -> None:
    """Lengths at two positions and the kernel."""
    networks, p = 1200, parameters_of(activation, "orthogonal", {"width": WIDTH})
    rows = np.sqrt(UNEQUAL * WIDTH) @ np.eye(3, WIDTH)
    who = Ensemble(get_backend("cpu"), streams.seed_key(6), 0, networks, "float64")
    laws = laws_of(ORTHOGONAL, p)
    trace = sampled.run(halved, p, laws, rows[None, None], ("position",), who, "conditioned", backward=True)
    kernel = np.asarray(trace.backward(Parameterization("ntk", True)).kernel)[:, 0, 0]
    values = np.stack([*(np.asarray(trace.gram(n))[:, i, i] for n, i in LENGTHS), kernel], axis=1)
    theory = theory_of_halves(activation)
    assert p_value(values, theory) > 1e-3
    for wrong in ({"variance": 1.2 * theory["variance"]}, {"limit": 1.02 * theory["limit"]}):
        assert p_value(values, {**theory, **wrong}) < 1e-3


def test_memory_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """One matrix asked at every step, gelu: without the memory term the coefficients are rejected."""
    values = measured(recurrent, "gelu", 6000, seed=4)
    assert p_value(values, predicted(recurrent, "gelu")) > 1e-3
    monkeypatch.setattr(Sites, "_memory_of_site", lambda self, numbers, slopes, blocks: zeros(1))
    assert p_value(values, predicted(recurrent, "gelu")) < 1e-6
