"""Inputs of very different lengths: the length of every input and every correlation is right in every network."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from network_points import PlainNetwork, measured, point

from mcnet.backend import get_backend
from mcnet.errors import McnetError
from mcnet.kernels.basis import DIFFERENCES
from mcnet.networks import inputs
from mcnet.observables import drawing
from mcnet.observables.drawing import Drawing, ways
from mcnet.point import Inputs, Point
from mcnet.request import Request

A, B = np.random.default_rng(0).normal(size=(2, 6))
SIGNAL: dict[str, dict[str, Any]] = {"q": {}, "c": {"q_ab": True}}
LONG = [1.0, 2.0, 30.0, 1e3, 1e4, 1e6, 1e8]
RESIDUAL = {"architecture": "residual", "parameters": (("block", "post"), ("branch", 1.0), ("skip", 1.0))}
LAWS = [
    *((sampler, weights) for sampler in ("conditioned", "explicit") for weights in ("gaussian", "orthogonal")),
    ("explicit", "uniform"),
]


def place(rows: list[Any], **changes: Any) -> Point:
    """A relu network without bias on given inputs: lengths differ as much in the last layer as in the first."""
    settings = {"activation": "relu", "sigma_b2": 0.0, "depth": 2, "width": 7, **changes}
    values = tuple(tuple(map(float, row)) for row in rows)
    return replace(point(**settings), inputs=Inputs("values", len(rows), len(rows[0]), values=values))


def cosine(x: Any, y: Any) -> float:
    size = math.sqrt(x @ x) * math.sqrt(y @ y)
    return x @ y / size if size else math.nan


def orders(s: float) -> list[list[Any]]:
    return [[s * A, B], [B, s * A], [s * A, A, B]]


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal", "uniform"])
@pytest.mark.parametrize("width", [7, 20])
def test_built_networks_are_those_of_plain_products(weights: str, width: int) -> None:
    for s in LONG:
        for rows in orders(s):
            where = place(rows, weights=weights, width=width)
            found = measured(where, "explicit", SIGNAL, 0, 20, precision="mixed")
            for network in range(20):
                u, h, _ = PlainNetwork(where, network, 11).activity()
                exact = np.array([np.vecdot(one, one) / one.shape[1] for one in u]).T
                np.testing.assert_allclose(found["q"][network][:, 1:], exact, rtol=1e-5)
                exact = np.array([np.vecdot(one, one) / one.shape[1] for one in h]).T
                np.testing.assert_allclose(found["q_hat"][network], exact, rtol=1e-5)
                for pair, (a, b) in enumerate(itertools.combinations(range(len(rows)), 2)):
                    exact = np.array([cosine(one[a], one[b]) for one in u])
                    np.testing.assert_allclose(found["c"][network, pair, 1:], exact, atol=1e-5)


def check_means(sampler: str, weights: str, s: float, **changes: Any) -> None:
    """Mean lengths of the short input against their exact values at any width: halved by relu, times sigma_w2."""
    where = place([s * A, B], weights=weights, **changes)
    found = measured(where, sampler, {"q": {}}, 0, 2000, precision="mixed")["q"][:, 1, 1:]
    exact = B @ B / 6 * 1.7 * 0.85 ** np.arange(where.depth)
    assert found.min() >= 0.0, "a length of the short input is negative"
    spread = np.maximum(found.std(axis=0, ddof=1), 1e-5 * exact)  # Haar: the first length has no spread
    z = (found.mean(axis=0) - exact) / spread * np.sqrt(len(found))
    assert np.abs(z).max() < 5.0, f"mean length of the short input: {z} sigma at s = {s:g}"


@pytest.mark.parametrize(("sampler", "weights"), LAWS)
def test_mean_lengths_are_exact(sampler: str, weights: str) -> None:
    for s in LONG:
        for width in (7, 20):
            check_means(sampler, weights, s, width=width)


@pytest.mark.parametrize("s", [1e5, 1e6])
def test_the_check_of_means_rejects_differences_to_a_long_input(s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was: always float32 in the difference basis. The mean is off by orders of magnitude."""
    monkeypatch.setattr(drawing, "ways", lambda *_: (drawing._SINGLE[True],))
    monkeypatch.setattr(Drawing, "_lost", lambda self, sample, way: sample.own)
    with pytest.raises(AssertionError, match="short input"):
        check_means("conditioned", "gaussian", s, width=20)


