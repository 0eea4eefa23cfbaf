"""Imports point one way: the drawing of docs/architecture.md, held by a test."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"mcnet": ROOT / "mcnet", "mcnet_analysis": ROOT / "analysis"}

BASE = {"activations", "coordinates", "errors", "point", "recipe", "request", "streams", "variables"}
"""What every room may import: names and numbers, no work."""

# What each room may import besides itself and the base. A room is a package, or a module at the root.
ALLOWED: dict[str, set[str]] = {
    "base": set(),
    "theory": {"programs"},
    "kernels": {"backend", "files"},
    "backend": {"kernels"},
    "weights": {"backend", "kernels"},
    "networks": {"weights", "backend", "kernels"},
    "programs": {"weights", "networks", "backend", "kernels"},
    "architectures": {"programs"},
    "training": {"theory", "architectures", "programs", "networks", "weights", "backend", "kernels"},
    "observables": {"training", "architectures", "programs", "networks", "weights", "backend", "kernels"},
    "scenario": {"theory", "observables", "training", "architectures", "programs", "progress"},
    "predictions": {"theory", "architectures", "programs"},
    "plan": {"scenario", "observables", "architectures", "collector"},
    "collector": set(),
    "files": set(),
    "machine": set(),
    "progress": set(),
    "provenance": set(),
    "plugins": {"files"},
    "storage": {"plan", "scenario", "collector", "files", "machine", "plugins"},
    "dataset": {
        *("storage", "plan", "scenario", "observables", "architectures", "networks", "backend"),
        *("provenance", "files"),
    },
    "engine": {
        *("dataset", "storage", "plan", "scenario", "observables", "networks", "backend", "kernels"),
        *("collector", "files", "machine", "plugins", "progress", "provenance"),
    },
    "commands": {
        "mcnet",
        *("engine", "dataset", "storage", "plan", "scenario", "theory", "predictions", "observables"),
        *("architectures", "backend"),
        *("kernels", "files", "machine", "plugins", "progress", "provenance", "analysis"),
    },
    "__main__": {"commands"},
    "mcnet": {"engine", "dataset", "scenario", "analysis"},  # the package's public names, imported when asked for
    "analysis": {
        *("statistics", "study", "predict", "judge", "sampling", "draw"),
        *("theory", "dataset", "storage", "plugins", "progress", "files"),
    },
    "statistics": {"theory"},
    "study": {"statistics", "dataset", "architectures", "predictions"},
    "predict": {"statistics", "study", "theory", "predictions", "observables"},
    "judge": {"predict", "predictions", "statistics", "study", "theory"},
    "sampling": {"statistics", "storage", "plan"},
    "draw": {"judge", "predict", "sampling", "statistics", "study", "theory", "plan"},
}

PUBLIC = {
    "mcnet": {"open", "run", "sample", "Scenario", "__version__", "analyze", "report", "judge", "plot", "table", "grid"}
}


def room(module: str) -> str:
    """Room of a module such as ``mcnet.theory.gaussian``; an unknown one is refused."""
    parts = module.split(".")
    if len(parts) == 1 or parts[1] in PUBLIC.get(parts[0], ()):
        return {"mcnet": "mcnet", "mcnet_analysis": "analysis"}[parts[0]]
    if parts[1] in BASE:
        return "base"
    if parts[0] == "mcnet_analysis" and parts[1] in {
        "analyze",
        "report",
        "report_tables",
        "forecast",
        "members",
        "plot",
        "table",
        "kept",
    }:
        return "analysis"
    assert parts[1] in ALLOWED, f"{module}: no room of this name; draw it in docs/architecture.md and here"
    return parts[1]


def imported(path: Path) -> set[str]:
    """Modules of this project that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in PACKAGES and "." in name}


MODULES = {
    ".".join((package, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
    for package, folder in PACKAGES.items()
    for path in sorted(folder.rglob("*.py"))
}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    own = room(module)
    wrong = {name for name in imported(MODULES[module]) if room(name) not in {own, "base", *ALLOWED[own]}}
    assert not wrong, f"{own} must not import {sorted(wrong)}"


@pytest.mark.parametrize("module", MODULES)
def test_cupy_has_one_door(module: str) -> None:
    path = MODULES[module]
    names = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert module == "mcnet.backend" or module.startswith("mcnet.kernels.cuda.") or not names & {"cupy", "cupyx"}


def test_a_wrong_arrow_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("def f():\n    from mcnet.theory import mean_field\n    return mean_field\n")
    assert {room(name) for name in imported(file)} == {"theory"}
    assert "theory" not in ALLOWED["observables"]


def test_an_unknown_room_is_seen() -> None:
    with pytest.raises(AssertionError, match="no room of this name"):
        room("mcnet.cellar.wine")


def test_no_circle() -> None:
    done: set[str] = set()
    rooms = {name: allowed - {"kernels"} if name == "backend" else allowed for name, allowed in ALLOWED.items()}
    while len(done) < len(rooms):
        free = {name for name, allowed in rooms.items() if name not in done and allowed <= done}
        assert free, f"a circle among {sorted(rooms.keys() - done)}"
        done |= free


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(listed) == there
