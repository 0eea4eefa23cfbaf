"""Networks of a point, drawn so that every length that is stored is right.

Between inputs of comparable lengths the difference basis and float32 lose nothing that matters. An input much shorter
than input 0 loses its digits there: of its squared length about 5e-7 times the ratio of the two where Gram matrices are
sums of float32 products (the fused kernels), 1e-7 times the root of the ratio where only the vectors are float32, and
1e-16 times the ratio in float64. So does an activation that is much shorter than its pre-activation, such as a layer of
a narrow relu network whose only live unit is almost dead. Networks in which that happens are drawn again the next way:
in float64, then with every input in a row of its own. They are the same networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures
from mcnet.backend import Backend
from mcnet.errors import McnetError
from mcnet.kernels.basis import DIFFERENCES, INPUTS, Basis
from mcnet.kernels.reference import NARROW
from mcnet.networks import inputs
from mcnet.observables import costs, programs
from mcnet.observables.catalog import OBSERVABLES
from mcnet.observables.sample import Sample, chain, draw, ensemble_of, tangent_chain
from mcnet.point import Point
from mcnet.request import Request

LENGTHS = frozenset({"q", "c"})
"""Measures for which the lengths of all layers must be right, to 1e-5; for others those of the inputs."""
SHARE = 8
"""Questions of an asked matrix that is asked again and again, in units, from which on a program is drawn in float64."""
BLOCK = 16
"""Networks that a fused kernel draws at once."""


class Way(NamedTuple):
    """A way to draw networks, and how far it can be trusted.

    Attributes
    ----------
    fused : bool
        Whether by a fused kernel.
    precision : str
    basis : Basis
    ratio : float
        An input whose squared length is smaller than that of input 0 by more than this is not right.
    shrinking : float
        Nor is an activation whose squared length is smaller than that of its pre-activation, or of input 0's, by more
        than this.
    """

    fused: bool
    precision: str
    basis: Basis
    ratio: float
    shrinking: float


_SINGLE = {
    True: Way(True, "mixed", DIFFERENCES, 2.0**3, 2.0**12),
    False: Way(False, "mixed", DIFFERENCES, 2.0**6, 2.0**10),
}
_DOUBLE = {fused: Way(fused, "float64", DIFFERENCES, 2.0**30, 2.0**60) for fused in (True, False)}
_SAFE = Way(False, "float64", INPUTS, math.inf, math.inf)


def ways(point: Point, request: Request, fused: bool, sampler: str) -> tuple[Way, ...]:
    """The ways in which a point may be drawn, the first one first; what follows is for networks that it loses.

    Lengths of narrow networks hang on single units: these are drawn in float64. So are asked networks
    whose program asks a matrix again and again, or needs cotangents of attention. Programs know differences alone.
    """
    narrow = (_lengths_asked(request) and point.width < NARROW) or (
        sampler == "conditioned" and _delicate(point, costs.needs_at(point, request))
    )
    single = request.precision == "mixed" and not narrow
    dense = not point.is_program
    found = [_SINGLE[fused]] if single else []
    found += [_DOUBLE[fused]] if fused or not single or not dense else []
    found += [_SAFE] if dense else []
    spread = inputs.spread(point.inputs)
    return tuple(way for way in found if spread < way.ratio) or (found[-1],)


def _delicate(point: Point, needs: Set[str]) -> bool:
    """Whether float32 loses what questions of an asked matrix differ in.

    Questions of a shared matrix may take so much of its space that little of the last ones is new; cotangents of
    attention differ little from token to token, and less from block to block.
    """
    if not point.is_program:
        return False
    count = architectures.of(point).count
    if needs - {"signal", "vectors"} and any(v.made_by == "attention" for v in count.vectors):
        return True
    matrices = count.matrices.values()
    return any(m.asks > 1 and m.forward * SHARE > min(m.asked.units, m.asked.columns) for m in matrices)


def _lengths_asked(request: Request) -> bool:
    return bool(LENGTHS & set(request.measures))


class Drawing:
    """Draws networks of a point.

    Parameters
    ----------
    point : Point
    request : Request
    sampler : str
        ``conditioned`` or ``explicit``.
    backend : Backend

    Raises
    ------
    McnetError
        While drawing, if the length of an input is lost and there is no other way to draw the network.
    """

    def __init__(self, point: Point, request: Request, sampler: str, backend: Backend) -> None:
        self._point, self._request, self._sampler, self._backend = point, request, sampler, backend
        self._needs = costs.needs_at(point, request)
        self._lengths = _lengths_asked(request)
        backward = point.inputs.count <= backend.tangent_inputs
        self._ways = ways(point, request, costs.fused(point, self._needs, sampler, backward), sampler)

    def sub_batch(self) -> int:
        """Networks that fit the memory."""
        return self._sub_batch(self._ways[0])

    def pieces(self, first: int, last: int) -> Iterator[tuple[int, int, Sample]]:
        """Networks first..last in pieces: first network, one past the last, what was seen."""
        return self._pieces(first, last, 0)

    def _pieces(self, first: int, last: int, number: int) -> Iterator[tuple[int, int, Sample]]:
        way = self._ways[number]
        sample = self._sample(first, last, way)
        lost = self._lost(sample, way)
        if not lost.any():
            yield first, last, sample
        elif way is self._ways[-1]:
            raise McnetError(
                f"network {first + int(np.argmax(lost))} of width {self._point.width}, depth {self._point.depth}: the "
                "length of an input falls below what can be told beside input 0. Put the shortest input first, or take "
                "inputs of comparable lengths"
            )
        elif way.fused:
            yield first, last, self._mended(first, sample, lost, number)
        else:
            for again, members in groupby(enumerate(lost), key=lambda entry: entry[1]):
                places = [place for place, _ in members]
                step = self._sub_batch(self._ways[number + 1]) if again else len(places)
                for place in range(places[0], places[-1] + 1, step):
                    stop = min(place + step, places[-1] + 1)
                    yield from self._pieces(first + place, first + stop, number + 1 if again else number)

    def _mended(self, first: int, sample: Sample, lost: NDArray[np.bool_], number: int) -> Sample:
        """Networks that a fused kernel lost, drawn again in their place."""
        for way in self._ways[number + 1 :]:
            still = np.zeros_like(lost)
            others: dict[int, tuple[Sample, int]] = {}
            for place in range(0, lost.size, BLOCK):
                block = slice(place, min(place + BLOCK, lost.size))
                if lost[block].any():
                    other = self._sample(first + place, first + block.stop, way)
                    still[block] = lost[block] & self._lost(other, way)
                    others |= {place + i: (other, i) for i in np.flatnonzero(lost[block]).tolist()}
            sample, lost = sample.merged(others), still
        return sample

    def _sample(self, first: int, last: int, way: Way) -> Sample:
        point, seed = self._point, self._request.seed
        ensemble = ensemble_of(point, seed, first, last, way.precision, self._backend, way.basis)
        if way.fused and costs.has_backward(self._needs):
            return tangent_chain(point, seed, ensemble, self._needs)
        if way.fused:
            return chain(point, seed, ensemble)
        keep = costs.keeps_matrices(point, way.precision)
        one = programs.draw if point.is_program else draw
        collected = {
            name: OBSERVABLES[name].collector(point, options)
            for name, options in self._request.measures.items()
            if OBSERVABLES[name].collect is not None
        }
        return one(point, seed, self._sampler, self._needs, ensemble, keep, collected)

    def _lost(self, sample: Sample, way: Way) -> NDArray[np.bool_]:
        """Networks with lengths that are not right, (N,)."""
        if not way.basis.differences or (way.fused and self._point.inputs.count == 1):
            return np.zeros(len(sample.u_gram), bool)
        h = _lengths(sample.h_overlaps())
        if not self._lengths:
            return _any(_below(h[:, :1], h[:, :1, ..., :1], way.ratio))
        u = _lengths(sample.u_overlaps())
        short = _any(_below(u, u[..., :1], way.ratio)) | _any(_below(h, h[..., :1], way.ratio))
        u = u[:, -self._point.depth :]
        if u.shape != h[:, 1:].shape:  # of other rows: there is nothing to compare
            return short
        return short | _any(_below(h[:, 1:], np.maximum(u, u[..., :1]), way.shrinking))

    def _sub_batch(self, way: Way) -> int:
        cached, memory = self._backend.name == "cpu", self._backend.memory()
        return costs.sub_batch(self._point, self._needs, self._sampler, way.precision, memory, cached, way.fused)


def _lengths(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Diagonals, (N, layers, [P,] T)."""
    return np.diagonal(gram, axis1=-2, axis2=-1)


def _below(lengths: NDArray[np.float64], scale: NDArray[np.float64], ratio: float) -> NDArray[np.bool_]:
    """Squared lengths that are not zero and smaller than the scale by more than the ratio."""
    return np.asarray((lengths != 0.0) & (lengths * ratio < scale))


def _any(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(np.any(found.reshape(len(found), -1), axis=1))
