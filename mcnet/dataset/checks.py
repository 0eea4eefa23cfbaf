"""Whether a file is a dataset of mcnet that can be read: its version, its structure, its points."""

from __future__ import annotations

import json
import math
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mcnet.coordinates import COORDINATES
from mcnet.errors import DataError
from mcnet.storage.hdf5 import is_text, require_plain, texts

FORMAT_VERSION = 2
"""Of the datasets that this version writes, and the newest that it reads."""
SEALED_SINCE = 2
"""Datasets of this and later formats have a seal (:mod:`mcnet.dataset.seal`), which must be right."""

_NUMBERS = {  # a column may hold what stands where there is none
    each.name: (0 if each.default is None else each.low, each.high)
    for each in COORDINATES
    if each.dtype in ("int64", "float64")
}
_NUMBERS |= {each.name: (0, 1) for each in COORDINATES if each.dtype == "bool"} | {"n_networks": (0, 2**32)}
_TEXTS = (*(each.name for each in COORDINATES if each.dtype == "str"), "sampler", "point_key")
_OPTIONAL = {each.name for each in COORDINATES if each.dtype == "float64" and each.default is None}
KEYS = "keys_json"
"""Attribute of the root: the keys of the architectures, which are columns too, with their symbols."""

MAX_KEYS = 100


def require_version(file: h5py.File, where: str) -> int:
    """The format of a dataset; what is no dataset of mcnet is refused, or is of a newer version.

    Raises
    ------
    DataError
    """
    version = _attribute(file, "format_version")
    if not str(_attribute(file, "Conventions")).startswith("mcnet-") or not isinstance(version, np.integer | int):
        raise DataError(f"{where}: is not a dataset of mcnet.")
    if version > FORMAT_VERSION:
        writer = str(_attribute(file, "mcnet_version") or "unknown")[:40]
        writer = writer if writer.isprintable() else "unknown"
        raise DataError(
            f"{where}: was written by mcnet {writer} in format {version}; this mcnet reads formats up to "
            f"{FORMAT_VERSION}. Install mcnet {writer} or newer."
        )
    return int(version)


def _attribute(file: h5py.File, name: str) -> Any:
    try:
        return file.attrs[name] if name in file.attrs and file.attrs.get_id(name).shape == () else None
    except (OSError, KeyError, TypeError, ValueError, RuntimeError):  # damaged, or of a foreign type
        return None


def require_sound(file: h5py.File, where: str) -> None:
    """Refuse a dataset whose structure or points are not those that mcnet writes.

    Raises
    ------
    DataError
    """
    require_plain(file, where)
    try:
        told = _points(file) or next((text for group in (file, *_groups(file)) if (text := _group(file, group))), "")
    except (OSError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{where}: is damaged ({type(error).__name__}).") from error
    if told:
        raise DataError(f"{where}: is damaged, or was not made by mcnet: it {told}.")


def _groups(file: h5py.File) -> list[h5py.Group]:
    return [child for child in file.values() if isinstance(child, h5py.Group)]


def _points(file: h5py.File) -> str:
    """What is wrong with the points; "" if nothing is."""
    widths = file.get("width")
    count = len(widths) if isinstance(widths, h5py.Dataset) and widths.ndim == 1 else 0
    if not count:
        return "has no points"
    keys = _keys(file)
    for name in (*_NUMBERS, *_TEXTS, *keys):
        if name not in file or not isinstance(file[name], h5py.Dataset) or file[name].shape != (count,):
            return f"has no {name} for its points"
        data = file[name]
        if name in _TEXTS or (name in keys and is_text(data)):
            if not is_text(data) or not all(text.decode().isprintable() for text in texts(data).tolist()):
                return f"has no text that can be printed for {name}"
        elif data.dtype.kind not in "iuf" or not _within(data[...], name):
            return f"has a {name} out of bounds"
    return ""


def _keys(file: h5py.File) -> tuple[str, ...]:
    """Names of the keys of the architectures."""
    found = json.loads(str(_attribute(file, KEYS) or "{}"))
    if not isinstance(found, dict) or len(found) > MAX_KEYS or not all(map(str.isidentifier, found)):
        raise ValueError("keys of an architecture")
    return tuple(found)


def _within(values: NDArray[Any], name: str) -> bool:
    low, high = _NUMBERS.get(name, (-np.finfo(np.float64).max, np.finfo(np.float64).max))
    known = values[~np.isnan(values)] if name in _OPTIONAL or name not in _NUMBERS else values
    return bool(np.all((known >= low) & (known <= high)))


def _group(file: h5py.File, group: h5py.Group) -> str:
    """What is wrong with a group; "" if nothing is."""
    for name in (*_NUMBERS, *_TEXTS, *_keys(file)):
        if name in group and not (
            group[name].shape == file[name].shape
            and group[name].dtype == file[name].dtype
            and _bytes(group[name]) == _bytes(file[name])
        ):
            return f"has another {name} in its group {group.name}"
    drawn = file["n_networks"][...] > 0
    for scale, name, more in (("network", "n_networks", 0), ("layer", "depth", 1)):
        if scale in group and drawn.any() and len(group[scale]) < int(file[name][...][drawn].max()) + more:
            return f"has fewer entries along {scale} than it says"
    arrays = (child for child in group.values() if isinstance(child, h5py.Dataset))
    return next((told for data in arrays if (told := _array(data))), "")


def _bytes(data: h5py.Dataset) -> bytes:
    return (texts(data) if is_text(data) else data[...]).tobytes()


def _array(data: h5py.Dataset) -> str:
    """What is wrong with an array; "" if nothing is."""
    if math.prod(data.shape) > 2**60:
        return f"claims {data.name[1:]} of more bytes than there are"
    if not data.is_scale:
        for dim, size in zip(data.dims, data.shape, strict=True):
            if len(dim) != 1 or dim[0].parent != data.parent or dim[0].shape != (size,):
                return f"has dimensions of {data.name[1:]} that do not fit"
    return ""
