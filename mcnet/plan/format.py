"""The file ``plan.json``: its format, checked without the libraries that a plan needs.

What decides how many networks count is sealed: the last entry of the file is the SHA-256 of all before it. (Files of
format 1 have none, and are read as they are.) A right checksum does not say who made it: the file may come from
anywhere, and what is read here decides how much memory is taken and what is printed. Whether it means networks that
there are is checked in :mod:`mcnet.plan.checks`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from mcnet.coordinates import SWEPT
from mcnet.errors import DataError

FORMAT_VERSION = 2
SEALED_SINCE = 2
MAX_SHARDS = 1_000_000
MAX_NETWORKS = 2**32 - 1
_CHECKSUM = re.compile(r',\n "checksum": "([0-9a-f]{64})"\n\}\s*')
_KEY, _DIGEST = re.compile("[0-9a-f]{16}"), re.compile("[0-9a-f]{64}")
_PARTS: dict[str, type] = {
    "digest": str,
    "identity": dict,
    "title": str,
    "plugins": list,
    "activations": dict,
    "values": dict,
    "points": list,
}


def read_document(text: str, where: str) -> dict[str, Any]:
    """The JSON document of a plan, in the form of one.

    Raises
    ------
    DataError
        If it is no plan, or one of a newer version.
    """
    document = unsealed(text, where)
    if not isinstance(document, dict) or document.get("format") != "mcnet-plan":
        raise DataError(f"{where}: is not a plan of mcnet.")
    require_version(document.get("format_version"), FORMAT_VERSION, where)
    wrong = next((name for name, kind in _PARTS.items() if not isinstance(document.get(name), kind)), None)
    if wrong is not None:
        raise DataError(f"{where}: its {wrong} are not those of a plan.")
    texts = (document["title"], *document["plugins"])
    if not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise DataError(f"{where}: holds text that cannot be printed.")
    if not _DIGEST.fullmatch(document["digest"]):
        raise DataError(f"{where}: its digest is none.")
    if not isinstance(document.get("scenario", ""), str):
        raise DataError(f"{where}: its scenario is none.")
    if "target" in document and not is_target(document["target"]):
        raise DataError(f"{where}: its target is none.")
    check_points(document, where)
    return document


def sealed(text: str) -> str:
    """A JSON object with the SHA-256 of all that stands in it as its last entry."""
    return sealed_body(text.rstrip().removesuffix("}").rstrip())


def sealed_body(body: str) -> str:
    """The same from the text of an object whose brace is not closed yet: plans of 50 MB are not copied again."""
    return f'{body},\n "checksum": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'


def unsealed(text: str, where: str) -> Any:
    """What a text says, after its checksum was compared; one of a format that has a checksum must have it.

    Raises
    ------
    DataError
        If the checksum is missing or another, or the text is not JSON.
    """
    body, comma, end = text.rpartition(",")
    match = _CHECKSUM.fullmatch(comma + end)
    if match is not None and hashlib.sha256(body.encode()).hexdigest() != match[1]:
        raise DataError(f"{where}: is damaged, or was changed after it was written: its checksum differs.")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not JSON ({str(error)[:200]}).") from error
    if isinstance(document, dict):
        document.pop("checksum", None)
        version = document.get("format_version")
        if match is None and type(version) is int and version >= SEALED_SINCE:
            raise DataError(f"{where}: is damaged, or was changed after it was written: its checksum is missing.")
    return document


def require_version(version: Any, newest: int, where: str) -> None:
    """Refuse a format that is none, or a newer one.

    Raises
    ------
    DataError
    """
    if type(version) is not int or not 0 < version <= newest:
        told = str(version)[:20] if type(version) is int else "of no number"
        raise DataError(f"{where}: has format {told}; this mcnet reads formats up to {newest}. Install a newer mcnet.")


def check_points(document: Mapping[str, Any], where: str) -> None:
    """Refuse points and ranges of networks that no plan has.

    Raises
    ------
    DataError
    """
    shards = 0
    for number, entry in enumerate(document["points"]):
        if not _is_point(entry):
            raise DataError(f"{where}: its point {number} is none.")
        first = 0
        for stop in entry["stops"]:
            shards += math.ceil((stop - first) / entry["batch"])
            first = stop
        if shards > MAX_SHARDS:
            raise DataError(f"{where}: makes more than {MAX_SHARDS} shards.")
    if not document["points"]:
        raise DataError(f"{where}: has no points.")


def _is_point(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    key, stops, batch, parameters = (entry.get(name) for name in ("key", "stops", "batch", "parameters"))
    return (
        isinstance(key, str)
        and _KEY.fullmatch(key) is not None
        and isinstance(stops, list)
        and 0 < len(stops) <= 10_000
        and all(type(stop) is int for stop in stops)
        and all(a < b for a, b in zip([0, *stops], stops, strict=False))
        and stops[-1] <= MAX_NETWORKS
        and type(batch) is int
        and 0 < batch <= MAX_NETWORKS
        and isinstance(parameters, dict)
        and all(name in parameters for name in SWEPT)
        and _is_plain(parameters, 4)
    )


def is_target(target: Any) -> bool:
    """Whether it is what :func:`mcnet.scenario.target.plain` makes; whether it is measured, the rounds will see."""
    if not isinstance(target, dict) or not _is_plain({**target, "limits": None}, 1):
        return False
    limits, error, most, layer = (target.get(name) for name in ("limits", "relative_error", "max_networks", "layer"))
    return (
        isinstance(target.get("observable"), str)
        and target.get("coefficient") in ("1/M", "mean")
        and target.get("limit") in ("free", "theory")
        and isinstance(target.get("keep_pilot"), bool)
        and type(error) is float
        and 0 < error <= 1
        and type(most) is int
        and 0 < most < MAX_NETWORKS
        and (layer is None or (type(layer) is int and layer >= 0))
        and (limits is None or (isinstance(limits, dict) and all(map(_is_number, limits.values()))))
    )


def _is_number(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _is_plain(value: Any, depth: int) -> bool:
    """Whether it is a number, a printable word, or a list or table of such."""
    if isinstance(value, list):
        return depth > 0 and len(value) < 1000 and all(_is_plain(inner, depth - 1) for inner in value)
    if isinstance(value, dict):
        return (
            depth > 0
            and len(value) < 100
            and all(key.isprintable() and _is_plain(inner, depth - 1) for key, inner in value.items())
        )
    if isinstance(value, str):
        return value.isprintable() and len(value) < 1000
    return value is None or (isinstance(value, int | float) and math.isfinite(value))
