"""Observables of networks with batch normalisation inside."""

from __future__ import annotations

from collections.abc import Mapping

from mcnet_analysis.predict.prediction import Observable, curve
from mcnet_analysis.study import Column


def _itself(column: Column, limits: Mapping[Column, float]) -> float:
    return abs(limits[column])


def _diagonal(column: Column, limits: Mapping[Column, float]) -> float:
    """The diagonal entry: the size of the Gram, whatever an entry itself is."""
    return abs(limits.get(column._replace(observable="bn_gram_diagonal"), limits[column]))


NORMALIZATION = (
    Observable("bn_gram_diagonal", "batch_norm", 1, r"K_{11}", _itself, curve("bn_gram_diagonal")),
    Observable("bn_gram_off_diagonal", "batch_norm", 1, r"K_{12}", _diagonal, curve("bn_gram_off_diagonal")),
    Observable(
        "bn_gradient_growth", "batch_norm", 1, r"\chi_{\mathrm{BN}}", _itself, curve("bn_gradient_growth"), True
    ),
    Observable("fim_constant_mode", "fim", None, r"v^TFv", _itself, curve("fim_constant_mode"), True, power=1),
    *(
        Observable(name, "fim", None, symbol, _itself, curve(name), True, power=1, stays_random=True)
        for name, symbol in (
            ("fim_softmax_top", r"\bar\lambda_{\mathrm{top}}"),
            ("fim_softmax_trace", r"\mathrm{tr}F"),
        )
    ),
)
"""The observables of the group of normalisation, and of the Fisher matrix its constant mode and that of a softmax."""
