"""Uniform attention: explicit transformer blocks with scores q.k/n, and the collapse of almost equal tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
from extrapolation import limit_of

from mcnet import activations
from mcnet.theory import attention

W2, B2, ATTENTION, FEEDFORWARD = 1.4, 0.2, 0.8, 0.7
TOKENS = np.array([[1.0, 0.3, -0.2], [0.3, 0.8, 0.1], [-0.2, 0.1, 1.2]])


def blocks(normalization: str, width: int, count: int) -> np.ndarray:
    """Mean and distances after two blocks of erf networks with two heads, per network."""
    rng, phi = np.random.default_rng(9), activations.get("erf")

    def ask(h: np.ndarray, units: int, bias: float = 0.0) -> np.ndarray:
        w = math.sqrt(W2 / h.shape[1]) * rng.standard_normal((count, units, h.shape[1]))
        return w @ h + math.sqrt(bias) * rng.standard_normal((count, units, 1))

    def normed(h: np.ndarray, where: str) -> np.ndarray:
        if where != normalization:
            return h
        return np.asarray((h - h.mean(1, keepdims=True)) / h.std(1, keepdims=True))

    frame = np.linalg.qr(rng.standard_normal((count, width, 3)))[0]
    h = math.sqrt(width) * frame @ np.linalg.cholesky(TOKENS).T  # (N, M, S)
    size = width // 2
    for _ in range(2):
        seen, heads = normed(h, "pre-layer"), []
        for _ in range(2):
            query, key, value = (ask(seen, size) for _ in range(3))
            scores = query.transpose(0, 2, 1) @ key / size
            p = np.exp(scores - scores.max(2, keepdims=True))
            p /= p.sum(2, keepdims=True)
            heads.append(value @ p.transpose(0, 2, 1))
        h = normed(h + ATTENTION * ask(np.concatenate(heads, axis=1), width), "post-layer")
        u = ask(normed(h, "pre-layer"), width, B2)
        h = normed(h + FEEDFORWARD * ask(phi.phi(u), width, B2), "post-layer")
    return parts(h.transpose(0, 2, 1) @ h / width)


def parts(gram: np.ndarray) -> np.ndarray:
    """The mean of a Gram matrix, which fluctuates most, and squared distances of the tokens."""
    one = np.einsum("...ii->...i", gram)
    apart = [one[..., a] + one[..., b] - 2 * gram[..., a, b] for a, b in ((0, 1), (0, 2), (1, 2))]
    return np.stack([gram.mean((-2, -1)), *apart], axis=-1)


@pytest.mark.parametrize("normalization", ["none", "pre-layer", "post-layer"])
def test_explicit_blocks(normalization: str) -> None:
    """Widths 32 to 128, extrapolated; 3 % more (10 % of what fluctuates most) is refused, and no attention branch."""
    widths = [32, 64, 128]
    found, error = limit_of([blocks(normalization, m, 32_000 // m) for m in widths], widths)
    start = TOKENS[None, :, None, :]

    def expected(strength: float) -> np.ndarray:
        law = attention.grams("erf", W2, B2, start, 2, strength, FEEDFORWARD, normalization)
        return parts(law[2, 0, :, 0])

    assert np.abs((found - expected(ATTENTION)) / error).max() < 4.0
    more = [1.03, *(1.1,) * 3] if normalization == "post-layer" else [1.08, *(1.03,) * 3]
    assert np.abs((found - np.array(more) * expected(ATTENTION)) / error).min() > 4.5
    assert np.abs((found - expected(0.0)) / error).max() > 20.0


def test_several_inputs_attend_to_themselves() -> None:
    """Each input alone has the block of the joint Gram; overlaps of two inputs average over the tokens of both."""
    joint = np.random.default_rng(0).standard_normal((6, 9))
    gram = (joint @ joint.T / 9).reshape(2, 3, 2, 3)
    law = attention.grams("tanh", W2, B2, gram, 3, ATTENTION, FEEDFORWARD, "post-layer")
    alone = attention.grams("tanh", W2, B2, gram[:1, :, :1], 3, ATTENTION, FEEDFORWARD, "post-layer")
    np.testing.assert_allclose(law[:, :1, :, :1], alone, rtol=1e-12)
    one = attention.grams("tanh", W2, 0.0, gram, 1, ATTENTION, 0.0, "none")[1]
    moved = one - gram
    np.testing.assert_allclose(moved[0, 0, 1, 2], (ATTENTION * W2) ** 2 * gram[0, :, 1].mean(), rtol=1e-12)


def test_collapse_of_almost_equal_tokens() -> None:
    for sigma_w2, strength in ((1.4, 0.8), (6.0, 0.1)):
        close = np.full((3, 3), 1.0 - 1e-6)
        np.fill_diagonal(close, 1.0)
        law = attention.grams("erf", sigma_w2, B2, close[None, :, None, :], 1, strength, 0.9, "post-layer")
        seen = (1.0 - law[1, 0, 0, 0, 1]) / 1e-6
        factor = attention.collapse_factor("erf", sigma_w2, B2, strength, 0.9)
        np.testing.assert_allclose(seen, factor, rtol=1e-4)
        assert abs(seen / (1.02 * factor) - 1.0) > 0.01
    assert attention.collapse_factor("erf", 1.4, B2, 0.8, 0.9) < 1.0 < factor


def test_what_is_refused() -> None:
    start = TOKENS[None, :, None, :]
    with pytest.raises(ValueError, match="must be one of none, pre-layer, post-layer"):
        attention.grams("erf", W2, B2, start, 1, 1.0, 1.0, "layer")
    with pytest.raises(ValueError, match=r"\(T, S, T, S\)"):
        attention.grams("erf", W2, B2, TOKENS, 1, 1.0, 1.0, "none")
    with pytest.raises(ValueError, match="zero length"):
        attention.grams("erf", W2, B2, 0.0 * start, 1, 1.0, 1.0, "pre-layer")
