"""Programs: kept on disk, named after everything they depend on, still running where nothing can be kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcnet import activations
from mcnet.kernels.lanes import programs


def test_the_name_depends_on_the_activation_and_on_imported_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    tanh, relu = (programs.program("chain", activations.get(name)) for name in ("tanh", "relu"))
    assert tanh is programs.program("chain", activations.get("tanh"))
    assert tanh.__file__ != relu.__file__
    assert programs.program("chain", activations.get({"name": "elu", "alpha": 2.0})).__file__ not in (
        programs.program("chain", activations.get("elu")).__file__,
        relu.__file__,
    )
    parts = programs._parts(Path(str(tanh.__file__)).read_text(), {})
    assert {
        "mcnet.kernels.lanes.simd",
        "mcnet.kernels.lanes.elementary",
        "mcnet.kernels.lanes.lanes",
        "mcnet.streams",
    } <= set(parts)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    programs._imported.cache_clear()
    fill = programs.program("fill")
    assert not str(fill.__file__).startswith(str(tmp_path))
    out = np.empty(5, np.float32)
    fill.fill(out, 1, 1, 5, False, 1, 2, 0, 1, 0, 0)
    assert np.isfinite(out).all()
    programs._imported.cache_clear()


def test_a_damaged_file_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    programs._imported.cache_clear()
    path = Path(str(programs.program("fill").__file__))
    assert path.parent == tmp_path / "mcnet"
    text = path.read_text()
    path.write_text("raise RuntimeError")
    programs._imported.cache_clear()
    assert programs.program("fill").__name__ in str(path)
    assert path.read_text() == text
    assert not list(tmp_path.rglob("*.tmp"))
    programs._imported.cache_clear()
