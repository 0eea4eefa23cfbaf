"""The chain of free products and shifts behind the conditional Fisher information.

For one input and the output u^L of a layer of the same width, the dual of the Fisher information over all weights, in
units of the width, is Theta_L with

    Theta_1 = q_hat_0,    Theta_{l+1} = q_hat_l + W_{l+1} D_l Theta_l D_l W_{l+1}^T                       (1)

(Hayase and Karakida 2020). A product moves w, a shift moves z: with m = M(z) of Theta_l, w from E[y/(w-y)] = m,

    z_P = z_l sigma_w2 m w / (1+m)^h,              z_{l+1} = z_P + q_hat_l,
    m_{l+1} = m_l + q_hat_l (1 + m_l)/z_P,      1 + m_{l+1} = z_{l+1} (1 + m_l)/z_P.

Unknowns are v_l = log(-w_l) and zeta_l = log(-z_l), which enter -z_P = exp(zeta_{l+1}) + q_hat_l as sums of positive
numbers on the negative axis. Newton's matrix is a chain, swept once forward: every change is alpha d + beta with d the
change of zeta_1. The potential Psi(z) = E log(1 - X/z), whose argument is pi P(X > x), goes along: a product adds
m + E log(1 - y/w) + h [log(1+m) - m], a shift log(z_P/z_{l+1}).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet.theory.free.continuation import follow
from mcnet.theory.free.product import (
    INSIDE,
    TOGETHER,
    log_lower,
    log_upper,
    log_w_above,
    match,
    mean_argument,
    node_sums,
)
from mcnet.theory.free.slope_law import SlopeLaw
from mcnet.theory.free.spectrum import Atoms, Values

Real = NDArray[np.floating[Any]]
Complex = NDArray[Any]


class Affine(NamedTuple):
    """A change alpha d + beta, each (P,)."""

    alpha: Complex
    beta: Complex

    def times(self, factor: Complex) -> Affine:
        return Affine(self.alpha * factor, self.beta * factor)

    def plus(self, other: Affine) -> Affine:
        return Affine(self.alpha + other.alpha, self.beta + other.beta)


class Sweep(NamedTuple):
    """One pass along the chain at a state."""

    log_z: Complex  # log(-z_P) of the last product
    log_m: Complex  # log(-m)
    change: Affine  # of log_z
    log_m_change: Affine
    columns: list[Affine]  # of the state
    psi: Real  # Im Psi
    fault: Real  # largest mismatch


@dataclass(frozen=True)
class FisherChain:
    """Equations of (1) for the law of the last product, Theta_L - q_hat_{L-1}; state (v_1.., zeta_1..)."""

    laws: tuple[SlopeLaw, ...]  # of D_1^2 .. D_{L-1}^2
    q_hat: tuple[float, ...]  # 0 .. L-1
    log_sigma_w2: float
    haar: bool

    def _sweep(self, state: Complex, with_psi: bool = False) -> Sweep:
        hidden = len(self.laws)
        zeta = state[:, hidden]
        one, nothing = np.ones_like(zeta), np.zeros_like(zeta)
        minus_z: Complex = np.exp(zeta)
        q = self.q_hat[0]
        a, b = log_upper(q / (minus_z + q)), zeta - log_lower(minus_z + q)
        d_zeta = Affine(one, nothing)
        da, db = d_zeta.times(-minus_z / (minus_z + q)), d_zeta.times(q / (minus_z + q))
        columns_v, columns_zeta = [], [d_zeta]
        psi: Real = np.abs(np.angle(1.0 + q / minus_z)) if with_psi else np.zeros(len(state))
        fault = np.zeros(len(state))
        h = 1.0 if self.haar else 0.0
        for layer, law in enumerate(self.laws):
            v = state[:, layer]
            minus_m, one_plus_m, d = node_sums(np.exp(v), law)
            mismatch = a - b - log_upper(minus_m) + log_lower(one_plus_m)
            slope = -d / minus_m - d / one_plus_m
            dv = Affine((da.alpha - db.alpha) / slope, (da.beta - db.beta + mismatch) / slope)
            columns_v.append(dv)
            log_z = zeta + self.log_sigma_w2 + a + v - h * b
            d_log_z = d_zeta.plus(da).plus(dv).plus(db.times(-h * one))
            fault = np.maximum(fault, np.abs(mismatch))
            if with_psi:
                angle = np.maximum(np.exp(a).imag, 0.0)
                psi = psi + mean_argument(np.exp(v), law) - angle + h * (angle - np.abs(b.imag))
            if layer == hidden - 1:
                break
            zeta, q = state[:, hidden + layer + 1], self.q_hat[layer + 1]
            minus_z = np.exp(zeta)
            total: Complex = minus_z + q  # -z_P
            jump = log_z - log_lower(total)
            fault = np.maximum(fault, np.abs(jump))
            d_zeta = Affine(d_log_z.alpha, d_log_z.beta + jump).times(total / minus_z)
            columns_zeta.append(d_zeta)
            if with_psi:
                psi = psi - zeta.imag + log_lower(total).imag
            growth = q * np.exp(b) / total
            a_next = log_upper(np.exp(a) + growth)
            d_growth = db.plus(d_zeta.times(-minus_z / total))
            da = da.times(np.exp(a - a_next)).plus(d_growth.times(growth / np.exp(a_next)))
            db = db.plus(d_zeta.times(q / total))
            a, b = a_next, b + zeta - log_lower(total)
        return Sweep(log_z, a, d_log_z, da, columns_v + columns_zeta, psi, fault)

    def newton(self, state: Complex, s: Complex) -> tuple[Real, Complex, Complex]:
        """See :class:`mcnet.theory.free.continuation.AbstractSystem`."""
        sweep = self._sweep(state)
        shift = (s - sweep.log_z - sweep.change.beta) / sweep.change.alpha
        correction = np.stack([column.alpha * shift + column.beta for column in sweep.columns], axis=1)
        slope = np.stack([column.alpha / sweep.change.alpha for column in sweep.columns], axis=1)
        return np.abs(s - sweep.log_z) + sweep.fault, correction, slope

    def valid(self, state: Complex) -> NDArray[np.bool_]:
        """All -w and -z in the lower half plane."""
        inside: NDArray[np.bool_] = np.all((state.imag <= 1e-6) & (state.imag >= -np.pi - 1e-6), axis=1)
        return inside

    def law(self, state: Complex, solved: NDArray[np.bool_]) -> Values:
        """The law of the last product at states with theta = 0."""
        sweep = self._sweep(state, with_psi=True)
        minus_m = np.exp(sweep.log_m)
        density = np.maximum(minus_m.imag, 0.0)
        rate = np.abs(minus_m * sweep.log_m_change.alpha / sweep.change.alpha)
        return Values(density / np.pi, sweep.psi / np.pi, density > INSIDE * rate, solved)

    def negative_axis(self, log_top: float, lowest: float, tail: float) -> tuple[Real, Real, float]:
        """log(-z) falling, the states there, and the mass (times 1/2) that may lie below the last."""
        state = self._far_state(log_top + 20.0)
        s = self._sweep(state).log_z.real
        rows_s, rows = [float(s[0])], [state[0].real]
        excess = 1.0
        resolved = self.laws[-1].resolved
        while rows_s[-1] > lowest and excess > tail:
            stop = s - 1.0
            state, good = follow(self, state, s.astype(complex), stop.astype(complex))
            if not good[0] or math.exp(state[0, len(self.laws) - 1].real) < resolved:
                break
            s = stop
            rows_s.append(float(s[0]))
            rows.append(state[0].real)
            law, t = self.laws[-1], math.exp(state[0, len(self.laws) - 1].real)
            excess = t * float((1.0 / (t + law.values)) @ law.weights)
        return np.array(rows_s), np.array(rows), excess

    def _far_state(self, log_z: float) -> Complex:
        """The state at a first z so far out that the map can be run forward on the negative axis."""
        v, zeta = [], [log_z]
        minus_m = self.q_hat[0] / (math.exp(log_z) + self.q_hat[0])
        one_plus_m = math.exp(log_z) / (math.exp(log_z) + self.q_hat[0])
        for layer, law in enumerate(self.laws):
            ratio = np.array([math.log(minus_m / one_plus_m)])
            guess = np.array([math.log(law.moments(1)[0]) - ratio[0]])
            v.append(float(match(law, ratio, guess)[0]))
            log_p = zeta[-1] + self.log_sigma_w2 + math.log(minus_m) + v[-1]
            log_p -= math.log(one_plus_m) if self.haar else 0.0
            if layer < len(self.laws) - 1:
                q = self.q_hat[layer + 1]
                zeta.append(math.log(math.exp(log_p) - q))
                minus_m = minus_m + q * one_plus_m * math.exp(-log_p)
                one_plus_m = one_plus_m * math.exp(zeta[-1] - log_p)
        return np.array([[*v, *zeta]], dtype=complex)

    def log_z_above(self, log_m: Real) -> Real:
        """log z_P of the last product for z above the spectrum, from real m > 0 of the first layer, (P,)."""
        log_z: Real = np.log(self.q_hat[0] * (1.0 + np.exp(-log_m)))
        for layer, law in enumerate(self.laws):
            log_one_plus = np.logaddexp(0.0, log_m)
            log_z = log_z + self.log_sigma_w2 + log_m + log_w_above(law, log_m) - (log_one_plus if self.haar else 0.0)
            q = self.q_hat[layer + 1]
            if layer < len(self.laws) - 1 and q > 0:
                log_m = np.logaddexp(log_m, math.log(q) + log_one_plus - log_z)
                log_z = np.logaddexp(log_z, math.log(q))
        return log_z

    def top(self) -> float:
        """log of the upper edge of the last product: the first minimum of z over real m > 0, or its limit m -> inf."""
        last = math.inf
        grid = np.arange(-25.0, 60.0, 0.25)
        for first in range(0, grid.size, TOGETHER):
            part = grid[first : first + TOGETHER]
            values = np.concatenate([[last], self.log_z_above(part)])
            rising = np.flatnonzero(np.diff(values) > 1e-13)
            if rising.size:
                high = float(part[rising[0]])
                low, last = high - 0.5, float(values[rising[0]])
                while high - low > 1e-9:
                    inner = np.linspace(low, high, 18)
                    values = self.log_z_above(inner)
                    best = int(np.argmin(values))
                    low, high = float(inner[max(best - 1, 0)]), float(inner[min(best + 1, inner.size - 1)])
                    last = min(last, float(values[best]))
                return last
            last = float(values[-1])
        return last

    def atoms(self) -> Atoms:
        """(log x, mass) of the last product, ascending."""
        theta = {self.q_hat[0]: 1.0}
        sigma_w2 = math.exp(self.log_sigma_w2)
        product: dict[float, float] = {}
        for layer, law in enumerate(self.laws):
            product = {0.0: float(law.zero)} if law.zero > 0 else {}
            if self.haar:
                for value, mass in theta.items():
                    for slope, weight in law.atoms:
                        if slope > 0 and mass + weight > 1 + 1e-12:
                            product[sigma_w2 * slope * value] = float(mass + weight - 1)
            theta = {value + self.q_hat[layer + 1]: mass for value, mass in product.items()}
        return tuple(sorted((math.log(value) if value > 0 else -math.inf, mass) for value, mass in product.items()))


def fisher_moments(
    laws: Sequence[SlopeLaw], q_hat: Sequence[float], sigma_w2: float, haar: bool
) -> tuple[float, float]:
    """Mean and second moment of Theta_L, layer by layer from (1)."""
    mean, second = q_hat[0], q_hat[0] ** 2
    for law, q in zip(laws, q_hat[1:], strict=True):
        slope, slope_2 = law.moments(2)
        product = sigma_w2 * slope * mean
        # second moment of a free product: relative variances add; the Gaussian W W^T has 1
        ratio = second / mean**2 + slope_2 / slope**2 - (1.0 if haar else 0.0)
        mean, second = product + q, product**2 * ratio + 2 * q * product + q * q
    return float(mean), float(second)
