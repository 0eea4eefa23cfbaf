"""``mcnet inspect``: what a run holds, and means over networks, straight from its dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcnet.commands import published
from mcnet.commands.coordinates import SHOWN, varying
from mcnet.commands.text import plural, table
from mcnet.dataset.attributes import keys
from mcnet.errors import DataError, UsageError
from mcnet.scenario.fields import suggestion

if TYPE_CHECKING:
    import xarray

_INDICES = ("input", "pair", "layer", "output", "input_a", "input_b", "rank", "order")
_ROWS = 200


def inspect(directory: Path, point: str | None, variable: str | None, layer: int | None) -> dict[str, Any]:
    """Look into a run, or a dataset file.

    Parameters
    ----------
    directory : Path
    point : str, optional
        ``name=value,...``: only points with these coordinates.
    variable : str, optional
        All entries of one variable; without it the first input and the last layer of each.
    layer : int, optional
        Only this layer.

    Returns
    -------
    dict
        ``title``, ``shards`` (None for a file that is no run), ``shards_planned``, ``rows``: for each point and entry
        its coordinates, ``variable``, ``networks``, ``mean``, ``error`` (standard error), ``spread`` (standard
        deviation over networks).
    """
    from mcnet import open as open_dataset
    from mcnet.engine.status import status

    held = status(directory) if published.alone(directory) is None else {}
    tree = open_dataset(directory)
    names = tuple(name for name in (*keys(tree.attrs), *SHOWN) if name in tree.coords)
    chosen = _chosen(tree, _wanted(point, names))
    arrays = {
        str(name): array
        for group in tree.children.values()
        for name, array in group.data_vars.items()
        if "network" in array.dims
    }
    if variable is not None and variable not in arrays:
        known = tuple(arrays)
        raise UsageError(
            f'variable "{variable}" is not in {directory}.{suggestion(variable, known)} ({", ".join(known)})'
        )
    rows = []
    for index in chosen:
        named = {name: _plain(tree.coords[name].values[index]) for name in names}
        for name, array in arrays.items() if variable is None else [(variable, arrays[variable])]:
            try:
                entries = _entries(array, index, variable is None, layer)
            except OSError as error:
                raise DataError(f"{directory}: {name} is damaged: HDF5 cannot read it.") from error
            rows += [{**named, "variable": name, **row} for row in entries]
    return {
        "title": str(tree.attrs.get("title", "")),
        "shards": held.get("shards"),
        "shards_planned": held.get("shards_planned"),
        "points": len(chosen),
        "coordinates": names,
        "rows": rows,
    }


def _wanted(text: str | None, names: tuple[str, ...]) -> dict[str, str]:
    wanted = {}
    for part in filter(None, (text or "").split(",")):
        name, equals, value = part.partition("=")
        if not equals or name.strip() not in names:
            raise UsageError(
                f"--point {text}: write name=value,... with names of coordinates."
                f"{suggestion(name.strip(), names)} ({', '.join(names)})"
            )
        wanted[name.strip()] = value.strip()
    return wanted


def _chosen(tree: xarray.DataTree, wanted: Mapping[str, str]) -> list[int]:
    """Indices of the points with these coordinates."""

    def agrees(value: Any, text: str) -> bool:
        if isinstance(value, str):
            return value == text
        try:
            return math.isclose(float(value), float(text), rel_tol=1e-6)
        except ValueError:
            return False

    count = tree.sizes["point"]
    kept = [
        i
        for i in range(count)
        if all(agrees(_plain(tree.coords[name].values[i]), text) for name, text in wanted.items())
    ]
    if kept:
        return kept
    name = next(iter(wanted))
    values = dict.fromkeys(str(_plain(value)) for value in tree.coords[name].values)
    raise UsageError(f"--point: no point matches. {name} is one of {', '.join(values)}.")


def _entries(array: xarray.DataArray, index: int, only_last: bool, layer: int | None) -> list[dict[str, Any]]:
    """Statistics over networks of the entries of a variable at one point: all, or the first of the last layer."""
    here = array.isel(point=index)
    dims = [dim for dim in here.dims if dim != "network"]
    if layer is not None:
        if "layer" not in dims:
            return []
        if layer not in here.coords["layer"].values:
            raise UsageError(f"--layer {layer}: the layers are 0 to {int(here.coords['layer'].max())}.")
        here = here.sel(layer=[layer])
    values = np.moveaxis(np.asarray(here.values, dtype=float), here.dims.index("network"), 0)
    rows = []
    for place in np.ndindex(*values.shape[1:]):
        sample = values[(slice(None), *place)]
        sample = sample[~np.isnan(sample)]
        if not sample.size:
            continue
        spread = float(sample.std(ddof=1)) if sample.size > 1 else math.nan
        labels = {
            str(dim): _plain(here.coords[dim].values[i]) if dim in here.coords else i
            for dim, i in zip(dims, place, strict=True)
        }
        rows.append(
            {
                **labels,
                "networks": int(sample.size),
                "mean": float(sample.mean()),
                "error": spread / math.sqrt(sample.size),
                "spread": spread,
            }
        )
    if not only_last or not rows:
        return rows
    first = [row for row in rows if all(row[str(dim)] == rows[0][str(dim)] for dim in dims if dim != "layer")]
    return first[-1:] if "layer" in dims else first[:1]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return value.decode() if isinstance(value, bytes) else value


def text(result: dict[str, Any]) -> str:
    """The means as a table."""
    rows = result["rows"]
    names = [name for name in varying(rows) if name in result["coordinates"]]
    columns = (*names, "variable", *_INDICES, "networks", "mean", "error", "spread")
    lines = [{name: row.get(name) for name in columns if any(name in other for other in rows)} for row in rows[:_ROWS]]
    held = plural(result["points"], "point")
    if result["shards"] is not None:
        held += f", {result['shards']}/{result['shards_planned']} shards"
    more = [f"... and {len(rows) - _ROWS} more rows (--json has all)"] if len(rows) > _ROWS else []
    return "\n".join([f"{result['title']}: {held}" if result["title"] else held, table(lines), *more])
