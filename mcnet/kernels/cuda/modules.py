"""CUDA source and what runs it: a module takes source text with macros and launches its kernels."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mcnet.activations.table import Activation
from mcnet.kernels.cuda.source import activation_source

_FOLDER = Path(__file__).parent
_KERNEL = re.compile(r'extern "C" __global__ void(?:\s+__launch_bounds__\([^)]*\))?\s+(\w+)\(([^)]*)\)')
HEADERS = ("streams.cuh", "real.cuh")
"""Pasted in front of every kernel file; NVRTC is given one text and no header."""

Dim = tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """A kernel file with its macros and, where it needs one, its activation.

    Attributes
    ----------
    name : str
        The file without ``.cu``.
    macros : tuple of (str, int)
        Their names begin with ``MC_``: a short name may be taken by the compiler's own headers.
    activation : Activation, optional
    """

    name: str
    macros: tuple[tuple[str, int], ...]
    activation: Activation | None = None

    @property
    def text(self) -> str:
        """The whole source, one text without includes."""
        defined = "".join(f"#define {name} {value}\n" for name, value in self.macros)
        given = "" if self.activation is None else activation_source(self.activation)
        named = dict(self.macros)
        headers = "".join(map(_file, HEADERS)) + (_file("grams.cuh") if "MC_T" in named else "")
        units = _file("units.cuh") if "MC_HAAR" in named else ""
        return f"{defined}{headers}{given}{units}{_file(f'{self.name}.cu')}"


def signatures(text: str) -> dict[str, tuple[str, ...]]:
    """C types of the parameters of each kernel of a source text, as written."""
    return {
        name: tuple(" ".join(parameter.split()[:-1]) for parameter in parameters.split(","))
        for name, parameters in _KERNEL.findall(text)
    }


class AbstractModule(Protocol):
    """A compiled program."""

    def launch(self, kernel: str, grid: Dim, block: Dim, *arguments: Any) -> None:
        """Run a kernel; arguments are arrays of the device and NumPy scalars of the C types of the parameters."""
        ...


@functools.cache
def _file(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
