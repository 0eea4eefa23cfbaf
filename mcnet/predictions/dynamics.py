"""Predictions for overlaps of a network with itself at two layers: the limit of its program, whatever it is.

With one matrix for all steps these are the autocorrelations of dynamical mean-field theory; where every layer has a
matrix of its own the overlaps of answers of different matrices vanish.
"""

from __future__ import annotations

import numpy as np

from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.programs import first_rows, theory_of
from mcnet.predictions.registry import Curve, Predictor, Unknown, curve, register

WHY_NO_TERMS = "overlaps between layers have no 1/M theory"


def with_last(letter: str) -> Predictor:
    """a^L . a^l / M of the layers l = 0..L, L the depth."""

    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        found, at, depth = theory_of(ensemble, inputs).limit, first_rows(ensemble, inputs)[0], ensemble.point.depth
        if found is None:
            raise Unknown("overlaps between layers are those of the limit, which this program does not have")
        limits, errors = np.full((2, depth + 1), np.nan)
        last = found.gram((letter, depth)).shape
        for layer in range(depth + 1):
            name = (letter, layer)
            if name in found.seen and found.gram(name).shape == last:
                limits[layer] = found.gram((letter, depth), name)[at, at]
                errors[layer] = found.error((letter, depth), other=name)[at, at]
        sampled = bool(np.nanmax(errors) > 0.0)
        nothing = np.zeros_like(errors)
        return curve(limits, why_not=WHY_NO_TERMS)._replace(errors=(errors, nothing, nothing) if sampled else None)

    return predictor


register("autocorrelation", with_last("u"))
register("autocorrelation_hat", with_last("h"))
