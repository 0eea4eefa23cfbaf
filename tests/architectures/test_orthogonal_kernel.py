"""The orthogonal kernel of all taps: an isometry, its law from projections, its energies, its limit, its mixing."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import program_zoo as zoo
import pytest
from extrapolation import limit_of
from same_law import assert_same_law

import mcnet
from mcnet import activations, architectures
from mcnet.programs.questions import Parameterization
from mcnet.theory import convolution
from mcnet.theory.program import limit

NAME = "convolution"
LINE = np.array([0.25, 0.5, 0.25])
Array = np.ndarray[Any, Any]


def linear(width: int = 4, **given: Any) -> zoo.Case:
    """One layer u = W h without biases, sigma_w2 = 1, one input."""
    law = {"activation": activations.get("linear"), "depth": 1, "sigma_w2": 1.0, "sigma_b2": 0.0, "width": width}
    return zoo.shipped(NAME, weights="orthogonal", outputs=None, inputs=1, **{**law, **given})


def matrices(case: zoo.Case, networks: int, precision: str = "float64") -> Array:
    """The matrix of the layer, (N, P M, P M)."""
    return np.asarray(zoo.run(case, "explicit", networks, precision=precision).jacobian(("u", 1)).entries())


def window(case: zoo.Case, networks: int) -> Array:
    """W(beta), (N, k, M, M), on a ring."""
    p = zoo.parameters(case)
    (size,), half = p.positions, p.kernel // 2
    whole = matrices(case, networks).reshape(networks, size, p.width, size, p.width)
    return np.stack([whole[:, half, :, half + tap, :] for tap in range(-half, half + 1)], axis=1)  # W(q - p) at p, q


@pytest.mark.parametrize(("positions", "kernel"), [(1, 1), (4, 3), (6, 5), ([3, 4], 3)])
def test_the_matrix_is_orthogonal(positions: Any, kernel: int) -> None:
    for precision, accuracy in (("float64", 1e-13), ("mixed", 1e-5)):
        one = matrices(linear(positions=positions, kernel=kernel, sigma_w2=1.7), 3, precision)
        square = one @ one.swapaxes(1, 2)
        np.testing.assert_allclose(square, np.broadcast_to(1.7 * np.eye(one.shape[1]), square.shape), atol=accuracy)


@pytest.mark.parametrize("positions", [4, [3, 3]])
def test_asked_matrices_are_orthogonal_from_both_sides(positions: Any) -> None:
    """J and J^T of one network, more questions than units."""
    case = linear(positions=positions)
    jacobian = zoo.run(case, "conditioned", 2).jacobian(("u", 1))
    eye = np.broadcast_to(np.eye(jacobian.shape[1]), (2, *jacobian.shape))
    one, other = np.asarray(jacobian.product(eye)), np.asarray(jacobian.transposed(eye))
    np.testing.assert_allclose(one @ one.swapaxes(1, 2), eye, atol=1e-13)
    np.testing.assert_allclose(other, one.swapaxes(1, 2), atol=1e-13)


def test_taps_reach_as_far_as_the_window() -> None:
    """On a larger grid nothing is outside; the middle of the window is where the answer is."""
    one = matrices(linear(positions=[5, 7]), 1)[0].reshape(5, 7, 4, 5, 7, 4)
    there = (one**2).sum((2, 5))[0, 0] > 1e-20
    inside = np.zeros((5, 7), bool)
    inside[np.ix_([-1, 0, 1], [-1, 0, 1])] = True
    assert (there == inside).all()


def scores(case: zoo.Case, energies: Array, networks: int) -> Array:
    """Of the mean energies of the taps, (1/M) tr W(beta) W(beta)^T."""
    p = zoo.parameters(case)
    one = matrices(case, networks).reshape(networks, math.prod(p.positions), p.width, -1, p.width)
    found = (one[:, 0] ** 2).sum((1, 3)) / p.width  # (N, P), at offset q - 0
    places = list(product(range(-1, 2), repeat=len(p.positions)))
    index = [np.ravel_multi_index([i % n for i, n in zip(at, p.positions, strict=True)], p.positions) for at in places]
    values = found[:, index]
    return np.asarray((values.mean(0) - energies.ravel()) * math.sqrt(networks) / values.std(0))


@pytest.mark.parametrize(("positions", "energies"), [(4, LINE), ([3, 3], np.outer(LINE, LINE))])
def test_energies_are_binomial(positions: Any, energies: Array) -> None:
    """1500 networks of width 4. Refused: uniform ones, and those of projections on a third of the units."""
    assert zoo.parameters(linear(positions=positions)).taps == pytest.approx(energies.ravel(), abs=1e-15)
    found = scores(linear(positions=positions), energies, 1500)
    assert np.abs(found).max() < 4.5
    for mutant in (np.full(3, 1.0 / 3.0), np.array([2.0, 5.0, 2.0]) / 9.0):
        wrong = mutant if energies.ndim == 1 else np.outer(mutant, mutant)
        assert np.abs(scores(linear(positions=positions), wrong, 1500)).max() > 4.5


def haar(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    q, r = np.linalg.qr(rng.normal(size=(*shape, shape[-1])))
    return np.asarray(q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :])


def projected(networks: int, width: int, kernel: int, rank: int) -> Array:
    """O prod_j [P_j + (1 - P_j) z], coefficients of z^0, ..., z^(k-1)."""
    rng = np.random.default_rng(7)
    found = haar(rng, (networks, width))[:, None]
    for _ in range(kernel - 1):
        basis = haar(rng, (networks, width))[..., :rank]
        p = (basis @ basis.swapaxes(1, 2))[:, None]
        stays, moves = found @ p, found @ (np.eye(width) - p)
        nothing = np.zeros_like(found[:, :1])
        found = np.concatenate([stays, nothing], axis=1) + np.concatenate([nothing, moves], axis=1)
    return found


def statistics(kernel: Array) -> Array:
    """Entries, energies, and second moments between taps."""
    corner = kernel[:, :, 0, :2].reshape(len(kernel), -1)
    energies = (kernel**2).mean((2, 3))
    traces = np.trace(kernel, axis1=2, axis2=3)
    products = np.einsum("naij,nbij->nab", kernel**2, kernel**2)[:, 0]
    return np.concatenate([corner, energies, traces, products, corner[:, :2] * corner[:, 2:4]], axis=1)


@pytest.mark.parametrize("kernel", [3, 5])
def test_the_law_is_that_of_random_projections(kernel: int) -> None:
    """3000 networks of width 4, projections on 2 units. Refused: projections on 1."""
    found = statistics(window(linear(positions=kernel, kernel=kernel), 3000))
    assert_same_law(found, statistics(projected(3000, 4, kernel, 2)), "kernels")
    with pytest.raises(AssertionError, match=r"differs by|Kolmogorov"):
        assert_same_law(found, statistics(projected(3000, 4, kernel, 1)), "kernels")


# ------------------------------------------------------------ infinite width


def interpreted(case: zoo.Case, gram: Array, **changes: Any) -> Any:
    p, found = zoo.parameters(case, width=2**20, **changes), architectures.lookup(NAME)
    how = {"activation": p.activation, "weights": p.weights, "axes": case.axes, "parameters": p.mapping}
    return limit(found.network, found.laws(p), gram, **how)


def some_gram(rows: int) -> Array:
    x = np.random.default_rng(1).normal(size=(rows, 30))
    return np.asarray(x @ x.T / 30)


@pytest.mark.parametrize("positions", [4, [3, 3]])
def test_the_limit_mixes_as_the_energies_of_the_taps(positions: Any) -> None:
    """Lengths, overlaps and gradients are those of the recursion for these taps. Refused: uniform taps."""
    relu = activations.get("relu")
    case = zoo.shipped(NAME, positions=positions, weights="orthogonal", depth=2, activation=relu)
    grid = tuple(case.axes.values())
    gram = some_gram(2 * math.prod(grid))
    found = interpreted(case, gram)
    taps = LINE if len(grid) == 1 else np.outer(LINE, LINE)
    for v, right in ((taps, True), (np.full(taps.shape, 1.0 / taps.size), False)):
        known = convolution.covariances("relu", 1.3, 0.1, gram.reshape(2, *grid, 2, *grid), 2, v)[2]
        assert np.allclose(found.gram("h2"), known.reshape(gram.shape), rtol=0, atol=1e-13) == right
        plain = zoo.shipped(NAME, positions=positions, taps=list(v.ravel()), depth=2, activation=relu)
        gaussian = interpreted(plain, gram)
        for name in (("u", 1), ("h", 1), ("u", 2)):
            same = np.allclose(found.backward(name), gaussian.backward(name), rtol=0, atol=1e-15)
            assert same == right


def test_the_kernel_of_the_factors() -> None:
    """A factor adds the products of its questions with those of its cotangents, each mixed a tap further."""
    case = zoo.shipped(NAME, positions=3, weights="orthogonal", depth=1, inputs=1)
    gram, sigma_w2, sigma_b2 = some_gram(3), 1.3, 0.1
    found = interpreted(case, gram)
    moved = [0.5 * (np.roll(gram, -step, (0, 1)) + gram) for step in (1, -1)]
    second = 0.5 * (np.roll(moved[0], 1, (0, 1)) + moved[0])
    top = found.backward("u1")
    first = 0.5 * sigma_w2 * (np.roll(top, -1, (0, 1)) + top)  # back through the second shift
    theta = sigma_w2 * found.gram("h1").mean() + sigma_b2 + (top * (sigma_w2 * second + sigma_b2)).sum()
    theta += (first * moved[0]).sum()
    theta += (0.5 * (np.roll(first, 1, (0, 1)) + first) * gram).sum()
    np.testing.assert_allclose(found.ntk[0, 0], theta, rtol=1e-12)


def test_networks_tend_to_the_limit() -> None:
    """tanh, widths 24 and 96, four unequal positions: q, c, q_tilde, ntk. Refused: taps as uniform ones."""
    case = zoo.shipped(NAME, positions=4, weights="orthogonal", depth=2)
    start = np.array([1.5, 0.6, 0.6, 0.4, 1.0, 0.5, 0.9, 1.2])
    gram = np.outer(start, start) * (0.4 + 0.6 * np.eye(8))
    values = []
    for width, networks in ((24, 3000), (96, 1200)):
        x = np.linalg.cholesky(gram) @ np.eye(8, width) * math.sqrt(width)
        rows = x.reshape(1, 2, 4, width)
        rows[:, 1] -= rows[:, 0]
        trace = zoo.run(case, "conditioned", networks, precision="mixed", width=width, x=rows)
        back, u = trace.backward(Parameterization("ntk", True)), trace.gram("u2")
        parts = [u[:, 0, :4], u[:, 1, 1:3], back.lengths["u", 1][:, 0], back.kernel[:, :, 0]]
        values.append(np.concatenate([np.asarray(part).reshape(networks, -1) for part in parts], axis=1))
    mean, error = limit_of(values, (24, 96))
    for changes, right in (({}, True), ({"weights": "gaussian", "taps": [1 / 3] * 3}, False)):
        found = interpreted(zoo.shipped(NAME, **{"positions": 4, "weights": "orthogonal", "depth": 2, **changes}), gram)
        u, top = found.gram("u2"), np.diagonal(found.backward("u1"))[:4]
        known = np.concatenate([u[0, :4], u[1, 1:3], top, found.ntk[:, 0]])
        assert (np.abs((mean - known) / error).max() < 4.5) == right


def test_modes_of_linear_networks_decay_at_any_width() -> None:
    """E q_k^l = sigma_w2^l lambda_k^l q_k^0, width 4, depth 3, 4000 networks. Refused: modes of uniform taps."""
    values = [[[2.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0.3]]]
    content = {
        "mcnet": 1,
        "network": {
            "architecture": NAME, "positions": 4, "weights": "orthogonal", "activation": "linear", "width": 4,
            "depth": 3, "sigma_w2": 1.2, "sigma_b2": 0.0,
        },
        "inputs": {"kind": "values", "values": values},
        "sampling": {"networks": 4000, "seed": 4},
        "measure": {"fourier": {"modes": 2}},
    }  # fmt: skip
    group = mcnet.sample(content)["fourier"]
    start = np.square(np.diagonal(values[0])) / 4.0
    for taps, right in ((LINE, True), (np.full(3, 1.0 / 3.0), False)):
        worst = 0.0
        for k, factor in enumerate(convolution.tap_modes(taps, 4).real[:3]):
            q = group[f"q_mode_{k}"].values[0, :, 0, 1:]
            first = (start * np.cos(0.5 * np.pi * k * np.arange(4))).mean()
            known = first * (1.2 * factor) ** np.arange(1, 4)
            error = q.std(0) / math.sqrt(len(q))
            worst = max(worst, float(np.abs((q.mean(0) - known) / np.maximum(error, 1e-6)).max()))
        assert (worst < 4.5) == right
