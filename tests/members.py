"""A small scenario with members for tests."""

from __future__ import annotations

from typing import Any

MEMBERS = """\
mcnet = 1
title = "two"

[network]
activation = "erf"
weights = "gaussian"
depth = 2
sigma_w2 = 1.4
sigma_b2 = 0.1

[inputs]
kind = "pair"
q0 = 1.0
c0 = 0.5

[sweep]
width = [16, 32]

[sampling]
networks = 60
batch = 20
seed = 5

[measure]
q = {}
c = {}

[[member]]
name = "dense"

[[member]]
name = "post"
network = { architecture = "residual", block = "post", depth = 3 }
sampling = { networks = 80 }
"""


def merged() -> dict[str, Any]:
    """The member ``post`` as a scenario of its own."""
    return {
        "mcnet": 1,
        "title": "two: post",
        "network": {
            "activation": "erf",
            "weights": "gaussian",
            "depth": 3,
            "sigma_w2": 1.4,
            "sigma_b2": 0.1,
            "architecture": "residual",
            "block": "post",
        },
        "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5},
        "sweep": {"width": [16, 32]},
        "sampling": {"networks": 80, "batch": 20, "seed": 5},
        "measure": {"q": {}, "c": {}},
    }
