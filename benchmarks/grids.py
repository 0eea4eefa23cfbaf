"""Residual networks beside the floor of their random numbers, built convolutions beside that of their matrix products.

    python benchmarks/grids.py

CPU time of one process. Set OMP_NUM_THREADS=1 (and OPENBLAS_NUM_THREADS=1), so that NumPy's matrix product is one core.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.programs import BACKEND, KEY, in_turns
from mcnet import activations, architectures, streams
from mcnet.kernels import cpu
from mcnet.programs import sampled
from mcnet.weights.laws import Ensemble

COMMON: dict[str, Any] = {
    "outputs": None,
    "sigma_w2": 1.5,
    "sigma_b2": 0.0,
    "weights": "gaussian",
    "readout": "gaussian",
}


def residual(networks: int, batch: int, backward: bool, width: int = 1000, depth: int = 50) -> tuple[float, float]:
    """Time of residual networks with two matrices a block on two inputs, asked, and of their normals."""
    architecture = architectures.lookup("residual")
    common = {**COMMON, "activation": activations.get("tanh"), "width": width, "depth": depth}
    p = architecture.parameters(common, {"block": "two", "sigma_v2": 1.0, "branch": "1/sqrt(depth)"})
    x = np.random.default_rng(0).normal(size=(1, 2, width))
    starts = range(0, networks, batch)

    def run() -> None:
        for start in starts:
            who = Ensemble(BACKEND, KEY, start, min(start + batch, networks), "mixed")
            laws = architecture.laws_of(p)
            trace = sampled.run(architecture.network, p, laws, x, (), who, "conditioned", backward=backward)
            if backward:
                trace.backward(families=("u",))

    roles = (streams.FORWARD, streams.BACKWARD) if backward else (streams.FORWARD,)

    def floor() -> None:
        for start in starts:
            for matrix in range(1, 2 * depth + 1):
                for role in roles:
                    cpu.normals(KEY, start, min(start + batch, networks), role, matrix, 2, width)

    took, least = in_turns((run, floor), 3)
    return took, least


def convolution(side: int, channels: int, depth: int, grams: bool) -> tuple[float, float, float]:
    """Time of one built convolution on a grid, of its matrix products, and of its matrices."""
    architecture = architectures.lookup("convolution")
    common = {**COMMON, "activation": activations.get("tanh"), "width": channels, "depth": depth}
    p = architecture.parameters(common, {"positions": (side, side)})
    x = np.random.default_rng(0).normal(size=(1, 1, side, side, channels)).astype(np.float32)
    axes = ("position_1", "position_2")
    who = Ensemble(BACKEND, KEY, 0, 1, "mixed")

    def run() -> None:
        how: dict[str, Any] = {"backward": False, "grams": grams, "per_site": True}
        sampled.run(architecture.network, p, architecture.laws_of(p), x, axes, who, "explicit", **how)

    patches = np.random.default_rng(1).normal(size=(side * side, 9 * channels)).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=(9 * channels, channels)).astype(np.float32)

    def products() -> None:
        for _ in range(depth):
            np.matmul(patches, weights)

    def drawn() -> None:
        for layer in range(1, depth + 1):
            cpu.normals(KEY, 0, 1, streams.WEIGHTS, layer, channels, 9 * channels)

    took, multiplied, made = in_turns((run, products, drawn), 9)
    return took, multiplied, made


def main() -> None:
    """The table of docs/benchmarks/cpu.md."""
    print("| program | pass | CPU s | floor s | ratio |")
    print("|---|---|---|---|---|")
    for backward in (False, True):
        took, floor = residual(128, 64, backward)
        what = "forward, backward" if backward else "forward"
        name = "residual `two`, 50 blocks, M = 1000, T = 2, 128 networks"
        print(f"| {name} | {what} | {took:.2f} | {floor:.2f} | {took / floor:.2f} |")
    for side, channels in ((16, 128), (32, 128), (32, 256), (16, 512)):
        for grams in (False, True):
            took, products, drawn = convolution(side, channels, 4, grams)
            what = "forward with lengths" if grams else "forward"
            floor = products + drawn
            print(
                f"| convolution, 4 layers, {side} x {side}, 3 x 3 taps, M = {channels} | {what} | {took:.3f} | "
                f"{products:.3f} + {drawn:.3f} | {took / floor:.2f} |"
            )


if __name__ == "__main__":
    main()
