"""Recurrent networks at infinite width: the stationary chaos of continuous time, and leaky networks of two times.

One matrix W, entries of variance sigma_w2/M, acts at every step (tied). Equal-time lengths of the plain network
(leak 1) are those of a feed-forward one; a leak makes the states at different times matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mcnet import activations
from mcnet.activations import Activation
from mcnet.theory import fixed_points, gaussian
from mcnet.theory.gaussian import ActivationLike, Floats

_ORDER = 48  # of the polynomial in v; error 1e-10 or better
_X, _W = np.polynomial.legendre.leggauss(_ORDER)
_V, _WV = 0.5 * (1.0 + _X), 0.5 * _W  # on [0, 1]
_X_WORK, _W_WORK = np.polynomial.legendre.leggauss(24)  # enough for the variance: 1e-12
_V_WORK, _WV_WORK = 0.5 * (1.0 + _X_WORK), 0.5 * _W_WORK
_FAR = 20.0  # theta beyond which the decay is exponential to rounding


@dataclass(frozen=True)
class Continuous:
    """The stationary chaotic state of ``dx/dt = -x + J phi(x)``.

    Attributes
    ----------
    variance : float
        Delta(0) = <x(t)^2>.
    floor : float
        Delta(inf) = <x(t) x(t + tau)> for tau -> inf; 0 for odd phi.
    """

    variance: float
    floor: float
    _activation: Activation
    _sigma_w2: float

    def autocovariance(self, tau: ArrayLike) -> Floats | float:
        """Delta(tau) = <x(t) x(t + tau)> for time lags of any sign and shape."""
        lag = np.abs(np.asarray(tau, dtype=np.float64))
        theta, tau_of_theta, speed = self._clock
        x = np.interp(lag, tau_of_theta, theta)
        slope = np.polynomial.chebyshev.Chebyshev(self._decay, domain=[0.0, 1.0])
        for _ in range(3):  # Newton on tau(theta) between the points of the table
            x = np.minimum(x, theta[-1])
            k = np.clip(np.searchsorted(theta, x) - 1, 0, theta.size - 2)
            half = 0.5 * (x - theta[k])
            points = (theta[k] + half)[..., None] + half[..., None] * _X
            passed = tau_of_theta[k] + half * (np.sqrt(2.0 / slope(np.tanh(points))) @ _W)
            x = x + np.where(lag > tau_of_theta[-1], 0.0, (lag - passed) * np.sqrt(0.5 * slope(np.tanh(x))))
        x = np.where(lag > tau_of_theta[-1], theta[-1] + (lag - tau_of_theta[-1]) * speed, x)
        with np.errstate(over="ignore"):
            result = self.floor + (self.variance - self.floor) / np.cosh(x) ** 2
        return float(result) if result.ndim == 0 else result

    @cached_property
    def lyapunov(self) -> float:
        """Largest Lyapunov exponent: ``sqrt(1 - E_0) - 1``, E_0 < 0 the ground state of a particle in the well below.

        ``-psi'' + [1 - g^2 E phi'(x) phi'(x')] psi = E psi`` at variance Delta(0), covariance Delta(tau) (Sompolinsky,
        Crisanti, Sommers 1988); Delta' is the first odd state, E = 0. Accuracy 1e-7.
        """
        return math.sqrt(1.0 - self._level(1.0)) - 1.0

    def _level(self, parity: float) -> float:
        """Lowest level of even (1) or odd (-1) states: second differences, extrapolated in the step."""
        from scipy.linalg import eigh_tridiagonal

        d = self.variance - self.floor
        points = 0.5 * (1.0 + np.cos(math.pi * (np.arange(_ORDER) + 0.5) / _ORDER))
        same = np.full(_ORDER, self.variance)
        delta = self.floor + d * (1.0 - points**2)
        well = 1.0 - self._sigma_w2 * gaussian.derivative_product(self._activation, same, same, delta)
        potential = np.polynomial.chebyshev.Chebyshev.fit(points, well, _ORDER - 1, domain=[0.0, 1.0])
        reach = 20.0 * (self._clock[1][-1] - self._clock[1][-2]) + 15.0 / math.sqrt(max(potential(1.0), 1e-12))
        levels = []
        for count in (2000, 4000, 8000):
            step = reach / count
            tau = (np.arange(count) + 0.5) * step
            y = (self.autocovariance(tau) - self.floor) / d
            diagonal = potential(np.sqrt(np.maximum(0.0, 1.0 - y))) + 2.0 / step**2
            diagonal[0] -= parity / step**2
            off = np.full(count - 1, -1.0 / step**2)
            levels.append(eigh_tridiagonal(diagonal, off, select="i", select_range=(0, 0), eigvals_only=True)[0])
        a, b = ((4.0 * levels[i + 1] - levels[i]) / 3.0 for i in (0, 1))
        return float((16.0 * b - a) / 15.0)

    @cached_property
    def _decay(self) -> Floats:
        """Chebyshev coefficients in v of S, where Delta = floor + D (1 - v^2) and Delta'^2 = 2 D^2 v^2 (1 - v^2)^2 S.

        S is positive and smooth on [0, 1]; with v = tanh(theta) it gives d theta/d tau = sqrt(S/2).
        """
        d = self.variance - self.floor
        points = 0.5 * (1.0 + np.cos(math.pi * (np.arange(_ORDER) + 0.5) / _ORDER))
        force = _force(self._activation, self._sigma_w2, self.variance, self.floor + d * (1.0 - points**2))
        ratio = np.polynomial.chebyshev.Chebyshev.fit(
            points, force / (d * (1.0 - points**2)), _ORDER - 1, domain=[0.0, 1.0]
        )
        # work done from v = 0, or (the same with the other sign) to v = 1
        y = 1.0 - points**2
        start = points[:, None] * _V
        lower = (ratio(start) * (1.0 - start**2)) @ (2.0 * _V * _WV) / y**2
        upper = -(ratio(np.sqrt(1.0 - y[:, None] * _V)) @ (_V * _WV)) / points**2
        s = np.where(points < 0.7, lower, upper)
        fit = np.polynomial.chebyshev.Chebyshev.fit(points, s, _ORDER - 1, domain=[0.0, 1.0])
        return np.asarray(fit.coef)

    @cached_property
    def _clock(self) -> tuple[Floats, Floats, float]:
        """Table of tau(theta), and d theta/d tau far out."""
        slope = np.polynomial.chebyshev.Chebyshev(self._decay, domain=[0.0, 1.0])
        theta = np.linspace(0.0, _FAR, 401)
        half = 0.5 * np.diff(theta)[:, None]
        inner = theta[:-1, None] + half + half * _X
        steps = half[:, 0] * (np.sqrt(2.0 / slope(np.tanh(inner))) @ _W)
        return theta, np.concatenate([[0.0], np.cumsum(steps)]), float(np.sqrt(0.5 * slope(1.0)))


def continuous(activation: ActivationLike, sigma_w2: float) -> Continuous:
    """Stationary chaos of ``dx/dt = -x + J phi(x)``, J with entries of variance sigma_w2/M.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2 : float
        g^2.

    Returns
    -------
    Continuous

    Raises
    ------
    ValueError
        If there is no chaotic state: phi is homogeneous, lengths grow without bound, or ``chi_1 = g^2 E phi'^2 <= 1``
        at the fixed point, which is then stable (tanh: g <= 1, where all activity dies out).

    Notes
    -----
    The autocovariance moves like a particle, with C(Delta) = E phi(x) phi(x') at variance Delta(0), covariance Delta,

        Delta'' = Delta - g^2 C(Delta) ,    Delta'(0) = 0 ,

    and Delta(0) is such that it comes to rest at the top of the potential: the integral of ``g^2 C - Delta`` from
    Delta(inf) to Delta(0) vanishes. For odd phi Delta(inf) = 0 and this is
    ``Delta(0)^2/2 = g^2 [E Phi^2 - (E Phi)^2]``, ``Phi' = phi``. tanh: 0.747686, 1.924805, 5.446326 at g = 1.5, 2, 3.
    The length of a feed-forward network is larger (2.121474 at g = 2).

    Accuracy: the limit M -> infinity; relative error 1e-10 of variance and autocovariance, divided by chi_1 - 1 near
    the transition.

    References
    ----------
    Sompolinsky, Crisanti, Sommers 1988, Phys. Rev. Lett. 61, 259; Kadmon, Sompolinsky 2015, arXiv:1508.06486, for phi
    that is not odd.
    """
    phi = activations.get(activation)
    fixed_points.check_variances(sigma_w2, 0.0)
    if phi.homogeneous:
        raise ValueError(
            f"{phi.label} has no stationary chaotic state: lengths of a homogeneous activation die out or grow "
            "without bound"
        )
    slope = float(fixed_points.chi_1(phi, sigma_w2, 0.0))
    if slope <= 1.0:
        raise ValueError(
            f"{phi.label} at sigma_w2 = {sigma_w2:g} has no chaotic state: chi_1 = {slope:g} <= 1, so activity dies "
            "out or settles in a fixed point; raise sigma_w2"
        )
    high = float(fixed_points.fixed_length(phi, sigma_w2, 0.0))
    low = 0.8 * high
    while _work(phi, sigma_w2, low) <= 0.0:
        low *= 0.8
        if low < 1e-12 * high:
            raise ValueError(f"{phi.label} at sigma_w2 = {sigma_w2:g} has no chaotic state")
    variance = fixed_points.root_of(lambda delta: _work(phi, sigma_w2, delta), low, high)
    floor = _floor(phi, sigma_w2, variance)
    assert floor is not None
    return Continuous(variance, floor, phi, sigma_w2)


def _force(phi: Activation, sigma_w2: float, variance: float, delta: Floats) -> Floats:
    """g^2 C(Delta) - Delta."""
    same = np.full_like(delta, variance)
    return np.asarray(sigma_w2 * gaussian.product(phi, same, same, delta) - delta)


def _floor(phi: Activation, sigma_w2: float, variance: float) -> float | None:
    """The smallest root of the force on [0, variance), or None: the force is convex, so Newton from 0 finds it."""
    mean = gaussian.mean(phi.phi, variance, phi.kinks, gaussian.feature_scale(phi))
    delta = 0.0
    if sigma_w2 * mean**2 < 1e-24 * variance:
        return delta
    for _ in range(100):
        force = float(_force(phi, sigma_w2, variance, np.array(delta)))
        slope = float(sigma_w2 * gaussian.derivative_product(phi, variance, variance, delta)) - 1.0
        if slope >= 0.0 or delta - force / slope >= variance:
            return None
        step = -force / slope
        delta += step
        if abs(step) < 1e-15 * variance or step < 0.0:
            return delta
    return delta


def _work(phi: Activation, sigma_w2: float, variance: float) -> float:
    """Integral of the force from the floor to the variance, over their difference; 1 where there is no floor."""
    floor = _floor(phi, sigma_w2, variance)
    if floor is None:
        return 1.0
    d = variance - floor
    force = _force(phi, sigma_w2, variance, floor + d * (1.0 - _V_WORK**2))
    return float(force @ (2.0 * _V_WORK * _WV_WORK)) / d


def leaky(activation: ActivationLike, sigma_w2: float, sigma_b2: float, leak: float, q_0: float, steps: int) -> Floats:
    """Covariance of the states of ``x' = (1 - d) x + d (W h + b)`` at all pairs of times, with one matrix W.

    ``h = phi(x)``, and the first state is asked as it is, ``h_0 = x_0``, as in the architecture ``recurrent``.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float
        Weight variance times width; bias variance. The bias is the same at all steps.
    leak : float
        d in (0, 1]; 1 is the plain network.
    q_0 : float
        Variance of the first state, N(0, q_0) and independent of W.
    steps : int

    Returns
    -------
    ndarray, shape (steps + 1, steps + 1)
        C[t, s] = x_t . x_s / M.

    Raises
    ------
    ValueError
        If d is outside (0, 1].

    Notes
    -----
    With y_t = W h_t + b and K_ts = E h_t h_s at the covariance C (K_0s = C_0s E phi'(x_s), K_00 = C_00),

        <y_t x_(s+1)> = (1 - d) <y_t x_s> + d (sigma_w2 K_ts + sigma_b2) ,    <y_t x_0> = 0 ,
        C_(t+1,s)     = (1 - d) C_ts + d <y_t x_s> ,
        C_(t+1,t+1)   = (1 - d)^2 C_tt + 2 d (1 - d) <y_t x_t> + d^2 (sigma_w2 K_tt + sigma_b2) .

    Exact as M -> infinity at fixed times for every d. In the long run tanh at g = 2 comes to 1.9243 at d = 1/2, 1.9247
    at 1/4, and to :func:`continuous` (1.924805) as d -> 0. Networks with a new matrix at every step differ at the
    leading order: :func:`untied_variance`.
    """
    if not 0.0 < leak <= 1.0:
        raise ValueError(f"leak = {leak}: it must be above 0 and at most 1")
    phi, d = activations.get(activation), leak
    c = np.zeros((steps + 1, steps + 1))
    c[0, 0] = q_0
    for t in range(steps):
        k = np.empty(t + 1)
        if t > 0:
            k[0] = c[t, 0] * gaussian.mean(phi.dphi, c[t, t], phi.kinks, gaussian.feature_scale(phi))
            same = np.full(t - 1, c[t, t])
            k[1:t] = gaussian.product(phi, same, np.diagonal(c)[1:t], c[t, 1:t])
        k[t] = gaussian.square(phi, c[t, t]) if t > 0 else q_0
        drive = sigma_w2 * k + sigma_b2  # <y_t y_s>, s = 0..t
        overlap = np.zeros(t + 1)  # <y_t x_s>
        for s in range(t):
            overlap[s + 1] = (1.0 - d) * overlap[s] + d * drive[s]
        c[t + 1, : t + 1] = c[: t + 1, t + 1] = (1.0 - d) * c[t, : t + 1] + d * overlap
        c[t + 1, t + 1] = (1.0 - d) ** 2 * c[t, t] + 2.0 * d * (1.0 - d) * overlap[t] + d * d * drive[t]
    return c


def untied_variance(activation: ActivationLike, sigma_w2: float, leak: float) -> float:
    """Stationary variance of ``x' = (1 - d) x + d W phi(x)`` with a new matrix W at every step.

    ``q = d/(2 - d) sigma_w2 E phi^2``: 0 below ``d/(2 - d) sigma_w2 phi'(0)^2 = 1``, where networks with one matrix for
    all steps are chaotic as soon as ``sigma_w2 phi'(0)^2 > 1`` (odd phi).

    Raises
    ------
    ValueError
        If d is outside (0, 1], or lengths grow without bound.
    """
    if not 0.0 < leak <= 1.0:
        raise ValueError(f"leak = {leak}: it must be above 0 and at most 1")
    return float(fixed_points.fixed_length(activation, leak / (2.0 - leak) * sigma_w2, 0.0))
