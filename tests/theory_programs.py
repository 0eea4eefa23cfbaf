"""Programs that tests of their theory share."""

from __future__ import annotations

from typing import Any

import numpy as np

GRAM = np.array([[1.0, 0.3], [0.3, 0.8]])
"""Of two inputs."""


def dense(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in range(1, p.depth + 1):
        u = w.ask(("W", layer), h)
        h = w.phi(u)
        w.see("u", layer, u)
        w.see("h", layer, h)
    return w.ask("readout", h)


def residual(w: Any, x: Any, p: Any) -> Any:
    h = w.ask("embedding", x) if p.block == "pre" else x
    for layer in range(1, p.depth + 1):
        if p.block == "pre":
            branch = w.ask(("W", layer), w.phi(h))
        else:
            branch = w.phi(w.ask(("W", layer), h))
            branch = w.ask(("V", layer), branch) if p.block == "two" else branch
        h = p.skip * h + branch * p.branch
        w.see("h", layer, h)
    return w.ask("readout", w.phi(h) if p.block == "pre" else h)
