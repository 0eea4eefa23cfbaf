"""Lengths and correlations of the signal: q, q_hat, c, q_ab."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.observable import (
    LAYERS,
    Observable,
    Options,
    Values,
    asked_layers,
    check_layers,
    flag,
    layer_sizes,
    layered,
    with_rows,
)
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

_Q = Variable(
    name="q",
    group="signal",
    dims=("input", "layer"),
    long_name="squared length of the pre-activations per unit",
    symbol="q^l",
    definition="(1/M_l) |u^l|^2, bias included; NaN at layer 0",
    normalisation="per unit, as in Poole et al.; one network and one input",
    reference="Poole et al. 2016, arXiv:1606.05340",
)
_Q_HAT = Variable(
    name="q_hat",
    group="signal",
    dims=("input", "layer"),
    long_name="squared length of the activations per unit",
    symbol="qhat^l",
    definition="(1/M_l) |h^l|^2; layer 0 is the input",
    normalisation="per unit, as in Karakida et al.; one network and one input",
    reference="Karakida, Akaho, Amari 2019, arXiv:1806.01316",
)
_C = Variable(
    name="c",
    group="signal",
    dims=("pair", "layer"),
    long_name="correlation of the pre-activations of two inputs",
    symbol="c^l",
    definition="q_ab / sqrt(q_aa q_bb), q_ab = (1/M_l) u^l(a).u^l(b); NaN at layer 0 and where a length vanishes",
    normalisation="cosine of the angle between the pre-activations, biases included, not centred",
    reference="Poole et al. 2016, arXiv:1606.05340",
)
_Q_AB = Variable(
    name="q_ab",
    group="signal",
    dims=("pair", "layer"),
    long_name="overlap of the pre-activations of two inputs per unit",
    symbol="q_ab^l",
    definition="(1/M_l) u^l(a).u^l(b); NaN at layer 0",
    normalisation="per unit, as in Poole et al.",
    reference="Poole et al. 2016, arXiv:1606.05340",
)


def pairs(inputs: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Inputs a < b of every pair, in lexicographic order."""
    a, b = np.triu_indices(inputs, 1)
    return a, b


def _lengths(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    values = []
    for plain, letter in ((sample.u_overlaps(), "u"), (sample.h_overlaps(), "h")):  # (N, layers, [P,] T, T)
        mask = asked_layers(point, options, letter)
        lengths = np.diagonal(plain, axis1=-2, axis2=-1).swapaxes(1, -1)
        values.append(Values(layered(lengths, mask, point, letter), mask))
    return tuple(values)


def _correlations(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    a, b = pairs(point.inputs.count)
    mask = asked_layers(point, options, "u")
    plain = sample.u_overlaps()  # (N, depth, [P,] T, T)
    alive = (plain[..., a, a] > 0.0) & (plain[..., b, b] > 0.0)
    c = layered(sample.correlations()[..., a, b].swapaxes(1, -1), mask, point, "u")  # (N, pair, ...)
    defined = layered(alive.astype(np.float64).swapaxes(1, -1), mask, point, "u") == 1.0
    stored = [Values(c, defined & mask)]
    if options.get("q_ab", False):
        stored.append(Values(layered(plain[..., a, b].swapaxes(1, -1), mask, point, "u"), mask))
    return tuple(stored)


def _check_pairs(point: Point, options: Options) -> list[str]:
    alone = [] if point.inputs.count > 1 else ["a correlation needs two inputs; use inputs.kind = pair or a count of 2"]
    return alone + check_layers(point, options)


OBSERVABLES = {
    "q": Observable(
        name="q",
        options={"layers": LAYERS},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal"}),
        variables=lambda point, options: (with_rows(_Q, point, "u"), with_rows(_Q_HAT, point, "h")),
        check=check_layers,
        evaluate=_lengths,
        sizes=layer_sizes,
    ),
    "c": Observable(
        name="c",
        options={"layers": LAYERS, "q_ab": flag("also store the overlaps q_ab")},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal"}),
        variables=lambda point, options: tuple(
            with_rows(variable, point, "u") for variable in ((_C, _Q_AB) if options.get("q_ab", False) else (_C,))
        ),
        check=_check_pairs,
        evaluate=_correlations,
        sizes=layer_sizes,
    ),
}
