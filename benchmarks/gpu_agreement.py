"""Whether a device makes the networks of the CPU: streams to the bit, kernels and ensembles to stated rounding."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import gpu_studies
from mcnet import activations, streams
from mcnet.backend import Backend
from mcnet.kernels import grams, reference
from mcnet.networks import dense
from mcnet.observables.measure import measure
from mcnet.point import Inputs, Point
from mcnet.request import Request

KEY = streams.point_key(0x123456789ABCDEF0, 17)
KNOWN = "3efb0b8b9de3e588863216be46b70fb10b87da68169672fd2c55465c896d5a45"
ROUNDINGS = 64
"""Rounding errors of the type that a kernel's result may be off, relative to the largest entry of its matrix."""

NETWORKS = {"float64": 1e-9, "mixed": 1e-4}
"""How far a measured number of one network may be off, relative to the largest of its variable: rounding, carried
through all layers of a network that may be chaotic."""

MIXED, DOUBLE = ("mixed", "float64")
EPSILON = {MIXED: 2.0**-23, DOUBLE: 2.0**-52}


class Mismatch(Exception):
    """The device and the CPU disagree."""


class Skipped(Exception):
    """A step that cannot be taken here."""


def steps(quick: bool) -> list[tuple[str, Callable[[Backend, Backend], str]]]:
    """All comparisons: name, and a function of (device, CPU) that says what was seen or raises Mismatch or Skipped."""
    names = ("tanh", "relu", "sin") if quick else activations.names()
    return [
        ("streams", _streams),
        ("conditioned chain", lambda device, cpu: _chains(device, quick)),
        ("tangent chain", lambda device, cpu: _tangents(device, quick)),
        ("activations in the chain", lambda device, cpu: _activations(device, names)),
        ("weights made in registers", lambda device, cpu: _weights(device)),
        ("activation, slope and moments", lambda device, cpu: _layers(device, names)),
        ("a NaN is not hidden", _nan),
        ("eigenvalues and singular values", lambda device, cpu: _eigenvalues(device, quick)),
        ("ensembles, network by network", lambda device, cpu: _ensembles(device, cpu, ensembles(quick))),
        ("every architecture, network by network", lambda device, cpu: _ensembles(device, cpu, _programs(quick))),
        ("training, network by network", lambda device, cpu: _ensembles(device, cpu, gpu_studies.trainings(quick))),
        ("networks do not depend on the batch", lambda device, cpu: _batches(device)),
        ("memory that runs out", _memory),
    ]


def ensembles(quick: bool) -> Iterator[tuple[str, Point, Request]]:
    """Small studies of dense networks that together use every sampler, law and precision."""
    width = 24 if quick else 200
    signal: dict[str, dict[str, Any]] = {"q": {}, "c": {"q_ab": True}, "q_tilde": {}, "chi": {}}
    tangent: dict[str, dict[str, Any]] = {"ntk": {"blocks": "all"}, "fim": {}}
    for precision in (DOUBLE, MIXED):
        for sampler, weights in (
            *(("conditioned", law) for law in ("gaussian", "orthogonal")),
            *(("explicit", law) for law in ("gaussian", "orthogonal", "uniform")),
        ):
            name = f"{sampler} {weights} {precision}"
            yield f"signal {name}", point(2, weights, width), Request(signal, 3, sampler, precision)
            readout = point(3, weights, width, outputs=2, readout="gaussian")
            yield f"tangent kernel {name}", readout, Request(tangent, 3, sampler, precision)
        one = point(2, "gaussian", width, outputs=1, readout="gaussian")
        yield f"fused tangent chain {precision}", one, Request(tangent, 3, "conditioned", precision)
        chain = Request({"q": {}, "c": {}}, 3, "conditioned", precision)
        yield f"fused chain {precision}", point(2, "gaussian", width), chain
        for weights in ("gaussian", "orthogonal"):
            spectrum = Request({"jacobian": {"keep": "values"}}, 3, "explicit", precision)
            yield f"jacobian {weights} {precision}", point(1, weights, width), spectrum
    for weights in ("gaussian",) if quick else ("gaussian", "orthogonal"):  # hundreds of questions: float32 vectors
        top = Request({"jacobian_lambda_max": {}}, 3, "conditioned", MIXED)
        yield f"largest eigenvalue {weights}", point(1, weights, dense.LONG_VECTORS, depth=1), top
    program = Request({"q": {}, "c": {}, "ntk": {}}, 3, "auto", MIXED)
    yield "residual, a program", point(2, "gaussian", width, architecture="residual", outputs=1), program
    heads = point(1, "gaussian", width, architecture="transformer", parameters=(("tokens", 3),), outputs=1)
    forward: dict[str, dict[str, Any]] = {"attention_entropy": {}, "token_similarity": {}}
    for name, measures in (("attention without weights", forward), ("its gradients", {"ntk": {}, **forward})):
        yield name, heads, Request(measures, 3, "conditioned", MIXED)


