"""Adaptive sampling: from what was drawn to what shall be drawn next, until a target is reached.

A pilot of a fixed number of networks at every point tells means and variances; from them, and from the modelled cost of
a network, comes one fixed plan. Where it missed its aim at most two rounds follow. The pilot is no part of the result:
a sample whose size was chosen by looking at itself is biased.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet.errors import UsageError
from mcnet.plan import allocation
from mcnet.plan.allocation import LEAST, Coefficient, Counts, Floats
from mcnet.plan.plan import Plan, PlannedPoint
from mcnet.plan.tasks import ranges
from mcnet.scenario.target import families
from mcnet.storage import directory as runfiles
from mcnet.storage import rounds, shard

ROUNDS = 3
"""The fixed plan and two rounds more."""
SLACK = 0.1
"""A target missed by no more than this part of it counts as reached."""


class Statistics(NamedTuple):
    """What is known of the target's observable at some points; arrays of shape (..., points).

    Attributes
    ----------
    mean : ndarray
        Over the networks where it is defined.
    variance : ndarray
        Of one drawn network's contribution: variance over networks, divided by the fraction where it is defined.
    networks : ndarray of int
        Networks behind the two.
    counted : ndarray of int
        Those of them that are part of the result; 0 after a pilot.
    cost : ndarray
        Modelled seconds of one network.
    """

    mean: Floats
    variance: Floats
    networks: Counts
    counted: Counts
    cost: Floats


class Decision(NamedTuple):
    """What a family of points has reached and what it needs; arrays of shape (...), networks (..., points).

    Attributes
    ----------
    estimate : Coefficient
        The 1/M coefficient, or the mean.
    reached : ndarray of bool
    networks : ndarray of int
        Of the result, at each point, after the next round.
    least_error : ndarray
        The error, relative to the largest value that is likely, that the allowed networks come to; more than was asked
        for where the target lies beyond them.
    stability : Coefficient or None
        The 1/M coefficient without the smallest width, where enough are left to fit it.
    """

    estimate: Coefficient
    reached: NDArray[np.bool_]
    networks: Counts
    least_error: Floats
    stability: Coefficient | None = None


def decide(
    statistics: Statistics,
    relative_error: float,
    most: int,
    widths: Sequence[int] | None = None,
    limit: float | None = None,
    last: bool = False,
) -> Decision:
    """What a family of points needs next; with ``widths`` for its 1/M coefficient, else for the mean of each point.

    ``last``: no further round can follow.
    """
    have, networks = statistics.counted, statistics.networks
    stability = None
    if widths is None:
        error = np.sqrt(statistics.variance / networks)
        estimate = Coefficient(statistics.mean, error, np.zeros_like(error), 0)
    else:
        orders = allocation.powers(len(widths), limit is not None)
        means, variances = statistics.mean - (limit or 0.0), statistics.variance
        estimate = allocation.coefficient(widths, means, variances, networks, orders)
        if len(widths) > len(orders):
            stability = allocation.coefficient(
                widths[1:], means[..., 1:], variances[..., 1:], networks[..., 1:], orders
            )
    counted, exact = np.asarray(have >= LEAST), np.asarray(statistics.variance == 0)
    if widths is not None:
        counted, exact = np.all(counted, -1), np.all(exact, -1)
    reached = counted & (exact | (estimate.error <= (1 + SLACK) * relative_error * np.abs(estimate.value)))
    wanted = allocation.wanted_error(estimate.value, estimate.error, relative_error, last)
    if widths is None:
        needed = allocation.networks_for_mean(statistics.variance, wanted, have, most)
        ends = np.sqrt(statistics.variance / needed)
    else:
        needed = allocation.networks_for_coefficient(
            widths, statistics.variance, statistics.cost, orders, wanted, have, most
        )
        ends = allocation.coefficient(widths, np.zeros_like(statistics.mean), statistics.variance, needed, orders).error
    stays = reached if widths is None else reached[..., None]
    likely = np.maximum(wanted / relative_error, 1e-300)
    return Decision(estimate, reached, np.where(stays, have, needed), ends / likely, stability)


def next_round(directory: Path, plan: Plan) -> tuple[Plan, str] | None:
    """Decide about the next round of a run whose shards are all there, and write it down.

    Returns
    -------
    (Plan, str) or None
        The plan as it has grown, and the round in a line; None if nothing more is to be drawn.

    Raises
    ------
    UsageError
        If the observable is defined in no network, or the target lies beyond the networks that it allows.
    DiskError
        If the round cannot be written.
    """
    target = plan.target
    keys = [planned.key for planned in plan.points]
    past = rounds.read(directory)
    if target is None or rounds.ended(past, target, keys):
        return None
    known = _statistics(directory, plan)
    number = rounds.count(past, target, keys)
    grown: dict[str, int] = {}
    results = []
    for indices, limit in _families(plan):
        one = Statistics._make(column[list(indices)] for column in known)
        by_width = target["coefficient"] == "1/M"
        widths = [plan.points[i].point.width for i in indices] if by_width else None
        decision = decide(one, target["relative_error"], target["max_networks"], widths, limit, number == ROUNDS - 1)
        if not one.counted.any():
            _require_within_reach(plan, indices, decision)
        for place, index in enumerate(indices):
            stop = plan.first_network + int(decision.networks[place])
            if stop > plan.points[index].networks:
                grown[keys[index]] = stop
        results += _results(plan, indices, decision, by_width)
    final = not grown or number >= ROUNDS
    content = {
        "format": rounds.FORMAT,
        "format_version": rounds.FORMAT_VERSION,
        "round": len(past) + 1,
        "plan": plan.digest,
        "target": dict(target),
        "points": keys,
        "statistics": [
            dict(zip(Statistics._fields, (value.item() for value in row), strict=True))
            for row in zip(*known, strict=True)
        ],
        "results": results,
        "networks": {} if final else grown,
        "final": final,
    }
    rounds.publish(directory, content)
    runfiles.log(directory, "round", number=content["round"], final=final)
    told = rounds.read(directory)[-1]
    return None if told["final"] else (runfiles.load_plan(directory), _line(told, plan))


def outcome(directory: Path, plan: Plan) -> str:
    """What became of a target, in a line; "" before that is known, and without one."""
    past = rounds.read(directory)
    if plan.target is None or not rounds.ended(past, plan.target, [planned.key for planned in plan.points]):
        return ""
    return rounds.reached_text(past[-1])


def _families(plan: Plan) -> list[tuple[tuple[int, ...], float | None]]:
    """Points that are planned together, and their limit if it is known."""
    assert plan.target is not None
    if plan.target["coefficient"] == "mean":
        return [((index,), None) for index in range(len(plan.points))]
    limits = plan.target.get("limits") or {}
    return [
        (indices, limits.get(plan.points[indices[0]].key))
        for indices in families([planned.point for planned in plan.points])
    ]


def _results(plan: Plan, indices: Sequence[int], decision: Decision, by_width: bool) -> list[dict[str, Any]]:
    """What a round file tells of a family."""
    value, error, chi2 = (float(np.ravel(number)[0]) for number in decision.estimate[:3])
    return [
        {
            "points": [plan.points[i].key for i in indices],
            "value": value,
            "error": error,
            "reached": bool(np.ravel(decision.reached)[0]),
            **({"chi2": chi2, "dof": decision.estimate.dof} if by_width else {}),
            **({} if decision.stability is None else {"without_smallest": _pair(decision.stability)}),
        }
    ]


def _pair(estimate: Coefficient) -> list[float]:
    return [float(np.ravel(estimate.value)[0]), float(np.ravel(estimate.error)[0])]


def _require_within_reach(plan: Plan, indices: Sequence[int], decision: Decision) -> None:
    """Refuse, once the pilot is known, to draw for a target that all allowed networks would miss."""
    assert plan.target is not None
    least = float(np.max(decision.least_error))
    if bool(np.all(decision.reached)) or least <= (1 + SLACK) * plan.target["relative_error"]:
        return
    first, widths = plan.points[indices[0]].point, [plan.points[i].point.width for i in indices]
    at = f"width {widths[0]}" if len(widths) == 1 else f"widths {widths[0]} to {widths[-1]}"
    raise UsageError(
        f"sampling.target: an error of {rounds.percent(plan.target['relative_error'])} lies beyond max_networks = "
        f"{plan.target['max_networks']} ({at}, sigma_w2 {first.sigma_w2:g}): after a pilot, "
        f"{rounds.percent(least)} is what they come to at best. Raise max_networks or relative_error, in the same "
        "directory."
    )


def _line(content: rounds.Round, plan: Plan) -> str:
    more = sum(
        content["networks"][planned.key] - planned.networks
        for planned in plan.points
        if planned.key in content["networks"]
    )
    aims = sum(not result["reached"] for result in content["results"])
    return f"round {content['round']}: {more:,} networks more for {aims} of {len(content['results'])} targets".replace(
        ",", " "
    )


def _statistics(directory: Path, plan: Plan) -> Statistics:
    from mcnet.observables.measure import estimate

    rows = []
    for planned in plan.points:
        values, counted = _values(directory, plan, planned)
        finite = values[np.isfinite(values)]
        if finite.size < 2:
            assert plan.target is not None
            raise UsageError(
                f"sampling.target: {plan.target['observable']} is not defined at the layer asked for, in the networks "
                f"of width {planned.point.width}. Name another layer or observable."
            )
        cost = estimate(planned.point, plan.request_of(planned)).seconds_per_network
        variance = finite.var(ddof=1) * values.size / finite.size
        rows.append((finite.mean(), variance, values.size, counted, cost))
    mean, variance, networks, counted_column, cost_column = zip(*rows, strict=True)
    return Statistics(
        np.array(mean), np.array(variance), np.array(networks), np.array(counted_column), np.array(cost_column)
    )


def _values(directory: Path, plan: Plan, planned: PlannedPoint) -> tuple[Floats, int]:
    """The target's number of each network of the result (of the pilot, as long as there are no others), and how many
    of them are part of the result."""
    assert plan.target is not None
    result: list[Floats] = []
    pilot: list[Floats] = []
    for start, stop in ranges(planned.stops, planned.batch):
        path = directory / runfiles.SHARDS / shard.shard_name(planned.key, start, stop)
        with shard.open_shard(path) as file:
            for variable, data in shard.variables(file):
                if variable.name == plan.target["observable"]:
                    layer = plan.target["layer"]
                    at = {"layer": planned.point.depth if layer is None else layer}
                    place = tuple(at.get(dim, 0) for dim in variable.dims)
                    values = np.asarray(data[(slice(None), *place)], np.float64)
                    (result if start >= plan.first_network else pilot).append(values)
    counted = sum(map(len, result))
    return np.concatenate(result if counted >= LEAST else [*pilot, *result]), counted
