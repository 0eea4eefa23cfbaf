"""The report of a run: one HTML file with figures, tables, provenance and the scenario, all inside."""

from __future__ import annotations

import os
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from mcnet_analysis import members, plot
from mcnet_analysis.analyze import Analysis, beside, judge_directory, place_of, publish
from mcnet_analysis.draw.laws import describe
from mcnet_analysis.draw.sampling import sampling_table
from mcnet_analysis.draw.spectrum_table import moment_table, spectrum_table
from mcnet_analysis.draw.style import svg
from mcnet_analysis.draw.text import count, plural, probability
from mcnet_analysis.judge.table import Row
from mcnet_analysis.report_tables import ROWS, TERMS, asked_table, coefficient_table, deviation_table, power_table

from mcnet import files
from mcnet.storage.members import FOLDER

REJECTED, DOUBTFUL = 1e-4, 0.01
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
    """Analyse a run and write ``report.html`` into its directory; of members also a page each, to which it leads.

    Parameters
    ----------
    directory : path
        Directory of a run (or of members), or a dataset file.
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
    for name, mine in analysis.members:
        publish(members.folder(path, name) / path.name, render(mine))
    publish(path, render(analysis, path.name))
    if figures is not None:
        folder = beside(directory, "figures") if out is None else path.with_name("figures")
        files.make_folder(folder)
        plot.save(analysis, folder, figures)
    return path


def render(analysis: Analysis, file: str = "report.html") -> str:
    """The page as text; ``file``: the name of the pages of members, to which it leads."""
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
        terms=TERMS,
        figures=[
            {"name": d.name, "title": d.title, "caption": d.caption, "svg": Markup(svg(d.figure, f"figure {i}"))}
            for i, d in enumerate(plot.drawn(analysis))
        ],
        members=[_member(name, mine, file) for name, mine in analysis.members],
        families=[
            {
                "law": describe(judged),
                "widths": ", ".join(str(setting.width) for setting in judged.family.settings),
                "networks": count(sum(setting.networks for setting in judged.family.settings)),
                "chi2": f"{judged.verdict.chi2:.1f}" if judged.verdict.dof else "–",
                "dof": judged.verdict.dof,
                "p": probability(judged.verdict.p_value),
                "far": judged.verdict.p_value < REJECTED,
            }
            for judged in families
            if not analysis.members and (judged.verdict.dof or len(families) <= SHOWN_FAMILIES)
        ],
        tables=[*power_table(summary), *([deviation_table(analysis)] if analysis.members else _tables(analysis))],
        provenance=[(name, attributes[name]) for name in _PROVENANCE if attributes.get(name)],
        scenario=attributes.get("scenario_toml", ""),
    )


def _tables(analysis: Analysis) -> list[Row]:
    """Tables of a run without members."""
    return [
        *sampling_table(analysis.sampling, analysis.families, ROWS),
        *spectrum_table(analysis.spectra, ROWS),
        *moment_table(analysis.families, ROWS),
        *coefficient_table(analysis),
        deviation_table(analysis),
        *asked_table(analysis),
    ]


def _member(name: str, analysis: Analysis, file: str) -> Row:
    """A row of the list of members."""
    summary = analysis.summary
    return {
        "name": name,
        "page": f"{FOLDER}/{name}/{file}",
        "laws": "; ".join(dict.fromkeys(map(describe, analysis.families))),
        "networks": count(summary["networks"]),
        "chi2": f"{summary['chi2']:.1f}" if summary["dof"] else "–",
        "dof": summary["dof"],
        "p": probability(summary["p_value"]),
        "far": summary["p_value"] < REJECTED,
        "not_predicted": ", ".join(members.not_predicted(analysis)) or "–",
    }


def verdict(summary: Row) -> dict[str, str]:
    """The verdict in a sentence, and its kind: agree, weak, doubtful, disagree, open."""
    p = summary["p_value"]
    if not summary["dof"]:
        return {
            "kind": "open",
            "sentence": "No verdict: nothing could be compared with theory to an order at which a deviation would mean "
            "something. The reasons are listed below.",
        }
    groups = plural(summary["groups"], "family", "families")
    chi2 = f"χ² = {summary['chi2']:.1f} for {plural(summary['dof'], 'degree', 'degrees')} of freedom"
    numbers = f"{chi2} in {groups} of widths, p = {probability(p)}"
    if p < REJECTED:
        return {"kind": "disagree", "sentence": f"Measurement and theory disagree: {numbers}."}
    if p < DOUBTFUL:
        return {
            "kind": "doubtful",
            "sentence": f"Measurement and theory agree badly, by chance or not: {numbers}. More networks will tell.",
        }
    if summary["outliers"]:
        rows = plural(summary["outliers"], "comparison deviates", "comparisons deviate")
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
        f"{count(summary['networks'])} networks at {plural(points, 'point', 'points')}, "
        f"{reach}. Made by mcnet {analysis.attributes.get('mcnet_version', '')}."
    )


def _numbers(summary: Row) -> list[tuple[str, str]]:
    numbers = [(count(summary["comparisons"]), "comparisons with theory")]
    if summary["dof"]:
        numbers += [
            (f"{summary['chi2']:.1f} / {summary['dof']}", "whitened χ² / degrees of freedom"),
            (probability(summary["p_value"]), "probability of a worse χ²"),
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
    warnings += [f"Left out: {count(number)} {what}." for what, number in summary["left_out"].items()]
    if summary["poor_fits"]:
        warnings.append(
            f"{plural(summary['poor_fits'], 'fit', 'fits')} in 1/M do not describe the data: their goodness would be "
            "too small by chance."
        )
    return warnings
