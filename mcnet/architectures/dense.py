"""Dense networks: u^l = W^l h^(l-1) + b^l, h^l = phi(u^l)."""

from __future__ import annotations

from typing import Any

from mcnet.architectures.registry import add as add_architecture


def network(w: Any, x: Any, p: Any) -> Any:
    """The program."""
    h = x
    for layer in range(1, p.depth + 1):
        u = w.ask(("W", layer), h)
        h = w.phi(u)
        w.see("u", layer, u)
        w.see("h", layer, h)
    return w.ask("readout", h)


def add() -> None:
    """Add it to the table. Where a fused kernel serves, it draws the same networks faster."""
    add_architecture("dense", network)
