"""Answers of a matrix given its earlier ones: the coefficients of the conditioned sampler as functions of Gram entries.

Forward, u = a^T U + L z with U the earlier answers and z fresh. Backward, for a Gaussian matrix,

    y = a^T Y + X k + (sigma_w2)^(1/2) l (g - projection of g on X),

where D, Y are the earlier questions and answers of W^T, X, U those of W, and S = sigma_w2 X.X + sigma_b2. The functions
here take truncated Taylor series (:class:`mcnet.theory.program.quantities.Taylor`) of the Gram matrices to those of the
coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcnet.theory.program.quantities import Taylor, cholesky, inverse

Floats = NDArray[np.float64]
Index = NDArray[np.intp]

SINGULAR = 1e-11


def fresh_rows(old: Floats, cross: Floats, own: Floats) -> Index:
    """Rows that are not linear combinations of the earlier ones and of each other."""
    rest = own - cross.T @ np.linalg.solve(old, cross) if len(old) else own.copy()
    kept: list[int] = []
    scale = np.maximum(np.diagonal(own), 1e-300)
    for row in range(len(own)):
        inner = rest[np.ix_(kept, kept)]
        left = rest[row, row]
        if kept:
            left -= rest[row, kept] @ np.linalg.solve(inner, rest[kept, row])
        if left > SINGULAR * scale[row]:
            kept.append(row)
    return np.array(kept, np.intp)


def projected(old: Taylor, cross: Taylor, own: Taylor) -> tuple[Taylor, Taylor]:
    """Coefficients a = S^-1 cross (k, R) on earlier rows, and the covariance that is left (R, R)."""
    a = inverse(old) @ cross
    return a, own - cross.T @ a


def spread(left: Taylor, kept: Index) -> tuple[Taylor, Taylor]:
    """Factor (J, J) of the rows that are kept, and coefficients (J, R) of all rows on them."""
    inner = left[np.ix_(kept, kept)]
    return cholesky(inner), inverse(inner) @ left[kept]


def backward_gaussian(
    sigma_w2: float, sigma_b2: float, kept: Index, old: Taylor, gram: Sequence[Taylor], told: Sequence[Taylor]
) -> tuple[Taylor, Taylor, Taylor]:
    """Coefficients of a backward answer on Y (R, j), on X (R, k) and on fresh normals (R, J).

    Parameters
    ----------
    kept : ndarray
        Rows that are not combinations of earlier ones.
    old : Taylor, shape (k, k)
        S of the forward questions.
    gram : three Taylor
        D.D (j, j), D.d (j, R), d.d (R, R).
    told : four Taylor
        U.D (k, j), U.d (k, R), X.g (k, J) and the normals of the bias (1, J).
    """
    (known, cross, own), (u_old, u_new, x_fresh, bias) = gram, told
    inner = inverse(old)
    if len(known.zero):
        a, left = projected(known, cross, own)
        rest = u_new - u_old @ a
    else:
        a, left, rest = cross, own, u_new
    factor, share = spread(left, kept)
    lost = math.sqrt(sigma_w2) * x_fresh + math.sqrt(sigma_b2) * _repeated(bias, len(x_fresh.zero))
    k = sigma_w2 * (inner @ rest[:, kept]) - sigma_w2 * (inner @ lost @ factor.T)
    out = share.T  # rows that are not kept follow those that are
    on_x, on_g = out @ k.T, math.sqrt(sigma_w2) * (out @ factor)
    return a.T, on_x, on_g


def backward_haar(
    sigma_w2: float, kept: Index, questions: Taylor, own: Taylor, told: Sequence[Taylor]
) -> tuple[Taylor, Taylor]:
    """Coefficients of the answer of a Haar matrix on X (R, k) and on fresh normals (R, J).

    Parameters
    ----------
    questions : Taylor, shape (k, k)
        X.X of the forward questions.
    own : Taylor, shape (R, R)
        d.d.
    told : three Taylor
        W X . d (k, R), X.g (k, J), g.g (J, J).
    """
    answers, x_fresh, fresh = told
    inner = inverse(questions)
    on_x = inner @ answers  # W^T d in the span of X: X (sigma_w2 X.X)^-1 (W X . d) sigma_w2
    left = sigma_w2 * own - answers.T @ on_x
    factor, share = spread(left, kept)
    away = inner @ x_fresh  # g less its projection is g - X away
    size = cholesky(fresh - x_fresh.T @ away)
    turn = share.T @ factor @ inverse(size)
    known = on_x.T  # all rows; the kept ones' part outside the span follows
    return known - turn @ away.T, turn


def _repeated(row: Taylor, count: int) -> Taylor:
    ones = Taylor(np.ones((count, 1)), np.zeros((1, count, 1)), np.zeros((1, count, 1)))
    return ones @ row
