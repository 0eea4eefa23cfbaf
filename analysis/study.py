"""What a dataset says to the analysis: the settings of its points, families of widths, columns of values."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from mcnet_analysis.statistics.estimate import Floats

from mcnet import activations, architectures
from mcnet.activations.table import Activation
from mcnet.coordinates import COORDINATES, DENSE, OUTPUT_NORMALIZATIONS
from mcnet.dataset import attributes
from mcnet.dataset.input_rows import row_grams
from mcnet.point import Inputs, Point, frozen
from mcnet.predictions import Ensemble

if TYPE_CHECKING:
    import xarray

MAX_INPUTS = 4  # with more, the first four inputs and the pairs between them are analysed
MAX_ENTRIES = 2**25  # of the Gram matrices of all points together; beyond, those of the first inputs
MAX_LOADED = 2**26  # bytes of a variable that is read for all points together
MAX_LAYERS = 12  # layers that enter tables and covariances; curves show all

LAW = tuple(each.name for each in COORDINATES if each.name not in ("width", "input_dimension"))
"""Coordinates that describe the law of a point and are shown wherever it is named; keys of architectures follow."""

_EXACT_KINDS = ("single", "pair")  # lengths and correlation hold exactly, whatever the directions
_TRUTH = tuple(each.name for each in COORDINATES if each.dtype == "bool")


@dataclass(frozen=True)
class Setting:
    """One point of the dataset.

    Attributes
    ----------
    index : int
        Its place along the dimension ``point``.
    law : dict
        The coordinates of :data:`LAW`, as plain Python values; None where a value is missing.
    gram : (T, T) array or None
        Gram x.x/M_0 of the inputs: exact for single and pair and for inputs that are fixed; of the law of the inputs
        if they are drawn anew for every network.
        Of the first inputs where all would be too many (:data:`MAX_ENTRIES`).
    rows : (R, R) array or None
        The same of all rows (positions, tokens) where an input has several; None where it has one, or they are unknown.
    fluctuating : bool
        Whether the Gram differs from network to network.
    tangent : str
        "" if neither the tangent kernel nor the Fisher matrix was measured; "mean" if of several outputs only the mean
        of their kernels was kept; else "entries".
    """

    index: int
    width: int
    input_dimension: int
    networks: int
    activation: Activation
    law: dict[str, Any]
    gram: Floats
    fluctuating: bool
    tangent: str
    rows: Floats | None = None

    @property
    def depth(self) -> int:
        return int(self.law["depth"])

    @property
    def inputs(self) -> int:
        return int(self.law["inputs"])

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of the architecture, as plain values."""
        named = {name: value for name, value in self.law.items() if name not in LAW and value not in (None, "")}
        return {name: _parsed(value) for name, value in named.items()}

    @cached_property
    def ensemble(self) -> Ensemble:
        """What is predicted of it."""
        law = self.law
        inputs = Inputs(
            str(law["input_kind"]), self.inputs, self.input_dimension, law["q0"], law["c0"], fresh=law["fresh"]
        )
        point = Point(
            architecture=str(law["architecture"]),
            activation=self.activation,
            weights=str(law["weights"]),
            width=self.width,
            depth=self.depth,
            sigma_w2=float(law["sigma_w2"]),
            sigma_b2=float(law["sigma_b2"]),
            inputs=inputs,
            outputs=int(law["outputs"] or 0) or None,
            readout=str(law["readout"] or "gaussian"),
            normalization=str(law["normalization"]),
            parameterization=str(law["parameterization"]),
            train_biases=bool(law["train_biases"]),
            parameters=frozen(self.keys),
        )
        rows = architectures.of(point).rows if point.architecture in architectures.names() else 1
        if rows == 1:
            return Ensemble(point, np.asarray(self.gram, dtype=np.float64), self.fluctuating)
        if self.rows is not None:
            return Ensemble(point, self.rows, False)
        if law["fresh"] and inputs.kind != "values":
            return Ensemble.of(point)
        return Ensemble(point, np.full((rows * self.inputs,) * 2, np.nan), False)  # nobody knows

    @property
    def why_no_theory(self) -> str | None:
        """Why theory has nothing to say about these networks at all, or None."""
        architecture, normalization = self.law["architecture"], self.law["normalization"]
        if architecture != DENSE:
            return f'there is no theory of the architecture "{architecture}"'
        inside = normalization not in OUTPUT_NORMALIZATIONS
        return f'there is no theory of dense networks with normalization "{normalization}"' if inside else None

    @property
    def why_unknown(self) -> str | None:
        """Why nobody knows these networks, or None: their architecture is not registered."""
        known = self.law["architecture"] in architectures.names()
        return None if known else f'there is no theory of the architecture "{self.law["architecture"]}"'

    @property
    def exchangeable(self) -> bool:
        """Whether there are more than two inputs, all of one length and one overlap."""
        if self.inputs <= 2 or (len(self.gram) < self.inputs and not _by_law(self.law)):
            return False
        own, overlap = self.gram[0, 0], self.gram[0, 1]
        rows = ((row, np.where(np.arange(row.size) == t, own, overlap)) for t, row in enumerate(self.gram))
        return all(np.allclose(row, wanted, rtol=1e-12) for row, wanted in rows)

    @property
    def input_ratio(self) -> float | None:
        """M_0/M where the law depends on it; None where it does not (given the Gram)."""
        matters = self.fluctuating or self.law["weights"] != "gaussian"
        matters = matters or (self.tangent and self.law["parameterization"] == "standard")  # alpha_1 = M_0
        return self.input_dimension / self.width if matters else None

    @property
    def point(self) -> dict[str, Any]:
        """The point as tables name it."""
        return {"width": self.width, **self.law}


