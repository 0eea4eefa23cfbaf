"""Gaussian means of all pairs of many inputs at once: sums over Hermite coefficients where they are sure to suffice."""

from __future__ import annotations

import math

import numpy as np

from mcnet.activations.table import Activation
from mcnet.theory import gaussian
from mcnet.theory.gaussian import Floats

FEW = 28
"""Pairs up to which each has its own quadrature."""

ORDERS = (64, 256, 1024)
"""Numbers of Hermite coefficients that are tried one after the other."""

ACCURACY = 1e-13
"""Of the diagonal: what the orders that are left out may add to an entry."""


def pair_means(activation: Activation, q: Floats, derivative: bool) -> Floats:
    """E phi(u_a) phi(u_b), or E phi'(u_a) phi'(u_b), of all pairs of inputs.

    Parameters
    ----------
    activation : Activation
    q : ndarray, shape (T, T)
        Covariance of the pre-activations.
    derivative : bool
        Of phi' instead of phi.

    Returns
    -------
    ndarray, shape (T, T)

    Notes
    -----
    With the normalised Hermite polynomials he_k and f_a(z) = phi(sqrt(q_aa) z) (Mehler's formula),

        E f_a f_b = sum_k c_ab^k A_ak A_bk ,    A_ak = E f_a(z) he_k(z) ,                          (1)

    and what the orders from K on add is at most |c|^K R_a R_b with R_a^2 = E f_a^2 - sum_(k<K) A_ak^2. Pairs that this
    bound does not put below :data:`ACCURACY` of the diagonal (c near 1, or a phi with kinks) go to the quadrature in
    two dimensions, and so do all where they are few or have a closed form.
    """
    single = gaussian.derivative_square if derivative else gaussian.square
    double = gaussian.derivative_product if derivative else gaussian.product
    diagonal = np.diagonal(q).copy()
    squares = np.asarray(single(activation, diagonal))
    result = np.diag(squares)
    a, b = np.triu_indices(len(q), 1)
    closed = activation.closed("derivative_product" if derivative else "product") is not None
    if a.size > FEW and not closed:
        summed, bound = _series(activation, q, squares, derivative)
        sure = bound[a, b] <= ACCURACY * np.sqrt(squares[a] * squares[b])
        result[a[sure], b[sure]] = summed[a[sure], b[sure]]
        a, b = a[~sure], b[~sure]
    result[a, b] = double(activation, diagonal[a], diagonal[b], q[a, b])
    return result + np.triu(result, 1).T


def _series(activation: Activation, q: Floats, squares: Floats, derivative: bool) -> tuple[Floats, Floats]:
    """(1) for all pairs, and the bound of what is left out; the bound is inf where an input has length zero."""
    lengths = np.diagonal(q)
    roots = np.sqrt(np.outer(lengths, lengths))
    with np.errstate(divide="ignore", invalid="ignore"):
        c = np.where(roots > 0.0, np.clip(q / roots, -1.0, 1.0), np.nan)
    distinct, place = np.unique(lengths, return_inverse=True)
    summed, bound = np.zeros_like(q), np.full_like(q, np.inf)
    upper = np.triu_indices(len(q), 1)
    for order in ORDERS:
        rows = [_coefficients(activation, x, order, derivative) if x > 0.0 else np.zeros(order) for x in distinct]
        coefficients = np.stack(rows)[place]  # (T, K)
        rest = np.maximum(squares - np.sum(coefficients**2, axis=1), 1e-15 * squares)
        bound = np.abs(c) ** order * np.sqrt(np.outer(rest, rest))
        if order == ORDERS[-1] or np.all(bound[upper] <= ACCURACY * np.sqrt(np.outer(squares, squares))[upper]):
            for k in reversed(range(order)):
                summed = summed * c + np.outer(coefficients[:, k], coefficients[:, k])
            break
    return summed, np.where(np.isnan(bound), np.inf, bound)


def _coefficients(activation: Activation, q: float, order: int, derivative: bool) -> Floats:
    """E f(sqrt(q) z) he_k(z) for k < order."""
    u, weights = gaussian.nodes(float(q), activation.kinks, gaussian.feature_scale(activation))
    z = u / math.sqrt(q)
    values = weights * (activation.dphi(u) if derivative else activation.phi(u))
    found = np.empty(order)
    before, now = np.zeros_like(z), np.ones_like(z)
    for k in range(order):
        found[k] = values @ now
        before, now = now, (z * now - math.sqrt(k) * before) / math.sqrt(k + 1)
    return found
