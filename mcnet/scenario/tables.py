"""Files with one input in each row: NumPy, text, HDF5 and IDX; opened, and read by rows.

A file may be anybody's. Nothing in it is executed, no other file is opened through it, no more memory is taken than
:data:`MAX_FILE_BYTES`, and nothing of its content stands in a message.
"""

from __future__ import annotations

import gzip
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_FILE_BYTES = 2**28
MAX_INPUT_NUMBERS = 4_000_000

KINDS = ".npy, .npz, .h5, .csv, .txt or IDX file"
_IDX = re.compile(r"idx\d(-ubyte)?(\.gz)?$")
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class Unreadable(Exception):
    """What is wrong with a file, as the end of a sentence that begins with the key; ``key``: which one."""

    def __init__(self, sentence: str, key: str = "path") -> None:
        super().__init__(sentence)
        self.key = key


@dataclass(frozen=True)
class Table:
    """An array of a file, its rows the inputs.

    Attributes
    ----------
    shape : tuple of int
        Of the whole array; the first axis is the input.
    dtype : dtype
    take : callable
        The rows of some increasing indices.
    beside : callable
        A named array or column of the same file: labels. Raises :class:`Unreadable` where there is none.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    take: Callable[[NDArray[np.intp]], NDArray[Any]]
    beside: Callable[[str], NDArray[Any]] | None = None


def is_idx(path: Path) -> bool:
    """Whether a file is in the format of MNIST, by its name."""
    return _IDX.search(path.name) is not None


def read(path: Path, array: str | None = None, labels: str | None = None) -> Table:
    """Open a file of inputs.

    Parameters
    ----------
    path : Path
    array : str or None
        Which array of an .npz or HDF5 file; None: the only one beside the labels.
    labels : str or None
        What :attr:`Table.beside` will be asked for: no input.

    Raises
    ------
    Unreadable
        If it is not such a file.
    OSError
        If the system refuses it.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise Unreadable(f"is no file. Give the path of a {KINDS}.")
    if size > MAX_FILE_BYTES:
        raise Unreadable(f"has {size / 2**20:.0f} MB, more than the {MAX_FILE_BYTES >> 20} allowed. Take fewer inputs.")
    suffix = path.suffix.lower()
    if array is not None and suffix not in (".npz", ".h5", ".hdf5"):
        raise Unreadable("only .npz and HDF5 files have named arrays. Remove it.", "array")
    try:
        if is_idx(path):
            return _whole(_read_idx(path))
        if suffix == ".npy":
            with np.errstate(over="ignore"):  # its header may promise any size: mapped, and no pickles
                return _whole(np.lib.format.open_memmap(path, mode="r"))
        if suffix in (".csv", ".txt"):
            return _read_text(path, "," if suffix == ".csv" else None, labels)
        if suffix == ".npz":
            return _read_npz(path, array, labels)
        if suffix in (".h5", ".hdf5"):
            return _read_hdf5(path, array, labels)
    except _BROKEN as error:
        raise Unreadable(f"cannot be read{_row_of(error)}. Write one input in each row, numbers only.") from error
    raise Unreadable(f"is of a kind that is not read. Give a {KINDS}.")


_BROKEN = (ValueError, OverflowError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


def _whole(table: NDArray[Any]) -> Table:
    return Table(table.shape, table.dtype, lambda rows: np.asarray(table[rows]))


def _named(names: list[str], array: str | None, labels: str | None) -> str:
    """Which of the arrays of a file holds the inputs."""
    listed = ", ".join(name if name.isprintable() and len(name) < 40 else "..." for name in names[:8]) or "none"
    if array is not None:
        if array not in names:
            raise Unreadable(f"the file has no array of this name; it has {listed}.", "array")
        return array
    others = [name for name in names if name != labels]
    if len(others) != 1:
        raise Unreadable(f"has the arrays {listed}. Say which one holds the inputs: array = ....")
    return others[0]


def _lacking(names: list[str], name: str) -> None:
    if name not in names:
        raise Unreadable("the file has nothing of this name. Name the array or the column that holds them.", "labels")


def _read_npz(path: Path, array: str | None, labels: str | None) -> Table:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        chosen = _named(names, array, labels)

    def load(name: str) -> NDArray[Any]:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            version = np.lib.format.read_magic(member)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = header[version](member)  # another version: a KeyError, told like any damage
        if dtype.hasobject or dtype.itemsize * _product(shape) > MAX_FILE_BYTES:
            raise Unreadable(f"an array of it takes more than {MAX_FILE_BYTES >> 20} MB, or holds no numbers.")
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[name])

    def beside(name: str) -> NDArray[Any]:
        _lacking(names, name)
        return load(name)

    table = load(chosen)
    return Table(table.shape, table.dtype, lambda rows: table[rows], beside)


