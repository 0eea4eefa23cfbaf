"""Lengths of networks with uniform weights to first order in 1/M: the fourth cumulant of the weights shifts them."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np

from mcnet.activations.table import Activation
from mcnet.predictions.ensemble import Ensemble, Floats
from mcnet.predictions.registry import Curve, Unknown, curve, register
from mcnet.theory import uniform_weights


def _q_hat(ensemble: Ensemble, inputs: tuple[int, ...]) -> Curve:
    """Of inputs of exact length in random directions: their fourth moments are Gaussian ones up to 1/M."""
    point = ensemble.point
    if point.is_program or point.weights != "uniform":
        raise Unknown("")
    if point.inputs.kind not in ("single", "pair") or not point.inputs.fresh:
        raise Unknown(
            "1/M terms of uniform weights need the fourth moments of the inputs: single or pair, fresh = true"
        )
    length = float(ensemble.gram[inputs[0], inputs[0]])
    law = (point.activation, point.sigma_w2, point.sigma_b2, point.depth, point.inputs.dimension / point.width)
    limit, a1, v1 = _shift(length, *law)
    return curve(np.r_[length, limit], np.r_[0.0, a1], np.r_[0.0, v1])


@lru_cache(maxsize=256)
def _shift(
    length: float, activation: Activation, sigma_w2: float, sigma_b2: float, depth: int, ratio: float
) -> tuple[Floats, Floats, Floats]:
    x = math.sqrt(length) * gaussian_coordinates(1)[0]
    found = uniform_weights.q_hat(activation, sigma_w2, sigma_b2, x, depth, input_over_width=ratio)
    return found.limit[:, 0, 0], found.mean[:, 0, 0], found.variance[:, 0, 0]


def gaussian_coordinates(count: int) -> Floats:
    """Few numbers whose averages of products of up to five are those of independent normal ones, (count, n)."""
    one = math.sqrt(3.0) * np.array([-1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    return np.array(list(itertools.product(one, repeat=count))).T


register("q_hat", _q_hat)
