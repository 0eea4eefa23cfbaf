"""Back-propagated errors: their squared length q_tilde and its growth chi from layer to layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcnet.observables.observable import (
    LAYERS,
    Observable,
    Options,
    Values,
    asked_layers,
    check_layers,
    layer_sizes,
    layered,
)
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

_OUTPUTS = "sum over the units of a layer, mean over the outputs; 1 at the readout"
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
    if variable is _CHI or point.outputs:
        return variable
    return replace(variable, normalisation=_PROBE)


def _lengths(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.error_length is not None
    assert sample.error_exponent is not None
    mask = asked_layers(point, options, 1)
    with np.errstate(over="ignore", under="ignore"):  # inf is refused by the caller, with the layer's name
        values = sample.error_length * 4.0 ** sample.error_exponent[:, None, :]
    return (Values(layered(values, mask), mask),)


def _growth(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.error_length is not None
    assert sample.error_exponent is not None
    mask = asked_layers(point, options, 2)
    length, exponent = sample.error_length, sample.error_exponent[:, None, :]
    alive = length[..., 1:] > 0.0
    ratio = length[..., :-1] / np.where(alive, length[..., 1:], np.nan)
    chi = ratio * 4.0 ** (exponent[..., :-1] - exponent[..., 1:])  # (N, T, depth - 1)
    defined = np.zeros((*length.shape[:2], point.depth + 1), bool)
    defined[..., 2:] = alive
    return (Values(layered(chi, mask), defined & mask),)


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
