"""Connected correlators V, D, F, A, B of outputs and tangent kernel: by hand, by dense theory, by sampled networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mcnet_analysis.statistics.cumulants import measured

from mcnet import streams
from mcnet.backend import get_backend
from mcnet.programs import sampled
from mcnet.programs.names import ProgramError
from mcnet.programs.questions import Parameterization
from mcnet.theory import finite_width, program
from mcnet.theory.program.cumulants import NAMES
from mcnet.theory.program.limits import laws_of, parameters_of
from mcnet.weights.laws import Ensemble

GRAM = np.array([[1.0, 0.4], [0.4, 0.7]])
LAWS = {"W": (1.8, 0.2), "readout": (1.8, 0.2)}


def dense(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in range(1, p.depth + 1):
        h = w.phi(w.ask(("W", layer), h))
        w.see("h", layer, h)
    return w.ask("readout", h)


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_relu_and_one_input_by_hand(layers: int) -> None:
    """sigma_w2 = 2, no bias, kernel K = 2 |x|^2/M_0 in each of the weight layers, ``pdlt``: sums over the layers."""
    laws, k = {"W": (2.0, 0.0), "readout": (2.0, 0.0)}, 2.0 * 0.8
    how: dict[str, Any] = {"parameters": {"depth": layers - 1}, "parameterization": "pdlt", "train_biases": False}
    found = program.cumulants(dense, laws, [[0.8]], activation="relu", **how)
    below = np.arange(1, layers)
    expected = {
        "V": 5.0 * (layers - 1),
        "D": 3.0 * layers * (layers - 1) / 2,
        "F": layers * (layers - 1) / 2,
        "A": np.sum(7 * below**2 + below) / 4,
        "B": np.sum(below**2) / 2,
    }
    for name in NAMES:
        np.testing.assert_allclose(getattr(found, name).item(), k**2 * expected[name], rtol=1e-9)
        assert found.errors[name].item() == 0.0


def test_two_inputs_by_dense_theory() -> None:
    """Variances of the kernel of one output, A + B + B, and of the kernel between two, B; V of the lengths."""
    known = finite_width.coefficients(GRAM, "tanh", "gaussian", 1.8, 0.2, 2, "ntk", True)
    found = program.cumulants(dense, LAWS, GRAM, activation="tanh", parameters={"depth": 2})
    for a in range(2):
        for b in range(2):
            one_output = found.A[a, b, a, b] + found.B[a, a, b, b] + found.B[a, b, b, a]
            of_a, of_b = found.errors["A"][a, b, a, b], found.errors["B"][a, a, b, b]
            error = of_a + of_b + found.errors["B"][a, b, b, a]
            assert abs(one_output - known.ntk_variance[a, b]) < 5 * error < 0.15 * known.ntk_variance[a, b]
            assert abs(found.B[a, a, b, b] - known.ntk_cross_variance[a, b]) < 5 * of_b
            length = 1.8**2 * known.q_hat_variance[2, a, b]
            assert abs(found.V[a, b, a, b] - length) < 5 * found.errors["V"].max() < 0.05 * length


def networks(network: Any, width: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernels (N, 2, T, 2, T), outputs (N, 2, T) and their covariances (N, T, T) of networks with two outputs."""
    p = parameters_of("tanh", "gaussian", {"width": width, "depth": 2, "outputs": 2})
    root = np.linalg.cholesky(GRAM)
    basis, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(width, 2)))
    x = width**0.5 * root @ basis.T
    x = np.broadcast_to(np.stack([x[0], x[1] - x[0]])[None], (count, 2, width))  # differences
    who = Ensemble(get_backend("cpu"), streams.seed_key(5), 0, count, "float64")
    trace = sampled.run(network, p, laws_of(LAWS, p), x, (), who, "conditioned", backward=True)
    kernel = np.asarray(trace.backward(Parameterization("ntk", True)).kernel).reshape(count, 2, 2, 2, 2)
    outputs = np.asarray(trace.outputs).reshape(count, 2, 2)
    back = np.array([[1.0, 0.0], [1.0, 1.0]])
    return kernel, outputs, 1.8 * (back @ np.asarray(trace.gram(("h", 2))) @ back.T) + 0.2


def tied(w: Any, x: Any) -> Any:
    h = w.phi(w.ask("W", w.phi(w.ask("W", x))))
    w.see("h", 2, h)
    return w.ask("readout", h)


@pytest.mark.parametrize("network", [dense, tied])
def test_networks(network: Any) -> None:
    """Width 32: errors of 2 to 8 %, and 12 % for the next order; other tensors are rejected."""
    theory = program.cumulants(network, LAWS, GRAM, activation="tanh", parameters={"depth": 2}, sites=2**14)
    seen = measured(32, *networks(network, 32, 20_000))
    next_order = 4.0 / 32  # of the size of the tensor

    def largest(name: str, predicted: np.ndarray) -> float:
        size = np.abs(predicted).max()
        error = np.hypot(np.hypot(seen[name].error, theory.errors[name]), next_order * size)
        return float(np.max(np.abs(seen[name].value - predicted) / error))

    for name in NAMES:
        tensor = getattr(theory, name)
        assert largest(name, tensor) < 4.0, name
        assert largest(name, 2.5 * tensor) > 4.0, name
    assert largest("F", theory.D) > 4.0
    assert largest("B", theory.A) > 4.0


def test_refusals() -> None:
    def two_readouts(w: Any, x: Any) -> Any:
        return w.phi(w.ask("W", x))

    with pytest.raises(ProgramError, match="returns no answers of a readout"):
        program.cumulants(two_readouts, LAWS, GRAM, activation="tanh")
    with pytest.raises(ValueError, match="two outputs"):
        measured(8, np.ones((5, 1, 2, 1, 2)))
