"""Networks with batch normalisation inside: Gram of the activations, growth of gradients; the constant mode of F."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcnet.observables import tangent
from mcnet.observables.observable import (
    LAYERS,
    Observable,
    Options,
    Values,
    asked_layers,
    check_layers,
    layer_sizes,
)
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

_YANG = "Yang, Pennington, Rao, Sohl-Dickstein, Schoenholz 2019, arXiv:1902.08129"
_DIAGONAL = Variable(
    name="bn_gram_diagonal",
    group="batch_norm",
    dims=("layer",),
    long_name="Gram of the activations, mean over the inputs",
    symbol="K_11^l",
    definition="mean over the inputs a of h^l(a) . h^l(a) / M; layer 0 are the inputs",
    normalisation="per unit",
    reference=_YANG,
)
_OFF_DIAGONAL = replace(
    _DIAGONAL,
    name="bn_gram_off_diagonal",
    long_name="Gram of the activations, mean over the pairs of inputs",
    symbol="K_12^l",
    definition="mean over the pairs of inputs a, b of h^l(a) . h^l(b) / M; layer 0 are the inputs",
)
_GROWTH = Variable(
    name="bn_gradient_growth",
    group="batch_norm",
    dims=("layer",),
    long_name="growth of the squared gradient, summed over the batch, per layer towards the input",
    symbol="chi_BN^l",
    definition="S^l / S^(l+1), S^l = sum over the inputs of |d/du^l|^2 of one random function of all outputs, the "
    "sum of the outputs (of a probe where there is no readout) with independent N(0, 1) numbers for each output and "
    "input; NaN at layer 0 and at the last one",
    normalisation="ratio for each network; the step into layer 1 passes the Gram of the inputs",
    reference=_YANG,
)
_CONSTANT = Variable(
    name="fim_constant_mode",
    group="fim",
    dims=(),
    long_name="Fisher information along the mode that is the same for all inputs",
    symbol="v^T F v",
    definition="mean over the outputs of v^T F v through the dual: v^T Theta_kk v / T, v = (1, ..., 1)/sqrt(T); "
    "a lower bound of fim_lambda_max",
    normalisation="",
    reference="Karakida, Akaho, Amari 2019, arXiv:1906.02926",
)


def _gram(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    overlaps = sample.h_overlaps()  # (N, depth + 1, T, T)
    mask, count = asked_layers(point, options, "h"), point.inputs.count
    diagonal = np.trace(overlaps, axis1=-2, axis2=-1) / count
    off = (overlaps.sum((-2, -1)) - count * diagonal) / (count * (count - 1))
    return tuple(Values(np.where(mask, values, np.nan), mask) for values in (diagonal, off))


def _check_gram(point: Point, options: Options) -> list[str]:
    wrong = check_layers(point, options)
    if point.inputs.count < 2:
        wrong.append("pairs of inputs need two; give more inputs")
    if point.is_program and len(_axes(point)) > 1:
        wrong.append(f'it is read off networks with one row an input, not off "{point.architecture}"')
    return wrong


def _axes(point: Point) -> dict[str, int]:
    from mcnet import architectures

    return dict(architectures.of(point).axes)


def _growth(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.batch_length is not None
    assert sample.batch_exponent is not None
    mask = asked_layers(point, options, "u", 1)
    mask[-1] = False
    length, exponent = sample.batch_length, sample.batch_exponent  # (N, depth): of layers 1..depth
    values = np.full((len(length), point.depth + 1), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        values[:, 1:-1] = length[:, :-1] / length[:, 1:] * 4.0 ** (exponent[:, :-1] - exponent[:, 1:])
    return (Values(np.where(mask, values, np.nan), np.broadcast_to(mask, values.shape)),)


def _check_growth(point: Point, options: Options) -> list[str]:
    wrong = check_layers(point, options)
    if point.normalization != "hidden-batch":
        wrong.append('it is the growth through batch normalisation; set network.normalization = "hidden-batch"')
    if point.depth < 2:
        wrong.append("a ratio of two layers needs two; give a depth of at least 2")
    return wrong


def _constant(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.tangent is not None
    assert sample.undefined is not None
    inputs, outputs = point.inputs.count, point.outputs or 1
    theta = sample.backend.fetch(sample.tangent).reshape(-1, outputs, inputs, outputs, inputs)
    blocks = theta[:, np.arange(outputs), :, np.arange(outputs), :]  # (C, N, T, T)
    return (Values(blocks.sum((-2, -1)).mean(0) / inputs**2, ~sample.undefined),)


OBSERVABLES = {
    "bn_gram": Observable(
        name="bn_gram",
        options={"layers": LAYERS},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal"}),
        variables=lambda point, options: (_DIAGONAL, _OFF_DIAGONAL),
        check=_check_gram,
        evaluate=_gram,
        sizes=layer_sizes,
    ),
    "bn_gradient_growth": Observable(
        name="bn_gradient_growth",
        options={"layers": LAYERS},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "batch"}),
        variables=lambda point, options: (_GROWTH,),
        check=_check_growth,
        evaluate=_growth,
        sizes=layer_sizes,
    ),
    "fim_constant_mode": Observable(
        name="fim_constant_mode",
        options={},
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "tangent"}),
        variables=lambda point, options: (tangent.described(_CONSTANT, point),),
        check=tangent.check,
        evaluate=_constant,
        sizes=lambda point, options: {},
    ),
}
