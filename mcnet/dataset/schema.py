"""What a dataset looks like: groups, dimensions, coordinates and variables, for a file and in memory alike.

A point of the grid is a row. Points with fewer layers or ranks are padded, floats with NaN and counts with 0; the
coordinates ``depth``, ``n_rank`` and ``n_networks`` say how much of a row is real.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures, provenance
from mcnet.architectures.keys import EPSILON
from mcnet.coordinates import COORDINATES, Coordinate
from mcnet.dataset.checks import FORMAT_VERSION
from mcnet.observables import jacobian, tangent
from mcnet.plan.plan import Plan
from mcnet.recipe import Recipe
from mcnet.request import Request
from mcnet.scenario import rounding
from mcnet.streams import STREAM_VERSION
from mcnet.variables import Variable

CONVENTIONS = "mcnet-1"
GRAM_BYTES = 64_000_000  # the Gram matrices of the inputs are stored up to this size of the whole variable

Block = NDArray[np.generic]


class Content(NamedTuple):
    """What there is of one point.

    Attributes
    ----------
    ranges : tuple of (int, int)
        Networks that were drawn, in order.
    layouts : tuple of (Variable, tuple of int)
        The variables and their shapes without the leading axis.
    input_gram : ndarray, shape (T, T), or None
        The Gram matrix x.x/M_0 of inputs that are the same for all networks.
    records : tuple of mapping
        The quality record of each range.
    """

    ranges: tuple[tuple[int, int], ...]
    layouts: tuple[tuple[Variable, tuple[int, ...]], ...]
    input_gram: NDArray[np.float64] | None
    records: tuple[Mapping[str, Any], ...]

    @property
    def networks(self) -> int:
        """Number of networks."""
        return sum(stop - start for start, stop in self.ranges)


class Array(NamedTuple):
    """A coordinate (with its values) or a measured variable (to be filled block by block)."""

    name: str
    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    attributes: Mapping[str, str]
    values: Block | None = None
    variable: Variable | None = None


@dataclass(frozen=True)
class Group:
    """One group: self-contained, so that it can be opened alone.

    Attributes
    ----------
    name : str
        "" for the root.
    sizes : mapping of str to int
    coordinates, variables : tuple of Array
        A coordinate named like its dimension is that dimension's index; a dimension without one is counted from 0.
    """

    name: str
    sizes: Mapping[str, int]
    coordinates: tuple[Array, ...]
    variables: tuple[Array, ...]

    def shape(self, array: Array) -> tuple[int, ...]:
        """Shape of an array of the group."""
        return tuple(self.sizes[dim] for dim in array.dims)

    def rows(self, array: Array) -> NDArray[np.int64]:
        """How many rows of a measured variable are real at each point, shape (points,)."""
        name = "n_networks" if array.dims[1] == "network" else "n_shards"
        counts = next(coordinate.values for coordinate in self.coordinates if coordinate.name == name)
        assert counts is not None, "a coordinate has values"
        return counts.astype(np.int64)

    def path(self, array: Array) -> str:
        """Full name of an array."""
        return f"{self.name}/{array.name}" if self.name else array.name


@dataclass(frozen=True)
class Schema:
    """A dataset but for its measured numbers."""

    attributes: Mapping[str, str | int]
    groups: tuple[Group, ...]


def fill_value(dtype: np.dtype[Any]) -> Any:
    """What stands where nothing was measured."""
    return np.nan if dtype.kind in "fc" else 0


def padded(block: Block, shape: tuple[int, ...]) -> Block:
    """A block of rows with its trailing axes filled up to ``shape``."""
    if block.shape[1:] == shape:
        return block
    full = np.full((len(block), *shape), fill_value(block.dtype), dtype=block.dtype)
    full[tuple(slice(size) for size in block.shape)] = block
    return full


def stored(values: Block) -> Block:
    """Values as bytes, for digests: text as UTF-8 of one length, truth as int8."""
    if values.dtype.kind == "U":
        encoded = np.strings.encode(values.astype(np.str_), "utf-8")
        return encoded.astype(f"S{max(encoded.dtype.itemsize, 1)}")
    return values.astype(np.int8) if values.dtype.kind == "b" else values


def build(plan: Plan, contents: Sequence[Content], scenario_toml: str) -> Schema:
    """The schema of what there is of a plan.

    Parameters
    ----------
    plan : Plan
    contents : sequence of Content
        One for each point of the plan, in its order.
    scenario_toml : str
        Text of the scenario.
    """
    points = _point_coordinates(plan, contents)
    root = Group("", {"point": len(plan.points)}, points, ())
    gram = _input_gram(contents)
    if gram is not None:
        sizes = {**root.sizes, "input_a": gram.shape[1], "input_b": gram.shape[2]}
        texts = {
            "long_name": "Gram matrix of the inputs",
            "symbol": "q_hat^0_ab",
            "units": "1",
            "definition": "x_a . x_b / M_0 of inputs that are the same for all networks; NaN where they are fresh",
        }
        variable = Array("input_gram", ("point", "input_a", "input_b"), gram.dtype, texts, gram)
        root = Group("", sizes, points, (variable,))
    if any(planned.point.inputs.labels is not None for planned in plan.points):
        labels = _input_labels(plan)
        root = Group("", {**root.sizes, "input": labels.shape[1]}, points, (*root.variables, _labels_array(labels)))
    names = sorted({variable.group for content in contents for variable, _ in content.layouts})
    measured = tuple(_measured_group(name, contents, points, plan.request) for name in names)
    quality = _quality_group(contents, points, plan)
    return Schema(_attributes(plan, contents, scenario_toml), (root, *measured, quality))


def _measured_group(name: str, contents: Sequence[Content], points: tuple[Array, ...], request: Request) -> Group:
    variables: dict[str, Variable] = {}
    sizes = {"point": len(contents)}
    ranks = np.zeros(len(contents), dtype=np.int64)
    for index, content in enumerate(contents):
        for variable, shape in content.layouts:
            if variable.group != name:
                continue
            known = variables.setdefault(variable.name, variable)
            assert (known.dims, known.dtype) == (variable.dims, variable.dtype), (
                f"{variable.name} differs between points"
            )
            rows = ("shard", len(content.ranges)) if variable.per_shard else ("network", content.networks)
            for dim, size in (rows, *zip(variable.dims, shape, strict=True)):
                sizes[dim] = max(sizes.get(dim, 0), size)
                if dim == "rank":
                    ranks[index] = max(ranks[index], size)
    arrays = tuple(
        Array(
            variable.name,
            ("point", "shard" if variable.per_shard else "network", *variable.dims),
            np.dtype(variable.dtype),
            variable.attributes,
            variable=variable,
        )
        for variable in sorted(variables.values(), key=lambda variable: variable.name)
    )
    coordinates = [*points, *(array for dim, size in sizes.items() for array in _dimension_coordinates(dim, size))]
    if request.train is not None:
        coordinates += _training_coordinates(request.train, sizes)
    if "rank" in sizes:
        coordinates.append(_array("n_rank", ("point",), ranks, "number of ranks that are real"))
    if "shard" in sizes:
        coordinates.append(_shards(contents))
    if "bin" in sizes and name in request.measures:
        edges = {"jacobian": jacobian.edges, "block_jacobian": jacobian.edges, "ntk": tangent.edges}
        bounds = edges[name](request.measures[name])
        sizes["bin_edge"] = bounds.size
        what = "edges of the bins but for the first and the last, which are open"
        coordinates.append(_array("bin_edge", ("bin_edge",), bounds, what))
    return Group(name, sizes, tuple(coordinates), arrays)


def _training_coordinates(recipe: Recipe, sizes: Mapping[str, int]) -> list[Array]:
    unit = "in units of 2 / lambda_max of each network" if recipe.learning_rate_unit == "bound" else "as given"
    known = {
        "learning_rate": (recipe.learning_rate, np.float64, f"learning rate, {unit}"),
        "step": (range(recipe.steps + 1), np.int64, "step of training; values are those before it"),
        "recorded_step": (recipe.record, np.int64, "step of training; values are those before it"),
    }
    return [
        _array(dim, (dim,), np.array(list(v), kind), text) for dim, (v, kind, text) in known.items() if dim in sizes
    ]


def _dimension_coordinates(dim: str, size: int) -> Iterator[Array]:
    if dim == "layer":
        yield _array("layer", ("layer",), np.arange(size), "layer, from 0 (input) to depth")
    elif dim == "input":
        yield _array("input", ("input",), np.arange(size), "input")
    elif dim == "rank":
        yield _array("rank", ("rank",), np.arange(1, size + 1), "rank, 1 is the largest")
    elif dim == "order":
        yield _array("order", ("order",), np.arange(1, size + 1), "power of the moment")
    elif dim == "pair":
        inputs = round((1 + (1 + 8 * size) ** 0.5) / 2)
        first, second = np.triu_indices(inputs, 1)
        yield _array("pair", ("pair",), np.arange(size), "pair of inputs")
        yield _array("input_a", ("pair",), first, "first input of the pair")
        yield _array("input_b", ("pair",), second, "second input of the pair")


def _point_coordinates(plan: Plan, contents: Sequence[Content]) -> tuple[Array, ...]:
    def column(name: str, long_name: str, values: Iterable[Any], dtype: str = "str") -> Array:
        column = np.array(list(values), dtype=None if dtype == "str" else dtype)
        return _array(name, ("point",), column, long_name)

    def coordinate(each: Coordinate) -> Array:
        values = (each.of(point) for point in points)
        return column(each.name, each.text, (each.absent if v is None else v for v in values), each.dtype)

    def key(each: Coordinate) -> Array:
        """Numbers and truth as numbers where they are so at all points, else as text."""
        values = [each.of(point) for point in points]
        if all(value is None or isinstance(value, int | float) for value in values):
            return column(each.name, each.text, (np.nan if v is None else v for v in values), "float64")
        return column(each.name, each.text, (_text(value) for value in values))

    points = [planned.point for planned in plan.points]
    return (
        column("point", "point of the grid", range(len(points)), "int64"),
        *(coordinate(each) for each in COORDINATES),
        *(key(each) for each in _keys(plan)),
        column("sampler", "how the networks were sampled", (planned.sampler for planned in plan.points)),
        column("n_networks", "number of networks that are real", (c.networks for c in contents), "int64"),
        column("point_key", "names the random streams of the point", (planned.key for planned in plan.points)),
    )


def _described(plan: Plan) -> tuple[str, ...]:
    """Where data that are inputs come from, and what was made of them."""
    return tuple(dict.fromkeys(filter(None, (planned.point.inputs.description for planned in plan.points))))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _keys(plan: Plan) -> tuple[Coordinate, ...]:
    """The keys of the architectures."""
    names = dict.fromkeys(planned.point.architecture for planned in plan.points)
    known = {key.name: key for name in names for key in architectures.lookup(name).coordinates}
    if not any(EPSILON in planned.point.keys for planned in plan.points):
        known.pop(EPSILON, None)  # without a normalisation inside it means nothing
    return tuple(known.values())


def _shards(contents: Sequence[Content]) -> Array:
    counts = np.array([len(content.ranges) for content in contents], dtype=np.int64)
    return _array("n_shards", ("point",), counts, "number of shards that are real")


_FACTS = {
    "start": ("first network of the shard", "1"),
    "stop": ("network after the last one of the shard", "1"),
    "host": ("machine", "1"),
    "pid": ("process", "1"),
    "device": ("device", "1"),
    "software": ("versions, backend and driver", "1"),
    "started_utc": ("when the work began, UTC", "1"),
    "wall_seconds": ("wall time of drawing and measuring", "s"),
    "cpu_seconds": ("processor time of drawing and measuring", "s"),
    "peak_memory_bytes": ("largest memory of the process so far", "B"),
    "sha256": ("SHA-256 of the payload of the shard", "1"),
}


def _quality_group(contents: Sequence[Content], points: tuple[Array, ...], plan: Plan) -> Group:
    """One record per shard: who made it, and how; and the plan. Outside the content digest."""
    shape = (len(contents), max(len(content.ranges) for content in contents))
    fills: Mapping[type, Any] = {int: -1, float: np.nan, str: ""}
    columns: dict[str, Block] = {}
    for row, content in enumerate(contents):
        for place, ((start, stop), record) in enumerate(zip(content.ranges, content.records, strict=True)):
            for name, value in {"start": start, "stop": stop, **record}.items():
                if name not in columns:
                    kind = type(value)
                    columns[name] = np.full(shape, fills[kind], dtype=object if kind is str else kind)
                columns[name][row, place] = value
    variables = tuple(
        Array(
            name,
            ("point", "shard"),
            (values := column.astype(str) if column.dtype == object else column).dtype,
            {"long_name": _FACTS.get(name, (name,))[0], "units": _FACTS.get(name, ("", "1"))[1]},
            values,
        )
        for name, column in sorted(columns.items())
    )
    text = replace(plan, scenario="").to_json()  # an attribute of the root has the scenario
    packed = np.frombuffer(zlib.compress(text.encode()), np.uint8)
    plan_array = _array("plan", ("plan_byte",), packed, "plan.json of the run, compressed by zlib")
    sizes = {"point": shape[0], "shard": shape[1], "plan_byte": packed.size}
    return Group("quality", sizes, (*points, _shards(contents)), (*variables, plan_array))


def _input_gram(contents: Sequence[Content]) -> NDArray[np.float64] | None:
    known = [content.input_gram for content in contents if content.input_gram is not None]
    size = max((len(gram) for gram in known), default=0)
    if not known or 8 * len(contents) * size**2 > GRAM_BYTES:
        return None
    gram = np.full((len(contents), size, size), np.nan)
    for row, content in zip(gram, contents, strict=True):
        if content.input_gram is not None:
            row[: len(content.input_gram), : len(content.input_gram)] = content.input_gram
    return gram


def _input_labels(plan: Plan) -> NDArray[np.int64]:
    """Numbers of the classes of the inputs, -1 where an input has none."""
    known = [planned.point.inputs.labels or () for planned in plan.points]
    table = np.full((len(known), max(map(len, known))), -1, dtype=np.int64)
    for row, labels in zip(table, known, strict=True):
        row[: len(labels)] = labels
    return table


def _labels_array(labels: NDArray[np.int64]) -> Array:
    texts = {
        "long_name": "class of an input",
        "symbol": "label",
        "units": "1",
        "definition": "place of its label among the classes asked for, else among all in rising order; -1: none",
    }
    return Array("input_label", ("point", "input"), labels.dtype, texts, labels)


def _array(name: str, dims: tuple[str, ...], values: Block, long_name: str) -> Array:
    return Array(name, dims, values.dtype, {"long_name": long_name}, values)


def _attributes(plan: Plan, contents: Sequence[Content], scenario_toml: str) -> dict[str, str | int]:
    labels = {planned.point.activation.label: planned.point.activation.specification for planned in plan.points}
    return {
        "Conventions": CONVENTIONS,
        "title": plan.title,
        "format_version": FORMAT_VERSION,
        "scenario_toml": scenario_toml,
        "plan_digest": plan.digest,
        "seed": plan.request.seed,
        "rng": f"Philox4x32-10, stream version {STREAM_VERSION}: counter (column/4, row, network, role<<24 | layer), "
        "key from (seed, point_key); inputs that are not fresh: key = seed, network 0",
        "sampler": ", ".join(sorted({planned.sampler for planned in plan.points})),
        "precision": plan.request.precision,
        "reproducibility": rounding.promise([(p.point, p.sampler) for p in plan.points], plan.request.precision),
        "measures_json": json.dumps({name: dict(options) for name, options in plan.request.measures.items()}),
        "activations_json": json.dumps(labels),
        **({} if plan.request.train is None else {"train_json": json.dumps(plan.request.train.plain())}),
        **({"keys_json": json.dumps({key.name: key.symbol for key in keys})} if (keys := _keys(plan)) else {}),
        **({"inputs": "; ".join(data)} if (data := _described(plan)) else {}),
        "networks_planned": sum(planned.networks for planned in plan.points),
        "networks_present": sum(content.networks for content in contents),
        "license": "not stated by the owner of the data",
        **provenance.source(),
        **provenance.software(),
    }
