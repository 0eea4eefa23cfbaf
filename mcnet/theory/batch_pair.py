"""Two entries of a normalised batch: nodes and weights of means over them.

Batch normalisation of exchangeable Gaussian pre-activations gives ``sqrt(T)`` times a uniform unit vector orthogonal to
``(1, ..., 1)``, whatever their covariance. Two of its T entries are

    a = R w_1 ,   b = c a + sqrt(1 - c^2) R w_2 ,   R = sqrt(T - 1) ,   c = -1/(T - 1) ,

with (w_1, w_2) two coordinates of a uniform unit vector in T - 1 dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mcnet.theory.gaussian import Floats

_X, _W = np.polynomial.legendre.leggauss(24)
_PANEL = 1.5  # widest panel in units of a, whose standard deviation is 1
_REACH = 12.5  # in standard deviations
# ends of the outer panels: points where an inner kink enters the sphere are square roots, which this map makes smooth
_X_SOFT, _W_SOFT = 0.5 * _X * (3.0 - _X**2), 1.5 * _W * (1.0 - _X**2)


def nodes(batch: int, kinks: Sequence[float] = (), scale: float = 1.0) -> tuple[Floats, Floats]:
    """Nodes and weights of the mean over two different entries of a normalised batch.

    Parameters
    ----------
    batch : int
        T >= 2.
    kinks : sequence of float
        Values at which the integrand is not smooth in a or in b.
    scale : float
        Length over which the integrand changes; finer panels lie around 0 and the kinks.

    Returns
    -------
    ab : ndarray, shape (2, n)
    weights : ndarray, shape (n,)
        They sum to 1.

    Notes
    -----
    With ``w_1 = sin alpha`` and ``w_2 = cos alpha sin beta`` the weights ``cos(alpha)^(T-3) cos(beta)^(T-4)`` are
    smooth for every T >= 4. Accuracy: 1e-12 for T from 2 to 10^5 and kinks anywhere.
    """
    if batch < 2:
        raise ValueError(f"a batch of {batch} cannot be normalised: at least 2 inputs are needed")
    if batch == 2:
        return np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([0.5, 0.5])
    radius, c = math.sqrt(batch - 1.0), -1.0 / (batch - 1.0)
    s = math.sqrt(1.0 - c * c)
    centres = np.array([0.0, *kinks] if scale < 1.0 else kinks, dtype=np.float64)
    steps = _refined(scale, 2.0 * radius)
    points = np.unique(centres[:, None] + steps)
    if batch == 3:
        return _circle(points)
    inside = centres[np.abs(centres) < radius]
    entry = s * np.sqrt(radius**2 - inside**2)  # where a line b = const begins to cut the sphere
    entry = np.concatenate([c * inside + entry, c * inside - entry])[:, None] + steps
    outer = np.concatenate([points, entry.ravel()])
    outer = np.arcsin(outer[np.abs(outer) < radius] / radius)
    reach = min(0.5 * math.pi, _REACH / math.sqrt(batch - 3.0))
    edges = np.unique(np.clip(np.concatenate([_base(reach, radius), outer]), -reach, reach))
    half = 0.5 * np.diff(edges)[:, None]
    alpha = (edges[:-1, None] + half + half * _X_SOFT).ravel()
    weights = (half * _W_SOFT).ravel() * _power(alpha, batch - 3)
    keep = weights > 1e-40
    alpha, weights = alpha[keep], weights[keep]

    a, ring = radius * np.sin(alpha), s * radius * np.cos(alpha)  # b = c a + ring sin(beta)
    reach = 0.5 * math.pi if batch == 4 else min(0.5 * math.pi, _REACH / math.sqrt(batch - 4.0))
    base = _base(reach, radius)
    moving = np.arcsin(np.clip((points - c * a[:, None]) / ring[:, None], -1.0, 1.0))
    lines = np.concatenate([np.broadcast_to(base, (a.size, base.size)), np.clip(moving, -reach, reach)], axis=1)
    lines = np.sort(lines, axis=1)
    width = np.diff(lines, axis=1)
    row, panel = np.nonzero(width > 1e-13 * reach)
    half = 0.5 * width[row, panel]
    beta = (lines[row, panel] + half)[:, None] + half[:, None] * _X  # (panels, 24)
    weights = (weights[row] * half)[:, None] * _W * _power(beta, batch - 4)
    first = np.broadcast_to(a[row][:, None], beta.shape)
    second = c * first + ring[row][:, None] * np.sin(beta)
    return np.stack([first.ravel(), second.ravel()]), weights.ravel()


def _circle(points: Floats) -> tuple[Floats, Floats]:
    """T = 3: a = sqrt(2) cos(psi) and b a third of a turn further."""
    radius, third = math.sqrt(2.0), 2.0 * math.pi / 3.0
    turn = np.arccos(points[np.abs(points) < radius] / radius)
    turn = np.concatenate([turn, -turn])
    turns = np.mod(np.concatenate([turn, turn - third]), 2.0 * math.pi)
    edges = np.unique(np.concatenate([np.linspace(0.0, 2.0 * math.pi, 9), turns]))
    half = 0.5 * np.diff(edges)[:, None]
    psi = (edges[:-1, None] + half + half * _X).ravel()
    return radius * np.stack([np.cos(psi), np.cos(psi + third)]), (half * _W).ravel() / (2.0 * math.pi)


def _base(reach: float, radius: float) -> Floats:
    """Edges in the angle that resolve the weight and smooth integrands."""
    return np.linspace(-reach, reach, math.ceil(2.0 * reach * radius / _PANEL) + 2)


def _refined(scale: float, reach: float) -> Floats:
    """Distances that double away from a point around which the integrand changes fast."""
    if scale >= 1.0:
        return np.zeros(1)
    steps = scale * 2.0 ** np.arange(max(1, math.ceil(math.log2(reach / scale))))
    return np.concatenate([-steps, [0.0], steps])


def _power(angle: Floats, power: int) -> Floats:
    """cos(angle)^power as a density on [-pi/2, pi/2]."""
    with np.errstate(divide="ignore"):
        log_cos = 0.5 * np.log1p(-(np.sin(angle) ** 2)) if power else np.zeros_like(angle)
    return np.asarray(np.exp(power * log_cos) / (math.sqrt(math.pi) * _gamma_ratio(0.5 * power)))


def _gamma_ratio(x: float) -> float:
    """Gamma(x + 1/2)/Gamma(x + 1); for large x by its series, since differences of log-gammas lose digits."""
    if x < 50.0:
        return math.gamma(x + 0.5) / math.gamma(x + 1.0)
    t = 1.0 / x
    series = (1.0, -1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144)
    return math.sqrt(t) * sum(term * t**k for k, term in enumerate(series))
