"""The limit of programs: the dense theory, and recursions written here for other architectures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from theory_programs import GRAM, dense, residual

from mcnet import activations
from mcnet.programs.names import ProgramError
from mcnet.theory import gaussian, mean_field, program, recurrent, tangent

CLOSE = {"rtol": 1e-10, "atol": 1e-12}


@pytest.mark.parametrize("name", ["linear", "relu", "tanh", "erf", "gelu", "hard-tanh", "elu", "sin"])
@pytest.mark.parametrize(("sigma_w2", "sigma_b2"), [(1.5, 0.1), (2.4, 0.0)])
def test_dense(name: str, sigma_w2: float, sigma_b2: float) -> None:
    found = program.limit(dense, {"W": (sigma_w2, sigma_b2), "readout": (sigma_w2, sigma_b2)}, GRAM,
                          activation=name, parameters={"depth": 4})  # fmt: skip
    known = mean_field.covariances(name, sigma_w2, sigma_b2, GRAM, 4)
    back = mean_field.gradient_covariances(name, sigma_w2, sigma_b2, GRAM, 4, readout=True)
    for layer in range(1, 5):
        np.testing.assert_allclose(found.gram(("u", layer)), known.q[layer - 1], **CLOSE)
        np.testing.assert_allclose(found.gram(f"h{layer}"), known.q_hat[layer], **CLOSE)
        np.testing.assert_allclose(found.backward(("u", layer)), back[layer - 1], **CLOSE)
    for how in ("ntk", "pdlt"):
        known_kernel = tangent.kernel(GRAM, name, sigma_w2, sigma_b2, 4, how, True)
        np.testing.assert_allclose(found.tangent_kernel(how, True), known_kernel, **CLOSE)
    np.testing.assert_allclose(found.ntk, tangent.kernel(GRAM, name, sigma_w2, sigma_b2, 4, "ntk", True), **CLOSE)


def test_dense_standard_kernel_and_probe() -> None:
    laws = {"W": (1.5, 0.1), "readout": (1.5, 0.1)}
    wide = program.limit(dense, laws, GRAM, activation="tanh", parameters={"depth": 3, "width": 200})
    known = tangent.kernel(GRAM, "tanh", 1.5, 0.1, 3, "standard", True, 200)
    np.testing.assert_allclose(wide.tangent_kernel("standard", True), known, **CLOSE)
    probed = program.limit(dense, laws, GRAM, activation="tanh", parameters={"depth": 3, "outputs": None})
    back = mean_field.gradient_covariances("tanh", 1.5, 0.1, GRAM, 3, readout=False)
    np.testing.assert_allclose(probed.backward("u1"), back[0], **CLOSE)


def test_dense_deep_and_equal_inputs() -> None:
    """Depth 400 by a stack, not by recursion; two equal inputs stay equal to the last digits."""
    found = program.limit(dense, {"W": (2.0, 0.0), "readout": (1.0, 0.0)}, np.ones((2, 2)), activation="relu",
                          parameters={"depth": 400})  # fmt: skip
    np.testing.assert_allclose(found.gram("h400"), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found.backward("u1"), 0.5, rtol=1e-12)


# ------------------------------------------------------------ residual networks


def moments(name: str, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """E phi phi', E phi' phi'' (slopes), E phi of pairs with covariance s, by plain two-dimensional panels."""
    phi = activations.get(name)
    scale = gaussian.feature_scale(phi)
    g, p = np.empty_like(s), np.empty_like(s)
    for a, b in zip(*np.triu_indices(len(s)), strict=True):
        pair = [[s[a, a], s[a, b]], [s[b, a], s[b, b]]]
        u, w = gaussian.pair_nodes(pair, phi.kinks, scale)
        g[a, b] = g[b, a] = w @ (phi.phi(u[0]) * phi.phi(u[1]))
        p[a, b] = p[b, a] = w @ (phi.dphi(u[0]) * phi.dphi(u[1]))
    f = np.array([gaussian.mean(phi.phi, q, phi.kinks, scale) for q in np.diagonal(s)])
    return g, p, f


A, S, DEPTH = 0.9, 0.6, 5
W2, B2, V2, C2, R2, RB2 = 1.6, 0.1, 1.3, 0.05, 1.2, 0.2


def residual_recursion(name: str, block: str) -> tuple[list[np.ndarray], np.ndarray]:
    """architectures: section 1.2 and 1.4 of Yang and Schoenholz' residual networks; K of every block and the kernel."""
    theta: np.ndarray
    k, means, chain, slopes, variances, answers = [GRAM], [np.zeros(2)], [], [], [], []
    for _ in range(DEPTH):
        if block == "pre":
            g, p, _ = moments(name, k[-1])
            s = W2 * g + B2
            k.append(A**2 * k[-1] + S**2 * s)
        else:
            s = W2 * k[-1] + B2
            g, p, f = moments(name, s)
            if block == "two":
                r = V2 * g + C2
                answers.append(r)
                k.append(A**2 * k[-1] + S**2 * r)
            else:
                cross = np.outer(means[-1], f)
                k.append(A**2 * k[-1] + A * S * (cross + cross.T) + S**2 * g)
                means.append(A * means[-1] + S * f)
        chain.append(g)
        slopes.append(p)
        variances.append(s)
    top, last = moments(name, k[-1])[:2] if block == "pre" else (k[-1], np.ones((2, 2)))
    theta = R2 * top + RB2
    b = R2 * last
    for layer in reversed(range(DEPTH)):
        if block == "pre":
            theta = theta + S**2 * b * variances[layer]
            b = b * (A**2 + S**2 * W2 * slopes[layer])
        elif block == "two":
            inner = S**2 * V2 * b * slopes[layer]
            theta = theta + S**2 * b * answers[layer] + inner * variances[layer]
            b = A**2 * b + W2 * inner
        else:
            inner = S**2 * b * slopes[layer]
            theta = theta + inner * variances[layer]
            b = A**2 * b + W2 * inner
    if block == "pre":
        theta = theta + b * GRAM  # the embedding has variance 1 and no bias
    return k, theta


