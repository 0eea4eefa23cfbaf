"""Recurrent networks: one matrix asked again at every step; layers are times.

    s_t = (1 - leak) s_(t-1) + leak (W h_(t-1) + U x_t + b),   h_t = phi(s_t),   u_t = s_t;   h_0 = s_0 = x

with a sequence x_t that all inputs (replicas) share. ``tied = false`` takes fresh W, U, b at every step, the network of
the "annealed" theory. The readout reads the last step. Amari 1972; Sompolinsky, Crisanti, Sommers 1988.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcnet.architectures.keys import number
from mcnet.architectures.registry import add as add_architecture
from mcnet.architectures.sequences import at_step, check_sequence, keys, sequence
from mcnet.programs.parameters import Parameters


def network(w: Any, x: Any, p: Any) -> Any:
    """The program."""
    h = s = x
    inputs = sequence(w, p)
    for step in range(1, p.depth + 1):
        drive = w.ask(at_step("W", step, p), h)
        z = inputs(step)
        if z is not None:
            drive = drive + w.ask(at_step("U", step, p), z)
        s = drive if p.leak == 1.0 else (1.0 - p.leak) * s + p.leak * drive
        h = w.phi(s)
        w.see("u", step, s)
        w.see("h", step, h)
    return w.ask("readout", h)


def laws(p: Parameters) -> Mapping[Any, tuple[float, float]]:
    """U has the variance sigma_u2 and no bias."""
    return {"U": (p.sigma_u2, 0.0)}


def check(p: Parameters) -> Sequence[str]:
    """Values that do not go together."""
    wrong = check_sequence(p, "sigma_u2")
    if p.sequence == "none" and p.sigma_u2 > 0.0:
        wrong.append(f'sigma_u2 = {p.sigma_u2:g} weighs a sequence, and sequence = "none"; give "constant" or "fresh"')
    if p.leak == 0.0:
        wrong.append("leak = 0 never changes the state; it lies in (0, 1]")
    return wrong


def add() -> None:
    """Add it to the table."""
    add_architecture(
        "recurrent",
        network,
        keys={
            "leak": number(1.0, "in (0, 1]: share of the state that is renewed at a step", minimum=0.0, maximum=1.0),
            "sigma_u2": number(0.0, "variance of U times its fan-in", minimum=0.0),
            **keys("none"),
        },
        laws=laws,
        check=check,
    )
