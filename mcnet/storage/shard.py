"""The sealed shard file: build in memory, seal, commit to disk once, verify, read.

Layout of a shard::

    512 bytes    user block: magic word, JSON header padded with blanks, CRC-32 of all before it
    nbytes       an HDF5 file (readers skip the user block): /<group>/<variable>, networks start..stop-1
    quality      one line of JSON about the making (host, times), and its CRC-32

The SHA-256 of the header covers the HDF5 part, which depends on the networks alone: whoever draws them writes the same
bytes. No HDF5 call writes to a disk: with a full one, HDF5 has lost errors and crashed; ``os.write`` tells them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mcnet import files
from mcnet.errors import DataError, DiskError
from mcnet.variables import Measured, Variable

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

MAGIC = b"mcnet-shard-1\n"
USER_BLOCK = 512
_CRC = 9  # eight hexadecimal digits and a newline
_NAME = re.compile(r"p([0-9a-f]{16})_(\d{9,})_(\d{9,})\.h5")
_HEADER = re.compile(
    rb'mcnet-shard-1\n\{"point": "([0-9a-f]{16})", "start": (\d{1,18}), "stop": (\d{1,18}), "plan": "([0-9a-f]{64})", '
    rb'"nbytes": (\d{1,18}), "sha256": "([0-9a-f]{64})", "quality": (\d{1,18})\} '
)
_DECODE = json.JSONDecoder().raw_decode  # a header is read a hundred thousand times
MAX_QUALITY = 100_000  # bytes


class Header(NamedTuple):
    """What the user block of a shard says.

    Attributes
    ----------
    point : str
        The point key, 16 hexadecimal digits.
    start, stop : int
        Networks ``start`` to ``stop - 1``.
    plan : str
        Digest of the plan.
    nbytes, sha256
        Length and digest of the HDF5 part.
    quality : int
        Length of the quality record.
    """

    point: str
    start: int
    stop: int
    plan: str
    nbytes: int
    sha256: str
    quality: int

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_name(self.point, self.start, self.stop)


class Damaged(DataError):
    """A shard that is not what was committed; its networks are drawn again."""


class ShardName(NamedTuple):
    """Point key and range that a file name says."""

    point: str
    start: int
    stop: int


def shard_name(point: str, start: int, stop: int) -> str:
    """File name of a shard; ``point`` is the point key, 16 hexadecimal digits."""
    return f"p{point}_{start:09d}_{stop:09d}.h5"


def parse_name(name: str) -> ShardName | None:
    """Point key and range of a file name, None if it is no shard's."""
    match = _NAME.fullmatch(name)
    return ShardName(match[1], int(match[2]), int(match[3])) if match else None


def build(
    measured: Sequence[Measured],
    start: int,
    stop: int,
    facts: Mapping[str, str],
    constants: Mapping[str, NDArray[Any]] | None = None,
) -> memoryview:
    """The HDF5 part of a shard and the 512 bytes before it, in memory.

    Parameters
    ----------
    measured : sequence of Measured
        Leading axis: networks ``start`` to ``stop - 1`` (1 for a variable that is one record per shard).
    facts : mapping of str to str
        Attributes of the root; a function of the point and the plan alone.
    constants : mapping of str to ndarray, optional
        Arrays of the point as a whole, stored in the root.

    Raises
    ------
    ValueError
        If a variable has the wrong shape or holds an infinite number.
    """
    import h5py
    import numpy as np

    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=USER_BLOCK) as file:
        for variable, values in measured:
            array = np.asarray(values, dtype=variable.dtype)
            rows = 1 if variable.per_shard else stop - start
            if array.ndim != 1 + len(variable.dims) or array.shape[0] != rows:
                raise ValueError(f"{variable.name}: shape {array.shape} for {rows} networks and dims {variable.dims}")
            if array.dtype.kind in "fc" and np.isinf(array).any():
                raise ValueError(f"{variable.name}: {_first_infinite(array, variable, start)}")
            data = file.create_dataset(f"{variable.group}/{variable.name}", data=array)
            data.attrs["variable"] = json.dumps(asdict(variable))
        for name, array in (constants or {}).items():
            file[name] = array
        for name, fact in facts.items():
            file.attrs[name] = fact
    return buffer.getbuffer()


def _first_infinite(array: NDArray[Any], variable: Variable, start: int) -> str:
    import numpy as np

    network, *place = (int(i) for i in np.argwhere(np.isinf(array))[0])
    where = ", ".join(f"{dim} {i}" for dim, i in zip(variable.dims, place, strict=True))
    return f"is not finite in network {start + network}" + (f" at {where}" if where else "")


def seal(
    content: memoryview, point: str, start: int, stop: int, plan: str, quality: Mapping[str, Any]
) -> tuple[Header, bytes]:
    """Write the header into the user block of ``content``; return it and the quality record that follows."""
    record = _with_crc(json.dumps(dict(quality), sort_keys=True).encode())
    payload = content[USER_BLOCK:]
    header = Header(point, start, stop, plan, payload.nbytes, hashlib.sha256(payload).hexdigest(), len(record))
    text = MAGIC + json.dumps(header._asdict()).encode()
    assert len(text) <= USER_BLOCK - _CRC, "the header does not fit into its block"
    content[:USER_BLOCK] = _with_crc(text.ljust(USER_BLOCK - _CRC))
    return header, record


def _with_crc(text: bytes) -> bytes:
    return text + b"%08x\n" % zlib.crc32(text)


