"""Bulk spectra of the conjugate and the tangent kernel where the number of inputs T grows with the width M."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.theory import gaussian
from mcnet.theory.fixed_points import fixed_length
from mcnet.theory.free.continuation import follow
from mcnet.theory.free.kernel_chain import AbstractChain, ConjugateChain, PencilChain, Real, Rows, law_at
from mcnet.theory.free.spectrum import Spectrum, from_log, resolve

ActivationLike = str | Mapping[str, Any] | Activation

TAIL = 1e-7
LOG_SMALLEST = -60.0
LOOK = 200  # points to look for gaps with
SHARED_NODES = 20  # Gauss-Hermite nodes for what the inputs share; the means over the rest are smooth in it


def conjugate_kernel_bulk(
    activation: ActivationLike,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    inputs_over_width: float,
    *,
    q_hat_0: float | None = None,
    points: int = 400,
) -> Spectrum:
    """Law of the eigenvalues of K^L = h^L . h^L / M (T x T) as T and M grow with T/M fixed.

    Parameters
    ----------
    activation : str, mapping or Activation
        As in a scenario.
    sigma_w2, sigma_b2 : float
        Weight variance times fan-in; bias variance.
    depth : int
        Number L of hidden layers, all of width M.
    inputs_over_width : float
        T/M > 0. The inputs have M independent coordinates N(0, q_hat_0).
    q_hat_0 : float, optional
        Squared length of the inputs per coordinate; default: the fixed point.
    points : int
        Points of the grid.

    Returns
    -------
    Spectrum
        The bulk, of mass one. Where phi is not centred, or with biases, finitely many eigenvalues (one of order T) lie
        outside; they and their share of the trace are left out of ``.mean``.

    Raises
    ------
    ValueError
        If E phi' = 0 in some layer (the bulk then forgets the layers below: not covered), or a variance is none.

    Notes
    -----
    The recursion of Fan and Wang 2020 for centred phi without biases; otherwise units share a part xi of their
    pre-activation over the inputs, xi ~ N(0, kbar), and rows have covariance ``alpha_xi + beta_xi K^{l-1}`` with

        beta_xi = sigma_w2 (E phi'(xi + v))^2,
        alpha_xi = Var phi(xi + v) - (q - kbar) (E phi'(xi + v))^2,      v ~ N(0, q - kbar).

    One layer is the quartic of Pennington and Bahri 2017. Gaussian weights. Mass of the density to 1e-6; the mean over
    xi is a sum, so where T > M units that are nearly off (relu) give separate narrow bands at the bottom.

    References
    ----------
    Fan and Wang 2020; Pennington and Bahri 2017.
    """
    phi = activations.get(activation)
    q_hat_0 = _first_length(phi, sigma_w2, sigma_b2, depth, inputs_over_width, q_hat_0)
    rows, mean, second = _rows(phi, sigma_w2, sigma_b2, q_hat_0, depth, inputs_over_width)
    chain = ConjugateChain(rows, q_hat_0, inputs_over_width)
    top = q_hat_0 * _spread(inputs_over_width)
    for row in rows:
        top = float(np.max(row.alpha + row.beta * top)) * _spread(inputs_over_width)
    empty = 1 - 1 / inputs_over_width
    return _bulk(chain, top, empty, mean, second, 0.0, points)


def kernel_bulk(
    activation: ActivationLike,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    inputs_over_width: float,
    *,
    q_hat_0: float | None = None,
    readout_variance: float = 1.0,
    points: int = 400,
) -> Spectrum:
    """Law of the eigenvalues of the tangent kernel of a scalar output as T and M grow with T/M fixed.

    Parameters
    ----------
    activation, sigma_w2, sigma_b2, depth, inputs_over_width, q_hat_0, points
        As in :func:`conjugate_kernel_bulk`; sigma_b2 must be 0 and phi centred.
    readout_variance : float
        Variance of the readout weights times M, which multiplies all but the readout's own part. 1 is the choice of Fan
        and Wang; networks of this package have sigma_w2.

    Returns
    -------
    Spectrum
        Of ``Theta = sum_l B^l o K^{l-1}`` over all weight layers (parametrisation ``pdlt``, no biases). The
        support starts at or above ``.shift``.

    Raises
    ------
    ValueError
        With biases or a phi that is not centred, where the common part of the kernel is not derived; if E phi' = 0.

    Notes
    -----
    ``Theta`` acts as ``r + sum_{l=1}^{L} c_{l-1} K^{l-1} + K^L`` (Fan and Wang 2020) with

        c_{l-1} = v sigma_w2^(L-l) prod_{k>=l} (E phi'_k)^2,
        r = sum_l [v sigma_w2^(L-l) prod_{k>=l} E phi'_k^2 - c_{l-1}] q_hat_{l-1},      v = readout_variance.

    At finite width the read-out vector multiplies all but K^L by a common factor of spread O(M^-1/2) from network to
    network: compare after division by the trace. Mass of the density to 1e-6.

    References
    ----------
    Fan and Wang 2020.
    """
    phi = activations.get(activation)
    if sigma_b2 != 0:
        raise ValueError(
            "the tangent kernel's bulk is known for sigma_b2 = 0 only: biases give the inputs a common part"
        )
    q_hat_0 = _first_length(phi, sigma_w2, sigma_b2, depth, inputs_over_width, q_hat_0)
    lengths, slopes, slope_squares = [q_hat_0], [], []
    for _ in range(depth):
        q = sigma_w2 * lengths[-1]
        mean = gaussian.mean(phi.phi, q, phi.kinks)
        lengths.append(float(gaussian.mean(lambda u: phi.phi(u) ** 2, q, phi.kinks)))
        if abs(mean) > 1e-9 * math.sqrt(lengths[-1]):
            raise ValueError(
                f'"{phi.label}" is not centred (E phi = {mean:.3g}): the tangent kernel\'s bulk is not derived for it; '
                "conjugate_kernel_bulk is"
            )
        slopes.append(float(gaussian.mean(phi.dphi, q, phi.kinks)))
        slope_squares.append(float(gaussian.mean(lambda u: phi.dphi(u) ** 2, q, phi.kinks)))
    rows, _, _ = _rows(phi, sigma_w2, 0.0, q_hat_0, depth, inputs_over_width)
    coefficients: list[float] = []
    shift = 0.0
    linear, square = readout_variance / sigma_w2, readout_variance / sigma_w2
    for layer in reversed(range(depth)):
        linear, square = sigma_w2 * linear * slopes[layer] ** 2, sigma_w2 * square * slope_squares[layer]
        coefficients.insert(0, linear)
        shift += (square - linear) * lengths[layer]
    pairs = tuple((float(row.alpha[0]), float(row.beta[0])) for row in rows)
    chain = PencilChain(pairs, tuple(coefficients), q_hat_0, inputs_over_width)
    level = q_hat_0 * _spread(inputs_over_width)
    top = 0.0
    for (alpha, beta), coefficient in zip(pairs, coefficients, strict=True):
        top += coefficient * level
        level = (alpha + beta * level) * _spread(inputs_over_width)
    mean, second = _pencil_moments(pairs, coefficients, q_hat_0, inputs_over_width, shift)
    return _bulk(chain, top + level, 1 - (depth + 1) / inputs_over_width, mean, second, shift, points)


def _spread(gamma: float) -> float:
    """Upper edge of the Marchenko-Pastur law."""
    return (1 + math.sqrt(gamma)) ** 2


def _first_length(
    phi: Activation, sigma_w2: float, sigma_b2: float, depth: int, gamma: float, q_hat_0: float | None
) -> float:
    if depth < 1:
        raise ValueError(f"depth = {depth}: at least one hidden layer is needed")
    if not (sigma_w2 > 0 and sigma_b2 >= 0 and gamma > 0):
        raise ValueError("sigma_w2 and inputs_over_width must be positive, sigma_b2 not negative")
    if q_hat_0 is None:
        q_hat_0 = (float(fixed_length(phi, sigma_w2, sigma_b2)) - sigma_b2) / sigma_w2
    if not q_hat_0 > 0:
        raise ValueError(f"q_hat_0 = {q_hat_0:g} must be positive (where the fixed point is 0, give q_hat_0)")
    return q_hat_0


def _rows(
    phi: Activation, sigma_w2: float, sigma_b2: float, q_hat_0: float, depth: int, gamma: float
) -> tuple[tuple[Rows, ...], float, float]:
    """Row covariances layer by layer, and mean and second moment of the last bulk."""
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(SHARED_NODES)
    node_weights = node_weights / node_weights.sum()
    rows = []
    q_hat, common = q_hat_0, 0.0  # E phi^2, and the part of it that inputs share
    first, second = q_hat_0, q_hat_0**2 * (1 + gamma)
    for layer in range(depth):
        q, shared = sigma_w2 * q_hat + sigma_b2, sigma_w2 * common + sigma_b2
        own = q - shared
        xi, weights = (math.sqrt(shared) * nodes, node_weights) if shared > 1e-14 * q else (np.zeros(1), np.ones(1))
        mean, square, slope = (np.empty(xi.size) for _ in range(3))
        for i, part in enumerate(xi):
            kinks = [kink - part for kink in phi.kinks]
            mean[i] = gaussian.mean(_moved(phi.phi, part), own, kinks)
            square[i] = gaussian.mean(_moved(lambda u: phi.phi(u) ** 2, part), own, kinks)
            slope[i] = gaussian.mean(_moved(phi.dphi, part), own, kinks)
        beta = sigma_w2 * slope**2
        alpha = np.maximum(square - mean**2 - own * slope**2, 0.0)
        if not weights @ beta > 1e-12 * (weights @ alpha + weights @ beta):
            raise ValueError(f"E phi' vanishes in layer {layer + 1}: the bulk of such a layer is not covered")
        rows.append(_merged(alpha, beta, weights))
        a, b = float(weights @ alpha), float(weights @ beta)
        second = a * a + 2 * a * b * first + b * b * second + gamma * float(weights @ (alpha + beta * first) ** 2)
        first = a + b * first
        q_hat, common = float(weights @ square), float(weights @ mean**2)
    return tuple(rows), first, second


def _merged(alpha: Real, beta: Real, weights: Real) -> Rows:
    """Rows with equal covariance joined: for an even or odd phi every xi has a partner."""
    scale = float(weights @ (alpha + beta))
    _, index, inverse = np.unique(np.round((alpha + 1j * beta) / scale, 12), return_index=True, return_inverse=True)
    return Rows(alpha[index], beta[index], np.bincount(inverse, weights).astype(float))


def _moved(function: Callable[[Any], Any], by: float) -> Callable[[Any], Any]:
    return lambda v: function(by + v)


def _pencil_moments(
    rows: tuple[tuple[float, float], ...], coefficients: list[float], q_hat_0: float, gamma: float, shift: float
) -> tuple[float, float]:
    """Mean and second moment of shift + sum_k c_k K_k + K_L; tr K_j K_k = tr K_j (alpha_k + beta_k K_{k-1}), j < k."""
    first, pairs = [q_hat_0], [[q_hat_0**2 * (1 + gamma)]]
    for alpha, beta in rows:
        mean, square = first[-1], pairs[-1][-1]
        across = [alpha * m + beta * pair for m, pair in zip(first, pairs[-1], strict=True)]
        first.append(alpha + beta * mean)
        own = alpha**2 + 2 * alpha * beta * mean + beta**2 * square + gamma * first[-1] ** 2
        pairs.append([*across, own])
    weights = [*coefficients, 1.0]
    mean = sum(weight * m for weight, m in zip(weights, first, strict=True))
    square = sum(
        (2 if j < k else 1) * weights[j] * weights[k] * pairs[k][j] for k in range(len(weights)) for j in range(k + 1)
    )
    return shift + mean, square + 2 * shift * mean + shift**2


def _bulk(
    chain: AbstractChain, top: float, empty: float, mean: float, second: float, shift: float, points: int
) -> Spectrum:
    """Follow a chain down the negative axis, then to the spectrum below ``top``; ``empty`` is the mass at zero."""
    zero = max(empty, 0.0)
    log_top = math.log(top) + 1e-6
    log_z = log_top + 12.0
    state = chain.far_state(log_z)
    rows_s: list[float] = []
    rows: list[NDArray[Any]] = []
    while True:
        here: NDArray[Any] = np.array([log_z], dtype=complex)
        state, good = follow(chain, state, here + (0.5 + 0j if rows else 0j), here)
        if not good[0]:
            raise ValueError("the resolvent could not be followed on the negative axis: this bulk is not resolved")
        rows_s.append(log_z)
        rows.append(state[0].real)
        below = 1 - float(chain.result(state, here).minus_m[0].real) - zero
        if below < TAIL or log_z < log_top + LOG_SMALLEST:
            break
        log_z -= 0.5
    axis: tuple[Real, Real] = (np.array(rows_s), np.array(rows))
    atoms = ((-math.inf, zero),) if zero > 0 else ()
    log = resolve(lambda log_x: law_at(chain, axis, log_x), log_top, rows_s[-1], atoms, points, max(LOOK, points // 4))
    return from_log(log, mean, second, shift)
