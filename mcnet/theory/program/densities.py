"""Scores of Gaussian densities: derivatives of means without derivatives of what is averaged.

With v = S^-1 u and the polynomials He_a.. of Hermite in v, a derivative of the density by the mean of row a brings
He_a, one by the entry S_ab half of He_ab (for each order of a and b), whatever the function averaged (kinks included).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mcnet.theory.program.quantities import Quantity, stacked

Floats = NDArray[np.float64]


def gaussian_scores(
    fresh: Floats, covariance: Quantity, gains: Quantity | None, known: Floats | None
) -> tuple[Quantity, Floats, Callable[[Floats], Floats]]:
    """Scores of rows u = gains^T U + fresh by the gains and the covariance of the fresh part.

    Parameters
    ----------
    fresh : ndarray, shape (J, n, 1)
    covariance : Quantity, shape (J, J)
    gains : Quantity, shape (k, J), or None
    known : ndarray, shape (k, n, 1), or None
        U.

    Returns
    -------
    numbers : Quantity
    first : ndarray, shape (numbers, n, 1)
    second : callable
        Takes a covariance of the numbers to half the sum of second derivatives with it, (1, n, 1).
    """
    rows = len(fresh)
    inner: Floats = np.asarray(np.linalg.inv(covariance.value), np.float64)
    v = np.einsum("ab,bnm->anm", inner, fresh)[:, :, 0]  # (J, n)
    a, b = np.triu_indices(rows)
    numbers = covariance.taken(a * rows + b)
    weight = np.where(a == b, 0.5, 1.0)
    pairs = weight[:, None] * (v[a] * v[b] - inner[a, b][:, None])
    if gains is None or known is None:
        u, of_gain = np.zeros((0, fresh.shape[1])), np.zeros(0, np.intp)
        first = pairs
    else:
        u = np.repeat(known[:, :, 0], rows, axis=0)  # gain (s, r) multiplies U_s in the mean of row r
        of_gain = np.tile(np.arange(rows), len(known))
        numbers = stacked([gains.reshaped(gains.value.size), numbers])
        first = np.concatenate([u * v[of_gain], pairs])

    def second(spread: Floats) -> Floats:
        k = len(of_gain)
        total = np.zeros(v.shape[1])
        for i in range(k):
            for j in range(k):
                r, s = of_gain[i], of_gain[j]
                total += spread[i, j] * u[i] * u[j] * (v[r] * v[s] - inner[r, s])
            for j in range(len(a)):
                total += 2.0 * spread[i, k + j] * weight[j] * u[i] * _third(v, inner, (of_gain[i], a[j], b[j]))
        for i in range(len(a)):
            for j in range(len(a)):
                rows4 = (a[i], b[i], a[j], b[j])
                total += spread[k + i, k + j] * weight[i] * weight[j] * _fourth(v, inner, rows4)
        return 0.5 * total[None, :, None]

    return numbers, first[:, :, None], second


def _third(v: Floats, inner: Floats, index: tuple[int, int, int]) -> Floats:
    a, b, c = index
    return np.asarray(v[a] * v[b] * v[c] - inner[a, b] * v[c] - inner[a, c] * v[b] - inner[b, c] * v[a])


def _fourth(v: Floats, inner: Floats, index: tuple[int, int, int, int]) -> Floats:
    total = np.prod(v[list(index)], axis=0)
    for i in range(4):
        for j in range(i + 1, 4):
            k, m = (x for x in range(4) if x not in (i, j))
            total = total - inner[index[i], index[j]] * v[index[k]] * v[index[m]]
            if i == 0:
                total = total + inner[index[i], index[j]] * inner[index[k], index[m]]
    return np.asarray(total)
