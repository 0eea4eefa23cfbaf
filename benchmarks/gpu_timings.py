"""Times of the GPU's workloads, each beside a floor that the same card was seen to reach in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.gpu_agreement import KEY, point
from mcnet import activations
from mcnet.backend import Backend
from mcnet.networks import dense, jacobian
from mcnet.observables.measure import measure
from mcnet.request import Request
from mcnet.weights.laws import Ensemble

REPEATS = 5


@dataclass(frozen=True)
class Workload:
    """Something to time.

    Attributes
    ----------
    name : str
    run : callable
        ``run(backend, networks)`` does it.
    networks, cpu_networks : int
        On the device, and in the run on the CPU that is scaled up for the ratio.
    floor : callable
        Seconds on the device at best, from the measured rates.
    floor_name : str
        What bounds it.
    goal : float or None
        Share of the floor that is asked for.
    """

    name: str
    run: Callable[[Backend, int], Any]
    networks: int
    cpu_networks: int
    floor: Callable[[dict[str, float]], float]
    floor_name: str
    goal: float | None


def clock(backend: Backend, action: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Least seconds of some runs after one that is not counted; the device has finished at both ends."""
    finish = backend.xp.cuda.Device().synchronize if hasattr(backend.xp, "cuda") else lambda: None
    action()
    seconds = []
    for _ in range(repeats):
        finish()
        began = time.perf_counter()
        action()
        finish()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def rates(backend: Backend, quick: bool) -> dict[str, float]:
    """What this device reaches: bytes per second, floating-point operations per second, normals per second."""
    xp = backend.xp
    size = 1 << (12 if quick else 28)
    found = _memory_rates(backend, size)
    n, side = (2, 16) if quick else (100, 512)
    for name, dtype in (("float32", xp.float32), ("float64", xp.float64)):
        m = xp.ones((n, side, side), dtype=dtype)
        found[f"{name} flop/s"] = 2 * n * side**3 / clock(backend, lambda m=m: xp.matmul(m, m))  # type: ignore[misc]
    n = 2 if quick else 2000  # 32 MB: made again and again in the same place of the cache
    seconds = clock(backend, lambda: backend.kernels.normals(KEY, 0, n, 0, 1, 4, 1000))
    return {**found, "normals/s": 4000 * n / seconds}


def _memory_rates(backend: Backend, size: int) -> dict[str, float]:
    a, b = (backend.xp.zeros(size, dtype=backend.xp.float32) for _ in range(2))

    def copy() -> None:
        b[...] = a

    def write() -> None:
        b[...] = 1.0

    return {"copied bytes/s": 8 * size / clock(backend, copy), "written bytes/s": 4 * size / clock(backend, write)}


def workloads(quick: bool) -> Iterator[Workload]:
    """The list of the table."""
    m, depth, b = (24, 2, 2) if quick else (1000, 50, 4000)
    few = 2 if quick else 200
    tanh = activations.get("tanh")
    yield Workload(
        f"normals, {few} x {m} x {m} float32",
        lambda backend, n: backend.kernels.normals(KEY, 0, n, 0, 1, m, m),
        few,
        2,
        lambda rate: max(4.0 * few * m * m / rate["written bytes/s"], few * m * m / rate["normals/s"]),
        "written bytes or normals",
        0.7,
    )
    for name, weights, inputs, passes in (
        ("tanh", "gaussian", 2, 1),
        ("relu", "gaussian", 2, 1),
        ("tanh", "gaussian", 8, 1),
        ("tanh", "orthogonal", 2, 2),
    ):
        first = name == "tanh" and weights == "gaussian" and inputs == 2
        yield Workload(
            f"conditioned chain, {name}, {weights}, B = {b}, M = {m}, depth {depth}, T = {inputs}",
            _chain(name, weights, inputs, m, depth),
            b,
            2 if quick else 64,
            lambda rate, inputs=inputs, passes=passes: b * m * depth * inputs * passes / rate["normals/s"],  # type: ignore[misc]
            "normals",
            0.5 if first else None,
        )
    yield Workload(
        f"tangent chain, tanh, B = {b}, M = {m}, depth {depth}, T = 2",
        _tangent(m, depth),
        b,
        2 if quick else 64,
        lambda rate: 8.0 * b * m * depth / rate["normals/s"],  # forward and backward normals, both made twice
        "normals",
        None,
    )
    for transpose in (False, True):
        yield Workload(
            f"explicit layer{', transposed' if transpose else ''}, B = {few}, M = {m}, T = 2",
            _layer(m, transpose),
            few,
            2,
            lambda rate: max(few * m * m / rate["normals/s"], 4.0 * few * m * m / rate["float32 flop/s"]),
            "normals or flops",
            0.6,
        )
    yield Workload(
        f"activation, slope and moments, B = {b}, M = {m}, T = 2",
        lambda backend, n: backend.kernels.activate(tanh, _ones(backend, n, 2, m)),
        b,
        0,
        lambda rate: 24.0 * b * m / rate["copied bytes/s"],
        "copied bytes",
        None,
    )
    size, layers, count = (16, 2, 2) if quick else (512, 32, 100)
    yield Workload(
        f"Jacobian chain, products alone, B = {count}, M = {size}, depth {layers}",
        _products(size, layers),
        count,
        1,
        lambda rate: 2.0 * count * size**3 * (layers - 1) / rate["float32 flop/s"],
        "flops of the products",
        0.7,
    )
    yield Workload(
        f"Jacobian with its singular values, B = {count}, M = {size}, depth {layers}",
        _jacobian(size, layers),
        count,
        1,
        lambda rate: 2.0 * count * size**3 * (layers - 1) / rate["float32 flop/s"],
        "flops of the products",
        None,
    )
    yield Workload(
        f"eigenvalues of {count} float64 matrices of size {size}",
        lambda backend, n: backend.xp.linalg.eigvalsh(_symmetric(backend, n, size)),
        count,
        1,
        lambda rate: 4.0 / 3.0 * count * size**3 / rate["float64 flop/s"],
        "flops of the reduction to a band",
        None,
    )


