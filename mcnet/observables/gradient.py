"""Back-propagated errors: their squared length q_tilde and its growth chi from layer to layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcnet.observables.observable import (
    LAYERS,
    Observable,
    Options,
    Values,
    asked_layers,
    check_layers,
    layer_sizes,
    layered,
    with_rows,
)
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

_OUTPUTS = (
    "sum over the units of a layer, mean over the outputs f = W h + b as the readout gives them, whatever "
    "normalization the point has; 1 at the readout"
)
_PROBE = (
    "sum over the units of a layer; the error at h^depth is one random vector of mean square length 1 for all inputs"
)

_Q_TILDE = Variable(
    name="q_tilde",
    group="signal",
    dims=("input", "layer"),
    long_name="squared length of the back-propagated error",
    symbol="qtilde^l",
    definition="|df/du^l|^2; NaN at layer 0",
    normalisation=_OUTPUTS,
    reference="Schoenholz et al. 2017, arXiv:1611.01232; Karakida, Akaho, Amari 2019, arXiv:1806.01316",
)
_CHI = Variable(
    name="chi",
    group="signal",
    dims=("input", "layer"),
    long_name="growth of the back-propagated error from a layer to the one before",
    symbol="chi^l",
    definition="q_tilde^(l-1) / q_tilde^l of one network; NaN at layers 0, 1 and where the error vanishes",
    normalisation="ratio; the mean of ratios over networks is not the ratio of means",
    reference="Schoenholz et al. 2017, arXiv:1611.01232",
)


def _variable(variable: Variable, point: Point) -> Variable:
    whole = with_rows(variable, point, "u")
    return whole if variable is _CHI or point.outputs else replace(whole, normalisation=_PROBE)


def _lengths(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.error_length is not None
    assert sample.error_exponent is not None
    mask = asked_layers(point, options, "u", 1)
    with np.errstate(over="ignore", under="ignore"):  # inf is refused by the caller, with the layer's name
        values = sample.error_length * 4.0 ** _by_layer(sample)
    return (Values(layered(values, mask, point, "u"), mask),)


def _by_layer(sample: Sample) -> NDArray[np.float64]:
    """Exponents (N, depth) beside lengths (N, T, [P,] depth)."""
    assert sample.error_length is not None
    assert sample.error_exponent is not None
    exponent = sample.error_exponent
    return exponent.reshape(len(exponent), *[1] * (sample.error_length.ndim - 2), -1)


def _growth(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.error_length is not None
    assert sample.error_exponent is not None
    mask = asked_layers(point, options, "u", 2)
    mask[2:] &= asked_layers(point, {}, "u", 1)[1:-1]  # a ratio of two layers that are seen
    length, exponent = sample.error_length, _by_layer(sample)
    alive = length[..., 1:] > 0.0
    ratio = length[..., :-1] / np.where(alive, length[..., 1:], np.nan)
    chi = layered(ratio * 4.0 ** (exponent[..., :-1] - exponent[..., 1:]), mask, point, "u")
    defined = layered(alive.astype(np.float64), mask, point, "u") == 1.0
    return (Values(chi, defined & mask),)


OBSERVABLES = {
    "q_tilde": Observable(
        name="q_tilde",
        options={"layers": LAYERS},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "errors"}),
        variables=lambda point, options: (_variable(_Q_TILDE, point),),
        check=check_layers,
        evaluate=_lengths,
        sizes=layer_sizes,
    ),
    "chi": Observable(
        name="chi",
        options={"layers": LAYERS},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "errors"}),
        variables=lambda point, options: (_variable(_CHI, point),),
        check=check_layers,
        evaluate=_growth,
        sizes=layer_sizes,
    ),
}
