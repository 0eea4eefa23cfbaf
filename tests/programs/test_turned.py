"""Attention without weights: keys and values in their own frame, asked against built, and who is given such a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import program_zoo as zoo
import pytest
from same_law import assert_same_law
from strict_backend import STRICT, fetch

from mcnet import architectures
from mcnet.programs import counted, sampled, shapes
from mcnet.programs.counted import Count
from mcnet.programs.questions import Parameterization
from mcnet.programs.tape import Operations, Step
from mcnet.weights import bartlett

NTK = Parameterization("ntk", True)

WIDE = zoo.shipped("transformer", tokens=2, heads=2, head_size=5, depth=2)
"""Four rows and five units: what is left out makes a difference."""
WIDTH, NETWORKS = 12, 4000


def columns(sampler: str, seed: int, networks: int = NETWORKS) -> Any:
    """Weights of the first two heads and products of rows of both blocks, one row a network."""
    seen: list[Any] = []
    options = {"attend": lambda weights: seen.append(np.array(weights))}
    where = {"seed": seed, "precision": "mixed", "backward": False, "width": WIDTH, "options": options}
    trace = zoo.run(WIDE, sampler, networks, **where)
    weights = np.concatenate([part[..., 0].reshape(networks, -1) for part in seen[:2]], axis=1)
    grams = [trace.gram(("h", layer)).reshape(networks, -1)[:, :6] for layer in (1, 2)]
    together = np.stack([weights[:, 0] * grams[0][:, 0], weights[:, 0] * weights[:, 4], weights[:, 0] * weights[:, 2]])
    return np.concatenate([weights, *grams, together.T], axis=1)


@pytest.fixture(scope="module")
def built() -> Any:
    return columns("explicit", 6)


def test_asked_attention_has_the_law_of_built_attention(built: Any) -> None:
    """Means, squares and whole distributions. A degree less moves values by a fifth, scores by a tenth."""
    assert_same_law(columns("conditioned", 5), built, "attention without weights")


def _a_degree_less(monkeypatch: pytest.MonkeyPatch) -> None:
    chi = bartlett.chi
    monkeypatch.setattr(
        bartlett, "chi", lambda ensemble, layer, degrees: chi(ensemble, layer, np.maximum(degrees - 1, 2))
    )


def _queries_in_a_frame_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = shapes.turned

    def more(*given: Any) -> Any:
        found = dict(turned(*given))
        return {**found, **{("query", *key[1:]): units for key, units in found.items() if key[0] == "key"}}

    monkeypatch.setattr(counted, "turned", more)


def _heads_share_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of the mixed values of different heads, which have none."""
    concat = Operations.concat

    def added(self: Operations, vectors: Any) -> Step:
        step = concat(self, vectors)
        half = step.value.shape[3] // 2
        both = step.value[..., :half] + step.value[..., half:]
        return step._replace(value=np.concatenate([both, 0.0 * both], axis=3))

    monkeypatch.setattr(Operations, "concat", added)


@pytest.mark.parametrize("mutant", [_a_degree_less, _queries_in_a_frame_of_their_own, _heads_share_a_frame])
def test_the_law_check_rejects(mutant: Any, built: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError, match="mutant"):
        assert_same_law(columns("conditioned", 5), built, "mutant")


def test_gradients_and_kernel_have_the_law_of_built_ones() -> None:
    """Head frames are turned, no less: cotangents, kernel and a product with it, in float32."""

    def backward(sampler: str, seed: int) -> Any:
        trace = zoo.run(WIDE, sampler, 1500, seed=seed, precision="mixed", width=24)
        back = trace.backward(NTK)
        product = trace.kernel_product(np.ones((1, *trace.outputs.shape[1:])), NTK)
        parts = [back.lengths["u", 1][:, :, 0], back.kernel[:, 0, :], product * trace.outputs]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    assert_same_law(backward("conditioned", 5), backward("explicit", 6), "backward")


