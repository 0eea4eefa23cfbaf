"""Singular values of the input-output Jacobian: themselves, counted, or their moments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.observable import Observable, Option, Options, Values, choice, positive_integer
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

MOMENTS, BINS, RANGE = 4, 200, (0.0, 5.0)

_J = "J = D_L W_L ... D_1 W_1 over the hidden layers, D_l = diag phi'(u^l), at input 0; the readout is left out"
_REFERENCE = "Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735"
_VALUES = Variable(
    name="jacobian_sv",
    group="jacobian",
    dims=("rank",),
    long_name="singular values of the input-output Jacobian",
    symbol="s_i(J)",
    definition=f"{_J}; the largest first, min(M, M_0) of them",
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


def edges(options: Options) -> NDArray[np.float64]:
    """Edges of the bins of ``jacobian_count``; below the first and above the last lie its first and last entry."""
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
        normalisation=(
            f"entry 0: s < {bound[0]:g}; entries 1 to {bound.size - 1}: equal bins of [{bound[0]:g}, {bound[-1]:g}); "
            f"entry {bound.size}: the rest"
        ),
        reference=_REFERENCE,
        dtype="int64",
        per_shard=True,
    )


def _variables(point: Point, options: Options) -> tuple[Variable, ...]:
    keep = options.get("keep", "values")
    kept = {"values": (_VALUES,), "histogram": (_counts(options),), "moments": ()}[keep]
    return (*kept, _MOMENTS)


def _evaluate(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.singular_values is not None
    assert sample.singular_exponent is not None
    scale = 2.0 ** sample.singular_exponent[:, None]
    s = sample.singular_values * scale  # (N, rank)
    keep = options.get("keep", "values")
    found = []
    if keep == "values":
        found.append(Values(s, np.ones(s.shape, bool)))
    elif keep == "histogram":
        places = np.searchsorted(edges(options), s, side="right")
        counts = np.bincount(places.ravel(), minlength=edges(options).size + 1)[None]
        # what is not finite shows in the moments
        found.append(Values(counts, np.ones(counts.shape, bool)))
    orders = np.arange(1, options.get("moments", MOMENTS) + 1)
    squares = sample.singular_values**2
    powers = np.stack([(squares**order).sum(1) for order in orders], axis=1) / point.width
    moments = powers * scale ** (2 * orders)
    found.append(Values(moments, np.ones(moments.shape, bool)))
    return tuple(found)


def _range_complaint(value: Any) -> str | None:
    numbers = isinstance(value, list | tuple) and len(value) == 2
    if numbers and all(isinstance(edge, int | float) and not isinstance(edge, bool) for edge in value):
        return None if value[0] < value[1] else "must be two increasing numbers"
    return "must be two increasing numbers"


def _sizes(point: Point, options: Options) -> dict[str, int]:
    return {
        "rank": min(point.width, point.inputs.dimension),
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
            "moments": positive_integer(f"the highest order k of the moments (1/M) tr (J J^T)^k, by default {MOMENTS}"),
            "bins": positive_integer(f"the number of bins of the histogram, by default {BINS}"),
            "range": Option(
                f"[low, high]: the range of the histogram, by default {list(RANGE)}; what lies outside is counted too",
                _range_complaint,
            ),
        },
        samplers=("explicit",),
        needs=frozenset({"signal", "jacobian"}),
        variables=_variables,
        check=lambda point, options: [],
        evaluate=_evaluate,
        sizes=_sizes,
    )
}
