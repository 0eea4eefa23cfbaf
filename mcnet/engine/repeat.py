"""Whether networks that were drawn twice are the same: to the bit, to rounding, or, where rounding grows, in law."""

from __future__ import annotations

from collections.abc import Sequence

from mcnet.plan.plan import Plan, PlannedPoint
from mcnet.scenario.rounding import LOST, ROUNDING, difference
from mcnet.storage.comparison import Comparison

SCORE = 6.0
"""Standard errors by which a mean over networks of one law may differ, of as many means as a shard has."""

VERDICTS = ("identical", "within rounding", "same weights, same law", "different")
"""From good to bad."""


def verdict(found: Comparison, planned: PlannedPoint, plan: Plan) -> str:
    """What two measurements of the networks of a point are to each other, one of :data:`VERDICTS`."""
    expected = difference(planned.point, planned.sampler, plan.request.precision)
    if found.difference == 0.0:
        return "identical"
    if found.difference < max(ROUNDING, min(expected, LOST)):
        return "within rounding"
    if expected > LOST and found.first < ROUNDING and found.score < SCORE:
        return "same weights, same law"
    return "different"


def worst(verdicts: Sequence[str]) -> str | None:
    """The worst of some verdicts; None of none."""
    return max(verdicts, key=VERDICTS.index, default=None)
