"""What ``run``, ``status``, ``verify`` and ``analyze`` say of a run directory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mcnet.commands.coordinates import varying
from mcnet.commands.text import duration, number, plural, table, target_text
from mcnet.coordinates import COORDINATES, SWEPT

_LAW = tuple(name for name in SWEPT if name != "width")
_KNOWN = {"widths", *(each.name for each in COORDINATES)}
_ROWS = 40
_ZERO = 1e-12  # rounding of a coefficient that vanishes


def status_text(status: Mapping[str, Any]) -> str:
    """How far a run is, in a line; damaged shards and the target below it."""
    last = status["seconds_since_last"]
    parts = [f"{status['shards']}/{status['shards_planned']} shards, {len(status['damaged'])} damaged"]
    if last is not None:
        parts[0] += f", last {duration(last)} ago"
    behind = [point for point in status["points"] if point["networks"] < point["networks_planned"]]
    if behind:
        slowest = min(behind, key=lambda point: point["networks"] / point["networks_planned"])
        parts.append(f"slowest point: {_named(slowest['parameters'], status['points'])}")
    elif status["complete"]:
        parts.append(
            "complete" + (", pruned" if status["pruned"] else "") + ("" if status["dataset"] else ", not packed")
        )
    lines = ["; ".join(parts), *(f"  {shard}" for shard in status["damaged"][:10])]
    if (target := status.get("target")) is not None:
        so_far = f"{plural(target['rounds'], 'round')} decided" if target["rounds"] else "pilot"
        lines.append(target["outcome"] or f"{so_far}; aim: {target_text(target['asked'])}")
    return "\n".join(lines)


def _named(parameters: Mapping[str, Any], points: list[Mapping[str, Any]]) -> str:
    """The parameters that tell a point from the others."""
    told = []
    everything = [{**point["parameters"], **point["parameters"].get("parameters", {})} for point in points]
    for name in (*SWEPT, *parameters.get("parameters", {})):
        value = {**parameters, **parameters.get("parameters", {})}[name]
        if name in ("width", "sigma_w2") or any(point.get(name) != value for point in everything):
            told.append(f"{name} {number(value) if isinstance(value, float) else value}")
    return ", ".join(told)


def verify_text(report: Mapping[str, Any]) -> str:
    """Which shards are good, and how those that were drawn again compare."""
    first = f"{report['good']}/{report['shards_planned']} digests right"
    if report["missing"]:
        first += f", {report['missing']} missing"
    if report["recomputed"]:
        first += f"; {plural(report['recomputed'], 'shard')} redrawn: {report['verdict']}"
        if report["verdict"] != "identical":
            first += f" (largest relative difference {report['largest_difference']:.1e})"
    return "\n".join([first, *(f"  {message}" for message in report["damaged"])])


def rerun_text(result: Mapping[str, Any]) -> str:
    """How the repeated run compares."""
    if result["verdict"] == "identical":
        return f"identical: content digest {result['content_digest']}"
    if result["verdict"] is None:
        return "not compared: the dataset was packed before its run was complete; the new one holds all networks"
    return f"{result['verdict']}: largest relative difference {result['largest_difference']:.1e}"


def merge_text(result: Mapping[str, Any], out: str) -> str:
    """What was merged, and how to go on."""
    missing = result["shards_planned"] - result["shards"]
    following = f"mcnet resume {out}" if missing or result["damaged"] else f"mcnet pack {out}"
    rounded = f", {result['rounded']} of them from another processor" if result["rounded"] else ""
    first = (
        f"{out}: {result['shards']}/{result['shards_planned']} shards, {result['copied']} copied, "
        f"{result['equal']} in several directories{rounded}. Next: {following}"
    )
    return "\n".join([first, *(f"  left out: {message}" for message in result["damaged"][:10])])


def analysis_text(document: Mapping[str, Any]) -> str:
    """The 1/M coefficients of the last layer against theory, the fits that were asked for, and the global verdict.

    Of several inputs the first one and the first pair are shown; analysis.json has all.
    """
    last: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in document["comparisons"]:
        if row["statistic"] in ("a1", "v1") and row["predicted"] is not None and row["z"] is not None:
            first = row.get("input", 0) == 0 and row.get("pair", [0, 1]) in ([0, 0], [0, 1])
            if first:  # rows are in order of the layers: the last one stays
                last[(*_law(row).values(), _quantity(row), row["statistic"])] = row
    rows = list(last.values())
    shown = [name for name in varying([_law(row) for row in rows]) if rows and name in _law(rows[0])]
    lines = [
        {name: _law(row)[name] for name in shown}
        | {"of": _quantity(row), "layer": row["layer"], "is": row["statistic"]}
        | {
            "measured": value_with_error(row["measured"], row["error"]),
            "theory": row["predicted"] if abs(row["predicted"]) > _ZERO else 0.0,
        }
        | {"sigma": f"{row['z']:+.1f}"}
        for row in rows[:_ROWS]
    ]
    asked = [fit for fit in document["fits"] if "model" in fit]
    blocks = [table(lines)] if lines else []
    if len(rows) > _ROWS:
        blocks.append(f"... and {len(rows) - _ROWS} more in analysis.json")
    blocks += _spectra_text(document.get("spectra", []))
    if not document["summary"]["comparisons"]:
        blocks += dict.fromkeys(note for family in document["families"] for note in family["notes"])
    target = [document["target"]["outcome"]] if "target" in document else []
    return "\n".join([*blocks, *map(_fit_text, asked[:_ROWS]), *target, verdict_text(document["summary"])])


def _law(row: Mapping[str, Any]) -> dict[str, Any]:
    """What tells laws apart: what a sweep may run over but the width, and the keys of the architecture."""
    point = row["point"]
    return {name: point[name] for name in (*_LAW, *(name for name in point if name not in _KNOWN)) if name in point}


def _spectra_text(spectra: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every spectrum beside its limit law, or why it has none; errors are over networks."""
    spectra = [entry for entry in spectra if "width" in entry["point"]]  # others sum up several widths
    shown = spectra[:_ROWS]
    names = varying([_place(entry) for entry in shown])
    lines = []
    for entry in shown:
        edge = entry.get("lambda_max", {})
        line = {name: _place(entry).get(name) for name in names} | {"of": entry["observable"]}
        for distance, (title, part) in {"w1": ("W1", "mean"), "ks": ("KS, pooled", "pooled")}.items():
            found = entry.get(distance) or {}
            if found.get(part) is not None:
                error = found["error" if part == "mean" else f"{part}_error"]
                line[title] = _with_error(found[part], error)
        if edge.get("mean") is not None:
            line |= {"lambda_max": _with_error(edge["mean"], edge["error"]), "edge of the law": edge.get("limit")}
            line |= {"at this width": edge["predicted_mean"]} if edge.get("predicted_mean") is not None else {}
        lines.append(line)
    columns = list(dict.fromkeys(name for line in lines for name in line))
    blocks = [table([{name: line.get(name) for name in columns} for line in lines])] if lines else []
    if len(spectra) > _ROWS:
        blocks.append(f"... and {len(spectra) - _ROWS} more spectra in analysis.json")
    reasons = dict.fromkeys((entry["observable"], entry["why_no_law"]) for entry in spectra if entry.get("why_no_law"))
    return [*blocks, *(f"no law of {name}: {reason}" for name, reason in reasons)]


