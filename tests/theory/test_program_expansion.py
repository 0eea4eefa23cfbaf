"""The 1/M terms of programs: the dense theory, recursions by hand, exact moments, and networks at small width."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from theory_programs import GRAM, dense, residual

from mcnet import activations, architectures
from mcnet.programs.names import ProgramError
from mcnet.theory import finite_width, gaussian, program

Array = np.ndarray


def close(found: Array, known: Array, scale: Array | float, rtol: float = 1e-6) -> None:
    """Relative to the number itself, or to a thousandth of its scale where that is more."""
    error = np.abs(np.asarray(found) - known) / (np.abs(known) + 1e-3 * np.abs(scale))
    assert error.max() < rtol, f"largest relative error {error.max():.1e}"


CASES = [
    ("tanh", "gaussian", 2, 0.1),
    ("tanh", "orthogonal", 1, 0.1),
    ("gelu", "gaussian", 1, 0.0),
    ("gelu", "orthogonal", 2, 0.0),
    ("relu", "gaussian", 2, 0.1),
    ("relu", "orthogonal", 1, 0.1),
    ("hard-tanh", "gaussian", 1, 0.1),
]


@pytest.mark.parametrize(("name", "weights", "inputs", "sigma_b2"), CASES)
def test_dense(name: str, weights: str, inputs: int, sigma_b2: float) -> None:
    depth, gram = 3, GRAM[:inputs, :inputs]
    laws = {"W": (1.5, sigma_b2), "readout": (1.5, sigma_b2)}
    found = program.expansion(dense, laws, gram, activation=name, weights=weights, parameters={"depth": depth})
    known = finite_width.coefficients(gram, name, weights, 1.5, sigma_b2, depth, "ntk", True)
    for layer in range(1, depth + 1):
        h, u = ("h", layer), ("u", layer)
        close(found.limit(h), known.q_hat_limit[layer], 1.0)
        close(found.mean(h), known.q_hat_mean[layer], known.q_hat_limit[layer])
        close(found.variance(h), known.q_hat_variance[layer], 1.0)
        close(found.mean(u), known.q_mean[layer - 1], known.q_limit[layer - 1])
        close(found.variance(u), known.q_variance[layer - 1], 1.0)
        close(found.backward.mean(u), known.q_tilde_mean[layer - 1], known.q_tilde_limit[layer - 1])
        close(found.backward.variance(u), known.q_tilde_variance[layer - 1], 1.0)
        if known.c_mean is not None and known.c_variance is not None:
            close(found.correlation.mean(u)[0, 1], known.c_mean[layer - 1], 1.0)
            close(found.correlation.variance(u)[0, 1], known.c_variance[layer - 1], 1.0)
    close(found.ntk_mean, known.ntk_mean, known.ntk_limit)
    close(found.ntk_variance, known.ntk_variance, 1.0)
    assert not found.sampled(backward=True)
    assert found.error("ntk").max() == 0.0


def test_other_kernels() -> None:
    laws = {"W": (1.5, 0.1), "readout": (1.5, 0.1)}
    found = program.expansion(dense, laws, [[1.0]], activation="tanh", parameters={"depth": 2})
    for how in ("standard", "pdlt"):
        known = finite_width.coefficients([[1.0]], "tanh", "gaussian", 1.5, 0.1, 2, how, True)
        statistics = found.tangent_kernel(how, True)
        close(statistics.limit, known.ntk_limit, 1.0)
        close(statistics.mean, known.ntk_mean, known.ntk_limit)
        close(statistics.variance, known.ntk_variance, 1.0)


# ------------------------------------------------------------ residual networks

A, S = 0.9, 0.6


def test_residual_two_relu_exact() -> None:
    """Without biases a product of masked linear blocks: E K^2 = g_2^L, and the cotangents have the same law."""
    sw2, sv2, depth = 1.6, 1.3, 4
    laws = {"W": (sw2, 0.0), "V": (sv2, 0.0), "readout": (1.0, 0.0)}
    p = {"block": "two", "depth": depth, "skip": A, "branch": S}
    found = program.expansion(residual, laws, [[1.0]], activation="relu", parameters=p)
    rho = sw2 * sv2
    zero = A**4 + A**2 * S**2 * rho + S**4 * rho**2 / 4  # g_2 at M = infinity, and its 1/M term
    first = 2 * A**2 * S**2 * rho + S**4 * rho**2 * (0.5 + 1.25)
    growth = A**2 + S**2 * rho / 2
    close(found.limit(("h", depth)), growth**depth, 1.0)
    close(found.mean(("h", depth)), 0.0, 1.0)
    close(found.variance(("h", depth)), depth * zero ** (depth - 1) * first, 1.0)
    own = depth - 1  # blocks above h^1
    close(found.backward.mean(("h", 1)), 0.0, 1.0)
    # the readout's vector is chi-square with M degrees of freedom: variance 2/M of its own
    spread = own * zero ** (own - 1) * first + 2 * zero**own
    close(found.backward.variance(("h", 1)), spread, 1.0)
    close(found.ntk_mean, 0.0, 1e3 * found.ntk)


def integrals(name: str, q: float) -> dict[str, float]:
    phi = activations.get(name)

    def mean(f: Any) -> float:
        return float(gaussian.mean(f, q, phi.kinks, gaussian.feature_scale(phi)))

    values = {
        "f1": mean(phi.phi),
        "f2": mean(lambda u: phi.phi(u) ** 2),
        "f3": mean(lambda u: phi.phi(u) ** 3),
        "f4": mean(lambda u: phi.phi(u) ** 4),
    }
    for k in (1, 2):  # derivatives by q from Hermite polynomials
        values[f"d{k}"] = mean(lambda u, k=k: phi.phi(u) ** k * (u * u / q - 1.0)) / (2.0 * q)
        values[f"dd{k}"] = mean(lambda u, k=k: phi.phi(u) ** k * (u**4 / q**2 - 6 * u * u / q + 3.0)) / (4.0 * q * q)
    return values


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_residual_two_forward(name: str) -> None:
    """K is a Markov chain: K' = (a K^(1/2) + s (R/M)^(1/2) z)^2 + s^2 R/M chi^2, R = sigma_v2 Phi + sigma_c2."""
    sw2, sb2, sv2, sc2, depth = 1.6, 0.1, 1.3, 0.05, 5
    laws = {"W": (sw2, sb2), "V": (sv2, sc2), "readout": (1.0, 0.0)}
    p = {"block": "two", "depth": depth, "skip": A, "branch": S}
    found = program.expansion(residual, laws, [[1.0]], activation=name, parameters=p)
    k, variance, shift = 1.0, 0.0, 0.0
    for layer in range(1, depth + 1):
        m = integrals(name, sw2 * k + sb2)
        r = sv2 * m["f2"] + sc2
        slope, bend = A**2 + S**2 * sv2 * sw2 * m["d2"], S**2 * sv2 * sw2**2 * m["dd2"]
        shift = slope * shift + 0.5 * bend * variance
        noise = 4 * A**2 * S**2 * k * r + 2 * S**4 * r**2 + S**4 * sv2**2 * (m["f4"] - m["f2"] ** 2)
        variance = slope**2 * variance + noise
        k = A**2 * k + S**2 * r
        close(found.mean(("h", layer)), shift, 1.0)
        close(found.variance(("h", layer)), variance, 1.0)


