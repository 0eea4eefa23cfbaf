"""The files ``rounds/0001.json``, ...: what adaptive sampling added to a plan, and the statistics that led to it.

A round is written before any of its networks is drawn, and never again. Nothing heavy is imported.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcnet import files
from mcnet.errors import DataError
from mcnet.plan.format import is_target, require_version, sealed, unsealed

ROUNDS = "rounds"
FORMAT = "mcnet-round"
FORMAT_VERSION = 2
MAX_BYTES = 2**28
_NAME = re.compile(r"\d{4}\.json")

Round = dict[str, Any]


def read(directory: Path) -> list[Round]:
    """The rounds of a run, in their order.

    Raises
    ------
    DataError
        If one of them is missing or is none.
    """
    folder = directory / ROUNDS
    names = sorted(name for name in files.listed(folder) if _NAME.fullmatch(name))
    found = []
    for number, name in enumerate(names, 1):
        path = folder / name
        if name != _name(number):
            raise DataError(f"{folder / _name(number)}: is missing.")
        try:
            text = files.read(path, MAX_BYTES).decode()
        except OSError as error:
            raise files.unreadable(path, error) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: is damaged ({error}).") from error
        content = unsealed(text, str(path))
        check(content, str(path), number)
        found.append(content)
    return found


def check(content: Any, where: str, number: int) -> None:
    """Refuse what is no round, or not the one of this number.

    Raises
    ------
    DataError
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("round") != number:
        raise DataError(f"{where}: is not round {number} of a run.")
    require_version(content.get("format_version"), FORMAT_VERSION, where)
    known = {
        "plan": str,
        "target": dict,
        "points": list,
        "statistics": list,
        "results": list,
        "networks": dict,
        "final": bool,
    }
    if not (
        all(isinstance(content.get(name), kind) for name, kind in known.items())
        and is_target(content["target"])
        and all(isinstance(key, str) for key in content["points"])
        and len(content["statistics"]) == len(content["points"])
        and all(isinstance(row, dict) and type(row.get("cost")) is float for row in content["statistics"])
        and all(type(stop) is int and 0 < stop < 2**32 for stop in content["networks"].values())
        and all(map(_is_result, content["results"]))
    ):
        raise DataError(f"{where}: is damaged.")


def _is_result(result: Any) -> bool:
    return (
        isinstance(result, dict)
        and all(type(result.get(name)) is float for name in ("value", "error"))
        and type(result.get("reached")) is bool
        and isinstance(result.get("points"), list)
        and all(isinstance(key, str) for key in result["points"])
    )


def apply(document: dict[str, Any], rounds: Sequence[Round], where: str) -> None:
    """Let the points of a plan's document grow by rounds; those that it has already change nothing.

    Raises
    ------
    DataError
        If a round belongs to another plan.
    """
    points = {entry["key"]: entry for entry in document["points"]}
    for content in rounds:
        if content["plan"] != document["digest"]:
            raise DataError(f"{where}: round {content['round']} belongs to another plan.")
        for key, stop in content["networks"].items():
            if key in points and stop > points[key]["stops"][-1]:
                points[key]["stops"] = [*points[key]["stops"], stop]


def ended(rounds: Sequence[Round], target: Mapping[str, Any] | None, points: Sequence[str]) -> bool:
    """Whether nothing is left to be decided for a target and these points."""
    return target is None or bool(rounds and rounds[-1]["final"] and _concerns(rounds[-1], target, points))


def count(rounds: Sequence[Round], target: Mapping[str, Any], points: Sequence[str]) -> int:
    """How many of the last rounds drew networks for this target and these points."""
    number = 0
    for content in reversed(rounds):
        if content["final"] or not _concerns(content, target, points):
            break
        number += 1
    return number


def reached_text(content: Round) -> str:
    """What a round found of its target: ``reached: 1/M coefficient of c at layer 5 = -0.42 +- 0.02 (4.6 %)``."""
    target, results = content["target"], content["results"]
    layer = "" if target["layer"] is None else f" at layer {target['layer']}"
    what = f"{'1/M coefficient' if target['coefficient'] == '1/M' else 'mean'} of {target['observable']}{layer}"
    asked = percent(target["relative_error"])
    if len(results) == 1:
        one = results[0]
        verdict = "reached" if one["reached"] else "missed"
        error = percent(relative(one))
        return f"target {verdict}: {what} = {one['value']:.5g} +- {one['error']:.2g}, {error} (asked for {asked})"
    reached = sum(result["reached"] for result in results)
    worst = max(map(relative, results))
    return f"targets reached: {reached} of {len(results)}, {what}; largest error {percent(worst)} (asked for {asked})"


def relative(result: Mapping[str, Any]) -> float:
    """Relative error of a result."""
    if not result["error"]:
        return 0.0
    return float(result["error"] / abs(result["value"])) if result["value"] else math.inf


def percent(part: float) -> str:
    """``4.6 %``."""
    return f"{100 * part:.2g} %" if part < 1 else f"{100 * part:.0f} %"


def _concerns(content: Round, target: Mapping[str, Any], points: Sequence[str]) -> bool:
    return bool(content["target"] == dict(target) and sorted(content["points"]) == sorted(points))


def publish(directory: Path, content: Mapping[str, Any]) -> None:
    """Write a round, unless another process has written it first: then that one holds.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    folder = directory / ROUNDS
    files.make_folder(folder)
    text = sealed(json.dumps(content, indent=1))
    files.publish(folder, _name(content["round"]), [text.encode()])


def _name(number: int) -> str:
    return f"{number:04d}.json"
