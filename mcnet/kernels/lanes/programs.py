"""Programs: Numba source files of this folder, compiled once per machine and kept in the user's cache directory.

A program is a module of this folder (``fill``, ``chain``). Before it is imported it is copied, together with the
printed form of an activation where it needs one, to a file whose name holds a digest of everything it depends on. Numba
keeps the machine code beside that file; it keys it by the CPU, and the digest makes sure that it is never stale.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from types import ModuleType

import llvmlite
import numba
import numpy as np

from mcnet import files
from mcnet.activations.table import Activation
from mcnet.errors import DiskError
from mcnet.kernels.lanes.printing import numba_source

_FOLDER = Path(__file__).parent
_PACKAGE = _FOLDER.parents[1]
_IMPORT = re.compile(r"^from (mcnet\.[a-z_.]+) import ", re.MULTILINE)
_PLACEHOLDER = re.compile("^from mcnet.kernels.lanes.printed import .*\n", re.MULTILINE)
_LOCK = threading.RLock()


def program(name: str, activation: Activation | None = None) -> ModuleType:
    """The module of a program, with ``phi``, ``dphi`` and ``phi_dphi`` of the activation in it."""
    text = _template(name)
    if activation is not None:
        text, count = _PLACEHOLDER.subn(lambda match: numba_source(activation), text)
        assert count == 1, f"{name} has no place for an activation"
    with _LOCK:
        return _imported(name, text)


def cache_folder() -> Path:
    """Where compiled programs are kept: $XDG_CACHE_HOME/mcnet or ~/.cache/mcnet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcnet"


@cache
def _template(name: str) -> str:
    return (_FOLDER / f"{name}.py").read_text(encoding="utf-8")


def _parts(text: str, known: dict[str, str]) -> dict[str, str]:
    """Source texts of all modules of mcnet that a source text imports, directly or not."""
    for name in _IMPORT.findall(text):
        if name not in known:
            path = _PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py")
            known[name] = path.read_text(encoding="utf-8")
            _parts(known[name], known)
    return known


@cache
def _imported(name: str, text: str) -> ModuleType:
    parts = sorted(_parts(text, {}).items())
    everything = repr((numba.__version__, llvmlite.__version__, np.__version__, text, parts))
    digest = hashlib.sha256(everything.encode()).hexdigest()[:16]
    module_name = f"mcnet_{name}_{digest}"
    path = _written(f"{module_name}.py", text)
    specification = importlib.util.spec_from_file_location(module_name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[module_name] = module  # Numba looks a cached function up by its module
    specification.loader.exec_module(module)
    return module


def _written(name: str, text: str) -> Path:
    """Path of a file with that text in the cache folder, or in a temporary one where that cannot be written."""
    try:
        return _put(cache_folder(), name, text)
    except (OSError, DiskError):
        return _put(Path(tempfile.mkdtemp(prefix="mcnet-")), name, text)


def _put(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if not (path.exists() and path.read_text(encoding="utf-8") == text):
        files.commit(folder, name, [text.encode()])  # another process may write the same file: either is complete
    return path