def test_residual_two_backward() -> None:
    """Gradient independence broken: the 1/M mean of the squared cotangents, by the matrix T of E (e_i . D)(e_j . D)."""
    sw2, sb2, sv2, sc2, depth, name = 1.6, 0.1, 1.3, 0.05, 3, "tanh"
    laws = {"W": (sw2, sb2), "V": (sv2, sc2), "readout": (1.0, 0.0)}
    p = {"block": "two", "depth": depth, "skip": A, "branch": S, "outputs": None}
    found = program.expansion(residual, laws, [[1.0]], activation=name, parameters=p)
    known = _two_backward(sw2, sb2, sv2, sc2, depth, name)
    close(found.backward.mean(("h", 1)), known, 1.0)


def _two_backward(sw2: float, sb2: float, sv2: float, sc2: float, depth: int, name: str) -> float:
    phi, scale = activations.get(name), gaussian.feature_scale(activations.get(name))
    rho, s2, a2 = sw2 * sv2, S**2, A**2
    ks, rs, ss, m = [1.0], [1.0], [], []
    for _ in range(depth):
        q = sw2 * ks[-1] + sb2

        def mean(f: Any, q: float = q) -> float:
            return float(gaussian.mean(lambda u: f(u, phi.phi(u), phi.dphi(u)), q, (), scale))

        one = {
            "f2": mean(lambda u, h, p: h * h), "f4": mean(lambda u, h, p: h**4), "m": mean(lambda u, h, p: p * p),
            "p4": mean(lambda u, h, p: p**4), "hp": mean(lambda u, h, p: h * h * p * p),
            "up": mean(lambda u, h, p: u * u * p * p), "uph": mean(lambda u, h, p: u * p * h),
        }  # fmt: skip
        for key, f in (("f", lambda u, h, p: h * h), ("g", lambda u, h, p: p * p)):
            one["d" + key] = mean(lambda u, h, p, f=f, q=q: f(u, h, p) * (u * u / q - 1)) / (2 * q)
            one["dd" + key] = mean(
                lambda u, h, p, f=f, q=q: f(u, h, p) * (u**4 / q**2 - 6 * u * u / q + 3)
            ) / (4 * q * q)  # fmt: skip
        ss.append(q)
        m.append(one)
        rs.append(sv2 * one["f2"] + sc2)
        ks.append(a2 * ks[-1] + s2 * rs[-1])
    # forward noise: for each block (eps_Phi, eps_K, eps_m); responses of K below and of m to them
    size = 3 * depth
    noise = np.zeros((size, size))
    below, slopes, shift_k, shift_m, var = np.zeros(size), [], 0.0, [], 0.0
    for layer in range(depth):
        one, k, r = m[layer], ks[layer], rs[layer + 1]
        i = 3 * layer
        noise[i, i] = one["f4"] - one["f2"] ** 2
        noise[i + 1, i + 1] = 4 * a2 * s2 * k * r + 2 * s2**2 * r**2
        noise[i + 2, i + 2] = one["p4"] - one["m"] ** 2
        noise[i, i + 2] = noise[i + 2, i] = one["hp"] - one["f2"] * one["m"]
        slopes.append(sw2 * one["dg"] * below + np.eye(size)[i + 2])
        shift_m.append(sw2 * one["dg"] * shift_k + 0.5 * sw2**2 * one["ddg"] * var)
        gain = a2 + s2 * rho * one["df"]
        shift_k = gain * shift_k + 0.5 * s2 * sv2 * sw2**2 * one["ddf"] * var
        below = gain * below + s2 * sv2 * np.eye(size)[i] + np.eye(size)[i + 1]
        var = below @ noise @ below
    b, shift_b, response = 1.0, 0.0, np.zeros(size)
    t = np.diag(np.array(rs))  # e_0 = h^0, e_j = g^j
    for layer in range(depth, 1, -1):
        one, k, r, q = m[layer - 1], ks[layer - 1], rs[layer], ss[layer - 1]
        alpha = np.array([A ** (layer - 1)] + [S * A ** (layer - 1 - j) for j in range(1, layer)])
        alpha = np.concatenate([alpha, np.zeros(depth + 1 - layer)])
        c_a = sv2 * one["uph"] / r
        v_a = sv2 * b * one["up"] - sv2**2 * one["uph"] ** 2 * b / r
        t_ll = t[layer, layer]
        e_a2, e_ha = c_a**2 * t_ll + v_a, c_a * (alpha @ t[:, layer])
        covariance = response @ noise @ slopes[layer - 1]
        shift_b = (
            a2 * shift_b + s2 * rho * (one["m"] * shift_b + b * shift_m[layer - 1] + covariance)
            + 2 * A * S * (sw2 / q) * e_ha
            + s2 * sw2 * sv2**2 * one["hp"] * (t_ll / r**2 - b / r)
            + s2 * sw2**2 * k * (e_a2 / q**2 - sv2 * b * one["m"] / q)
        )  # fmt: skip
        response = (a2 + s2 * rho * one["m"]) * response + s2 * rho * b * slopes[layer - 1]
        kappa = alpha * np.array(rs) / k
        c_y, v_y = sw2 * k / q, sv2 * b * one["m"] * sw2 * k * sb2 / q
        move = A * np.eye(depth + 1)
        move[:, layer] += S * c_y * c_a * kappa
        ar = alpha * np.array(rs)
        fresh = sv2 * b * one["m"] * sw2 * (np.diag(np.array(rs)) - np.outer(ar, ar) / k)
        t = move @ t @ move.T + s2 * (np.outer(kappa, kappa) * (c_y**2 * v_a + v_y) + fresh)
        b = b * (a2 + s2 * rho * one["m"])
    return shift_b


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_residual_post_forward(name: str) -> None:
    """The length and the mean of h are a Markov chain of two; no memory, but the mean carries what sites keep."""
    sw2, sb2, depth = 1.6, 0.1, 4
    laws = {"W": (sw2, sb2), "readout": (1.0, 0.0)}
    p = {"block": "post", "depth": depth, "skip": A, "branch": S}
    found = program.expansion(residual, laws, [[1.0]], activation=name, parameters=p)
    x, v, shift = np.array([1.0, 0.0]), np.zeros((2, 2)), np.zeros(2)  # (K, mean); of the input fixed K, free mean
    v[1, 1] = 1.0
    for layer in range(1, depth + 1):
        k, mean = x
        m = integrals(name, sw2 * k + sb2)
        slope = np.array([
            [A**2 + 2 * A * S * mean * sw2 * m["d1"] + S**2 * sw2 * m["d2"], 2 * A * S * m["f1"]],
            [S * sw2 * m["d1"], A],
        ])  # fmt: skip
        bend_k = np.array([
            [2 * A * S * mean * sw2**2 * m["dd1"] + S**2 * sw2**2 * m["dd2"], 2 * A * S * sw2 * m["d1"]],
            [2 * A * S * sw2 * m["d1"], 0.0],
        ])  # fmt: skip
        bend_m = np.array([[S * sw2**2 * m["dd1"], 0.0], [0.0, 0.0]])
        v1, v12, v2 = m["f2"] - m["f1"] ** 2, m["f3"] - m["f1"] * m["f2"], m["f4"] - m["f2"] ** 2
        n_kk = 4 * A**2 * S**2 * k * v1 + 4 * A * S**3 * mean * v12 + S**4 * v2
        n_km = 2 * A * S**2 * mean * v1 + S**3 * v12
        shift = slope @ shift + 0.5 * np.array([np.sum(bend_k * v), np.sum(bend_m * v)])
        v = slope @ v @ slope.T + np.array([[n_kk, n_km], [n_km, S**2 * v1]])
        x = np.array([A**2 * k + 2 * A * S * mean * m["f1"] + S**2 * m["f2"], A * mean + S * m["f1"]])
        close(found.mean(("h", layer)), shift[0], 1.0)
        close(found.variance(("h", layer)), v[0, 0], 1.0)
    assert not found.sampled(backward=False)


