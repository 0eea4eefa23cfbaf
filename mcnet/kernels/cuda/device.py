"""A CUDA device through CuPy, which the backend imports and hands over: namespace, modules, memory, description."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mcnet.kernels.cuda import linalg
from mcnet.kernels.cuda.kernels import OPTIONS, Kernels
from mcnet.kernels.cuda.modules import Dim, Program

Array = Any


class CupyModule:
    """A program compiled by NVRTC through CuPy, which keeps the machine code on disk."""

    def __init__(self, cupy: Any, program: Program) -> None:
        self._module = cupy.RawModule(code=program.text, options=OPTIONS)

    def launch(self, kernel: str, grid: Dim, block: Dim, *arguments: Any) -> None:
        """Run a kernel; see :class:`mcnet.kernels.cuda.modules.AbstractModule`."""
        self._module.get_function(kernel)(grid, block, arguments)


class Namespace:
    """CuPy with the functions of the array-API standard that it lacks, and the linear algebra that suits a GPU.

    Everything not named here is CuPy's own.
    """

    def __init__(self, cupy: Any, solver: linalg.Solver | None) -> None:
        self._cupy = cupy
        self.linalg = _Linalg(cupy, solver)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cupy, name)

    def vecdot(self, a: Array, b: Array) -> Array:
        """Sum of products along the last axis."""
        return (a * b).sum(axis=-1)

    def matmul(self, a: Array, b: Array) -> Array:
        """Matrix products of stacks; see :func:`mcnet.kernels.cuda.linalg.matmul`."""
        return linalg.matmul(self._cupy, a, b)


class _Linalg:
    """The extension ``linalg`` of the standard, for stacks of matrices."""

    def __init__(self, cupy: Any, solver: linalg.Solver | None) -> None:
        self._cupy, self._solver = cupy, solver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cupy.linalg, name)

    def eigvalsh(self, a: Array) -> Array:
        """Eigenvalues of symmetric matrices, ascending."""
        return linalg.eigvalsh(self._cupy, a, self._solver)

    def svdvals(self, a: Array) -> Array:
        """Singular values of one matrix, descending."""
        return self._cupy.linalg.svd(a, compute_uv=False)

    def diagonal(self, a: Array) -> Array:
        """Diagonals of the last two axes."""
        return self._cupy.diagonal(a, axis1=-2, axis2=-1)

    def trace(self, a: Array) -> Array:
        """Traces of the last two axes."""
        return self._cupy.trace(a, axis1=-2, axis2=-1)


def kernels(cupy: Any, xp: Namespace, erf: Callable[[Array], Array]) -> Kernels:
    """The kernels of the current device; programs are compiled once per process."""
    return Kernels(xp, functools.cache(lambda program: CupyModule(cupy, program)), erf)


def solver(cupy: Any) -> linalg.Solver | None:
    """The batched eigenvalue solver of the device, None where cuSOLVER has none."""
    library = linalg.cusolver()
    if library is None:
        return None
    return linalg.Solver(library, lambda: int(cupy.cuda.get_current_stream().ptr), lambda a: int(a.data.ptr))


def free_memory(cupy: Any) -> int:
    """Bytes that arrays can still take: free ones of the device and those that CuPy keeps for reuse."""
    free, _ = cupy.cuda.runtime.memGetInfo()
    return int(free + cupy.get_default_memory_pool().free_bytes())


def description(cupy: Any, number: int) -> dict[str, str]:
    """Name, memory, driver and library versions of a device."""
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(number)
    return {
        "device": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "memory_bytes": str(properties["totalGlobalMem"]),
        "driver": _version(runtime.driverGetVersion()),
        "cuda_runtime": _version(runtime.runtimeGetVersion()),
        "cupy": str(cupy.__version__),
        "batched_eigenvalues": "cusolverDnXsyevBatched" if linalg.cusolver() else "one matrix at a time",
    }


def _version(number: int) -> str:
    """12040 -> 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"
