"""Linear algebra of stacks of matrices as a GPU does it well: what the namespace of the device puts under its names."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any

SMALL = 32
"""Matrices up to this size go to the batched Jacobi solver, larger ones to the batched divide and conquer."""

_GROUP_ELEMENTS = 1 << 22
_LARGEST_GROUP = 64


def matmul(xp: Any, a: Array, b: Array) -> Array:
    """Matrix products of stacks, in groups of a number that depends on the size of the matrices alone.

    A library may choose its algorithm, hence the order of its sums, by the number of matrices. In groups of a fixed
    number, the last one filled up with zeros, network n has the same bits in every batch.
    """
    if a.ndim == 2 and b.ndim == 2:
        return xp.matmul(a, b)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (xp.broadcast_to(x, (*lead, *x.shape[-2:])).reshape(-1, *x.shape[-2:]) for x in (a, b))
    out = xp.empty((a.shape[0], a.shape[1], b.shape[2]), dtype=xp.result_type(a, b))
    if out.size:
        group = group_size(a.shape[1], a.shape[2], b.shape[2])
        for first in range(0, a.shape[0], group):
            parts = [x[first : first + group] for x in (a, b)]
            count = parts[0].shape[0]
            if count < group:
                parts = [xp.concatenate([x, xp.zeros((group - count, *x.shape[1:]), dtype=x.dtype)]) for x in parts]
            out[first : first + count] = xp.matmul(*parts)[:count]
    return out.reshape(*lead, *out.shape[1:])


def group_size(rows: int, inner: int, columns: int) -> int:
    """Matrices multiplied in one call: a power of two, many where they are small."""
    largest = max(1, rows * inner, inner * columns, rows * columns)
    return min(_LARGEST_GROUP, 1 << max(0, (_GROUP_ELEMENTS // largest).bit_length() - 1))


def eigvalsh(xp: Any, a: Array, solver: Solver | None) -> Array:
    """Eigenvalues, ascending, of symmetric matrices: (n, n) or (N, n, n), float32 or float64.

    One matrix and matrices beyond the batched solver go one by one to divide and conquer, which is what a GPU without
    the batched routine (cuSOLVER before 11.7) does with all of them.
    """
    if a.ndim == 2 or a.shape[-1] <= SMALL:
        return xp.linalg.eigvalsh(a)
    if solver is None or a.shape[0] == 1:
        return xp.stack([xp.linalg.eigvalsh(a[n]) for n in range(a.shape[0])])
    return solver.eigvalsh(xp, a)


class Solver:
    """cusolverDnXsyevBatched through ctypes; CuPy has no name for it.

    Parameters
    ----------
    library : ctypes.CDLL
        cuSOLVER, of CUDA 12.6 or newer.
    stream : callable
        Address of the stream that the arrays are worked on.
    address : callable
        Address of an array's memory.
    """

    def __init__(self, library: ctypes.CDLL, stream: Callable[[], int], address: Callable[[Array], int]) -> None:
        self._library, self._stream, self._address = library, stream, address
        self._handle, self._parameters = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cusolverDnCreate", ctypes.byref(self._handle))
        self._call("cusolverDnCreateParams", ctypes.byref(self._parameters))
        weakref.finalize(self, _close, library, self._handle, self._parameters)

    def eigvalsh(self, xp: Any, a: Array) -> Array:
        """Eigenvalues, ascending: (N, n, n) -> (N, n); LinAlgError where the iteration does not converge."""
        count, size, _ = a.shape
        work = xp.array(a, order="C", copy=True)  # overwritten
        values = xp.empty((count, size), dtype=a.dtype)
        info = xp.zeros(count, dtype=xp.int32)
        real, length = ctypes.c_int({"float32": 0, "float64": 1}[str(a.dtype)]), ctypes.c_int64(size)
        novector = lower = ctypes.c_int(0)
        given = (
            *(self._handle, self._parameters, novector, lower, length),
            *(real, self._pointer(work), length, real, self._pointer(values), real),
        )
        on_device, on_host = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cusolverDnSetStream", self._handle, ctypes.c_void_p(self._stream()))
        sizes = ctypes.byref(on_device), ctypes.byref(on_host)
        self._call("cusolverDnXsyevBatched_bufferSize", *given, *sizes, ctypes.c_int64(count))
        device = xp.empty(max(on_device.value, 1), dtype=xp.uint8)
        host = np.empty(max(on_host.value, 1), np.uint8)
        self._call(
            "cusolverDnXsyevBatched",
            *given,
            *(self._pointer(device), on_device, ctypes.c_void_p(host.ctypes.data), on_host),
            *(self._pointer(info), ctypes.c_int64(count)),
        )
        failed = int(xp.count_nonzero(info))
        if failed:
            raise np.linalg.LinAlgError(f"the eigenvalues of {failed} of {count} matrices do not converge")
        return values

    def _pointer(self, array: Array) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._address(array))

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} of cuSOLVER returned {status}")


def _close(library: ctypes.CDLL, handle: ctypes.c_void_p, parameters: ctypes.c_void_p) -> None:
    library.cusolverDnDestroyParams(parameters)
    library.cusolverDnDestroy(handle)


@functools.cache
def cusolver() -> ctypes.CDLL | None:
    """The cuSOLVER library, None where there is none or it is too old for the batched routine."""
    for load in (_found_by_pathfinder, lambda: "libcusolver.so.12", lambda: "libcusolver.so.11"):
        with contextlib.suppress(OSError, ImportError, RuntimeError):
            library = ctypes.CDLL(load())
            if hasattr(library, "cusolverDnXsyevBatched"):
                return library
    return None


def _found_by_pathfinder() -> str:
    """Where the CUDA libraries that CuPy's wheel brings lie."""
    finder = importlib.import_module("cuda.pathfinder")
    return str(finder.load_nvidia_dynamic_lib("cusolver").abs_path)
