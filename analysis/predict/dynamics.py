"""Overlaps of a network with itself at two layers."""

from __future__ import annotations

from collections.abc import Mapping

from mcnet_analysis.predict.prediction import Observable, curve
from mcnet_analysis.study import Column


def _length(column: Column, limits: Mapping[Column, float]) -> float:
    """The squared length of the last layer: an overlap may vanish, and fluctuates no less for it."""
    last = max(other.layer or 0 for other in limits if other[:2] == column[:2])
    return abs(limits[column._replace(layer=last)])


DYNAMICS = (
    Observable("autocorrelation", "dynamics", 1, r"C", _length, curve("autocorrelation")),
    Observable("autocorrelation_hat", "dynamics", 1, r"\hat C", _length, curve("autocorrelation_hat")),
)
"""Of recurrent networks: autocorrelations."""