def _read_hdf5(path: Path, array: str | None, labels: str | None) -> Table:
    import h5py

    names: list[str] = []
    with h5py.File(path, "r", locking=False) as file:
        # hard links alone are visited: an array lies in this very file
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        chosen = _named(names, array and array.strip("/"), labels and labels.strip("/"))
        data = _plain(file[chosen])
        shape, dtype = data.shape, data.dtype

    def take(name: str, rows: NDArray[np.intp] | None = None) -> NDArray[Any]:
        with h5py.File(path, "r", locking=False) as file:
            data = _plain(file[name])
            count = data.shape[0] if rows is None else rows.size
            if data.dtype.itemsize * count * _product(data.shape[1:]) > MAX_FILE_BYTES:
                raise Unreadable(f"these inputs take more than {MAX_FILE_BYTES >> 20} MB. Take fewer, by count.")
            if rows is None or np.array_equal(rows, np.arange(count)):
                return np.asarray(data[:count])
            return np.asarray(data[rows])

    def beside(name: str) -> NDArray[Any]:
        _lacking(names, name.strip("/"))
        return take(name.strip("/"))

    return Table(shape, dtype, lambda rows: take(chosen, rows), beside)


def _plain(data: Any) -> Any:
    """An array of an HDF5 file, if it lies in that file and its pieces are small."""
    if data.external or data.is_virtual:
        raise Unreadable("leads to another file. Give a file that holds its own numbers.")
    if data.shape is None or not data.shape or data.dtype.kind not in "iufb":
        raise Unreadable(f"holds {data.dtype} of shape {data.shape}. Give real numbers, one input in each row.")
    if data.chunks is not None and data.dtype.itemsize * _product(data.chunks) > MAX_FILE_BYTES:
        raise Unreadable(f"is stored in pieces of more than {MAX_FILE_BYTES >> 20} MB. Store it in smaller ones.")
    return data


def _read_idx(path: Path) -> NDArray[Any]:
    """The array of a file in the format of MNIST: magic number, sizes, numbers, the most significant byte first."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise Unreadable(f"unpacks to more than {MAX_FILE_BYTES >> 20} MB. Take fewer inputs.")
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES or not 1 <= content[3] <= 4:
        raise Unreadable("does not begin as an IDX file. Give the file as it is downloaded, packed or not.")
    dtype, axes = np.dtype(_IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if len(content) - start != dtype.itemsize * _product(shape):
        raise Unreadable(f"does not hold the {' x '.join(map(str, shape))} numbers that it promises. Get it again.")
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def _read_text(path: Path, comma: str | None, labels: str | None) -> Table:
    if _count(path, comma) > MAX_INPUT_NUMBERS:
        raise Unreadable(f"holds more numbers than the {MAX_INPUT_NUMBERS} allowed. Take fewer inputs.")
    header = _header(path, comma)
    if labels is not None and labels not in header:
        raise Unreadable(
            "the file has no column of this name in its first line. Name the one that holds them.", "labels"
        )
    with warnings.catch_warnings(action="ignore"):  # of an empty file; it is refused later
        try:
            table = np.loadtxt(path, delimiter=comma, ndmin=2, skiprows=int(bool(header)))
        except ValueError as error:
            raise ValueError(_shifted(str(error), 1 if header else 0)) from None
    if labels is None:
        return _whole(table)
    column = header.index(labels)
    beside = table[:, column] if table.size else table[:0, 0]
    return Table(
        (len(table), table.shape[1] - 1),
        table.dtype,
        lambda rows: np.delete(table, column, axis=1)[rows],
        lambda name: beside,
    )


def _header(path: Path, comma: str | None) -> list[str]:
    """The names of the columns, if the first line of a text holds a word."""
    with path.open("rb") as file:
        line = file.readline(2**20).decode("utf-8", "replace").lstrip("\ufeff").strip()
    words = [word.strip().strip('"') for word in line.split(comma)]
    return [] if line.startswith("#") or all(map(_is_number, words)) else words


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return not word
    return True


def _count(path: Path, comma: str | None) -> int:
    """At most how many numbers a text holds; counted in pieces, before any of it is parsed."""
    total = 0
    with path.open("rb") as file:
        while piece := file.read(2**20):
            here = piece.count(b",") + piece.count(b"\n") if comma else len(piece.split())
            total += here if here > 1 or len(piece) < 2**20 else MAX_INPUT_NUMBERS  # a number of a million digits
    return total + 1


def _shifted(told: str, lines: int) -> str:
    """What NumPy says of a row of a text, counted with the lines that it skipped."""
    return re.sub(r"at row (\d{1,9})", lambda match: f"at row {int(match[1]) + lines}", told)


def _row_of(error: BaseException) -> str:
    """Where NumPy stumbled, without what it found there: the file may be anybody's."""
    match = re.search(r"at row (\d{1,9})(?:, column (\d{1,9}))?", str(error))
    if match is None:
        return ""
    # A number that is none is told with its row from 0, a row of another length with its row from 1.
    return f" in row {int(match[1]) + 1}, column {match[2]}" if match[2] else f" in row {match[1]}"


def _product(shape: tuple[int, ...]) -> int:
    """Python's own product: no overflow, whatever a header says."""
    total = 1
    for size in shape:
        if size < 0:
            raise ValueError("a size below zero")
        total *= size
    return total
