"""Transformer blocks of eight tokens: matrices built, asked, and the floor of what asking draws; CPU time a network.

    python -m benchmarks.attention [WIDTHS]

One head of the width. The floor: the normals of the answers that meet functions of single units (8 n for attention,
3 x 8 n for a block), and of the three triangles of the head. Set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mcnet import activations, streams
from mcnet.backend import get_backend
from mcnet.kernels import cpu
from mcnet.programs import counted, sampled
from mcnet.programs.parameters import Parameters, laws_of
from mcnet.weights.laws import Ensemble

TOKENS = 8
CACHE = 1 << 22
KEY = streams.seed_key(1)
LAWS = dict.fromkeys(("query", "key", "value", "output"), (1.5, 0.0))


def attention(w: Any, x: Any, p: Any) -> Any:
    """Attention alone: O softmax(Q K^T / sqrt n) V."""
    h = _attended(w, x, p)
    w.see("h", 1, h)
    return w.ask("readout", h)


def block(w: Any, x: Any, p: Any) -> Any:
    """A block: attention and the feed-forward branch, each added to the stream."""
    h = x + _attended(w, x, p)
    u = w.ask("W", h)
    h = h + w.ask("V", w.phi(u))
    w.see("u", 1, u)
    w.see("h", 1, h)
    return w.ask("readout", h)


def _attended(w: Any, x: Any, p: Any) -> Any:
    query, key, value = (w.ask(name, x, p.width) for name in ("query", "key", "value"))
    return w.ask("output", w.attention(query, key, value, scale=1.0 / math.sqrt(p.width)))


def least(function: Callable[[], object], repeats: int) -> float:
    """Least CPU seconds, after a first call that compiles."""
    function()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        found.append(time.process_time() - start)
    return min(found)


def line(program: Any, width: int) -> str:
    """One row of the table."""
    values = {"width": width, "depth": 1, "outputs": None, "sigma_w2": 1.5, "sigma_b2": 0.0}
    p = Parameters({**values, "activation": activations.get("tanh"), "weights": "gaussian"})
    laws, x = laws_of(p, LAWS), np.random.default_rng(0).normal(size=(1, 1, TOKENS, width))
    plan = counted.count(program, p, laws, {"input": 1, "token": TOKENS}, width)
    backend = get_backend("cpu")

    def networks(sampler: str, count: int, backward: bool) -> Callable[[], object]:
        who = Ensemble(backend, KEY, 0, count, "mixed")
        return lambda: sampled.run(program, p, laws, x, ("token",), who, sampler, backward=backward, plan=plan)

    many = max(1, CACHE // (8 * plan.widest("conditioned", False)))
    few = max(1, min(many, (1 << 22) // width**2))
    built = least(networks("explicit", few, False), 3) / few
    asked = least(networks("conditioned", many, False), 7) / many
    units = least(networks("conditioned", many, True), 3) / many
    answers = 3 if program is block else 1

    def floor() -> None:
        for index in range(answers):
            cpu.normals(KEY, 0, many, streams.FORWARD, 5 + index, TOKENS, width)
        for index in range(3):
            cpu.normals(KEY, 0, many, streams.FORWARD, 1 + index, TOKENS, TOKENS)

    lowest = least(floor, 7) / many
    microseconds = " | ".join(f"{1e6 * value:.1f}" for value in (built, units, asked, lowest))
    what = "block" if program is block else "attention"
    return f"| {what} | {width} | {many} | {microseconds} | {built / asked:.0f} | {asked / lowest:.1f} |"


def main() -> None:
    widths = [int(text) for text in sys.argv[1:] if text != "--quick"] or [16, 64, 256, 1024]
    print("CPU time of a network in microseconds\n")
    print("| | n = M | networks at once | built | asked, all units | asked | floor | built / asked | asked / floor |")
    print("|---|---|---|---|---|---|---|---|---|")
    for program in (attention, block):
        for width in widths:
            print(line(program, width), flush=True)


if __name__ == "__main__":
    main()
