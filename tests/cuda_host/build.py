"""The CUDA programs built for the host by g++ and launched on NumPy arrays through ctypes.

:class:`HostModule` stands where a module of the GPU would: it takes the arguments that a launch on the device would
take, and refuses what a kernel would misread there (a wrong type, a wrong number, an array that is not contiguous).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erf

from mcnet.kernels.cuda.kernels import Kernels
from mcnet.kernels.cuda.modules import Dim, Program, signatures

_HEADER = Path(__file__).with_name("cuda_on_host.h")
_SCALARS = {"mc_word": np.uint32, "int": np.int32, "float": np.float32, "double": np.float64}
_C_TYPES = {
    np.uint32: ctypes.c_uint32,
    np.int32: ctypes.c_int32,
    np.float32: ctypes.c_float,
    np.float64: ctypes.c_double,
}
ORDERS = ("forward", "reverse", "shuffled")


def compiler() -> str | None:
    """Path of g++, None where there is none."""
    return shutil.which("g++")


@dataclass(frozen=True)
class HostModule:
    """A program on the host: its source, its build, and the order of the threads of a block between barriers."""

    text: str
    library: ctypes.CDLL
    order: str

    def launch(self, kernel: str, grid: Dim, block: Dim, *arguments: Any) -> None:
        """Run a kernel on NumPy arrays."""
        types = signatures(self.text)[kernel]
        if len(types) != len(arguments):
            raise TypeError(f"{kernel} takes {len(types)} arguments, not {len(arguments)}")
        size = (ctypes.c_uint * 6)(*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3])
        given = [
            _argument(kernel, n, self._resolved(t), a) for n, (t, a) in enumerate(zip(types, arguments, strict=True))
        ]
        if getattr(self.library, f"host_{kernel}")(size, ORDERS.index(self.order), *given):
            raise RuntimeError(f"{kernel}: threads of a block wait at different barriers")

    def _resolved(self, c_type: str) -> str:
        real = "double" if "#define MC_DOUBLE 1" in self.text else "float"
        return c_type.removeprefix("const ").replace("mc_real", real)


def kernels(order: str = "forward") -> Kernels:
    """The kernels of the GPU with NumPy arrays and programs built for the host."""
    return Kernels(np, functools.partial(host_module, order=order), erf)


@functools.cache
def host_module(program: Program, order: str = "forward") -> HostModule:
    """Build a program, or take the build of an earlier run."""
    return module_of(program.text, order)


def module_of(text: str, order: str = "forward") -> HostModule:
    """The module of a source text."""
    return HostModule(text, library(host_text(text)), order)


def host_text(text: str) -> str:
    """A program as host code: a launcher for each kernel, made from its signature."""
    launchers = []
    for kernel, types in signatures(text).items():
        parameters = "".join(f", {c_type} a{n}" for n, c_type in enumerate(types))
        values = ", ".join(f"a{n}" for n in range(len(types)))
        launchers.append(
            f'extern "C" int host_{kernel}(const unsigned* size, int order{parameters}) '
            f"{{ return host_launch(size, order, [=] {{ {kernel}({values}); }}); }}\n"
        )
    return _HEADER.read_text(encoding="utf-8") + text + "".join(launchers)


def library(text: str, language: str = "c++") -> ctypes.CDLL:
    """Source text as a shared library, kept in the temporary directory under its digest."""
    executable = compiler()
    if executable is None:
        raise FileNotFoundError("g++ is missing: the CUDA kernels cannot be built for the host")
    options = ["-O1", "-march=native", "-ffp-contract=off", "-w", "-shared", "-fPIC", "-x", language]
    options += ["-std=c++17", "-nostdinc++"] if language == "c++" else ["-std=c11"]
    digest = hashlib.sha256((text + str(options) + executable).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"mcnet-cuda-host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{digest}.so"
    if not path.exists():
        made = path.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            [executable, *options, "-o", str(made), "-", "-lm"], input=text, text=True, capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr[:4000])
        made.replace(path)
    return ctypes.CDLL(str(path))


def _argument(kernel: str, number: int, c_type: str, value: Any) -> Any:
    if c_type.endswith("*"):
        dtype = np.dtype(_SCALARS[c_type.rstrip(" *")])
        if not isinstance(value, np.ndarray) or value.dtype != dtype or not value.flags.c_contiguous:
            raise TypeError(f"{kernel}, argument {number}: needs a contiguous array of {dtype}")
        return ctypes.c_void_p(value.ctypes.data)
    scalar = _SCALARS[c_type]
    if type(value) is not scalar:
        raise TypeError(f"{kernel}, argument {number}: needs a NumPy {scalar.__name__}, not {type(value).__name__}")
    return _C_TYPES[scalar](value)
