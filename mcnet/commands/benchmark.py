"""How fast this machine samples: normals a second, chains beside that floor, and explicit matrices beside chains."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mcnet import activations, streams
from mcnet.kernels import cpu
from mcnet.kernels.grams import to_difference
from mcnet.kernels.lanes.programs import program

CASES = (  # activation, weights, networks, width, depth, inputs
    ("tanh", "gaussian", 1000, 1000, 50, 2),
    ("relu", "gaussian", 1000, 1000, 50, 2),
    ("gelu", "gaussian", 1000, 1000, 50, 2),
    ("tanh", "orthogonal", 1000, 1000, 50, 2),
    ("tanh", "gaussian", 16000, 80, 50, 2),
    ("tanh", "gaussian", 32, 20000, 50, 4),
)
_KEY = streams.Key(1, 2)


def benchmark(quick: bool = False) -> dict[str, Any]:
    """Time the sampling kernels of the CPU on one core, in CPU seconds.

    Parameters
    ----------
    quick : bool
        A sixteenth of the networks and fewer repetitions: seconds instead of a minute.

    Returns
    -------
    dict
        ``normals_per_second``, the floor; ``chains``, a list with ``seconds``, ``normals`` (how many the networks need)
        and ``ratio``, the time over that of the normals alone, taken in turns with it; ``explicit``, the time of one
        layer of one network with a weight matrix drawn and multiplied by NumPy, and ``speedup`` of the first chain.
    """
    repeats = 3 if quick else 7
    rate = normals_rate(repeats)
    chains = [_chain(*case, repeats, quick) for case in CASES]
    explicit = _explicit_layer(CASES[0][3], CASES[0][5], repeats)
    first = chains[0]
    conditioned = first["seconds"] / (first["networks"] * first["depth"])
    return {
        "machine": f"{platform.machine()}, NumPy {np.__version__}",
        "normals_per_second": max([rate, *(chain["normals_per_second"] for chain in chains)]),
        "chains": chains,
        "explicit": {"width": CASES[0][3], "inputs": CASES[0][5], "seconds_per_layer": explicit},
        "speedup": explicit / conditioned,
    }


def cpu_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Least CPU seconds of some calls, after a first one that compiles."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def normals_rate(repeats: int) -> float:
    """Normals a second on one core, written to an array that stays in the cache: the floor of all samplers."""
    networks, columns = 1000, 4096
    fill = program("fill").fill
    out = np.empty(columns, np.float32)

    def draw() -> None:
        for network in range(networks):
            fill(out, 1, 1, columns, False, *_KEY, network, streams.FORWARD << 24 | 1, 0, 0)

    return networks * columns / cpu_seconds(draw, repeats)


def _chain(
    activation: str, weights: str, networks: int, width: int, depth: int, inputs: int, repeats: int, quick: bool
) -> dict[str, Any]:
    networks = networks // 16 if quick else networks
    gram = np.asarray(to_difference(np.eye(inputs) * 0.4 + 0.6)[None])

    def draw() -> None:
        cpu.conditioned_chain(
            _KEY,
            0,
            networks,
            gram,
            activation=activations.get(activation),
            weights=weights,
            width=width,
            depth=depth,
            sigma_w2=1.5,
            sigma_b2=0.1,
            input_dimension=width,
        )

    before = normals_rate(repeats)
    seconds = cpu_seconds(draw, repeats)
    rate = max(before, normals_rate(repeats))
    rows = inputs + (1 if weights == "orthogonal" else 0)  # Haar layers draw their biases
    normals = networks * depth * width * rows
    return {
        "activation": activation,
        "weights": weights,
        "networks": networks,
        "width": width,
        "depth": depth,
        "inputs": inputs,
        "seconds": seconds,
        "normals": normals,
        "normals_per_second": rate,
        "ratio": seconds * rate / normals,
    }


def _explicit_layer(width: int, inputs: int, repeats: int) -> float:
    """CPU seconds of one layer of one network the plain way: float32 weights from NumPy, product, tanh, Gram matrix."""
    rng = np.random.default_rng(1)
    h = rng.standard_normal((width, inputs), np.float32)

    def layer() -> None:
        u = rng.standard_normal((width, width), np.float32) @ h * np.float32((1.5 / width) ** 0.5)
        a = np.tanh(u + rng.standard_normal((width, 1), np.float32) * np.float32(0.1**0.5)).astype(np.float64)
        _ = a.T @ a

    return cpu_seconds(layer, 3 * repeats)