class Column(NamedTuple):
    """One observable at one layer (None: it has no layers) of one input ``(a,)``, pair ``(a, b)`` or all ``()``."""

    observable: str
    inputs: tuple[int, ...]
    layer: int | None

    @property
    def place(self) -> dict[str, Any]:
        """Where it is, as tables say it."""
        where: dict[str, Any] = {}
        if self.inputs:
            where = {"input": self.inputs[0]} if len(self.inputs) == 1 else {"pair": list(self.inputs)}
        return {"layer": self.layer, **where}


def column_of(row: dict[str, Any]) -> Column:
    """The column of a row of a table that has its observable and its place."""
    inputs = tuple(row["pair"]) if "pair" in row else (row["input"],) if "input" in row else ()
    return Column(row["observable"], inputs, row["layer"])


Picks = dict[tuple[int, ...], dict[str, int | slice]]


class Source(NamedTuple):
    """Where the values of an observable are: see :class:`mcnet_analysis.predict.prediction.Observable`."""

    name: str
    group: str
    variable: str
    first_layer: int | None
    picks: Callable[[Setting, tuple[str, ...]], Picks]
    power: int
    at: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Family:
    """Points that differ in width only, smallest first; input dimension and vectors may change with the width."""

    settings: tuple[Setting, ...]

    @property
    def first(self) -> Setting:
        return self.settings[0]

    @property
    def widths(self) -> Floats:
        return np.array([setting.width for setting in self.settings], dtype=np.float64)

    @property
    def point(self) -> dict[str, Any]:
        """The family as tables name it: the law, and its widths."""
        return {"widths": [setting.width for setting in self.settings], **self.first.law}


