"""Products of many matrices whose singular values span more orders of magnitude than a double has digits.

A product is kept as Q diag(d) T: Q with orthonormal columns, d positive and graded, T well conditioned. A factor more
acts on Q diag(d), which a QR factorisation of the columns in the order of their lengths splits again: large and small
numbers never meet in a sum (Loh and Gubernatis 1992; Tomas et al. 2012). The singular values come from the triangle of
T^T diag(d), which is graded too: reduction to a bidiagonal matrix mostly keeps every digit of the small ones. Whether
it did is seen from their product, the determinant of the triangle; if not, one-sided Jacobi rotations find every one
to high relative accuracy (Drmac and Veselic 2008).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMALLEST = 1e-290
"""Smallest ratio of singular values that is kept; less leaves the range of a double."""


DETERMINANT = 1e-6
"""Largest error of the logarithm of the product of all singular values."""


class Graded(NamedTuple):
    """2^exponent Q diag(d) T, of rank k.

    Attributes
    ----------
    q : ndarray, shape (m, k)
    d : ndarray, shape (k,)
        Positive, the largest in [1, 2); nearly in order.
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
    live = np.any(image != 0.0, axis=1)
    columns = image[live] if below is None else image[live] * below.d
    if not live.any():
        return Graded(np.zeros((len(image), 0)), np.zeros(0), np.zeros((0, _columns(image, below))), 0)
    order = np.argsort(-np.linalg.norm(columns, axis=0), kind="stable")
    factor, r = _factored(columns[:, order])
    d = np.abs(np.diagonal(r))
    if not d.min() > SMALLEST * d.max():
        raise OverflowError("the singular values span more than 290 orders of magnitude")
    t: Floats = np.empty((d.size, r.shape[1]))
    t[:, order] = r / d[:, None]
    q = np.zeros((len(image), d.size))
    q[live] = factor
    shift = math.floor(math.log2(d.max()))
    exponent = shift + (0 if below is None else below.exponent)
    return Graded(q, d / 2.0**shift, t if below is None else t @ below.t, exponent)


def _factored(columns: Floats) -> tuple[Floats, Floats]:
    """Q (m, k) with orthonormal columns and R (k, n), k the smaller of m and n."""
    from scipy.linalg import lapack

    count = min(columns.shape)
    work = {"lwork": 64 * max(columns.shape)}  # for blocks of 64 columns: the default works column by column
    packed, tau = lapack.dgeqrf(np.asfortranarray(columns), overwrite_a=1, **work)[:2]
    r = np.triu(packed[:count])
    return lapack.dorgqr(packed[:, :count], tau, overwrite_a=1, **work)[0], r


def singular_values(product: Graded) -> Floats:
    """The k singular values, the largest first, divided by 2^exponent."""
    if not product.d.size:
        return product.d
    order = np.argsort(-product.d, kind="stable")
    columns = (product.t.T * product.d)[:, order]
    triangle = np.linalg.qr(columns, mode="r")
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.linalg.svd(triangle, compute_uv=False)
        missed = np.log(found).sum() - np.log(np.abs(np.diagonal(triangle))).sum()
    return found if abs(missed) < DETERMINANT else _by_rotations(columns)


def _by_rotations(columns: Floats) -> Floats:
    """Singular values of graded columns by one-sided Jacobi rotations."""
    from scipy.linalg import lapack

    without = {"jobu": 3, "jobv": 3}
    # joba = 0: relative accuracy where the columns are graded; jobr = 0: keep the smallest
    found: Any = lapack.dgejsv(np.asfortranarray(columns), joba=0, jobr=0, jobt=1, **without)
    values, work, info = found[0], found[3], found[-1]
    assert info == 0, "Jacobi rotations converge"
    return np.asarray(np.sort(values * (work[0] / work[1]))[::-1])


def reciprocal_condition(matrix: Floats) -> float:
    """1 / (|A| |A^-1|) in the norm of column sums, estimated from an LU factorisation; 0 where A is not finite."""
    from scipy.linalg import lapack

    if not np.isfinite(matrix).all():
        return 0.0
    factors, _, singular = lapack.dgetrf(matrix.T)  # rows for columns: the norm of row sums of A^T
    return 0.0 if singular else float(lapack.dgecon(factors, np.abs(matrix).sum(axis=1).max())[0])


def _columns(image: Floats, below: Graded | None) -> int:
    return int(image.shape[1] if below is None else below.t.shape[1])
