"""Inputs that are data: from a file or bundled with scikit-learn; classes chosen, centred, scaled, described."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet.scenario import tables
from mcnet.scenario.faults import Faults
from mcnet.scenario.tables import MAX_INPUT_NUMBERS, Table, Unreadable

CENTERINGS = {"input": "each input centred", "feature": "each component centred over the inputs"}
SCALINGS = {
    "input": "each input scaled to |x|^2 = M_0",
    "feature": "each component scaled to mean square 1 over the inputs",
    "all": "all inputs scaled by one number to a mean of |x|^2 = M_0",
}
"""What the words of ``centering`` and ``scaling`` other than "none" do, in this order, as datasets say it."""


class Data(NamedTuple):
    """Inputs as the networks get them.

    Attributes
    ----------
    values : tuple of tuple of float
        The T vectors.
    labels : tuple of int or None
        Number of the class of each input: its place among the classes asked for, else among all in rising order.
    description : str
        Where they come from and what was made of them.
    doubt : str
        Why the file may be transposed; "" if nothing says so.
    """

    values: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...] | None
    description: str
    doubt: str


def read(inputs: Mapping[str, Any], folder: Path, faults: Faults, within: Mapping[str, Path | None]) -> Data | None:
    """The inputs of kind ``file`` or ``digits``; what is wrong with them is noted, nothing of a file is quoted.

    Parameters
    ----------
    inputs : mapping
        The section ``[inputs]``.
    folder : Path
        Where paths count from.
    faults : Faults
    within : mapping of str to Path or None
        For ``path`` and ``labels`` the folder that the file must lie in, links followed; None: anywhere.
    """
    try:
        table, labels = _digits() if inputs["kind"] == "digits" else _file(inputs, folder, within)
        _require_inputs(table)
        rows, labels = _chosen(inputs, table.shape[0], labels)
        size = int(np.prod(table.shape[1:], dtype=object))
        if rows.size * size > MAX_INPUT_NUMBERS:
            raise Unreadable(
                f"holds {rows.size * size} numbers, more than the {MAX_INPUT_NUMBERS} allowed. Take fewer inputs."
            )
        if inputs["dimension"] not in (None, size):
            raise Unreadable(f"the inputs have {size} components, got {inputs['dimension']}. Remove it.", "dimension")
        x = table.take(rows).reshape(rows.size, size).astype(np.float64)
        if not np.isfinite(x).all():
            raise Unreadable("holds values that are not finite. Clean the data.")
        doubt = "" if inputs["kind"] == "digits" else transposed(x)
        x = prepared(x, inputs["centering"], inputs["scaling"])
    except Unreadable as error:
        faults.add(("inputs", "kind" if inputs["kind"] == "digits" and error.key == "path" else error.key), str(error))
        return None
    known = None if labels is None else tuple(labels[rows].tolist())
    return Data(tuple(map(tuple, x.tolist())), known, _description(inputs), doubt)


def _file(
    inputs: Mapping[str, Any], folder: Path, within: Mapping[str, Path | None]
) -> tuple[Table, NDArray[Any] | None]:
    path, name = folder / inputs["path"], inputs["labels"]
    own_file = tables.is_idx(path) or path.suffix.lower() == ".npy"  # holds one array: labels are another file
    table = _opened(path, "path", within["path"], inputs["array"], None if own_file else name)
    if name is None:
        return table, None
    if table.beside is not None:
        return table, table.beside(name)
    if not own_file:
        raise Unreadable("needs a file with named columns or arrays, or a file of labels beside it.", "labels")
    beside = _opened(folder / name, "labels", within["labels"], None, None)
    return table, beside.take(np.arange(beside.shape[0]))


def _opened(path: Path, key: str, within: Path | None, array: str | None, labels: str | None) -> Table:
    try:
        if within is not None and not _lies_within(path, within):
            raise Unreadable(
                "leads out of the scenario's folder, from which alone a scenario may read. Put the file there; or, if "
                f"you trust the scenario, say the path yourself: --set inputs.{key}=PATH."
            )
        return tables.read(path, array, labels)
    except OSError as error:
        raise Unreadable(
            f"cannot be read: {error.strerror or 'it is not what its name says'}. "
            "The path counts from the scenario's folder.",
            key,
        ) from error
    except ValueError as error:  # a path with a null character
        raise Unreadable("cannot be read. Write the path of a file.", key) from error
    except Unreadable as error:
        raise Unreadable(str(error), key if error.key == "path" else error.key) from error


def _lies_within(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder once all links were followed."""
    real, home = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([real, home]) == home


