"""Products of many matrices whose singular values span more orders of magnitude than a double has digits.

A product is kept as Q diag(d) T: Q with orthonormal columns, d positive and graded, T well conditioned. A factor more
acts on Q diag(d), which a QR factorisation with pivoting splits again: large and small numbers never meet in a sum
(Loh and Gubernatis 1992). One-sided Jacobi rotations then find every singular value to high relative accuracy
(Drmac and Veselic 2008).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMALLEST = 1e-290
"""Smallest ratio of singular values that is kept; less leaves the range of a double."""


class Graded(NamedTuple):
    """2^exponent Q diag(d) T, of rank k.

    Attributes
    ----------
    q : ndarray, shape (m, k)
    d : ndarray, shape (k,)
        Positive, the largest in [1, 2).
    t : ndarray, shape (k, n)
    exponent : int
    """

    q: Floats
    d: Floats
    t: Floats
    exponent: int


def split(image: Floats, below: Graded | None) -> Graded:
    """The product with one factor more.

    Parameters
    ----------
    image : ndarray, shape (m, k)
        The factor times ``below.q``, or the first factor. Rows that are exactly zero lower the rank.
    below : Graded or None

    Raises
    ------
    OverflowError
        If the singular values span more than 290 orders of magnitude.
    """
    from scipy.linalg import qr

    live = np.any(image != 0.0, axis=1)
    columns = image[live] if below is None else image[live] * below.d
    if not live.any():
        return Graded(np.zeros((len(image), 0)), np.zeros(0), np.zeros((0, _columns(image, below))), 0)
    factor, r, order = qr(columns, mode="economic", pivoting=True)
    d = np.abs(np.diagonal(r))
    if not d[-1] > SMALLEST * d[0]:
        raise OverflowError("the singular values span more than 290 orders of magnitude")
    t: Floats = np.zeros((d.size, r.shape[1]))
    t[:, order] = r / d[:, None]
    q = np.zeros((len(image), d.size))
    q[live] = factor
    shift = math.floor(math.log2(d[0]))
    exponent = shift + (0 if below is None else below.exponent)
    return Graded(q, d / 2.0**shift, t if below is None else t @ below.t, exponent)


def singular_values(product: Graded) -> Floats:
    """The k singular values, the largest first, divided by 2^exponent."""
    from scipy.linalg import lapack

    if not product.d.size:
        return product.d
    without = {"jobu": 3, "jobv": 3}
    # joba = 0: relative accuracy where the columns are graded; jobr = 0: keep the smallest
    found: Any = lapack.dgejsv(np.asfortranarray(product.t.T * product.d), joba=0, jobr=0, jobt=1, **without)
    values, work, info = found[0], found[3], found[-1]
    assert info == 0, "Jacobi rotations converge"
    return np.asarray(np.sort(values * (work[0] / work[1]))[::-1])


def _columns(image: Floats, below: Graded | None) -> int:
    return int(image.shape[1] if below is None else below.t.shape[1])