def pre_recursion(name: str, sw2: float, sb2: float, depth: int, memory: bool) -> tuple[list[float], list[float]]:
    """Sites that persist: lengths of phi(x^l) of pre-activation blocks, with the memory term by pairs of layers."""
    phi = activations.get(name)
    scale = gaussian.feature_scale(phi)
    q = [1.0]
    for _ in range(depth):
        q.append(A**2 * q[-1] + S**2 * (sw2 * gaussian.square(phi, q[-1]) + sb2))

    def square(u: Array) -> Array:
        return np.asarray(phi.phi(u) ** 2)

    def pair(f: Any, i: int, j: int) -> float:
        """Cov(f(x^i), phi^2(x^j)), i >= j."""
        c = A ** (i - j) * q[j]
        u, w = gaussian.pair_nodes([[q[i], c], [c, q[j]]], phi.kinks, scale)
        return float(w @ (f(u[0]) * square(u[1])) - (w @ f(u[0])) * (w @ square(u[1])))

    def curvature(i: int) -> Any:  # (phi^2)'' by differences
        return lambda u: (square(u + 1e-3) - 2 * square(u) + square(u - 1e-3)) / 1e-6

    noise = np.zeros((depth + 1, depth + 1))
    for i in range(depth + 1):
        for j in range(i + 1):
            noise[i, j] = noise[j, i] = pair(square, i, j)
    of_q, shift_q = np.zeros(depth + 1), 0.0
    response = []  # of Phi_l to the noise
    shifts, variances = [], []
    for i in range(depth + 1):
        v1 = gaussian.mean(lambda u, v=q[i]: square(u) * (u * u / v - 1), q[i], (), scale) / (2 * q[i])
        v2 = gaussian.mean(lambda u, v=q[i]: square(u) * (u**4 / v**2 - 6 * u * u / v + 3), q[i], (), scale)
        v2 /= 4 * q[i] ** 2
        shift = v1 * shift_q + 0.5 * v2 * (of_q @ noise @ of_q)
        if memory:
            for j in range(1, i + 1):
                inner = sum(response[j - 1][k] * pair(curvature(i), i, k) for k in range(j))
                shift += 0.5 * S**2 * A ** (2 * (i - j)) * sw2 * inner
        response.append(v1 * of_q + np.eye(depth + 1)[i])
        shifts.append(shift)
        variances.append(float(response[-1] @ noise @ response[-1]))
        of_q = A**2 * of_q + S**2 * sw2 * response[-1]
        shift_q = A**2 * shift_q + S**2 * sw2 * shift
    return shifts, variances