@pytest.mark.parametrize("precision", ["mixed", "float64"])
def test_the_networks_do_not_depend_on_what_is_asked_of_them(precision: str) -> None:
    """Forward alone with few units, or with all of them for a backward pass: the same; and in a batch of its own."""
    both = [zoo.run(WIDE, "conditioned", 3, precision=precision, backward=each) for each in (False, True)]
    for key in [*both[0].seen, None]:
        ours, theirs = (trace.outputs if key is None else trace.gram(key) for trace in both)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4 if precision == "mixed" else 1e-9, atol=1e-5)
    one = zoo.run(WIDE, "conditioned", 1, precision=precision, backward=False, start=2)
    assert np.array_equal(one.outputs[0], both[0].outputs[2])
    strict = zoo.run(WIDE, "conditioned", 3, precision=precision, backward=False, backend=STRICT)
    np.testing.assert_allclose(fetch(strict.outputs), both[0].outputs, atol=2e-3 if precision == "mixed" else 1e-9)


def count_of(case: zoo.Case, **changes: Any) -> Count:
    p = zoo.parameters(case, width=WIDTH, **changes)
    network = case.network if case.given is None else architectures.lookup(case.network).network
    return counted.count(network, p, zoo.laws(p), {"input": case.inputs, **case.axes}, WIDTH)


def of_heads(program: Any, outputs: int | None = 1) -> Count:
    """A program of one head of 9 units on three tokens of one input; ``program(w, q, k, v)`` gives what is asked."""

    def network(w: Any, x: Any, p: Any) -> Any:
        h = w.ask("embedding", x)
        q, k, v = (w.ask(name, h, 9) for name in ("query", "key", "value"))
        return w.ask("readout", w.mean(program(w, q, k, v), "token"))

    return count_of(zoo.Case(network, {"token": 3}, outputs, 1))


def _shared(w: Any, q: Any, k: Any, v: Any) -> Any:
    return w.ask("output", w.attention(q, k, k, scale=1.0))


def _seen(w: Any, q: Any, k: Any, v: Any) -> Any:
    w.see("u", 1, k)
    return w.ask("output", w.attention(q, k, v, scale=1.0))


def _asked_twice(w: Any, q: Any, k: Any, v: Any) -> Any:
    h = w.ask("output", w.attention(q, k, v, scale=1.0))
    return w.ask("output", w.attention(w.ask("query2", h, 9), w.ask("key", h, 9), w.ask("value2", h, 9), scale=1.0))


def _not_asked(w: Any, q: Any, k: Any, v: Any) -> Any:
    return w.phi(w.attention(q, k, v, scale=1.0))


def _plain(w: Any, q: Any, k: Any, v: Any) -> Any:
    return w.ask("output", w.attention(q, k, v, scale=1.0))


def _side_by_side(w: Any, q: Any, k: Any, v: Any) -> Any:
    return w.ask("output", w.concat([w.attention(q, k, v, scale=1.0), w.ask("other", v * 0.0 + 1.0, 9)]))


@pytest.mark.parametrize(
    ("program", "turned"),
    [
        (_plain, {"key", "value"}),
        (_shared, set()),
        (_seen, {"value"}),
        (_asked_twice, set()),
        (_not_asked, {"key"}),
        (_side_by_side, {"key"}),
    ],
)
def test_a_frame_is_given_where_products_alone_are_looked_at(program: Any, turned: set[str]) -> None:
    assert {key[0] for key in of_heads(program).turned} == turned


def test_narrow_heads_and_other_laws_are_asked_as_before() -> None:
    assert set(count_of(WIDE).turned.values()) == {5}
    narrow = zoo.shipped("transformer", tokens=2, heads=2, head_size=4, depth=2)
    orthogonal = zoo.shipped("transformer", tokens=2, heads=2, head_size=5, depth=2, weights="orthogonal")
    assert not count_of(narrow).turned
    assert not count_of(orthogonal).turned


def test_what_a_forward_pass_keeps_does_not_grow_with_the_head() -> None:
    """Numbers of vectors, memory, and the normals that are drawn."""
    small, large = (count_of(zoo.shipped("transformer", tokens=2, heads=2, head_size=n)) for n in (40, 4000))
    for ours, theirs in zip(small.vectors, large.vectors, strict=True):
        assert ours.kept == theirs.kept
    assert small.bytes_per_network("conditioned", 4, False) == large.bytes_per_network("conditioned", 4, False)
    assert small.bytes_per_network("conditioned", 4, True) < large.bytes_per_network("conditioned", 4, True)
    trace = zoo.run(zoo.shipped("transformer", tokens=2, head_size=4000), "conditioned", 1, backward=False)
    assert isinstance(trace, sampled.Trace)
    assert np.isfinite(trace.outputs).all()
