"""The generator of :mod:`mcnet.streams` on sixteen counters at a time, with the same bits.

The constants are those of the specification; nothing here may be fused (see :mod:`mcnet.kernels.lanes.simd`).
"""

from __future__ import annotations

from mcnet.kernels.lanes.simd import (
    Vector,
    bits_of,
    float_of_bits,
    float_of_signed,
    float_of_unsigned,
    high_half,
    i8,
    inlined,
    low_half,
    merge,
    multiply_words,
    shift_unsigned,
    sqrt,
    where,
)
from mcnet.streams import COS, LN2, LOG, SIN

L0, L1, L2, L3, L4, L5, L6, L7 = LOG
S0, S1, S2, S3 = SIN
C0, C1, C2, C3 = COS
TO_UNIT, HALF_STEP, TO_QUARTER, TO_SYMMETRIC = 2.0**-32, 2.0**-33, 2.0**-30, 2.0**-31


@inlined
def _philox8(x0: Vector, x1: Vector, x2: Vector, x3: Vector, k0: int, k1: int) -> tuple[Vector, Vector, Vector, Vector]:
    """Eight counters in 64-bit lanes, of which only the low words matter."""
    for _ in range(10):
        p0 = multiply_words(x0, 0xD2511F53)
        p1 = multiply_words(x2, 0xCD9E8D57)
        x0 = shift_unsigned(p1, 32) ^ x1 ^ i8(k0)
        x2 = shift_unsigned(p0, 32) ^ x3 ^ i8(k1)
        x1 = p1
        x3 = p0
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return x0, x1, x2, x3


@inlined
def words16(c0: Vector, c1: Vector, c2: Vector, c3: Vector, k0: int, k1: int) -> tuple[Vector, Vector, Vector, Vector]:
    """Four words for each of sixteen counters."""
    a0, a1, a2, a3 = _philox8(low_half(c0), low_half(c1), low_half(c2), low_half(c3), k0, k1)
    b0, b1, b2, b3 = _philox8(high_half(c0), high_half(c1), high_half(c2), high_half(c3), k0, k1)
    return merge(a0, b0), merge(a1, b1), merge(a2, b2), merge(a3, b3)


@inlined
def _radius(word: Vector) -> Vector:
    bits = bits_of(float_of_unsigned(word) * TO_UNIT + HALF_STEP)
    exponent = (bits - 0x3F3504F3) >> 23
    f = float_of_bits(bits - (exponent << 23)) - 1.0
    p = ((((((f * L0 + L1) * f + L2) * f + L3) * f + L4) * f + L5) * f + L6) * f + L7
    return sqrt((float_of_signed(exponent) * LN2 + (f + (f * f) * p)) * -2.0)


@inlined
def _direction(word: Vector) -> tuple[Vector, Vector]:
    quarter = shift_unsigned(word + 0x20000000, 30)
    t = float_of_signed(word - (quarter << 30)) * TO_QUARTER
    z = t * t
    s = (((z * S0 + S1) * z + S2) * z + S3) * t
    c = (((z * C0 + C1) * z + C2) * z + C3) * z + 1.0
    even = (quarter & 1) == 0
    cosine = where(even, c, s)
    sine = where(even, s, c)
    cosine = float_of_bits(bits_of(cosine) ^ (((quarter + 1) & 2) << 30))
    sine = float_of_bits(bits_of(sine) ^ ((quarter & 2) << 30))
    return cosine, sine


@inlined
def normals_of(x0: Vector, x1: Vector, x2: Vector, x3: Vector) -> tuple[Vector, Vector, Vector, Vector]:
    """Four standard normals from four words."""
    r0 = _radius(x0)
    r1 = _radius(x2)
    cosine0, sine0 = _direction(x1)
    cosine1, sine1 = _direction(x3)
    return r0 * cosine0, r0 * sine0, r1 * cosine1, r1 * sine1


@inlined
def uniforms_of(x0: Vector, x1: Vector, x2: Vector, x3: Vector) -> tuple[Vector, Vector, Vector, Vector]:
    """Four uniform numbers on (-1, 1) from four words."""
    return (
        float_of_signed(x0) * TO_SYMMETRIC,
        float_of_signed(x1) * TO_SYMMETRIC,
        float_of_signed(x2) * TO_SYMMETRIC,
        float_of_signed(x3) * TO_SYMMETRIC,
    )


@inlined
def normals16(
    c0: Vector, c1: Vector, c2: Vector, c3: Vector, k0: int, k1: int
) -> tuple[Vector, Vector, Vector, Vector]:
    """Four standard normals (columns 4 c0 to 4 c0 + 3) for each of sixteen counters."""
    x0, x1, x2, x3 = words16(c0, c1, c2, c3, k0, k1)
    return normals_of(x0, x1, x2, x3)
