"""Following the solution of an analytic equation along a path, many points at once.

A spectral law is the boundary value on [0, inf) of a function of z that is analytic off it. On the negative axis the
equation is real with one solution; rotating z = x exp(i theta) from theta = pi to 0 at fixed x meets no singularity
before theta = 0, so the branch cannot be lost. The paths here run in s = log(-z), from log x to log x - i pi.

Such a path takes some ninety evaluations. On the axis itself, inside a band, Newton's method from the solutions of
neighbours takes three or four, and what it finds there is the boundary value if it lies in the open half planes: by the
implicit function theorem a solution of z = x goes over into one of z = x + i epsilon, and of these there is one.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.floating[Any]]
Complex = NDArray[np.complexfloating[Any, Any]]

LARGEST_STEP = 0.6
LARGEST_CORRECTION = 0.5  # in an unknown, which is a logarithm
ROUNDING = 1e-13  # correction that no further one follows
FEWEST = 4  # solutions that a guess is made of
INTERIOR = 1e-9  # least distance of an argument from 0 and -pi in the open half plane
LEAP = 0.05  # theta from which one step to the axis is tried
NEIGHBOUR = 0.3  # largest way in an unknown from the guess that neighbours give
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
    active = np.arange(s.size)
    for _ in range(rounds):
        _, correction, _ = system.newton(state[active], s[active])
        size = np.max(np.abs(correction), axis=1)
        good = size < 1e-3  # false for NaN
        state[active[good]] += correction[good]
        active = active[good & (size > ROUNDING)]
        if not active.size:
            break
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


def rotate(system: AbstractSystem, axis: tuple[Real, Real], log_x: Real) -> tuple[Complex, NDArray[np.bool_]]:
    """Solutions at z = x + i0, each followed from the negative axis.

    Parameters
    ----------
    system : AbstractSystem
        The equations.
    axis : tuple of ndarray, shapes (A,) and (A, n)
        log(-z), falling, and the states there, on the negative axis.
    log_x : ndarray, shape (P,)
        The points.

    Returns
    -------
    ndarray, shape (P, n)
        The states.
    ndarray of bool, shape (P,)
        Whether the path was followed to its end.
    """
    return follow(system, _start(axis, log_x), log_x.astype(complex), log_x - 1j * np.pi)


def _start(axis: tuple[Real, Real], log_x: Real) -> Complex:
    """States on the negative axis at |z| = x, interpolated."""
    s, states = axis
    columns = [np.interp(log_x, s[::-1], states[::-1, i]) for i in range(states.shape[1])]
    return np.stack(columns, axis=1).astype(complex)


class Boundary:
    """Solutions at z = x + i0, where they can from those that were found before.

    Parameters
    ----------
    system, axis
        As in :func:`rotate`.
    log_top : float
        Upper edge of the spectrum: solutions are smooth in sqrt(log_top - log_x) there.
    """

    def __init__(self, system: AbstractSystem, axis: tuple[Real, Real], log_top: float) -> None:
        self._system = system
        self._axis = axis
        self._top = log_top
        self._place: Real = np.empty(0)  # of what is known inside bands, ascending
        self._known: Complex = np.empty((0, axis[1].shape[1]), complex)

    def __call__(self, log_x: Real) -> tuple[Complex, NDArray[np.bool_]]:
        """States (P, n) at log x (P,), and which of them were found.

        Guesses are cubic in the place of known solutions. What does not converge, ends far from its guess or not in
        the open half planes (outside the bands, at an edge) is tried again with what is known then, while that helps,
        and followed from the negative axis at last.
        """
        place = np.sqrt(np.maximum(self._top - log_x, 0.0))
        target = log_x - 1j * np.pi
        state = np.empty((log_x.size, self._known.shape[1]), complex)
        rest = np.arange(log_x.size)
        while rest.size and len(self._known) >= FEWEST:
            found, ok = _land(self._system, _cubic(self._place, self._known, place[rest]), target[rest])
            state[rest[ok]] = found[ok]
            self._learn(place[rest[ok]], found[ok])
            rest = rest[~ok]
            if 4 * np.sum(ok) < rest.size:
                break
        solved = np.ones(log_x.size, bool)
        if rest.size:
            state[rest], solved[rest], inside = _descend(self._system, self._axis, log_x[rest])
            self._learn(place[rest[inside]], state[rest[inside]])
        return state, solved

    def _learn(self, place: Real, state: Complex) -> None:
        self._place, first = np.unique(np.concatenate([self._place, place]), return_index=True)
        self._known = np.concatenate([self._known, state])[first]


def _cubic(place: Real, state: Complex, asked: Real) -> Complex:
    """Lagrange interpolation through the four places about each one asked for, (P,) -> (P, n)."""
    first = np.clip(np.searchsorted(place, asked) - 2, 0, place.size - FEWEST)
    nodes = first[:, None] + np.arange(FEWEST)
    away = asked[:, None] - place[nodes]
    guess = np.zeros((asked.size, state.shape[1]), complex)
    for i in range(FEWEST):
        others = [j for j in range(FEWEST) if j != i]
        apart = place[nodes[:, i]][:, None] - place[nodes[:, others]]
        guess += np.prod(away[:, others] / apart, axis=1)[:, None] * state[nodes[:, i]]
    return guess


def _land(system: AbstractSystem, guess: Complex, target: Complex) -> tuple[Complex, NDArray[np.bool_]]:
    """States at theta = 0 from guesses, and which of them are boundary values inside a band for certain."""
    with np.errstate(all="ignore"):  # what a bad guess leads to is not taken
        trial, _, ok = _correct(system, guess.copy(), target, 6)
        trial = polish(system, trial, target)
    inside = (trial.imag < -INTERIOR) & (trial.imag > INTERIOR - np.pi) & (np.abs(trial - guess) < NEIGHBOUR)
    return trial, ok & np.all(inside, axis=1)


def _descend(
    system: AbstractSystem, axis: tuple[Real, Real], log_x: Real
) -> tuple[Complex, NDArray[np.bool_], NDArray[np.bool_]]:
    """:func:`rotate` with one leap at the end where that leads inside a band; and where it did."""
    above = log_x - 1j * (np.pi - LEAP)
    state, solved = follow(system, _start(axis, log_x), log_x.astype(complex), above)
    landed, inside = _land(system, state, log_x - 1j * np.pi)
    inside &= solved
    state[inside] = landed[inside]
    rest = np.flatnonzero(solved & ~inside)
    if rest.size:
        state[rest], solved[rest] = follow(system, state[rest], above[rest], log_x[rest] - 1j * np.pi)
    return state, solved, inside
