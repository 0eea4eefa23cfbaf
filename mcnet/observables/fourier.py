"""Fourier modes over the positions of squared lengths and of squared gradients."""

from __future__ import annotations

from collections.abc import Callable
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
    whole_number,
)
from mcnet.observables.rows import row_axes
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.variables import Variable

MODES = 2
"""Highest mode unless another is asked for."""
MOST_MODES = 8

_LENGTH = Variable(
    name="q_mode",
    group="fourier",
    dims=("input", "layer"),
    long_name="Fourier mode over the positions of the squared length of the pre-activations",
    symbol="q_k^l",
    definition="(1/P) sum_p cos(2 pi k p/P) q^l(p), q^l(p) = |u^l(p)|^2/M; on two axes p runs along the first, and the "
    "mean is taken over the other; NaN at layer 0",
    normalisation="mode 0 is the mean over the positions; one network and one input",
    reference="Xiao et al. 2018, arXiv:1806.05393",
)
_GRADIENT = replace(
    _LENGTH,
    name="q_tilde_mode",
    long_name="Fourier mode over the positions of the squared length of the back-propagated error",
    symbol=r"\tilde q_k^l",
    definition="(1/P) sum_p cos(2 pi k p/P) q_tilde^l(p), otherwise as q_mode",
    normalisation="q_tilde is a sum over the units, mean over the outputs; mode 0 is the mean over the positions",
)


def cosines(axes: dict[str, int], highest: int) -> NDArray[np.float64]:
    """Weights of the rows in modes 0..highest, (highest + 1, P), P positions on one axis or two."""
    first, *others = axes.values()
    waves = np.cos(2.0 * np.pi * np.outer(np.arange(highest + 1), np.arange(first)) / first) / first
    return np.asarray(np.repeat(waves, np.prod(others, dtype=int), axis=1) / np.prod(others))


def name_of(mode: int, gradients: bool) -> str:
    """The variable of a mode."""
    return f"{(_GRADIENT if gradients else _LENGTH).name}_{mode}"


def _highest(options: Options) -> int:
    return int(options.get("modes", MODES))


def _variables(whole: Variable) -> Callable[[Point, Options], tuple[Variable, ...]]:
    def variables(point: Point, options: Options) -> tuple[Variable, ...]:
        return tuple(
            replace(
                whole,
                name=f"{whole.name}_{k}",
                long_name=whole.long_name.replace("Fourier mode", f"Fourier mode {k}"),
                symbol=whole.symbol.replace("_k", f"_{k}"),
                definition=whole.definition.replace(" k ", f" {k} "),
            )
            for k in range(_highest(options) + 1)
        )

    return variables


def _modes(point: Point, options: Options, rows: NDArray[np.float64], first: int) -> tuple[Values, ...]:
    """Of (N, T, P, layers), the last ones of 0..depth."""
    mask = asked_layers(point, options, "u", first)
    weights = cosines(row_axes(point, "u"), _highest(options))
    full = np.full((*rows.shape[:2], mask.size), np.nan)
    found = []
    for wave in weights:
        values = full.copy()
        values[..., mask.size - rows.shape[-1] :] = np.einsum("p,ntpl->ntl", wave, rows)
        values[..., ~mask] = np.nan
        found.append(Values(values, mask))
    return tuple(found)


def _lengths(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    plain = np.diagonal(sample.u_overlaps(), axis1=-2, axis2=-1)  # (N, layers, P, T)
    return _modes(point, options, plain.transpose(0, 3, 2, 1), 0)


def _gradients(point: Point, options: Options, sample: Sample) -> tuple[Values, ...]:
    assert sample.error_length is not None
    assert sample.error_exponent is not None
    with np.errstate(over="ignore", under="ignore"):  # inf is refused by the caller, with the layer's name
        values = sample.error_length * 4.0 ** sample.error_exponent[:, None, None, :]
    return _modes(point, options, values, 1)


def _check(point: Point, options: Options) -> list[str]:
    axes = row_axes(point, "u")
    if not axes or not all(name.startswith("position") for name in axes) or np.prod(list(axes.values())) < 2:
        return ["it is read off networks with positions (convolution)"]
    size = next(iter(axes.values()))
    if 2 * _highest(options) > size:
        return [f"modes = {_highest(options)}: {size} positions have modes up to {size // 2}"]
    return check_layers(point, options)


def _made(name: str, whole: Variable, needs: frozenset[str], evaluate: Callable[..., tuple[Values, ...]]) -> Observable:
    return Observable(
        name=name,
        options={"layers": LAYERS, "modes": whole_number(f"the highest mode, by default {MODES}", MOST_MODES)},
        samplers=("conditioned", "explicit"),
        needs=needs,
        variables=_variables(whole),
        check=_check,
        evaluate=evaluate,
        sizes=layer_sizes,
    )


OBSERVABLES = {
    "fourier": _made("fourier", _LENGTH, frozenset({"signal"}), _lengths),
    "fourier_gradient": _made("fourier_gradient", _GRADIENT, frozenset({"signal", "errors"}), _gradients),
}
