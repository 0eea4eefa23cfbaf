"""Where arrays live and who computes with them: device, array namespace, kernels."""

from __future__ import annotations

import contextlib
import functools
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.errors import DeviceError, UsageError
from mcnet.expressions import FUNCTIONS, numpy_math


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
    """

    name: str
    device: str
    xp: Any
    kernels: Any
    place: Callable[[NDArray[Any]], Any]
    fetch: Callable[[Any], NDArray[Any]]

    def mathematics(self, u: Any) -> Any:
        """The namespace ``m`` in which activations are evaluated on arrays like u (:mod:`mcnet.expressions`)."""
        return numpy_math if self.xp is np else _elementwise(self, u)


def get_backend(device: str = "auto") -> Backend:
    """The backend of a device: ``auto``, ``cpu`` or ``cuda:N``.

    Raises
    ------
    UsageError
        If the name is none of these.
    DeviceError
        If the device is not there.
    """
    if device in ("auto", "cpu"):
        from mcnet.kernels import cpu

        return Backend("cpu", _processor(), np, cpu, np.asarray, np.asarray)
    if device.startswith("cuda"):
        raise DeviceError(f'device "{device}": this version of mcnet has no CUDA kernels; use --device cpu')
    raise UsageError(f'device "{device}" is not known; use auto, cpu or cuda:N')


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
    with _blas().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _blas() -> Any:
    """The BLAS libraries of this process; finding them takes milliseconds, so once."""
    from threadpoolctl import ThreadpoolController

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