def _with_error(value: float, error: float | None) -> str:
    """A value of analysis.json, where an error that could not be had is null."""
    return value_with_error(value, math.nan if error is None else error)


def _place(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: entry["point"].get(name) for name in ("width", "inputs")}, **_law(entry)}


def _quantity(row: Mapping[str, Any]) -> str:
    """An observable and its inputs: ``c(0,1)``."""
    inputs = row.get("pair", [row["input"]] if "input" in row else [])
    return f"{row['observable']}({','.join(map(str, inputs))})" if inputs else str(row["observable"])


def _fit_text(fit: Mapping[str, Any]) -> str:
    layer = f", layer {fit['layer']}" if fit.get("layer") is not None else ""
    values = ", ".join(
        f"{name} = {value_with_error(value, fit['errors'][name])}" for name, value in fit["coefficients"].items()
    )
    law = ", ".join(
        f"{name} {number(value, 4)}" if isinstance(value, float) else str(value)
        for name, value in _law(fit).items()
        if name not in ("depth", "normalization")
    )
    quality = (
        f"; chi2/dof {number(fit['chi2'] / fit['dof'], 2)} (p = {number(fit['p_value'], 2)})" if fit["dof"] else ""
    )
    return f"{fit['statistic']} of {_quantity(fit)}{layer} ({law}): {values}{quality}"


def verdict_text(summary: Mapping[str, Any]) -> str:
    """The verdict over all comparisons, and what would have been seen."""
    verdict = plural(summary["comparisons"], "comparison")
    if not summary["comparisons"] or summary["p_value"] is None:
        left_out = "; ".join(f"{count} {what}" for what, count in summary["left_out"].items())
        return f"{verdict}; left out: {left_out}" if left_out else verdict
    reduced = summary["chi2"] / summary["dof"] if summary["dof"] else math.nan
    weak = f"; a weak test ({summary['weak_test']})" if summary["weak_test"] else ""
    lines = [
        f"{verdict}: rms z {number(summary['rms_z'], 3)}, largest {number(summary['max_abs_z'], 3)}, "
        f"chi2/dof {number(reduced, 3)} (p = {number(summary['p_value'], 2)}){weak}",
        f"would be seen with 90 %: {'; '.join(_seen(summary))}",
    ]
    if summary["untested"]:
        lines.append(f"no test of {', '.join(summary['untested'])}: a deviation of its own size would not be seen")
    return "\n".join(lines)


def _seen(summary: Mapping[str, Any]) -> list[str]:
    """Of each observable that was weighed the smallest deviation of its values that the verdict would have seen."""
    found = [row for row in summary["power"] if row["of"] == "values" and row["relative"] is not None]
    return [f"{row['observable']} {100 * row['relative']:.2g} %" for row in found]


def value_with_error(value: float, error: float) -> str:
    """A value with the error of its last digits in brackets: ``1.63(4)``."""
    if not (math.isfinite(error) and math.isfinite(value)) or error <= 0:
        return number(value)
    digits = 1 - math.floor(math.log10(error))
    if error * 10 ** (digits - 1) >= 3:
        digits -= 1  # one digit of the error; two where it begins with 1 or 2
    digits = max(digits, 0)
    if digits > 12 or error > 1e6:
        return f"{value:.4g} +- {error:.2g}"
    return f"{value:.{digits}f}({round(error * 10**digits)})"
