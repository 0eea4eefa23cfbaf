"""The stationary chaos of recurrent networks at their own leak, and how far the last times still are from it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Setting

from mcnet.activations import Activation
from mcnet.theory import recurrent
from mcnet.theory.stationary import stationary as solved


class Stationary(NamedTuple):
    """The stationary state.

    Attributes
    ----------
    leak : float
    variance : float
        Delta(0).
    continuous : float
        Delta(0) of dx/dt = -x + J phi(x).
    overlap : ndarray, shape (T + 1,)
        Delta(k) for lags of k steps.
    transient : ndarray, shape (T + 1,)
        By the theory of two times from the first state on: C(T, T) less Delta(0), and for k > 0
        C(T, T - k)/C(T, T) less Delta(k)/Delta(0).
    """

    leak: float
    variance: float
    continuous: float
    overlap: Floats
    transient: Floats


def stationary(setting: Setting) -> Stationary | None:
    """Of tied leaky networks without sequence and biases; None where there is no such state."""
    keys, law = setting.keys, setting.law
    if law["architecture"] != "recurrent" or not keys.get("tied", True) or law["sigma_b2"] > 0.0:
        return None
    leak = float(keys.get("leak", 1.0))
    if keys.get("sequence", "none") != "none" or leak >= 1.0 or law["weights"] != "gaussian":
        return None
    try:
        return _solved(setting.activation, float(law["sigma_w2"]), leak, float(setting.gram[0, 0]), setting.depth)
    except ValueError:
        return None


@lru_cache(maxsize=16)
def _solved(activation: Activation, sigma_w2: float, leak: float, q_0: float, depth: int) -> Stationary:
    overlap = solved(activation, sigma_w2, leak, depth)
    smooth = recurrent.continuous(activation, sigma_w2)
    times = recurrent.leaky(activation, sigma_w2, 0.0, leak, q_0, depth)[depth, ::-1]
    transient = times / times[0] - overlap / overlap[0]
    transient[0] = times[0] - overlap[0]
    return Stationary(leak, float(overlap[0]), smooth.variance, np.asarray(overlap), np.asarray(transient))
