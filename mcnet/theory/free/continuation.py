"""Following the solution of an analytic equation along a path, many points at once.

A spectral law is the boundary value on [0, inf) of a function of z that is analytic off it. On the negative axis the
equation is real with one solution; rotating z = x exp(i theta) from theta = pi to 0 at fixed x meets no singularity
before theta = 0, so the branch cannot be lost. The paths here run in s = log(-z), from log x to log x - i pi.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.floating[Any]]
Complex = NDArray[np.complexfloating[Any, Any]]

LARGEST_STEP = 0.6
LARGEST_CORRECTION = 0.5  # in an unknown, which is a logarithm
NEAR_END = 1e-10  # from here one step to theta = 0; where that fails (at an edge) the value here is kept


class AbstractSystem(Protocol):
    """Equations F(state) = s with one state vector a point (an interface)."""

    def newton(self, state: Complex, s: Complex) -> tuple[Real, Complex, Complex]:
        """Residual (P,), Newton correction (P, n) and slope d state/ds (P, n) at state (P, n), target s (P,)."""

    def valid(self, state: Complex) -> NDArray[np.bool_]:
        """Whether a state (P, n) is on the physical sheet, (P,)."""


def _correct(
    system: AbstractSystem, state: Complex, s: Complex, rounds: int
) -> tuple[Complex, Complex, NDArray[np.bool_]]:
    """Newton iterations; the state, its slope in s and whether it converged."""
    slope = np.zeros_like(state)
    converged = np.zeros(s.size, bool)
    active = np.arange(s.size)
    for _ in range(rounds):
        residual, correction, tangent = system.newton(state[active], s[active])
        size = np.max(np.abs(correction), axis=1)
        ok = np.isfinite(size) & np.isfinite(residual)
        shrink = np.where(size > LARGEST_CORRECTION, LARGEST_CORRECTION / np.where(ok & (size > 0), size, 1.0), 1.0)
        state[active[ok]] += (shrink[:, None] * correction)[ok]
        slope[active[ok]] = tangent[ok]
        converged[active] = ok & (size < 1e-6)
        active = active[ok & (size >= 1e-6)]
        if not active.size:
            break
    return state, slope, converged & system.valid(state)


def polish(system: AbstractSystem, state: Complex, s: Complex, rounds: int = 3) -> Complex:
    """Newton iterations down to rounding; a point where they leave the neighbourhood keeps its state."""
    state = state.copy()
    for _ in range(rounds):
        _, correction, _ = system.newton(state, s)
        good = np.all(np.isfinite(correction), axis=1) & (np.max(np.abs(correction), axis=1) < 1e-3)
        state[good] += correction[good]
    return state


def follow(system: AbstractSystem, state: Complex, start: Complex, stop: Complex) -> tuple[Complex, NDArray[np.bool_]]:
    """Carry solutions from s = start to s = stop along straight lines.

    Parameters
    ----------
    system : AbstractSystem
        The equations.
    state : ndarray, shape (P, n)
        Solutions, or good guesses, at ``start``.
    start, stop : ndarray, shape (P,)
        Ends of the paths.

    Returns
    -------
    ndarray, shape (P, n)
        Solutions at ``stop``.
    ndarray of bool, shape (P,)
        Whether the path was followed to its end.

    Notes
    -----
    Euler predictor, Newton corrector, each point with its own step; a step is at most 0.75 of the way left, since the
    end may be a branch point, and halved until the corrector converges to a valid state.
    """
    length = np.abs(stop - start)
    direction = (stop - start) / np.where(length > 0, length, 1.0)
    done = np.zeros(start.size)
    step = np.full(start.size, 0.2)
    initial: Complex = state.astype(complex)
    solution: Complex
    solution, slope, good = _correct(system, initial, start.astype(complex), 60)
    active = np.flatnonzero(good & (length > 0))
    while active.size:
        left = length[active] - done[active]
        last = left <= NEAR_END
        take = np.where(last, left, np.minimum(step[active], 0.75 * left))
        target = start[active] + (done[active] + take) * direction[active]
        trial: Complex = solution[active] + slope[active] * (take * direction[active])[:, None]
        trial, trial_slope, ok = _correct(system, trial, target, 6)
        moved = active[ok]
        solution[moved], slope[moved] = trial[ok], trial_slope[ok]
        done[moved] += take[ok]
        step[moved] = np.minimum(1.6 * take[ok], LARGEST_STEP)
        step[active[~ok]] = take[~ok] / 2
        stuck = ~ok & ~last & (take < 1e-3 * np.minimum(left, 1.0))
        good[active[stuck]] = False
        active = active[~last & ~stuck]
    return polish(system, solution, stop.astype(complex)), good
