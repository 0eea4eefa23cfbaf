"""What is verified of an activation when it registers: nothing that theory or kernels rely on is taken on trust."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mcnet.activations.table import Activation

Floats = NDArray[np.float64]

MEANS = ("square", "derivative_square", "product", "derivative_product")
_LENGTHS = (0.4, 1.0, 2.5)
_PAIRS = ((1.0, 1.0, 0.6), (0.5, 2.0, -0.4), (2.0, 1.5, 1.2))  # q_a, q_b, k
_RANGE = 9.0  # standard deviations: beyond lie 1e-19 of a Gaussian
_FINE, _COARSE = (np.linspace(-_RANGE, _RANGE, edges) for edges in (13, 9))
_X, _W = np.polynomial.legendre.leggauss(24)
_TOLERANCE = 1e-7


def verify(activation: Activation) -> None:
    """Refuse an activation that is not what it says.

    Raises
    ------
    ValueError
        If phi or phi' is not finite, phi' is not the slope of phi or jumps at a point that is not among the kinks, it
        is not homogeneous though it says so, or a closed mean differs from quadrature.
    TypeError
        If phi or phi' is not an elementwise formula.
    """
    check_derivative(activation)
    with np.errstate(all="ignore"):
        _check_finite(activation)
        _check_jumps(activation)
        _check_homogeneous(activation)
        _check_means(activation)


def check_derivative(activation: Activation) -> None:
    """Raise ValueError unless phi' agrees with central differences of phi at points away from the kinks.

    Raises TypeError if phi or phi' is not an elementwise formula.
    """
    _ = activation.expressions  # first: a branch is told as such
    u = np.linspace(-3.0, 3.0, 121) + 0.0137
    step = 1e-5
    for kink in activation.kinks:
        u = u[np.abs(u - kink) > 2 * step]
    with np.errstate(all="ignore"):
        difference = (activation.phi(u + step) - activation.phi(u - step)) / (2 * step)
        error = np.max(np.abs(difference - activation.dphi(u)) / (1 + np.abs(difference)))
    if not error < 1e-6:
        raise _wrong(activation, f"dphi differs from the slope of phi by {error:.1e}")


def _wrong(activation: Activation, what: str) -> ValueError:
    return ValueError(f'activation "{activation.name}": {what}')


def _check_finite(activation: Activation) -> None:
    u = np.concatenate([np.linspace(-50.0, 50.0, 2001), np.geomspace(1e-30, 1.0, 200)])
    for name, values in (("phi", activation.phi(u)), ("dphi", activation.dphi(u))):
        bad = u[~np.isfinite(values)]
        if bad.size:
            raise _wrong(activation, f"{name} is not finite at u = {bad[0]:.3g}")


def _check_jumps(activation: Activation) -> None:
    """A jump stays where the interval around it shrinks; a steep slope does not."""
    u = np.linspace(-6.0, 6.0, 4801) + 1e-4
    slopes = activation.dphi(u)
    for place in np.argsort(-np.abs(np.diff(slopes)))[:20]:
        low, high = u[place], u[place + 1]
        change = abs(slopes[place + 1] - slopes[place])
        for _ in range(40):
            middle = 0.5 * (low + high)
            below, here, above = (float(activation.dphi(x)) for x in (low, middle, high))
            low, high = (low, middle) if abs(here - below) > abs(above - here) else (middle, high)
        left = abs(float(activation.dphi(high)) - float(activation.dphi(low)))
        known = any(abs(kink - high) < 1e-6 for kink in activation.kinks)
        if left > max(0.3 * change, 1e-6) and not known:
            raise _wrong(activation, f"dphi jumps at u = {high:.4g}, which is not among its kinks")


def _check_homogeneous(activation: Activation) -> None:
    if not activation.homogeneous:
        return
    u = np.array([-2.0, -0.3, 0.4, 1.7])
    for factor in (0.25, 3.0):
        off = np.max(np.abs(activation.phi(factor * u) - factor * activation.phi(u)))
        if not off < 1e-12 * factor:
            raise _wrong(
                activation, f"is not homogeneous: phi({factor:g} u) differs from {factor:g} phi(u) by {off:.1e}"
            )


def _check_means(activation: Activation) -> None:
    for name in activation.closed_means:
        if name not in MEANS:
            raise _wrong(activation, f'"{name}" is not a Gaussian mean ({", ".join(MEANS)})')
    for name in MEANS:
        closed = activation.closed(name)
        if closed is None:
            continue
        function = activation.dphi if name.startswith("derivative") else activation.phi
        pair = name.endswith("product")
        for arguments in _PAIRS if pair else tuple((q,) for q in _LENGTHS):
            mean = _pair_mean if pair else _mean
            expected, coarse = (mean(activation, function, edges, *arguments) for edges in (_FINE, _COARSE))
            told = float(closed(*arguments))
            if not abs(told - expected) <= _TOLERANCE * max(1.0, abs(expected)) + 2.0 * abs(expected - coarse):
                where = ", ".join(f"{x:g}" for x in arguments)
                raise _wrong(activation, f'closed mean "{name}" at {where} is {told:.6g}, by quadrature {expected:.6g}')


def _nodes(edges: Floats, splits: list[float]) -> tuple[Floats, Floats]:
    """Nodes and Gaussian weights on panels that end at the edges and the splits."""
    edges = np.sort(np.concatenate([edges, [x for x in splits if abs(x) < _RANGE]]))
    half = 0.5 * np.diff(edges)
    z = (half[:, None] * (1.0 + _X) + edges[:-1, None]).ravel()
    return z, (half[:, None] * _W).ravel() * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)


def _mean(activation: Activation, function: Callable[..., Any], edges: Floats, q: float) -> float:
    """E f(u)^2, u ~ N(0, q)."""
    z, weights = _nodes(edges, [kink / q**0.5 for kink in activation.kinks])
    return float(weights @ function(q**0.5 * z) ** 2)


def _pair_mean(
    activation: Activation, function: Callable[..., Any], edges: Floats, q_a: float, q_b: float, k: float
) -> float:
    """E f(u_a) f(u_b), variances q_a, q_b and covariance k."""
    z, weights = _nodes(edges, [kink / q_a**0.5 for kink in activation.kinks])
    root = (q_b - k**2 / q_a) ** 0.5
    inner = np.empty(z.size)
    for i, shift in enumerate(k / q_a**0.5 * z):
        y, inside = _nodes(edges, [(kink - shift) / root for kink in activation.kinks])
        inner[i] = inside @ function(shift + root * y)
    return float((weights * function(q_a**0.5 * z)) @ inner)
