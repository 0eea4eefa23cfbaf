"""Adaptive sampling, as the rounds of a dataset tell it: the accuracy asked for, the allocation, the error reached."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet.errors import DataError
from mcnet.storage import rounds

if TYPE_CHECKING:
    import xarray

MAX_BYTES = 2**26


class Goal(NamedTuple):
    """The points that one target is for, and what became of it.

    Attributes
    ----------
    indices : tuple of int
        Places along the dimension ``point``, in order of the width.
    drawn : ndarray of int, shape (rounds, points)
        Networks of the result after each round; the pilot is no part of it.
    cost : ndarray, shape (points,)
        Modelled seconds of one network.
    relative_errors : tuple of float
        Relative error found after the pilot and after each round.
    result : mapping
        Of the last round that was decided: ``value``, ``error``, ``reached`` and, of a coefficient, ``chi2``, ``dof``,
        ``without_smallest``.
    """

    indices: tuple[int, ...]
    drawn: NDArray[np.int64]
    cost: NDArray[np.float64]
    relative_errors: tuple[float, ...]
    result: Mapping[str, Any]


class Sampling(NamedTuple):
    """A target and its goals.

    Attributes
    ----------
    target : mapping
        As the plan holds it.
    pilot : int
        Networks of a point that were drawn first and are no part of the result.
    goals : tuple of Goal
    outcome : str
        What became of it, in a line.
    """

    target: Mapping[str, Any]
    pilot: int
    goals: tuple[Goal, ...]
    outcome: str


def sampling(tree: xarray.DataTree) -> Sampling | None:
    """The adaptive sampling of a dataset; None without it, or before anything was decided.

    Raises
    ------
    DataError
        If the dataset tells of rounds that are none.
    """
    text = str(tree.attrs.get("rounds_json", ""))
    if not text:
        return None
    try:
        told: Sequence[rounds.Round] = json.loads(text) if len(text) < MAX_BYTES else []
        for number, content in enumerate(told, 1):
            rounds.check(content, "rounds_json", number)
    except (ValueError, RecursionError, TypeError) as error:
        raise DataError(f"the rounds of the dataset are damaged ({type(error).__name__}).") from error
    if not told:
        return None
    last = told[-1]
    mine = [content for content in told if content["target"] == last["target"] and content["points"] == last["points"]]
    pilot = int(tree.attrs.get("pilot_networks", 0))
    keys = [str(key) for key in np.asarray(tree.coords["point_key"].values).tolist()]
    widths = np.asarray(tree.coords["width"].values)
    place = {key: index for index, key in enumerate(keys)}
    costs = {key: float(row["cost"]) for key, row in zip(last["points"], last["statistics"], strict=True)}
    goals = []
    for number, result in enumerate(last["results"]):
        if not all(key in place and key in costs for key in result["points"]):
            continue
        points = sorted(result["points"], key=lambda key: widths[place[key]])
        errors = [
            rounds.relative(content["results"][number])
            for content in mine
            if number < len(content["results"]) and content["results"][number]["points"] == result["points"]
        ]
        cost = np.array([costs[key] for key in points])
        indices = tuple(place[key] for key in points)
        goals.append(Goal(indices, _drawn(told, points, pilot), cost, tuple(errors), result))
    return Sampling(last["target"], pilot, tuple(goals), rounds.reached_text(last))


def _drawn(told: Sequence[rounds.Round], points: Sequence[str], pilot: int) -> NDArray[np.int64]:
    stops = [np.zeros(len(points), np.int64)]
    for content in told:
        if any(key in content["networks"] for key in points):
            grown = [max(content["networks"].get(key, 0) - pilot, 0) for key in points]
            stops.append(np.maximum(stops[-1], grown))
    return np.array(stops[1:]).reshape(-1, len(points))


def expansion(goal: Goal, target: Mapping[str, Any]) -> str:
    """The model that was fitted, in words."""
    if target["coefficient"] == "mean":
        return "the mean over networks"
    known = target["limit"] == "theory"
    orders = len(goal.indices) - int(goal.result.get("dof", 0)) - (0 if known else 1)
    terms = " and ".join(["1/M", "1/M²"][:orders])
    return f"a fit of {terms}, the limit {'from theory' if known else 'fitted too'}"


def share_of_cost(goal: Goal) -> NDArray[np.float64]:
    """Share of the cost of all networks at each point; zeros where there are none."""
    cost = (goal.drawn[-1] if len(goal.drawn) else np.zeros(len(goal.indices))) * goal.cost
    total = float(cost.sum())
    return cost / total if 0 < total < math.inf else np.zeros(cost.shape)
