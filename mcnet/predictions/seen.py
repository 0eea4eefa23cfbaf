"""Predictions for what is read off seen vectors: means over units, residual branches, Fourier modes over positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.programs import Theory, first_rows, theory_of
from mcnet.predictions.registry import Curve, Predictor, Unknown, curve, register
from mcnet.programs.names import ProgramError
from mcnet.theory.program import Limit

Floats = NDArray[np.float64]

MOST_MODES = 8


def _limit(found: Theory, what: str) -> Limit:
    """The limit itself.

    Raises
    ------
    Unknown
        If the program has only a population.
    """
    if not isinstance(found.limit, Limit):
        raise Unknown(f"{what} are those of the limit, which this program does not have")
    return found.limit


def _mean(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """Of inputs whose own mean is zero."""
    found, at = _limit(theory_of(ensemble, inputs), "means"), first_rows(ensemble, inputs)[0]
    depth = ensemble.point.depth
    means = np.full(depth + 1, np.nan)
    for layer in range(depth + 1):
        if ("h", layer) in found.seen and at < len(mean := found.mean(("h", layer))):
            means[layer] = mean[at]
    return curve(means, why_not="means over the units have no 1/M theory")


def _branch(overlap: bool) -> Predictor:
    """The stream of a residual network less its skip."""

    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        p = ensemble.program.parameters
        if ensemble.point.architecture != "residual" or p.skip == 0.0:
            raise Unknown("branches beside a skip are those of residual networks")
        found, at = _limit(theory_of(ensemble, inputs), "branches"), first_rows(ensemble, inputs)[0]
        letter, skip, depth = "u" if p.block == "pre" else "h", float(p.skip), ensemble.point.depth
        values = np.full(depth + 1, np.nan)
        for layer in range(1, depth + 1):
            above, below = (letter, layer), (letter, layer - 1)
            here, mixed, before = (
                found.gram(a, b)[at, at] for a, b in ((above, above), (above, below), (below, below))
            )
            branch = here - 2.0 * skip * mixed + skip**2 * before
            values[layer] = branch / (skip**2 * before)
            if overlap:
                values[layer] = (mixed - skip * before) / np.sqrt(branch * before) if branch > 0.0 else np.nan
        return curve(values, why_not="ratios of lengths have no 1/M theory")

    return predictor


def _mode(mode: int, gradients: bool) -> Predictor:
    """A cosine over the positions of the diagonal of a Gram matrix; its 1/M terms are those of the entries."""

    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        axes = {name: size for name, size in ensemble.program.axes.items() if name.startswith("position")}
        if not axes:
            raise Unknown("modes over positions are those of networks with positions")
        if gradients and ensemble.point.output_normalization != "none":
            raise Unknown(f"there is no theory of gradients under normalization {ensemble.point.normalization}")
        found, depth, start = theory_of(ensemble, inputs), ensemble.point.depth, first_rows(ensemble, inputs)[0]
        first, rows = next(iter(axes.values())), int(np.prod(list(axes.values())))
        wave = np.cos(2.0 * np.pi * mode * (np.arange(rows) // (rows // first)) / first) / rows
        parts, why = np.full((3, depth + 1), np.nan), found.why_not
        for layer in range(1, depth + 1):
            parts[:, layer], reason = _of_diagonal(found, ("u", layer), wave, start, gradients)
            why = why or reason
        if gradients and ensemble.point.outputs is None:
            parts[1:] = np.nan
        if gradients and (ensemble.point.outputs or 1) > 1:
            parts[2] = np.nan
        return curve(*parts, why_not=why)

    return predictor


def _of_diagonal(
    found: Theory, name: tuple[str, int], wave: Floats, start: int, gradients: bool
) -> tuple[tuple[float, float, float], str]:
    """Limit, a1 and v1 of a weighted sum of the diagonal of a Gram matrix."""
    reason = ""
    if found.expansion is not None:
        of = found.expansion.backward if gradients else found.expansion
        try:
            return _weighted(of.limit(name), of.mean(name), of.covariance(name), wave, start), ""
        except (ProgramError, ValueError) as error:
            reason = str(error)
    limit = _limit(found, "modes")
    gram = limit.backward(name) if gradients else limit.gram(name)
    return (_diagonal(gram, wave, start), np.nan, np.nan), reason


def _diagonal(gram: Floats, wave: Floats, start: int) -> float:
    return float(wave @ np.diagonal(gram)[start : start + wave.size])


def _weighted(limit: Floats, mean: Floats, covariance: Floats, wave: Floats, start: int) -> tuple[float, float, float]:
    at = (start + np.arange(wave.size)) * (len(limit) + 1)  # the diagonal in the flat array
    spread = float(wave @ covariance[np.ix_(at, at)] @ wave)
    return _diagonal(limit, wave, start), _diagonal(mean, wave, start), spread


register("h_mean", _mean)
register("branch_energy", _branch(overlap=False))
register("branch_overlap", _branch(overlap=True))
for _k in range(MOST_MODES + 1):
    register(f"q_mode_{_k}", _mode(_k, gradients=False))
    register(f"q_tilde_mode_{_k}", _mode(_k, gradients=True))
