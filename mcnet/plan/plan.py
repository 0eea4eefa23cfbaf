"""The plan of a run: which networks of which points are drawn, in which ranges, and the digest that names it.

A plan is a pure function of the scenario. ``plan.json`` is its only form on disk; a process that resumes a run reads
nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Self

from mcnet import activations
from mcnet.collector import collector_off
from mcnet.errors import DataError, UsageError
from mcnet.plan import checks, entries
from mcnet.plan.allocation import LEAST
from mcnet.plan.format import FORMAT_VERSION, MAX_SHARDS, read_document, sealed_body
from mcnet.plan.tasks import Task, round_robin
from mcnet.point import Point
from mcnet.recipe import Recipe
from mcnet.request import Request
from mcnet.scenario import target as scenario_target
from mcnet.scenario.text import quote

if TYPE_CHECKING:
    from mcnet.scenario.loading import Scenario

SHARD_SECONDS = 8.0  # estimated for one core of a laptop; a fast device takes 1/10 to 1/100 of it
SHARD_BYTES = 256_000_000
IDENTITY_VERSION = 1
"""Of the rules by which a plan is named: every shard carries the digest that follows from them."""


@dataclass(frozen=True)
class PlannedPoint:
    """A point and the networks that are drawn of it.

    Attributes
    ----------
    point : Point
    stops : tuple of int
        Number of networks after each step of growth; the last one is the number of networks.
    batch : int
        Networks per shard.
    sampler : str
        ``conditioned`` or ``explicit``: what ``auto`` came to.
    """

    point: Point
    stops: tuple[int, ...]
    batch: int
    sampler: str

    @property
    def networks(self) -> int:
        """Number of networks of the point."""
        return self.stops[-1]

    @cached_property
    def key(self) -> str:
        """The point key, 16 hexadecimal digits."""
        return f"{self.point.key:016x}"


@dataclass(frozen=True)
class Plan:
    """All points with their networks, and what is measured on them.

    Attributes
    ----------
    points : tuple of PlannedPoint
        In the order of the scenario.
    request : Request
        As the scenario says (:meth:`request_of` has the sampler resolved).
    batch : int or None
        Networks per shard where the scenario says it; None: each point has its own, from its cost.
    title : str
    plugins : tuple of str
        Modules to import before anything is drawn.
    target : mapping or None
        The accuracy to reach (:func:`mcnet.scenario.target.plain`): the points begin with a pilot and grow by rounds.
    scenario : str
        Text of the scenario, for the dataset; "" where it is not known.
    """

    points: tuple[PlannedPoint, ...]
    request: Request
    batch: int | None = None
    title: str = ""
    plugins: tuple[str, ...] = ()
    target: Mapping[str, Any] | None = None
    scenario: str = ""

    @property
    def first_network(self) -> int:
        """Networks before this one are a pilot: they chose how many are drawn, and count in no result."""
        return 0 if self.target is None or self.target["keep_pilot"] else LEAST

    @property
    def identity(self) -> dict[str, Any]:
        """What all shards of a directory have in common, beside the physics of their point.

        The points, their physics and numbers of networks are no part of it: they may grow. The physics of a shard is
        in its point key, and :func:`grow` compares the rest of what is stored per point.
        """
        return {
            "format_version": IDENTITY_VERSION,
            "measure": {name: dict(options) for name, options in self.request.measures.items()},
            "sampling": {
                "seed": self.request.seed,
                "sampler": self.request.sampler,
                "precision": self.request.precision,
                "batch": "automatic" if self.batch is None else self.batch,
            },
            **({} if self.request.train is None else {"train": self.request.train.plain()}),
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of :attr:`identity`; every shard carries it."""
        return hashlib.sha256(_canonical(self.identity).encode()).hexdigest()

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, round robin over the points."""
        return tuple(round_robin((planned.stops, planned.batch) for planned in self.points))

    def request_of(self, planned: PlannedPoint) -> Request:
        """The request for one point, its sampler resolved."""
        return self._requests[planned.sampler]

    @cached_property
    def _requests(self) -> dict[str, Request]:
        """By sampler."""
        return {sampler: replace(self.request, sampler=sampler) for sampler in ("conditioned", "explicit")}

    @collector_off()
    def to_json(self) -> str:
        """Text of ``plan.json``, a function of the plan alone: processes that start together write the same."""
        used: dict[activations.Activation, None] = {}
        values, labels = {}, {}
        for point in (planned.point for planned in self.points):
            used[point.activation] = None
            if point.inputs.values is not None:
                values[point.physics["inputs"]["values_sha256"]] = point.inputs.values
            if point.inputs.labels is not None:
                labels[point.physics["inputs"]["labels_sha256"]] = point.inputs.labels
        document = {
            "format": "mcnet-plan",
            "format_version": FORMAT_VERSION,
            "digest": self.digest,
            "identity": self.identity,
            "title": self.title,
            "plugins": list(self.plugins),
            **({} if self.target is None else {"target": dict(self.target)}),
            "activations": {one.label: {"specification": one.specification, "formula": _formula(one)} for one in used},
            "values": values,
            **({"labels": labels} if labels else {}),
            "scenario": self.scenario,
        }
        lines = ",\n  ".join(entries.lines(self.points))  # a point a line: indented it takes twice as long
        head = json.dumps(document, indent=1, ensure_ascii=False).removesuffix("\n}")
        return sealed_body(f'{head},\n "points": [\n  {lines}\n ]')

    @classmethod
    def from_json(cls, text: str, where: str = "plan.json") -> Self:
        """The plan in a text written by :meth:`to_json`.

        Raises
        ------
        DataError
            If the text is damaged, of a newer format, or means other networks than when it was written (an
            activation of a plug-in that was changed since).
        """
        return cls.from_document(read_document(text, where), where)

    @classmethod
    def from_document(cls, document: Mapping[str, Any], where: str) -> Self:
        """The plan in a document read by :func:`mcnet.plan.format.read_document`; errors as :meth:`from_json`."""
        try:
            for label, entry in document["activations"].items():
                if _formula(activations.get(entry["specification"])) != entry["formula"]:
                    raise DataError(f'{where}: the activation "{label}" was another formula when this run began.')
            values, labels = document["values"], document.get("labels", {})
            points = [entries.point_of(entry, values, labels) for entry in document["points"]]
            sampling, train = document["identity"]["sampling"], document["identity"].get("train")
            if train is not None:
                checks.require_recipe(train)
            recipe = None if train is None else Recipe.of_plain(train)
            if recipe is not None:
                points = [replace(point, train=recipe) for point in points]
            planned = tuple(
                PlannedPoint(point, tuple(entry["stops"]), entry["batch"], entry["sampler"])
                for entry, point in zip(document["points"], points, strict=True)
            )
            plan = cls(
                points=planned,
                request=Request(
                    measures=document["identity"]["measure"],
                    seed=sampling["seed"],
                    sampler=sampling["sampler"],
                    precision=sampling["precision"],
                    train=recipe,
                ),
                batch=None if sampling["batch"] == "automatic" else sampling["batch"],
                title=document["title"],
                plugins=tuple(document["plugins"]),
                target=document.get("target"),
                scenario=document.get("scenario", ""),
            )
            checks.require_request(plan.request, plan.batch)
            for one in planned:
                checks.require_measurable(one.point, plan.request, one.sampler)
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, UsageError, ValueError) as error:
            what = " ".join(str(error).split("\n")[:3])  # pydantic adds the value and an address
            raise DataError(f"{where}: cannot be read as a plan ({quote(what, 200)[1:-1]}).") from error
        keys = [entry["key"] for entry in document["points"]]
        if plan.digest != document["digest"] or keys != [one.key for one in planned]:
            raise DataError(f"{where}: was changed after it was written, or by a version with other rules.")
        return plan


def make_plan(scenario: Scenario, plugins: Iterable[str] = ()) -> Plan:
    """The plan of a scenario; where it gives a target, that of the pilot."""
    target = None if scenario.target is None else scenario_target.plain(scenario.target, scenario.points())
    networks = LEAST if scenario.networks is None else scenario.networks
    plan = plan_points(scenario.points(), scenario.request(), networks, scenario.batch)
    return replace(plan, title=scenario.title, plugins=tuple(plugins), target=target, scenario=scenario.text)


@collector_off()
def plan_points(points: Sequence[Point], request: Request, networks: int, batch: int | None = None) -> Plan:
    """A plan with the same number of networks at all points.

    The automatic batch is that power of two which makes a shard of 4 to 8 s on one laptop core, within
    :data:`SHARD_BYTES`. It comes from a cost model of the point and the request, never from a device or a clock: the
    same scenario has the same shards everywhere.
    """
    from mcnet.observables.measure import Estimates

    estimates, sizes, planned = Estimates(), cache(automatic_batch), []
    for point in points:
        sampler, cost = estimates(point, request)
        size = batch or sizes(cost.seconds_per_network, cost.stored_bytes_per_network)
        planned.append(PlannedPoint(point, (networks,), size, sampler))
    _require_few(planned)
    return Plan(tuple(planned), request, batch)


def _require_few(points: Sequence[PlannedPoint]) -> None:
    """Refuse more shards than a directory can hold and a plan be read with."""
    count = sum(
        -(-(stop - start) // planned.batch)
        for planned in points
        for start, stop in zip((0, *planned.stops), planned.stops, strict=False)
    )
    if count > MAX_SHARDS:
        raise UsageError(
            f"the study makes {_grouped(count)} shards; at most {_grouped(MAX_SHARDS)} shards are allowed. "
            "Raise sampling.batch, or ask for fewer networks."
        )


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def automatic_batch(seconds_per_network: float, stored_bytes_per_network: float) -> int:
    """Largest power of two within the time and the size of a shard, at least 1."""
    most = min(SHARD_SECONDS / max(seconds_per_network, 1e-9), SHARD_BYTES / max(stored_bytes_per_network, 1.0))
    return 1 << max(int(most).bit_length() - 1, 0)


def grow(old: Plan, new: Plan, where: str) -> Plan:
    """The plan of a directory made by ``old`` that shall now also hold the networks of ``new``.

    Points keep their batch, sampler and ranges; what is new is appended.

    Raises
    ------
    DataError
        If the two differ in more than additional points and networks; the message names the difference.
    """
    told = difference(old, new)
    if told:
        raise DataError(f"{where}: was made by another plan ({told}). Use another directory.")
    known = {planned.key: planned for planned in old.points}
    points = []
    for planned in new.points:
        before = known.get(planned.key)
        if before is None:
            points.append(planned)
        elif planned.networks > before.networks:
            points.append(replace(before, stops=(*before.stops, planned.networks)))
        else:
            points.append(before)
    _require_few(points)
    return replace(new, points=tuple(points))


def difference(old: Plan, new: Plan) -> str:
    """Why ``new`` is no continuation of ``old``, in a few words; empty if it is one."""
    told = [
        f"{name} {_shown(before)} -> {_shown(after)}"
        for name, before, after in _changes(_flat(old.identity), _flat(new.identity))
    ]
    if (old.target is None) != (new.target is None):
        told.append("sampling.networks -> sampling.target" if old.target is None else "sampling.target -> networks")
    if not told:
        told = _lost_points(old, new)
    return ", ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")


def _lost_points(old: Plan, new: Plan) -> list[str]:
    """Differences of the points: a plan may gain points and networks, never lose or change one."""
    now = {planned.key: planned for planned in new.points}
    told: dict[str, None] = {}
    for before in old.points:
        after = now.get(before.key)
        if after is None:
            continue
        for name in ("parameterization", "train_biases"):  # not part of the key: they do not change the network
            values = getattr(before.point, name), getattr(after.point, name)
            if values[0] != values[1]:
                told[f"network.{name} {_shown(values[0])} -> {_shown(values[1])}"] = None
        if new.target is None and after.networks < before.networks:
            told[f"sampling.networks {before.networks} -> {after.networks}; it may grow, not shrink"] = None
    if any(planned.key not in now for planned in old.points):
        olds, news = ([_flat(planned.point.physics) for planned in plan.points] for plan in (old, new))
        for name in olds[0]:
            if name == "inputs.dimension" and any(text.startswith("width ") for text in told):
                continue  # follows the width where the scenario says nothing
            before_values, after_values = (
                list(dict.fromkeys(_shown(p.get(name)) for p in side)) for side in (olds, news)
            )
            if not set(before_values) <= set(after_values):
                told[f"{name} {_listed(before_values)} -> {_listed(after_values)}"] = None
        if not told:
            told["points that it holds are no longer asked for"] = None
    return list(told)


def _formula(activation: activations.Activation) -> list[str]:
    """phi and phi' as text: names what a plug-in registered, not only what it called it."""
    from mcnet.activations.expressions import assignments

    lines, results = assignments(
        activation.expressions, "u", float.hex, lambda name, arguments: f"{name}({', '.join(arguments)})"
    )
    return [*(f"{name} = {text}" for name, text in lines), f"phi, dphi = {', '.join(results)}"]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested mappings by dotted name; an empty mapping is a leaf."""
    if not isinstance(tree, Mapping) or not tree:
        return {prefix: tree}
    return {
        name: leaf
        for key, branch in tree.items()
        for name, leaf in _flat(branch, f"{prefix}.{key}" if prefix else key).items()
    }


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name, _ABSENT), new.get(name, _ABSENT)
        if before is _ABSENT or after is _ABSENT or _canonical(before) != _canonical(after):
            yield name, before, after


_ABSENT: Any = object()


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "(absent)"
    return value if isinstance(value, str) else json.dumps(value)


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values[:4]) + (", ..." if len(values) > 4 else "")
