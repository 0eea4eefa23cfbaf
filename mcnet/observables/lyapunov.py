"""Finite-time Lyapunov exponents: how fast small changes of the input grow, step by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.observable import Observable, Options, Values, asked_layers, layer_sizes, whole_number
from mcnet.point import Point
from mcnet.programs.trace import Trace
from mcnet.variables import Variable

EXPONENTS = 1
MOST = 1000

_VARIABLE = Variable(
    name="lyapunov",
    group="dynamics",
    dims=("exponent", "layer"),
    long_name="finite-time Lyapunov exponents from the input to a layer, the largest first",
    symbol="lambda_k^l",
    definition="(1/l) ln R_kk of the QR decomposition of (dh^l/dx) V at input 0, with V random orthonormal columns; "
    "NaN at layer 0 and where no change of the input is left",
    normalisation="per layer (step), natural logarithm",
    reference="Benettin et al. 1980, Meccanica 15, 9; Engelken, Wolf, Abbott 2023, Phys. Rev. Research 5, 043044",
)


class Exponents:
    """The exponents of the networks of a run.

    Parameters
    ----------
    point : Point
    options : mapping
    """

    def __init__(self, point: Point, options: Options) -> None:
        self._count = options.get("exponents", EXPONENTS)
        self._mask = asked_layers(point, options, "h", 1)
        self._logs = np.empty((0, self._count, self._mask.size))

    def see(self, name: str, layer: int, rows: NDArray[np.floating]) -> None:
        """Nothing of single vectors."""

    def read(self, trace: Trace) -> None:
        """As :class:`mcnet.observables.observable.TraceReader`."""
        found = np.asarray(trace.ensemble.backend.fetch(trace.stretches(self._count)))
        count = trace.ensemble.count
        with np.errstate(divide="ignore"):
            logs = np.cumsum(np.log(np.broadcast_to(found, (count, *found.shape[1:]))), axis=-1)
        self._logs = np.full((count, self._count, self._mask.size), np.nan)
        self._logs[..., 1:] = logs / np.arange(1, self._mask.size)

    def values(self) -> tuple[Values, ...]:
        """As :class:`mcnet.observables.observable.Collector`."""
        there = np.isfinite(self._logs)
        return (Values(np.where(there, self._logs, np.nan), there & self._mask),)


def _check(point: Point, options: Options) -> list[str]:
    if not point.is_program:
        return [
            'it follows changes through a program, not through "dense"; "recurrent", tied = false, is the same network'
        ]
    if point.normalization == "hidden-batch":
        return ["it follows the changes of one input, and batch normalisation mixes the inputs"]
    count, most = options.get("exponents", EXPONENTS), min(point.width, point.inputs.dimension)
    return [f"exponents = {count}: there are at most {most}"] if count > most else []


OBSERVABLES = {
    "lyapunov": Observable(
        name="lyapunov",
        options={"exponents": whole_number(f"how many of the exponents, by default {EXPONENTS}", MOST)},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "trace"}),
        variables=lambda point, options: (_VARIABLE,),
        check=_check,
        evaluate=lambda point, options, sample: sample.collected["lyapunov"].values(),
        sizes=lambda point, options: {**layer_sizes(point, options), "exponent": options.get("exponents", EXPONENTS)},
        collect=Exponents,
    ),
}