@pytest.mark.parametrize(("sampler", "weights"), LAWS)
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_each_network_is_right_to_1e_5(
    sampler: str, weights: str, activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the same networks in float64 with every input in a row of its own; errors and kernel too."""
    measures = {**SIGNAL, **({"q_tilde": {}, "ntk": {}} if activation == "relu" else {})}
    for width, s in ((3, 1.0), (7, 1.0), (20, 1.0), (20, 6.0), (20, 1e3), (20, 1e4), (20, 1e6), (20, 1e8)):
        where = place([s * A, B], weights=weights, activation=activation, width=width, outputs=1)
        found = measured(where, sampler, measures, 0, 400, precision="mixed")
        with monkeypatch.context() as patch:
            patch.setattr(drawing, "ways", lambda *_: (drawing._SAFE,))
            exact = measured(where, sampler, measures, 0, 400)
        for name in ("q", "q_hat"):
            np.testing.assert_allclose(found[name], exact[name], rtol=1e-5, err_msg=f"{name}, width {width}, s = {s}")
        np.testing.assert_allclose(found["c"], exact["c"], atol=1e-5)
        assert np.nanmax(np.abs(found["c"])) <= 1.0
        for name in {"q_tilde", "ntk"} & set(found) if s > 6.0 else ():
            np.testing.assert_allclose(found[name], exact[name], rtol=1e-4, err_msg=f"{name}, width {width}, s = {s}")


def test_products_of_a_large_kernel_in_either_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel as an operator, where nothing of it but extremes is asked."""
    measures = {"fim": {"trace2": False, "eigenvalue": False}}
    where = place(list(np.random.default_rng(2).normal(size=(130, 6))), width=20, outputs=4)
    found = measured(where, "explicit", measures, 0, 2)
    monkeypatch.setattr(drawing, "ways", lambda *_: (drawing._SAFE,))
    for name, values in measured(where, "explicit", measures, 0, 2).items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)


def test_comparable_lengths_are_drawn_as_ever() -> None:
    """Nothing is drawn again, and what is drawn is the first way's, to the bit."""
    where = place([A, 1.5 * B], width=64, sigma_b2=0.1)
    request = Request(SIGNAL, 11, "conditioned", "mixed")
    pieces = list(Drawing(where, request, "conditioned", get_backend("cpu")).pieces(0, 100))
    assert [(first, last) for first, last, _ in pieces] == [(0, 100)]
    way = ways(where, request, True, "conditioned")[0]
    assert (way.fused, way.precision, way.basis) == (True, "mixed", DIFFERENCES)
    first = Drawing(where, request, "conditioned", get_backend("cpu"))._sample(0, 100, way)
    assert np.array_equal(pieces[0][2].u_gram, first.u_gram)
    assert not pieces[0][2].own.any()


def test_networks_do_not_depend_on_who_is_drawn_with_them() -> None:
    """Some of a batch are drawn again, by either kind of sampler."""
    for sampler, s in (("conditioned", 1.0), ("explicit", 6.0)):
        where = place([s * A, B], width=16, depth=4)
        whole = measured(where, sampler, SIGNAL, 0, 600, precision="mixed")
        parts = [measured(where, sampler, SIGNAL, at, at + 50, precision="mixed") for at in range(0, 600, 50)]
        for name, values in whole.items():
            joined = np.concatenate([part[name] for part in parts])
            assert np.array_equal(joined, values, equal_nan=True), (sampler, name)
        request = Request(SIGNAL, 11, sampler, "mixed")
        drawn = Drawing(where, request, sampler, get_backend("cpu"))
        lost = drawn._lost(drawn._sample(0, 600, drawn._ways[0]), drawn._ways[0])
        assert 0 < lost.sum() < 300, sampler


def test_the_gram_matrix_of_the_inputs_keeps_the_short_one() -> None:
    where = place([1e8 * A, B])
    gram = inputs.gram_of_inputs(where, 11, 0, 1, get_backend("cpu"))[0]
    np.testing.assert_allclose(gram[1, 1], B @ B / 6, rtol=1e-14)


def test_programs_are_drawn_in_float64_or_refused() -> None:
    """Other architectures have the difference basis alone: what a double cannot tell there is refused."""
    a, b = np.random.default_rng(1).normal(size=(2, 20))
    for s in (6.0, 1e3):
        where = place([s * a, b], width=20, **RESIDUAL)
        found, exact = (measured(where, "explicit", {"q": {}}, 0, 20, precision=p) for p in ("mixed", "float64"))
        np.testing.assert_allclose(found["q"], exact["q"], rtol=1e-5)
    with pytest.raises(McnetError, match="network 0 of width 20, depth 2: the length of an input falls below"):
        measured(place([1e8 * a, b], width=20, **RESIDUAL), "explicit", {"q": {}}, 0, 20, precision="mixed")
    shortest_first = place([b, 1e8 * a], width=20, **RESIDUAL)
    assert measured(shortest_first, "explicit", {"q": {}}, 0, 20, precision="mixed")["q"][:, 0, 1:].max() < 100.0
