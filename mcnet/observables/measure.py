"""The one door to sampling: networks start..stop of a point in, measured variables out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures
from mcnet.backend import Backend, one_thread
from mcnet.coordinates import DENSE
from mcnet.errors import McnetError
from mcnet.observables import costs, training_passes
from mcnet.observables.catalog import OBSERVABLES, require_shapes
from mcnet.observables.drawing import Drawing, Way, ways
from mcnet.observables.observable import Observable, Options, Values
from mcnet.observables.sample import Sample
from mcnet.observables.training import TRAINING, recipe_of
from mcnet.observables.training_passes import passes
from mcnet.point import Point
from mcnet.request import Request
from mcnet.training import costs as training_costs
from mcnet.variables import Measured, Variable
from mcnet.weights.laws import CONDITIONED_LAWS

SMALLEST_LENGTH = 1e-60
"""Squared lengths below this are lost to underflow in float32 soon after."""


class _Asked(NamedTuple):
    observable: Observable
    options: Options
    variables: tuple[Variable, ...]


def measure(point: Point, request: Request, start: int, stop: int, backend: Backend) -> list[Measured]:
    """Measure networks start..stop of a point.

    Parameters
    ----------
    point : Point
    request : Request
    start, stop : int
        Networks start, ..., stop - 1; network n is the same in every range.
    backend : Backend

    Returns
    -------
    list of Measured
        One per variable, in the order of the request; NumPy arrays with leading axis N = stop - start (1 if
        the variable is per shard).

    Raises
    ------
    McnetError
        If a number is not finite where it is defined; names the variable, the point and the networks.
    UsageError
        If the architecture of the point is not known.

    Notes
    -----
    The range is worked off in sub-batches that fit the memory (:mod:`mcnet.observables.costs`); every network's
    numbers are the same to the bit whatever the sub-batch.
    """
    architectures.lookup(point.architecture)
    asked = [
        _Asked(OBSERVABLES[name], options, OBSERVABLES[name].variables(point, options))
        for name, options in request.measures.items()
    ]
    parts: dict[str, list[NDArray[np.generic]]] = {}
    with one_thread(), np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below, with its name
        for some, first, last, seen in _seen(asked, point, request, start, stop, backend):
            for entry in some:
                for variable, part in _evaluated(entry, point, seen, last - first):
                    _check_finite(variable, part, point, request, first, last)
                    parts.setdefault(variable.name, []).append(part.values)
    return [
        Measured(variable, sum(pieces) if variable.per_shard else np.concatenate(pieces))
        for entry in asked
        for variable in entry.variables
        for pieces in [parts[variable.name]]
    ]


def _seen(
    asked: list[_Asked], point: Point, request: Request, start: int, stop: int, backend: Backend
) -> Iterator[tuple[list[_Asked], int, int, Any]]:
    """Sub-batches of networks as they are drawn, then of networks as they are trained, and who looks at them."""
    trained = [entry for entry in asked if TRAINING in entry.observable.needs]
    drawn = [entry for entry in asked if entry not in trained]
    if drawn:
        only = replace(_drawn(request) or request, sampler=resolve_sampler(point, request))
        for first, last, sample in _samples(point, only, start, stop, backend):
            _check_underflow(sample, point, only, first)
            yield drawn, first, last, sample
    if trained:
        for first, last, records in passes(point, request, resolve_sampler(point, request), start, stop, backend):
            yield trained, first, last, records


def _evaluated(asked: _Asked, point: Point, sample: Any, networks: int) -> list[tuple[Variable, Values]]:
    """The variables of an observable with their numbers; those of a plug-in are looked at first."""
    observable, options, variables = asked
    found = observable.evaluate(point, options, sample)
    if observable.collect is not None:
        require_shapes(observable, point, options, variables, found, networks)
    return list(zip(variables, found, strict=True))


def resolve_sampler(point: Point, request: Request) -> str:
    """The sampler of a point: ``conditioned`` or ``explicit``.

    ``auto`` takes the conditioned one where it is exact (Gaussian and orthogonal weights, nothing asked that needs
    the matrices) and where it costs less: where the questions are few beside the width.
    """
    architectures.lookup(point.architecture)
    if request.sampler != "auto":
        return request.sampler
    possible = all("conditioned" in OBSERVABLES[name].samplers for name in request.measures)
    if trains(point, request):
        recipe = recipe_of(point)
        return training_costs.sampler_of(point, recipe if possible else replace(recipe, method="built"))
    if not possible or not _laws(point) <= set(CONDITIONED_LAWS):
        return "explicit"
    return min(("conditioned", "explicit"), key=lambda sampler: _seconds(point, request, sampler))


def _laws(point: Point) -> set[str]:
    """Laws of all matrices of a network."""
    if point.architecture == DENSE:  # as its program says, without running it on shapes
        return {point.weights, point.readout} if point.outputs else {point.weights}
    program = architectures.of(point)
    return {program.laws.of(name).law for name in program.count.matrices}


class Estimates:
    """Samplers and costs of many points, each of a kind looked at once: a study has many points that cost the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[str, costs.Estimate]] = {}

    def __call__(self, point: Point, request: Request) -> tuple[str, costs.Estimate]:
        """:func:`resolve_sampler` and :func:`estimate`."""
        kind = (id(request), *costs.shape(point))
        found = self._known.get(kind)
        if found is None:
            found = self._known[kind] = resolve_sampler(point, request), estimate(point, request)
        return found


