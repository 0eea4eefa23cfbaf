"""Online training: the learning rate at which the loss neither shrinks nor grows, with one new input a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.statistics.statements import Statement

NO_TURN = "the loss does not turn from shrinking to growing between two learning rates without divergence"


@dataclass(frozen=True)
class Online:
    """The boundary of the learning rate at every width, and its limit.

    Attributes
    ----------
    matrices : int
        L, the readout included.
    mean, error : ndarray, shape (W,)
    limit : Statement
    """

    matrices: int
    mean: Floats
    error: Floats
    limit: Statement

    @classmethod
    def of(cls, matrices: int, samples: Sequence[Floats], limit: Statement) -> Self:
        """From what :func:`turns` found."""
        error = [sample.std(ddof=1) / np.sqrt(sample.size) for sample in samples]
        return cls(matrices, np.array([sample.mean() for sample in samples]), np.array(error), limit)


def turns(rates: Floats, losses: Sequence[Sequence[Floats]], window: int) -> list[Floats] | None:
    """Of each width what :func:`boundary` finds below the first rate at which a network diverges; None if one has none.

    ``losses``: of each width and rate, (N, steps + 1), NaN after divergence.
    """
    order = np.argsort(rates)
    found = []
    for mine in losses:
        alive = [bool(np.isfinite(mine[k]).all()) for k in order]
        kept = order[: alive.index(False) if False in alive else None]
        sample = boundary(rates[kept], [mine[k] for k in kept], window)
        if sample is None or sample.size < 2:
            return None
        found.append(sample)
    return found


def boundary(rates: Floats, losses: Sequence[Floats], window: int) -> Floats | None:
    """The learning rate at which the mean loss of the last steps is that of the first, with what each network adds.

    Parameters
    ----------
    rates : ndarray, shape (K,)
        Ascending.
    losses : sequence of K ndarray, shape (N, steps + 1)
        Of the same networks.
    window : int
        Steps at the beginning, and at the end, that are averaged.

    Returns
    -------
    ndarray, shape (N,), or None
        Their mean is the lowest rate where the logarithm of the ratio changes its sign from minus to plus, between two
        rates by a straight line; their spread that of the influence of each network. None where it does not.
    """
    if len(losses) < 2:
        return None
    first = np.array([loss[:, :window].mean(axis=1) for loss in losses])
    last = np.array([loss[:, -window:].mean(axis=1) for loss in losses])
    growth = np.log(last.mean(axis=1) / first.mean(axis=1))
    there = np.flatnonzero((growth[:-1] < 0.0) & (growth[1:] >= 0.0))
    if not there.size:
        return None
    low, high = int(there[0]), int(there[0]) + 1
    share = -growth[low] / (growth[high] - growth[low])
    added = last / last.mean(axis=1, keepdims=True) - first / first.mean(axis=1, keepdims=True)  # to growth
    step = rates[high] - rates[low]
    moved = -step / (growth[high] - growth[low]) * ((1.0 - share) * added[low] + share * added[high])
    return np.asarray(rates[low] + share * step + moved)
