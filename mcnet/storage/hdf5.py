"""Whether an HDF5 file is such as mcnet writes, judged by its structure before any number is read.

The file may come from anywhere. HDF5 can name other files as the place of its data, nest without end, and promise
arrays of any size in a few bytes. None of that is in a file of mcnet, so all of it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5o, h5t, h5z
from numpy.typing import NDArray

from mcnet.errors import DataError
from mcnet.machine import memory

MAX_GROUPS, MAX_OBJECTS, MAX_ATTRIBUTES = 50, 1000, 200
MAX_CHUNK = 2**28  # bytes
MAX_TEXT = 2**24  # bytes of an attribute; a scenario may be long
MAX_WORD = 10_000  # bytes of a text in an array
_FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}
_LAYOUTS = {h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED}
_SCALES = {"DIMENSION_LIST", "REFERENCE_LIST"}  # of the dimension scales: references, and read by nobody but HDF5
# What xarray would obey; none of it is in a dataset of mcnet.
_ORDERS = {"scale_factor", "add_offset", "missing_value", "_Unsigned", "calendar", "bounds", "grid_mapping", "compress"}


class Foreign(Exception):
    """What is wrong, as the end of a sentence that begins with the file."""


def require_plain(file: h5py.File, where: str) -> None:
    """Refuse a file that holds more than groups of plain arrays with plain attributes.

    Raises
    ------
    DataError
    """
    try:
        _check_attributes(file)
        groups = [name for name, kind in _children(file) if kind == h5o.TYPE_GROUP]
        if len(groups) > MAX_GROUPS:
            raise Foreign("holds more groups than a dataset")
        for place in (file, *(file[name] for name in groups)):
            for name, kind in _children(place):
                if kind == h5o.TYPE_DATASET:
                    require_array(place[name], memory() // 2)
                    _check_attributes(place[name])
                    if is_text(place[name]) and place[name].dtype.kind == "O":
                        _check_texts(place[name])
                elif place is not file:
                    raise Foreign(f"holds a group within {place.name}")
            if place is not file:
                _check_attributes(place)
    except Foreign as error:
        raise DataError(f"{where}: is damaged, or was not made by mcnet: {error}.") from error
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise DataError(f"{where}: is damaged ({_short(error)}).") from error


def require_stored(file: h5py.File) -> None:
    """Refuse a shard that holds more than groups of arrays, each of it there to the last byte.

    Raises
    ------
    Foreign
        Also where the file is damaged.
    """
    try:
        for place in (file, *(file[name] for name, kind in _children(file) if kind == h5o.TYPE_GROUP)):
            for name, kind in _children(place):
                if kind == h5o.TYPE_GROUP and place is file:
                    continue
                if kind != h5o.TYPE_DATASET:
                    raise Foreign(f"holds {name}, which is no array")
                data = place[name]
                require_array(data, 0)
                if data.chunks is not None or data.id.get_storage_size() != data.nbytes:
                    raise Foreign(f"holds {name}, which is not stored as it is")
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise Foreign(f"is damaged ({_short(error)})") from error


def _children(group: h5py.Group) -> Iterator[tuple[str, int]]:
    """Names and kinds of what a group holds, all of it its own."""
    if len(group) > MAX_OBJECTS:
        raise Foreign("holds more arrays than a dataset")
    for name in group:
        if not (name.isascii() and name.isidentifier() and len(name) < 100):
            raise Foreign("holds an array with a name that is none")
        require_hard(group, name)
        yield name, h5o.get_info(group.id, name.encode()).type


def require_hard(group: h5py.Group, name: str) -> None:
    """Refuse a link that leads elsewhere.

    Raises
    ------
    Foreign
    """
    if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise Foreign(f"{name} is a link to another place")


def require_array(data: h5py.Dataset, most: int) -> None:
    """Refuse an array that is not in the file itself, whose type or filters are foreign, or that is too large.

    Raises
    ------
    Foreign
    """
    name = data.name.removeprefix("/")
    plist = data.id.get_create_plist()
    if plist.get_layout() not in _LAYOUTS or (plist.get_layout() != h5d.COMPACT and plist.get_external_count()):
        raise Foreign(f"{name} is kept in another file")
    filters = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
    if not set(filters) <= _FILTERS or len(set(filters)) < len(filters):
        raise Foreign(f"{name} is packed in a way that mcnet does not use")
    _check_type(data.id.get_type(), name)
    if data.shape is None or len(data.shape) > 8:
        raise Foreign(f"{name} is no array")
    size = data.dtype.itemsize
    row = size
    for length in data.shape[1:]:
        row *= length
    if len(data.shape) == 1 or data.chunks is None:
        row *= data.shape[0] if data.shape else 1
    if most and row > most:
        raise Foreign(f"{name} claims {row / 1e9:.3g} GB at once, more than half of the memory of this machine")
    if data.chunks is not None and size * int(np.prod(data.chunks, dtype=object)) > max(MAX_CHUNK, 2 * size):
        raise Foreign(f"{name} is packed in pieces that are too large")


def is_text(data: h5py.Dataset) -> bool:
    """Whether an array holds texts, of any length or of a fixed one."""
    return h5py.check_string_dtype(data.dtype) is not None


def texts(data: h5py.Dataset) -> NDArray[np.bytes_]:
    """The texts of an array as UTF-8 of one length, whichever way the file holds them."""
    values = data[...]
    held = np.array(values.tolist(), dtype=np.bytes_) if values.dtype.kind == "O" else values
    return held.astype(f"S{max(held.dtype.itemsize, 1)}").reshape(data.shape)


def _check_texts(data: h5py.Dataset) -> None:
    """Refuse texts that are too long, or none: of any length, they lie elsewhere in the file and are read here."""
    for value in data[...].reshape(-1).tolist():
        if len(value) > MAX_WORD:
            raise Foreign(f"{data.name[1:]} holds a text of more than {MAX_WORD} bytes")
        value.decode()


def _check_type(kind: Any, name: str) -> None:
    """Numbers and texts; a complex number is a compound of two."""
    group, size = kind.get_class(), kind.get_size()
    if group == h5t.COMPOUND and kind.dtype.kind == "c":
        return
    text = group == h5t.STRING and (kind.is_variable_str() or 0 < size <= MAX_WORD)
    if not text and not (group in (h5t.INTEGER, h5t.FLOAT) and size in (1, 2, 4, 8)):
        raise Foreign(f"{name} is of a type that mcnet does not use")


def _check_attributes(place: h5py.Group | h5py.Dataset) -> None:
    if h5a.get_num_attrs(place.id) > MAX_ATTRIBUTES:
        raise Foreign("has more attributes than a dataset")
    for name in place.attrs:
        if not (name.isascii() and name.isidentifier() and len(name) < 100):
            raise Foreign("has an attribute with a name that is none")
        if name in _ORDERS:
            raise Foreign(f"has the attribute {name}")
        attribute = place.attrs.get_id(name)
        kind = attribute.get_type()
        if name in _SCALES:
            if attribute.get_storage_size() > MAX_TEXT or kind.get_class() not in (h5t.VLEN, h5t.COMPOUND):
                raise Foreign(f"has an attribute {name} of a foreign type")
            _ = place.attrs[name]
            continue
        if attribute.shape != () or kind.get_class() not in (h5t.STRING, h5t.INTEGER, h5t.FLOAT):
            raise Foreign(f"has an attribute {name} that is neither a number nor a text")
        if kind.get_size() > MAX_TEXT:
            raise Foreign(f"has an attribute {name} of more than {MAX_TEXT >> 20} MB")
        value = place.attrs[name]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "strict")
        if isinstance(value, str) and name != "scenario_toml" and not value.isprintable():
            raise Foreign(f"has an attribute {name} with control characters")
        if name == "_Encoding" and value != "utf-8":
            raise Foreign("has a text in a foreign encoding")
        if name == "units" and (not isinstance(value, str) or " since " in value or value in _TIMES):
            raise Foreign("has units of time")


_TIMES = {"days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"}


def _short(error: BaseException) -> str:
    told = " ".join(str(error).split())[:150]
    return "".join(c if c.isprintable() else "?" for c in told) or type(error).__name__
