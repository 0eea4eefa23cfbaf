"""The stationary chaos of leaky recurrent networks at their own leak, self-consistently: no recursion over times."""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from mcnet import activations
from mcnet.activations import Activation
from mcnet.theory import gaussian, recurrent
from mcnet.theory.gaussian import ActivationLike, Floats

_REST = 1e-13  # distance from the floor, over the variance, from which on nothing moves
_MOST = 20_000  # lags that are solved for
_STEPS = 30
_ORDER = 48  # of the polynomial in place of E phi phi; error 1e-10 or better


def stationary(activation: ActivationLike, sigma_w2: float, leak: float, lags: int) -> Floats:
    """Delta(k) = <x_t x_(t+k)>, k = 0..lags, of the stationary chaos of ``x' = (1 - d) x + d W phi(x)``, one W.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2 : float
        g^2, the weight variance times the width.
    leak : float
        d in (0, 1).
    lags : int

    Returns
    -------
    ndarray, shape (lags + 1,)

    Raises
    ------
    ValueError
        As :func:`mcnet.theory.recurrent.continuous`; if d is outside (0, 1); so close to the transition that the
        correlations last for more than 20 000 steps.

    Notes
    -----
    In Fourier space ``|exp(i w) - 1 + d|^2 S_x = d^2 g^2 S_phi``, that is, with C(Delta) = E phi(x) phi(x') at variance
    Delta(0) and covariance Delta,

        [Delta(k + 1) - 2 Delta(k) + Delta(k - 1)]/h^2 = Delta(k) - g^2 C(Delta(k)) ,    h^2 = d^2/(1 - d) ,

    with Delta(-k) = Delta(k), at rest for k -> infinity: the equation of motion of Sompolinsky, Crisanti and Sommers in
    steps of h. So Delta(k) is the solution of continuous time at lag k h, to second order in h, and at lag k d to first
    order only. Newton's method on all lags together; relative error 1e-9, divided by chi_1 - 1 near the transition.
    Accuracy: the limit M -> infinity, and of time after that.

    References
    ----------
    Sompolinsky, Crisanti, Sommers 1988, Phys. Rev. Lett. 61, 259, for d -> 0.
    """
    if not 0.0 < leak < 1.0:
        raise ValueError(f"leak = {leak}: a stationary state with correlations in time has a leak above 0 and below 1")
    phi, h2 = activations.get(activation), leak * leak / (1.0 - leak)
    smooth = recurrent.continuous(phi, sigma_w2)
    last = 8
    while smooth.autocovariance(last * math.sqrt(h2)) - smooth.floor > _REST * smooth.variance:
        last *= 2
        if last > _MOST:
            raise ValueError(
                f"{phi.label} at sigma_w2 = {sigma_w2:g}, leak {leak:g} is too close to the transition: correlations "
                f"last for more than {_MOST} steps"
            )
    x = np.asarray(smooth.autocovariance(np.arange(last + 1) * math.sqrt(h2)))
    for _ in range(_STEPS):
        force, slopes = _equation(phi, sigma_w2, h2, x)
        change = spsolve(slopes, force)
        x = x + change
        if np.abs(change).max() < 1e-11 * x[0]:
            break
    else:
        raise ValueError(f"the stationary state of {phi.label} at sigma_w2 = {sigma_w2:g}, leak {leak:g} was not found")
    return np.concatenate([x, np.full(max(0, lags - last), x[-1])])[: lags + 1]


def _equation(phi: Activation, sigma_w2: float, h2: float, x: Floats) -> tuple[Floats, sparse.csc_matrix]:
    """Force less acceleration at all lags, and minus its derivatives: tridiagonal, and a column for the variance."""
    size, step = x.size, 1e-4 * x[0]
    (product, of_overlap), *around = (_products(phi, x, x[0] + shift) for shift in (0.0, step, -step))
    of_variance = (around[0][0] - around[1][0]) / (2.0 * step)
    residual = sigma_w2 * product - x
    residual[1:-1] += (x[2:] - 2.0 * x[1:-1] + x[:-2]) / h2
    residual[0] += 2.0 * (x[1] - x[0]) / h2
    middle = sigma_w2 * of_overlap - 1.0
    middle[:-1] -= 2.0 / h2
    above, below = np.full(size - 1, 1.0 / h2), np.full(size - 1, 1.0 / h2)
    above[0], below[-1] = 2.0 / h2, 0.0  # symmetric at lag 0; at rest at the last lag
    place, first = np.arange(size), np.zeros(size, dtype=int)
    entries = np.concatenate([below, middle, above, sigma_w2 * of_variance])
    rows = np.concatenate([place[1:], place, place[:-1], place])
    columns = np.concatenate([place[:-1], place, place[1:], first])
    return -residual, sparse.csc_matrix((entries, (rows, columns)), shape=(size, size))


def _products(phi: Activation, x: Floats, variance: float) -> tuple[Floats, Floats]:
    """E phi phi at a variance and the overlaps x, of lag 0 the square; and its derivative by the overlap, there 0.

    By a polynomial in sqrt(1 - x/variance), which is smooth at 0 for activations with kinks too.
    """
    place = np.sqrt(np.maximum(0.0, 1.0 - x[1:] / variance))
    top = float(place.max())
    points = 0.5 * top * (1.0 + np.cos(math.pi * (np.arange(_ORDER) + 0.5) / _ORDER))
    same = np.full(_ORDER, variance)
    known = gaussian.product(phi, same, same, variance * (1.0 - points**2))
    fit = np.polynomial.chebyshev.Chebyshev.fit(points, known, _ORDER - 1, domain=[0.0, top])
    slope = -fit.deriv()(place) / (2.0 * variance * np.maximum(place, 1e-6))
    return np.append(gaussian.square(phi, variance), fit(place)), np.append(0.0, slope)
