"""Gated recurrent units.

    s = sigmoid(W_u h + V_u x + b_u + gate_bias.update),   r = sigmoid(W_r h + V_r x + b_r + gate_bias.reset),
    u_t = W_h (r h_(t-1)) + V_h x_t + b_h,                   h_t = s h_(t-1) + (1 - s) phi(u_t);         h_0 = x

Layers are times; phi is the activation of the network, tanh in the papers. Cho et al. 2014; Chen, Pennington,
Schoenholz 2018, arXiv:1806.05394.
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
        gate, reset = (
            w.apply("sigmoid", driven(w, p, step, f"_{name}", h, z) + p.gate_bias[name]) for name in ("update", "reset")
        )
        u = driven(w, p, step, "_candidate", reset * h, z)
        h = gate * h + (1.0 - gate) * w.phi(u)
        w.see("u", step, u)
        w.see("h", step, h)
    return w.ask("readout", h)


def add() -> None:
    """Add it to the table."""
    add_architecture(
        "gru",
        network,
        keys=gate_keys("update", "reset"),
        laws=lambda p: {f"V_{gate}": (p.sigma_v2, 0.0) for gate in ("update", "reset", "candidate")},
        check=lambda p: check_sequence(p, "sigma_v2"),
    )
