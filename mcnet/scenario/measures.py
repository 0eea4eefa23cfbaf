"""The ``[measure]`` section: names and options from the catalog of observables, and what each refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcnet.point import Point
from mcnet.progress import counted
from mcnet.scenario import range
from mcnet.scenario import target as scenario_target
from mcnet.scenario.draft import Draft
from mcnet.scenario.faults import Faults
from mcnet.scenario.fields import suggestion
from mcnet.scenario.text import listed, quote

MAX_MEASURES = 1000
"""Keys that are looked at one by one; whoever writes more means no scenario."""

Measures = dict[str, Mapping[str, Any]]


def read(content: Any, faults: Faults) -> Measures:
    """The measures asked for and their options; those with mistakes left out."""
    from mcnet.observables.catalog import OBSERVABLES

    if content is None or content == {}:
        known = listed(tuple(OBSERVABLES))
        faults.missing(("measure",), f"Write [measure], for example with q = {{}}. There are {known}.")
        return {}
    if not isinstance(content, Mapping):
        faults.add(("measure",), f"expected a section, got {quote(content)}. Write [measure] on a line of its own.")
        return {}
    measures: Measures = {}
    if len(content) > MAX_MEASURES:
        faults.add(("measure",), f"has {len(content)} keys. Keep to the measures there are.", at_key=True)
        return {}
    for name, options in content.items():
        if name not in OBSERVABLES:
            faults.unknown(("measure", name), tuple(OBSERVABLES), "measure")
        elif not isinstance(options, Mapping):
            faults.add(("measure", name), f"expected a table of options, got {quote(options)}. Write {name} = {{}}.")
        else:
            _options(name, options, faults)
            measures[name] = dict(options)
    return measures


def _options(name: str, options: Mapping[str, Any], faults: Faults) -> None:
    from mcnet.observables.catalog import OBSERVABLES

    allowed = OBSERVABLES[name].options
    if len(options) > MAX_MEASURES:
        faults.add(("measure", name), f"has {len(options)} options. It takes {', '.join(allowed)}.", at_key=True)
        return
    for key, value in options.items():
        if key not in allowed:
            faults.unknown(("measure", name, key), tuple(allowed), f"option of {name}")
        elif complaint := allowed[key].complaint(value):
            faults.add(("measure", name, key), f"{complaint}, got {quote(value)}. It takes {allowed[key].explanation}.")


def check(draft: Draft, points: tuple[Point, ...], faults: Faults, quiet: bool = True) -> None:
    """Note what a measure cannot do: with the sampler asked for, or at a point (the first of those that it cannot)."""
    from mcnet.observables.catalog import OBSERVABLES

    for name, options in draft.measures.items():
        observable, sampler = OBSERVABLES[name], draft.sampling.sampler
        if sampler != "auto" and sampler not in observable.samplers:
            other = " or ".join(f'"{each}"' for each in ("auto", *observable.samplers))
            why = f" {observable.limitation}" if observable.limitation else ""
            faults.add(
                ("sampling", "sampler"), f'"{sampler}" cannot give the measure {name}.{why} Write sampler = {other}.'
            )
        told: set[str] = set()
        for number, point in enumerate(counted(points, f"points checked for {name}", quiet), 1):
            wrong = observable.unfit(point) or observable.check(point, options)
            for sentence in wrong or range.complaints(name, point, options):
                if sentence not in told:
                    told.add(sentence)
                    at = f" (point {number}: width {point.width}, depth {point.depth})" if len(points) > 1 else ""
                    faults.add(("measure", name), f"{sentence.rstrip('.')}{at}.", at_key=True)
    if points and not faults:
        _named(draft, points, faults)


def _named(draft: Draft, points: tuple[Point, ...], faults: Faults) -> None:
    """Note variables that fits and the target name but nothing measures, and layers beyond every depth."""
    from mcnet.observables.catalog import OBSERVABLES

    stored = {
        variable.name: variable
        for name, options in draft.measures.items()
        for variable in OBSERVABLES[name].variables(points[0], options)
    }
    depth = max(point.depth for point in points)
    fits = draft.analyze.fit
    for number, fit in enumerate(fits):
        path = ("analyze", "fit") if len(fits) == 1 else ("analyze", "fit", number)
        if fit.observable not in stored:
            faults.add((*path, "observable"), _not_measured(fit.observable, stored))
        elif fit.layer is not None and "layer" not in stored[fit.observable].dims:
            faults.add((*path, "layer"), f"{fit.observable} has no layers. Remove it.")
        elif fit.layer is not None and fit.layer > depth:
            faults.add((*path, "layer"), f"{fit.layer} lies beyond the depth {depth}. Give a layer up to it.")
    target = draft.sampling.target
    if target is not None and target.observable not in stored:
        faults.add(("sampling", "target", "observable"), _not_measured(target.observable, stored))
    elif target is not None:
        scenario_target.check(target, points, stored, faults)


def _not_measured(name: str, stored: Mapping[str, Any]) -> str:
    return f"{quote(name)} is not measured.{suggestion(name, stored)} ({', '.join(stored)})"
