"""Plug-ins: a directory may ask for code that its user named, and for no other, however that is installed."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from mcnet import plugins
from mcnet.errors import UsageError


class Editable:
    """The finder of a package that is installed to be edited: no path leads to it."""

    def __init__(self, name: str, file: Path) -> None:
        self._name, self._file = name, file

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_file_location(name, self._file) if name == self._name else None


def test_installed_code_is_not_run_unless_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owned, hidden = tmp_path / "owned", tmp_path / "hidden" / "eviltool.py"
    hidden.parent.mkdir()
    hidden.write_text(f"import pathlib; pathlib.Path({str(owned)!r}).touch()")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Editable("eviltool", hidden)])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(plugins.VARIABLE, "")
    for names in (["eviltool"], ["eviltool.part"]):
        with pytest.raises(UsageError, match=r"\(.*eviltool\.py\), which is code that you have not named"):
            plugins.load_named(names, "a run")
    assert not owned.exists()
    plugins.load(["eviltool"])
    owned.unlink()
    monkeypatch.delitem(sys.modules, "eviltool")
    monkeypatch.setenv(plugins.VARIABLE, "")
    plugins.load_named(["eviltool"], "a run")  # remembered by its place
    assert owned.exists()
    monkeypatch.delitem(sys.modules, "eviltool")


def test_modules_that_nobody_finds_and_no_name_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugins.VARIABLE, "")
    with pytest.raises(UsageError, match="a run: was made with the plug-in nowhere, and there is no such module"):
        plugins.load_named(["nowhere"], "a run")
    with pytest.raises(UsageError, match="is no module name"):
        plugins.load_named([""], "a run")
