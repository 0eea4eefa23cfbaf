"""A dataset as a grid: one dimension for each quantity that a study sweeps, instead of a list of points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mcnet.coordinates import COORDINATES

if TYPE_CHECKING:
    import xarray


def grid(tree: xarray.DataTree) -> xarray.DataTree:
    """The same tree with a dimension for each swept quantity in the place of ``point``.

    Parameters
    ----------
    tree : DataTree
        As :func:`mcnet.open` and :func:`mcnet.sample` give it.

    Returns
    -------
    DataTree
        ``grid(tree)["signal"]["c"].sel(width=256).mean("network")`` is a map over the other swept quantities. Points
        that the study lacks are NaN; what is the same at all points is a coordinate without a dimension. The numbers
        are in memory.

    Notes
    -----
    As few coordinates are taken as tell all points apart, in their usual order. A variance of "critical" is a number
    of its own at every bias variance: with several of those the grid is sparse.
    """
    import pandas
    import xarray

    root = tree.to_dataset()
    names = swept(root)
    index = pandas.MultiIndex.from_arrays([root[name].values for name in names], names=names)
    nodes = {}
    for path, node in tree.subtree_with_keys:
        data = node.to_dataset()
        if "point" not in data.dims:
            nodes[path] = data
            continue
        constant = {
            name: data[name].values[0]
            for name in map(str, data.coords)
            if data[name].dims == ("point",) and name not in names and len(np.unique(data[name].values)) == 1
        }
        data = data.drop_vars([*names, *constant], errors="ignore").load()
        data = data.assign_coords(xarray.Coordinates.from_pandas_multiindex(index, "point")).unstack("point")
        nodes[path] = data.assign_coords(constant if path in ("/", ".", "") else {})
    return xarray.DataTree.from_dict({"/" if path in (".", "") else path: data for path, data in nodes.items()})


def swept(root: xarray.Dataset) -> list[str]:
    """Coordinates that tell the points of a dataset apart, as few as do; one of a single point is its width."""
    known = [each.name for each in COORDINATES if each.name in root.coords]
    own = [str(name) for name in root.coords if root[name].dims == ("point",) and name not in known]
    candidates = [*known, *(name for name in own if name not in ("point_key", "n_networks"))]
    chosen: list[str] = []
    told: list[tuple[str, ...]] = [()] * root.sizes["point"]
    for name in candidates:
        finer = [(*before, str(value)) for before, value in zip(told, root[name].values, strict=True)]
        if len(set(finer)) > len(set(told)):
            chosen.append(name)
            told = finer
    return chosen or ["width"]
