"""Networks of a program with weights in hand, one network for each change of a weight: finite differences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import program_zoo as zoo

from mcnet.backend import Backend, get_backend
from mcnet.programs.trace import Trace

Array = np.ndarray[Any, Any]


class Weights:
    """Matrices and biases as arrays (N, m, n), (N, m)."""

    def __init__(self, w: Array, b: Array) -> None:
        self.w, self.b = w, b

    def apply(self, x: Array, constants: Array) -> Array:
        return x @ self.w.swapaxes(1, 2) + constants[:, None] * self.b[:, None, :]

    def apply_transpose(self, d: Array) -> Array:
        return d @ self.w


def one_network(backend: Backend) -> Backend:
    """All networks draw the numbers of the first one."""

    def normals(key: Any, start: int, stop: int, *arguments: Any, **options: Any) -> Any:
        return np.repeat(backend.kernels.normals(key, 0, 1, *arguments, **options), stop - start, axis=0)

    return dataclasses.replace(backend, kernels=SimpleNamespace(normals=normals))


SAME = one_network(get_backend("cpu"))


def weights_of(case: zoo.Case, **changes: Any) -> tuple[dict[Any, Weights], Trace]:
    """The matrices of network 0, built by the streams, as arrays."""
    trace = zoo.run(case, "explicit", 1, **changes)
    found = {}
    for key, count in trace.count.matrices.items():
        n = count.asked.columns
        questions = np.concatenate([np.eye(n), np.zeros((1, n))])[None]
        columns = trace.matrices[key].apply(questions, np.r_[np.zeros(n), 1.0])[0]
        found[key] = Weights(columns[:-1].T[None], columns[-1][None])
    return found, trace


def run(case: zoo.Case, matrices: Mapping[Any, Any], networks: int, backward: bool = False, **changes: Any) -> Trace:
    """Networks with these weights."""
    options = {"matrices": matrices, "grams": False}
    return zoo.run(case, "explicit", networks, backend=SAME, backward=backward, options=options, **changes)


def derivatives(
    case: zoo.Case, weights: Mapping[Any, Weights], step: float = 2e-4, **changes: Any
) -> dict[Any, tuple[Array, Array]]:
    """df/dW (m, n, Q) and df/db (m, Q) of every matrix by differences of fourth order; Q outputs and inputs."""
    found = {}
    for key, own in weights.items():
        count = own.w[0].size + own.b[0].size
        moves = np.concatenate([sign * step * np.eye(count) for sign in (1, -1, 2, -2)])
        w = own.w + moves[:, : own.w[0].size].reshape(-1, *own.w.shape[1:])
        b = own.b + moves[:, own.w[0].size :]
        f = run(case, {**weights, key: Weights(w, b)}, len(moves), **changes).outputs
        up, down, up2, down2 = f.reshape(4, count, -1)
        slope = (8 * (up - down) - (up2 - down2)) / (12 * step)
        found[key] = (slope[: own.w[0].size].reshape(*own.w.shape[1:], -1), slope[own.w[0].size :])
    return found