def pre(w: Any, x: Any, p: Any) -> Any:
    h = w.ask("embedding", x)
    w.see("h", 0, w.phi(h))
    for layer in range(1, p.depth + 1):
        h = A * h + S * w.ask(("W", layer), w.phi(h))
        w.see("h", layer, w.phi(h))
    return w.ask("readout", w.phi(h))


def test_residual_pre_and_its_memory() -> None:
    """The memory term is most of the shift; coefficients without it are rejected."""
    laws = {"W": (1.6, 0.1), "readout": (1.0, 0.0), "embedding": (1.0, 0.0)}
    found = program.expansion(pre, laws, [[1.0]], activation="tanh", parameters={"depth": 3}, sites=2**15)
    shifts, variances = pre_recursion("tanh", 1.6, 0.1, 3, memory=True)
    without = pre_recursion("tanh", 1.6, 0.1, 3, memory=False)[0]
    for layer in range(4):
        name = ("h", layer)
        error = float(found.error(name, "mean")[0, 0])
        assert error < 3e-3
        assert abs(found.mean(name)[0, 0] - shifts[layer]) < 5 * error + 1e-9
        assert abs(found.variance(name)[0, 0] - variances[layer]) < 5 * found.error(name, "variance")[0, 0] + 1e-9
    assert abs(shifts[3] - without[3]) > 10 * float(found.error(("h", 3), "mean")[0, 0])


