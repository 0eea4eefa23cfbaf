"""Activations as CUDA source text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mcnet.activations.expressions import Expression, assignments
from mcnet.activations.table import Activation

_HEADER = """
static __device__ __forceinline__ mc_real mc_maximum(mc_real a, mc_real b) { return a < b ? b : a; }  // keeps NaN
static __device__ __forceinline__ mc_real mc_minimum(mc_real a, mc_real b) { return a > b ? b : a; }
"""
_NAMES = {"abs": "fabs", "maximum": "mc_maximum", "minimum": "mc_minimum"}  # others as in C, overloaded for float


def activation_source(activation: Activation) -> str:
    """Device functions of an activation on units (``mc_real``): ``mc_phi``, ``mc_dphi`` and ``mc_kink_product``.

    ``mc_kink_product(u, v)`` is negative where a kink of phi lies between u and v, otherwise not.
    """
    phi, dphi = activation.expressions
    return _HEADER + _function("mc_phi", phi) + _function("mc_dphi", dphi) + _kink_product(activation.kinks)


def _function(name: str, expression: Expression) -> str:
    lines, (result,) = assignments([expression], "u", _number, _call)
    body = "".join(f"  const auto {left} = {right};\n" for left, right in lines)
    return f"static __device__ __forceinline__ mc_real {name}(mc_real u) {{\n{body}  return {result};\n}}\n"


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"an activation holds the number {value}")
    return f"(mc_real)({value.hex()})"


def _call(name: str, arguments: Sequence[str]) -> str:
    if name == "where":
        condition, yes, no = arguments
        return f"{condition} ? {yes} : {no}"
    return f"{_NAMES.get(name, name)}({', '.join(arguments)})"


def _kink_product(kinks: Sequence[float]) -> str:
    product = "(mc_real)1"
    for number, kink in enumerate(kinks):
        one = f"(u - {_number(kink)}) * (v - {_number(kink)})"
        product = one if number == 0 else f"mc_minimum({product}, {one})"
    return f"static __device__ __forceinline__ mc_real mc_kink_product(mc_real u, mc_real v) {{ return {product}; }}\n"
