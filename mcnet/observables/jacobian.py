"""Singular values of the input-output Jacobian: themselves, counted, or their moments."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcnet.observables import histogram, program_jacobian
from mcnet.observables.observable import MOST_MOMENTS, Observable, Options, Values, choice, whole_number
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

MOMENTS, BINS, RANGE = 4, 200, (0.0, 5.0)

RANGE_OF_DOUBLE = 300
"""Decimal digits before and behind the point."""

_J = "J = D_L W_L ... D_1 W_1 over the hidden layers, D_l = diag phi'(u^l), at input 0; the readout is left out"
_RESOLVED = (
    "exactly zero beyond jacobian_rank. Precision mixed: from the float64 Gram matrix of float32 products, s_i < 1e-6 "
    "s_1 are rounding. Precision float64: jacobian_route tells; s_i to a relative 1e-3 or better, the largest to 1e-12"
)
_REFERENCE = "Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735"
_VALUES = Variable(
    name="jacobian_sv",
    group="jacobian",
    dims=("rank",),
    long_name="singular values of the input-output Jacobian",
    symbol="s_i(J)",
    definition=f"{_J}; the largest first, min(M, M_0) of them; {_RESOLVED}",
    normalisation="none: s_i themselves, not s_i^2",
    reference=_REFERENCE,
)
_MOMENTS = Variable(
    name="jacobian_moment",
    group="jacobian",
    dims=("order",),
    long_name="moments of the spectrum of J J^T",
    symbol="mu_k",
    definition=f"(1/M) tr (J J^T)^k, k = 1, 2, ...; {_J}",
    normalisation="mean over the M eigenvalues of J J^T, zero ones included",
    reference=_REFERENCE,
)
_RANK = Variable(
    name="jacobian_rank",
    group="jacobian",
    dims=(),
    long_name="rank of the input-output Jacobian",
    symbol="rank J",
    definition="the smallest of M_0 and the numbers of units with phi' != 0 in a layer; 1 - rank/M is the atom at zero",
    normalisation="a count",
    reference=_REFERENCE,
    dtype="int64",
)
_ROUTE = Variable(
    name="jacobian_route",
    group="jacobian",
    dims=(),
    long_name="how the singular values were found",
    symbol="",
    definition="0: float64 Gram matrix; 1: SVD, where s_min < 1e-6 s_max; 2: QR accumulation, where s_min < 1e-12 "
    "s_max (zeros apart; 1 and 2 in precision float64)",
    normalisation="none",
    reference="",
    dtype="int64",
)
_LARGEST = Variable(
    name="jacobian_lambda_max",
    group="jacobian",
    dims=(),
    long_name="largest eigenvalue of J J^T",
    symbol="lambda_max(J J^T)",
    definition=f"the square of the largest singular value; {_J}",
    normalisation="none. By Lanczos steps to a relative 1e-3, or from all singular values where these are measured too",
    reference=_REFERENCE,
)


def edges(options: Options) -> NDArray[np.float64]:
    """Edges of the bins of ``jacobian_count``; below the first and above the last lie its first and last entry.

    Singular values that are exactly zero (beyond the rank) count in the first entry wherever the range begins.
    """
    low, high = options.get("range", RANGE)
    return np.linspace(low, high, options.get("bins", BINS) + 1)


def _counts(options: Options) -> Variable:
    bound = edges(options)
    return Variable(
        name="jacobian_count",
        group="jacobian",
        dims=("bin",),
        long_name="histogram of the singular values of the input-output Jacobian",
        symbol="n(s)",
        definition=f"networks and ranks counted together, one record per shard; {_J}",
        normalisation=histogram.entries(bound, "equal", ", and all s that are exactly zero"),
        reference=_REFERENCE,
        dtype="int64",
        per_shard=True,
    )


_OF_PROGRAMS = "J = dh^L/dx of the last seen h at input 0, positions or tokens side by side"
_RESOLVED_OF_PROGRAMS = (
    "exactly zero beyond jacobian_rank, where s_i is below 1e-6 s_1 in precision mixed, 1e-12 s_1 in float64"
)


def _variables(point: Point, options: Options) -> tuple[Variable, ...]:
    keep = options.get("keep", "values")
    kept = {"values": (_VALUES,), "histogram": (_counts(options),), "moments": ()}[keep]
    return tuple(_of(point, variable) for variable in (*kept, _MOMENTS, _RANK, _ROUTE))


def _of(point: Point, variable: Variable) -> Variable:
    """A variable as it is defined for the architecture of a point."""
    if not point.is_program:
        return variable
    if variable is _RANK:
        return replace(variable, definition="singular values that are not zero: above rounding beside the largest")
    if variable is _ROUTE:
        return replace(variable, definition="1: SVD")
    text = variable.definition.replace(_J, _OF_PROGRAMS).replace(_RESOLVED, _RESOLVED_OF_PROGRAMS)
    text = text.replace("min(M, M_0) of them", "as many as J has rows or columns")
    mean = variable.normalisation.replace("the M eigenvalues", "all eigenvalues")
    return replace(variable, definition=text.replace("(1/M) tr", "(1/n) tr"), normalisation=mean)


def _evaluate(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    spectrum = sample.jacobian
    assert spectrum is not None
    scale = 2.0 ** spectrum.exponent[:, None]
    s = spectrum.values * scale  # (N, rank)
    keep = options.get("keep", "values")
    found = []
    if keep == "values":
        found.append(Values(s, np.ones(s.shape, bool)))
    elif keep == "histogram":
        zero = np.arange(s.shape[1]) >= spectrum.rank[:, None]
        # what is not finite shows in the moments
        found.append(histogram.counted(np.where(zero, -np.inf, s), edges(options)))
    orders = np.arange(1, options.get("moments", MOMENTS) + 1)
    squares = spectrum.values**2
    powers = np.stack([(squares**order).sum(1) for order in orders], axis=1) / program_jacobian.shape(point)[0]
    moments = powers * scale ** (2 * orders)
    moments[(powers > 0.0) & (moments < np.finfo(np.float64).tiny)] = np.nan  # below the range of a double: refused
    found.append(Values(moments, np.ones(moments.shape, bool)))
    found += [Values(part, np.ones(part.shape, bool)) for part in (spectrum.rank, spectrum.route)]
    return tuple(found)


def _largest(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    top = sample.jacobian_top
    assert top is not None
    return (Values(top, np.ones(top.shape, bool)),)


def _check(point: Point, options: Options) -> list[str]:
    """Bins of no histogram; moments that leave the range of a double: phi' of a homogeneous phi is known beforehand."""
    if idle := histogram.without_effect(options, options.get("keep") == "histogram", 'keep = "histogram"'):
        return idle
    if point.is_program:
        return program_jacobian.complaints(point)
    if not point.activation.homogeneous or point.sigma_w2 == 0.0:
        return []
    slopes = point.activation.dphi(np.array([-1.0, 1.0]))
    growth = point.depth * math.log10(point.sigma_w2 * float(np.mean(slopes**2)))
    return beyond_doubles(point, growth, options.get("moments", MOMENTS))