def point(count: int, weights: str, width: int, activation: str = "tanh", depth: int = 4, **changes: Any) -> Point:
    """A network on Gaussian inputs."""
    settings: dict[str, Any] = {"architecture": "dense", "weights": weights, "width": width, "depth": depth}
    settings |= {"sigma_w2": 1.5, "sigma_b2": 0.1, "activation": activations.get(activation), **changes}
    return Point(**settings, inputs=Inputs("gaussian", count, width, 1.0, 0.4))


def input_gram(inputs: int, dimension: int) -> NDArray[np.float64]:
    """Gram matrices of two networks' inputs, in the difference basis."""
    x = np.random.default_rng(3).standard_normal((2, inputs, dimension))
    return grams.to_difference(x @ x.swapaxes(1, 2) / dimension)  # type: ignore[no-any-return]


def _streams(device: Backend, cpu: Backend) -> str:
    made = device.fetch(device.kernels.normals(KEY._replace(k0=0x9ABCDEF0, k1=0x12345678), 5, 6, 4, 2, 64, 130))
    if hashlib.sha256(np.ascontiguousarray(made, "<f4").tobytes()).hexdigest() != KNOWN:
        raise Mismatch("the known answer of the stream specification is another one")
    count = 0
    for law in ("normals", "uniforms"):
        for rows, columns in ((1, 1), (7, 5), (3, 31), (64, 130), (30, 3001)):
            for first_row, first_column in ((0, 0), (5, 7)):
                where = {"first_row": first_row, "first_column": first_column}
                for dtype in (np.float32, np.float64):
                    ours = device.fetch(
                        getattr(device.kernels, law)(KEY, 7, 9, 1, 3, rows, columns, **where, dtype=dtype)
                    )
                    theirs = getattr(cpu.kernels, law)(KEY, 7, 9, 1, 3, rows, columns, **where, dtype=dtype)
                    if not np.array_equal(ours, theirs):
                        raise Mismatch(f"{law} {rows} x {columns} from {first_row}, {first_column} differ")
                    count += ours.size
    return f"known answer; {count} numbers equal to the bit"


def _chains(device: Backend, quick: bool) -> str:
    worst = 0.0
    for precision in (MIXED, DOUBLE):
        for weights in ("gaussian", "orthogonal"):
            for inputs in (1, 2, 5) if quick else (1, 2, 3, 4, 5, 8, 16):
                for width in (31, 33) if quick else (1, 31, 33, 1000):
                    if 3 * inputs < width or inputs == 1:
                        what = f"{inputs} inputs, {weights}, width {width}, {precision}"
                        worst = max(worst, _chain(device, "tanh", weights, inputs, width, precision, what))
    return f"within {worst:.1f} rounding errors of the reference; allowed {ROUNDINGS}"


def _chain(device: Backend, activation: str, weights: str, inputs: int, width: int, precision: str, what: str) -> float:
    given: dict[str, Any] = {"activation": activations.get(activation), "weights": weights, "width": width, "depth": 4}
    given |= {"sigma_w2": 1.2, "sigma_b2": 0.1, "input_dimension": 60, "precision": precision}
    gram = input_gram(inputs, 60)
    found = device.kernels.conditioned_chain(KEY, 3, 5, device.place(gram), **given)
    expected = reference.conditioned_chain(KEY, 3, 5, gram, **given)
    double = precision == DOUBLE or inputs >= width
    return max(
        close(device.fetch(ours), theirs, EPSILON[DOUBLE if double else MIXED], what)
        for ours, theirs in zip(found, expected, strict=True)
    )


