"""``mcnet check``: whether a scenario can be run, and what that would cost."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mcnet import machine, plugins
from mcnet.commands.coordinates import coordinates, varying
from mcnet.commands.text import cell, duration, plural, size, target_text
from mcnet.engine.budget import SHARD_OVERHEAD, SHARD_SECONDS
from mcnet.errors import DiskError, UsageError

if TYPE_CHECKING:
    from mcnet.plan.plan import Plan
    from mcnet.point import Point
    from mcnet.request import Request
    from mcnet.scenario.loading import Scenario

_ZERO = 1e-10  # of v1: rounding of a coefficient that vanishes

SAFETY = 2.3  # the shards, and 1.3 times their size again while the dataset is packed


class Cost(NamedTuple):
    """What a plan costs, estimated: seconds of one core; bytes of all shards, of a network, of the results of a shard.

    Of a study with a target: what its pilot costs.
    """

    shards: int
    networks: int
    seconds: float
    stored_bytes: float
    network_bytes: float
    shard_bytes: float
    advice: str


def cost(plan: Plan) -> Cost:
    """The cost of all points of a plan."""
    from mcnet.observables.measure import Estimates

    estimates = Estimates()
    advice = ""
    shards, networks, seconds, stored, largest, shard = 0, 0, 0.0, 0.0, 0.0, 0.0
    for planned in plan.points:
        _, one = estimates(planned.point, plan.request_of(planned))
        count = -(-planned.networks // planned.batch)
        shards += count
        networks += planned.networks
        seconds += planned.networks * one.seconds_per_network + count * SHARD_SECONDS
        stored += planned.networks * one.stored_bytes_per_network
        stored += count * (SHARD_OVERHEAD + one.stored_bytes_per_shard)
        if one.bytes_per_network > largest:
            advice = _advice(planned.point, plan.request_of(planned))
        largest = max(largest, one.bytes_per_network)
        largest_shard = planned.batch if plan.target is not None else min(planned.batch, planned.networks)
        shard = max(shard, largest_shard * one.stored_bytes_per_network + one.stored_bytes_per_shard)
    return Cost(shards, networks, seconds, stored, largest, shard, advice)


def _advice(point: Point, request: Request) -> str:
    """What else helps where the tangent kernel fills the memory."""
    from mcnet.observables.costs import kernel_bytes, needs_at

    if "tangent" not in needs_at(point, request):
        return ""
    count, outputs = point.inputs.count, point.outputs or 1
    return (
        f" The tangent kernel of {outputs} x {count} outputs and inputs takes {size(kernel_bytes(point))} of it; "
        "fim = { eigenvalue = false, trace2 = false } as the only measure of it does without the matrix."
    )


def require_memory(found: Cost, name: str) -> None:
    """Refuse what does not fit this machine.

    Raises
    ------
    UsageError
        If a network does not fit the memory.
    """
    memory = machine.memory()
    needed = found.network_bytes + found.shard_bytes
    if memory and needed > memory:
        raise UsageError(
            f"{name}: one network and the results of one shard take about {size(needed)}; "
            f"this machine has {size(memory)} of memory. Lower width, inputs, outputs or sampling.batch.{found.advice}"
        )


def require_resumable(directory: Path) -> None:
    """Refuse to go on with a run, or the runs of members, that this machine has not the memory for."""
    from mcnet.storage import members
    from mcnet.storage.directory import load_plan

    for place in members.places(directory).values() if members.are_in(directory) else [directory]:
        require_memory(cost(load_plan(place)), str(place))


def _require_space(stored_bytes: float, name: str, folder: Path) -> None:
    """Refuse what the disk of ``folder`` cannot hold.

    Raises
    ------
    DiskError
    """
    free = shutil.disk_usage(folder).free
    if SAFETY * stored_bytes > free:
        raise DiskError(
            f"{name}: takes about {size(SAFETY * stored_bytes)} on disk, {size(free)} are free in {folder}. "
            "Free some space, or choose another directory."
        )


def check(
    scenario: str, overrides: Sequence[str], plugin_names: Sequence[str], *, disk: bool = True, quiet: bool = True
) -> dict[str, Any]:
    """Check a scenario; ``disk``: also whether the current directory has the space.

    Returns
    -------
    dict
        ``title``, ``points``, ``networks`` (of a point; None with a target), ``shards``, ``seconds`` (of one core, of
        which every shard takes some milliseconds), ``bytes`` (on disk: shards and dataset), ``memory`` (bytes, of one
        network and the results of one shard), ``samplers``, ``reproducibility`` (what can be repeated on another
        processor), ``inputs`` (how many of which size, and where data come from), ``doubts`` (what may be other than it
        was meant), ``forecast`` (errors that the coefficients of 1/M will have: ``point``, ``observable``,
        ``inputs``, ``a1``, ``a1_error``, ``v1``, ``v1_error``), ``ok``. With a target also ``target``, and ``pilot``:
        networks of a point that are drawn first, whose shards, seconds and bytes these are. Of a scenario with members
        ``title``, ``shards``, ``seconds``, ``bytes``, ``memory``, ``doubts`` of all of them, and ``members``: the same
        of each, by name.

    Raises
    ------
    ScenarioError
        With all its mistakes.
    UsageError, DiskError
        If it cannot be run here.
    """
    from mcnet.scenario.loading import Scenario
    from mcnet.scenario.members import load

    plugins.load(plugin_names)
    study = load(scenario, overrides, quiet=quiet)
    folder = Path.cwd() if disk else None
    if isinstance(study, Scenario):
        return _of_study(study, scenario, plugin_names, folder)
    every = {name: _of_study(each, scenario, plugin_names, folder) for name, each in study.studies.items()}
    if folder is not None:
        _require_space(sum(found["bytes"] for found in every.values()) / 2, scenario, folder)
    return {
        "title": study.title,
        **{name: sum(found[name] for found in every.values()) for name in ("points", "shards", "seconds", "bytes")},
        "memory": max(found["memory"] for found in every.values()),
        "doubts": [f"member {name}: {doubt}" for name, found in every.items() for doubt in found["doubts"]],
        "members": every,
        "ok": True,
    }


def _of_study(study: Scenario, name: str, plugin_names: Sequence[str], folder: Path | None) -> dict[str, Any]:
    """What running a study costs; refused where the memory, or the disk of a folder, does not hold it."""
    from mcnet.plan.plan import make_plan
    from mcnet.scenario.rounding import promise

    plan = make_plan(study, plugin_names)
    found = cost(plan)
    require_memory(found, name)
    if folder is not None:
        _require_space(found.stored_bytes, name, folder)
    foreseen = [] if plan.target is not None else _forecast(plan, study.analyze.theory or ("mean-field", "1/M"))
    return {
        "title": study.title,
        "points": len(plan.points),
        "networks": study.networks,
        **({} if plan.target is None else {"pilot": plan.points[0].networks, "target": dict(plan.target)}),
        "shards": found.shards,
        "seconds": found.seconds,
        "bytes": 2 * found.stored_bytes,
        "memory": found.network_bytes + found.shard_bytes,
        "inputs": inputs([planned.point for planned in plan.points]),
        "doubts": list(study.doubts),
        "forecast": foreseen,
        "samplers": sorted({planned.sampler for planned in plan.points}),
        "reproducibility": promise([(p.point, p.sampler) for p in plan.points], plan.request.precision),
        "ok": True,
    }


def _forecast(plan: Plan, orders: Sequence[str]) -> list[dict[str, Any]]:
    """Of some families of widths of the plan; named by what varies between its points."""
    from mcnet_analysis.forecast import forecast

    rows = forecast([(p.point, p.networks) for p in plan.points], plan.request.measures, tuple(orders))
    names = [name for name in varying([coordinates(p.point) for p in plan.points]) if name != "width"]
    return [
        {
            "point": {name: row.law[name] for name in names if name in row.law},
            **{name: value for name, value in row._asdict().items() if name != "law"},
        }
        for row in rows
    ]


def inputs(points: Sequence[Point]) -> str:
    """``100 inputs x 64``: how many of how many components; where data come from and what was made of them."""
    counts, sizes = ({getattr(point.inputs, name) for point in points} for name in ("count", "dimension"))
    shown = f"{_span(counts)} input{'s' * (counts != {1})} x {_span(sizes)}"
    return ", ".join([shown, *dict.fromkeys(filter(None, (point.inputs.description for point in points)))])


def _span(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def text(result: dict[str, Any]) -> str:
    """A line of what there is and what it costs; more of repeating it, of a target, and of doubts; of each member."""
    if "members" in result:
        each = [f"{name}: {text(found)}" for name, found in result["members"].items()]
        every = (
            f"{plural(len(each), 'member')}: {plural(result['points'], 'point')}, {plural(result['shards'], 'shard')}, "
            f"about {duration(result['seconds'])} on one core, {size(result['bytes'])} on disk, "
            f"{size(result['memory'])} of memory. OK"
        )
        return "\n".join([*each, every])
    sampler = " and ".join(result["samplers"])
    exact = {"conditioned": "conditioned (exact)"}.get(sampler, sampler)
    target = result.get("target")
    drawn = plural(result["networks"] if target is None else result["pilot"], "network")
    lines = [
        f"{plural(result['points'], 'point')} x {drawn}{' (a pilot)' if target else ''}, "
        f"{plural(result['shards'], 'shard')}, about {duration(result['seconds'])} on one core, "
        f"{size(result['bytes'])} on disk, {size(result['memory'])} of memory. {result['inputs']}. Sampler: {exact}. OK"
    ]
    if "same law" in result["reproducibility"]:
        lines.append(f"repeated: {result['reproducibility']}")
    if target is not None:
        lines.append(
            f"then as many as {target_text(target)} takes, "
            f"at most {plural(target['max_networks'], 'network')} at a point"
        )
    lines += _forecast_lines(result["forecast"])
    lines += [f"warning: {sentence}" for sentence in result["doubts"]]
    return "\n".join(lines)


def _forecast_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each family: the coefficients that theory predicts, with the errors that the fits will have."""
    if not rows:
        return []
    families: dict[str, list[str]] = {}
    for row in rows:
        where = ", ".join(f"{name} = {cell(value)}" for name, value in row["point"].items())
        families.setdefault(where, []).append(_foreseen(row))
    head = (
        "expected coefficients of 1/M at the last layer, with the errors of their fits (* not distinguished from zero)"
    )
    return [f"{head}:", *(f"  {where + ': ' if where else ''}{'; '.join(parts)}" for where, parts in families.items())]


def _foreseen(row: Mapping[str, Any]) -> str:
    blind = abs(row["a1"]) < 2.0 * row["a1_error"]
    a1 = "0" if abs(row["a1"]) < _ZERO * abs(row["v1"]) else f"{row['a1']:.2g}"
    mark = "*" if blind else ""
    pair = "({},{})".format(*row["inputs"]) if len(row["inputs"]) == 2 else ""
    return (
        f"{row['observable']}{pair} a1 {a1} ± {row['a1_error']:.1g}{mark}, v1 {row['v1']:.3g} ± {row['v1_error']:.1g}"
    )
