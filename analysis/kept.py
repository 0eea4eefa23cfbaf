"""An analysis as a file beside its dataset, so that a report after ``analyze`` does not analyse again.

Numbers and names alone are written: a tree of plain values in JSON, arrays in an ``.npz`` without pickles. What is read
is built from classes of this package only, and only if the dataset and the program are those that it was made with;
otherwise, and where anything is wrong with the file, the dataset is analysed again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mcnet_analysis.judge.spectra import PointSpectrum, values_of
from mcnet_analysis.predict.spectra import KINDS, SpectralKind
from mcnet_analysis.statistics.estimate import Moments

import mcnet
from mcnet import activations, files
from mcnet.activations.table import Activation
from mcnet.dataset import attributes
from mcnet.errors import McnetError

if TYPE_CHECKING:
    import xarray

NAME = "analysis.npz"
MAX_BYTES = 2**30
_ROOMS = ("mcnet_analysis.", "mcnet.theory.free.")
"""Modules whose classes may be built."""

_SCALARS = {type(None), bool, int, float, str}
_MANY = 8
"""Rows from which they are written column by column."""

_DROPPED = {(Moments, "covariance"), (PointSpectrum, "values")}
"""Fields that no figure or table needs, or that are read from the dataset again."""


@cache
def program() -> str:
    """Digest of the source that makes an analysis."""
    digest = hashlib.sha256()
    for package in (Path(mcnet.__file__).parent, Path(__file__).parent):
        for path in sorted(package.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def key(tree: xarray.DataTree) -> str:
    """What an analysis depends on: the dataset, with the words in it, and the program."""
    told = {str(name): str(value) for name, value in tree.attrs.items()}
    return hashlib.sha256(json.dumps([told, program()], sort_keys=True).encode()).hexdigest()


def write(path: Path, analysis: Any, tree: xarray.DataTree) -> None:
    """Keep an analysis; where it cannot be written nothing is kept, and nothing said."""
    writer = _Writer()
    content = {"key": key(tree), "analysis": writer.plain(analysis)}
    stream = io.BytesIO()
    np.savez_compressed(stream, tree=np.frombuffer(json.dumps(content).encode(), np.uint8), **writer.arrays)
    try:
        files.write(path, stream.getvalue())
    except (McnetError, OSError):
        return


def read(path: Path, tree: xarray.DataTree) -> Any:
    """The analysis that was kept of this dataset by this program; None if there is none, or it cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
            content = json.loads(found["tree"].tobytes())
            if content["key"] != key(tree):
                return None
            return _Reader(found, tree).value(content["analysis"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, zipfile.BadZipFile):
        return None


class _Writer:
    """Values as JSON; arrays aside, objects that occur again by their number."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []  # an id is one of a living object

    def plain(self, value: Any) -> Any:
        if value is None or (isinstance(value, bool | int | float | str) and type(value).__module__ == "builtins"):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, np.ndarray):
            self.arrays[f"a{len(self.arrays)}"] = value
            return {"array": len(self.arrays) - 1}
        if isinstance(value, Activation):
            return {"activation": value.label}
        if isinstance(value, SpectralKind):
            return {"kind": value.name}
        if isinstance(value, Mapping):  # those of a table of rows have no number
            return self._again(value) or {"items": [[self.plain(k), self.plain(v)] for k, v in value.items()]}
        if dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
            return self._object(value)
        if isinstance(value, list | tuple):
            return {type(value).__name__: self._items(value)}
        raise TypeError(f"{type(value).__name__}: cannot be kept")

    def _items(self, values: Sequence[Any]) -> list[Any] | dict[str, Any]:
        """Elements one by one; of equal kind column by column: an analysis has tens of thousands of rows."""
        kinds = set(map(type, values))
        if kinds <= _SCALARS:
            return {"flat": list(values)}
        if len(values) >= _MANY and kinds == {dict}:
            return self._rows(values)
        return [self.plain(item) for item in values]

    def _rows(self, values: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Dictionaries: each once, and those with the same names as one table."""
        once = {id(row): row for row in values}
        if len(once) < len(values):
            places = {number: place for place, number in enumerate(once)}
            return {"once": self._items(list(once.values())), "places": [places[id(row)] for row in values]}
        tables: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in values:
            tables.setdefault(tuple(row), []).append(row)
        numbers = {names: number for number, names in enumerate(tables)}
        order = [numbers[tuple(row)] for row in values] if len(tables) > 1 else []
        content = [
            [list(names), [self._column([row[name] for row in rows]) for name in names], len(rows)]
            for names, rows in tables.items()
        ]
        return {"tables": content, "order": order}

    def _column(self, values: list[Any]) -> Any:
        first = values[0]
        if all(value is first for value in values):
            return {"same": self.plain(first)}
        return self._items([value.item() if isinstance(value, np.generic) else value for value in values])

    def _again(self, value: Any) -> dict[str, Any] | None:
        """The number of what has been written before; None, and a number, for what has not."""
        if id(value) in self._numbers:
            return {"again": self._numbers[id(value)]}
        self._numbers[id(value)] = len(self._numbers)
        self._alive.append(value)
        return None

    def _object(self, value: Any) -> dict[str, Any]:
        if again := self._again(value):
            return again
        kind = type(value)
        names = _names(kind)
        parts = [None if (kind, name) in _DROPPED else self.plain(getattr(value, name)) for name in names]
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "parts": parts}


