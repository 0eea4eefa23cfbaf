"""Long short-term memory.

    f, i, o = sigmoid(W_g h_(t-1) + V_g x_t + b_g + gate_bias.g),   u_t = W_c h_(t-1) + V_c x_t + b_c,
    c_t = f c_(t-1) + i phi(u_t),                                    h_t = o phi(c_t);             h_0 = x, c_0 = 0

Layers are times; phi is the activation of the network, tanh in the papers. Hochreiter, Schmidhuber 1997; Chen,
Pennington, Schoenholz 2018, arXiv:1806.05394.
"""

from __future__ import annotations

from typing import Any

from mcnet.architectures.registry import add as add_architecture
from mcnet.architectures.sequences import check_sequence, driven, gate_keys, sequence

GATES = ("forget", "input", "output")


def network(w: Any, x: Any, p: Any) -> Any:
    """The program."""
    h, inputs, cell = x, sequence(w, p), None
    for step in range(1, p.depth + 1):
        z = inputs(step)
        forget, write, read = (
            w.apply("sigmoid", driven(w, p, step, f"_{name}", h, z) + p.gate_bias[name]) for name in GATES
        )
        u = driven(w, p, step, "_candidate", h, z)
        written = write * w.phi(u)
        cell = written if cell is None else forget * cell + written
        h = read * w.phi(cell)
        w.see("u", step, u)
        w.see("h", step, h)
    return w.ask("readout", h)


def add() -> None:
    """Add it to the table."""
    add_architecture(
        "lstm",
        network,
        keys=gate_keys(*GATES),
        laws=lambda p: {f"V_{gate}": (p.sigma_v2, 0.0) for gate in (*GATES, "candidate")},
        check=lambda p: check_sequence(p, "sigma_v2"),
    )
