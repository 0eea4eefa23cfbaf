"""Singular values of the Jacobian of every layer, block or step: their moments, themselves or counted, the largest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcnet.observables import histogram, program_blocks
from mcnet.observables.jacobian import BINS, RANGE, edges
from mcnet.observables.observable import Observable, Options, Values, choice, whole_number
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

MOMENTS = 2
MOST_MOMENTS = 20

_J = "J_l = dh^l/dh^(l-1)"
_MOMENTS = Variable(
    name="block_jacobian_moment",
    group="block_jacobian",
    dims=("order", "layer"),
    long_name="moments of the spectrum of J_l J_l^T of each block",
    symbol="mu_k^l",
    definition=f"(1/n) tr (J_l J_l^T)^k, k = 1, 2, ...; {_J}; NaN at layer 0",
    normalisation="mean over all eigenvalues of J_l J_l^T, one for each row of an input and unit, zero ones included",
    reference="Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735; Tarnowski et al. 2019, arXiv:1809.08848",
)
_VALUES = replace(
    _MOMENTS,
    name="block_jacobian_sv",
    dims=("rank", "layer"),
    long_name="singular values of the Jacobian of each block",
    symbol="s_i(J_l)",
    definition=f"the largest first, as many as J_l has rows or columns; {_J}; NaN at layer 0. Below 1e-6 of the "
    "largest they are rounding in precision mixed, below 1e-14 in float64",
    normalisation="none: s_i themselves, not s_i^2",
)
_LARGEST = replace(
    _MOMENTS,
    name="block_jacobian_lambda_max",
    dims=("layer",),
    long_name="largest eigenvalue of J_l J_l^T of each block",
    symbol="lambda_max(J_l J_l^T)",
    definition=f"the square of the largest singular value; {_J}; NaN at layer 0",
    normalisation="none. By Lanczos steps to a relative 1e-3, or from all singular values where these are measured too",
)


def _counts(options: Options) -> Variable:
    return replace(
        _MOMENTS,
        name="block_jacobian_count",
        dims=("layer", "bin"),
        long_name="histogram of the singular values of the Jacobian of each block",
        symbol="n^l(s)",
        definition=f"networks and ranks counted together, one record per shard; {_J}; nothing at layer 0",
        normalisation=histogram.entries(edges(options), "equal"),
        dtype="int64",
        per_shard=True,
    )


def _of(point: Point, variable: Variable) -> Variable:
    """A variable as it is defined for the architecture of a point."""
    if not point.is_program:
        what = "J_l = D_l W_l of the hidden layers at input 0, D_l = diag phi'(u^l)"
    else:
        found = program_blocks.of(point)
        letter = found.letter
        what = f"J_l = d{letter}^l/d{letter}^(l-1) at input 0, positions or tokens side by side"
        if letter == "u":
            what += ", u^l the stream or state that h^l is read off"
            what += ", d/dh^0 at layer 1" if found.steps.get(1, ((), ()))[0] == ("h", 0) else ""
        if not found.whole:
            what += ", with all that passes h^(l-1) by held fixed: the cell of an LSTM"
    return replace(variable, definition=variable.definition.replace(_J, what))


def _variables(point: Point, options: Options) -> tuple[Variable, ...]:
    kept = {"values": (_VALUES,), "histogram": (_counts(options),), "moments": ()}[options.get("keep", "moments")]
    return tuple(_of(point, variable) for variable in (_MOMENTS, *kept))


def _there(point: Point) -> NDArray[np.bool_]:
    return np.isin(np.arange(point.depth + 1), list(program_blocks.shapes(point)))


def _evaluate(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    values = sample.block_jacobian  # (N, layers, k)
    assert values is not None
    there, shapes = _there(point), program_blocks.shapes(point)
    rows = np.array([shapes[layer][0] if layer in shapes else 1 for layer in range(point.depth + 1)])
    squares = np.nan_to_num(values) ** 2
    orders = np.arange(1, options.get("moments", MOMENTS) + 1)
    moments = np.stack([(squares**order).sum(axis=2) / rows for order in orders], axis=1)  # (N, orders, layers)
    found = [Values(np.where(there, moments, np.nan), there)]
    keep = options.get("keep", "moments")
    if keep == "values":
        found.append(Values(values.swapaxes(1, 2), ~np.isnan(values[0].T) if len(values) else there))
    elif keep == "histogram":
        layers = [histogram.counted(values[:, layer][~np.isnan(values[:, layer])], edges(options)).values
                  for layer in range(there.size)]  # fmt: skip
        counts = np.stack(layers, axis=1)
        found.append(Values(counts, np.ones(counts.shape, bool)))
    return tuple(found)


def _largest(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.block_jacobian_top is not None
    return (Values(sample.block_jacobian_top, _there(point)),)


def _check(point: Point, options: Options) -> list[str]:
    idle = histogram.without_effect(options, options.get("keep") == "histogram", 'keep = "histogram"')
    return idle or program_blocks.complaints(point)


def _sizes(point: Point, options: Options) -> dict[str, int]:
    return {
        "rank": max(min(shape) for shape in program_blocks.shapes(point).values()),
        "order": options.get("moments", MOMENTS),
        "layer": point.depth + 1,
        "bin": options.get("bins", BINS) + 2,
    }


OBSERVABLES = {
    "block_jacobian": Observable(
        name="block_jacobian",
        options={
            "keep": choice(
                '"moments" only (the default), "values" (all singular values too) or "histogram"',
                "moments",
                "values",
                "histogram",
            ),
            "moments": whole_number(
                f"the highest order k of the moments (1/n) tr (J_l J_l^T)^k, by default {MOMENTS}", MOST_MOMENTS
            ),
            "bins": whole_number(f"the number of bins of the histogram, by default {BINS}", histogram.MOST_BINS),
            "range": histogram.range_option(
                f"[low, high]: the range of the histogram, by default {list(RANGE)}; what lies outside is counted too"
            ),
        },
        samplers=("explicit",),
        needs=frozenset({"signal", "block_jacobian"}),
        variables=_variables,
        check=_check,
        evaluate=_evaluate,
        sizes=_sizes,
        limitation="A full spectrum needs whole matrices, which are never built there; "
        "the measure block_jacobian_lambda_max needs products only.",
    ),
    "block_jacobian_lambda_max": Observable(
        name="block_jacobian_lambda_max",
        options={},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "block_jacobian_top"}),
        variables=lambda point, options: (_of(point, _LARGEST),),
        check=lambda point, options: program_blocks.complaints(point),
        evaluate=_largest,
        sizes=lambda point, options: {"layer": point.depth + 1},
    ),
}
