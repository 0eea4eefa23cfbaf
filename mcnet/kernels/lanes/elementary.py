"""Elementary functions of sixteen lanes: polynomials in float32, the C library lane by lane in float64.

The float32 forms have a relative error below 5e-7 over their whole range (tests/test_kernels_elementary.py measures
it) and end as they should: exp and expm1 overflow to infinity, tanh and erf end just below 1, a NaN stays one. The
rational approximations of tanh and erf are own fits in the maximum norm of the relative error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.extending import overload

from mcnet.kernels.lanes.simd import (
    F4,
    INLINED,
    Lanes,
    Vector,
    absolute,
    any_lane,
    below,
    bits_of,
    float_of_bits,
    float_of_signed,
    fma,
    fma_exact,
    inlined,
    library,
    narrow,
    nearest,
    truncated,
    where,
    wide,
)
from mcnet.streams import LOG


def _hex(text: str) -> tuple[float, ...]:
    return tuple(float.fromhex(word) for word in text.split())


# tanh x = x P(x^2) / Q(x^2) on |x| <= 9; erf x = x P(x^2) / Q(x^2) on |x| <= 4; lowest power first, Q_0 = 1. Arguments
# are cut a little earlier, where the rounded quotient is still below 1: a derivative 1 - tanh^2 is never negative.
TANH_END, ERF_END = 8.84, 3.67
TP0, TP1, TP2, TP3, TP4, TP5 = _hex(
    "0x1.fffffep-1 0x1.08962ep-3 0x1.7ed5f8p-9 0x1.36f9bep-17 -0x1.b72ac0p-27 0x1.413040p-36"
)
TQ1, TQ2, TQ3 = _hex("0x1.d9a04cp-2 0x1.8556b8p-6 0x1.de5f84p-13")
EP0, EP1, EP2, EP3, EP4, EP5, EP6 = _hex(
    "0x1.20dd74p+0 0x1.a81708p-3 0x1.a6092ep-5 0x1.056258p-8 0x1.34c4e0p-13 -0x1.04a936p-19 0x1.485512p-26"
)
EQ1, EQ2, EQ3, EQ4 = _hex("0x1.08a026p-1 0x1.e31f66p-4 0x1.ea009ap-7 0x1.0b8a16p-10")
LOG2E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4  # the first has nine bits: n times it is exact
ROUND, ROUND_BITS = 12582912.0, 0x4B400000  # 1.5 * 2^23: adding it rounds to an integer, held in the low bits
X2, X3, X4, X5, X6, X7 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040
LN2 = 0.6931471805599453
L0, L1, L2, L3, L4, L5, L6, L7 = (float(coefficient) for coefficient in LOG)
HALF_PI_HIGH, HALF_PI_LOW = 1.5707963267948966, 6.123233995736766e-17
TWO_OVER_PI = 0.6366197723675814
S1, S2, S3, S4 = -1 / 6, 1 / 120, -1 / 5040, 1 / 362880
C1, C2, C3, C4, C5 = -1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800
FAR = 2.0**45  # beyond it the nearest multiple of pi / 2 is not exact in float64


@inlined
def _clamped(x: Vector, bound: float) -> Vector:
    x = where(x < -bound, -bound, x)
    return where(x > bound, bound, x)


@inlined
def _tanh(x: Vector) -> Vector:
    x = _clamped(x, TANH_END)
    z = x * x
    p = fma(fma(fma(fma(fma(z, TP5, TP4), z, TP3), z, TP2), z, TP1), z, TP0)
    q = fma(fma(fma(z, TQ3, TQ2), z, TQ1), z, 1.0)
    return x * p / q


@inlined
def _erf(x: Vector) -> Vector:
    x = _clamped(x, ERF_END)
    z = x * x
    p = fma(fma(fma(fma(fma(fma(z, EP6, EP5), z, EP4), z, EP3), z, EP2), z, EP1), z, EP0)
    q = fma(fma(fma(fma(z, EQ4, EQ3), z, EQ2), z, EQ1), z, 1.0)
    return x * p / q


@inlined
def _reduced(x: Vector) -> tuple[Vector, Vector]:
    """The integer n nearest to x / log 2, and r = x - n log 2."""
    m = fma(x, LOG2E, ROUND)
    n = m - ROUND
    return bits_of(m) - ROUND_BITS, fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))


@inlined
def _power_of_two(n: Vector) -> Vector:
    return float_of_bits((n + 127) << 23)


@inlined
def _exp(x: Vector) -> Vector:
    x = where(x < -110.0, -110.0, x)
    x = where(x > 95.0, 95.0, x)
    n, r = _reduced(x)
    p = fma(fma(fma(fma(fma(fma(r, X6, X5), r, X4), r, X3), r, X2), r, 1.0), r, 1.0)
    half = n >> 1  # two steps, so that small results are denormal and large ones infinite
    return p * _power_of_two(half) * _power_of_two(n - half)


@inlined
def _expm1(x: Vector) -> Vector:
    y = where(x < -20.0, -20.0, x)
    y = where(y > 88.8, 88.8, y)
    n, r = _reduced(y)
    p = fma(fma(fma(fma(fma(fma(r, X7, X6), r, X5), r, X4), r, X3), r, X2), r * r, r)
    half = _power_of_two(n - 1)  # half of 2^n, which may be too large
    return fma(p, half, half - 0.5) * 2.0


@inlined
def _log1p(x: Vector) -> Vector:
    bits = bits_of(x + 1.0)
    exponent = (bits - 0x3F3504F3) >> 23
    scale = float_of_bits((127 - exponent) << 23)
    f = fma(x, scale, scale - 1.0)  # (1 + x) 2^-exponent - 1 without rounding 1 + x
    f = where(exponent > 23, float_of_bits(bits - (exponent << 23)) - 1.0, f)  # there the scale may not exist
    p = fma(fma(fma(fma(fma(fma(fma(f, L0, L1), f, L2), f, L3), f, L4), f, L5), f, L6), f, L7)
    value = fma(float_of_signed(exponent), LN2, fma(f * f, p, f))
    value = where(x < float("inf"), value, x)
    value = where(x == -1.0, -float("inf"), value)
    return where(x < -1.0, float("nan"), value)


@inlined
def _turned(x: Vector, quarters: float) -> Vector:
    """sin(x + quarters pi / 2) for |x| < FAR."""
    y = wide(x)
    q = nearest(y * TWO_OVER_PI)
    r = fma_exact(q, -HALF_PI_LOW, fma_exact(q, -HALF_PI_HIGH, y))
    turn = truncated(q + quarters - 4.0 * below((q + quarters) * 0.25))
    r4 = narrow(r)
    z = r4 * r4
    s = fma(fma(fma(fma(z, S4, S3), z, S2), z, S1), z * r4, r4)
    c = fma(fma(fma(fma(fma(z, C5, C4), z, C3), z, C2), z, C1), z, 1.0)
    value = where((turn & 1) == 0, s, c)
    return float_of_bits(bits_of(value) ^ ((turn & 2) << 30))


_library_sin, _library_cos = library("sin"), library("cos")


@inlined
def _sin(x: Vector) -> Vector:
    if any_lane(absolute(x) > FAR):
        return _library_sin(x)
    return _turned(x, 0.0)


@inlined
def _cos(x: Vector) -> Vector:
    if any_lane(absolute(x) > FAR):
        return _library_cos(x)
    return _turned(x, 1.0)


def _function(name: str, real4: Callable[..., Any]) -> Callable[[Vector], Vector]:
    """The function of that name: polynomial for float32 lanes, C library for float64 lanes."""
    real8 = library(name)

    def function(x: Vector) -> Vector:
        raise TypeError(f"{name} of lanes exists only inside compiled functions")

    def polynomial(x: Vector) -> Vector:
        return real4(x)

    def lane_by_lane(x: Vector) -> Vector:
        return real8(x)

    def implementation(x: Vector) -> Callable[[Vector], Vector] | None:
        if not isinstance(x, Lanes):
            return None
        return polynomial if x == F4 else lane_by_lane

    overload(function, jit_options=INLINED)(implementation)
    return function


tanh = _function("tanh", _tanh)
erf = _function("erf", _erf)
exp = _function("exp", _exp)
expm1 = _function("expm1", _expm1)
log1p = _function("log1p", _log1p)
sin = _function("sin", _sin)
cos = _function("cos", _cos)


@inlined
def maximum(a: Vector, b: Vector) -> Vector:
    """The larger one; a NaN in ``a`` stays."""
    return where(a < b, b, a)


@inlined
def minimum(a: Vector, b: Vector) -> Vector:
    """The smaller one; a NaN in ``a`` stays."""
    return where(a > b, b, a)
