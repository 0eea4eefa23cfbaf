"""Tangent kernels: mcnet beside its floor, other programs, and its two samplers beside each other.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false \\
        python -m benchmarks.ntk [--quick]

One process, one core, CPU time, the least of some repetitions. Many networks: three hidden layers, two inputs in R^2,
one output, no bias, all in float32. Libraries that cannot be imported are named and left out.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any

import numpy as np

import mcnet
from benchmarks.ntk_contenders import DEPTH, SIGMA_W2, Kernels, contenders
from mcnet import activations
from mcnet.backend import get_backend, one_thread
from mcnet.commands.benchmark import cpu_seconds, normals_rate
from mcnet.observables.measure import measure, resolve_sampler
from mcnet.point import Inputs, Point
from mcnet.request import Request

ACTIVATIONS = ("relu", "tanh", "gelu")
WIDTHS = (20, 80, 512)
GOALS = {"relu": 1.5, "tanh": 1.75, "gelu": 1.9}
SWITCHES = {  # (weights, width): (inputs, outputs) from few questions to many
    ("gaussian", 64): ((2, 1), (2, 2), (4, 2), (8, 2), (20, 1)),
    ("gaussian", 256): ((8, 1), (8, 2), (20, 1), (32, 1), (64, 1)),
    ("gaussian", 1024): ((8, 1), (8, 2), (20, 1), (64, 1), (64, 2)),
    ("orthogonal", 64): ((2, 1), (4, 2), (20, 1), (32, 1), (64, 2)),
    ("orthogonal", 256): ((8, 1), (20, 1), (64, 1), (100, 1), (100, 2)),
}
LARGE = (256, 10, 1024)  # inputs, outputs, width


def sampled(activation: str, width: int, networks: int) -> Any:
    """By the public door of mcnet, dataset and eigenvalues included."""
    study = {
        "mcnet": 1,
        "network": {"activation": activation, "weights": "gaussian", "depth": DEPTH, "width": width}
        | {"sigma_w2": SIGMA_W2, "sigma_b2": 0.0, "outputs": 1},
        "inputs": {"kind": "pair", "dimension": 2, "q0": 1.0, "c0": 0.6},
        "sampling": {"networks": networks, "seed": 1},
        "measure": {"ntk": {}},
    }
    return mcnet.sample(study)["ntk"].dataset["ntk"].values[0]


def check(kernels: Kernels, name: str) -> None:
    """The mean of the relu kernel of width 20 is known: M (3 + 1/10) at q = 1 and sigma_w2 = 2, parameters W."""
    theta = np.asarray(kernels("relu", 20, 4000))[:, 0, 0]
    exact = 20 * (DEPTH + 2 / 20)
    z = (theta.mean() - exact) / (theta.std() / math.sqrt(theta.size))
    if abs(z) > 5:
        raise SystemExit(f"{name}: the mean kernel is {theta.mean():.2f}, not {exact:.2f} ({z:+.1f} standard errors)")


def many_networks(quick: bool) -> None:
    """mcnet.sample beside the normals that it needs and beside other programs."""
    repeats = 2 if quick else 7
    others, missing = contenders()
    for name, kernels in {"mcnet": sampled, **others}.items():
        check(kernels, name)
    print("| activation | width | mcnet us | floor us | ratio | goal |", *[f" {name} us |" for name in others], sep="")
    print("|---" * (6 + len(others)) + "|")
    best_rate = 0.0
    for activation in ACTIVATIONS:
        for width in WIDTHS:
            networks = int((4e6 if quick else 4e7) / width)
            rate = normals_rate(repeats)
            seconds = cpu_seconds(partial(sampled, activation, width, networks), repeats) / networks
            rate = max(rate, normals_rate(repeats))
            best_rate = max(rate, best_rate)
            floor = (3 * DEPTH + 2) * width / rate
            columns = [f"{seconds * 1e6:.2f}", f"{floor * 1e6:.2f}", f"{seconds / floor:.2f}"]
            columns.append(f"{GOALS[activation]}" if width > 20 else "")
            for kernels in others.values():
                batch = max(4, min(2000, 40000 // width**2 * 20))
                taken = cpu_seconds(partial(kernels, activation, width, batch), repeats) / batch
                columns.append(f"{taken * 1e6:.4g} ({taken / seconds:.0f} x)")
            print(f"| {activation} | {width} |", " | ".join(columns), "|", flush=True)
    print(f"\nnormals: {best_rate / 1e9:.2f} G/s on one core")
    for text in missing:
        print(f"not measured: {text}")


def point(inputs: int, outputs: int, width: int, weights: str) -> Point:
    """A tanh network with biases on Gaussian inputs of its width."""
    law = Inputs("gaussian", inputs, width, 1.0, 0.0)
    phi = activations.get("tanh")
    return Point("dense", phi, weights, width, DEPTH, 1.7, 0.1, law, outputs=outputs, parameterization="ntk")


def kernel_seconds(where: Point, sampler: str, networks: int, repeats: int) -> float:
    """CPU seconds of one network."""
    request = Request({"ntk": {"blocks": "all", "eigenvalues": False}}, 1, sampler, "mixed")
    backend = get_backend("cpu")
    return cpu_seconds(partial(measure, where, request, 0, networks, backend), repeats) / networks


def samplers(quick: bool) -> None:
    """Both samplers on both sides of the place where ``auto`` changes from one to the other."""
    print("\n| weights | width | inputs | outputs | conditioned us | explicit us | auto takes | that costs |")
    print("|---" * 8 + "|")
    for (weights, width), cases in SWITCHES.items():
        for inputs, outputs in cases:
            where = point(inputs, outputs, width, weights)
            networks = max(4, int((1e5 if quick else 1e6) / width**2))
            taken = {s: kernel_seconds(where, s, networks, 2 if quick else 3) for s in ("conditioned", "explicit")}
            auto = resolve_sampler(where, Request({"ntk": {"eigenvalues": False}}, 1, "auto", "mixed"))
            times = " | ".join(f"{seconds * 1e6:.0f}" for seconds in taken.values())
            share = taken[auto] / min(taken.values())
            print(
                f"| {weights} | {width} | {inputs} | {outputs} | {times} | {auto} | {share:.2f} of the least |",
                flush=True,
            )


def large(quick: bool) -> None:
    """One large kernel by built matrices beside its matrix products alone: float32 passes, float64 Gram matrices."""
    inputs, outputs, width = LARGE
    rng = np.random.default_rng(1)
    w, h, d = (rng.standard_normal((rows, width), np.float32) for rows in (width, inputs, outputs * inputs))
    wide = d.astype(np.float64)

    def products() -> None:
        for _ in range(DEPTH):
            _ = h @ w.T
        for _ in range(DEPTH - 1):
            _ = d @ w
        for _ in range(DEPTH):
            _ = wide @ wide.T

    where, floors, kernels = point(inputs, outputs, width, "gaussian"), [], []
    for _ in range(1 if quick else 6):  # in turns: both see the same machine
        with one_thread():
            floors.append(cpu_seconds(products, 1))
        kernels.append(kernel_seconds(where, "explicit", 1, 1))
    seconds, floor = min(kernels), min(floors)
    print(f"{inputs} inputs, {outputs} outputs, width {width}, depth {DEPTH}, explicit:", end=" ")
    print(f"{seconds:.3f} s, its products {floor:.3f} s, ratio {seconds / floor:.2f} (goal 1.3)\n")


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    large(quick)
    many_networks(quick)
    samplers(quick)


if __name__ == "__main__":
    main()
