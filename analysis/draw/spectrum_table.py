"""Tables of spectra in the report: distances from the law, edges and atoms of every point; moments beside theory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.spectra import FamilySpectra
from mcnet_analysis.judge.table import FAR, Row

_HEAD = [
    ("width", False),
    ("networks", False),
    ("W₁/mean", False),
    ("W₁/mean, all", False),
    ("KS", False),
    ("KS, all", False),
    ("largest eigenvalue", False),
    ("limit", False),
    ("atoms: predicted (measured)", True),
]

_MOMENTS_HEAD = [
    ("width", True),
    ("quantity", True),
    ("measured", False),
    ("theory", False),
    ("order", True),
    ("z", False),
]

_SPECTRAL = (
    "jacobian_moment",
    "jacobian_zero",
    "jacobian_product",
    "conditional_fim_moment",
    "conjugate_kernel_moment",
)


def spectrum_table(found: Sequence[FamilySpectra], most: int) -> list[Row]:
    """The table, if there are spectra; at most so many rows."""
    points = [(each, point) for each in found for point in each.points]
    if not points:
        return []
    rows = []
    for each, point in points[:most]:
        row = point.row
        w1, ks, top = row.get("w1", {}), row.get("ks", {}), row.get("lambda_max", {})
        atoms = [f"{a['mass']:.3f} ({a['measured']:.3f}) at {a['place']:.3g}" for a in row.get("atoms", [])]
        cells = [
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
        rows.append({"group": f"{each.kind.name}: {_law(each.family.first.law)}", "cells": cells, "far": False})
    caption = (
        "Distances of the measured eigenvalues from the predicted law: W₁ over the mean of the law, and the largest "
        "distance of the distribution functions without the atoms (KS); of single networks on average, and of all "
        "networks together. Eigenvalues repel, so there is no p-value; what chance does is seen in how single "
        "networks differ. All networks together leave the bias of finite width."
    )
    if len(points) > most:
        caption += f" {len(points) - most} more points are in analysis.json."
    return [{"title": "Spectra", "caption": caption, "head": _HEAD, "rows": rows}]


def moment_table(families: Sequence[Judged], most: int) -> list[Row]:
    """Moments of spectra beside theory, if there are any; at most so many rows."""
    rows = [
        {
            "group": _law(judged.family.first.law),
            "cells": [
                row["point"].get("width", "all"),
                _quantity(row),
                _with_error(row["measured"], row["error"]),
                f"{row['predicted']:.5g}",
                row["order"],
                f"{row['z']:+.1f}" if math.isfinite(row["z"]) else "–",
            ],
            "far": math.isfinite(row["z"]) and abs(row["z"]) > FAR,
        }
        for judged in families
        for row in judged.comparisons
        if row["observable"] in _SPECTRAL
    ]
    if not rows:
        return []
    caption = (
        "Moments of the eigenvalues. Order exact: at this width, to all orders in 1/M (relu, leaky-relu and linear "
        "networks; products of different eigenvalues are the coefficients of the expected characteristic polynomial); "
        "1/M: coefficients of the mean (a1) and of the variance between networks (v1), fitted over the "
        "widths; limit: extrapolated over the widths. No z: the "
        "error rests on fewer than 30 effective networks."
    )
    if len(rows) > most:
        caption += f" {len(rows) - most} more rows are in analysis.json."
    return [{"title": "Moments of spectra", "caption": caption, "head": _MOMENTS_HEAD, "rows": rows[:most]}]


def _law(law: Row) -> str:
    return (
        f"{law['activation']}, {law['weights']} weights, depth {law['depth']}, "
        f"σ_w² = {law['sigma_w2']:.4g}, σ_b² = {law['sigma_b2']:.4g}"
    )


def _quantity(row: Row) -> str:
    if row["statistic"] == "product":
        return f"mean product of {row['k']} different eigenvalues" if row["k"] > 1 else "mean eigenvalue"
    name = "share of zeros" if row["observable"] == "jacobian_zero" else f"moment {row['k']}"
    if row["statistic"] in ("a1", "v1"):
        return f"{row['statistic']} of {name}"
    return f"variance of {name}" if row["statistic"] == "variance" else name


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _with_error(value: float | None, error: float | None) -> str:
    return _number(value) if value is None or not error or not math.isfinite(error) else f"{value:.4g} ± {error:.1g}"
