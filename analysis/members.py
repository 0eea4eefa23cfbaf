"""The analysis of a scenario with members: each judged alone, then all together, with one verdict and one figure."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mcnet_analysis import analyze as one
from mcnet_analysis.analyze import Analysis
from mcnet_analysis.draw.universality import SHOWN, ratios
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.table import Row
from mcnet_analysis.statistics.verdict import combine

from mcnet import files
from mcnet.progress import Progress
from mcnet.storage import members
from mcnet.storage.members import FOLDER


def judge(directory: Path, quiet: bool = True, keep: bool = False) -> Analysis:
    """The analysis of all members together; parameters and errors as of :func:`mcnet_analysis.analyze.judge_directory`.

    Members draw their networks independently, so that their verdicts add up.
    """
    places = members.places(directory)
    found = []
    for number, (name, place) in enumerate(places.items(), 1):
        if not quiet:
            Progress.say(f"analysing {name} ({number}/{len(places)})")
        found.append((name, one.judge_directory(place, quiet, keep)))
    record = members.read(directory)
    return together(record.title, record.scenario, tuple(found))


def together(title: str, scenario: str, found: tuple[tuple[str, Analysis], ...]) -> Analysis:
    """One analysis of those of the members, with title and text of their scenario."""
    shared = {
        name: value
        for name, value in found[0][1].attributes.items()
        if all(analysis.attributes.get(name) == value for _, analysis in found)
    }
    analyses = [analysis for _, analysis in found]
    families = tuple(judged for analysis in analyses for judged in analysis.families)
    return Analysis(
        families=families,
        asked_fits=tuple(row for analysis in analyses for row in analysis.asked_fits),
        verdict=combine(judged.verdict for judged in families),
        attributes={**shared, "title": title, "scenario_toml": scenario},
        spectra=tuple(each for analysis in analyses for each in analysis.spectra),
        trained=tuple(each for analysis in analyses for each in analysis.trained),
        members=found,
    )


def analyze(directory: Path, quiet: bool, out: str | os.PathLike[str] | None) -> dict[str, Any]:
    """As :func:`mcnet_analysis.analyze.analyze` of every member, and ``analysis.json`` of all of them.

    The latter holds ``members`` (name, folder, summary, notes and what is not predicted of each), ``ratios`` (what the
    figure shows) and the tables of all members, their rows with the name of the ``member``.
    """
    path = one.place_of(directory, "analysis.json", out)
    analysis = judge(directory, quiet, keep=out is None)
    for name, mine in analysis.members:
        one.publish(folder(path, name) / path.name, one.written(one.plain(mine.document)))
    content: dict[str, Any] = one.plain(document(analysis))
    one.publish(path, one.written(content))
    return content


def folder(path: Path, name: str) -> Path:
    """Where the results of a member go: into the folder of this name beside those of all, made if it is not there."""
    place = path.parent / FOLDER / name
    files.make_folder(place)
    return place


def document(analysis: Analysis) -> Row:
    """The content of analysis.json of all members."""
    rows: dict[str, list[Row]] = {"comparisons": [], "fits": [], "spectra": [], "families": []}
    for name, mine in analysis.members:
        for table, found in rows.items():
            found += [{"member": name, **row} for row in mine.document[table]]
    summaries = [
        {
            "name": name,
            "folder": f"{FOLDER}/{name}",
            "title": mine.attributes.get("title", ""),
            "summary": mine.summary,
            "not_predicted": not_predicted(mine),
            "notes": list(dict.fromkeys(note for judged in mine.families for note in judged.notes)),
        }
        for name, mine in analysis.members
    ]
    measured = [
        {"member": name, "observable": observable, **each._asdict()}
        for name, judged in named(analysis)
        for observable in SHOWN
        for each in ratios(judged, observable)
    ]
    whole = replace(analysis, members=()).document
    return {**whole, "members": summaries, "ratios": measured, **rows}


def named(analysis: Analysis) -> list[tuple[str, Judged]]:
    """All families, with the names of their members; "" where there are no members."""
    if not analysis.members:
        return [("", judged) for judged in analysis.families]
    return [(name, judged) for name, mine in analysis.members for judged in mine.families]


def not_predicted(analysis: Analysis) -> list[str]:
    """Observables that were measured and of which nothing is predicted, or their limit alone: ``c``, ``q (1/M)``."""
    known: dict[str, set[str]] = {}
    for judged in analysis.families:
        for j, column in enumerate(judged.columns):
            predicted = judged.predictions[-1]
            orders = known.setdefault(column.observable, set())
            orders |= {"limit"} if np.isfinite(predicted.limit[j]) else set()
            orders |= {"1/M"} if np.isfinite(predicted.a1[j]) else set()
    return [name if not orders else f"{name} (1/M)" for name, orders in known.items() if "1/M" not in orders]
