"""Observables of the tokens of an input."""

from __future__ import annotations

from collections.abc import Mapping

from mcnet_analysis.predict.prediction import Observable, curve
from mcnet_analysis.study import Column


def _room(column: Column, limits: Mapping[Column, float]) -> float:
    """Distance from collapse."""
    return 1.0 - abs(limits[column])


def _nat(column: Column, limits: Mapping[Column, float]) -> float:
    """A factor e in the number of tokens that one attends to."""
    return 1.0


TOKENS = (
    Observable("token_similarity", "similarity", 0, r"s", _room, curve("token_similarity")),
    Observable("attention_entropy", "similarity", 1, r"H", _nat, curve("attention_entropy")),
)
"""Of transformers: how much alike tokens are, how widely they attend (the first head)."""
