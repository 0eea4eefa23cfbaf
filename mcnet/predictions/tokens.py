"""Predictions for tokens: their mean cosine, from the Gram matrix of the limit; the entropy of attention."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.special import logsumexp, ndtri

from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.programs import first_rows, theory_of
from mcnet.predictions.registry import Curve, Floats, Unknown, curve, register

SETS = 8
WHY_NO_TERMS = "the variance of the entropy of attention is of order 1/M^2"


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


POINTS = 2**13
"""Scrambled Sobol points of the scores of one token; eight sets give the error."""


def entropy(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """Of uniform attention ln S in every block; of random scores in the first block alone.

    With the scale 1/n scores of heads of n units vanish: they are Gaussian, of variance sigma_w2^2 K_tt K_ss/n, and

        E H = ln S - (sigma_w2^2/2n) mean_t K_tt (mean_s K_ss - mean_ss' K_ss') + O(1/n^2) .

    With a/sqrt(n) those of token t with s are Gaussian, of covariance
    (a sigma_w2)^2 K_tt K_ss' given the Gram matrix K of what enters the block, known for the first one.
    """
    point, program = ensemble.point, ensemble.program
    if point.architecture != "transformer":
        raise Unknown("the entropy of attention is predicted for transformers")
    tokens, p = len(ensemble.gram) // point.inputs.count, program.parameters
    strength = float(p.softmax_scale) * math.sqrt(p.head_size)
    limits = np.full(point.depth + 1, np.nan)
    if dict(point.parameters).get("softmax_scale") == "1/n":
        if p.head_size * p.heads != point.width:
            raise Unknown("attention is uniform at infinite width where heads are as wide as the network is")
        limits[1:] = math.log(tokens)
        return curve(limits, _first_order(ensemble, inputs, tokens), why_not=WHY_NO_TERMS)
    rows = slice(inputs[0] * tokens, (inputs[0] + 1) * tokens)
    gram = ensemble.gram[rows, rows]
    if point.normalization == "pre-layer":
        length = np.sqrt(np.diagonal(gram))
        gram = gram / np.outer(length, length)
    if not np.isfinite(gram).all():
        raise Unknown("the Gram matrix of the tokens is unknown")
    sets = [_random_entropy(strength * point.sigma_w2, gram.tobytes(), tokens, seed) for seed in range(SETS)]
    limits[1], errors = np.mean(sets), np.full_like(limits, np.nan)
    errors[1] = np.std(sets, ddof=1) / SETS**0.5
    nothing = np.zeros_like(errors)
    why = "entropies of random attention are predicted for the first block alone"
    return curve(limits, why_not=why)._replace(errors=(errors, nothing, nothing))


def _first_order(ensemble: Ensemble, inputs: tuple[int, ...], tokens: int) -> Floats:
    """Coefficients of 1/M for uniform attention, (depth + 1,)."""
    point, p = ensemble.point, ensemble.program.parameters
    found, start = theory_of(ensemble, inputs).limit, first_rows(ensemble, inputs)[0]
    a1 = np.full(point.depth + 1, np.nan)
    for layer in range(1, a1.size) if found is not None else ():
        assert found is not None
        gram = found.gram(("h", layer - 1))[start : start + tokens, start : start + tokens]
        own = np.diagonal(gram)
        if point.normalization == "pre-layer":
            gram, own = gram / np.sqrt(np.outer(own, own)), np.ones(tokens)
        a1[layer] = -0.5 * p.heads * point.sigma_w2**2 * own.mean() * (own.mean() - gram.mean())
    return a1


@lru_cache(maxsize=256)
def _random_entropy(strength: float, gram: bytes, tokens: int, seed: int) -> float:
    """Mean over the tokens of the mean entropy of softmax weights of Gaussian scores."""
    k = np.frombuffer(gram).reshape(tokens, tokens)
    values, vectors = np.linalg.eigh(k)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    from scipy.stats import qmc  # a second of imports that few need

    normals = ndtri(np.clip(qmc.Sobol(tokens, seed=seed).random(POINTS), 1e-12, 1.0 - 1e-12))
    common = normals @ root.T  # of covariance K
    found = []
    for t in range(tokens):
        scores = strength * math.sqrt(k[t, t]) * common
        logs = scores - logsumexp(scores, axis=1, keepdims=True)
        found.append(-(np.exp(logs) * logs).sum(1).mean())
    return float(np.mean(found))


register("attention_entropy", entropy)
