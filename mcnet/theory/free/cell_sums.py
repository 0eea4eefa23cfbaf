"""Sums over the nodes of a law and over a density that is linear on cells, compiled: few cells need a logarithm."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

FAR = 20.0  # in half cells: from here the series is exact to 1e-11 and the closed forms cancel


@numba.njit(cache=True, error_model="numpy")
def pole_sums(
    t: NDArray[np.complexfloating[Any, Any]], values: NDArray[np.floating[Any]], weights: NDArray[np.floating[Any]]
) -> tuple[
    NDArray[np.complexfloating[Any, Any]], NDArray[np.complexfloating[Any, Any]], NDArray[np.complexfloating[Any, Any]]
]:
    """E y/(t + y), E 1/(t + y) and E y/(t + y)^2, each (P,), for t (P,) and nodes y with weights (K,)."""
    first = np.empty(t.size, np.complex128)
    second = np.empty(t.size, np.complex128)
    square = np.empty(t.size, np.complex128)
    for i in range(t.size):
        imag = t[i].imag
        # real and imaginary parts of the three sums
        a, b, c, d, e, f = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(values.size):
            real = t[i].real + values[k]
            size = 1.0 / (real * real + imag * imag)
            x, y = real * size, -imag * size
            weight = weights[k]
            c += weight * x
            d += weight * y
            weight *= values[k]
            a += weight * x
            b += weight * y
            e += weight * (x * x - y * y)
            f += weight * (x * y)
        first[i], second[i], square[i] = complex(a, b), complex(c, d), complex(e, 2.0 * f)
    return first, second, square


@numba.njit(cache=True, error_model="numpy")
def stieltjes(
    w: NDArray[np.complexfloating[Any, Any]],
    middle: NDArray[np.floating[Any]],
    half: NDArray[np.floating[Any]],
    mass: NDArray[np.floating[Any]],
    tilt: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.complexfloating[Any, Any]], NDArray[np.complexfloating[Any, Any]]]:
    """E 1/(w - y) and its derivative in w, each (P,), for w (P,) and cells (C,).

    With p = (w - middle)/half and the density (1 + 3 tilt xi)/2 on [-1, 1], a cell gives
    ``mass/half [Q_0(p) + 3 tilt Q_1(p)]``, Legendre functions of the second kind.
    """
    value = np.empty(w.size, np.complex128)
    slope = np.empty(w.size, np.complex128)
    for i in range(w.size):
        total, total_slope = 0.0j, 0.0j
        for c in range(middle.size):
            distance = w[i] - middle[c]
            k = 3.0 * tilt[c]
            square = distance.real * distance.real + distance.imag * distance.imag
            if square > FAR * FAR * half[c] * half[c]:
                inverse = complex(distance.real / square, -distance.imag / square)  # much faster than 1/distance
                x = half[c] * inverse
                x2 = x * x
                even = 1.0 + x2 * (1 / 3 + x2 * (1 / 5 + x2 / 7))
                odd = x * (1 / 3 + x2 * (1 / 5 + x2 * (1 / 7 + x2 / 9)))
                total += mass[c] * inverse * (even + k * odd)
                even_slope = 1.0 + x2 * (1.0 + x2 * (1.0 + x2))
                odd_slope = x * (2 / 3 + x2 * (4 / 5 + x2 * (6 / 7 + x2 * (8 / 9))))
                total_slope -= mass[c] * inverse * inverse * (even_slope + k * odd_slope)
            else:
                p = distance / half[c]
                q0 = 0.5 * np.log((p + 1.0) / (p - 1.0))
                q0_slope = 1.0 / (1.0 - p * p)
                total += mass[c] / half[c] * (q0 + k * (p * q0 - 1.0))
                total_slope += mass[c] / (half[c] * half[c]) * (q0_slope + k * (q0 + p * q0_slope))
        value[i] = total
        slope[i] = total_slope
    return value, slope


@numba.njit(cache=True, error_model="numpy")
def argument(
    w: NDArray[np.complexfloating[Any, Any]],
    middle: NDArray[np.floating[Any]],
    half: NDArray[np.floating[Any]],
    mass: NDArray[np.floating[Any]],
    tilt: NDArray[np.floating[Any]],
) -> NDArray[np.floating[Any]]:
    """E arg(1 - y/w), (P,), for w (P,) in the closed upper half plane and cells as in :func:`stieltjes`.

    The mean of log(p - xi) over the density (1 + 3 tilt xi)/2 of xi on [-1, 1].
    """
    result = np.empty(w.size, np.float64)
    for i in range(w.size):
        total = 0.0
        own = np.angle(w[i])
        for c in range(middle.size):
            distance = w[i] - middle[c]
            square = distance.real * distance.real + distance.imag * distance.imag
            if square > FAR * FAR * half[c] * half[c]:
                x = complex(half[c] * distance.real / square, -half[c] * distance.imag / square)
                x2 = x * x
                flat = np.angle(distance) - (x2 * (1 / 6 + x2 * (1 / 20 + x2 / 42))).imag
                sloped = -(x * (1 / 3 + x2 * (1 / 15 + x2 * (1 / 35 + x2 / 63)))).imag
            else:
                p = distance / half[c]
                up, down = np.log(p + 1.0), np.log(p - 1.0)
                flat = (((p + 1.0) * up - (p - 1.0) * down) / 2.0).imag
                sloped = (((p * p - 1.0) / 2.0 * (up - down) - p) / 2.0).imag
            total += mass[c] * (flat + 3.0 * tilt[c] * sloped - own)
        result[i] = total
    return result