def read_header(path: str | Path) -> Header:
    """The header of a shard; magic word, CRC, name and length of the file are checked, not the content.

    Raises
    ------
    Damaged
        If one of them is wrong.
    FileNotFoundError
        If there is no such file.
    """
    descriptor, length = _open(path)
    try:
        block = os.read(descriptor, USER_BLOCK)
    finally:
        os.close(descriptor)
    if len(block) < USER_BLOCK or not block.startswith(MAGIC) or _with_crc(block[:-_CRC]) != block:
        raise Damaged(f"{path}: is no shard, or its header is damaged.")
    header = _parsed(block)
    if header is None:
        raise Damaged(f"{path}: its header says something else than that of a shard.")
    if not str(path).endswith(header.name):
        raise Damaged(f"{path}: is the shard {header.name} under a wrong name.")
    if length != USER_BLOCK + header.nbytes + header.quality:
        raise Damaged(f"{path}: holds {length} of {USER_BLOCK + header.nbytes + header.quality} bytes.")
    return header


def _parsed(block: bytes) -> Header | None:
    """The header that a user block holds, None if it is none; written as it always is, it is not taken as JSON."""
    match = _HEADER.match(block)
    if match is not None:
        point, start, stop, plan, nbytes, sha256, quality = match.groups()
        shared = sys.intern(point.decode()), sys.intern(plan.decode())  # a hundred thousand headers are held at once
        return Header(shared[0], int(start), int(stop), shared[1], int(nbytes), sha256.decode(), int(quality))
    try:
        header = Header(**_DECODE(block[len(MAGIC) : -_CRC].decode())[0])
    except (TypeError, ValueError, RecursionError):
        return None
    return header if tuple(map(type, header)) == (str, int, int, str, int, str, int) else None


def verify(path: str | Path) -> tuple[Header, dict[str, Any]]:
    """Header and quality record of a shard, all of it read and checked.

    Raises
    ------
    Damaged
        If any byte is not the one that was committed.
    FileNotFoundError
        If there is no such file.
    """
    header = read_header(path)
    digest = hashlib.sha256()
    with open(_open(path)[0], "rb", buffering=0) as file:
        file.seek(USER_BLOCK)
        left = header.nbytes
        while left and (piece := file.read(min(left, 1 << 20))):
            digest.update(piece)
            left -= len(piece)
        record = file.read(MAX_QUALITY + 1)
    if digest.hexdigest() != header.sha256 or len(record) > MAX_QUALITY or _with_crc(record[:-_CRC]) != record:
        raise Damaged(f"{path}: checksum differs.")
    return header, _quality(record[:-_CRC], path)


def _open(path: str | Path) -> tuple[int, int]:
    try:
        return files.open_regular(path)
    except Damaged:
        raise
    except DataError as error:
        raise Damaged(str(error)) from error
    except FileNotFoundError:
        raise
    except OSError as error:  # nothing is known of it: it is neither good nor damaged
        raise files.unreadable(path, error) from error


def _quality(text: bytes, path: str | Path) -> dict[str, Any]:
    """The quality record: names of facts, each a text, a float or an integer that HDF5 can hold."""
    try:
        quality = json.loads(text)
    except (ValueError, RecursionError):
        quality = None
    good = isinstance(quality, dict) and all(name.isidentifier() and _is_fact(fact) for name, fact in quality.items())
    if not good:
        raise Damaged(f"{path}: its quality record says something else than that of a shard.")
    return {sys.intern(name): sys.intern(fact) if type(fact) is str else fact for name, fact in quality.items()}


def _is_fact(value: Any) -> bool:
    if isinstance(value, str):
        return value.isprintable()
    return type(value) is float or (type(value) is int and -(2**63) <= value < 2**63)


def set_aside(path: Path) -> Path:
    """Rename a damaged shard to ``*.bad``, keeping earlier ones; it is left to the user.

    Raises
    ------
    DiskError
        If the disk refuses.
    """
    target = path.with_name(path.name + ".bad")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.{number}.bad")
    try:
        path.rename(target)
    except FileNotFoundError:  # another process was faster
        pass
    except OSError as error:
        raise DiskError(f"{path}: is damaged and cannot be set aside: {error.strerror}.") from error
    return target


def open_shard(path: str | Path) -> h5py.File:
    """A verified shard, open for reading (it never changes, so no lock is asked of the file system).

    Raises
    ------
    Damaged
        If it holds what no shard does: a right checksum does not say who made it.
    """
    import h5py

    from mcnet.storage import hdf5

    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise Damaged(f"{path}: is no HDF5 file.") from error
    try:
        hdf5.require_stored(file)
    except hdf5.Foreign as error:
        file.close()
        raise Damaged(f"{path}: {error}. It was not made by mcnet.") from error
    return file


def variables(file: h5py.File) -> Iterator[tuple[Variable, h5py.Dataset]]:
    """Variables of an open shard, in alphabetical order of group and name."""
    import h5py

    for group in file.values():
        for data in group.values() if isinstance(group, h5py.Group) else ():
            try:
                description = json.loads(data.attrs["variable"])
                variable = Variable(**{**description, "dims": tuple(description["dims"])})
            except (OSError, LookupError, TypeError, ValueError, RecursionError) as error:
                raise Damaged(f"{file.filename}: {data.name} is not described. It was not made by mcnet.") from error
            texts = (*variable.dims, *variable.attributes.values())
            if (
                f"/{variable.group}/{variable.name}" != data.name
                or len(variable.dims) != data.ndim - 1
                or not all(isinstance(text, str) and text.isprintable() for text in texts)
                or variable.dtype != data.dtype.name
                or type(variable.per_shard) is not bool
            ):
                raise Damaged(f"{file.filename}: {data.name} is described as something else. It was not made by mcnet.")
            yield variable, data


def read(path: str | Path) -> dict[str, NDArray[np.generic]]:
    """All arrays of a shard by ``group/name``."""
    with open_shard(path) as file:
        return {f"{variable.group}/{variable.name}": data[...] for variable, data in variables(file)}
