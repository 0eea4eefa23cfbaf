"""Datasets: their schema, packing, checks, reading."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcnet.dataset.open import assemble, open_dataset

__all__ = ["assemble", "open_dataset"]

_HOME = {"open_dataset": "mcnet.dataset.open", "assemble": "mcnet.dataset.open"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mcnet.dataset' has no attribute '{name}'")