def _tangents(device: Backend, quick: bool) -> str:
    worst = 0.0
    for precision in (MIXED, DOUBLE):
        for inputs in (1, 2):
            for readout in (True, False):
                for width in (33,) if quick else (1, 31, 33, 1000):
                    if width > inputs:
                        given: dict[str, Any] = {"activation": activations.get("tanh"), "width": width, "depth": 4}
                        given |= {"sigma_w2": 1.2, "sigma_b2": 0.1, "readout": readout, "precision": precision}
                        gram = input_gram(inputs, 60)
                        found = device.kernels.tangent_chain(KEY, 3, 5, device.place(gram), **given)
                        expected = reference.tangent_chain(KEY, 3, 5, gram, **given)
                        what = f"{inputs} inputs, width {width}, {precision}"
                        for ours, theirs in zip(found, expected, strict=True):
                            worst = max(worst, close(device.fetch(ours), theirs, EPSILON[precision], what))
    return f"within {worst:.1f} rounding errors of the reference"


def _activations(device: Backend, names: tuple[str, ...]) -> str:
    worst = max(_chain(device, name, "gaussian", 2, 200, MIXED, name) for name in names)
    return f"{len(names)} activations within {worst:.1f} rounding errors"


def _weights(device: Backend) -> str:
    worst = 0.0
    for law in ("gaussian", "uniform"):
        for vectors in (1, 2, 8):
            for units, inputs in ((1, 31), (33, 1), (31, 1000), (150, 33)):
                for transpose in (False, True):
                    x = np.random.default_rng(5).standard_normal((2, vectors, units if transpose else inputs))
                    given: dict[str, Any] = {"law": law, "layer": 4, "units": units, "inputs": inputs, "scale": 0.3}
                    for dtype, epsilon in ((np.float32, EPSILON[MIXED]), (np.float64, EPSILON[DOUBLE])):
                        y = x.astype(dtype)
                        found = device.kernels.apply_weights(KEY, 3, 5, device.place(y), **given, transpose=transpose)
                        expected = reference.apply_weights(KEY, 3, 5, y, **given, transpose=transpose)
                        size = 0.3 * np.linalg.norm(y, axis=2, keepdims=True)
                        what = f"{vectors} vectors, {units} x {inputs}"
                        worst = max(worst, close(device.fetch(found) / size, expected / size, epsilon, what, 1.0))
    return f"within {worst:.1f} rounding errors"


def _layers(device: Backend, names: tuple[str, ...]) -> str:
    worst = 0.0
    for name in names:
        activation = activations.get(name)
        for inputs, width in ((1, 1), (2, 33), (4, 1000), (5, 31)):
            u = np.random.default_rng(7).standard_normal((2, inputs, width))
            for dtype, epsilon in ((np.float32, EPSILON[MIXED]), (np.float64, EPSILON[DOUBLE])):
                found = device.kernels.activate(activation, device.place(u.astype(dtype)))
                expected = reference.activate(activation, u.astype(dtype))
                for ours, theirs in zip(found, expected, strict=True):
                    worst = max(worst, close(device.fetch(ours), theirs, epsilon, name))
    return f"{len(names)} activations within {worst:.1f} rounding errors"


def _nan(device: Backend, cpu: Backend) -> str:
    for name in ("relu", "hard-tanh", "softplus", "elu", "tanh"):
        u = device.place(np.full((1, 1, 5), np.nan, np.float32))
        if not np.all(np.isnan(device.fetch(device.kernels.activate(activations.get(name), u).h))):
            raise Mismatch(f"{name} of NaN is a number")
    return "phi(NaN) is NaN"


def _eigenvalues(device: Backend, quick: bool) -> str:
    xp, worst = device.xp, 0.0
    for count, size in ((4, 20), (1, 40)) if quick else ((50, 20), (20, 64), (10, 300), (1, 600)):
        a = np.random.default_rng(9).standard_normal((count, size, size))
        s = a @ a.swapaxes(1, 2) / size
        ours = device.fetch(xp.linalg.eigvalsh(device.place(s)))
        worst = max(worst, close(ours, np.linalg.eigvalsh(s), size * EPSILON[DOUBLE], f"{count} matrices of {size}"))
        values = device.fetch(xp.linalg.svdvals(device.place(a[0])))
        worst = max(worst, close(values[None], np.linalg.svdvals(a[0])[None], size * EPSILON[DOUBLE], "svd"))
        products = device.fetch(xp.matmul(device.place(a), device.place(s)))
        worst = max(worst, close(products, a @ s, size * EPSILON[DOUBLE], "products"))
    route = device.facts.get("batched_eigenvalues", "no solver named")
    return f"within {worst:.1f} times size x rounding; batches by {route}"


