"""The report of a run: one HTML file with figures, tables, provenance and the scenario, all inside."""

from __future__ import annotations

import math
import os
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from mcnet_analysis import plot
from mcnet_analysis.analyze import Analysis, beside, judge_directory, place_of, publish
from mcnet_analysis.draw.all import drawings
from mcnet_analysis.draw.laws import describe
from mcnet_analysis.draw.sampling import sampling_table
from mcnet_analysis.draw.spectrum_table import moment_table, spectrum_table
from mcnet_analysis.draw.style import svg
from mcnet_analysis.judge.table import FAR, Row

from mcnet import files

REJECTED, DOUBTFUL = 1e-4, 0.01
ROWS = 60

SHOWN_FAMILIES = 20  # of which nothing was judged
_PROVENANCE = (
    "mcnet_version",
    "git_commit",
    "git_dirty",
    "seed",
    "rng",
    "sampler",
    "precision",
    "created_utc",
    "plan_digest",
    "content_digest",
    "python",
    "numpy",
    "numba",
    "cupy",
    "license",
)


def write(
    directory: str | os.PathLike[str],
    quiet: bool = True,
    figures: str | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Path:
    """Analyse a run and write ``report.html`` into its directory.

    Parameters
    ----------
    directory : path
        Directory of a run, or a dataset file.
    quiet : bool
        False: tell on stderr how far it is, where it takes long.
    figures : str, optional
        ``svg``, ``png`` or ``pdf``: also write each figure into the folder ``figures`` beside the report.
    out : path, optional
        Where to write instead: a file, or a folder for it.

    Returns
    -------
    Path
        The file: one page for screen and print, with all figures inside.

    Raises
    ------
    DataError
        If there is no dataset that can be read, or what it says does not fit together.
    DiskError
        If the report cannot be written.
    """
    analysis = judge_directory(directory, quiet, keep=out is None)
    path = place_of(directory, "report.html", out)
    publish(path, render(analysis))
    if figures is not None:
        folder = beside(directory, "figures") if out is None else path.with_name("figures")
        files.make_folder(folder)
        plot.save(analysis, folder, figures)
    return path


def render(analysis: Analysis) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("mcnet_analysis"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    families = analysis.families
    summary = analysis.summary
    attributes = analysis.attributes
    return environment.get_template("report.html.j2").render(
        title=attributes.get("title") or "Ensemble of random networks",
        subtitle=_subtitle(analysis),
        verdict=verdict(summary),
        numbers=_numbers(summary),
        warnings=_warnings(analysis),
        figures=[
            {"title": d.title, "caption": d.caption, "svg": Markup(svg(d.figure, f"figure {i}"))}
            for i, d in enumerate(drawings(families, analysis.spectra, analysis.sampling))
        ],
        families=[
            {
                "law": describe(judged),
                "widths": ", ".join(str(setting.width) for setting in judged.family.settings),
                "networks": _count(sum(setting.networks for setting in judged.family.settings)),
                "chi2": f"{judged.verdict.chi2:.1f}" if judged.verdict.dof else "–",
                "dof": judged.verdict.dof,
                "p": _probability(judged.verdict.p_value),
                "far": judged.verdict.p_value < REJECTED,
            }
            for judged in families
            if judged.verdict.dof or len(families) <= SHOWN_FAMILIES
        ],
        tables=[
            *_power_table(summary),
            *sampling_table(analysis.sampling, families, ROWS),
            *spectrum_table(analysis.spectra, ROWS),
            *moment_table(families, ROWS),
            *_coefficient_table(analysis),
            _deviation_table(analysis),
            *_asked_table(analysis),
        ],
        provenance=[(name, attributes[name]) for name in _PROVENANCE if attributes.get(name)],
        scenario=attributes.get("scenario_toml", ""),
    )


def verdict(summary: Row) -> dict[str, str]:
    """The verdict in a sentence, and its kind: agree, weak, doubtful, disagree, open."""
    p = summary["p_value"]
    if not summary["dof"]:
        return {
            "kind": "open",
            "sentence": "No verdict: nothing could be compared with theory to an order at which a deviation would mean "
            "something. The reasons are listed below.",
        }
    groups = _plural(summary["groups"], "family", "families")
    chi2 = f"χ² = {summary['chi2']:.1f} for {_plural(summary['dof'], 'degree', 'degrees')} of freedom"
    numbers = f"{chi2} in {groups} of widths, p = {_probability(p)}"
    if p < REJECTED:
        return {"kind": "disagree", "sentence": f"Measurement and theory disagree: {numbers}."}
    if p < DOUBTFUL:
        return {
            "kind": "doubtful",
            "sentence": f"Measurement and theory agree badly, by chance or not: {numbers}. More networks will tell.",
        }
    if summary["outliers"]:
        rows = _plural(summary["outliers"], "comparison deviates", "comparisons deviate")
        return {
            "kind": "doubtful",
            "sentence": f"The coefficients that could be judged agree with theory ({numbers}), but {rows} by more than "
            "five standard errors: see the largest deviations.",
        }
    if summary.get("weak_test"):
        return {
            "kind": "weak",
            "sentence": f"Weak test: measurement and theory agree ({numbers}), but with {summary['weak_test']}.",
        }
    blind = summary.get("untested") or []
    said = (
        f" Not tested, since a deviation of its own size would not have been seen: {', '.join(blind)}." if blind else ""
    )
    return {"kind": "agree", "sentence": f"Measurement and theory agree within errors: {numbers}.{said}"}


def _subtitle(analysis: Analysis) -> str:
    summary = analysis.summary
    points = sum(len(judged.family.settings) for judged in analysis.families)
    widths = [setting.width for judged in analysis.families for setting in judged.family.settings]
    reach = f"widths {min(widths)} to {max(widths)}" if min(widths) < max(widths) else f"width {widths[0]}"
    return (
        f"{_count(summary['networks'])} networks at {_plural(points, 'point', 'points')}, "
        f"{reach}. Made by mcnet {analysis.attributes.get('mcnet_version', '')}."
    )


def _numbers(summary: Row) -> list[tuple[str, str]]:
    numbers = [(_count(summary["comparisons"]), "comparisons with theory")]
    if summary["dof"]:
        numbers += [
            (f"{summary['chi2']:.1f} / {summary['dof']}", "whitened χ² / degrees of freedom"),
            (_probability(summary["p_value"]), "probability of a worse χ²"),
        ]
    if summary["comparisons"]:
        numbers += [
            (f"{summary['rms_z']:.2f}", "root mean square z"),
            (f"{summary['max_abs_z']:.1f}", "largest |z|"),
        ]
    return numbers


def _warnings(analysis: Analysis) -> list[str]:
    """Notes of all families (the same note of several families once), what was left out, poor fits."""
    by_note: dict[str, list[str]] = {}
    for judged in analysis.families:
        for note in judged.notes:
            by_note.setdefault(note, []).append(describe(judged))
    warnings = [
        f"{note} ({laws[0]})" if len(laws) == 1 else f"{note} ({len(laws)} families)" for note, laws in by_note.items()
    ]
    summary = analysis.summary
    warnings += [f"Left out: {_count(number)} {what}." for what, number in summary["left_out"].items()]
    if summary["poor_fits"]:
        warnings.append(
            f"{_plural(summary['poor_fits'], 'fit', 'fits')} in 1/M do not describe the data: their goodness would be "
            "too small by chance."
        )
    return warnings


def _power_table(summary: Row) -> list[Row]:
    """What was weighed, and the smallest deviations that would have been seen."""
    rows = []
    for name, weighed in summary["judged"].items():
        seen = {row["of"]: row for row in summary["power"] if row["observable"] == name}
        rows.append(
            {
                "cells": [
                    name,
                    ", ".join(f"{number} {statistic}" for statistic, number in weighed.items()),
                    *(_percent(seen.get(of)) for of in ("values", "a1", "v1")),
                ],
                "far": False,
                "group": None,
            }
        )
    if not rows:
        return []
    first = next(iter(summary["power"]), {"level": 0.01, "probability": 0.9})
    level, probability = f"{first['level']:g}", f"{100 * first['probability']:.0f} %"
    caption = (
        f"Smallest deviations from theory, each alone, that would have brought p below {level} with {probability} "
        "probability: of all values of an observable by the same share, or of all its coefficients a1 or v1 by the "
        "same share of themselves (of those predicted to be zero, of the size that fluctuations let expect)."
    )
    head = [("observable", True), ("weighed", True), ("values", False), ("a1", False), ("v1", False)]
    title = "What was weighed, and what would have been seen"
    return [{"title": title, "caption": caption, "head": head, "rows": rows}]


def _percent(row: Row | None) -> str:
    if row is None:
        return "–"
    size = row["relative"] if math.isfinite(row["relative"]) else row.get("of_expected", math.inf)
    return f"{100 * size:.2g} %" if size < 10 else f"{size:.2g}-fold" if math.isfinite(size) else "–"


def _coefficient_table(analysis: Analysis) -> list[Row]:
    """Coefficients at the last layer of each family, if there are any."""
    rows = []
    for judged in analysis.families:
        for row in judged.comparisons:
            if row["statistic"] in ("a1", "v1", "limit") and row["layer"] in (None, judged.family.first.depth):
                rows.append(_row(row, describe(judged), grouped=True))
    if not rows:
        return []
    left = len(rows) - ROWS
    caption = (
        "Coefficients fitted over the widths, at the last layer: a1 and v1 are the coefficients of 1/M of the mean and "
        "of the variance, limit is the mean at M → ∞ with nothing assumed about it. No z: the error rests on fewer "
        "than 30 effective networks. All layers: analysis.json."
    )
    if left > 0:
        caption += f" {_count(left)} more rows are there too."
    return [{"title": "Coefficients", "caption": caption, "head": _HEAD[2:], "rows": rows[:ROWS]}]


def _deviation_table(analysis: Analysis) -> Row:
    """The largest deviations of all rows."""
    scored = [
        (abs(row["z"]), row, describe(judged))
        for judged in analysis.families
        for row in judged.comparisons
        if math.isfinite(row["z"])
    ]
    scored.sort(key=lambda item: -item[0])
    n = len(scored)
    expected = ""
    if n:
        # Largest of n independent scores; correlated rows stay below it.
        expected = f" By chance the largest of {n} would be about {math.sqrt(2 * math.log(max(n, 2))):.1f}."
    return {
        "title": "Largest deviations",
        "caption": f"The ten rows farthest from theory in standard errors.{expected}",
        "head": _HEAD,
        "rows": [_row(row, law) for _, row, law in scored[:10]],
    }


def _asked_table(analysis: Analysis) -> list[Row]:
    if not analysis.asked_fits:
        return []
    rows = [
        {
            "cells": [
                row["observable"],
                "–" if row["layer"] is None else row["layer"],
                _place(row),
                row["model"],
                ", ".join(f"{name} = {_pm(value, row['errors'][name])}" for name, value in row["coefficients"].items()),
                _number(row["predicted"]),
                f"{row['chi2']:.1f} / {row['dof']}",
            ],
            "far": False,
            "group": None,
        }
        for row in analysis.asked_fits[:ROWS]
    ]
    head = [("observable", True), ("layer", False), ("of", True), ("model", True), ("coefficients", True),
            ("limit, theory", False), ("χ² / dof", False)]  # fmt: skip
    return [
        {"title": "Fits of the scenario", "caption": "Means over networks, the limit free.", "head": head, "rows": rows}
    ]


_HEAD = [
    ("law", True),
    ("width", False),
    ("observable", True),
    ("layer", False),
    ("of", True),
    ("statistic", True),
    ("measured", False),
    ("theory", False),
    ("order", True),
    ("z", False),
]


def _row(row: Row, law: str, grouped: bool = False) -> Row:
    """Cells of a row; grouped rows stand under a heading with their law instead of naming it."""
    far = math.isfinite(row["z"]) and abs(row["z"]) > FAR
    where = [] if grouped else [law, row["point"].get("width", "all")]
    negligible = abs(row["predicted"]) < 1e-6 * row["error"]
    return {
        "group": law if grouped else None,
        "cells": [
            *where,
            row["observable"],
            "–" if row["layer"] is None else row["layer"],
            _place(row),
            f"{row['statistic']} {row['k']}" if "k" in row else row["statistic"],
            _pm(row["measured"], row["error"]),
            "0" if negligible else _number(row["predicted"]),
            row["order"],
            f"{row['z']:+.1f}" if math.isfinite(row["z"]) else "–",
        ],
        "far": far,
    }


def _place(row: Row) -> str:
    if "pair" in row:
        return "inputs {} and {}".format(*row["pair"])
    return f"input {row['input']}" if "input" in row else "all inputs"


def _pm(value: float, error: float) -> str:
    """Value and error with two digits of the error, for example 1.63 ± 0.04."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return _number(value)
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits > 6 or abs(value) >= 1e6:
        return f"{value:.4g} ± {error:.1e}"
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _number(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else "–"


def _probability(p: float) -> str:
    if not math.isfinite(p):
        return "–"
    return f"{p:.2f}" if p >= 0.01 else f"{p:.1e}" if p > 0 else "< 1e-290"


def _count(number: int) -> str:
    """With thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def _plural(number: int, one: str, many: str) -> str:
    return f"{_count(number)} {one if number == 1 else many}"
