"""Architectures: each one program with its keys, its laws of matrices and its row axes; and how to register a new one.

A file ``gated.py``, used as ``mcnet run study.toml --plugin gated`` or imported in a notebook::

    from mcnet.architectures import register

    def network(w, x, p):
        h = x
        for layer in range(1, p.depth + 1):
            u = w.ask(("W", layer), h)
            gate = w.apply("sigmoid", w.ask(("G", layer), h))
            h = gate * h + (1 - gate) * w.phi(u)
            w.see("u", layer, u)
            w.see("h", layer, h)
        return w.ask("readout", h)

    register("gated", network, keys={"sigma_g2": 1.0}, laws={"G": ("sigma_g2", 0.0)})
"""

from mcnet.architectures import convolution, dense, gru, lstm, minimal_rnn, recurrent, residual, transformer
from mcnet.architectures.keys import Key, choice, custom, flag, number, whole
from mcnet.architectures.program import Program, of
from mcnet.architectures.registry import Architecture, lookup, names, register

__all__ = [
    "Architecture",
    "Key",
    "Program",
    "choice",
    "custom",
    "flag",
    "lookup",
    "names",
    "number",
    "of",
    "register",
    "whole",
]

for module in (dense, residual, convolution, recurrent, minimal_rnn, gru, lstm, transformer):
    module.add()
