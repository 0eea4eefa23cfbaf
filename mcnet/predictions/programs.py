"""Predictions for networks of any architecture: their program interpreted at infinite width, and to first order in 1/M.

In the ``standard`` parametrisation the tangent kernel is that of Theta/M, as in :mod:`mcnet.predictions.dense`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures
from mcnet.architectures import Program
from mcnet.point import Point
from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.registry import Curve, Predictor, Unknown, curve, register
from mcnet.programs.counted import Counted
from mcnet.programs.names import INPUT, ProgramError
from mcnet.programs.parameters import Parameters, called
from mcnet.theory.program import Expansion, Limit, Population, expansion, limit

Floats = NDArray[np.float64]
Parts = tuple[Floats, Floats, Floats, tuple[Floats, Floats, Floats] | None]
"""Limit, a1, v1 and their standard errors where theory was sampled."""

EXPANDED = ("gaussian", "orthogonal", "delta-orthogonal")
"""Laws of weights whose 1/M terms are known."""

ACCURACY = 0.02
"""Asked of the coefficients of 1/M where sites are sampled."""

MEETING = 1e-9
"""Relative distance below which two eigenvalues are one."""

NO_TERMS = "no 1/M theory of functions of the whole kernel of this architecture"
MEETS = "meets other eigenvalues in the limit and leaves them by a relative M^(-1/2): no expansion in 1/M"
SPLITS = f"of several outputs it {MEETS}; the mean of the C largest, fim_lambda_top, does not"
NOT_ASKED = "terms of 1/M are not asked for"

WIDTH = 2**20
"""Width at which a program that does not read its width is interpreted: the same for all points of a family."""


@dataclass(frozen=True, eq=False)
class Theory:
    """What is known of a program for some inputs.

    Attributes
    ----------
    limit : Limit, Population or None
        None where it needs the sites of the expansion.
    expansion : Expansion or None
    why_not : str
        Why there is no expansion.
    """

    limit: Limit | Population | None
    expansion: Expansion | None
    why_not: str


def theory_of(ensemble: Ensemble, inputs: tuple[int, ...]) -> Theory:
    """For some inputs alone; for all of them where the program mixes inputs."""
    if ensemble.program.count.mixes_inputs:
        inputs = tuple(range(ensemble.point.inputs.count))
    rows = ensemble.rows(inputs)
    gram = ensemble.gram[np.ix_(rows, rows)]
    if not np.isfinite(gram).all():
        raise Unknown("the Gram matrix of the inputs is unknown")
    point = ensemble.point
    if not _reads_width(point, architectures.of(point)) and point.inputs.dimension == point.width:
        point = replace(point, width=WIDTH, inputs=replace(point.inputs, dimension=WIDTH))
    return _theory(point, architectures.of(point), gram.tobytes(), len(rows), _why_no_expansion(point, ensemble))


def interpreted(point: Point, program: Program, gram: Floats) -> tuple[tuple[Any, Any, Floats], dict[str, Any]]:
    """Arguments and keys with which the theory of programs is called for a point."""
    how: dict[str, Any] = {
        "activation": point.activation,
        "weights": point.weights,
        "axes": {name: size for name, size in program.axes.items() if name != INPUT},
        "parameters": {**program.parameters.mapping, "outputs": 1 if point.outputs else None},
    }
    return (program.network, program.architecture.laws(program.parameters), gram), how


@lru_cache(maxsize=64)
def _theory(point: Point, program: Program, gram: bytes, rows: int, reason: str) -> Theory:
    given, how = interpreted(point, program, np.frombuffer(gram).reshape(rows, rows))
    found, why = None, ""
    try:
        found = limit(*given, **how)
    except ProgramError as error:
        why = str(error)
    if not reason or (found is None and reason == NOT_ASKED):  # some have a limit by their sites alone
        try:
            made = expansion(*given, **how, accuracy=ACCURACY)
            if point.inputs.fresh or not made.needs_fresh_inputs:
                return Theory(found, made, "")
            reason = FIXED
        except ProgramError as error:
            reason = str(error)
    if found is None:
        raise Unknown(why)
    return Theory(found, None, reason)


def _why_no_expansion(point: Point, ensemble: Ensemble) -> str:
    if ensemble.limits_only:
        return NOT_ASKED
    if point.weights not in EXPANDED:
        return f"no 1/M theory for {point.weights} weights"
    if point.outputs and point.readout != "gaussian":
        return f'no 1/M theory with readout = "{point.readout}"'
    if ensemble.fluctuating:
        return "no 1/M theory of this architecture for inputs drawn anew in every network"
    if point.inputs.dimension != point.width:
        return "the 1/M theory of programs is for inputs.dimension = width"
    return ""


class _Noting(Parameters):
    """Parameters that note which of them are read."""

    def __getattr__(self, name: str) -> Any:
        if name == "width":
            raise _Read
        return super().__getattr__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a parameter."""
        if name == "width":
            raise _Read
        return super().get(name, default)


