"""Small studies for the tests of the engine."""

from __future__ import annotations

from typing import Any

from mcnet.plan.format import sealed


def study(
    *, widths: tuple[int, ...] = (8, 16), networks: int = 40, batch: int | None = 16, seed: int = 5
) -> dict[str, Any]:
    """A study of 2 points that takes milliseconds."""
    return {
        "mcnet": 1,
        "title": "small",
        "network": {"activation": "tanh", "weights": "gaussian", "depth": 3, "sigma_w2": 1.5, "sigma_b2": 0.05},
        "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.6},
        "sweep": {"width": list(widths)},
        "sampling": {"networks": networks, "seed": seed, **({} if batch is None else {"batch": batch})},
        "measure": {"q": {}, "c": {}},
    }


def resealed(text: str) -> str:
    """A plan or a round that was changed, its checksum made right again."""
    return sealed(text.rpartition(',\n "checksum"')[0] + "\n}")
