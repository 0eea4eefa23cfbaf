"""Activations as source text of Numba programs."""

from __future__ import annotations

from collections.abc import Sequence

from mcnet.activations.expressions import Expression, assignments
from mcnet.activations.table import Activation

_HEADER = """from mcnet.kernels.lanes.elementary import (
    cos, erf, exp, expm1, log1p, maximum, minimum, sin, tanh,
)
from mcnet.kernels.lanes.simd import absolute, inlined, like, sqrt, where
"""


def numba_source(activation: Activation) -> str:
    """The functions of :mod:`mcnet.kernels.lanes.printed` for an activation, of sixteen lanes, float32 or float64."""
    phi, dphi = activation.expressions
    functions = [_function("phi", [phi]), _function("dphi", [dphi]), _function("phi_dphi", [phi, dphi])]
    return "\n".join([_HEADER, *functions, _kink_product(activation.kinks)])


def _function(name: str, expressions: Sequence[Expression]) -> str:
    def call(function: str, arguments: Sequence[str]) -> str:
        return f"{'absolute' if function == 'abs' else function}({', '.join(arguments)})"

    lines, results = assignments(expressions, "u", repr, call)
    body = [f"    {left} = {right}" for left, right in lines]
    returned = ", ".join(f"like(u, {result})" for result in results)  # a constant becomes a vector
    return "\n".join(["@inlined", f"def {name}(u):", *body, f"    return {returned}", ""])


def _kink_product(kinks: Sequence[float]) -> str:
    product = "like(u, 1.0)"
    for number, kink in enumerate(kinks):
        one = f"(u - {kink!r}) * (v - {kink!r})"
        product = one if number == 0 else f"minimum({product}, {one})"
    return f"@inlined\ndef kink_product(u, v):\n    return {product}\n"
