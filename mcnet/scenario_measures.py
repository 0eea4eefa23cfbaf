"""The ``[measure]`` section: names and options from the catalog of observables, and what each refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcnet.point import Point
from mcnet.scenario_checks import Draft
from mcnet.scenario_faults import Faults
from mcnet.scenario_text import quote

NAMES = ("q", "c", "q_tilde", "chi", "ntk", "fim", "jacobian")


def read(content: Any, faults: Faults) -> dict[str, Mapping[str, Any]]:
    """The measures asked for and their options."""
    if content is None or content == {}:
        faults.missing(("measure",), f"Write [measure] with at least one of {', '.join(NAMES)}, for example q = {{}}.")
        return {}
    if not isinstance(content, Mapping):
        faults.add(("measure",), f"expected a section, got {quote(content)}. Write [measure] on a line of its own.")
        return {}
    measures: dict[str, Mapping[str, Any]] = {}
    for name, options in content.items():
        if name not in NAMES:
            faults.unknown(("measure", name), NAMES, "measure")
        elif not isinstance(options, Mapping):
            faults.add(("measure", name), f"expected a table of options, got {quote(options)}. Write {name} = {{}}.")
        else:
            measures[name] = dict(options)
    return measures


def check(draft: Draft, points: tuple[Point, ...], faults: Faults) -> None:
    """Note what a measure cannot do at a point."""
