"""Predictions for networks of any architecture: its program interpreted at infinite width."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures
from mcnet.architectures import Program
from mcnet.point import Point
from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.registry import Curve, Predictor, Unknown, curve, register
from mcnet.programs.names import INPUT
from mcnet.theory.program import Limit, limit

Floats = NDArray[np.float64]


def of_ensemble(ensemble: Ensemble, inputs: tuple[int, ...]) -> Limit:
    """The limit for some inputs alone; for all of them where the program mixes inputs."""
    if ensemble.program.count.mixes_inputs:
        inputs = tuple(range(ensemble.point.inputs.count))
    rows = ensemble.rows(inputs)
    gram = ensemble.gram[np.ix_(rows, rows)]
    if not np.isfinite(gram).all():
        raise Unknown("the Gram matrix of the inputs is unknown")
    return _limit(ensemble.point, architectures.of(ensemble.point), gram.tobytes(), len(rows))


@lru_cache(maxsize=64)
def _limit(point: Point, program: Program, gram: bytes, rows: int) -> Limit:
    parameters = {**program.parameters.mapping, "outputs": 1 if point.outputs else None}
    return limit(
        program.network,
        program.architecture.laws(program.parameters),
        np.frombuffer(gram).reshape(rows, rows),
        activation=point.activation,
        weights=point.weights,
        axes={name: size for name, size in program.axes.items() if name != INPUT},
        parameters=parameters,
    )


def _place(ensemble: Ensemble, inputs: tuple[int, ...]) -> list[int]:
    """Rows of the limit that the inputs are: their first ones."""
    per_input = len(ensemble.gram) // ensemble.point.inputs.count
    places = inputs if ensemble.program.count.mixes_inputs else range(len(inputs))
    return [a * per_input for a in places]


def _layers(ensemble: Ensemble, inputs: tuple[int, ...], letter: str, backward: bool = False) -> Floats:
    """Gram matrices of a seen vector on the rows of some inputs, (depth + 1, n, n); NaN where none is seen."""
    found, at = of_ensemble(ensemble, inputs), _place(ensemble, inputs)
    grams = np.full((ensemble.point.depth + 1, len(at), len(at)), np.nan)
    for layer in range(ensemble.point.depth + 1):
        if (letter, layer) in found.seen:
            gram = (found.backward if backward else found.gram)((letter, layer))
            if at[-1] < len(gram):  # else a vector of fewer rows
                grams[layer] = gram[np.ix_(at, at)]
    if np.isnan(grams).all():
        raise Unknown(f'the program sees no vector "{letter}" with rows of the inputs')
    return grams


def _why(ensemble: Ensemble) -> str:
    return f'no 1/M theory of the architecture "{ensemble.point.architecture}" at hand'


def _length(letter: str) -> Predictor:
    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        return curve(_layers(ensemble, inputs, letter)[:, 0, 0], why_not=_why(ensemble))

    return predictor


def _correlation(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    gram = _layers(ensemble, inputs, "u")
    with np.errstate(invalid="ignore", divide="ignore"):
        c = gram[:, 0, 1] / np.sqrt(gram[:, 0, 0] * gram[:, 1, 1])
    return curve(c, why_not=_why(ensemble))


def _gradient(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """|df/du|^2, a sum over the units."""
    if ensemble.point.output_normalization != "none":
        raise Unknown(f"there is no theory of gradients under normalization {ensemble.point.normalization}")
    q_tilde = _layers(ensemble, inputs, "u", backward=True)[:, 0, 0]
    return curve(np.concatenate([[np.nan], q_tilde[1:]]), why_not=_why(ensemble))


def _growth(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """Ratio of the limits."""
    q_tilde = _gradient(ensemble, inputs).limit
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = q_tilde[1:-1] / q_tilde[2:]
    return curve(np.concatenate([[np.nan, np.nan], ratio]), why_not=_why(ensemble))


def kernel(ensemble: Ensemble, inputs: tuple[int, ...]) -> Floats:
    """The tangent kernel of one output between some inputs; in ``standard`` over the width.

    There the term of the biases is of order 1/M and no part of the limit, as in :mod:`mcnet.predictions.dense`.
    """
    point = ensemble.point
    if not point.outputs:
        raise Unknown("without outputs there is no tangent kernel")
    if point.output_normalization != "none":
        raise Unknown(f"there is no theory of the kernel under normalization {point.normalization}")
    standard = point.parameterization == "standard"
    trained = point.train_biases and not standard
    theta = of_ensemble(ensemble, inputs).tangent_kernel(point.parameterization, trained)
    at = list(inputs) if ensemble.program.count.mixes_inputs else list(range(len(inputs)))
    if len(theta) < len(at) or (len(theta) != len(at) and not ensemble.program.count.mixes_inputs):
        raise Unknown("the outputs have rows beside the inputs")
    unit = float(point.width) if standard else 1.0
    return np.asarray(theta[np.ix_(at, at)] / unit)


def _kernel_entry(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    return curve(kernel(ensemble, tuple(dict.fromkeys(inputs)))[0, -1], why_not=_why(ensemble))


def _of_kernel(name: str) -> Predictor:
    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        point, t = ensemble.point, ensemble.point.inputs.count
        values = np.linalg.eigvalsh(kernel(ensemble, tuple(range(t))))
        outputs = point.outputs or 1
        if name == "ntk_lambda_min":
            return curve(values[0], why_not=_why(ensemble))
        found = {
            "fim_lambda_max": values[-1] / t,
            "fim_lambda_top": values[-1] / t,
            "fim_trace": outputs * values.sum() / t,
            "fim_trace2": outputs * (values**2).sum() / t**2,
            "learning_rate_bound": 2.0 * t / values[-1],
        }
        return curve(found[name], why_not=_why(ensemble))

    return predictor


for _name, _predictor in {
    "q": _length("u"),
    "q_hat": _length("h"),
    "c": _correlation,
    "q_tilde": _gradient,
    "chi": _growth,
    "ntk": _kernel_entry,
    **{
        name: _of_kernel(name)
        for name in (
            "ntk_lambda_min",
            "fim_lambda_max",
            "fim_lambda_top",
            "fim_trace",
            "fim_trace2",
            "learning_rate_bound",
        )
    },
}.items():
    register(_name, _predictor)