def settings(tree: xarray.DataTree) -> tuple[Setting, ...]:
    """The points of a dataset, in its order."""
    root = tree.to_dataset()
    known = attributes.known_activations(root.attrs)
    grams = root.get("input_gram")
    most = max(MAX_INPUTS, math.isqrt(MAX_ENTRIES // max(1, root.sizes["point"])))
    names = (*LAW, *attributes.keys(root.attrs))
    rows = row_grams(tree)
    result = []
    told = {name: root[name].values for name in names if name in root}
    widths, dimensions, networks = (root[name].values for name in ("width", "input_dimension", "n_networks"))
    for i in range(root.sizes["point"]):
        law = {name: _plain(values[i]) for name, values in told.items()}
        law.update({name: bool(law[name]) for name in _TRUTH})
        label = str(law["activation"])
        result.append(
            Setting(
                index=i,
                width=int(widths[i]),
                input_dimension=int(dimensions[i]),
                networks=int(networks[i]),
                activation=known.get(label) or activations.get(label),
                law=law,
                gram=_gram(law, None if grams is None else grams[i, :most, :most], most),
                fluctuating=law["fresh"] and law["input_kind"] not in _EXACT_KINDS,
                tangent=_tangent(tree, law),
                rows=rows[i],
            )
        )
    return tuple(result)


def planned(index: int, point: Point, networks: int, tangent: bool) -> Setting:
    """The setting that a point will be; ``tangent``: whether its kernel or Fisher matrix is measured."""
    ensemble = Ensemble.of(point)
    known = point.coordinates
    return Setting(
        index=index,
        width=point.width,
        input_dimension=point.inputs.dimension,
        networks=networks,
        activation=point.activation,
        law={**{name: known.get(name) for name in LAW}, **point.keys},
        gram=ensemble.gram,
        fluctuating=ensemble.fluctuating,
        tangent="entries" if tangent else "",
    )


def families(points: Sequence[Setting]) -> tuple[Family, ...]:
    """Points grouped by everything but the width, in order of first appearance.

    Inputs whose dimension is fixed, or that are drawn once for each dimension, are one family: theory knows what
    differs between its widths.
    """
    groups: dict[str, list[Setting]] = {}
    for point in points:
        groups.setdefault(json.dumps([point.law, point.fluctuating], default=str), []).append(point)
    found: list[list[Setting]] = []
    for group in groups.values():
        if len({point.width for point in group}) == len(group):
            found.append(group)
            continue
        apart: dict[str, list[Setting]] = {}  # several sets of inputs at one width
        for point in group:
            gram = hashlib.sha256(np.round(point.gram, 12).tobytes()).hexdigest()
            apart.setdefault(json.dumps([point.input_dimension / point.width, gram]), []).append(point)
        found += apart.values()
    return tuple(Family(tuple(sorted(group, key=lambda point: point.width))) for group in found)


def columns(tree: xarray.DataTree, setting: Setting, sources: Sequence[Source]) -> list[Column]:
    """Columns that the dataset has for a point; sources that were not measured are passed over."""
    result = []
    for source, variable in _measured(tree, sources):
        if source.first_layer is None:
            result += [Column(source.name, index, None) for index in source.picks(setting, variable.dims[2:])]
            continue
        for index in _indices(variable.dims, setting.inputs):
            result += [Column(source.name, index, layer) for layer in range(source.first_layer, setting.depth + 1)]
    return result


def reader(tree: xarray.DataTree, setting: Setting, sources: Sequence[Source]) -> Callable[[int, int], Floats]:
    """``read(start, stop)`` -> (networks, columns): the values of a point, in the order of :func:`columns`."""
    arrays: list[tuple[Any, float]] = []
    standard = setting.law["parameterization"] == "standard"
    for source, variable in _measured(tree, sources):
        unit = float(setting.width) ** source.power if standard else 1.0
        of_point = variable.isel(point=setting.index)
        if source.first_layer is None:
            arrays += [(of_point.isel(pick), unit) for pick in source.picks(setting, variable.dims[2:]).values()]
            continue
        inner = next((dim for dim in ("pair", "input") if dim in variable.dims), None)
        if inner is None:
            layers = slice(source.first_layer, setting.depth + 1)
            arrays.append((of_point.isel({**dict(source.at), "layer": layers}), unit))
            continue
        places = [_place(index, setting.inputs) for index in _indices(variable.dims, setting.inputs)]
        rows = {dim: 0 for dim in of_point.dims if dim not in ("network", inner, "layer")}  # positions: the first
        array = of_point.isel({**rows, **dict(source.at)}).transpose("network", inner, "layer")
        arrays.append((array.isel({inner: places, "layer": slice(source.first_layer, setting.depth + 1)}), unit))

    def read(start: int, stop: int) -> Floats:
        blocks = []
        for array, unit in arrays:
            block = np.asarray(array.isel(network=slice(start, stop)).values, dtype=np.float64) / unit
            whole = "layer" in array.dims
            blocks.append(block.reshape(len(block), -1) if whole else block.reshape(len(block), -1).mean(1)[:, None])
        return np.concatenate(blocks, axis=1)

    return read


def thinned(depth: int, most: int = MAX_LAYERS) -> list[int]:
    """Layers 1..depth, or about `most` of them, evenly spaced in the logarithm, first and last included."""
    if depth <= most:
        return list(range(1, depth + 1))
    return sorted({round(x) for x in np.geomspace(1, depth, most)})


def _measured(tree: xarray.DataTree, sources: Sequence[Source]) -> Iterator[tuple[Source, Any]]:
    """Sources that the dataset has, with their variables (point, network, ...)."""
    present = {name: tree[name].to_dataset() for name in {source.group for source in sources} & set(tree.children)}
    for source in sources:
        if source.group not in present or source.variable not in present[source.group]:
            continue
        variable = loaded(present[source.group][source.variable])
        if all(place < variable.sizes[dim] for dim, place in source.at):
            yield source, variable


def loaded(array: xarray.DataArray) -> xarray.Variable:
    """The variable of an array without its coordinates, read once for all points where it is small."""
    variable = array.variable
    return variable.load() if variable.nbytes <= MAX_LOADED else variable


def _indices(dims: Sequence[Any], inputs: int) -> list[tuple[int, ...]]:
    """Inputs (a,) or pairs (a, b), a < b, that are analysed."""
    size = 2 if "pair" in dims else 1 if "input" in dims else 0  # of what belongs to all inputs together
    return list(combinations(range(min(inputs, MAX_INPUTS)), size))


def _place(index: tuple[int, ...], inputs: int) -> int:
    """Where an input, or a pair in lexicographic order, stands among all of them."""
    if len(index) == 1:
        return index[0]
    a, b = index
    return a * inputs - a * (a + 1) // 2 + b - a - 1


def _by_law(law: dict[str, Any]) -> bool:
    """Whether the Gram matrix of the inputs follows from their law."""
    return law["input_kind"] in _EXACT_KINDS or bool(law["fresh"])


def _gram(law: dict[str, Any], stored: xarray.DataArray | None, most: int) -> Floats:
    """Gram of the inputs, or of their law; NaN where the dataset does not say it. Of the first ``most`` inputs."""
    count = min(int(law["inputs"]), MAX_INPUTS if _by_law(law) else most)
    if _by_law(law):
        q0, c0 = (np.nan if law[name] is None else float(law[name]) for name in ("q0", "c0"))
        return q0 * np.where(np.eye(count, dtype=bool), 1.0, c0)
    return np.full((count, count), np.nan) if stored is None else np.asarray(stored[:count, :count], dtype=np.float64)


def _tangent(tree: xarray.DataTree, law: dict[str, Any]) -> str:
    """:attr:`Setting.tangent`."""
    if not {"ntk", "fim"} & set(tree.children):
        return ""
    kernel = tree["ntk"].to_dataset() if "ntk" in tree.children else {}
    averaged = (law["outputs"] or 1) > 1 and "ntk" in kernel and len(kernel["ntk"].dims) == 4  # point, network, a, b
    return "mean" if averaged else "entries"


def _parsed(value: Any) -> Any:
    """A key from its column: beside texts everything is stored as JSON, whole numbers among others as floats."""
    if isinstance(value, str):
        try:
            return json.loads(value, parse_constant=str)
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _plain(value: Any) -> Any:
    """A coordinate as a plain Python value, None for NaN."""
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, bytes):
        item = item.decode()
    return None if isinstance(item, float) and np.isnan(item) else item
