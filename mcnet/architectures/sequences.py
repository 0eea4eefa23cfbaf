"""What networks in time share: matrices that are tied or not, and the sequence of inputs x_t."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mcnet.architectures.keys import Key, choice, custom, flag, number
from mcnet.programs.parameters import Parameters


def keys(sequence: str) -> dict[str, Key]:
    """Keys of every network in time; ``sequence``: the default."""
    return {
        "tied": flag(True, "true: the same matrices at every step; false: fresh ones"),
        "sequence": choice(sequence, 'inputs over time: "none", "constant" or "fresh"', "none", "constant", "fresh"),
        "sequence_variance": number(1.0, "variance of an entry of the vectors of the sequence", minimum=0.0),
    }


def gate_keys(*gates: str) -> dict[str, Key]:
    """Keys of a gated network."""
    biases = "a number" if len(gates) == 1 else f"a number, or a table with {', '.join(gates)}"

    def complaint(value: Any) -> str | None:
        if isinstance(value, dict) and len(gates) > 1:
            unknown = [gate for gate in value if gate not in gates]
            if unknown:
                return f'names the gate "{unknown[0]}"; there are {", ".join(gates)}'
            return next((found for found in map(complaint, value.values()) if found), None)
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return None if good else f"must be {biases}"

    def by_gate(value: Any, p: Parameters) -> dict[str, float]:
        table = value if isinstance(value, dict) else dict.fromkeys(gates, value)
        return {gate: float(table.get(gate, 0.0)) for gate in gates}

    return {
        **keys("fresh"),
        "sigma_v2": number(1.0, "variance times fan-in of the matrices that see the sequence", minimum=0.0),
        "gate_bias": custom(0.0, f"mean of the biases of the gates: {biases}", complaint, by_gate),
    }


def at_step(name: str, step: int, p: Parameters) -> tuple[Any, ...]:
    """Name of a matrix at a step: always the same where tied."""
    return (name,) if p.tied else (name, step)


def sequence(w: Any, p: Parameters) -> Callable[[int], Any]:
    """Step -> x_t, the same for all inputs; None where there is no sequence."""
    if p.sequence == "none":
        return lambda step: None
    if p.sequence == "fresh":
        return lambda step: w.draw(("sequence", step), p.sequence_variance)
    constant = w.draw("sequence", p.sequence_variance)
    return lambda step: constant


def driven(w: Any, p: Parameters, step: int, gate: str, h: Any, z: Any) -> Any:
    """W h + V z + b of a gate at a step."""
    drive = w.ask(at_step(f"W{gate}", step, p), h)
    return drive if z is None else drive + w.ask(at_step(f"V{gate}", step, p), z)


def check_sequence(p: Parameters, weight: str) -> list[str]:
    """A sequence that nobody sees."""
    if p.sequence != "none" and getattr(p, weight) == 0.0:
        return [f'sequence = "{p.sequence}" enters through {weight}, which is 0; give it, or sequence = "none"']
    return []
