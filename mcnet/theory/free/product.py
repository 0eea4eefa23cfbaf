"""Free multiplicative products of W W^T and D^2 factors: the equation of z and m, its negative axis, its top edge.

For a law on [0, inf), ``M(z) = E[x/(z - x)]``, and m = M(z). With w_l the solution of E[y_l/(w_l - y_l)] = m,

    z(m) = (1+m)/m  prod_l  sigma_w2 m w_l / (1+m)^h,      h = 0 Gaussian, 1 Haar                          (1)

for J J^T (Pennington, Schoenholz, Ganguli 2017 and 2018; layer by layer). The unknowns are logarithms of negated
numbers, v = log(-w), a = log(-m), b = log(1+m), s = log(-z): none of -w, -m, 1+m, -z meets the cut of the logarithm.
Density and distribution function are boundary values at z = x + i0,

    x rho(x) = -Im m/pi,      P(X > x) = Im Psi/pi,      Psi(z) = E log(1 - X/z),                         (2)

and integrating m d log z along (1) gives Psi without a quadrature over the spectrum,

    Psi = -log(1+m) + sum_l { m + E log(1 - y_l/w_l) + h [log(1+m) - m] }.                               (3)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mcnet.theory.free.continuation import AbstractSystem, Boundary
from mcnet.theory.free.slope_law import Cells, SlopeLaw
from mcnet.theory.free.spectrum import Evaluate, Values

Real = NDArray[np.floating[Any]]
Complex = NDArray[np.complexfloating[Any, Any]]

COMPILED = 1000  # terms from which a compiled sum is faster
TOGETHER = 32  # values of m that are looked at together
NEAR = 0.5  # sine of the angle of w to the positive axis below which cells replace nodes
INSIDE = 1e-9  # x is inside a band if Im m exceeds this times |dm/d log x|; at an edge that is twice the distance


class AbstractLaw(AbstractSystem, Protocol):
    """A system whose solutions at theta = 0 tell a law (an interface)."""

    def law(self, state: Complex, solved: NDArray[np.bool_]) -> Values:
        """The law at states (P, n)."""


@dataclass(frozen=True)
class Layers:
    """Layers that share one D^2 law: how many there are."""

    law: SlopeLaw
    count: int


def log_lower(number: NDArray[Any]) -> Complex:
    """Logarithm of numbers in the closed lower half plane, imaginary part in [-pi, 0] whatever the sign of a zero."""
    log: Complex = np.log(number)
    return np.where(log.imag > np.pi / 2, log - 2j * np.pi, log)


def log_upper(number: NDArray[Any]) -> Complex:
    """Logarithm of numbers in the closed upper half plane, imaginary part in [0, pi]."""
    log: Complex = np.log(number)
    return np.where(log.imag < -np.pi / 2, log + 2j * np.pi, log)


def node_sums(t: Complex, law: SlopeLaw) -> tuple[Complex, Complex, Complex]:
    """E[y/(t+y)], E[t/(t+y)] and E[y t/(t+y)^2], with t = -w; shape of t, (P,).

    1 + m = E[t/(t+y)] is summed by itself, never as 1 + m: deep in the lower tail it is 1e-100 and smaller.
    """
    near = _near(t, law.cells)
    if near.any():
        sums = tuple(np.empty_like(t) for _ in range(3))
        for where, form in ((near, _cell_sums), (~near, _far_sums)):
            for total, part in zip(sums, form(t[where], law), strict=True):
                total[where] = part
        return sums[0], sums[1], sums[2]
    return _far_sums(t, law)


def _far_sums(t: Complex, law: SlopeLaw) -> tuple[Complex, Complex, Complex]:
    sums: tuple[Any, Any, Any]
    if np.iscomplexobj(t) and law.values.size * t.size > COMPILED:
        from mcnet.theory.free.cell_sums import pole_sums

        sums = pole_sums(t, law.values, law.weights)
    else:
        inverse = 1.0 / (t[:, None] + law.values)  # (P, K)
        weighted = law.weights * law.values
        sums = (inverse @ weighted, inverse @ law.weights, (inverse * inverse) @ weighted)
    minus_m, rest, square = sums
    return minus_m, law.zero + t * rest, t * square


def _near(t: Complex, cells: Cells | None) -> NDArray[np.bool_]:
    """Where w = -t is so near to a continuous part that its nodes would act as poles."""
    if cells is None:
        return np.zeros(t.shape, bool)
    size = np.abs(t)
    close = (t.real < 0) & (np.abs(t.imag) < NEAR * size)
    near: NDArray[np.bool_] = close & (size < 1.5 * np.max(cells.high)) & (size > np.min(cells.low) / 1.5)
    return near


def _cell_sums(t: Complex, law: SlopeLaw) -> tuple[Complex, Complex, Complex]:
    """The sums of a density linear on each cell."""
    from mcnet.theory.free.cell_sums import stieltjes

    cells = law.cells
    assert cells is not None
    value, slope = stieltjes(-t, (cells.low + cells.high) / 2, (cells.high - cells.low) / 2, cells.mass, cells.tilt)
    inverse = 1.0 / (t[:, None] + cells.atoms)
    value = value - inverse @ cells.atom_weights
    slope = slope - (inverse * inverse) @ cells.atom_weights
    one_plus_m = law.zero - t * value
    return 1.0 - one_plus_m, one_plus_m, -t * (value - t * slope)


@dataclass(frozen=True)
class ProductSystem:
    """Equation (1) with one unknown v per group of equal layers; the groups are tied by equal m/(1+m)."""

    groups: tuple[Layers, ...]
    log_scale: float  # sum over layers of log sigma_w2
    haar: bool

    def _parts(self, state: Complex) -> tuple[Complex, Complex, Complex, Complex]:
        """a, b and their slopes in v, each (P, G)."""
        a, b, da, db = (np.empty_like(state) for _ in range(4))
        for g, group in enumerate(self.groups):
            minus_m, one_plus_m, d = node_sums(np.exp(state[:, g]), group.law)
            a[:, g], b[:, g] = log_upper(minus_m), log_lower(one_plus_m)
            da[:, g], db[:, g] = -d / minus_m, d / one_plus_m
        return a, b, da, db

    def log_minus_z(self, state: Complex) -> Complex:
        """s at a state whose groups agree, (P,)."""
        a, b, _, _ = self._parts(state)
        return self._equation(state, a, b)

    def _equation(self, state: Complex, a: Complex, b: Complex) -> Complex:
        counts = np.array([group.count for group in self.groups])
        terms = a + state - (b if self.haar else 0.0)
        equation: Complex = b[:, 0] - a[:, 0] + terms @ counts + self.log_scale
        return equation

    def newton(self, state: Complex, s: Complex) -> tuple[Real, Complex, Complex]:
        """See :class:`mcnet.theory.free.continuation.AbstractSystem`; the matrix is arrow shaped, solved by hand."""
        a, b, da, db = self._parts(state)
        counts = np.array([group.count for group in self.groups])
        ratio = a - b  # log(-m/(1+m)), the same in all groups at a solution
        slope = da - db
        mismatch = ratio - ratio[:, :1]
        response = counts * (da + 1.0 - (db if self.haar else 0.0)) / slope
        fault = s - self._equation(state, a, b)
        pivot = response.sum(1) - 1.0
        shift = (fault + (response * mismatch).sum(1)) / pivot
        correction = (shift[:, None] - mismatch) / slope
        residual = np.abs(fault) + np.abs(mismatch).max(1)
        return residual, correction, 1.0 / (pivot[:, None] * slope)

    def valid(self, state: Complex) -> NDArray[np.bool_]:
        """-w and -z in the lower half plane, the argument of -w in [-pi, 0]."""
        inside: NDArray[np.bool_] = np.all((state.imag <= 1e-6) & (state.imag >= -np.pi - 1e-6), axis=1)
        return inside

    def law(self, state: Complex, solved: NDArray[np.bool_]) -> Values:
        """The law at states with theta = 0, from (2) and (3)."""
        a, b, da, _ = self._parts(state)
        minus_m, log_one_plus = np.exp(a[:, 0]), b[:, 0]
        _, _, tangent = self.newton(state, self._equation(state, a, b))
        density = np.maximum(minus_m.imag, 0.0)
        inside = density > INSIDE * np.abs(minus_m * da[:, 0] * tangent[:, 0])
        # Outside the bands the arguments are 0 or pi up to the sign of a rounding: signs are set, not computed.
        psi = np.abs(log_one_plus.imag)
        for g, group in enumerate(self.groups):
            t = np.exp(state[:, g])
            argument = mean_argument(t, group.law)
            psi = psi + group.count * (argument - density + (density - np.abs(log_one_plus.imag) if self.haar else 0.0))
        return Values(density / np.pi, psi / np.pi, inside, solved)


def mean_argument(t: Complex, law: SlopeLaw) -> Real:
    """E arg(1 - y/w), in [0, pi]."""
    argument: Real = np.abs(np.angle(1.0 + law.values / t[:, None])) @ law.weights
    near = _near(t, law.cells)
    if near.any():
        argument[near] = _cell_argument(t[near], law)
    return argument


def _cell_argument(t: Complex, law: SlopeLaw) -> Real:
    from mcnet.theory.free.cell_sums import argument

    cells = law.cells
    assert cells is not None
    w = -t.real + 1j * np.maximum(-t.imag, 0.0)
    mean: Real = argument(w, (cells.low + cells.high) / 2, (cells.high - cells.low) / 2, cells.mass, cells.tilt)
    mean += np.abs(np.angle(1.0 + cells.atoms / t[:, None])) @ cells.atom_weights
    return mean


def match(law: SlopeLaw, ratio: Real, start: Real) -> Real:
    """Real v with log(-m/(1+m)) = ratio on the negative axis, by Newton with bisection, (P,)."""
    low, high = start - 400.0, start + 400.0
    v = start.copy()
    for _ in range(200):
        minus_m, one_plus_m, d = (part.real for part in node_sums(np.exp(v), law))
        fault = np.log(minus_m) - np.log(one_plus_m) - ratio  # falls with v
        low, high = np.where(fault > 0, v, low), np.where(fault > 0, high, v)
        with np.errstate(divide="ignore", invalid="ignore"):  # far out d is 0: bisection there
            trial = v + fault / (d / minus_m + d / one_plus_m)
        trial = np.where((trial > low) & (trial < high), trial, (low + high) / 2)
        if np.max(np.abs(trial - v)) < 1e-12:
            break
        v = trial
    return v


def negative_axis(system: ProductSystem, lowest: float, tail: float) -> tuple[Real, Real, Real]:
    """Solutions on the negative axis, from far outside down to the tail.

    Returns
    -------
    ndarray, shape (P,)
        log(-z), falling.
    ndarray, shape (P, G)
        The states.
    ndarray, shape (P,)
        1 + M(z) less its limit at z = 0, which is the mass of the atom there: twice this bounds the mass in (0, -z).

    Notes
    -----
    The group with the largest mass at zero drives, since the ratio m/(1+m) of the others reaches as far.
    """
    laws = [group.law for group in system.groups]
    drive = int(np.argmax([law.zero for law in laws]))
    law = laws[drive]
    v = math.log(law.largest) + 20.0
    resolved = math.log(law.resolved) if law.resolved > 0 else -math.inf
    rows_s, rows_v, rows_excess = [], [], []
    for _ in range(200):
        block = v - 0.25 * np.arange(32)
        v = block[-1] - 0.25
        with np.errstate(under="ignore"):
            minus_m, one_plus_m, _ = (part.real for part in node_sums(np.exp(block), law))
        good = (one_plus_m > 1e-290) & (block > resolved)
        if not good.any():
            break
        block, minus_m, one_plus_m = block[good], minus_m[good], one_plus_m[good]
        ratio = np.log(minus_m) - np.log(one_plus_m)
        states = np.empty((block.size, len(laws)))
        for g, other in enumerate(laws):
            guess = block + math.log(other.largest / law.largest)
            states[:, g] = block if g == drive else match(other, ratio, guess)
        s = system.log_minus_z(states.astype(complex)).real
        t = np.exp(block)
        excess = t * ((1.0 / (t[:, None] + law.values)) @ law.weights)
        rows_s.append(s)
        rows_v.append(states)
        rows_excess.append(excess)
        if not good.all() or np.any((s < lowest) | (excess < tail)):
            break
    s, states, excess = np.concatenate(rows_s), np.concatenate(rows_v), np.concatenate(rows_excess)
    keep = np.concatenate([[True], (s[:-1] >= lowest) & (excess[:-1] >= tail)])
    return s[keep], states[keep], excess[keep]


def law_of(system: AbstractLaw, axis: tuple[Real, Real], log_top: float) -> Evaluate:
    """The law at points of log x (P,), given solutions on the negative axis (log(-z) falling, states)."""
    boundary = Boundary(system, axis, log_top)
    return lambda log_x: system.law(*boundary(log_x))


def log_z_above(system: ProductSystem, log_m: Real) -> tuple[Real, Real]:
    """log z and d log z/d log m at real m > 0, where z lies above the spectrum; shape of log_m, (P,)."""
    m = np.exp(log_m)
    log_ratio = log_m - np.log1p(m)
    log_z, slope = -log_ratio + system.log_scale, -1.0 / (1.0 + m)
    for group in system.groups:
        excess = np.exp(_above(group.law, log_m))
        inverse = 1.0 / (excess[:, None] + (group.law.largest - group.law.values))
        w = excess + group.law.largest
        change = -m / (w * ((inverse * inverse) @ (group.law.values * group.law.weights)))  # d log w/d log m
        log_z = log_z + group.count * (np.log(w) + (log_ratio if system.haar else log_m))
        slope = slope + group.count * (change + (1.0 / (1.0 + m) if system.haar else 1.0))
    return log_z, slope


def _above(law: SlopeLaw, log_m: Real) -> Real:
    """log(w - largest) with E[y/(w-y)] = m for real w above the support, (P,)."""
    weighted, below = law.weights * law.values, law.largest - law.values
    low, high = math.log(weighted[-1]) - log_m - 1.0, math.log(weighted.sum()) - log_m + 1.0
    gap = high - 1.0  # exact for small m
    active = np.arange(log_m.size)
    for _ in range(200):
        here = gap[active]
        inverse = 1.0 / (np.exp(here)[:, None] + below)
        value = inverse @ weighted
        fault = np.log(value) - log_m[active]
        low[active] = np.where(fault > 0, here, low[active])
        high[active] = np.where(fault > 0, high[active], here)
        trial = here + fault * value / (np.exp(here) * ((inverse * inverse) @ weighted))
        last = np.abs(trial - here) < 1e-8  # what is left is the square of that
        within = last | ((trial > low[active]) & (trial < high[active]))
        gap[active] = np.where(within, trial, (low[active] + high[active]) / 2)
        active = active[~last]
        if not active.size:
            break
    return gap


def log_w_above(law: SlopeLaw, log_m: Real) -> Real:
    """log w with E[y/(w-y)] = m for real w above the support, (P,)."""
    result: Real = np.log(law.largest + np.exp(_above(law, log_m)))
    return result


def top(system: ProductSystem) -> float:
    """log of the upper edge of the spectrum: the minimum of log z over real m > 0, reached inside or as m -> inf."""
    grid = np.arange(-25.0, 60.0, 0.25)
    for first in range(0, grid.size, TOGETHER):
        part = grid[first : first + TOGETHER]
        rising = np.flatnonzero(log_z_above(system, part)[1] > 0)
        if rising.size:
            high = float(part[rising[0]])
            low = high - 0.25
            while high - low > 1e-8:  # at a minimum the error is its square
                inner = np.linspace(low, high, 18)
                turn = int(np.argmax(np.append(log_z_above(system, inner[1:-1])[1] > 0, True)))
                low, high = float(inner[turn]), float(inner[turn + 1])
            return float(log_z_above(system, np.array([(low + high) / 2]))[0][0])
    return system.log_scale + sum(group.count * math.log(group.law.largest) for group in system.groups)
