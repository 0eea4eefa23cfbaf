"""Lengths, correlations and gradients: what theory says about each."""

from __future__ import annotations

from collections.abc import Mapping

from mcnet_analysis.predict import exact
from mcnet_analysis.predict.prediction import Observable, curve
from mcnet_analysis.study import Column


def _length(column: Column, limits: Mapping[Column, float]) -> float:
    return abs(limits[column])


def _room(column: Column, limits: Mapping[Column, float]) -> float:
    """Distance of a correlation from +-1."""
    return 1.0 - abs(limits[column])


SIGNAL = (
    Observable("q", "signal", 1, r"q", _length, curve("q"), exact=exact.length),
    Observable("q_hat", "signal", 1, r"\hat q", _length, curve("q_hat"), exact=exact.length),
    Observable("c", "signal", 1, r"c", _room, curve("c")),
    Observable("q_tilde", "signal", 1, r"\tilde q", _length, curve("q_tilde"), backward=True, exact=exact.gradient),
    Observable("chi", "signal", 2, r"\chi", _length, curve("chi"), backward=True),
)
"""The observables of the groups of the signal."""
