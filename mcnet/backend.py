"""Where arrays live and who computes with them: device, array namespace, kernels."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.activations.expressions import FUNCTIONS, numpy_math
from mcnet.errors import DeviceError, UsageError
from mcnet.streams import STREAM_VERSION

CPU_MEMORY = 1 << 28
"""Bytes of working memory of a sub-batch on the CPU (one network may take more)."""

KEPT_MEMORY = 4 * CPU_MEMORY
"""Bytes of freed memory that the process keeps on the CPU, for the next sub-batch."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _LARGEST_IN_HEAP = -1, -3, 1 << 25
"""Of ``mallopt`` in malloc.h: what is kept, and from which size on an array has pages of its own (at most 32 MB)."""

GPU_SHARE = 0.5
"""Share of the free memory of a GPU that a sub-batch is meant to take; estimates are good to a factor of two."""


@dataclass(frozen=True)
class Backend:
    """A device and what computes on it.

    Attributes
    ----------
    name : str
        ``cpu`` or ``cuda:N``.
    device : str
        The device in words, for the provenance of a dataset.
    xp : namespace
        Array namespace (array-API standard).
    kernels : module
        Random streams and fused kernels; the names of :mod:`mcnet.kernels.reference`.
    place, fetch : callable
        NumPy array to the device, and back.
    facts : mapping of str to str
        The device and its software, for the provenance of a dataset.
    memory : callable
        Bytes that a sub-batch may take now.
    exhausted : tuple of exception types
        What the array library raises where memory runs out.
    register_vectors : int
        Up to so many vectors a product with weights made in registers (``kernels.apply_weights``) is faster than
        making the matrix.
    tangent_inputs : int
        Up to so many inputs ``kernels.tangent_chain`` serves.
    fused_activation : bool
        Whether ``kernels.activate`` makes a layer's activations, slopes and overlaps in one pass.
    """

    name: str
    device: str
    xp: Any
    kernels: Any
    place: Callable[[NDArray[Any]], Any]
    fetch: Callable[[Any], NDArray[Any]]
    facts: Mapping[str, str] = field(default_factory=dict)
    memory: Callable[[], int] = lambda: CPU_MEMORY
    exhausted: tuple[type[BaseException], ...] = (MemoryError,)
    register_vectors: int = 0
    tangent_inputs: int = 1 << 30
    fused_activation: bool = False

    def describe(self) -> dict[str, str]:
        """Everything that tells what computed: backend, device, driver, libraries, precision of products, streams."""
        return {"backend": self.name, **self.facts, "stream_version": str(STREAM_VERSION)}

    def mathematics(self, u: Any) -> Any:
        """The namespace ``m`` of :mod:`mcnet.activations.expressions` for arrays like u."""
        return numpy_math if self.xp is np else _elementwise(self, u)


def get_backend(device: str = "auto") -> Backend:
    """The backend of a device: ``auto``, ``cpu`` or ``cuda:N``.

    ``auto`` takes the first CUDA device if CuPy is installed and sees one, else the CPU.

    Raises
    ------
    UsageError
        If the name is none of these.
    DeviceError
        If the device is not there.
    """
    if device == "cpu" or (device == "auto" and not cuda_devices()):
        _keep_freed_memory()
        from mcnet.kernels import cpu

        facts = {"device": _processor(), "cores": str(os.cpu_count() or 1)}
        return Backend("cpu", facts["device"], np, cpu, np.asarray, np.asarray, facts)
    if device == "auto":
        return _cuda(0)
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number.isdecimal() or device == "cuda"):
        raise UsageError(f'device "{device}" is not known; use auto, cpu or cuda:N')
    return _cuda(int(number or 0))


@functools.cache
def _keep_freed_memory() -> None:
    """Let freed arrays be used again: pages fresh from the system cost more than a pass over them.

    A setting of the C library of GNU, which otherwise returns what is free to the system at once; others have none.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        settings = ctypes.CDLL(None)
        settings.mallopt(_TRIM_THRESHOLD, KEPT_MEMORY)
        settings.mallopt(_MMAP_THRESHOLD, _LARGEST_IN_HEAP)


def cuda_devices() -> int:
    """Number of CUDA devices that CuPy can use, 0 where CuPy or a driver is missing."""
    try:
        return int(_cupy().cuda.runtime.getDeviceCount()) if _cupy().is_available() else 0
    except DeviceError:
        return 0


@functools.cache
def _cupy() -> Any:
    """CuPy, imported here alone; no product is rounded to TF32, which would cost 13 of 24 bits."""
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # read by the libraries at their first call
    os.environ.pop("CUPY_TF32", None)
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            'CUDA devices need CuPy: pip install "mcnet[cuda13]" (or "mcnet[cuda12]" for a driver of CUDA 12), '
            "or use --device cpu"
        ) from error
    return cupy


def _cuda(number: int) -> Backend:
    """A CUDA device, made the current one of this process."""
    name = f"cuda:{number}"
    try:
        cupy = _cupy()
    except DeviceError as error:
        raise DeviceError(f'device "{name}" is not there: {error}') from error
    count = cuda_devices()
    if not count:
        raise DeviceError(
            f'device "{name}" is not there: CuPy sees no CUDA device; look at nvidia-smi, or use --device cpu'
        )
    if number >= count:
        raise DeviceError(f'device "{name}" is not there: this machine has cuda:0 to cuda:{count - 1}')
    from cupyx.scipy.special import erf

    from mcnet.kernels.cuda import device as cupy_device
    from mcnet.kernels.cuda import kernels as gpu

    cupy.cuda.Device(number).use()
    xp = cupy_device.Namespace(cupy, cupy_device.solver(cupy))
    facts = {**cupy_device.description(cupy, number), "tf32": "off"}
    return Backend(
        name,
        facts["device"],
        xp,
        cupy_device.kernels(cupy, xp, erf),
        cupy.asarray,
        cupy.asnumpy,
        facts,
        lambda: int(GPU_SHARE * cupy_device.free_memory(cupy)),
        (cupy.cuda.memory.OutOfMemoryError, MemoryError),
        gpu.MOST_VECTORS,
        gpu.TANGENT_INPUTS,
        fused_activation=True,
    )


def _processor() -> str:
    """Name of the processor, as far as the system tells."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """BLAS on one thread: with more, the order of its sums, hence the last bits, would depend on their number."""
    libraries = _blas()
    with libraries.limit(limits=1, user_api="blas") if libraries else contextlib.nullcontext():
        yield


@functools.cache
def _blas() -> Any:
    """The BLAS libraries of this process, found once (it takes milliseconds); None without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    importlib.import_module("scipy.linalg.blas")  # a BLAS of its own, found only once it is loaded

    return ThreadpoolController()


def _elementwise(backend: Backend, u: Any) -> SimpleNamespace:
    """Elementwise mathematics of an array-API namespace: numbers become arrays of the type and place of u."""
    xp = backend.xp

    def array(value: Any) -> Any:
        return xp.full_like(u, value) if isinstance(value, int | float) else value

    functions = {name: getattr(xp, name) for name in FUNCTIONS if name not in ("erf", "maximum", "minimum", "where")}
    return SimpleNamespace(
        **functions,
        erf=backend.kernels.erf,
        maximum=lambda a, b: xp.maximum(array(a), array(b)),
        minimum=lambda a, b: xp.minimum(array(a), array(b)),
        where=lambda condition, a, b: xp.where(condition, array(a), array(b)),
    )
