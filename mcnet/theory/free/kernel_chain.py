"""Equations of the kernel bulks: resolvents of K_L and of c_0 K_0 + ... + K_L, with T proportional to the width.

``K_l = h^l^T h^l / M`` (T x T). Given the layer below, the rows of h^l are independent with covariance
``alpha + beta K_{l-1}`` (Fan and Wang 2020); with a non-centred phi or with biases they share a part xi of their
pre-activation, one xi a unit, and alpha, beta depend on it. gamma = T/M. Everything runs from the inputs up: the
Marchenko-Pastur law of K_0 in one variable, then layer after layer; on the negative axis sums are of positive numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mcnet.theory.free.continuation import AbstractSystem, rotate
from mcnet.theory.free.product import INSIDE, log_lower
from mcnet.theory.free.spectrum import Values

Real = NDArray[np.floating[Any]]
Complex = NDArray[Any]

ROUNDING = 1e-12  # density per log x below which rounding decides
DIFFERENCE = 1e-7  # step of the differences in a pencil's Newton matrix; its residuals are analytic


@dataclass(frozen=True)
class Rows:
    """Covariance alpha + beta K of the rows of a layer, over the values of what they share, with weights; each (X,)."""

    alpha: Real
    beta: Real
    weights: Real


class Result(NamedTuple):
    """What a chain ends in at z, each (P,)."""

    minus_m: Complex  # -M(z) = tr K (K - z)^-1
    rate: Complex  # its slope in log z
    potential: Complex  # E log(K - z) up to a real constant


class AbstractChain(AbstractSystem, Protocol):
    """Equations of one bulk (an interface)."""

    def result(self, state: Complex, s: Complex) -> Result:
        """Results at solutions (P, n), s = log(-z) (P,)."""

    def far_state(self, log_z: float) -> Complex:
        """A good guess (1, n) at a far z on the negative axis."""


def law_at(chain: AbstractChain, axis: tuple[Real, Real], log_x: Real) -> Values:
    """The law at points of log x (P,), from solutions on the negative axis (log(-z) falling, states)."""
    state, solved = rotate(chain, axis, log_x)
    result = chain.result(state, log_x - 1j * np.pi)
    density = np.maximum(result.minus_m.imag, 0.0)
    inside = density > np.maximum(INSIDE * np.abs(result.rate), ROUNDING)
    return Values(density / np.pi, 1 + result.potential.imag / np.pi, inside, solved)


class Inputs(NamedTuple):
    """K_0, q_hat times Marchenko-Pastur, at a state v, each (P,)."""

    minus_z: Complex
    minus_m: Complex
    potential: Complex  # E log(1 - K_0/z)
    minus_z_slope: Complex  # in v
    minus_m_slope: Complex


def inputs_resolvent(v: Complex, q_hat: float, gamma: float) -> Inputs:
    """-m = 1/(1+t) and z = q_hat (1+m)(1+gamma m)/m, with t = exp(v), plus gamma - 1 where that is positive.

    So v runs over all real numbers while z runs over the negative axis.
    """
    change = np.exp(v)
    t, below = change + max(gamma - 1.0, 0.0), change + max(1.0 - gamma, 0.0)  # below = t + 1 - gamma
    minus_m = 1 / (1 + t)
    minus_z = q_hat * t * below * minus_m
    potential = np.log((1 + t) / t) - minus_m - np.log(below * minus_m) / gamma
    slope = q_hat * change * minus_m * (below + t - t * below * minus_m)
    return Inputs(minus_z, minus_m, potential, slope, -change * minus_m**2)


def in_lower_half_plane(v: Complex) -> NDArray[np.bool_]:
    """Whether exp(v) is, by the argument of v."""
    inside: NDArray[np.bool_] = (v.imag <= 1e-6) & (v.imag >= -np.pi - 1e-6)
    return inside


class _Sweep(NamedTuple):
    columns: list[Complex]  # changes (P, 2) of the state: alpha, beta of alpha d + beta, d the change of v
    end: Complex  # change (P, 2) of s
    fault: Real
    minus_m: Complex
    minus_m_change: Complex
    potential: Complex


@dataclass(frozen=True)
class ConjugateChain:
    """K_L of heteroscedastic rows; state (v, log b_1, zeta_1, .., log b_L), zeta_l = log(-z_l).

    With g = tr (K - z)^-1 and c_xi = alpha_xi g + beta_xi tr K (K - z)^-1 of the layer below,
    ``1 = E beta_xi/(b + gamma c_xi)``, ``a = E alpha_xi b/(b + gamma c_xi)``, ``z_l = a + b z_{l-1}``, ``g_l = g/b``.
    The potential gains ``log b + E[log(1 + gamma c/b)/gamma - c/(b + gamma c)]`` a layer; the rest is stationary.
    """

    rows: tuple[Rows, ...]
    q_hat: float
    gamma: float

    def _sweep(self, state: Complex, s: Complex) -> _Sweep:
        inputs = inputs_resolvent(state[:, 0], self.q_hat, self.gamma)
        minus_z, minus_m = inputs.minus_z, inputs.minus_m
        g = (1 - minus_m) / minus_z
        nothing = np.zeros_like(g)

        def own(slope: Complex) -> Complex:
            return np.stack([slope, nothing], axis=1)

        d_z, d_m = own(inputs.minus_z_slope / minus_z), own(inputs.minus_m_slope)  # of log(-z), of -m
        d_g = own(-inputs.minus_m_slope / minus_z) - g[:, None] * d_z
        columns = [own(np.ones_like(g))]
        potential = inputs.potential + log_lower(minus_z)
        fault: Real = np.zeros(g.size)
        for layer, rows in enumerate(self.rows):
            log_b = state[:, 1 + 2 * layer]
            b = np.exp(log_b)
            last = layer == len(self.rows) - 1
            minus_z_next = np.exp(s if last else state[:, 2 + 2 * layer])
            c = g[:, None] * rows.alpha + minus_m[:, None] * rows.beta  # (P, X)
            total = b[:, None] + self.gamma * c
            share = rows.weights / total
            twice = share / total
            unit = share @ rows.beta  # 1 at a solution
            # changes, each (P, 2): of log b from unit = 1, of a, of log(-z_l) from -z_l = b (-z_{l-1}) - a
            by_g, by_m = self.gamma * (twice @ (rows.alpha * rows.beta)), self.gamma * (twice @ rows.beta**2)
            miss = np.stack([nothing, np.log(unit) * unit], axis=1)
            d_log_b = (miss - by_g[:, None] * d_g - by_m[:, None] * d_m) / (b * (twice @ rows.beta))[:, None]
            a = b * (share @ rows.alpha)
            by_b, by_g = b * (twice @ rows.alpha), self.gamma * (twice @ rows.alpha**2)
            by_m = self.gamma * (twice @ (rows.alpha * rows.beta))
            d_a = (a - b * by_b)[:, None] * d_log_b - b[:, None] * (by_g[:, None] * d_g + by_m[:, None] * d_m)
            jump = np.log((minus_z_next + a) / b) - np.log(minus_z)
            d_next = d_log_b + d_z - np.stack([nothing, jump], axis=1)
            d_z = (d_next * (minus_z_next + a)[:, None] - d_a) / minus_z_next[:, None]
            columns += [d_log_b] if last else [d_log_b, d_z]
            fault = np.maximum(fault, np.maximum(np.abs(unit - 1), np.abs(jump)))
            potential = potential + log_b + np.log(total / b[:, None]) @ rows.weights / self.gamma
            potential = potential - np.sum(c * share, axis=1)
            g_next = g / b
            d_g = d_g / b[:, None] - g_next[:, None] * d_log_b
            minus_m = minus_m + a * g_next
            d_m = d_m + d_a * g_next[:, None] + a[:, None] * d_g
            minus_z, g = minus_z_next, g_next
        return _Sweep(columns, d_z, fault, minus_m, d_m, potential)

    def newton(self, state: Complex, s: Complex) -> tuple[Real, Complex, Complex]:
        """See :class:`mcnet.theory.free.continuation.AbstractSystem`."""
        sweep = self._sweep(state, s)
        shift = -sweep.end[:, 1] / sweep.end[:, 0]
        correction = np.stack([column[:, 0] * shift + column[:, 1] for column in sweep.columns], axis=1)
        slope = np.stack([column[:, 0] / sweep.end[:, 0] for column in sweep.columns], axis=1)
        return sweep.fault, correction, slope

    def valid(self, state: Complex) -> NDArray[np.bool_]:
        """See :class:`mcnet.theory.free.continuation.AbstractSystem`."""
        return in_lower_half_plane(state[:, 0])

    def result(self, state: Complex, s: Complex) -> Result:
        """See :class:`AbstractChain`."""
        sweep = self._sweep(state, s)
        return Result(sweep.minus_m, sweep.minus_m_change[:, 0] / sweep.end[:, 0], sweep.potential)

    def far_state(self, log_z: float) -> Complex:
        """See :class:`AbstractChain`."""
        state: list[float] = []
        minus_z = float(np.exp(log_z))
        for rows in reversed(self.rows):
            b = float(rows.weights @ rows.beta)
            state = [float(np.log(b)), float(np.log(minus_z)), *state]
            minus_z = (minus_z + float(rows.weights @ rows.alpha)) / b
        return np.array([[np.log(minus_z / self.q_hat), *state[:-1]]], dtype=complex)


@dataclass(frozen=True)
class PencilChain:
    """sum_k c_k K_k + K_L of rows with one alpha, beta a layer; state (v, log zeta_0).

    Layer by layer z_l K_l acts as (alpha_l + beta_l K_{l-1})/s_l. From tau = tr R and tau_0 = tr K_0 R of the resolvent
    of zeta + zeta_0 K_0 upwards: s_l = beta_l/(zeta_{l-1} - c_{l-1}), e = alpha_l tau + beta_l tau_{l-1},
    1/zeta_l = s_l - gamma e, tau_l = e/(zeta_l s_l); at the end zeta_L = 1 and zeta - sum_l alpha_l/s_l = -z. The
    potential of zeta + zeta_0 K_0 gains ``log(zeta_l s_l)/gamma - e/s_l`` a layer.
    """

    rows: tuple[tuple[float, float], ...]
    coefficients: tuple[float, ...]
    q_hat: float
    gamma: float

    def _level(self, state: Complex, s: Complex) -> tuple[Complex, Complex, Complex]:
        """Residuals (P, 2), -M and potential (P,)."""
        inputs = inputs_resolvent(state[:, 0], self.q_hat, self.gamma)
        zeta = np.exp(state[:, 1])
        base = inputs.minus_z * zeta
        tau, tau_l = (1 - inputs.minus_m) / base, inputs.minus_m / zeta
        potential = inputs.potential + log_lower(base)
        shift = np.zeros_like(base)
        for (alpha, beta), coefficient in zip(self.rows, self.coefficients, strict=True):
            inverse_s = (zeta - coefficient) / beta
            e = alpha * tau + beta * tau_l
            share = 1 - self.gamma * e * inverse_s
            zeta = inverse_s / share
            shift = shift + alpha * inverse_s
            tau_l = e * share
            potential = potential - np.log(share) / self.gamma - e * inverse_s
        minus_z = np.exp(s)
        residual = np.stack([np.log(zeta), np.log((minus_z + shift) / base)], axis=1)
        return residual, 1 - minus_z * tau, potential

    def _slopes(self, state: Complex, s: Complex) -> tuple[Complex, Complex, Complex, Complex]:
        """Residuals, -M, and the slopes of both in (v, log zeta_0, s)."""
        residual, minus_m, _ = self._level(state, s)
        rows, slopes = [], []
        for i in range(3):
            moved = state.copy()
            if i < 2:
                moved[:, i] += DIFFERENCE
            other, other_m, _ = self._level(moved, s + (DIFFERENCE if i == 2 else 0.0))
            rows.append((other - residual) / DIFFERENCE)
            slopes.append((other_m - minus_m) / DIFFERENCE)
        return residual, minus_m, np.stack(rows, axis=-1), np.stack(slopes, axis=-1)

    def newton(self, state: Complex, s: Complex) -> tuple[Real, Complex, Complex]:
        """See :class:`mcnet.theory.free.continuation.AbstractSystem`."""
        residual, _, matrix, _ = self._slopes(state, s)
        (a, b, along_0), (c, d, along_1) = matrix[:, 0].T, matrix[:, 1].T
        determinant = a * d - b * c

        def solve(x: Complex, y: Complex) -> Complex:
            return np.stack([(d * x - b * y) / determinant, (a * y - c * x) / determinant], axis=1)

        return np.abs(residual).max(1), solve(-residual[:, 0], -residual[:, 1]), solve(-along_0, -along_1)

    def valid(self, state: Complex) -> NDArray[np.bool_]:
        """See :class:`mcnet.theory.free.continuation.AbstractSystem`."""
        return in_lower_half_plane(state[:, 0])

    def result(self, state: Complex, s: Complex) -> Result:
        """See :class:`AbstractChain`."""
        _, minus_m, _, slopes = self._slopes(state, s)
        _, _, tangent = self.newton(state, s)
        return Result(minus_m, slopes[:, 2] + np.sum(slopes[:, :2] * tangent, axis=1), self._level(state, s)[2])

    def far_state(self, log_z: float) -> Complex:
        """See :class:`AbstractChain`."""
        zeta, shift = 1.0, 0.0
        for (alpha, beta), coefficient in zip(reversed(self.rows), reversed(self.coefficients), strict=True):
            shift += alpha * zeta
            zeta = coefficient + beta * zeta
        return np.array([[np.log((np.exp(log_z) + shift) / zeta / self.q_hat), np.log(zeta)]], dtype=complex)
