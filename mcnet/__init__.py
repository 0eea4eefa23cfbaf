"""Monte Carlo engine for random deep networks at finite width.

``run`` draws the networks of a scenario into a directory, ``open`` reads what was measured, ``sample`` does both in
memory. Nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcnet.dataset.open import open_dataset as open
    from mcnet.engine.driver import run, sample
    from mcnet.scenario.loading import Scenario

    __version__: str

__all__ = ["Scenario", "__version__", "open", "run", "sample"]

_HOME = {
    "run": ("mcnet.engine", "run"),
    "sample": ("mcnet.engine", "sample"),
    "open": ("mcnet.dataset", "open_dataset"),
    "Scenario": ("mcnet.scenario", "Scenario"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mcnet")
    if name in _HOME:
        module, attribute = _HOME[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module 'mcnet' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
