"""From a plan to shards and a dataset: tasks carried out by whoever is there."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcnet.engine.driver import pack, resume, run, sample

__all__ = ["pack", "resume", "run", "sample"]

_HOME = {
    "run": "mcnet.engine.driver",
    "resume": "mcnet.engine.driver",
    "pack": "mcnet.engine.driver",
    "sample": "mcnet.engine.driver",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mcnet.engine' has no attribute '{name}'")
