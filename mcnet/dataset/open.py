"""Datasets as users see them: opened from a file, or put together in memory, as one tree of labelled arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcnet.dataset import vetting
from mcnet.dataset.schema import Array, Group, Schema, fill_value, padded
from mcnet.errors import DataError
from mcnet.storage.directory import require_one

if TYPE_CHECKING:
    import xarray
    from numpy.typing import NDArray

    from mcnet.dataset.file import Source


def open_dataset(path: str | Path) -> xarray.DataTree:
    """Open a dataset.

    Parameters
    ----------
    path : path
        A file, or the directory of a run that holds ``dataset.h5``.

    Returns
    -------
    xarray.DataTree
        Groups ``signal``, ``ntk``, ... with dims (point, network, ...); each carries the coordinates of the points.
        Numbers are read when they are asked for. What a point lacks (networks beyond ``n_networks``, layers beyond
        ``depth``) is NaN. Every variable has its units, definition and normalisation in its attributes.

    Raises
    ------
    DataError
        If there is no dataset, or it is damaged, of another program or of a newer version.
    """
    import xarray

    file = Path(path)
    if file.is_dir():
        if not (file / "dataset.h5").exists():
            require_one(file)
            raise DataError(f"{file}: holds no dataset.h5. Make it with: mcnet pack {file}")
        file = file / "dataset.h5"
    vetting.require_readable(file)
    try:
        return xarray.open_datatree(file, engine="h5netcdf", driver_kwds={"locking": False})
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise DataError(f"{file}: is damaged ({type(error).__name__}).") from error


def assemble(schema: Schema, source: Source) -> xarray.DataTree:
    """The same tree as :func:`open_dataset` gives, from numbers in memory.

    Parameters
    ----------
    schema : Schema
    source : Source
        As for :func:`mcnet.dataset.file.write`.
    """
    import xarray

    numbers = _fill(schema, source)
    nodes: dict[str, xarray.Dataset] = {}
    for group in schema.groups:
        variables = {array.name: _labelled(array, _values(numbers, group, array)) for array in group.variables}
        coordinates = {array.name: _labelled(array, array.values) for array in group.coordinates}
        nodes[f"/{group.name}"] = xarray.Dataset(variables, coordinates)
    nodes["/"].attrs.update(schema.attributes)
    return xarray.DataTree.from_dict(nodes)


def _values(numbers: Mapping[str, NDArray[Any]], group: Group, array: Array) -> NDArray[Any]:
    return numbers[group.path(array)] if array.values is None else array.values


def _labelled(array: Array, values: Any) -> tuple[tuple[str, ...], Any, dict[str, str]]:
    return array.dims, values, dict(array.attributes)


def _fill(schema: Schema, source: Source) -> dict[str, NDArray[Any]]:
    """All measured variables; one that is a single block of the right shape is not copied."""
    shapes = {g.path(a): (g.shape(a), a.dtype) for g in schema.groups for a in g.variables if a.values is None}
    full: dict[str, NDArray[Any]] = {}
    for index in range(schema.groups[0].sizes["point"]):
        filled = dict.fromkeys(shapes, 0)
        for shard in source(index):
            for name, rows in shard.items():
                shape, dtype = shapes[name]
                if shape == (1, *rows.shape):
                    full[name] = np.asarray(rows, dtype=dtype)[np.newaxis]
                    continue
                if name not in full:
                    full[name] = np.full(shape, fill_value(dtype), dtype=dtype)
                full[name][index, filled[name] : filled[name] + len(rows)] = padded(rows, shape[2:])
                filled[name] += len(rows)
    return full
