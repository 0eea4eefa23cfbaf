"""Plug-in modules: what a user adds to mcnet (activations) by importing a module of their own."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable

from mcnet.errors import UsageError


def load(names: Iterable[str]) -> None:
    """Import plug-in modules; the current directory counts as a place where they may lie.

    Raises
    ------
    UsageError
        If a module cannot be found.
    """
    for name in names:
        here = os.getcwd()
        if here not in sys.path:
            sys.path.append(here)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name + ".").startswith(error.name + "."):
                raise
            raise UsageError(
                f'plug-in "{name}": there is no such module. Run from the directory that holds it, or set PYTHONPATH.'
            ) from None
