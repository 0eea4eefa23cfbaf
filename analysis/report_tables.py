"""Tables of the report: what was weighed, the coefficients, the largest deviations, and the fits of the scenario."""

from __future__ import annotations

import math

from mcnet_analysis.analyze import Analysis
from mcnet_analysis.draw.laws import describe
from mcnet_analysis.draw.text import count, number, with_error
from mcnet_analysis.judge.table import FAR, Row

ROWS = 60  # of a table, at most

# What a heading means, in a sentence: shown on hover and in the list "How to read the tables".
TERMS = {
    "law": "Activation, weights, variances and depth: what all widths of a family share.",
    "of": "The input, or the pair of inputs, of which the value is.",
    "statistic": "mean and var: over networks, at one width. a1, v1: coefficients of 1/M of the mean and "
    "of the variance, fitted over the widths. limit: the mean at M → ∞. Delta(0), C(tau)/C(0): of the stationary chaos "
    "of recurrent networks, at M → ∞.",
    "a1": "Coefficient of 1/M in the mean over networks.",
    "v1": "Coefficient of 1/M in the variance over networks.",
    "limit": "The value at infinite width.",
    "measured": "From the sampled networks, with its standard error (jackknife).",
    "theory": "Predicted, with no parameter fitted; one digit more than the error leaves sense in.",
    "order": "Up to which order in 1/M the prediction goes.",
    "z": "(measured − theory) / standard error; beyond ±3 about 3 in 1000 by chance.",
    "weighed": "How many values of each statistic the verdict is made of.",
    "values": "Smallest relative deviation of all values that would have been seen.",
    "χ²": "Sum of squared deviations in standard errors, correlations taken out (whitened).",
    "dof": "Degrees of freedom: the number of independent values judged.",
    "p": "Probability that chance alone gives a larger χ².",
    "χ² / dof": "Goodness of the fit; about 1 where the fit describes the data.",
    "W₁/mean": "Wasserstein distance between the measured spectrum of one network and the law, over the mean.",
    "KS": "Largest distance between the cumulative distributions, measured and predicted.",
    "relative error": "Standard error over the value.",
}

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


def power_table(summary: Row) -> list[Row]:
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


def coefficient_table(analysis: Analysis) -> list[Row]:
    """Coefficients at the last layer of each family, if there are any."""
    rows = []
    for judged in analysis.families:
        for row in judged.comparisons:
            if "k" in row:  # moments of spectra have a table of their own
                continue
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
        caption += f" {count(left)} more rows are there too."
    return [{"title": "Coefficients", "caption": caption, "head": _HEAD[2:], "rows": rows[:ROWS]}]


def deviation_table(analysis: Analysis) -> Row:
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


def asked_table(analysis: Analysis) -> list[Row]:
    if not analysis.asked_fits:
        return []
    rows = [
        {
            "cells": [
                row["observable"],
                "–" if row["layer"] is None else row["layer"],
                _place(row),
                row["model"],
                ", ".join(
                    f"{name} = {with_error(value, row['errors'][name])}" for name, value in row["coefficients"].items()
                ),
                number(row["predicted"]),
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
            with_error(row["measured"], row["error"]),
            "0" if negligible else number(row["predicted"], row["error"]),
            row["order"],
            f"{row['z']:+.1f}" if math.isfinite(row["z"]) else "–",
        ],
        "far": far,
    }


def _place(row: Row) -> str:
    if "pair" in row:
        return "inputs {} and {}".format(*row["pair"])
    return f"input {row['input']}" if "input" in row else "all inputs"


def _coefficients(row: Row) -> str:
    errors = row["errors"]
    return ", ".join(f"{name} = {with_error(value, errors[name])}" for name, value in row["coefficients"].items())