def _programs(quick: bool) -> Iterator[gpu_studies.Study]:
    for precision in (DOUBLE, MIXED):
        yield from gpu_studies.programs(quick, precision)


def _ensembles(device: Backend, cpu: Backend, studies: Iterable[gpu_studies.Study]) -> str:
    worst: dict[str, float] = {}
    count = 0
    for name, where, request in studies:
        found, expected = (measure(where, request, 2, 6, backend) for backend in (device, cpu))
        for ours, theirs in zip(found, expected, strict=True):
            what = f"{name}, {theirs.variable.name}"
            if not np.array_equal(np.isnan(ours.values), np.isnan(theirs.values)):
                raise Mismatch(f"{what}: not defined at the same places")
            if np.all(np.isnan(theirs.values)):
                continue
            size = np.nanmax(np.abs(theirs.values))
            error = float(np.nanmax(np.abs(ours.values - theirs.values)) / (size or 1.0))
            if not error <= NETWORKS[request.precision]:
                raise Mismatch(f"{what}: off by {error:.1e}")
            worst[request.precision] = max(worst.get(request.precision, 0.0), error)
        count += 1
    told = ", ".join(
        f"{error:.0e} ({precision}, allowed {NETWORKS[precision]:.0e})" for precision, error in worst.items()
    )
    return f"{count} ensembles; the largest difference is {told}"


def _batches(device: Backend) -> str:
    count = 0
    for name, where, request in ensembles(True):
        whole, *parts = (measure(where, request, *span, device) for span in ((0, 7), (0, 1), (1, 3), (3, 7)))
        for n, measured in enumerate(whole):
            if measured.variable.per_shard:
                continue
            joined = np.concatenate([part[n].values for part in parts])
            if not np.array_equal(joined, measured.values, equal_nan=True):
                raise Mismatch(f"{name}: {measured.variable.name} depends on the batch")
        count += 1
    return f"{count} ensembles equal to the bit in other batches"


def _memory(device: Backend, cpu: Backend) -> str:
    if not hasattr(device.xp, "get_default_memory_pool"):
        raise Skipped("only a device has a memory of its own")
    where, request = point(2, "gaussian", 1000), Request({"q": {}}, 3, "explicit", DOUBLE)
    greedy = dataclasses.replace(device, memory=lambda: 1 << 60, register_vectors=0)
    expected = measure(where, request, 0, 24, dataclasses.replace(device, memory=lambda: 1 << 26, register_vectors=0))
    pool = device.xp.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=pool.used_bytes() + (96 << 20))  # a dozen matrices of 8 MB
    try:
        found = measure(where, request, 0, 24, greedy)
    finally:
        pool.set_limit(size=0)
    if not all(np.array_equal(a.values, b.values, equal_nan=True) for a, b in zip(found, expected, strict=True)):
        raise Mismatch("other numbers after a sub-batch was halved")
    return "sub-batches were halved and no bit changed"


def close(ours: NDArray[Any], theirs: NDArray[Any], epsilon: float, what: str, largest: float | None = None) -> float:
    """Error in units of epsilon times the largest entry; Mismatch above :data:`ROUNDINGS` or if not finite."""
    if not (np.all(np.isfinite(ours)) and np.all(np.isfinite(theirs))):
        raise Mismatch(f"{what}: not finite")
    axes = tuple(range(max(theirs.ndim - 2, 0), theirs.ndim))
    size = np.max(np.abs(theirs), axis=axes, keepdims=True) if largest is None else np.asarray(largest)
    error = float(np.max(np.abs(ours - theirs) / np.where(size > 0, size, 1.0))) / epsilon
    if not error <= ROUNDINGS:
        raise Mismatch(f"{what}: off by {error:.0f} rounding errors")
    return error