def _digits() -> tuple[Table, NDArray[Any]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise Unreadable(
            '"digits" are bundled with scikit-learn, which is not installed. Install the extra: mcnet[data].'
        ) from None
    images, labels = load_digits(return_X_y=True)
    return Table(images.shape, images.dtype, lambda rows: images[rows]), labels


def _require_inputs(table: Table) -> None:
    if len(table.shape) < 2 or 0 in table.shape or table.dtype.kind not in "iufb":
        raise Unreadable(f"holds {table.dtype} of shape {table.shape}. Give real numbers, one input in each row.")


def _chosen(
    inputs: Mapping[str, Any], available: int, labels: NDArray[Any] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
    """Which rows are taken: the first ``count`` of the classes asked for; and the class of every row."""
    classes, count = inputs["classes"], inputs["count"]
    rows = np.arange(available)
    numbers = None
    if labels is not None:
        given = _labels(labels, available)
        known = np.unique(given)
        wanted = known if classes is None else np.array(classes)
        if missing := [str(each) for each in wanted if each not in known]:
            raise Unreadable(f"the labels have no class {', '.join(missing)}. Choose among those there are.", "classes")
        order = np.argsort(wanted)
        found = np.minimum(np.searchsorted(wanted, given, sorter=order), wanted.size - 1)
        numbers = order[found]
        rows = np.flatnonzero(wanted[numbers] == given)
    elif classes is not None:
        raise Unreadable("a choice of classes needs labels. Write labels = ....", "classes")
    if count is not None and count > rows.size:
        raise Unreadable(f"there are {rows.size} inputs to choose from, got {count}. Ask for fewer.", "count")
    return rows[:count], numbers


def _labels(labels: NDArray[Any], available: int) -> NDArray[np.int64]:
    if labels.ndim != 1 or labels.dtype.kind not in "iufb" or not np.isfinite(labels).all():
        raise Unreadable(f"are {labels.dtype} of shape {labels.shape}. Give one whole number for each input.", "labels")
    if labels.size != available:
        raise Unreadable(
            f"there are {labels.size} labels for {available} inputs; is the file of inputs transposed? "
            "Give one input in each row, and a label for each.",
            "labels",
        )
    whole = labels.astype(np.int64)
    if (whole != labels).any():
        raise Unreadable("are not whole numbers. Give one whole number for each input.", "labels")
    return whole


def prepared(x: NDArray[np.float64], centering: str | None, scaling: str | None) -> NDArray[np.float64]:
    """Inputs centred, then scaled.

    Parameters
    ----------
    x : ndarray, shape (T, M_0)
    centering : {"input", "feature", "none", None}
        Subtract the mean of each input, or of each component over the inputs.
    scaling : {"input", "feature", "all", "none", None}
        Divide by the root of the mean square of each input, of each component (one that is zero in all inputs stays
        so), or of all.

    Raises
    ------
    Unreadable
        If an input is zero after it was centred and each is to be scaled, or all are zero.
    """
    if centering in CENTERINGS:
        x = x - x.mean(axis=1 if centering == "input" else 0, keepdims=True)
    if scaling not in SCALINGS:
        return x
    axis = {"input": 1, "feature": 0, "all": None}[scaling]
    root = np.sqrt((x * x).mean(axis=axis, keepdims=True))
    if scaling == "feature":
        return np.asarray(x / np.where(root > 0.0, root, 1.0))
    if not (root > 0.0).all():
        place = f"input {int(np.argmin(root[:, 0] > 0.0)) + 1} is" if scaling == "input" else "all inputs are"
        raise Unreadable(f"{place} zero once centred, and has no length to be scaled. Leave it out.", "scaling")
    return np.asarray(x / root)


def transposed(x: NDArray[np.float64]) -> str:
    """Why a table may hold one input in each column, as a sentence; "" if nothing says so.

    Notes
    -----
    Components of data have means of their own, and inputs differ less: the spread of the means of columns, in units of
    what independent numbers would have, is larger than that of the means of rows. Where the numbers do not tell, more
    inputs than components are doubted.
    """
    count, size = x.shape
    noise = float(x.var())
    if count < 2 or size < 2 or not noise > 0.0:
        return ""
    rows = float(x.mean(axis=1).var()) / (noise / size)
    columns = float(x.mean(axis=0).var()) / (noise / count)
    if rows > 10.0 * max(columns, 1.0):
        why = "its rows differ in their means as the components of data do"
    elif count > size and columns < 10.0 * max(rows, 1.0):
        why = "there are more inputs than components"
    else:
        return ""
    return (
        f"inputs: the file is read as {count} inputs of {size} components, one in each row; {why}. "
        "If it is transposed, write one input in each row."
    )


def _description(inputs: Mapping[str, Any]) -> str:
    source = "digits of scikit-learn" if inputs["kind"] == "digits" else f"file {Path(inputs['path']).name[:100]}"
    classes = inputs["classes"]
    parts = [source]
    if classes is not None:
        listed = ", ".join(map(str, classes[:20]))
        parts.append(f"classes {listed}{', ...' if len(classes) > 20 else ''}")
    parts += [
        CENTERINGS.get(inputs["centering"] or "", "not centred"),
        SCALINGS.get(inputs["scaling"] or "", "not scaled"),
    ]
    return "; ".join(parts)
