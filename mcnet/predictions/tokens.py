"""Predictions for the similarity of tokens: the mean cosine of the Gram matrix of the limit."""

from __future__ import annotations

import numpy as np

from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.programs import first_rows, theory_of
from mcnet.predictions.registry import Curve, Unknown, curve, register


def similarity(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """Mean over pairs of tokens of one input of their cosines; the limit alone."""
    found, start = theory_of(ensemble, inputs).limit, first_rows(ensemble, inputs)[0]
    if found is None:
        raise Unknown("the similarity of tokens is that of the limit, which this program does not have")
    tokens = len(ensemble.gram) // ensemble.point.inputs.count
    if tokens < 2:
        raise Unknown("one token is like no other")
    limits = np.full(ensemble.point.depth + 1, np.nan)
    for layer in range(limits.size):
        if ("h", layer) in found.seen:
            gram = found.gram(("h", layer))[start : start + tokens, start : start + tokens]
            length = np.sqrt(np.diagonal(gram))
            cosines = gram / np.outer(length, length)
            limits[layer] = (cosines.sum() - tokens) / (tokens * (tokens - 1))
    return curve(limits, why_not="the similarity of tokens has no 1/M theory")


register("token_similarity", similarity)
