"""The plan inside a dataset: with it a run can be repeated from ``dataset.h5`` alone."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from mcnet.dataset import vetting
from mcnet.errors import DataError
from mcnet.plan.format import read_document
from mcnet.plan.plan import Plan
from mcnet.storage.rounds import Round

if TYPE_CHECKING:
    import xarray

PLACE = "quality/plan"
MAX_BYTES = 2**28  # of the text: a file of some bytes may promise any amount


def read(path: Path) -> tuple[str, str, list[Round]]:
    """What a dataset says of its run: ``plan.json``, ``scenario.toml``, and the rounds of adaptive sampling.

    Raises
    ------
    DataError
        If it does not say it.
    """
    vetting.require_readable(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            data = file.get(PLACE)
            if not isinstance(data, h5py.Dataset) or data.dtype != np.uint8 or data.nbytes > MAX_BYTES:
                raise DataError(f"{path}: does not hold the plan of its run. Run its scenario again instead.")
            raw = data[...].tobytes()
            scenario, rounds = str(file.attrs["scenario_toml"]), json.loads(file.attrs.get("rounds_json", "[]"))
    except (OSError, KeyError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: is damaged, or no dataset of mcnet ({error}).") from error
    return _inflated(raw, path), scenario, rounds


def plugin_names(tree: xarray.DataTree, path: Path) -> list[str]:
    """Plug-ins that the run of an open dataset was made with.

    Raises
    ------
    DataError
        If the plan that the dataset holds is none.
    """
    document = _document(tree, str(path))
    return [] if document is None else list(document["plugins"])


def in_tree(tree: xarray.DataTree, where: str) -> Plan | None:
    """The plan of the run of an open dataset; None where it does not hold it.

    Raises
    ------
    DataError
        If the plan that the dataset holds is none.
    """
    document = _document(tree, where)
    return None if document is None else Plan.from_document(document, where)


def _document(tree: xarray.DataTree, where: str) -> dict[str, Any] | None:
    data = tree["quality"].to_dataset().get("plan") if "quality" in tree.children else None
    if data is None:
        return None
    if data.dtype != np.uint8 or data.nbytes > MAX_BYTES:
        raise DataError(f"{where}: its plan is damaged.")
    return read_document(_inflated(data.values.tobytes(), where), where)


def _inflated(raw: bytes, path: Path | str) -> str:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(raw, MAX_BYTES)
        if not inflater.eof:
            raise DataError(f"{path}: its plan is cut off, or larger than {MAX_BYTES >> 20} MB.")
        return text.decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: its plan is damaged ({error}).") from error


def attributes(plan: Plan, rounds: list[Round]) -> dict[str, Any]:
    """Attributes of the root that tell of adaptive sampling; none without it."""
    if plan.target is None:
        return {}
    return {"pilot_networks": plan.first_network, "rounds_json": json.dumps(rounds)}
