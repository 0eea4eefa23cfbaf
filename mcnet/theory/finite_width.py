"""Finite width: coefficients of 1/M of means and variances of lengths, gradients and the tangent kernel.

For networks of ``depth`` hidden layers of width M, one output and a Gaussian readout,

    E X = limit + a1/M + O(1/M^2),        Var X = v1/M + O(1/M^2);

this module gives the limits, a1 (``*_mean``) and v1 (``*_variance``). See docs/theory/finite_width.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.theory import tangent
from mcnet.theory.expansion.backward import backward_chain, backward_limits, fill_backward_noise, tangent_kernel
from mcnet.theory.expansion.forward import Chain, correlation_statistics, forward_chain
from mcnet.theory.expansion.pair_law import Array, from_basis, to_matrix, to_pairs

MIXING = 32.0
"""Width times the mean square turn of an eigenvector beyond which 1/M says nothing of its eigenvalue below M = 100."""


class Signal(NamedTuple):
    """The forward part of :class:`Coefficients`, which costs half of the whole; attributes as there."""

    q_hat_limit: Array
    q_hat_mean: Array
    q_hat_variance: Array
    q_hat_covariance: Array
    q_limit: Array
    q_mean: Array
    q_variance: Array
    c_limit: Array | None
    c_mean: Array | None
    c_variance: Array | None


@dataclass(frozen=True)
class Coefficients:
    """Limits and 1/M coefficients; T = 1 or 2 inputs, P = T (T + 1)/2 entries in the order 11, 12, 22.

    ``X_limit`` is the value at M = infinity, ``X_mean`` is a1 and ``X_variance`` is v1; entry [a, b] of a variance is
    that of the entry (a, b).

    Attributes
    ----------
    q_hat_limit, q_hat_mean, q_hat_variance : ndarray, shape (depth + 1, T, T)
        h_a . h_b / M of the layers 0 (inputs) to depth.
    q_hat_covariance : ndarray, shape (depth + 1, P, depth + 1, P)
        M times the covariances of all entries of q_hat between all layers.
    q_limit, q_mean, q_variance : ndarray, shape (depth, T, T)
        u_a . u_b / M of the layers 1 to depth.
    c_limit, c_mean, c_variance : ndarray, shape (depth,), or None for one input
        Correlation q_12 / sqrt(q_11 q_22) of the layers 1 to depth; NaN where an input has length zero.
    q_tilde_limit, q_tilde_mean, q_tilde_variance : ndarray, shape (depth, T, T)
        d_a . d_b (a sum over units), d = df/du, of the layers 1 to depth.
    ntk_limit, ntk_mean, ntk_variance : ndarray, shape (T, T)
        Tangent kernel; with ``standard`` that of Theta/M.
    ntk_covariance : ndarray, shape (P, P)
        M times the covariance of its entries.
    ntk_cross_variance : ndarray, shape (T, T)
        M times the variance of entry (a, b) of the block of Theta between two different outputs, whose mean is zero.
    output_kurtosis : ndarray, shape (T,)
        M times the excess kurtosis E f^4 / (E f^2)^2 - 3 of an output.
    lambda_max_limit, lambda_max_mean : float, or None for one input
        Largest eigenvalue of the T x T kernel; its coefficient is NaN where the noise mixes the two eigenvectors at
        every width of use: mean square turn above :data:`MIXING` / M.
    """

    q_hat_limit: Array
    q_hat_mean: Array
    q_hat_variance: Array
    q_hat_covariance: Array
    q_limit: Array
    q_mean: Array
    q_variance: Array
    c_limit: Array | None
    c_mean: Array | None
    c_variance: Array | None
    q_tilde_limit: Array
    q_tilde_mean: Array
    q_tilde_variance: Array
    ntk_limit: Array
    ntk_mean: Array
    ntk_variance: Array
    ntk_covariance: Array
    ntk_cross_variance: Array
    output_kurtosis: Array
    lambda_max_limit: float | None
    lambda_max_mean: float | None


def signal(
    gram: ArrayLike,
    activation: str | Mapping[str, Any] | Activation,
    weights: str,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    fixed_inputs: bool = True,
    *,
    input_over_width: float = 1.0,
) -> Signal:
    """What :func:`coefficients` says of lengths and correlations, without the backward pass; parameters as there."""
    phi, covariance = activations.get(activation), _checked_gram(gram)
    _check(weights, sigma_w2, sigma_b2, depth, input_over_width)
    haar = weights == "orthogonal"
    return _signal(forward_chain(covariance, phi, haar, sigma_w2, sigma_b2, depth, fixed_inputs, input_over_width))


def _signal(chain: Chain) -> Signal:
    hidden, inputs = chain.layers, chain.inputs
    to_inputs = from_basis(inputs)  # (P, P)
    layers = range(len(hidden) + 1)
    stacked = np.stack([to_inputs @ chain.k_response(layer) for layer in layers])  # (depth + 1, P, noises)
    flat = stacked.reshape(-1, stacked.shape[2])
    covariance = (flat @ chain.noise @ flat.T).reshape(2 * stacked.shape[:2])  # [l, a, k, b]
    c = np.array([correlation_statistics(layer) for layer in hidden]) if inputs == 2 else None
    return Signal(
        q_hat_limit=_matrices([to_inputs @ to_pairs(chain.k(layer)) for layer in layers]),
        q_hat_mean=_matrices([to_inputs @ chain.k_shift(layer) for layer in layers]),
        q_hat_variance=_matrices([np.diagonal(covariance[layer, :, layer, :]) for layer in layers]),
        q_hat_covariance=covariance,
        q_limit=_matrices([to_inputs @ to_pairs(layer.s) for layer in hidden]),
        q_mean=_matrices([to_inputs @ layer.q_shift for layer in hidden]),
        q_variance=_matrices([np.diagonal(to_inputs @ layer.q_covariance @ to_inputs.T) for layer in hidden]),
        c_limit=None if c is None else c[:, 0],
        c_mean=None if c is None else c[:, 1],
        c_variance=None if c is None else c[:, 2],
    )


def _matrices(vectors: list[Array]) -> Array:
    return to_matrix(np.array(vectors))  # (..., T, T)


def coefficients(
    gram: ArrayLike,
    activation: str | Mapping[str, Any] | Activation,
    weights: str,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    parameterization: str,
    train_biases: bool,
    fixed_inputs: bool = True,
    *,
    input_over_width: float = 1.0,
    gradient_independence: bool = False,
) -> Coefficients:
    """Limits and 1/M coefficients of a dense network with one or two inputs.

    Parameters
    ----------
    gram : array_like, shape (1, 1) or (2, 2)
        x_a . x_b / M_0; of random inputs the covariance of the coordinates. A number means one input.
    activation : str, mapping or Activation
        Any of the table; kinks are allowed.
    weights : {"gaussian", "orthogonal"}
        Law of the hidden layers; the readout is Gaussian.
    sigma_w2, sigma_b2 : float
        Weight variance times fan-in; bias variance.
    depth : int
        Number of hidden layers, >= 1.
    parameterization : {"standard", "ntk", "pdlt"}
        Of the tangent kernel: (alpha_l, beta_l) = (M_(l-1), 1), (sigma_w2, sigma_b2), (1, 1). For ``standard`` the
        coefficients are those of Theta/M; the term of the biases is then itself of order 1/M.
    train_biases : bool
        Whether the beta terms enter the kernel.
    fixed_inputs : bool
        False: the M_0 coordinates of the inputs are i.i.d. N(0, gram) in every network.
    input_over_width : float
        M_0/M. It enters alpha_1 of ``standard``, random inputs, and the first layer if it is orthogonal.
    gradient_independence : bool
        True: as if the weights of the backward pass were independent of those of the forward pass, the common
        assumption of mean-field theory. Right in the limit and for variances to first order; it misses a part of
        ``q_tilde_mean`` and ``ntk_mean`` (none in the diagonal for homogeneous activations).

    Returns
    -------
    Coefficients

    Raises
    ------
    ValueError
        If an argument is out of range, or phi is too rough for the quadrature.

    Notes
    -----
    Expansion to first order in 1/M at fixed depth; it needs M much larger than depth. Numerical error below 1e-9 of the
    natural size of each entry; 1 - c is carried with relative accuracy, so the coefficients of c and of the lengths
    stay good as c -> 1. Parallel or vanishing inputs are allowed.

    References
    ----------
    Roberts, Yaida, Hanin 2022 and Hanin, Nica 2019 for single inputs; Karakida, Akaho, Amari 2019 and Jacot et al. 2018
    for the observables.
    """
    phi = activations.get(activation)
    covariance = _checked_gram(gram)
    _check(weights, sigma_w2, sigma_b2, depth, input_over_width)
    alpha, beta, beta_shift = _layer_factors(
        parameterization, train_biases, sigma_w2, sigma_b2, depth, input_over_width
    )
    haar = weights == "orthogonal"
    chain = forward_chain(covariance, phi, haar, sigma_w2, sigma_b2, depth, fixed_inputs, input_over_width)
    fill_backward_noise(chain, backward_limits(chain, sigma_w2))
    errors = backward_chain(chain, sigma_w2, sigma_b2, gradient_independence)
    kernel = tangent_kernel(chain, errors, sigma_w2, alpha, beta, beta_shift)

    def variances(responses: list[Array]) -> Array:
        return _matrices([(r @ chain.noise * r).sum(axis=1) for r in responses])

    forward = _signal(chain)
    ntk_covariance = kernel.response @ chain.noise @ kernel.response.T
    top_limit, top_mean = _largest_eigenvalue(kernel.limit, kernel.shift, ntk_covariance)
    output_squares = sigma_w2 * np.diagonal(forward.q_hat_limit[-1]) + sigma_b2
    last = forward.q_hat_covariance[-1, :, -1, :]
    return Coefficients(
        **forward._asdict(),
        q_tilde_limit=_matrices([error.b for error in errors[:-1]]),
        q_tilde_mean=_matrices([error.shift for error in errors[:-1]]),
        q_tilde_variance=variances([error.response for error in errors[:-1]]),
        ntk_limit=to_matrix(kernel.limit),
        ntk_mean=to_matrix(kernel.shift),
        ntk_variance=to_matrix(np.diagonal(ntk_covariance)),
        ntk_covariance=ntk_covariance,
        ntk_cross_variance=kernel.cross_variance,
        output_kurtosis=_kurtosis(3.0 * sigma_w2**2 * np.diagonal(to_matrix(np.diagonal(last))), output_squares),
        lambda_max_limit=top_limit,
        lambda_max_mean=top_mean,
    )


def _layer_factors(
    parameterization: str, train_biases: bool, sigma_w2: float, sigma_b2: float, depth: int, input_over_width: float
) -> tuple[Array, Array, Array]:
    """(alpha_l, beta_l, M times the 1/M part of beta_l) of the depth + 1 weight layers; ``standard`` divided by M."""
    alpha, beta = tangent.layer_factors(
        parameterization, sigma_w2, sigma_b2, depth, train_biases, width=1.0, input_dimension=input_over_width
    )
    zeros = np.zeros(depth + 1)
    return (alpha, zeros, beta) if parameterization == "standard" else (alpha, beta, zeros)


def _kurtosis(fourth_cumulant: Array, squares: Array) -> Array:
    """Fourth cumulant over the squared variance; NaN for an output that is zero."""
    out = np.full(squares.shape, np.nan)
    np.divide(fourth_cumulant, squares**2, out=out, where=squares > 0.0)
    return out


def _largest_eigenvalue(limit: Array, shift: Array, covariance: Array) -> tuple[float | None, float | None]:
    """Largest eigenvalue of a 2 x 2 kernel: limit and a1 by second-order perturbation theory."""
    if limit.size == 1:
        return None, None
    values, vectors = np.linalg.eigh(to_matrix(limit))
    gap = float(values[1] - values[0])
    if gap <= 1e-12 * abs(float(values[1])):
        return float(values[1]), float("nan")
    v, w = vectors[:, 1], vectors[:, 0]
    direct = np.array([v[0] ** 2, 2.0 * v[0] * v[1], v[1] ** 2]) @ shift
    mixing = np.array([v[0] * w[0], v[0] * w[1] + v[1] * w[0], v[1] * w[1]])
    turned = float(mixing @ covariance @ mixing)
    return float(values[1]), float(direct + turned / gap) if turned <= MIXING * gap**2 else float("nan")


def _checked_gram(gram: ArrayLike) -> Array:
    matrix = np.atleast_2d(np.asarray(gram, dtype=np.float64))
    if matrix.shape not in ((1, 1), (2, 2)):
        raise ValueError(f"the Gram of the inputs must be 1 x 1 or 2 x 2, got shape {np.shape(gram)}")
    if not np.all(np.isfinite(matrix)) or not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0.0):
        raise ValueError("the Gram of the inputs must be finite and symmetric")
    if np.any(np.diagonal(matrix) < 0.0) or matrix[0, -1] ** 2 > (1.0 + 1e-12) * matrix[0, 0] * matrix[-1, -1]:
        raise ValueError("the Gram of the inputs must be positive semidefinite")
    return matrix


def _check(weights: str, sigma_w2: float, sigma_b2: float, depth: int, input_over_width: float) -> None:
    if weights not in ("gaussian", "orthogonal"):
        raise ValueError(
            f'weights must be "gaussian" or "orthogonal", got "{weights}": no other law has a known expansion'
        )
    if not (sigma_w2 >= 0.0 and sigma_b2 >= 0.0 and np.isfinite(sigma_w2) and np.isfinite(sigma_b2)):
        raise ValueError(f"sigma_w2 and sigma_b2 must be finite and >= 0, got {sigma_w2} and {sigma_b2}")
    if depth < 1:
        raise ValueError(f"depth must be >= 1, got {depth}")
    if not (input_over_width > 0.0 and np.isfinite(input_over_width)):
        raise ValueError(f"input_over_width must be positive and finite, got {input_over_width}")
