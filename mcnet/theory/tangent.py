"""Neural tangent kernel at infinite width, and what training near it does.

Conventions: ``depth`` hidden layers and a linear readout, L = depth + 1 weight layers; the block of one output of

    Theta = J J^T = sum_l B^l o (alpha_l K^(l-1) + beta_l) .
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mcnet import activations
from mcnet.theory import mean_field
from mcnet.theory.gaussian import ActivationLike, Floats
from mcnet.theory.kernel_bulk import conjugate_kernel_bulk, kernel_bulk

__all__ = [
    "assemble",
    "conjugate_kernel_bulk",
    "gradient_descent",
    "gradient_flow",
    "kernel",
    "kernel_bulk",
    "layer_factors",
    "learning_rate_bound",
    "regression",
]


def layer_factors(
    parameterization: str,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    train_biases: bool,
    width: float | None = None,
    input_dimension: float | None = None,
) -> tuple[Floats, Floats]:
    """Factors (alpha_l, beta_l) of the weight and bias gradients of the depth + 1 weight layers.

    Parameters
    ----------
    parameterization : {"standard", "ntk", "pdlt"}
        ``standard`` (parameters W and b): (M_(l-1), 1); ``ntk`` (W = sqrt(sigma_w2/M) omega, b = sqrt(sigma_b2) beta):
        (sigma_w2, sigma_b2); ``pdlt`` (W = omega/sqrt(M)): (1, 1).
    sigma_w2, sigma_b2 : float
    depth : int
        Number of hidden layers.
    train_biases : bool
        False: beta_l = 0.
    width : float, optional
        M of the hidden layers; ``standard`` needs it.
    input_dimension : float, optional
        M_0, by default the width.

    Returns
    -------
    alpha, beta : ndarray, shape (depth + 1,)

    Raises
    ------
    ValueError
        If the parametrisation is not known, or is ``standard`` and has no width.
    """
    ones = np.ones(depth + 1)
    if parameterization == "standard":
        if width is None:
            raise ValueError('the kernel of the "standard" parametrisation grows with the width: give width')
        alpha = float(width) * ones
        alpha[0] = width if input_dimension is None else input_dimension
        beta = ones
    elif parameterization == "ntk":
        alpha, beta = sigma_w2 * ones, sigma_b2 * ones
    elif parameterization == "pdlt":
        alpha, beta = ones, ones
    else:
        raise ValueError(f'parameterization must be "standard", "ntk" or "pdlt", got "{parameterization}"')
    return alpha, beta if train_biases else 0.0 * ones


def kernel(
    gram: ArrayLike,
    activation: ActivationLike,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    parameterization: str,
    train_biases: bool,
    width: float | None = None,
    *,
    input_dimension: float | None = None,
) -> Floats:
    """Tangent kernel of one output in the limit of infinite width.

    Parameters
    ----------
    gram : array_like, shape (T, T)
        x_a . x_b / M_0 of the inputs.
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float
        Weight variance times fan-in; bias variance.
    depth : int
        Number of hidden layers.
    parameterization : {"standard", "ntk", "pdlt"}
    train_biases : bool
        Whether the biases contribute.
    width : float, optional
        Needed by ``standard``, where the kernel is of order M; the term of the biases, of relative order 1/M, is kept.
    input_dimension : float, optional
        M_0 where ``standard`` needs it; by default the width.

    Returns
    -------
    ndarray, shape (T, T)
        Different outputs have the same block and none between them.

    Notes
    -----
    ``Theta_ab = sum_l q_tilde^l_ab (alpha_l q_hat^(l-1)_ab + beta_l)`` over the depth + 1 weight layers,
    ``q_tilde = 1`` at the readout. Accuracy: the limit; the mean at width M differs by O(1/M)
    (:mod:`mcnet.theory.finite_width`). Quadrature error 1e-12 of the diagonal.

    References
    ----------
    Jacot, Gabriel, Hongler 2018, arXiv:1806.07572; Lee et al. 2019, arXiv:1902.06720.
    """
    phi = activations.get(activation)
    inputs = _square(gram, "gram")
    alpha, beta = layer_factors(parameterization, sigma_w2, sigma_b2, depth, train_biases, width, input_dimension)
    q_hat = mean_field.covariances(phi, sigma_w2, sigma_b2, inputs, depth).q_hat  # (depth + 1, T, T)
    q_tilde = mean_field.gradient_covariances(phi, sigma_w2, sigma_b2, inputs, depth, readout=True)  # (depth, T, T)
    return assemble(q_hat, q_tilde, alpha, beta)


def assemble(q_hat: Floats, q_tilde: Floats, alpha: Floats, beta: Floats) -> Floats:
    """The kernel (T, T) from ``q_hat`` (depth + 1, T, T), ``q_tilde`` (depth, T, T) and the factors of the layers."""
    theta: Floats = alpha[-1] * q_hat[-1] + beta[-1]
    for layer in range(len(q_tilde)):
        theta = theta + q_tilde[layer] * (alpha[layer] * q_hat[layer] + beta[layer])
    return theta


def regression(theta: ArrayLike, targets: ArrayLike, cross: ArrayLike, ridge: float = 0.0) -> Floats:
    """Mean prediction of an ensemble of infinitely wide networks trained to the end: kernel regression.

    Parameters
    ----------
    theta : array_like, shape (T, T)
        Kernel of the training inputs.
    targets : array_like, shape (T,) or (T, C)
    cross : array_like, shape (S, T)
        Kernel between S new inputs and the training inputs.
    ridge : float
        Added to the diagonal.

    Returns
    -------
    ndarray, shape (S,) or (S, C)
        ``cross (theta + ridge)^-1 targets``; the outputs of the networks at their start average to zero.

    Raises
    ------
    ValueError
        If the matrix to be inverted is singular to rounding.
    """
    matrix = _square(theta, "theta")
    values, vectors = np.linalg.eigh(matrix + ridge * np.eye(len(matrix)))
    if values[0] <= 10 * np.finfo(float).eps * len(values) * values[-1]:
        raise ValueError(
            "the kernel of the training inputs is singular to rounding: drop repeated inputs or add a ridge"
        )
    weights = vectors @ ((vectors.T @ np.asarray(targets, dtype=np.float64)).T / values).T
    return np.asarray(np.asarray(cross, dtype=np.float64) @ weights)


def gradient_descent(
    theta: ArrayLike,
    targets: ArrayLike,
    learning_rate: float,
    steps: ArrayLike,
    initial: ArrayLike | None = None,
    cross: ArrayLike | None = None,
    cross_initial: ArrayLike | None = None,
) -> Floats:
    """Outputs of the linearised network after steps of gradient descent on (1/2T) sum |f - y|^2.

    Parameters
    ----------
    theta : array_like, shape (T, T)
        Kernel of the training inputs.
    targets : array_like, shape (T,) or (T, C)
    learning_rate : float
    steps : array_like of int, shape (N,)
        Numbers of steps, >= 0.
    initial : array_like, shape of targets, optional
        Outputs before training; zero by default.
    cross : array_like, shape (S, T), optional
        Kernel between new inputs and the training inputs: their outputs are returned instead.
    cross_initial : array_like, shape (S,) or (S, C), optional
        Outputs at the new inputs before training; zero by default.

    Returns
    -------
    ndarray, shape (N, T), (N, T, C), (N, S) or (N, S, C)

    Notes
    -----
    ``f_n = y + (1 - eta Theta/T)^n (f_0 - y)``, mode by mode; new inputs follow the integral of the residual. It
    converges for ``eta < 2 T / lambda_max(Theta)``, that is 2 over the largest eigenvalue of the Fisher information.
    """
    return _training(theta, targets, learning_rate, steps, initial, cross, cross_initial, discrete=True)


def gradient_flow(
    theta: ArrayLike,
    targets: ArrayLike,
    times: ArrayLike,
    initial: ArrayLike | None = None,
    cross: ArrayLike | None = None,
    cross_initial: ArrayLike | None = None,
) -> Floats:
    """Outputs of the linearised network along the gradient flow of (1/2T) sum |f - y|^2.

    Parameters as in :func:`gradient_descent`; ``times`` (N,) is learning rate times steps of a small learning rate:
    ``f_t = y + exp(-t Theta/T) (f_0 - y)``.
    """
    return _training(theta, targets, 1.0, times, initial, cross, cross_initial, discrete=False)


def learning_rate_bound(theta: ArrayLike) -> float:
    """Largest stable learning rate of gradient descent on (1/2T) sum |f - y|^2: 2 T / lambda_max(Theta)."""
    matrix = _square(theta, "theta")
    return float(2.0 * len(matrix) / np.linalg.eigvalsh(matrix)[-1])


def _training(
    theta: ArrayLike,
    targets: ArrayLike,
    learning_rate: float,
    steps: ArrayLike,
    initial: ArrayLike | None,
    cross: ArrayLike | None,
    cross_initial: ArrayLike | None,
    discrete: bool,
) -> Floats:
    matrix, y = _square(theta, "theta"), np.asarray(targets, dtype=np.float64)
    n = np.atleast_1d(np.asarray(steps, dtype=np.float64))[:, None]  # (N, 1)
    if np.any(n < 0):
        raise ValueError("steps and times must be >= 0")
    start = np.zeros_like(y) if initial is None else np.asarray(initial, dtype=np.float64)
    values, vectors = np.linalg.eigh(matrix)
    rate = learning_rate * values / len(values)  # (T,)
    learned = 1.0 - (1.0 - rate) ** n if discrete else -np.expm1(-n * rate)  # (N, T)
    small = np.abs(rate) < 0.1
    if discrete:
        learned[:, small] = -np.expm1(n * np.log1p(-rate[small]))
    modes = vectors.T @ (y - start)
    shape = (slice(None), slice(None), *(None,) * (y.ndim - 1))
    if cross is None:
        return np.asarray(start + np.einsum("ab,nb...->na...", vectors, learned[shape] * modes))
    # (1 - (1 - rate)^n) / Theta, with its limit at a zero eigenvalue
    flat = np.abs(values) <= np.finfo(float).tiny
    divided = np.where(flat, n * learning_rate / len(values), learned / np.where(flat, 1.0, values))
    projected = np.asarray(cross, dtype=np.float64) @ vectors  # (S, T)
    outputs = np.einsum("sb,nb...->ns...", projected, divided[shape] * modes)
    return np.asarray(outputs if cross_initial is None else np.asarray(cross_initial, dtype=np.float64) + outputs)


def _square(matrix: ArrayLike, name: str) -> Floats:
    out = np.atleast_2d(np.asarray(matrix, dtype=np.float64))
    if out.ndim != 2 or out.shape[0] != out.shape[1] or not np.all(np.isfinite(out)):
        raise ValueError(f"{name} must be a finite square matrix, got shape {np.shape(matrix)}")
    return out
