"""What is measured on a network; registering a new observable."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcnet.observables.catalog import register
    from mcnet.observables.observable import LAYERS, Option, Values, asked_layers, check_layers, layer_sizes
    from mcnet.variables import Variable

__all__ = [
    "LAYERS",
    "Option",
    "Values",
    "Variable",
    "asked_layers",
    "check_layers",
    "layer_sizes",
    "register",
]

_HOME = dict.fromkeys(__all__, "mcnet.observables.observable") | {
    "register": "mcnet.observables.catalog",
    "Variable": "mcnet.variables",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mcnet.observables' has no attribute '{name}'")
