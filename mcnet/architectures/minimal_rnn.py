"""Minimal recurrent networks: one gate between the state and the sequence.

    u_t = W h_(t-1) + V x_t + b + gate_bias,   s = sigmoid(u_t),   h_t = s h_(t-1) + (1 - s) x_t;   h_0 = x

Layers are times. Chen, Pennington, Schoenholz 2018, arXiv:1806.05394.
"""

from __future__ import annotations

from typing import Any

from mcnet.architectures.registry import add as add_architecture
from mcnet.architectures.sequences import check_sequence, driven, gate_keys, sequence


def network(w: Any, x: Any, p: Any) -> Any:
    """The program."""
    h, inputs = x, sequence(w, p)
    for step in range(1, p.depth + 1):
        z = inputs(step)
        u = driven(w, p, step, "", h, z) + p.gate_bias["update"]
        gate = w.apply("sigmoid", u)
        h = gate * h if z is None else gate * h + (1.0 - gate) * z
        w.see("u", step, u)
        w.see("h", step, h)
    return w.ask("readout", h)


def add() -> None:
    """Add it to the table."""
    add_architecture(
        "minimal-rnn",
        network,
        keys=gate_keys("update"),
        laws=lambda p: {"V": (p.sigma_v2, 0.0)},
        check=lambda p: check_sequence(p, "sigma_v2"),
    )
