"""Imports point one way: the drawing of docs/architecture.md, held by a test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What each room may import besides itself and the base; a room is a package, or the modules named for it.
BASE = {
    "activations", "closed_means", "errors", "expressions", "point", "request", "streams", "variables",
}  # fmt: skip
ALLOWED: dict[str, set[str]] = {
    "base": set(),
    "theory": set(),
    "kernels": {"backend"},
    "backend": {"kernels"},
    "inputs": {"backend", "kernels"},
    "weights": {"backend", "kernels"},
    "networks": {"weights", "inputs", "backend", "kernels"},
    "observables": {"networks", "weights", "inputs", "backend", "kernels"},
    "scenario": {"theory", "observables"},
    "engine": {"scenario", "observables", "inputs", "backend", "kernels"},
    "command": {"engine", "scenario", "theory", "observables", "backend", "kernels", "analysis"},
    "analysis": {"theory", "engine", "observables"},
}
COMMAND = {"cli", "commands", "doctor", "benchmark", "__main__"}


def room(module: str) -> str:
    """Room of a module such as ``mcnet.theory.gaussian``."""
    parts = module.split(".")
    if parts[0] == "analysis":
        return "analysis"
    name = parts[1] if len(parts) > 1 else ""
    if name in BASE or not name:
        return "base"
    if name in ALLOWED:
        return name
    if name in COMMAND:
        return "command"
    if name == "sweep" or name.startswith("scenario"):
        return "scenario"
    return "engine"  # plan, shards, dataset and what carries them out


def imported(path: Path) -> set[str]:
    """Modules of this project that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in {"mcnet", "analysis"} and "." in name}


FILES = sorted((*(ROOT / "mcnet").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    wrong = {name for name in imported(path) if room(name) not in {own, "base", *ALLOWED[own]}}
    if own == "base":  # the package's lazy names, and the tables it is made of
        wrong = set() if path.name == "__init__.py" else wrong
    assert not wrong, f"{own} must not import {sorted(wrong)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_cupy_has_one_door(path: Path) -> None:
    doors = {"backend.py", "gpu.py", "cupy_device.py", "linalg_cuda.py"}
    names = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert path.name in doors or not names & {"cupy", "cupyx"}


def test_a_wrong_arrow_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("def f():\n    from mcnet.theory import mean_field\n    return mean_field\n")
    assert {room(name) for name in imported(file)} == {"theory"}
    assert "theory" not in ALLOWED["observables"]
