"""Limits of the Fisher matrix of a softmax output: outputs are drawn from their Gaussian law, the kernel is sure."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mcnet.predictions.ensemble import Ensemble, Floats
from mcnet.predictions.normalization import exchangeable
from mcnet.predictions.registry import Curve, Predictor, Unknown, register
from mcnet.theory import mean_field, softmax_fisher, tangent

LARGEST = 256
"""Outputs times inputs up to which eigenvalues are computed."""

DRAWS, WORK = 4000, 4e8
"""Networks that are drawn: of large matrices as many as so many multiplications allow."""


class _Means(NamedTuple):
    """Of networks of infinite width: means and their standard errors."""

    top: tuple[float, float]
    trace: tuple[float, float]


def _predictor(name: str) -> Predictor:
    def predictor(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
        mean, error = getattr(_means_at(ensemble), name)
        nothing, nowhere, sure = np.array([np.nan]), np.zeros(1), np.zeros(1)
        errors = np.array([error]), nowhere, nowhere
        why = "no 1/M theory of the Fisher matrix of a softmax output"
        return Curve(np.array([mean]), nothing, nothing, sure, sure, why_not=why, errors=errors)

    return predictor


def _means_at(ensemble: Ensemble) -> _Means:
    point, count = ensemble.point, ensemble.point.inputs.count
    if point.is_program or point.normalization != "none" or not point.outputs:
        raise Unknown("the Fisher matrix of a softmax output is predicted of dense networks without normalisation")
    if count * point.outputs > LARGEST:
        raise Unknown(f"known up to {LARGEST} outputs times inputs")
    gram = ensemble.gram
    if len(gram) != count:
        diagonal, off = exchangeable(gram)
        gram = np.where(np.eye(count, dtype=bool), diagonal, off)
    law = (point.activation, point.sigma_w2, point.sigma_b2)
    standard = point.parameterization == "standard"
    width = float(point.width) if standard else None
    theta = tangent.kernel(
        gram, *law, point.depth, point.parameterization, point.train_biases, width=width
    ) / (width or 1.0)  # fmt: skip
    below = mean_field.covariances(*law, gram, point.depth).q_hat[-1]
    covariance = point.sigma_w2 * below + point.sigma_b2  # of an output, at the inputs
    return _means(theta.tobytes(), covariance.tobytes(), count, point.outputs)


@lru_cache(maxsize=256)
def _means(theta: bytes, covariance: bytes, inputs: int, outputs: int) -> _Means:
    kernel, below = (np.frombuffer(part).reshape(inputs, inputs) for part in (theta, covariance))
    values, vectors = np.linalg.eigh(below)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    draws = int(np.clip(WORK / (inputs * outputs) ** 3, DRAWS / 10, DRAWS))
    f = root @ np.random.default_rng(0).normal(size=(draws, inputs, outputs))  # (draws, T, C)
    p = np.exp(f - f.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    blocks = np.array_split(p, -(-draws // 100))
    top = np.concatenate([softmax_fisher.eigenvalues(kernel, part)[:, : outputs - 1].mean(-1) for part in blocks])
    trace = (np.diagonal(kernel) * (1.0 - (p**2).sum(-1))).mean(-1)
    return _Means(_mean(top), _mean(trace))


def _mean(values: Floats) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


register("fim_softmax_top", _predictor("top"))
register("fim_softmax_trace", _predictor("trace"))
