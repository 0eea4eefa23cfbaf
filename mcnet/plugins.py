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
        If a module cannot be found, or fails while it is imported.
    """
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise UsageError(f'plug-in "{name}": is no module name. Write myphi for a file myphi.py.')
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
