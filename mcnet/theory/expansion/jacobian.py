"""1/M corrections of the first two spectral moments of J J^T, for any activation: means and variances over networks.

State of a layer, with A = J J^T up to it: q_hat = |h|^2/M, t = tr A, x = tr A^2, and the overlaps psi_1 = h.A h/M,
psi_2 = |A h|^2/M. Given the layer below, the units are independent (Gaussian weights) or on a sphere (Haar), so q_hat,
t, x are a Markov chain with noise of order M^-1/2, from the empirical means of phi^2, phi'^2, phi'^4, and a drift of
order 1/M. The drift holds the dependence of W on u: W is fixed along h by u, and free across it. The delta method does
the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.theory import gaussian
from mcnet.theory.fixed_points import fixed_length

Real = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class MomentCoefficients:
    """Limits and 1/M coefficients of tr (J J^T)^k, k = 1, 2, after each layer; tr is the trace over M.

    Attributes
    ----------
    limit : ndarray, shape (depth, 2)
        M -> infinity.
    mean : ndarray, shape (depth, 2)
        ``E tr (J J^T)^k = limit + mean/M + O(M^-2)``.
    covariance : ndarray, shape (depth, 2, 2)
        ``Cov = covariance/M + O(M^-2)``, between networks.
    """

    limit: Real
    mean: Real
    covariance: Real


class _Means(NamedTuple):
    """Gaussian means at one layer; w is the part of u that comes from the weights."""

    s: float  # variance of u
    kappa: float  # that of w, over it
    values: Real  # phi^2, p^2, p^4 (p = phi')
    first: Real  # their slopes in S
    second: Real
    noise: Real  # their covariance, (3, 3)
    p2w2: float
    p4w2: float
    hpw: float
    p3hw: float
    p2h2: float
    p4h2: float


def moment_coefficients(
    activation: str | Mapping[str, Any] | Activation,
    weights: str,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    q_hat_0: float | None = None,
) -> MomentCoefficients:
    """1/M coefficients of tr J J^T and tr (J J^T)^2.

    Parameters
    ----------
    activation : str, mapping or Activation
        Any; smooth or with kinks.
    weights : {"gaussian", "orthogonal"}
        Law of the square weights.
    sigma_w2, sigma_b2 : float
        Weight variance times width; bias variance.
    depth : int
        Number of layers.
    q_hat_0 : float, optional
        Squared length |x|^2/M of the input, which is fixed; default: that of the fixed point.

    Returns
    -------
    MomentCoefficients

    Raises
    ------
    ValueError
        For other weights.

    Notes
    -----
    With S = sigma_w2 q_hat + sigma_b2, <.> over u ~ N(0, S), m = <p^2>, m_2 = <p^4>, the limit of a layer is

        q_hat' = <phi^2>,   t' = sigma_w2 m t,   x' = sigma_w2^2 [m^2 (x - (1 - g) t^2) + m_2 t^2],

    g = 1 for Gaussian, 0 for Haar weights.

    The mean shift of (q_hat, t, x) is carried by its slopes, plus half its curvature times the covariance, plus the
    drift. Accuracy: the O(M^-1) terms are exact; the quadrature is that of :mod:`mcnet.theory.gaussian`.
    For homogeneous phi all orders are in :mod:`mcnet.theory.exact.jacobian`.
    """
    phi = activations.get(activation)
    if weights not in ("gaussian", "orthogonal"):
        raise ValueError(f'weights = "{weights}": the corrections are derived for "gaussian" and "orthogonal"')
    haar = weights == "orthogonal"
    if q_hat_0 is None:
        q_hat_0 = (float(fixed_length(phi, sigma_w2, sigma_b2)) - sigma_b2) / sigma_w2
    state = np.array([q_hat_0, 1.0, 1.0])
    psi = np.array([q_hat_0, q_hat_0])
    shift, covariance = np.zeros(3), np.zeros((3, 3))
    limits, means, covariances = [], [], []
    for _ in range(depth):
        layer = _gaussian_means(phi, sigma_w2, sigma_b2, float(state[0]), haar)
        slopes, curvatures, by_noise = _derivatives(layer, state, sigma_w2, haar)
        drift = (_drift_haar if haar else _drift_gaussian)(layer, state, psi, sigma_w2)
        shift = slopes @ shift + 0.5 * np.einsum("ijk,jk->i", curvatures, covariance) + drift
        covariance = slopes @ covariance @ slopes.T + by_noise @ layer.noise @ by_noise.T
        psi = (_overlaps_haar if haar else _overlaps_gaussian)(layer, state, psi, sigma_w2)
        state = _limit(layer.values, state, sigma_w2, haar)
        limits.append(state[1:])
        means.append(shift[1:])
        covariances.append(covariance[1:, 1:])
    return MomentCoefficients(np.array(limits), np.array(means), np.array(covariances))


def _gaussian_means(phi: Activation, sigma_w2: float, sigma_b2: float, q_hat: float, haar: bool) -> _Means:
    s_w = sigma_w2 * q_hat
    s = s_w + sigma_b2

    def mean(function: Any) -> Any:
        return gaussian.mean(function, s, phi.kinks)

    def functions(u: Real) -> Real:
        p2 = phi.dphi(u) ** 2
        return np.stack([phi.phi(u) ** 2, p2, p2 * p2])

    def hermite(u: Real, order: int) -> Real:
        z2 = u * u / s
        return z2 - 1 if order == 2 else z2 * z2 - 6 * z2 + 3

    values = np.asarray(mean(functions))
    first = np.asarray(mean(lambda u: functions(u) * hermite(u, 2))) / (2 * s)
    second = np.asarray(mean(lambda u: functions(u) * hermite(u, 4))) / (4 * s * s)
    pairs = np.asarray(mean(lambda u: functions(u)[:, None] * functions(u)[None]))
    noise = pairs - np.outer(values, values)
    if haar:
        # On the sphere |w|^2 = M s_w the part of the noise that changes the length is missing.
        noise = noise - 2 * s_w**2 * np.outer(first, first)
    kappa = s_w / s  # w given u: mean kappa u, variance s_w (1 - kappa)
    rest = s_w * (1 - kappa)
    return _Means(
        s,
        kappa,
        values,
        first,
        second,
        noise,
        p2w2=float(kappa**2 * mean(lambda u: phi.dphi(u) ** 2 * u * u) + rest * values[1]),
        p4w2=float(kappa**2 * mean(lambda u: phi.dphi(u) ** 4 * u * u) + rest * values[2]),
        hpw=float(kappa * mean(lambda u: phi.phi(u) * phi.dphi(u) * u)),
        p3hw=float(kappa * mean(lambda u: phi.dphi(u) ** 3 * phi.phi(u) * u)),
        p2h2=float(mean(lambda u: (phi.dphi(u) * phi.phi(u)) ** 2)),
        p4h2=float(mean(lambda u: (phi.dphi(u) ** 2 * phi.phi(u)) ** 2)),
    )


def _limit(values: Real, state: Real, sigma_w2: float, haar: bool) -> Real:
    """The next (q_hat, t, x)."""
    square, m, m_2 = values
    _, t, x = state
    return np.array([square, sigma_w2 * m * t, sigma_w2**2 * (m**2 * (x - haar * t**2) + m_2 * t**2)])


def _derivatives(layer: _Means, state: Real, sigma_w2: float, haar: bool) -> tuple[Real, Real, Real]:
    """Slopes (3, 3) and curvatures (3, 3, 3) of the limit map in (q_hat, t, x), and its slopes in the noises (3, 3)."""
    _, m, m_2 = layer.values
    first, second = sigma_w2 * layer.first, sigma_w2**2 * layer.second  # in q_hat
    _, t, x = state
    s2, s4 = sigma_w2, sigma_w2**2
    spread = x - haar * t**2
    weight = m_2 - haar * m**2  # of t^2 in x'
    slopes = np.array(
        [
            [first[0], 0.0, 0.0],
            [s2 * first[1] * t, s2 * m, 0.0],
            [s4 * (2 * m * first[1] * spread + first[2] * t**2), s4 * 2 * weight * t, s4 * m**2],
        ]
    )
    curvatures = np.zeros((3, 3, 3))
    curvatures[0, 0, 0] = second[0]
    curvatures[1, 0, 0] = s2 * second[1] * t
    curvatures[1, 0, 1] = curvatures[1, 1, 0] = s2 * first[1]
    curvatures[2, 0, 0] = s4 * (2 * (first[1] ** 2 + m * second[1]) * spread + second[2] * t**2)
    curvatures[2, 0, 1] = curvatures[2, 1, 0] = s4 * 2 * t * (first[2] - 2 * haar * m * first[1])
    curvatures[2, 0, 2] = curvatures[2, 2, 0] = s4 * 2 * m * first[1]
    curvatures[2, 1, 1] = s4 * 2 * weight
    by_noise = np.array([[1.0, 0.0, 0.0], [0.0, s2 * t, 0.0], [0.0, s4 * 2 * m * spread, s4 * t**2]])
    return slopes, curvatures, by_noise


def _drift_gaussian(layer: _Means, state: Real, psi: Real, sigma_w2: float) -> Real:
    """M times the mean of the next state less the limit map, given this one.

    Rows given u: ``w_i = sigma_w2 u_i h/(M S) + g_i``, ``Cov g = (sigma_w2/M)(1 - kappa hh^T/|h|^2)``.
    """
    q_hat, t, x = state
    _, m, m_2 = layer.values
    s2, s, kappa = sigma_w2, layer.s, layer.kappa
    p2u2, p4u2 = _with_u(layer)
    across = psi[1] - kappa * psi[0] ** 2 / q_hat
    off = s2**4 * psi[0] ** 2 / s**4 * p2u2**2 + 2 * s2**3 / s**2 * p2u2 * m * across
    off += s2**2 * (m**2 * (kappa**2 * psi[0] ** 2 / q_hat**2 - 2 * kappa * psi[1] / q_hat) - m_2 * x)
    same = 2 * s2**2 * m_2 * (x - t * kappa * psi[0] / q_hat) + 2 * s2**3 * p4u2 * t * psi[0] / s**2
    square_of_noise = s2**2 * x * layer.noise[1, 1]
    return np.array([0.0, s2**2 * psi[0] * (p2u2 / s**2 - m / s), off + same + square_of_noise])


def _with_u(layer: _Means) -> tuple[float, float]:
    """<p^2 u^2> and <p^4 u^2> from those with w."""
    rest, square = layer.s * layer.kappa * (1 - layer.kappa), layer.kappa**2
    return float(layer.p2w2 - rest * layer.values[1]) / square, float(layer.p4w2 - rest * layer.values[2]) / square


def _overlaps_gaussian(layer: _Means, state: Real, psi: Real, sigma_w2: float) -> Real:
    q_hat, t, x = state
    s2, s, kappa = sigma_w2, layer.s, layer.kappa
    hpu, p3hu = layer.hpw / kappa, layer.p3hw / kappa
    p2u2, _ = _with_u(layer)
    along = s2**2 * psi[0] / s**2 * hpu
    across = s2**3 / s**2 * hpu**2 * (psi[1] - kappa * psi[0] ** 2 / q_hat) + s2**2 * layer.p2h2 * x
    mean = s2**2 * t**2 * layer.p4h2 + 2 * s2 * t * along * p3hu + along**2 * p2u2
    return np.array([s2 * layer.p2h2 * t + along * hpu, mean + layer.values[1] * across])


def _drift_haar(layer: _Means, state: Real, psi: Real, sigma_w2: float) -> Real:
    """As :func:`_drift_gaussian`, for ``W = w h^T/|h|^2`` plus a Haar map of h's complement onto that of w = W h."""
    q_hat, t, x = state
    _, m, m_2 = layer.values
    s2 = sigma_w2
    spread, tilt = x - t**2, psi[0] / q_hat - t
    across = psi[1] - psi[0] ** 2 / q_hat
    off = tilt**2 * layer.p2w2**2 / q_hat**2 + 2 * s2 * layer.p2w2 * m * across / q_hat**2
    inner = spread - 2 * psi[1] / q_hat + psi[0] ** 2 / q_hat**2 - t**2 + 2 * t * psi[0] / q_hat
    off += s2**2 * (m**2 * inner - m_2 * spread - 2 * m * layer.p2w2 * spread / (s2 * q_hat))
    same = 2 * s2 * t * tilt * (layer.p4w2 / q_hat - s2 * m_2) + 2 * s2**2 * m_2 * spread
    square_of_noise = s2**2 * spread * layer.noise[1, 1]
    # The mean over the sphere differs from the Gaussian one by -s_w^2 d^2/ds^2 / M.
    sphere = -((s2 * q_hat) ** 2) * layer.second
    drift = np.array([0.0, tilt * (layer.p2w2 / q_hat - s2 * m), off + same + square_of_noise])
    drift += [sphere[0], s2 * t * sphere[1], s2**2 * (2 * m * spread * sphere[1] + t**2 * sphere[2])]
    return drift


def _overlaps_haar(layer: _Means, state: Real, psi: Real, sigma_w2: float) -> Real:
    q_hat, t, x = state
    s2 = sigma_w2
    tilt = psi[0] / q_hat - t
    along = tilt * layer.hpw / q_hat
    across = s2 * (psi[1] - psi[0] ** 2 / q_hat) * layer.hpw**2 / q_hat**2
    across += s2**2 * (x - t**2) * (layer.p2h2 - layer.hpw**2 / (s2 * q_hat))
    mean = s2**2 * t**2 * layer.p4h2 + 2 * s2 * t * along * layer.p3hw + along**2 * layer.p2w2
    return np.array([s2 * t * layer.p2h2 + along * layer.hpw, mean + layer.values[1] * across])
