"""Monte Carlo engine for random deep networks at finite width.

``run`` draws the networks of a scenario into a directory, ``open`` reads what was measured, ``sample`` does both in
memory. ``analyze`` compares with theory, ``report`` writes the page; ``plot`` has its figures, ``table`` its tables.
Nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcnet_analysis import plot as plot
    from mcnet_analysis import table as table
    from mcnet_analysis.analyze import analyze
    from mcnet_analysis.analyze import judged as judge
    from mcnet_analysis.report import write as report

    from mcnet.dataset.grid import grid
    from mcnet.dataset.open import open_dataset as open
    from mcnet.engine.driver import run, sample
    from mcnet.scenario.loading import Scenario

    __version__: str

__all__ = ["Scenario", "__version__", "analyze", "grid", "judge", "open", "plot", "report", "run", "sample", "table"]

_HOME = {
    "run": ("mcnet.engine", "run"),
    "sample": ("mcnet.engine", "sample"),
    "open": ("mcnet.dataset", "open_dataset"),
    "Scenario": ("mcnet.scenario", "Scenario"),
    "grid": ("mcnet.dataset.grid", "grid"),
    "analyze": ("mcnet_analysis.analyze", "analyze"),
    "judge": ("mcnet_analysis.analyze", "judged"),
    "report": ("mcnet_analysis.report", "write"),
    "plot": ("mcnet_analysis.plot", ""),
    "table": ("mcnet_analysis.table", ""),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mcnet")
    if name in _HOME:
        module, attribute = _HOME[name]
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found
    raise AttributeError(f"module 'mcnet' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