# ------------------------------------------------------------ recurrent


def tied(w: Any, x: Any, p: Any) -> Any:
    h = x
    for step in range(1, p.steps + 1):
        h = w.phi(w.ask("W" if p.tied else ("W", step), h))
        w.see("h", step, h)
    return w.ask("readout", h)


def test_recurrent_linear_is_exact() -> None:
    """sigma_w2 = 1: E |W^t x|^2 has no term of order 1/M, tied or not; its variance is that of a product."""
    laws = {"W": (1.0, 0.0), "readout": (1.0, 0.0)}
    p = {"steps": 3, "tied": True}
    found = program.expansion(tied, laws, [[1.0]], activation="linear", parameters=p, sites=2**14)
    for step in (1, 2, 3):
        name = ("h", step)
        assert abs(found.mean(name)[0, 0]) < 5 * found.error(name, "mean")[0, 0] + 1e-9
        error = found.error(name, "variance")[0, 0]
        assert error < 0.1
        assert abs(found.variance(name)[0, 0] - 2.0 * step) < 5 * error + 1e-9


def test_recurrent_memory_changes_the_sign() -> None:
    """tanh, sigma_w2 = 2, sigma_b2 = 0.3, five steps: +0.023 with one matrix, -0.045 with new ones (error 1e-3)."""
    laws = {"W": (2.0, 0.3), "readout": (1.0, 0.0)}
    for shared, shift, variance in ((True, 0.023, 0.138), (False, -0.045, 0.115)):
        found = program.expansion(tied, laws, [[1.0]], activation="tanh", parameters={"steps": 5, "tied": shared},
                                  sites=2**18)  # fmt: skip
        assert abs(found.mean("h5")[0, 0] - shift) < 2e-3 + 4 * found.error("h5", "mean")[0, 0]
        assert abs(found.variance("h5")[0, 0] - variance) < 2e-3 + 4 * found.error("h5", "variance")[0, 0]
        assert found.error("h5", "mean")[0, 0] < 0.007  # a tenth of what the memory makes


# ------------------------------------------------------------ convolution


