"""The table of spectra in the report: distances from the law, edges and atoms of every point."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.spectra import FamilySpectra
from analysis.table import Row

_HEAD = [
    ("spectrum", True),
    ("law", True),
    ("width", False),
    ("networks", False),
    ("W₁/mean, one network", False),
    ("W₁/mean, all", False),
    ("KS, one network", False),
    ("KS, all", False),
    ("largest eigenvalue", False),
    ("its limit", False),
    ("atoms: predicted (measured)", True),
]


def spectrum_table(found: Sequence[FamilySpectra], most: int) -> list[Row]:
    """The table, if there are spectra; at most so many rows."""
    points = [(each, point) for each in found for point in each.points]
    if not points:
        return []
    rows = []
    for each, point in points[:most]:
        law, row = each.family.first.law, point.row
        w1, ks, top = row.get("w1", {}), row.get("ks", {}), row.get("lambda_max", {})
        atoms = [f"{a['mass']:.3f} ({a['measured']:.3f}) at {a['place']:.3g}" for a in row.get("atoms", [])]
        cells = [
            each.kind.name,
            f"{law['activation']}, {law['weights']}, depth {law['depth']}",
            point.setting.width,
            row["networks"],
            _number(w1.get("mean")),
            _number(w1.get("pooled")),
            _number(ks.get("mean")),
            _number(ks.get("pooled")),
            _with_error(top.get("mean"), top.get("error")),
            _number(top.get("limit")),
            ", ".join(atoms),
        ]
        rows.append({"group": None, "cells": cells, "far": False})
    caption = (
        "Distances of the measured eigenvalues from the predicted law: W₁ over the mean of the law, and the largest "
        "distance of the distribution functions without the atoms (KS). Eigenvalues repel, so there is no p-value; "
        "what chance does is seen in how single networks differ. All networks together leave the bias of finite "
        "width."
    )
    if len(points) > most:
        caption += f" {len(points) - most} more points are in analysis.json."
    return [{"title": "Spectra", "caption": caption, "head": _HEAD, "rows": rows}]


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _with_error(value: float | None, error: float | None) -> str:
    return _number(value) if value is None or not error or not math.isfinite(error) else f"{value:.4g} ± {error:.1g}"
