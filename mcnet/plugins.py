"""Plug-in modules: what a user adds to mcnet (activations) by importing a module of their own.

A module is code. The user says it once, with ``--plugin``; from then on the directories of runs may name it. One that
comes from elsewhere and names a module that this user never did is refused: to read a directory is not to run what it
says. What was said is remembered by the place of the file in ``~/.local/state/mcnet/plugins``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path

from mcnet import files
from mcnet.errors import DataError, UsageError

VARIABLE = "MCNET_PLUGINS"
"""Environment variable: names of plug-ins that directories may ask for; worker processes inherit it."""

_MAX_BYTES = 2**20


def load(names: Iterable[str]) -> None:
    """Import plug-in modules that the user named; the current directory counts as a place where they may lie.

    Raises
    ------
    UsageError
        If a module cannot be found, or fails while it is imported.
    """
    for name in names:
        _require_name(name)
        here = os.getcwd()
        if here not in sys.path:
            sys.path.append(here)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise UsageError(f'plug-in "{name}": it imports {error.name}, which is not installed.') from error
            raise UsageError(
                f'plug-in "{name}": there is no such module. Run from the directory that holds it, or set PYTHONPATH.'
            ) from None
        except (ArithmeticError, AttributeError, ImportError, LookupError, NameError, TypeError, ValueError) as error:
            raise UsageError(f'plug-in "{name}": fails when imported: {type(error).__name__}: {error}') from error
        except SyntaxError as error:
            raise UsageError(f'plug-in "{name}": line {error.lineno}: {error.msg}.') from error
        if name not in _allowed():
            os.environ[VARIABLE] = ",".join([*_allowed(), name])
            _remember(_place(name))


def load_named(names: Iterable[str], where: str) -> None:
    """Import plug-in modules that a directory names.

    Raises
    ------
    UsageError
        As for :func:`load`, and if the user has never named the module.
    """
    for name in names:
        _require_name(name)
        if name not in sys.modules and name not in _allowed():
            place = _place(name)
            if not place:
                raise UsageError(
                    f"{where}: was made with the plug-in {name}, and there is no such module. Run from the directory "
                    "that holds it, or set PYTHONPATH."
                )
            if place not in _remembered():
                raise UsageError(
                    f"{where}: was made with the plug-in {name} ({place.split(' ', 1)[1]}), which is code that you "
                    f"have not named to mcnet before. If you trust it: {VARIABLE}={name} mcnet ..."
                )
        load([name])


def _require_name(name: str) -> None:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f'plug-in "{name}": is no module name. Write myphi for a file myphi.py.')


def _allowed() -> list[str]:
    return [name for name in os.environ.get(VARIABLE, "").split(",") if name]


def _place(name: str) -> str:
    """Name of a module and the file (of its package), found without running any of it; "" if there is none.

    All finders are asked, as an import does: packages that are installed to be edited have finders of their own.
    """
    top, path = name.partition(".")[0], [*sys.path, os.getcwd()]
    for finder in sys.meta_path:
        spec = finder.find_spec(top, path if finder is PathFinder else None)
        if spec is not None:
            break
    else:
        return ""
    return f"{name} {os.path.realpath(spec.origin or next(iter(spec.submodule_search_locations or ['']), ''))}"


def _file() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "mcnet" / "plugins"


def _remembered() -> list[str]:
    with contextlib.suppress(OSError, RuntimeError, DataError):  # no home, or none that can be read
        return files.read(_file(), _MAX_BYTES).decode("utf-8", "replace").splitlines()
    return []


def _remember(place: str) -> None:
    with contextlib.suppress(OSError, RuntimeError, DataError):  # then it has to be named again
        if place and place.isprintable() and place not in _remembered():
            _file().parent.mkdir(parents=True, exist_ok=True)
            files.append(_file(), place + "\n")
