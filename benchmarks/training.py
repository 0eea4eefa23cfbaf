"""Steps of training beside the batched matrix product of the same sizes, and conditioned training at large width.

    python benchmarks/training.py

CPU time of one core; set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mcnet import activations, architectures
from mcnet.architectures.program import frozen_keys
from mcnet.backend import get_backend, one_thread
from mcnet.observables.sample import ensemble_of
from mcnet.point import Inputs, Point
from mcnet.recipe import Recipe
from mcnet.training.trainer import Trainer

INPUTS, DEPTH = 32, 3
SIZES = ((64, 256), (128, 64), (256, 16), (512, 4), (1024, 1))
"""Widths, and networks trained together."""


def seconds(function: Callable[[], None], least: float = 0.3, repeats: int = 5) -> float:
    """Least CPU seconds of a call, from runs of calls that take ``least`` together; after a first call."""
    function()
    start = time.process_time()
    function()
    calls = max(1, round(least / max(time.process_time() - start, 1e-6)))
    found = []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(calls):
            function()
        found.append((time.process_time() - start) / calls)
    return min(found)


def point(width: int, inputs: int, depth: int, activation: str = "tanh", architecture: str = "dense") -> Point:
    keys = frozen_keys(architectures.lookup(architecture), {})
    given = Inputs("gaussian", inputs, width, 1.0, 0.0)
    shape = (architecture, activations.get(activation), "gaussian", width, depth, 1.5, 0.0, given, 1)
    return replace(Point(*shape), parameterization="ntk", parameters=keys)


def trainer(where: Point, steps: int, networks: int, precision: str, sampler: str) -> Trainer:
    how = Recipe("squared", "teacher", (0.1,), steps, (0, steps))
    ensemble = ensemble_of(where, 1, 0, networks, precision, get_backend("cpu"))
    return Trainer(replace(where, train=how), how, 1, ensemble, sampler)


def built(width: int, networks: int, precision: str, activation: str) -> tuple[float, float, float]:
    """Milliseconds of a step of one network, its rate and that of a batched product in GFlop/s."""
    made = trainer(point(width, INPUTS, DEPTH, activation), 5, networks, precision, "explicit")
    trained = made.networks()
    x, rates = trained.placed(made.training_inputs), np.full(networks, 1e-6)

    def step() -> None:
        trace = trained.forward(x, backward=True)
        trained.step(trace, (trace.outputs - made.y) / INPUTS, rates)

    shapes = [(use.asked.units, use.asked.columns) for use in made.model.count(INPUTS).matrices.values()]
    flops = sum(6 * INPUTS * m * n for m, n in shapes) - 2 * INPUTS * shapes[0][0] * shapes[0][1]
    rng, dtype = np.random.default_rng(0), np.float32 if precision == "mixed" else np.float64
    w = rng.normal(size=(networks, width, width)).astype(dtype)
    h = rng.normal(size=(networks, INPUTS, width)).astype(dtype)
    out = np.empty_like(h)

    def multiply() -> None:
        np.matmul(h, w, out=out)

    of_step, of_product = seconds(step), seconds(multiply)
    product = 2 * INPUTS * width**2 * networks / of_product
    return 1e3 * of_step / networks, flops * networks / of_step / 1e9, product / 1e9


def conditioned(architecture: str, width: int, steps: int) -> float:
    """Seconds of a training of one network of two inputs and two hidden layers."""
    made = trainer(point(width, 2, 2, architecture=architecture), steps, 1, "float64", "conditioned")

    def train() -> None:
        made.descend(np.full(1, 0.1), steps)

    return seconds(train)


def main() -> None:
    print(f"Built matrices, depth {DEPTH}, T = {INPUTS}, one output\n")
    print("| activation | precision | width | networks | ms a network and step | GFlop/s | product GFlop/s | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    with one_thread():
        for activation in ("relu", "tanh"):
            for precision in ("mixed", "float64"):
                for width, networks in SIZES:
                    ms, rate, product = built(width, networks, precision, activation)
                    told = f"{ms:.3f} | {rate:.1f} | {product:.1f} | {rate / product:.2f} |"
                    print(f"| {activation} | {precision} | {width} | {networks} | {told}", flush=True)
        print("\nConditioned training, T = 2, depth 2, 20 steps, float64\n")
        print("| architecture | width | s a network |")
        print("|---|---|---|")
        for architecture in ("dense", "residual"):
            for width in (20_000, 100_000):
                print(f"| {architecture} | {width} | {conditioned(architecture, width, 20):.3f} |", flush=True)


if __name__ == "__main__":
    main()