def _names(kind: type) -> list[str]:
    fields = getattr(kind, "_fields", None)
    return list(fields) if fields is not None else [field.name for field in dataclasses.fields(kind)]


class _Reader:
    def __init__(self, arrays: Mapping[str, Any], tree: xarray.DataTree) -> None:
        self._arrays = arrays
        self._tree = tree
        self._known = attributes.known_activations({str(name): value for name, value in tree.attrs.items()})
        self._made: list[Any] = []

    def value(self, plain: Any) -> Any:
        if not isinstance(plain, dict):
            return plain
        (what, content), *more = plain.items()
        if what == "array":
            return self._arrays[f"a{int(content)}"]
        if what == "activation":
            return self._known.get(content) or activations.get(content)
        if what == "kind":
            return next(kind for kind in KINDS if kind.name == content)
        if what == "items":
            place = self._place()
            made = self._made[place] = {self.value(k): self.value(v) for k, v in content}
            return made
        if what == "list":
            return self._items(content)
        if what == "tuple":
            return tuple(self._items(content))
        if what == "again":
            return self._made[int(content)]
        if what == "class":
            return self._object(content, more[0][1])
        raise ValueError(f"{what}: is not known")

    def _items(self, content: Any) -> list[Any]:
        if isinstance(content, list):
            return [self.value(item) for item in content]
        if "flat" in content:
            return list(content["flat"])
        if "once" in content:
            once = self._items(content["once"])
            return [once[place] for place in content["places"]]
        tables = [self._table(*table) for table in content["tables"]]
        if len(tables) == 1:
            return tables[0]
        rows = [iter(table) for table in tables]
        return [next(rows[number]) for number in content["order"]]

    def _table(self, names: list[str], columns: list[Any], count: int) -> list[Any]:
        if not names:
            return [{} for _ in range(count)]
        values = [
            [self.value(column["same"])] * count if "same" in column else self._items(column) for column in columns
        ]
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]

    def _place(self) -> int:
        """The next number; it is taken before the parts have theirs, as they were written."""
        self._made.append(None)
        return len(self._made) - 1

    def _object(self, name: str, parts: Any) -> Any:
        module, _, qualified = name.partition(":")
        if not module.startswith(_ROOMS):
            raise ValueError(f"{name}: is no class of an analysis")
        kind = getattr(importlib.import_module(module), qualified)
        if not isinstance(kind, type) or not (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
            raise ValueError(f"{name}: is no class of an analysis")
        place = self._place()
        given = {field: self.value(part) for field, part in zip(_names(kind), parts, strict=True)}
        if kind is Moments:
            given["covariance"] = np.empty((0, 0))
        made = kind(**given)
        self._made[place] = made
        return made


def with_values(analysis: Any, tree: xarray.DataTree) -> Any:
    """The eigenvalues, which were not kept, read from the dataset again."""
    families = []
    for each in analysis.spectra:
        points = tuple(
            dataclasses.replace(point, values=values_of(tree, point.setting, each.kind)) for point in each.points
        )
        families.append(dataclasses.replace(each, points=points))
    return dataclasses.replace(analysis, spectra=tuple(families))
