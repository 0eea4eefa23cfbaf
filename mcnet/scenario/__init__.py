"""From a TOML file to a frozen Scenario; every check of what a user writes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcnet.scenario.loading import Scenario, load, parsed

__all__ = ["Scenario", "load", "parsed"]

_HOME = {"Scenario": "mcnet.scenario.loading", "load": "mcnet.scenario.loading", "parsed": "mcnet.scenario.loading"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mcnet.scenario' has no attribute '{name}'")
