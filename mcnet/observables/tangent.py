"""The empirical tangent kernel and, through duality, the spectrum of the Fisher matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet.kernels import linalg
from mcnet.observables.observable import Observable, Options, Values, choice, flag
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

_PARAMETERS = {
    "standard": "parameters W and b themselves",
    "ntk": "parameters w and beta of W = sqrt(sigma_w2/M) w, b = sqrt(sigma_b2) beta",
    "pdlt": "alpha_l = beta_l = 1 in Theta = sum_l B^l o (alpha_l K^(l-1) + beta_l)",
}
_NTK = Variable(
    name="ntk",
    group="ntk",
    dims=("input_a", "input_b"),
    long_name="empirical neural tangent kernel",
    symbol="Theta",
    definition="Theta_ab = sum over trained parameters of df(a)/dtheta df(b)/dtheta, exact for this network",
    normalisation="",
    reference="Jacot, Gabriel, Hongler 2018, arXiv:1806.07572",
)
_EIGENVALUE = replace(
    _NTK,
    name="ntk_eigenvalue",
    dims=("rank",),
    long_name="eigenvalues of the empirical neural tangent kernel",
    symbol="lambda_i(Theta)",
    definition="eigenvalues of the C T x C T kernel of all outputs and inputs, the largest first",
)
_FIM = Variable(
    name="fim_lambda_max",
    group="fim",
    dims=(),
    long_name="largest eigenvalue of the Fisher information matrix",
    symbol="lambda_max(F)",
    definition="of F = (1/T) sum_t sum_k grad f_k(t) grad f_k(t)^T, from its dual Theta / T; exact for this network",
    normalisation="",
    reference="Karakida, Akaho, Amari 2019, arXiv:1806.01316",
)
_FIM_VARIABLES = {
    "lambda_max": _FIM,
    "trace": replace(
        _FIM,
        name="fim_trace",
        long_name="trace of the Fisher information matrix",
        symbol="tr F",
        definition="sum of the eigenvalues of F, not divided by the number of parameters",
    ),
    "trace2": replace(
        _FIM,
        name="fim_trace2",
        long_name="trace of the square of the Fisher information matrix",
        symbol="tr F^2",
        definition="sum of the squared eigenvalues of F, not divided by the number of parameters",
    ),
    "eigenvalue": replace(
        _FIM,
        name="fim_eigenvalue",
        dims=("rank",),
        long_name="eigenvalues of the Fisher information matrix",
        symbol="lambda_i(F)",
        definition="the C T eigenvalues of F that can differ from zero, the largest first",
    ),
    "learning_rate_bound": replace(
        _FIM,
        name="learning_rate_bound",
        long_name="learning rate at which gradient descent turns unstable",
        symbol="2 / lambda_max(F)",
        definition="2 / fim_lambda_max, for the loss (1/2T) sum |f - y|^2; NaN where F vanishes",
    ),
}


def _described(variable: Variable, point: Point) -> Variable:
    """The variable with the parametrisation and normalisation of a point in words."""
    trained = "weights and biases trained" if point.train_biases else "weights trained"
    last = "" if point.normalization == "none" else f"; normalisation {point.normalization} of the outputs"
    return replace(variable, normalisation=f"{_PARAMETERS[point.parameterization]}; {trained}{last}")


def _ntk_dims(point: Point, options: Options) -> tuple[str, ...]:
    blocks = options.get("blocks", "diagonal")
    if point.outputs == 1 or blocks == "mean":
        return ("input_a", "input_b")
    return ("output", "input_a", "input_b") if blocks == "diagonal" else ("output_a", "output_b", "input_a", "input_b")


def _ntk_variables(point: Point, options: Options) -> tuple[Variable, ...]:
    entries = replace(_NTK, dims=_ntk_dims(point, options))
    if len(entries.dims) == 2 and point.outputs != 1:
        entries = replace(entries, definition=f"{_NTK.definition}; mean over the outputs")
    wanted = [entries] if options.get("entries", True) else []
    wanted += [_EIGENVALUE] if options.get("eigenvalues", True) else []
    return tuple(_described(variable, point) for variable in wanted)


def _ntk(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.tangent is not None
    theta, backend = sample.tangent, sample.backend
    inputs, outputs = point.inputs.count, point.outputs or 1
    defined = _defined(sample)
    wanted = []
    if options.get("entries", True):
        blocks = backend.fetch(theta).reshape(-1, outputs, inputs, outputs, inputs).swapaxes(2, 3)  # (N, k, k', a, b)
        kind = options.get("blocks", "diagonal")
        if kind != "all":
            blocks = blocks[:, np.arange(outputs), np.arange(outputs)]  # (N, k, a, b)
        if kind == "mean":
            blocks = blocks.mean(axis=1)
        elif outputs == 1:
            blocks = blocks.reshape(-1, inputs, inputs)
        wanted.append(Values(blocks, _like(defined, blocks)))
    if options.get("eigenvalues", True):
        values = _eigenvalues(sample)
        wanted.append(Values(values, _like(defined, values)))
    return tuple(wanted)


def _fim_names(options: Options) -> list[str]:
    return [name for name in _FIM_VARIABLES if options.get(name, True)]


def _fim(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.tangent is not None
    inputs, backend = point.inputs.count, sample.backend
    xp, theta = backend.xp, sample.tangent / inputs
    names = _fim_names(options)
    found: dict[str, NDArray[np.float64]] = {
        "trace": backend.fetch(xp.linalg.trace(theta)),
        "trace2": backend.fetch(xp.sum(theta * theta, axis=(1, 2))),
    }
    if set(names) - {"trace", "trace2"}:
        values = _eigenvalues(sample) / inputs
        largest = values[:, 0]
        found |= {"eigenvalue": values, "lambda_max": largest}
        found["learning_rate_bound"] = 2.0 / np.where(largest > 0.0, largest, np.nan)
    defined = _defined(sample)
    masks = {name: _like(defined, found[name]) for name in names}
    if "learning_rate_bound" in masks:
        masks["learning_rate_bound"] = masks["learning_rate_bound"] & ~(found["lambda_max"] <= 0.0)
    return tuple(Values(found[name], masks[name]) for name in names)


def _eigenvalues(sample: Sample) -> NDArray[np.float64]:
    """Of Theta, descending, (N, C T); NaN where the kernel is undefined."""
    return sample.backend.fetch(linalg.eigenvalues(sample.backend.xp, sample.tangent))


def _defined(sample: Sample) -> NDArray[np.bool_]:
    """Networks whose normalisation does not divide by zero."""
    assert sample.undefined is not None
    return ~sample.undefined


def _like(networks: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.broadcast_to(networks.reshape(-1, *[1] * (values.ndim - 1)), values.shape)


def _check(point: Point, options: Options) -> list[str]:
    if not point.outputs:
        return ["the gradients of the outputs need a readout; set network.outputs"]
    if point.normalization == "last-mean" and point.inputs.count < 2:
        return ['normalization "last-mean" leaves nothing of one input; use 2 inputs or more']
    if point.normalization == "last-batch" and point.inputs.count < 3:
        return ['normalization "last-batch" leaves no gradient with fewer than 3 inputs; use more']
    if point.normalization == "last-layer" and point.outputs < 3:
        return ['normalization "last-layer" leaves no gradient with fewer than 3 outputs; use more']
    return []


def _sizes(point: Point, options: Options) -> dict[str, int]:
    inputs, outputs = point.inputs.count, point.outputs or 1
    sizes = dict.fromkeys(("input_a", "input_b"), inputs) | dict.fromkeys(("output", "output_a", "output_b"), outputs)
    return {**sizes, "rank": inputs * outputs}


OBSERVABLES = {
    "ntk": Observable(
        name="ntk",
        options={
            "entries": flag("whether the kernel itself is stored: true (the default) or false"),
            "blocks": choice(
                'with several outputs: "diagonal" (the default: the kernel of each output), "mean" of those over the '
                'outputs, or "all" pairs of outputs',
                "diagonal",
                "mean",
                "all",
            ),
            "eigenvalues": flag("whether the eigenvalues are stored: true (the default) or false"),
        },
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "tangent"}),
        variables=_ntk_variables,
        check=_check,
        evaluate=_ntk,
        sizes=_sizes,
    ),
    "fim": Observable(
        name="fim",
        options={
            name: flag(f"whether {variable.name} is stored: true (the default) or false")
            for name, variable in _FIM_VARIABLES.items()
        },
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "tangent"}),
        variables=lambda point, options: tuple(_described(_FIM_VARIABLES[name], point) for name in _fim_names(options)),
        check=_check,
        evaluate=_fim,
        sizes=_sizes,
    ),
}
