"""``mcnet export --zarr``: a dataset as a Zarr store, for object stores and for readers without HDF5."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mcnet import files
from mcnet.dataset import vetting
from mcnet.dataset.file import is_bare
from mcnet.errors import DataError, UsageError
from mcnet.storage import hdf5

BLOCK_BYTES = 16_000_000  # held in memory at once


def export(dataset: Path, out: Path) -> Path:
    """Write all groups, coordinates, variables and attributes of a dataset as Zarr (format 2).

    Chunks and dimensions are those of the dataset; ``xarray.open_datatree(out, engine="zarr")`` or
    ``xarray.open_zarr(out, group="signal")`` reads it without mcnet. Memory stays bounded.

    Parameters
    ----------
    dataset : Path
        A dataset, or the directory of a run that holds ``dataset.h5``.
    out : Path
        A name that is free; by custom it ends in ``.zarr``.

    Raises
    ------
    UsageError
        If zarr is not installed, or ``out`` is there already.
    DataError
        If the dataset is damaged, or reads back other than it was written.
    DiskError
        If it cannot be written.
    """
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise UsageError('export --zarr needs the package zarr. Install it: pip install "mcnet[zarr]"') from error
    source = dataset / "dataset.h5" if dataset.is_dir() else dataset
    if os.path.lexists(out):
        raise UsageError(f"{out}: is there already. Give another name to --zarr.")
    vetting.require_readable(source)
    files.remove_stale(out.parent)  # of an export that was killed
    try:
        with h5py.File(source, "r", locking=False) as file, files.replacement(out) as temporary:
            files.make_new_folder(temporary)
            store = _store(temporary)
            root = zarr.create_group(store=store, zarr_format=2)
            for group in (file, *(child for child in file.values() if isinstance(child, h5py.Group))):
                place = root if group.name == "/" else root.create_group(group.name[1:])
                place.attrs.update({name: _plain(value) for name, value in group.attrs.items()})
                for data in group.values():
                    if isinstance(data, h5py.Dataset) and not is_bare(data):
                        _copy(data, place)
            zarr.consolidate_metadata(store, zarr_format=2)
    except OSError as error:
        raise files.refusal(out, error) from error
    return out


def _store(folder: Path) -> Any:
    """A store in a folder that nobody else writes to, for file systems without hard links too."""
    from zarr.storage import LocalStore

    class Store(LocalStore):
        async def set_if_not_exists(self, key: str, value: Any) -> None:
            """Write a file unless it is there; zarr makes sure of that by a hard link."""
            if not await self.exists(key):
                await self.set(key, value)

    return Store(folder)


def _copy(data: h5py.Dataset, place: Any) -> None:
    """One array, block by block, each read again and compared."""
    name = data.name.rsplit("/", 1)[-1]
    words = np.strings.decode(hdf5.texts(data), "utf-8") if hdf5.is_text(data) else None
    dtype = data.dtype.newbyteorder("<") if words is None else np.dtype(f"<U{max(words.dtype.itemsize // 4, 1)}")
    target = place.create_array(
        name,
        shape=data.shape,
        dtype=dtype,
        chunks=data.chunks or tuple(max(size, 1) for size in data.shape),
        fill_value=np.nan if dtype.kind in "fc" else None,
    )
    scale = data.is_scale
    attributes = {key: _plain(data.attrs[key]) for key in data.attrs if key.isidentifier() and key not in _OF_HDF5}
    dims = [name] if scale else [dim[0].name.rsplit("/", 1)[-1] for dim in data.dims]
    target.attrs.update({**attributes, "_ARRAY_DIMENSIONS": dims})
    for block in _blocks(data):
        values = data[block] if words is None else words[block].astype(dtype)
        if values.dtype.kind in "fc" and np.isnan(values).all():
            continue  # a chunk that is not written reads as NaN
        target[block] = values
        if not np.array_equal(target[block], values, equal_nan=values.dtype.kind in "fc"):
            raise DataError(f"{data.name}: reads back other than it was written. Check the disk.")


_OF_HDF5 = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_FillValue", "_Encoding", "_Netcdf4Dimid"}


def _blocks(data: h5py.Dataset) -> Iterator[tuple[slice, ...]]:
    """Parts of an array that fit into memory, along the chunks of its first two axes."""
    if data.ndim < 2 or data.nbytes <= BLOCK_BYTES:
        yield (slice(None),) * data.ndim
        return
    row = max(1, data.nbytes // max(1, data.shape[0] * data.shape[1]))
    chunk = data.chunks[1] if data.chunks else 1
    step = max(BLOCK_BYTES // row // chunk, 1) * chunk
    for index in range(data.shape[0]):
        for first in range(0, data.shape[1], step):
            yield slice(index, index + 1), slice(first, min(first + step, data.shape[1]))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