class _Read(Exception):
    """The width was read."""


@lru_cache(maxsize=256)
def _reads_width(point: Point, program: Program) -> bool:
    """Whether anything of a program depends on the number of its units as such."""
    wide = architectures.of(replace(point, width=WIDTH)).parameters.mapping
    if {**program.parameters.mapping, "width": 0} != {**wide, "width": 0}:
        return True
    noting = _Noting(program.parameters.mapping)
    try:
        program.architecture.laws(noting)
        w = Counted(noting, point.width)
        called(program.network, w, w.input(program.axes, program.dimension), noting)
    except (_Read, ProgramError):
        return True
    return False


def _layers(
    ensemble: Ensemble, inputs: tuple[int, ...], letter: str, family: Callable[[Expansion], Any], plain: Any
) -> tuple[Parts, str]:
    """An entry of Gram matrices, (depth + 1,): of the first input, or of the pair; NaN where none is seen."""
    found, at = theory_of(ensemble, inputs), first_rows(ensemble, inputs)
    depth = ensemble.point.depth
    parts = np.full((6, depth + 1), np.nan)
    known, why = found.limit or found.expansion, found.why_not
    assert known is not None
    for layer in range(depth + 1):
        name = (letter, layer)
        if name not in known.seen:
            continue
        values, reason = _statistics(found, family, plain, name)
        why = why or reason
        if at[-1] < len(values[0]):  # else a vector of fewer rows
            parts[:, layer] = [value[at[0], at[-1]] for value in values]
    if np.isnan(parts[0]).all():
        raise Unknown(f'the program sees no vector "{letter}" with rows of the inputs')
    limits, a1, v1, *errors = parts
    sampled = bool(np.nanmax(errors, initial=0.0) > 0.0)
    return (limits, a1, v1, (errors[0], errors[1], errors[2]) if sampled else None), why


def _statistics(found: Theory, family: Callable[[Expansion], Any], plain: Any, name: Any) -> tuple[list[Floats], str]:
    """Limit, a1, v1 and their errors of a Gram matrix; NaN, and why, where only the limit is known."""
    reason = ""
    if found.expansion is not None:
        of = family(found.expansion)
        try:
            parts = [of.limit(name), of.mean(name), of.variance(name)]
            return [*parts, *(of.error(name, part) for part in ("limit", "mean", "variance"))], ""
        except (ProgramError, ValueError) as error:
            if found.limit is None:
                raise
            reason = f"{_NO_TERMS}: {error}"
    at, spread = plain(found.limit, name)
    return [at, *[np.full_like(at, np.nan)] * 2, spread, *[np.zeros_like(at)] * 2], reason


FIXED = (
    "the input itself is added to vectors whose mean over the units is not zero, so 1/M terms depend on the direction "
    "of fixed inputs; with inputs.fresh = true they are known"
)

_NO_TERMS = "the expansion of this program has no 1/M terms here"


def first_rows(ensemble: Ensemble, inputs: tuple[int, ...]) -> list[int]:
    """Rows that the inputs are: their first ones."""
    per_input = len(ensemble.gram) // ensemble.point.inputs.count
    places = inputs if ensemble.program.count.mixes_inputs else range(len(inputs))
    return [a * per_input for a in places]


def _curve(found: tuple[Parts, str]) -> Curve:
    (limits, a1, v1, errors), why = found
    return curve(limits, a1, v1, why_not=why)._replace(errors=errors)


def _gram(found: Limit | Population, name: Any) -> tuple[Floats, Floats]:
    return found.gram(name), found.error(name)


def _length(letter: str) -> Predictor:
    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        return _curve(_layers(ensemble, inputs, letter, lambda found: found, _gram))

    return predictor


