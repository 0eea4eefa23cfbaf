"""What a block of a residual network adds to its stream: the energy of the branch beside that of the skip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures
from mcnet.observables.collected import collecting
from mcnet.observables.observable import Options, Values, asked_layers, check_layers, with_rows
from mcnet.point import Point
from mcnet.variables import Variable

_ENERGY = Variable(
    name="branch_energy",
    group="signal",
    dims=("input", "layer"),
    long_name="squared length of a residual branch over that of the skip",
    symbol="e^l",
    definition="|b^l|^2/|a x^(l-1)|^2 of the stream x^l = a x^(l-1) + b^l; the stream is h, of blocks `pre` u; NaN at "
    "layer 0 and where the stream vanishes",
    normalisation="ratio of one network; the mean of ratios over networks is not the ratio of means",
    reference="Yang, Schoenholz 2017, arXiv:1712.08969",
)
_OVERLAP = replace(
    _ENERGY,
    name="branch_overlap",
    long_name="cosine of the angle between a residual branch and its skip",
    symbol="o^l",
    definition="b^l.x^(l-1)/(|b^l| |x^(l-1)|), as branch_energy; NaN at layer 0 and where one of them vanishes",
    normalisation="cosine of one network",
)


def stream(point: Point) -> tuple[str, float]:
    """Letter of the vector that skips, and the factor a."""
    p = architectures.of(point).parameters
    return ("u" if p.block == "pre" else "h"), float(p.skip)


class Branches:
    """Keeps the states of the stream, and takes the skip off each.

    Parameters
    ----------
    point : Point
    options : mapping
    """

    def __init__(self, point: Point, options: Options) -> None:
        self._letter, self._skip = stream(point)
        self._mask = asked_layers(point, options, self._letter, 1)
        self._kept: dict[int, NDArray[np.floating]] = {}

    def see(self, name: str, layer: int, rows: NDArray[np.floating]) -> None:
        """As :class:`mcnet.observables.observable.Collector`."""
        if name == self._letter and self._mask[layer : layer + 2].any():
            self._kept[layer] = rows

    def values(self) -> tuple[Values, ...]:
        """As :class:`mcnet.observables.observable.Collector`."""
        shape = (*next(iter(self._kept.values())).shape[:-1], self._mask.size)
        energy, overlap = np.full(shape, np.nan), np.full(shape, np.nan)
        alive, angle = np.zeros(shape, bool), np.zeros(shape, bool)
        with np.errstate(divide="ignore", invalid="ignore"):
            for layer in np.flatnonzero(self._mask):
                below = np.asarray(self._kept[int(layer) - 1], dtype=np.float64)
                branch = self._kept[int(layer)] - self._skip * below
                own, mixed, skip = (np.vecdot(a, b) for a, b in ((branch, branch), (branch, below), (below, below)))
                alive[..., layer], angle[..., layer] = skip > 0.0, own * skip > 0.0
                energy[..., layer] = np.where(skip > 0.0, own / (self._skip**2 * skip), np.nan)
                overlap[..., layer] = np.where(own * skip > 0.0, mixed / np.sqrt(own * skip), np.nan)
        return Values(energy, alive), Values(overlap, angle)


def _check(point: Point, options: Options) -> list[str]:
    if point.architecture != "residual":
        return [f'it is read off residual networks, not off "{point.architecture}"']
    letter, skip = stream(point)
    if skip == 0.0:
        return ["skip = 0: there is no skip to compare the branch with"]
    beyond = check_layers(point, options)
    if beyond or asked_layers(point, options, letter, 1).any():
        return beyond
    return ["layers: blocks are numbered from 1"]


def _variables(point: Point, options: Options) -> tuple[Variable, ...]:
    letter = "h" if point.architecture != "residual" else stream(point)[0]
    return tuple(with_rows(each, point, letter) for each in (_ENERGY, _OVERLAP))


OBSERVABLES = collecting("branch_energy", Branches, _variables, _check)
