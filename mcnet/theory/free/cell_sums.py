"""Stieltjes transform of a density that is linear on cells, compiled: most cells are far and need no logarithm."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

FAR = 20.0  # in half cells: from here the series is exact to 1e-11 and the closed forms cancel


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
            if distance.real * distance.real + distance.imag * distance.imag > FAR * FAR * half[c] * half[c]:
                inverse = 1.0 / distance
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
