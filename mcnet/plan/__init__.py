"""From a scenario to points, ranges of networks and how many of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcnet.plan.plan import Plan, PlannedPoint, difference, grow, make_plan, plan_points

__all__ = ["Plan", "PlannedPoint", "difference", "grow", "make_plan", "plan_points"]

_HOME = {
    "Plan": "mcnet.plan.plan",
    "PlannedPoint": "mcnet.plan.plan",
    "make_plan": "mcnet.plan.plan",
    "plan_points": "mcnet.plan.plan",
    "grow": "mcnet.plan.plan",
    "difference": "mcnet.plan.plan",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mcnet.plan' has no attribute '{name}'")