def test_convolution_linear_is_exact() -> None:
    """E K_ab K_cd = X_abcd + (X_acbd + X_adbc)/M layer by layer, and E K has no correction."""
    offsets, taps, sites = (-1, 0, 1), (0.2, 0.5, 0.3), 3

    def network(w: Any, x: Any) -> Any:
        h = x
        for layer in (1, 2):
            h = w.ask(("W", layer), w.patches(h, "position", offsets, taps))
            w.see("h", layer, h)
        return w.ask("readout", w.mean(h, "position"))

    a = np.random.default_rng(2).normal(size=(sites, 5))
    gram, sw2 = a @ a.T / 5, 1.3
    found = program.expansion(network, {"W": (sw2, 0.0), "readout": (1.0, 0.0)}, gram, activation="linear",
                              axes={"position": sites}, sites=2**14)  # fmt: skip
    k, c = gram, np.zeros((sites,) * 4)
    for _ in range(2):
        k_next, c_next = np.zeros_like(k), np.zeros_like(c)
        for v, o in zip(taps, offsets, strict=True):
            k_next += sw2 * v * np.roll(k, (-o, -o), (0, 1))
            for v2, o2 in zip(taps, offsets, strict=True):
                c_next += sw2**2 * v * v2 * np.roll(c, (-o, -o, -o2, -o2), (0, 1, 2, 3))
        k = k_next
        c = c_next + np.einsum("ac,bd->abcd", k, k) + np.einsum("ad,bc->abcd", k, k)
    np.testing.assert_allclose(found.limit("h2"), k, rtol=1e-12)
    variance = np.einsum("abab->ab", c)
    assert np.all(np.abs(found.mean("h2")) < 5 * found.error("h2", "mean") + 1e-9)
    assert np.all(np.abs(found.variance("h2") - variance) < 5 * found.error("h2", "variance") + 1e-9)
    assert found.error("h2").max() < 0.05 * variance.max()


def test_one_position_is_a_dense_network() -> None:
    def network(w: Any, x: Any) -> Any:
        h = w.phi(w.ask("W1", w.patches(x, "position", [0], [1.0])))
        h = w.phi(w.ask("W2", w.patches(h, "position", [0], [1.0])))
        return w.ask("readout", w.mean(h, "position"))

    laws = {"W": (1.5, 0.1), "readout": (1.5, 0.1)}
    found = program.expansion(network, laws, GRAM, activation="gelu", axes={"position": 1})
    known = finite_width.coefficients(GRAM, "gelu", "gaussian", 1.5, 0.1, 2, "ntk", True)
    close(found.ntk_mean, known.ntk_mean, known.ntk_limit)
    close(found.ntk_variance, known.ntk_variance, 1.0)


# ------------------------------------------------------------ refusals


def test_refusals() -> None:
    laws = {"W": (1.5, 0.1), "readout": (1.5, 0.1)}

    def wide(w: Any, x: Any) -> Any:
        return w.ask("readout", w.phi(w.ask("W", x, 17)))

    def normed(w: Any, x: Any) -> Any:
        return w.ask("readout", w.batch_norm(w.ask("W", x)))

    with pytest.raises(ProgramError, match="does not have the width"):
        program.expansion(wide, laws, GRAM, activation="tanh").mean("ntk")
    with pytest.raises(ProgramError, match="fewer than 6 inputs"):
        program.expansion(normed, laws, GRAM, activation="tanh").mean("ntk")
    with pytest.raises(ProgramError, match='weights "uniform"'):
        program.expansion(dense, laws, GRAM, activation="tanh", weights="uniform", parameters={"depth": 1}).mean("h1")
    found = program.expansion(tied, {**laws, "W": (1.5, 0.1)}, [[1.0]], activation="tanh", weights="orthogonal",
                              parameters={"steps": 2, "tied": True}, sites=2**10)  # fmt: skip
    with pytest.raises(ProgramError, match="asked more than once"):
        found.mean("h2")


def test_vectors_that_have_no_products_yet() -> None:
    """Backward terms where a skip meets biases: finite, whatever was measured before."""
    found = architectures.lookup("residual")
    common = {"width": 100, "depth": 2, "outputs": 1, "activation": activations.get("tanh"), "sigma_w2": 1.5}
    p = found.parameters({**common, "sigma_b2": 0.05, "weights": "gaussian", "readout": "gaussian"}, {})
    made = program.expansion(
        found.network, found.laws(p), [[1.0]], activation="tanh", parameters=p.mapping, sites=2**10
    )
    assert np.isfinite([made.backward.mean(("u", 1)).item(), made.ntk_mean.item(), made.ntk_variance.item()]).all()
