"""What is asked of an ensemble: which measures, by which sampler, in which precision, from which seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcnet.recipe import Recipe


@dataclass(frozen=True)
class Request:
    """A measurement request, the same for all points of a study.

    Attributes
    ----------
    measures : mapping of str to mapping
        Name of the measure to its options, as in ``[measure]``; an empty mapping asks for everything.
    seed : int
        64-bit seed of the study.
    sampler : str
        ``auto``, ``conditioned`` or ``explicit``.
    precision : str
        ``mixed`` (float32 arrays; float64 Gram matrices, sums and results) or ``float64``.
    train : Recipe or None
        How networks are trained; the points have it too.
    """

    measures: Mapping[str, Mapping[str, Any]]
    seed: int
    sampler: str = "auto"
    precision: str = "mixed"
    train: Recipe | None = None
