"""Residual networks of infinite depth with branches of order 1/sqrt(depth)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mcnet.theory import gaussian
from mcnet.theory.gaussian import Floats
from mcnet.theory.residual.block import Block


class Flow(NamedTuple):
    """Infinitely many blocks with branches of order 1/sqrt(depth), at depth fractions tau.

    Attributes
    ----------
    gram : ndarray, shape (N, T, T)
        Overlaps of the stream.
    gradient : ndarray, shape (N, T, T)
        Inner products of the gradients at tau = 0 over those at tau; its diagonal is the mean eigenvalue of J J^T.
    """

    gram: Floats
    gradient: Floats


def flow(block: Block, gram: ArrayLike, tau: ArrayLike) -> Flow:
    """L -> infinity blocks with branches ``block.branch/sqrt(L)``: a flow in the depth fraction tau = l/L.

    Parameters
    ----------
    block : Block
        skip = 1; ``branch`` is sigma in s^2 = sigma^2/L. ``post`` only if E phi = 0 (odd phi).
    gram : array_like, shape (T, T)
        Overlaps of the first state.
    tau : float or array_like, shape (N,)
        Ascending, >= 0; 1 is the last block.

    Returns
    -------
    Flow
        For one tau without the axis N.

    Raises
    ------
    ValueError
        If skip is not 1, or a ``post`` block has E phi != 0: its mean then grows as sqrt(L).

    Notes
    -----
    ``dK/dtau = sigma^2 R(K)``, ``d ln B/dtau = -sigma^2 sigma_w2 [sigma_v2] E phi' phi'``: everything stays of order 1,
    and the error of finite depth is O(1/L). relu ``two`` without biases: ``K = exp(sigma^2 sigma_w2 sigma_v2 tau/2)``.
    For ``post`` and ``two`` the spectrum of J J^T has ``mu_2/mu_1^2 = 1 + 2 ln mu_1``. Integrated to 1e-10.
    """
    from scipy.integrate import solve_ivp

    phi = block.phi
    if block.skip != 1.0:
        raise ValueError(f"skip = {block.skip:g}: the flow needs skip = 1")
    if block.kind == "post":
        mean = gaussian.mean(phi.phi, 1.0, phi.kinks, gaussian.feature_scale(phi))
        if abs(mean) > 1e-12:
            raise ValueError(f'block "post" with {phi.label}: E phi is not zero, so the mean grows as sqrt(depth)')
    start = np.atleast_2d(np.asarray(gram, dtype=np.float64))
    times = np.atleast_1d(np.asarray(tau, dtype=np.float64))
    if np.any(np.diff(times) < 0.0) or times[0] < 0.0:
        raise ValueError("tau must be ascending and >= 0")
    size, sigma2 = start.size, block.branch**2

    def speed(_: float, state: Floats) -> Floats:
        q = block.variance(state[:size].reshape(start.shape))
        one = np.diagonal(q)
        a, b = np.meshgrid(one, one, indexing="ij")
        k = np.clip(q, -np.sqrt(a * b), np.sqrt(a * b))
        length = block.branch_length(np.asarray(gaussian.product(phi, a, b, k)))
        slope = block.gain * np.asarray(gaussian.derivative_product(phi, a, b, k))
        return sigma2 * np.concatenate([length.ravel(), slope.ravel()])

    state = np.concatenate([start.ravel(), np.zeros(size)])
    if times[-1] > 0.0:
        solution = solve_ivp(
            speed, (0.0, float(times[-1])), state, method="DOP853", t_eval=times, rtol=1e-11, atol=1e-13
        ).y.T
    else:
        solution = np.tile(state, (times.size, 1))
    shape = (times.size, *start.shape)
    result = Flow(solution[:, :size].reshape(shape), np.exp(solution[:, size:].reshape(shape)))
    return result if np.ndim(tau) else Flow(result.gram[0], result.gradient[0])