def beyond_doubles(point: Point, growth: float, order: int) -> list[str]:
    """Complaint about moments up to an order, where (1/M) tr J J^T is about 10^growth."""
    if abs(order * growth) < RANGE_OF_DOUBLE:
        return []
    power, fewer = (f"its power {order}", "fewer moments, ") if order > 1 else ("it", "")
    return [
        f"tr J J^T is about 1e{growth:+.0f} at depth {point.depth}, and {power} leaves the range of a double; "
        f"take {fewer}a smaller depth or a sigma_w2 nearer to criticality"
    ]


def _sizes(point: Point, options: Options) -> dict[str, int]:
    return {
        "rank": min(program_jacobian.shape(point)),
        "order": options.get("moments", MOMENTS),
        "bin": options.get("bins", BINS) + 2,
    }


OBSERVABLES = {
    "jacobian": Observable(
        name="jacobian",
        options={
            "keep": choice(
                '"values" (the default: all singular values), "histogram" or "moments" only',
                "values",
                "histogram",
                "moments",
            ),
            "moments": whole_number(
                f"the highest order k of the moments (1/M) tr (J J^T)^k, by default {MOMENTS}", MOST_MOMENTS
            ),
            "bins": whole_number(f"the number of bins of the histogram, by default {BINS}", histogram.MOST_BINS),
            "range": histogram.range_option(
                f"[low, high]: the range of the histogram, by default {list(RANGE)}; what lies outside is counted too"
            ),
        },
        samplers=("explicit",),
        needs=frozenset({"signal", "jacobian"}),
        variables=_variables,
        check=_check,
        evaluate=_evaluate,
        sizes=_sizes,
        limitation="A full spectrum needs whole matrices, which are never built there; "
        "the measure jacobian_lambda_max needs products only.",
    ),
    "jacobian_lambda_max": Observable(
        name="jacobian_lambda_max",
        options={},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "jacobian_top"}),
        variables=lambda point, options: (_of(point, _LARGEST),),
        check=lambda point, options: program_jacobian.complaints(point),
        evaluate=_largest,
        sizes=lambda point, options: {},
    ),
}
