"""Transformer blocks: attention between the tokens of an input, then a feed-forward branch.

    h <- h + attention sum_heads O softmax(scale Q K^T) V
    u^l = W^l h + b^l,   h <- h + feedforward (V^l phi(u^l) + c^l)

with h^0 = E x, heads of size n, and layer normalisation of what enters a branch (``pre-layer``), of the stream after
each branch (``post-layer``), or none. All matrices have the variance sigma_w2 but E, which has 1; biases are in the
feed-forward branch and the readout, which reads the mean over tokens. h^l is the stream after block l.
Vaswani et al. 2017; Noci et al. 2022, arXiv:2206.03126.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mcnet.architectures.keys import custom, number, whole
from mcnet.architectures.registry import add as add_architecture
from mcnet.coordinates import REQUIRED
from mcnet.programs.parameters import Parameters

_SCALES: dict[str, Callable[[int], float]] = {"1/sqrt": lambda n: 1.0 / math.sqrt(n), "1/n": lambda n: 1.0 / n}


def network(w: Any, x: Any, p: Any) -> Any:
    """The program."""
    kind, epsilon = p.get("normalization", "none"), p.get("epsilon") or 0.0

    def before(h: Any) -> Any:
        return w.layer_norm(h, epsilon) if kind == "pre-layer" else h

    def after(h: Any) -> Any:
        return w.layer_norm(h, epsilon) if kind == "post-layer" else h

    h = w.ask("embedding", x)
    w.see("h", 0, h)
    for layer in range(1, p.depth + 1):
        h = after(h + p.attention * _attended(w, before(h), layer, p))
        u = w.ask(("W", layer), before(h))
        h = after(h + p.feedforward * w.ask(("V", layer), w.phi(u)))
        w.see("u", layer, u)
        w.see("h", layer, h)
    return w.ask("readout", w.mean(before(h), "token"))


def _attended(w: Any, h: Any, layer: int, p: Any) -> Any:
    heads = []
    for head in range(1, p.heads + 1):
        query, key, value = (w.ask((name, layer, head), h, p.head_size) for name in ("query", "key", "value"))
        heads.append(w.attention(query, key, value, "token", scale=p.softmax_scale))
    return w.ask(("output", layer), w.concat(heads))


def laws(p: Parameters) -> Mapping[Any, tuple[float, float]]:
    """E has variance 1; attention has no biases."""
    return {"embedding": (1.0, 0.0), **dict.fromkeys(("query", "key", "value", "output"), (p.sigma_w2, 0.0))}


def check(p: Parameters) -> Sequence[str]:
    """Values that do not go together."""
    if p.head_size == 0:
        return [f"width = {p.width} gives {p.heads} heads no unit each; give head_size, or fewer heads"]
    return []


def _size_complaint(value: Any) -> str | None:
    good = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)
    return None if good else "must be a whole number of at least 1"


def _scale_complaint(value: Any) -> str | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return None if value in _SCALES or good else 'must be "1/sqrt", "1/n" or a number'


def _size(value: Any, p: Parameters) -> int:
    return int(p.width // p.heads if value is None else value)


def _scale(value: Any, p: Parameters) -> float:
    return _SCALES[value](max(1, _size(p.head_size, p))) if isinstance(value, str) else float(value)


def add() -> None:
    """Add it to the table."""
    add_architecture(
        "transformer",
        network,
        keys={
            "tokens": whole(REQUIRED, "tokens of an input"),
            "heads": whole(1, "heads of the attention"),
            "head_size": custom(None, "units of a head; width / heads if unset", _size_complaint, _size),
            "softmax_scale": custom("1/sqrt", 'factor of q.k: "1/sqrt", "1/n" or a number', _scale_complaint, _scale),
            "attention": number(1.0, "strength of the attention branch"),
            "feedforward": number(1.0, "strength of the feed-forward branch"),
        },
        laws=laws,
        axes=lambda p: {"token": p.tokens},
        check=check,
        normalizations=("none", "pre-layer", "post-layer"),
    )
