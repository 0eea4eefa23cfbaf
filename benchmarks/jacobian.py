"""Spectra of Jacobians beside matrix products and eigenvalues alone, in one process and CPU time.

    python benchmarks/jacobian.py [--quick]

Set OMP_NUM_THREADS=1 (and OPENBLAS_NUM_THREADS=1): mcnet computes on one thread in each worker process.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mcnet import activations
from mcnet.backend import get_backend, one_thread
from mcnet.observables.measure import measure
from mcnet.point import Inputs, Point
from mcnet.request import Request

BACKEND = get_backend("cpu")


def point(width: int, depth: int, weights: str) -> Point:
    """A tanh network near criticality."""
    phi = activations.get("tanh")
    return Point("dense", phi, weights, width, depth, 1.05, 1e-3, Inputs("single", 1, width, 1.0))


def seconds(function: Callable[[], Any], repeats: int) -> float:
    """Least CPU time of some calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def alone(width: int, depth: int, networks: int, dtype: Any) -> float:
    """depth - 1 products of built matrices and the eigenvalues of the float64 Gram matrix, for each network."""
    rng = np.random.default_rng(1)
    w, j = ((rng.normal(size=(width, width)) / np.sqrt(width)).astype(dtype) for _ in range(2))

    def work() -> None:
        for _ in range(networks):
            product = j
            for _ in range(depth - 1):
                product = w @ product
            wide = product.astype(np.float64)
            np.linalg.eigvalsh(wide @ wide.T)

    with one_thread():
        return seconds(work, 2)


def spectra(width: int, depth: int, networks: int, weights: str, precision: str) -> float:
    """The measure jacobian."""
    request = Request({"jacobian": {}}, 1, "explicit", precision)
    where = point(width, depth, weights)
    measure(where, request, 0, 1, BACKEND)  # compiled
    return seconds(lambda: measure(where, request, 0, networks, BACKEND), 2)


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    networks, width, depth = (4, 256, 8) if quick else (100, 512, 32)
    print("| precision | networks | width | depth | alone s | gaussian s | ratio | orthogonal s | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for precision, dtype in (("mixed", np.float32), ("float64", np.float64)):
        networks = max(4, networks // 5) if precision == "float64" else networks
        floor = alone(width, depth, networks, dtype)
        found = [spectra(width, depth, networks, weights, precision) for weights in ("gaussian", "orthogonal")]
        cells = " | ".join(f"{value:.2f} | {value / floor:.2f}" for value in found)
        print(f"| {precision} | {networks} | {width} | {depth} | {floor:.2f} | {cells} |", flush=True)
    print("\n| largest eigenvalue, by products | width | depth | CPU s | peak memory GB |")
    print("|---|---|---|---|---|")
    for width, depth in ((10_000, 8),) if quick else ((10_000, 8), (100_000, 8)):
        for weights in ("gaussian", "orthogonal"):
            request = Request({"jacobian_lambda_max": {}}, 1, "conditioned")
            where = point(width, depth, weights)
            taken = seconds(lambda where=where, request=request: measure(where, request, 0, 1, BACKEND), 1)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(f"| tanh, {weights} | {width} | {depth} | {taken:.1f} | {peak:.1f} |", flush=True)


if __name__ == "__main__":
    main()
