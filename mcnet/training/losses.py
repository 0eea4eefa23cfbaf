"""Losses of N networks at once, from their outputs (N, C, T) and targets (N or 1, C, T); float64.

``squared``: (1/2T) sum_t |f_t - y_t|^2; ``softmax``: the mean over t of the cross-entropy -sum_k y_kt log p_kt with
p = softmax of f over the outputs.
"""

from __future__ import annotations

from typing import Any

Array = Any


def value(xp: Any, loss: str, f: Array, y: Array) -> Array:
    """The loss of each network, (N,)."""
    count = f.shape[2]
    if loss == "squared":
        r = xp.reshape(f - y, (f.shape[0], -1))
        return xp.vecdot(r, r) / (2.0 * count)
    parts = xp.reshape(y * _log_probabilities(xp, f), (f.shape[0], -1))
    return -xp.vecdot(parts, xp.ones_like(parts)) / count


def residual(xp: Any, loss: str, f: Array, y: Array) -> Array:
    """T times the derivative with respect to the outputs: f - y, or p - y; (N, C, T)."""
    return f - y if loss == "squared" else xp.exp(_log_probabilities(xp, f)) - y


def probabilities(xp: Any, f: Array) -> Array:
    """Softmax over the outputs, (N, C, T)."""
    return xp.exp(_log_probabilities(xp, f))


def _log_probabilities(xp: Any, f: Array) -> Array:
    centered = f - xp.max(f, axis=1, keepdims=True)
    return centered - xp.log(xp.sum(xp.exp(centered), axis=1, keepdims=True))
