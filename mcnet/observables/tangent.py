"""The empirical tangent kernel and, through duality, the spectrum of the Fisher matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet import streams
from mcnet.kernels import lanczos, linalg
from mcnet.networks.kernel_operator import KernelOperator
from mcnet.observables import histogram
from mcnet.observables.observable import Observable, Options, Values, choice, flag, whole_number
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

BINS, RANGE = 320, (1e-8, 1e8)

PRODUCTS_FROM = 512
"""Outputs times inputs from which the extremes of the kernel come from products instead of the matrix."""

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
_COUNT = replace(
    _EIGENVALUE,
    name="ntk_count",
    dims=("bin",),
    long_name="histogram of the eigenvalues of the empirical neural tangent kernel",
    symbol="n(lambda)",
    dtype="int64",
    per_shard=True,
)
_SMALLEST = replace(
    _EIGENVALUE,
    name="ntk_lambda_min",
    dims=(),
    long_name="smallest eigenvalue of the empirical neural tangent kernel",
    symbol="lambda_min(Theta)",
    definition="smallest of the C T eigenvalues of the kernel of all outputs and inputs; its error is about 1e-7 of "
    "the largest eigenvalue in precision mixed and 1e-14 in float64, and what lies below that is rounding",
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
    "lambda_top": replace(
        _FIM,
        name="fim_lambda_top",
        long_name="mean of the C largest eigenvalues of the Fisher information matrix",
        symbol="lambda_top(F)",
        definition="mean of the C largest eigenvalues of F, which meet at infinite width and split at width M by a "
        "relative M^(-1/2); stored with 2 outputs or more",
    ),
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


def described(variable: Variable, point: Point) -> Variable:
    """The variable with the parametrisation and normalisation of a point in words."""
    trained = "weights and biases trained" if point.train_biases else "weights trained"
    place = "of the outputs" if point.output_normalization != "none" else "inside the network"
    last = "" if point.normalization == "none" else f"; normalisation {point.normalization} {place}"
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
    if options.get("eigenvalues", True):
        wanted += [_counts(options) if _as_histogram(options) else _EIGENVALUE]
    wanted += [_SMALLEST] if _with_smallest(options) else []
    return tuple(described(variable, point) for variable in wanted)


def edges(options: Options) -> NDArray[np.float64]:
    """Edges of the bins of ``ntk_count``, equal on the logarithmic axis."""
    low, high = options.get("range", RANGE)
    return np.geomspace(float(low), float(high), int(options.get("bins", BINS)) + 1)


def _as_histogram(options: Options) -> bool:
    return bool(options.get("spectrum", "values") == "histogram")


def _counts(options: Options) -> Variable:
    told = "networks and ranks counted together, one record per shard; networks without a kernel are left out"
    kind = histogram.entries(edges(options), "logarithmically equal")
    return replace(_COUNT, definition=f"{_EIGENVALUE.definition}: {told}; {kind}")


def _with_smallest(options: Options) -> bool:
    return bool(options.get("lambda_min", options.get("eigenvalues", True)))


def _ntk(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.tangent is not None
    theta, backend = sample.tangent, sample.backend
    inputs, outputs = point.inputs.count, point.outputs or 1
    defined = _defined(sample)
    wanted = []
    if options.get("entries", True):
        blocks = backend.fetch(theta)
        kind = options.get("blocks", "diagonal")
        if outputs > 1:
            blocks = blocks.reshape(-1, outputs, inputs, outputs, inputs).swapaxes(2, 3)  # (N, k, k', a, b)
            blocks = blocks if kind == "all" else blocks[:, np.arange(outputs), np.arange(outputs)]  # (N, k, a, b)
            blocks = blocks.mean(axis=1) if kind == "mean" else blocks
        wanted.append(Values(blocks, _like(defined, blocks)))
    every, least = options.get("eigenvalues", True), _with_smallest(options)
    if every or least:
        values = _eigenvalues(sample)
        if every and _as_histogram(options):
            wanted += [histogram.counted(values[defined], edges(options))]
        elif every:
            wanted += [Values(values, _like(defined, values))]
        wanted += [Values(values[:, -1], defined)] if least else []
    return tuple(wanted)


def _fim_names(point: Point, options: Options) -> list[str]:
    names = [name for name in _FIM_VARIABLES if options.get(name, True)]
    return [name for name in names if name != "lambda_top" or (point.outputs or 1) > 1]


def by_products(point: Point, measures: Mapping[str, Options]) -> bool:
    """Whether nothing asked for needs the matrix of the kernel, and it is large enough to be better never made."""
    if "ntk" in measures or "fim" not in measures or point.normalization == "last-layer":
        return False
    large = point.inputs.count * (point.outputs or 1) >= PRODUCTS_FROM
    return large and not {"trace2", "eigenvalue"} & set(_fim_names(point, measures["fim"]))


def _fim(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    inputs, backend = point.inputs.count, sample.backend
    names = _fim_names(point, options)
    found: dict[str, NDArray[np.float64]] = {}
    spectral = bool(set(names) - {"trace", "trace2"})
    values: NDArray[np.float64] | None = None
    if sample.products is not None:
        found["trace"] = backend.fetch(sample.products.trace()) / inputs
        values = _largest(sample) / inputs if spectral else None
    else:
        assert sample.tangent is not None
        xp, theta = backend.xp, sample.tangent / inputs
        found["trace"] = backend.fetch(xp.linalg.trace(theta))
        found["trace2"] = backend.fetch(xp.sum(theta * theta, axis=(1, 2)))
        values = _eigenvalues(sample) / inputs if spectral else None
    if values is not None:
        largest = values[:, 0]
        found |= {"eigenvalue": values, "lambda_max": largest}
        found["lambda_top"] = values[:, : point.outputs or 1].mean(axis=1)
        found["learning_rate_bound"] = 2.0 / np.where(largest > 0.0, largest, np.nan)
    defined = _defined(sample)
    masks = {name: _like(defined, found[name]) for name in names}
    if "learning_rate_bound" in masks:
        masks["learning_rate_bound"] = masks["learning_rate_bound"] & ~(found["lambda_max"] <= 0.0)
    return tuple(Values(found[name], masks[name]) for name in names)


def _eigenvalues(sample: Sample) -> NDArray[np.float64]:
    """Of Theta, descending, (N, C T); NaN where the kernel is undefined."""
    return sample.backend.fetch(linalg.eigenvalues(sample.backend.xp, sample.tangent))


def _largest(sample: Sample) -> NDArray[np.float64]:
    """The C largest eigenvalues of Theta from its products, (N, C); NaN where the kernel is undefined.

    The first vectors: one for each output, the same at all inputs, where the large eigenvectors are (section on
    duality of Karakida, Akaho, Amari 2019), and two fixed random ones for what is orthogonal to them.
    """
    operator, backend = sample.products, sample.backend
    assert operator is not None
    assert sample.undefined is not None
    outputs, inputs = operator.outputs, operator.inputs
    size = outputs * inputs
    same = np.repeat(np.eye(outputs), inputs, axis=0) / np.sqrt(inputs)  # (C T, C)
    key = streams.seed_key(0)
    rest = streams.normals(key, 0, streams.PROBES, 0, 2, size).T / np.sqrt(size)
    start = np.concatenate([same + 0.1 * rest[:, :1], rest], axis=1).astype(np.float64)
    networks = len(sample.undefined)
    found = np.full((networks, outputs), np.nan)
    for n in np.flatnonzero(~sample.undefined):
        one = operator.only(int(n))

        def product(v: NDArray[np.float64], one: KernelOperator = one) -> NDArray[np.float64]:
            return backend.fetch(one.product(backend.place(v.reshape(1, outputs, inputs)))).reshape(-1)

        found[n] = lanczos.largest(product, start, outputs)
    return found


def _defined(sample: Sample) -> NDArray[np.bool_]:
    """Networks whose normalisation does not divide by zero."""
    assert sample.undefined is not None
    return ~sample.undefined


def _like(networks: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.broadcast_to(networks.reshape(-1, *[1] * (values.ndim - 1)), values.shape)


def check(point: Point, options: Options) -> list[str]:
    """Why the kernel of a point cannot be measured."""
    if not point.outputs:
        return ["the gradients of the outputs need a readout; set network.outputs"]
    if point.normalization == "last-mean" and point.inputs.count < 3:
        return ['normalization "last-mean" leaves one number of 2 inputs, no spectrum; use 3 inputs or more']
    if point.normalization == "last-batch" and point.inputs.count < 3:
        return ['normalization "last-batch" leaves no gradient with fewer than 3 inputs; use more']
    if point.normalization == "last-layer" and point.outputs < 3:
        return ['normalization "last-layer" leaves no gradient with fewer than 3 outputs; use more']
    if point.parameterization == "ntk" and point.sigma_w2 == 0.0:
        return ['the parameters of "ntk", W = sqrt(sigma_w2/M) w, have no meaning at sigma_w2 = 0; use "standard"']
    return []


def _check_ntk(point: Point, options: Options) -> list[str]:
    used = options.get("eigenvalues", True) and _as_histogram(options)
    return check(point, options) or histogram.without_effect(options, used, 'spectrum = "histogram"')


def _sizes(point: Point, options: Options) -> dict[str, int]:
    inputs, outputs = point.inputs.count, point.outputs or 1
    sizes = dict.fromkeys(("input_a", "input_b"), inputs) | dict.fromkeys(("output", "output_a", "output_b"), outputs)
    return {**sizes, "rank": inputs * outputs, "bin": options.get("bins", BINS) + 2}


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
            "spectrum": choice(
                'the eigenvalues of every network, "values" (the default), or counted in bins that are equal on the '
                'logarithmic axis, "histogram"',
                "values",
                "histogram",
            ),
            "bins": whole_number(f"the number of bins of the histogram, by default {BINS}", histogram.MOST_BINS),
            "range": histogram.range_option(
                f"[low, high]: the range of the histogram, by default {list(RANGE)}; what lies outside is counted too",
                0.0,
            ),
            "lambda_min": flag(
                "whether the smallest eigenvalue is stored: true or false; by default as eigenvalues says"
            ),
        },
        samplers=("conditioned", "explicit"),
        needs=frozenset({"signal", "tangent"}),
        variables=_ntk_variables,
        check=_check_ntk,
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
        variables=lambda point, options: tuple(
            described(_FIM_VARIABLES[name], point) for name in _fim_names(point, options)
        ),
        check=check,
        evaluate=_fim,
        sizes=_sizes,
    ),
}
