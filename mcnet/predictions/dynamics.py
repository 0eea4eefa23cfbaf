"""Predictions for overlaps of a network with itself at two layers, and for the growth of small changes: limits.

With one matrix for all steps these are the autocorrelations of dynamical mean-field theory; where every layer has a
matrix of its own the overlaps of answers of different matrices vanish.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures
from mcnet.point import Point
from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.jacobian import gated_steps
from mcnet.predictions.programs import WIDTH, first_rows, theory_of
from mcnet.predictions.registry import Curve, Predictor, Unknown, curve, register
from mcnet.theory.program import Population, limit

GATED = ("minimal-rnn", "gru")
WHY_NO_TERMS = "overlaps between layers have no 1/M theory"


TIMES = tuple(2**k for k in range(8))
"""Layers t whose overlaps C(t, s) with all others are predicted, and analysed, where all were measured."""


def with_layer(letter: str, time: int | None = None) -> Predictor:
    """a^t . a^l / M of the layers l = 0..L; t the depth L by default."""

    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        found, at, depth = theory_of(ensemble, inputs).limit, first_rows(ensemble, inputs)[0], ensemble.point.depth
        if found is None:
            raise Unknown("overlaps between layers are those of the limit, which this program does not have")
        fixed = (letter, depth if time is None else time)
        if fixed not in found.seen:
            raise Unknown(f"layer {fixed[1]} is not seen")
        limits, errors = np.full((2, depth + 1), np.nan)
        shape = found.gram(fixed).shape
        for layer in range(depth + 1):
            name = (letter, layer)
            if name in found.seen and found.gram(name).shape == shape:
                limits[layer] = found.gram(fixed, name)[at, at]
                errors[layer] = found.error(fixed, other=name)[at, at]
        sampled = bool(np.nanmax(errors) > 0.0)
        nothing = np.zeros_like(errors)
        return curve(limits, why_not=WHY_NO_TERMS)._replace(errors=(errors, nothing, nothing) if sampled else None)

    return predictor


def lyapunov(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """(1/l) ln(|dh^l/dx|/|v|) for a random direction v: (1/2l) ln of the mean square of the singular values.

    At infinite width all of finitely many directions grow alike, at fixed l. Of each l the program is interpreted with
    so many steps, a probe at its h^l; untied gated networks have the product of the first moments of their steps.
    """
    point, program = ensemble.point, ensemble.program
    if program.rows > 1 or program.count.mixes_inputs:
        raise Unknown("the growth of changes is predicted for networks of one row for each input")
    if point.inputs.dimension != point.width:
        raise Unknown("the growth of changes is predicted for inputs.dimension = width")
    limits = np.full(point.depth + 1, np.nan)
    if point.architecture in GATED:
        limits[1:] = _through_gates(ensemble)
        return curve(limits, why_not="Lyapunov exponents have no 1/M theory")
    for steps in range(1, point.depth + 1):
        square = _mean_square(point, ensemble.gram[:1, :1].tobytes(), steps)
        limits[steps] = 0.5 * np.log(square) / steps if square > 0.0 else np.nan
    return curve(limits, why_not="Lyapunov exponents have no 1/M theory")


def _through_gates(ensemble: Ensemble) -> NDArray[np.float64]:
    """Of the steps 1..depth: with new matrices at every step mean squares multiply."""
    try:
        steps = gated_steps(ensemble)
    except Unknown as error:
        raise Unknown(f"the growth of changes through these gates is only measured: {error}") from error
    logs = np.cumsum(np.log([each.mean for each in steps]))
    return np.asarray(0.5 * logs / np.arange(1, len(steps) + 1))


@lru_cache(maxsize=1024)
def _mean_square(point: Point, gram: bytes, steps: int) -> float:
    """|dh^steps/dx|^2 over the units."""
    program = architectures.of(point)

    def network(w: Any, x: Any, p: Any) -> Any:
        w.see("start", 0, x)
        return program.network(w, x, p)

    found = limit(
        network,
        program.architecture.laws(program.parameters),
        np.frombuffer(gram).reshape(1, 1),
        activation=point.activation,
        weights=point.weights,
        parameters={**program.parameters.mapping, "depth": steps, "outputs": None, "width": WIDTH},
    )
    if isinstance(found, Population):
        raise Unknown("the growth of changes through gates has no theory here: it is only measured")
    return float(found.backward(("start", 0))[0, 0])


for _name in ("lyapunov", *(f"lyapunov_{number}" for number in range(2, 5))):
    register(_name, lyapunov)
register("autocorrelation", with_layer("u"))
register("autocorrelation_hat", with_layer("h"))
for _time in TIMES:
    register(f"two_time_{_time}", with_layer("u", _time))
    register(f"two_time_hat_{_time}", with_layer("h", _time))