def timed(work: Workload, device: Backend, cpu: Backend, rate: dict[str, float], quick: bool) -> dict[str, Any]:
    """A row of the table."""
    seconds = clock(device, lambda: work.run(device, work.networks), 1 if quick else REPEATS)
    floor = work.floor(rate)
    row: dict[str, Any] = {"workload": work.name, "seconds": seconds, "floor_seconds": floor, "floor": work.floor_name}
    row |= {"share": floor / seconds, "goal": work.goal, "cpu_seconds": None, "cpu_over_gpu": None}
    if work.cpu_networks:
        taken = clock(cpu, lambda: work.run(cpu, work.cpu_networks), 1)
        row["cpu_seconds"] = taken * work.networks / work.cpu_networks
        row["cpu_over_gpu"] = row["cpu_seconds"] / seconds
    return row


def _chain(name: str, weights: str, inputs: int, width: int, depth: int) -> Callable[[Backend, int], Any]:
    gram = 0.4 * np.eye(inputs)[None]
    gram[0, 0, 0] = 1.0

    def run(backend: Backend, networks: int) -> Any:
        return backend.kernels.conditioned_chain(
            KEY,
            0,
            networks,
            backend.place(gram),
            activation=activations.get(name),
            weights=weights,
            width=width,
            depth=depth,
            sigma_w2=1.5,
            sigma_b2=0.1,
            input_dimension=width,
            precision="mixed",
        )

    return run


def _tangent(width: int, depth: int) -> Callable[[Backend, int], Any]:
    gram = np.array([[[1.0, -0.6], [-0.6, 1.2]]])

    def run(backend: Backend, networks: int) -> Any:
        return backend.kernels.tangent_chain(
            KEY,
            0,
            networks,
            backend.place(gram),
            activation=activations.get("tanh"),
            width=width,
            depth=depth,
            sigma_w2=1.5,
            sigma_b2=0.1,
            readout=True,
            precision="mixed",
        )

    return run


def _layer(width: int, transpose: bool) -> Callable[[Backend, int], Any]:
    def run(backend: Backend, networks: int) -> Any:
        x = _ones(backend, networks, 2, width)
        if backend.register_vectors:
            return backend.kernels.apply_weights(
                KEY,
                0,
                networks,
                x,
                law="gaussian",
                layer=1,
                units=width,
                inputs=width,
                scale=0.03,
                transpose=transpose,
            )
        w = backend.kernels.normals(KEY, 0, networks, 0, 1, width, width)
        return backend.xp.matmul(x, w if transpose else backend.xp.matrix_transpose(w))

    return run


def _products(width: int, depth: int) -> Callable[[Backend, int], Any]:
    where = point(1, "gaussian", width, depth=depth)

    def run(backend: Backend, networks: int) -> Any:
        ensemble = Ensemble(backend, KEY, 0, networks, "mixed")
        u, product = _ones(backend, networks, 1, width), None
        for matrix in dense.matrices(where, "explicit", ensemble, False):
            product = jacobian.through_layer(where, product, matrix, u, backend)
        return product

    return run


def _jacobian(width: int, depth: int) -> Callable[[Backend, int], Any]:
    where = point(1, "gaussian", width, depth=depth)
    request = Request({"jacobian": {"keep": "moments"}}, 3, "explicit", "mixed")
    return lambda backend, networks: measure(where, request, 0, networks, backend)


def _ones(backend: Backend, *shape: int) -> Any:
    return backend.xp.ones(shape, dtype=backend.xp.float32)


def _symmetric(backend: Backend, networks: int, size: int) -> Any:
    a = backend.kernels.normals(KEY, 0, networks, 0, 1, size, size, dtype=np.float64)
    return backend.xp.matmul(a, backend.xp.matrix_transpose(a))
