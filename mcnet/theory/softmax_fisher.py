"""Fisher information of a softmax output (cross-entropy) at infinite width, from the tangent kernel of one output.

``F = (1/T) sum_t J_t^T Q_t J_t``, ``Q_t = diag(p_t) - p_t p_t^T``, with the probabilities p_t that the network gives to
the C classes at input t. Since ``Q = A A^T``, ``A = diag(sqrt p) - p sqrt(p)^T``, the non-zero eigenvalues of F are
those of the dual ``(1/T) A^T Theta A``; at infinite width Theta is the kernel of one output times the identity over
classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mcnet.theory.gaussian import Floats


class Outliers(NamedTuple):
    """Large eigenvalues of the softmax Fisher matrix where all inputs have the same kernel entries.

    Attributes
    ----------
    values : ndarray, shape (C - 1,)
        Descending. Those below ``bulk_edge`` are not separated from the bulk.
    bulk_edge : float
        About where the other eigenvalues end.
    trace : float
        Of the whole matrix.
    """

    values: Floats
    bulk_edge: float
    trace: float


def eigenvalues(kernel: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Non-zero eigenvalues of the softmax Fisher matrix at infinite width.

    Parameters
    ----------
    kernel : array_like, shape (T, T)
        Tangent kernel of one output.
    probabilities : array_like, shape (..., T, C)
        Softmax outputs, of one network or of many; rows sum to 1.

    Returns
    -------
    ndarray, shape (..., T (C - 1))
        Descending.

    Raises
    ------
    ValueError
        If shapes do not fit, C = 1, or a row is no probability.

    Notes
    -----
    Exact for a model whose kernel has no entries between different outputs. Networks of width M split equal
    eigenvalues by O(M^(-1/2)).

    References
    ----------
    Karakida, Akaho, Amari 2021, Neural Computation 33; Papyan 2019, arXiv:1901.08244.
    """
    theta, p = np.atleast_2d(np.asarray(kernel, dtype=np.float64)), _probabilities(probabilities)
    *networks, inputs, classes = p.shape
    if theta.shape != (inputs, inputs):
        raise ValueError(f"kernel must have shape {(inputs, inputs)}, one row an input, got {theta.shape}")
    root = np.sqrt(p)
    a = root[..., None] * np.eye(classes) - p[..., None] * root[..., None, :]  # A_t, (..., T, C, C)
    rows = np.swapaxes(a, -1, -2).reshape(*networks, inputs * classes, classes)  # A_t^T, one below the other
    dual = (rows @ np.swapaxes(rows, -1, -2)) * np.kron(theta, np.ones((classes, classes)))  # A^T (Theta x 1) A
    values = np.linalg.eigvalsh(dual / inputs)[..., ::-1]
    return values[..., : inputs * (classes - 1)]


def outliers(diagonal: float, off_diagonal: float, probabilities: ArrayLike) -> Outliers:
    """The C - 1 large eigenvalues, where the kernel of one output has two different entries, on and off the diagonal.

    Parameters
    ----------
    diagonal, off_diagonal : float
        theta_1 and theta_2.
    probabilities : array_like, shape (T, C)
        Softmax outputs; rows sum to 1.

    Notes
    -----
    For eigenpairs (mu_i, w_i) of the mean of Q_t, of which one is zero,

        lambda_i = theta_2 mu_i + (theta_1 - theta_2) w_i^T mean_t(Q_t^2) w_i / (T mu_i) ,

    the first order in ``(theta_1 - theta_2)/(T theta_2)``. Equal probabilities: ``[theta_1 + (T - 1) theta_2]/(C T)``,
    C - 1 times, exactly. Bulk edge: ``(theta_1 - theta_2) max Q/T``; trace: ``theta_1 mean_t(1 - sum_k p_k^2)``, exact.

    References
    ----------
    Karakida, Akaho, Amari 2021, Neural Computation 33; Papyan 2019, arXiv:1901.08244.
    """
    p = _probabilities(probabilities)
    if p.ndim != 2:
        raise ValueError(f"probabilities must have shape (T, C), got {p.shape}")
    inputs, classes = p.shape
    q = p[:, :, None] * np.eye(classes) - p[:, :, None] * p[:, None, :]  # (T, C, C)
    mu, w = np.linalg.eigh(q.mean(0))
    mu, w = mu[:0:-1], w[:, :0:-1]
    spread = diagonal - off_diagonal
    second = np.einsum("ki,kl,li->i", w, (q @ q).mean(0), w)
    values = np.sort(off_diagonal * mu + spread * second / (inputs * mu))[::-1]
    edge = spread * float(np.linalg.eigvalsh(q)[:, -1].max()) / inputs
    return Outliers(values, edge, float(diagonal * (1.0 - (p**2).sum(1)).mean()))


def _probabilities(probabilities: ArrayLike) -> Floats:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim < 2 or p.shape[-1] < 2:
        raise ValueError(f"probabilities must have shape (T, C) with at least two classes, got {p.shape}")
    if np.any(p < 0.0) or not np.allclose(p.sum(-1), 1.0, rtol=0.0, atol=1e-9):
        raise ValueError("every row of probabilities must be non-negative and sum to 1")
    return p
