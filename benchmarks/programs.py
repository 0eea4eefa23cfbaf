"""Networks as programs beside the floor of their random numbers, in one process and CPU time.

    python benchmarks/programs.py

Set OMP_NUM_THREADS=1 (and OPENBLAS_NUM_THREADS=1), so that NumPy's matrix product is one core too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mcnet import activations, architectures, streams
from mcnet.backend import get_backend
from mcnet.kernels import cpu
from mcnet.programs import sampled
from mcnet.programs.parameters import Parameters, laws_of
from mcnet.weights.laws import Ensemble

BACKEND = get_backend("cpu")
KEY = streams.seed_key(1)


def seconds(function: Any, repeats: int) -> float:
    """Least CPU seconds of some calls, after a first one that compiles."""
    function()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        found.append(time.process_time() - start)
    return min(found)


def in_turns(functions: Sequence[Callable[[], Any]], repeats: int) -> list[float]:
    """Least CPU seconds of each of some functions that take turns, after a first call of each."""
    found: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats + 1):
        for times, function in zip(found, functions, strict=True):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
    return [min(times[1:]) for times in found]


def common(**changes: Any) -> Parameters:
    values: dict[str, Any] = {"width": 1000, "depth": 20, "outputs": None, "sigma_w2": 1.5, "sigma_b2": 0.1}
    return Parameters({**values, "activation": activations.get("tanh"), **changes})


def dense(networks: int, batch: int, backward: bool, repeats: int) -> tuple[float, float]:
    """Time of a dense network of two inputs, and of its normals, drawn in the same sub-batches."""
    p = common()
    program = architectures.lookup("dense").network
    x = np.random.default_rng(0).normal(size=(1, 2, p.width))
    starts = range(0, networks, batch)

    def run() -> None:
        for start in starts:
            who = Ensemble(BACKEND, KEY, start, min(start + batch, networks), "mixed")
            trace = sampled.run(program, p, laws_of(p), x, (), who, "conditioned", backward=backward)
            if backward:
                trace.backward(families=("u",))

    roles = (streams.FORWARD, streams.BACKWARD) if backward else (streams.FORWARD,)

    def floor() -> None:
        for start in starts:
            for layer in range(1, p.depth + 1):
                for role in roles:
                    if role == streams.FORWARD or layer > 1:
                        cpu.normals(KEY, start, min(start + batch, networks), role, layer, 2, p.width)

    return seconds(run, repeats), seconds(floor, repeats)


def recurrent(width: int, steps: int, backward: bool) -> float:
    """Time of one recurrent network with one matrix and one input."""

    def network(w: Any, x: Any, p: Any) -> Any:
        h = x
        for step in range(1, steps + 1):
            h = w.phi(w.ask("W", h))
            w.see("h", step, h)
        return w.ask("readout", h)

    p = common(width=width, outputs=1)
    x = np.random.default_rng(0).normal(size=(1, 1, width))

    def run() -> None:
        trace = sampled.run(
            network, p, laws_of(p), x, (), Ensemble(BACKEND, KEY, 0, 1, "mixed"), "conditioned", backward=backward
        )
        if backward:
            trace.backward()

    return seconds(run, 1)


def main() -> None:
    print("| program | pass | networks | width | CPU s | floor s | ratio |")
    print("|---|---|---|---|---|---|---|")
    for backward in (False, True):
        took, floor = dense(1000, 256, backward, 3)
        what = "forward, backward" if backward else "forward"
        print(f"| dense, depth 20, T = 2 | {what} | 1000 | 1000 | {took:.2f} | {floor:.2f} | {took / floor:.2f} |")
    for backward in (False, True):
        what = "forward, backward" if backward else "forward"
        print(f"| recurrent, 50 steps, T = 1 | {what} | 1 | 100000 | {recurrent(100_000, 50, backward):.2f} | | |")


if __name__ == "__main__":
    main()
