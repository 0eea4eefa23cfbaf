"""The HDF5 file of a dataset: laid out with dimension scales, filled in slices, read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mcnet.dataset.digest import ContentDigest
from mcnet.dataset.schema import Array, Block, Group, Schema, fill_value, padded, stored
from mcnet.storage import hdf5

CHUNK_BYTES = 1_000_000
_BARE = b"This is a netCDF dimension but not a netCDF variable."
SLICE_BYTES = 16_000_000  # rows held in memory at once

Source = Callable[[int], Iterator[Mapping[str, Any]]]
"""For the index of a point: its shards in network order, each a mapping of ``group/name`` to an array of rows."""


def write(path: Path, schema: Schema, source: Source, attributes: Mapping[str, str | int]) -> str:
    """Write a dataset.

    Parameters
    ----------
    path : Path
        A temporary name that is free: the file is good only once :func:`read_back` agrees.
    schema : Schema
    source : Source
        The measured rows.
    attributes : mapping of str to str or int
        Attributes of the root beside those of the schema.

    Returns
    -------
    str
        The content digest of what was given.
    """
    digest = ContentDigest()
    columns: dict[str, _Column] = {}
    # A new file, so that no link is followed; no lock, which some file systems refuse and nobody else waits for.
    with h5py.File(path, "x", rdcc_nbytes=4 * CHUNK_BYTES, locking=False) as file:
        for group in schema.groups:
            _lay_out(file, group)
            for array in (*group.variables, *(() if group.name else group.coordinates)):
                name = group.path(array)
                data = file[name]
                if array.values is None:
                    columns[name] = _Column(data, group, array, digest)
                if group.name != "quality":
                    values = None if array.values is None else stored(array.values)
                    digest.begin(name, data.dtype if values is None else values.dtype, data.shape)
                    if values is not None:
                        digest.update(name, values)
        for index in range(schema.groups[0].sizes["point"]):
            for shard in source(index):
                for name, data in shard.items():
                    columns[name].append(data)
            for column in columns.values():
                column.end_point()
        content_digest = digest.hexdigest()
        created = datetime.now(UTC).isoformat(timespec="seconds")
        own = {"content_digest": content_digest, "created_utc": created, "hdf5": h5py.version.hdf5_version}
        for name, value in {**schema.attributes, **attributes, **own}.items():
            file.attrs[name] = value
    return content_digest


class _Column:
    """A measured variable on its way into the file: rows are collected and written by the megabyte."""

    def __init__(self, target: h5py.Dataset, group: Group, array: Array, digest: ContentDigest) -> None:
        self._target, self._digest, self._name = target, digest, group.path(array)
        self._trailing, self._rows = group.shape(array)[2:], group.rows(array)
        self._point = self._written = self._bytes = 0
        self._waiting: list[Block] = []

    def append(self, data: Any) -> None:
        """Rows of the next shard of the point."""
        for piece in _slices(len(data), data.shape[1:], data.dtype):
            block = padded(data[piece], self._trailing)
            self._waiting.append(block)
            self._bytes += block.nbytes
            if self._bytes >= CHUNK_BYTES:
                self._flush()

    def end_point(self) -> None:
        """All shards of the point were given; a variable that it lacks is NaN."""
        self._flush()
        rows = int(self._rows[self._point])
        assert self._written in (0, rows), f"{self._name} of point {self._point}: {self._written} of {rows} rows"
        dtype = self._target.dtype
        for piece in _slices(rows - self._written, self._trailing, dtype):
            lacking = np.full((piece.stop - piece.start, *self._trailing), fill_value(dtype), dtype)
            self._digest.update(self._name, lacking)
        self._point, self._written = self._point + 1, 0

    def _flush(self) -> None:
        if self._waiting:
            block = np.concatenate(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
            self._waiting.clear()
            self._bytes = 0
            self._digest.update(self._name, block)
            self._target[self._point, self._written : self._written + len(block)] = block
            self._written += len(block)


def read_back(path: str | Path) -> str:
    """The content digest of what a file holds, every chunk of it read again with its checksum.

    The file alone says what it holds, so this also judges a dataset whose shards are gone.
    """
    digest = ContentDigest()
    with h5py.File(path, "r", locking=False) as file:
        for group in (file, *(child for child in file.values() if isinstance(child, h5py.Group))):
            if group.name != "/quality":
                for data in group.values():
                    if isinstance(data, h5py.Dataset) and not is_bare(data):
                        _reread(group, data, digest)
    return digest.hexdigest()


def _reread(group: h5py.Group, data: h5py.Dataset, digest: ContentDigest) -> None:
    name = data.name.removeprefix("/")
    rows = None if group.name == "/" else _row_counts(group, data)
    if group.name != "/" and rows is None:
        return  # a coordinate, which the root has too
    if rows is None:
        values = hdf5.texts(data) if hdf5.is_text(data) else data[...]
        digest.begin(name, values.dtype, data.shape)
        digest.update(name, values)
        return
    digest.begin(name, data.dtype, data.shape)
    for index, count in enumerate(rows):
        for piece in _slices(int(count), data.shape[2:], data.dtype):
            digest.update(name, data[index, piece])


def _row_counts(group: h5py.Group, data: h5py.Dataset) -> Any:
    """How many rows of a measured variable are real at each point; None for a coordinate."""
    dims = [] if data.is_scale else [dim[0].name.rsplit("/", 1)[-1] for dim in data.dims]
    if dims[:1] != ["point"] or len(dims) < 2:
        return None
    return group[{"network": "n_networks", "shard": "n_shards"}[dims[1]]][...]


def is_bare(data: h5py.Dataset) -> bool:
    """Whether it only stands for a dimension without a coordinate."""
    return bool(data.is_scale) and data.attrs["NAME"].startswith(_BARE)


def _slices(rows: int, trailing: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[slice]:
    """Pieces of some rows that fit into memory."""
    step = max(1, SLICE_BYTES // max(1, dtype.itemsize * int(np.prod(trailing, dtype=np.int64))))
    for first in range(0, rows, step):
        yield slice(first, min(first + step, rows))


def _lay_out(file: h5py.File, group: Group) -> None:
    """Create a group: dimension scales, coordinates and facts with their values, measured variables without."""
    place = file.require_group(group.name) if group.name else file
    scales: dict[str, h5py.Dataset] = {}
    indexes = {array.name for array in group.coordinates if array.dims == (array.name,)}
    for dim, size in group.sizes.items():
        if dim not in indexes:  # netCDF-4's way to say that a dimension has no coordinate; it takes no disk
            scales[dim] = place.create_dataset(dim, shape=(size,), dtype=">f4")
            scales[dim].make_scale(f"{_BARE.decode()}{size:10d}")
    for array in sorted(group.coordinates, key=lambda array: array.name not in indexes):
        assert array.values is not None, "a coordinate has values"
        data = _whole(place, array.name, array.values)
        if array.name in indexes:
            data.make_scale(array.name)
            scales[array.name] = data
        _describe(data, array, scales)
    place.attrs["coordinates"] = " ".join(array.name for array in group.coordinates if array.name not in indexes)
    for array in group.variables:
        if array.values is None:
            data = _empty(place, array, group.shape(array))
        else:
            data = _whole(place, array.name, array.values, chunks=array.values.shape, fletcher32=True)
        _describe(data, array, scales)


def _whole(place: h5py.Group, name: str, values: Block, **options: Any) -> h5py.Dataset:
    """An array with its values; texts as netCDF-4 has them, of any length, which takes no filters."""
    if values.dtype.kind == "U":
        return place.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())
    return place.create_dataset(name, data=stored(values), **options)


def _empty(place: h5py.Group, array: Array, shape: tuple[int, ...]) -> h5py.Dataset:
    """A variable to be filled; chunks that are never written read as the fill value and take no disk."""
    row = array.dtype.itemsize * int(np.prod(shape[2:], dtype=np.int64))
    chunks = (1, min(shape[1], max(1, CHUNK_BYTES // max(row, 1))), *shape[2:])
    squeezed: dict[str, Any] = {"shuffle": True, "compression": "gzip"} if array.dtype.kind in "iu" else {}
    return place.create_dataset(
        array.name,
        shape=shape,
        dtype=array.dtype,
        chunks=chunks,
        fillvalue=fill_value(array.dtype),
        fletcher32=True,
        **squeezed,
    )


def _describe(data: h5py.Dataset, array: Array, scales: Mapping[str, h5py.Dataset]) -> None:
    for name, text in array.attributes.items():
        data.attrs[name] = text
    if data.dtype.kind in "fc":
        data.attrs["_FillValue"] = np.array(np.nan, dtype=data.dtype)
    elif array.dtype.kind == "b":
        data.attrs["dtype"] = "bool"
    if array.dims != (array.name,):
        for axis, dim in enumerate(array.dims):
            data.dims[axis].attach_scale(scales[dim])
