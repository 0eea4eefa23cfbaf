"""NVRTC through ctypes: compile CUDA source for any architecture, with no GPU, driver or toolkit."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from pathlib import Path
from typing import NamedTuple

from mcnet.kernels.cuda import kernels

OPTIONS = ("--ptxas-options=-v", "-diag-suppress=177", "-Werror=all-warnings")  # 177: unused functions


class Compiled(NamedTuple):
    """What the assembler says of a program: machine code, and per kernel registers and bytes spilled."""

    code: bytes
    registers: tuple[int, ...]
    spilled: tuple[int, ...]
    shared: tuple[int, ...]


@functools.cache
def nvrtc() -> ctypes.CDLL | None:
    """The library of the wheel ``nvidia-cuda-nvrtc``; None where it is missing."""
    for entry in sys.path:
        found = sorted(Path(entry or ".").glob("nvidia/*/lib/libnvrtc.so.*"))
        found = [path for path in found if "alt" not in path.name]
        if found:
            return ctypes.CDLL(str(found[-1]))
    return None


def architectures() -> tuple[int, ...]:
    """Compute capabilities, 75 for 7.5, that the library compiles for."""
    library = nvrtc()
    assert library is not None
    count = ctypes.c_int()
    library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    numbers = (ctypes.c_int * count.value)()
    library.nvrtcGetSupportedArchs(numbers)
    return tuple(numbers)


def compiled(text: str, architecture: int, ptx: bool = False) -> Compiled:
    """Compile a program to machine code, or to PTX; raises RuntimeError with the compiler's log."""
    library = nvrtc()
    assert library is not None
    program = ctypes.c_void_p()
    assert library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"program.cu", 0, None, None) == 0
    try:
        options = [option.encode() for option in (*OPTIONS, *kernels.OPTIONS, f"-arch=sm_{architecture}")]
        failed = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        size = ctypes.c_size_t()
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        said = log.value.decode()
        if failed:
            raise RuntimeError(said)
        kind = "PTX" if ptx else "CUBIN"
        getattr(library, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        getattr(library, f"nvrtcGet{kind}")(program, code)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
    return Compiled(
        code.raw,
        _numbers(r"Used (\d+) registers", said),
        _numbers(r"(\d+) bytes spill stores", said),
        _numbers(r"(\d+) bytes smem", said),
    )


def _numbers(pattern: str, text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(pattern, text))
