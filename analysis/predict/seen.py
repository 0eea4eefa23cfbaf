"""What is read off seen vectors: means over the units, residual branches, Fourier modes over the positions."""

from __future__ import annotations

from collections.abc import Mapping

from mcnet_analysis.predict.prediction import Observable, curve
from mcnet_analysis.study import Column

from mcnet.predictions.seen import MOST_MODES as MOST_MODES


def _one(column: Column, limits: Mapping[Column, float]) -> float:
    """A mean of activations, or a cosine: of order one where it does not vanish, and where it does."""
    return 1.0


def _itself(column: Column, limits: Mapping[Column, float]) -> float:
    return abs(limits[column])


def _zeroth(column: Column, limits: Mapping[Column, float]) -> float:
    """The mean over the positions: other modes decay with depth, and fluctuate no less for it."""
    name, _, _ = column.observable.rpartition("_")
    return abs(limits.get(column._replace(observable=f"{name}_0"), limits[column]))


SEEN = (
    Observable("h_mean", "signal", 1, r"m", _one, curve("h_mean")),
    Observable("branch_energy", "signal", 1, r"e", _itself, curve("branch_energy")),
    Observable("branch_overlap", "signal", 1, r"o", _one, curve("branch_overlap")),
    *(
        Observable(f"q_mode_{k}", "fourier", 1, rf"q_{{k={k}}}", _zeroth, curve(f"q_mode_{k}"))
        for k in range(MOST_MODES + 1)
    ),
    *(
        Observable(
            f"q_tilde_mode_{k}",
            "fourier",
            1,
            rf"\tilde q_{{k={k}}}",
            _zeroth,
            curve(f"q_tilde_mode_{k}"),
            backward=True,
        )
        for k in range(MOST_MODES + 1)
    ),
)
"""The observables of these kinds."""