def estimate(point: Point, request: Request) -> costs.Estimate:
    """Rough costs of one network of a point, for the size of batches and for ``mcnet check``."""
    sampler = resolve_sampler(point, request)
    of_network, of_shard = costs.stored_bytes(point, request)
    needed, seconds = 0, 0.0
    if drawn := _drawn(request):
        needs, way = costs.needs_at(point, drawn), _first_way(point, drawn, sampler)
        needed = costs.working_bytes(point, needs, sampler, way.precision, way.fused)
        seconds = _seconds(point, drawn, sampler)
    if trains(point, request):
        needed = max(needed, training_passes.bytes_per_network(point, request, sampler))
        seconds += training_passes.seconds(point, request, sampler)
    return costs.Estimate(needed, of_network, seconds, of_shard)


def trains(point: Point, request: Request) -> bool:
    """Whether anything is asked of networks in training."""
    return point.train is not None and TRAINING in costs.needs_of(request)


def _drawn(request: Request) -> Request | None:
    """The part of a request that looks at networks as they are drawn; None where there is none."""
    measures = {name: each for name, each in request.measures.items() if TRAINING not in OBSERVABLES[name].needs}
    return replace(request, measures=measures) if measures else None


def _first_way(point: Point, request: Request, sampler: str) -> Way:
    return ways(point, request, costs.fused(point, costs.needs_at(point, request), sampler), sampler)[0]


def _seconds(point: Point, request: Request, sampler: str) -> float:
    fused = _first_way(point, request, sampler).fused
    return costs.seconds(point, costs.needs_at(point, request), sampler, fused)


def _samples(
    point: Point, request: Request, start: int, stop: int, backend: Backend
) -> Iterator[tuple[int, int, Sample]]:
    """Sub-batches of the range: first network, one past the last, what was seen."""
    drawing = Drawing(point, request, resolve_sampler(point, request), backend)
    size = drawing.sub_batch()
    first = start
    while first < stop:
        last = min(first + size, stop)
        try:
            for piece in drawing.pieces(first, last):
                yield piece
                first = piece[1]
        except backend.exhausted as error:
            size = (last - first) // 2
            if not size:
                raise McnetError(
                    f"one network does not fit the memory of {backend.device} at {_name(point)}"
                ) from error


def _check_finite(variable: Variable, part: Values, point: Point, request: Request, first: int, last: int) -> None:
    bad = part.defined & ~np.isfinite(part.values)
    if not np.any(bad):
        return
    where = ""
    if "layer" in variable.dims:
        layers = np.flatnonzero(np.any(bad, axis=tuple(range(bad.ndim - 1))))
        where = f" from layer {layers[0]} on" if layers.size > 1 else f" at layer {layers[0]}"
    if variable.per_shard:
        networks = f"networks {first} to {last - 1}"
    else:
        numbers = first + np.flatnonzero(np.any(bad.reshape(bad.shape[0], -1), axis=1))
        networks = f"{numbers.size} of the networks {first} to {last - 1}, the first is {numbers[0]}"
    remedies = ["a smaller depth, or sigma_w2 nearer to its critical value"]
    if "order" in variable.dims:
        remedies.append("fewer moments")
    if request.precision == "mixed":
        remedies.append('precision = "float64"')
    raise McnetError(
        f"{variable.name} is not finite{where} at {_name(point)} ({networks}): it, or what it is made of, leaves the "
        f"range of {'float32' if request.precision == 'mixed' else 'a double'}. Take {', or '.join(remedies)}"
    )


def _check_underflow(sample: Sample, point: Point, request: Request, first: int) -> None:
    if _first_way(point, request, resolve_sampler(point, request)).precision != "mixed":
        return
    lengths = np.diagonal(sample.h_gram, axis1=-2, axis2=-1)[..., :1]  # (N, depth + 1, [P,] 1)
    tiny = (lengths > 0.0) & (lengths < SMALLEST_LENGTH)
    if np.any(tiny):
        network, layer, *rest = np.argwhere(tiny)[0]
        raise McnetError(
            f"q_hat falls to {lengths[network, layer, *rest]:.0e} at layer {layer} of {_name(point)} (network "
            f'{first + network}), beyond what float32 holds; use precision = "float64" or a smaller depth'
        )


def _name(point: Point) -> str:
    """The point in words."""
    return (
        f"width {point.width}, depth {point.depth}, {point.activation.label}, {point.weights} weights, "
        f"sigma_w2 {point.sigma_w2:g}, sigma_b2 {point.sigma_b2:g}"
    )
