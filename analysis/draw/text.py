"""Numbers as text: digits by the error, probabilities, counts."""

from __future__ import annotations

import math


def with_error(value: float | None, error: float | None) -> str:
    """Value and error with two digits of the error, for example 1.63 ± 0.04; alone where there is no error."""
    if value is None or not math.isfinite(value):
        return "–"
    if error is None or not math.isfinite(error) or error <= 0:
        return number(value)
    place = math.floor(math.log10(error)) - 1  # of the last digit
    if float(f"{error:.1e}") >= 10.0 ** (place + 2):  # 0.0996 is 0.10
        place += 1
    if place < -7 or place > 4 or abs(value) >= 1e7:
        scale = math.floor(math.log10(max(abs(value), error)))
        digits = max(0, scale - place)
        return f"({value / 10.0**scale:.{digits}f} ± {error / 10.0**scale:.{digits}f})e{scale:d}"
    return f"{value:.{max(0, -place)}f} ± {error:.{max(0, -place)}f}"


def number(value: float | None, like: float | None = None) -> str:
    """Five digits, or as many as the error ``like`` leaves sense in, and one more."""
    if value is None or not math.isfinite(value):
        return "–"
    if like is not None and math.isfinite(like) and like > 0:
        digits = 2 - math.floor(math.log10(like))
        if 0 <= digits <= 8 and abs(value) < 1e7:
            return f"{value:.{digits}f}"
    return f"{value:.5g}"


def probability(p: float) -> str:
    """Two digits, powers of ten below one in a hundred."""
    if not math.isfinite(p):
        return "–"
    return f"{p:.2f}" if p >= 0.01 else f"{p:.1e}" if p > 0 else "< 1e-290"


def count(value: int) -> str:
    """With thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def plural(value: int, one: str, many: str) -> str:
    """Number and noun."""
    return f"{count(value)} {one if value == 1 else many}"