def _correlation(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    def cosines(found: Limit | Population, name: Any) -> tuple[Floats, Floats]:
        gram, error = _gram(found, name)
        size = np.sqrt(np.diagonal(gram))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(gram / np.outer(size, size)), np.asarray(error / np.outer(size, size))

    return _curve(_layers(ensemble, inputs, "u", lambda found: found.correlation, cosines))


def _gradient(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """|df/du|^2, a sum over the units; of several outputs their mean, whose variance needs all of them."""
    point = ensemble.point
    if point.output_normalization != "none":
        raise Unknown(f"there is no theory of gradients under normalization {point.normalization}")

    def cotangents(found: Limit | Population, name: Any) -> tuple[Floats, Floats]:
        return found.backward(name), found.error(name, backward=True)

    found = _curve(_layers(ensemble, inputs, "u", lambda found: found.backward, cotangents))
    parts = [np.concatenate([[np.nan], part[1:]]) for part in found[:3]]
    if point.outputs is None:
        parts[1:] = [np.full_like(parts[0], np.nan)] * 2
    if (point.outputs or 1) > 1:
        parts[2] = np.full_like(parts[0], np.nan)
    return found._replace(limit=parts[0], a1=parts[1], v1=parts[2])


def _growth(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """Ratio of the limits."""
    q_tilde = _gradient(ensemble, inputs).limit
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = q_tilde[1:-1] / q_tilde[2:]
    return curve(np.concatenate([[np.nan, np.nan], ratio]), why_not="the mean of ratios has no 1/M theory")


def kernel(ensemble: Ensemble, inputs: tuple[int, ...]) -> tuple[list[Floats], str]:
    """Limit, a1, v1 and errors of the tangent kernel of one output between some inputs, and why a part is missing.

    In ``standard`` the term of the biases is of order 1/M and no part of the limit.
    """
    point = ensemble.point
    if not point.outputs:
        raise Unknown("without outputs there is no tangent kernel")
    if point.output_normalization != "none":
        raise Unknown(f"there is no theory of the kernel under normalization {point.normalization}")
    found = theory_of(ensemble, inputs)
    parts, why = None, found.why_not
    if found.expansion is not None:
        try:
            known = found.expansion.tangent_kernel(point.parameterization, point.train_biases)
            errors = (known.limit_error, known.mean_error, known.variance_error)
            parts = [known.limit, known.mean, known.variance, *errors]
        except (ProgramError, ValueError) as error:
            if found.limit is None:
                raise
            why = f"{_NO_TERMS}: {error}"
    if parts is None:
        parts = _limit_of_kernel(found, ensemble)
    at = list(inputs) if ensemble.program.count.mixes_inputs else list(range(len(inputs)))
    if len(parts[0]) < len(at) or (len(parts[0]) != len(at) and not ensemble.program.count.mixes_inputs):
        raise Unknown("the outputs have rows beside the inputs")
    return [np.asarray(part[np.ix_(at, at)]) for part in parts], why


def _limit_of_kernel(found: Theory, ensemble: Ensemble) -> list[Floats]:
    """The limit alone, in ``standard`` over the width at which the program was interpreted."""
    point = ensemble.point
    standard = point.parameterization == "standard"
    assert found.limit is not None
    how = (point.parameterization, point.train_biases and not standard)
    theta, error = found.limit.tangent_kernel(*how), found.limit.tangent_kernel_error(*how)
    if standard:
        reads = _reads_width(point, ensemble.program) or point.inputs.dimension != point.width
        unit = point.width if reads else WIDTH
        theta, error = theta / unit, error / unit
    return [theta, *[np.full_like(theta, np.nan)] * 2, error, *[np.zeros_like(theta)] * 2]


def _kernel_entry(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    parts, why = kernel(ensemble, tuple(dict.fromkeys(inputs)))
    values = [np.array([part[0, -1]]) for part in parts]
    errors = (values[3], values[4], values[5]) if max(float(error[0]) for error in values[3:]) > 0.0 else None
    return curve(*values[:3], why_not=why)._replace(errors=errors)


def _of_kernel(name: str) -> Predictor:
    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        point, t = ensemble.point, ensemble.point.inputs.count
        outputs = point.outputs or 1
        if outputs > 1 and name in ("fim_lambda_max", "learning_rate_bound", "ntk_lambda_min"):
            raise Unknown(SPLITS)
        (theta, *_), _ = kernel(ensemble, tuple(range(t)))
        values = np.linalg.eigvalsh(theta)
        if name in ("fim_trace", "fim_trace2"):
            power = 1 if name == "fim_trace" else 2
            return curve(outputs * np.sum((values / t) ** power), why_not=NO_TERMS)
        value, *others = values if name == "ntk_lambda_min" else values[::-1]
        gap = abs(float(value - others[0])) if others else math.inf
        if gap <= MEETING * float(np.abs(values).max()):
            raise Unknown(f"it {MEETS}")
        unit = 1.0 if name == "ntk_lambda_min" else 1.0 / t
        if name == "learning_rate_bound":
            bound = 2.0 * t / float(value)
            return curve(bound, why_not=NO_TERMS)._replace(room=bound * gap / float(value))
        return curve(unit * value, why_not=NO_TERMS)._replace(room=unit * gap)

    return predictor


SPECTRAL = ("ntk_lambda_min", "fim_lambda_max", "fim_lambda_top", "fim_trace", "fim_trace2", "learning_rate_bound")
"""Functions of the kernel of all inputs."""

for _name, _predictor in {
    "q": _length("u"),
    "q_hat": _length("h"),
    "c": _correlation,
    "q_tilde": _gradient,
    "chi": _growth,
    "ntk": _kernel_entry,
    **{name: _of_kernel(name) for name in SPECTRAL},
}.items():
    register(_name, _predictor)