@pytest.mark.parametrize("block", ["post", "pre", "two"])
@pytest.mark.parametrize("name", ["tanh", "relu", "gelu"])
def test_residual(block: str, name: str) -> None:
    laws = {"W": (W2, B2), "V": (V2, C2), "readout": (R2, RB2), "embedding": (1.0, 0.0)}
    p = {"block": block, "depth": DEPTH, "skip": A, "branch": S}
    found = program.limit(residual, laws, GRAM, activation=name, parameters=p)
    k, theta = residual_recursion(name, block)
    for layer in range(1, DEPTH + 1):
        np.testing.assert_allclose(found.gram(("h", layer)), k[layer], **CLOSE)
    np.testing.assert_allclose(found.ntk, theta, **CLOSE)


# ------------------------------------------------------------ convolution

P, TAPS, OFFSETS = 3, (0.2, 0.5, 0.3), (-1, 0, 1)


def convolution(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in range(1, 4):
        u = w.ask(("W", layer), w.patches(h, "position", OFFSETS, TAPS))
        h = w.phi(u)
        w.see("h", layer, h)
    if p.pooling == "gap":
        return w.ask("readout", w.mean(h, "position"))
    places = [w.mean(w.rows(np.eye(P)[i : i + 1], h, "position"), "position") for i in range(P)]
    return w.ask("readout", w.concat(places))


def convolution_recursion(name: str, pooling: str, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Xiao et al. 2018: S = sigma_w2 A K + sigma_b2, B = sigma_w2 A* B'; K of the last layer and the kernel."""

    def average(k: np.ndarray, sign: int) -> np.ndarray:
        square = k.reshape(2, P, 2, P)
        moved = [v * np.roll(square, (-sign * o, -sign * o), axis=(1, 3)) for o, v in zip(OFFSETS, TAPS, strict=True)]
        return np.asarray(sum(moved)).reshape(k.shape)

    variances, slopes = [], []
    for _ in range(3):
        s = W2 * average(k, 1) + B2
        k, p, _ = moments(name, s)
        variances.append(s)
        slopes.append(p)
    square = k.reshape(2, P, 2, P)
    same = np.eye(P)[None, :, None, :]
    if pooling == "gap":
        theta, b = R2 * square.mean((1, 3)) + RB2, np.full(k.shape, R2 / P**2)
    else:
        theta = R2 * (square * same).sum((1, 3)) / P + RB2
        b = np.broadcast_to(R2 / P * same, square.shape).reshape(k.shape)
    for layer in reversed(range(3)):
        b = b * slopes[layer]
        theta = theta + (b * variances[layer]).reshape(2, P, 2, P).sum((1, 3))
        b = W2 * average(b, -1)
    return k, theta


@pytest.mark.parametrize(("pooling", "name"), [("gap", "tanh"), ("flat", "tanh"), ("gap", "relu")])
def test_convolution(pooling: str, name: str) -> None:
    a = np.random.default_rng(2).normal(size=(2 * P, 3 * P))
    k = a @ a.T / (3 * P)
    laws = {"W": (W2, B2), "readout": (R2, RB2)}
    found = program.limit(convolution, laws, k, activation=name, axes={"position": P}, parameters={"pooling": pooling})
    last, theta = convolution_recursion(name, pooling, k)
    np.testing.assert_allclose(found.gram("h3"), last, **CLOSE)
    np.testing.assert_allclose(found.ntk, theta, **CLOSE)


def test_taps_count_in_the_standard_kernel() -> None:
    """There the weights of a tap are N(0, sigma_w2 v/M): alpha x . x is that of the shifted vectors without v."""
    a = np.random.default_rng(2).normal(size=(P, 3 * P))
    k = a @ a.T / (3 * P)

    def one(w: Any, x: Any) -> Any:
        return w.mean(w.ask("readout", w.patches(x, "position", OFFSETS, TAPS)), "position")

    found = program.limit(one, {"readout": (1.0, 0.0)}, k, axes={"position": P}, parameters={"width": 10})
    shifted = sum(np.roll(k, (-o, -o), axis=(0, 1)) for o in OFFSETS)
    np.testing.assert_allclose(found.tangent_kernel("standard", False), 10 * np.mean(shifted), rtol=1e-12)


# ------------------------------------------------------------ recurrent


def leaky(w: Any, x: Any, p: Any) -> Any:
    h = s = x
    for step in range(1, 6):
        s = (1 - p.leak) * s + p.leak * w.ask("W", h)
        h = w.phi(s)
        w.see("u", step, s)
    return w.ask("readout", h)


@pytest.mark.parametrize("leak", [1.0, 0.4])
def test_leaky_recurrent(leak: float) -> None:
    """Two times: the recursion of mcnet.theory.recurrent."""
    found = program.limit(leaky, {"W": (2.2, 0.2), "readout": (1.0, 0.0)}, [[1.0]], activation="tanh",
                          parameters={"leak": leak})  # fmt: skip
    known = recurrent.leaky("tanh", 2.2, 0.2, leak, 1.0, 5)
    for s in range(6):
        for t in range(6):
            name = [("u", i) if i else ("h", 0) for i in (s, t)]
            np.testing.assert_allclose(found.gram(*name), known[s, t], **CLOSE)


def shared(w: Any, x: Any) -> Any:
    h, total = x, 0.0 * x
    for _ in range(3):
        h = w.phi(w.ask("W", h))
        total = total + h
    return w.ask("readout", total)


def test_pairs_of_times_in_the_kernel() -> None:
    """One matrix, outputs at all steps: terms between different times survive."""
    sw2, sb2 = 1.5, 0.3
    found = program.limit(shared, {"W": (sw2, sb2), "readout": (1.0, 0.0)}, [[1.0]], activation="tanh")
    k = np.zeros((4, 4))  # of h_0..h_3, h_0 apart
    k[0, 0] = 1.0
    p = np.zeros((4, 4))
    for t in range(1, 4):
        for r in range(1, t + 1):
            pair = np.array([[k[i - 1, j - 1] for j in (r, t)] for i in (r, t)]) * sw2 + sb2
            g, q, _ = moments("tanh", pair)
            k[r, t] = k[t, r] = g[0, 1] if r < t else g[0, 0]
            p[r, t] = p[t, r] = q[0, 1] if r < t else q[0, 0]
    b = np.zeros((5, 5))  # of the cotangents at u_1..u_3
    for t in (3, 2, 1):
        for r in (3, 2, 1):
            b[r, t] = p[r, t] * (1.0 + sw2 * b[r + 1, t + 1])
    known = k[1:, 1:].sum() + (b[1:4, 1:4] * (sw2 * k[:3, :3] + sb2)).sum()
    np.testing.assert_allclose(found.ntk, [[known]], **CLOSE)


# ------------------------------------------------------------ other programs


def test_gates_of_answers_with_constants() -> None:
    """An activation of a shifted answer, and the constant vector in sums."""

    def shifted(w: Any, x: Any) -> Any:
        h = 1.0 - w.apply("sigmoid", w.ask("W", x) + 0.7)
        w.see("h", 1, h)
        return w.ask("readout", h)

    found = program.limit(shifted, {"W": (2.0, 0.1), "readout": (1.0, 0.0)}, GRAM)
    s = 2.0 * GRAM + 0.1
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    factor = np.linalg.cholesky(s)
    u = np.stack(np.meshgrid(z, z, indexing="ij")).reshape(2, -1)
    weights = np.outer(weight, weight).ravel() / (2 * np.pi)
    value = 1.0 - 1.0 / (1.0 + np.exp(-(factor @ u) - 0.7))
    np.testing.assert_allclose(found.gram("h1"), (value * weights) @ value.T, rtol=1e-9)
    np.testing.assert_allclose(found.mean("h1"), value @ weights, rtol=1e-9)
    slope = (value * (1.0 - value) * weights) @ (value * (1.0 - value)).T
    np.testing.assert_allclose(found.ntk, (value * weights) @ value.T + slope * s, rtol=1e-9)


def test_programs_that_mix_inputs() -> None:
    """The kernel of outputs less their mean over the inputs is centred."""

    def centred(w: Any, x: Any, p: Any) -> Any:
        f = dense(w, x, p)
        return f - w.mean(f, "input") if p.centre else f

    laws = {"W": (1.5, 0.1), "readout": (1.5, 0.1)}
    plain, found = (
        program.limit(centred, laws, GRAM, activation="tanh", parameters={"depth": 2, "centre": centre}).ntk
        for centre in (False, True)
    )
    project = np.eye(2) - 0.5
    np.testing.assert_allclose(found, project @ plain @ project, atol=1e-12)


def test_refusals() -> None:
    laws = {"W": (1.5, 0.1), "readout": (1.5, 0.1)}

    def gated(w: Any, x: Any) -> Any:
        return w.ask("readout", w.ask("W", x) * w.phi(w.ask("W2", x)))

    with pytest.raises(ProgramError, match=r"reads p\.activation"):
        program.limit(gated, laws, GRAM)
    with pytest.raises(ProgramError, match="positive semidefinite"):
        program.limit(gated, laws, [[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ProgramError, match='no law is given for the matrix "readout"'):
        program.limit(dense, {"W": (1.0, 0.0)}, GRAM, activation="tanh", parameters={"depth": 1})
    with pytest.raises(ProgramError, match="do not divide"):
        program.limit(dense, laws, GRAM, axes={"position": 3})
    with pytest.raises(ProgramError, match='vector "u7" is not seen'):
        program.limit(dense, laws, GRAM, activation="tanh", parameters={"depth": 1}).gram("u7")
