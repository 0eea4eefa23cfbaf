"""Measured spectra against their laws: moments, distances, edges, atoms, and how they approach them with the width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.moments import OTHERS_WEIGHED, MomentRows, moment_rows, no_rows
from mcnet_analysis.judge.table import Row
from mcnet_analysis.predict.spectra import KINDS, Laws, SpectralKind, edge, jacobian_rows
from mcnet_analysis.statistics import distance
from mcnet_analysis.statistics.estimate import Floats, jackknife, moments
from mcnet_analysis.study import Family, Setting, loaded

if TYPE_CHECKING:
    import xarray

HEAVY = 0.1
"""Depth over width beyond which the second moments have heavy tails: errors are too small, means biased low."""

_MOST_VALUES = 2**25
_GROUPS = 20  # of networks, deleted one at a time for the error of a pooled distance
ROUNDING = 1e-4  # what float32 products leave of a relative spread or shift, at any depth, and more


@dataclass(frozen=True)
class PointSpectrum:
    """The spectrum of one point.

    Attributes
    ----------
    setting : Setting
    table : LawTable or None
        The predicted law.
    values : ndarray, shape (N, M), or None
        Eigenvalues, if they were kept.
    counts, bounds : ndarray or None
        Pooled histogram of singular values and the edges of its bins, if that was kept.
    moments : ndarray, shape (N, orders), or None
        Moments 1, 2, ... by network and, of a Jacobian, the share of its zero eigenvalues last.
    row : dict
        The entry of analysis.json.
    """

    setting: Setting
    table: distance.LawTable | None
    values: Floats | None
    counts: Any
    bounds: Floats | None
    moments: Floats | None
    row: Row


@dataclass(frozen=True)
class FamilySpectra:
    """One kind of spectrum over a family of widths."""

    kind: SpectralKind
    family: Family
    points: tuple[PointSpectrum, ...]
    rates: Row
    rows: MomentRows
    notes: list[str]

    @property
    def one_law(self) -> bool:
        """Whether all widths have the same limit (a conjugate kernel changes with the number of inputs per unit)."""
        return all(point.table is self.points[0].table for point in self.points)

    @property
    def entries(self) -> list[Row]:
        """Entries of analysis.json: one for each point, and the rates of the family."""
        entries = [point.row for point in self.points]
        if self.rates:
            entries.append({"observable": self.kind.name, "point": self.family.point, "rates": self.rates})
        return entries


def judge_spectra(tree: xarray.DataTree, family: Family, laws: Laws) -> list[FamilySpectra]:
    """All spectra that were measured in a family of widths."""
    return [_judge_kind(tree, family, laws, kind) for kind in KINDS if _has(tree, kind.name)]


def with_spectra(judged: Judged, found: Sequence[FamilySpectra]) -> Judged:
    """A judged family and the spectra of the same networks: rows, notes and the verdict of both.

    The networks are the same, so where the signal is judged the spectra stay out of the verdict (their rows do not),
    and of several spectra the first is judged.
    """
    verdict, information = judged.verdict, judged.information
    rows = list(judged.comparisons)
    for each in found:
        mine = [dict(row) for row in each.rows.comparisons]
        if verdict.dof:
            for row in mine:
                row["left_out"] = row["left_out"] or OTHERS_WEIGHED
        elif each.rows.verdict.dof:
            verdict, information = each.rows.verdict, each.rows.information
        rows += mine
    return judged._replace(
        comparisons=rows,
        verdict=verdict,
        information=information,
        notes=[*judged.notes, *(note for each in found for note in each.notes)],
    )


def _has(tree: xarray.DataTree, group: str, variable: str | None = None) -> bool:
    if group not in tree.children:
        return False
    return variable is None or variable in tree[group].to_dataset()


def _judge_kind(tree: xarray.DataTree, family: Family, laws: Laws, kind: SpectralKind) -> FamilySpectra:
    points = tuple(_point(tree, setting, laws, kind) for setting in family.settings)
    notes = _notes(points, laws, kind, family)
    if any(point.table is not points[0].table for point in points):
        return FamilySpectra(kind, family, points, {}, no_rows(), notes)
    samples, tables = [point.moments for point in points], [point.table for point in points]
    to_first = not laws.orders or "1/M" in laws.orders
    rows = moment_rows(kind, family, samples, tables, HEAVY, to_first=to_first)
    if family.first.why_no_theory is not None and tables[0] is None and rows.comparisons:
        notes.append(
            f"{kind.name}: without a law of the whole spectrum its first two moments have limits, as given below"
        )
    return FamilySpectra(kind, family, points, _rates(points), rows, notes)


def _point(tree: xarray.DataTree, setting: Setting, laws: Laws, kind: SpectralKind) -> PointSpectrum:
    prediction = laws.predict(kind, setting)
    table = prediction.table
    values = values_of(tree, setting, kind)
    counts, bounds = _histogram(tree, setting, kind)
    row: Row = {
        "observable": kind.name,
        "point": setting.point,
        "networks": setting.networks,
        "law": None if table is None else _law_row(table),
        "heavy_tail": setting.depth > HEAVY * setting.width,
    }
    if prediction.why_not is not None:
        row["why_no_law"] = prediction.why_not
    top = _largest(tree, setting, kind, values)
    if top is not None:
        row["lambda_max"] = _edge_row(top, table, setting)
    if values is not None and table is not None:
        row |= _distances(values, table)
    if counts is not None and bounds is not None and table is not None:
        row["ks_at_edges"] = distance.counts_distance(counts, bounds, table)
    return PointSpectrum(setting, table, values, counts, bounds, _moments_of(tree, setting, kind, values), row)


def _law_row(table: distance.LawTable) -> Row:
    law = table.law
    return {
        "lambda_max": law.lambda_max,
        "mean": law.mean,
        "second_moment": law.second_moment,
        "mass": law.mass,
        "atoms": [{"place": place, "mass": mass} for place, mass in law.atoms],
    }


def values_of(tree: xarray.DataTree, setting: Setting, kind: SpectralKind) -> Floats | None:
    """Eigenvalues (N, M) of the networks of a point, of as many as fit the memory."""
    if not _has(tree, kind.name, kind.values):
        return None
    data = tree[kind.name].to_dataset()
    size = int(data["n_rank"].values[setting.index])
    networks = min(setting.networks, max(2, _MOST_VALUES // size))
    array = loaded(data[kind.values]).isel(point=setting.index, network=slice(0, networks), rank=slice(0, size))
    values = np.asarray(array.transpose("network", "rank").values, dtype=np.float64)
    squares: Floats = np.square(values)
    return squares if kind.squared else values


def _histogram(tree: xarray.DataTree, setting: Setting, kind: SpectralKind) -> tuple[Any, Floats | None]:
    name = f"{kind.name}_count"
    if not _has(tree, kind.name, name):
        return None, None
    data = tree[kind.name].to_dataset()
    counts = np.asarray(data[name].isel(point=setting.index).values).sum(axis=0)
    return counts, np.asarray(data["bin_edge"].values, dtype=np.float64)


def _largest(tree: xarray.DataTree, setting: Setting, kind: SpectralKind, values: Floats | None) -> Floats | None:
    if values is not None:
        return np.asarray(values.max(axis=1))
    name = f"{kind.name}_lambda_max"
    if not _has(tree, kind.name, name):
        return None
    array = loaded(tree[kind.name].to_dataset()[name]).isel(point=setting.index, network=slice(0, setting.networks))
    return np.asarray(array.values, dtype=np.float64)


def _moments_of(tree: xarray.DataTree, setting: Setting, kind: SpectralKind, values: Floats | None) -> Floats | None:
    if kind.moments and _has(tree, kind.name, kind.moments):
        data = tree[kind.name].to_dataset()
        here = {"point": setting.index, "network": slice(0, setting.networks)}
        found = np.asarray(loaded(data[kind.moments]).isel(here).transpose("network", "order").values, dtype=np.float64)
        if kind.name == "jacobian":
            zero = 1.0 - np.asarray(loaded(data["jacobian_rank"]).isel(here).values) / jacobian_rows(setting)
            return np.column_stack([found, zero])
        return found
    if values is None:
        return None
    return np.stack([(values**k).mean(axis=1) for k in (1, 2)], axis=1)


def _edge_row(top: Floats, table: distance.LawTable | None, setting: Setting) -> Row:
    m = moments(top[:, None])
    row: Row = {
        "mean": float(m.mean[0]),
        "error": float(m.mean_error[0]),
        "deviation": float(np.sqrt(m.variance[0])),
        "deviation_error": float(m.variance_error[0] / (2 * np.sqrt(m.variance[0]))) if m.variance[0] > 0 else 0.0,
        "limit": None if table is None else table.law.lambda_max,
    }
    predicted = None if table is None else edge(table, setting)
    if predicted is not None:
        row |= {"predicted_mean": predicted.mean, "predicted_deviation": predicted.deviation}
    return row


def _distances(values: Floats, table: distance.LawTable) -> Row:
    """W1 and Kolmogorov-Smirnov distances by network and of all networks together; masses of atoms."""
    scale = table.law.mean
    rest, shares = distance.without_atoms(values, table)
    result: Row = {
        "w1": _distance_row(distance.w1(values, table) / scale),
        "w1_log": _distance_row(distance.w1(values, table, logarithmic=True)),
        "ks": _distance_row(distance.kolmogorov_smirnov(rest, table)),
        "atoms": [
            {"place": place, "mass": mass, "measured": float(share.mean()), "error": _error(share)}
            for (place, mass), share in zip(table.atoms, shares, strict=True)
        ],
    }

    def together(sample: Floats) -> Floats:
        w = distance.w1(distance.pooled(sample), table)[0] / scale
        left, _ = distance.without_atoms(distance.pooled(sample), table)
        return np.array([w, distance.kolmogorov_smirnov(left, table)[0]])

    found, covariance = jackknife(together, values, _GROUPS)
    errors = np.sqrt(np.diag(covariance))
    for name, value, error in zip(("w1", "ks"), found, errors, strict=True):
        result[name] |= {"pooled": float(value), "pooled_error": float(error)}
    return result


def _distance_row(by_network: Floats) -> Row:
    return {"mean": float(by_network.mean()), "error": _error(by_network), "deviation": float(by_network.std(ddof=1))}


def _error(sample: Floats) -> float:
    return float(sample.std(ddof=1) / np.sqrt(sample.size)) if sample.size > 1 else float("nan")


def _rates(points: Sequence[PointSpectrum]) -> Row:
    """Powers of the width by which distances and the spread of the largest eigenvalue fall."""
    sources = {
        "w1": ("w1", "mean", "error"),
        "w1_pooled": ("w1", "pooled", "pooled_error"),
        "ks": ("ks", "mean", "error"),
        "lambda_max_deviation": ("lambda_max", "deviation", "deviation_error"),
    }
    rates: Row = {}
    scale = max((abs(p.row["lambda_max"]["mean"]) for p in points if "lambda_max" in p.row), default=1.0)
    for name, (entry, value, error) in sources.items():
        known = [(p.setting.width, p.row[entry][value], p.row[entry][error]) for p in points if entry in p.row]
        good = [each for each in known if each[1] > ROUNDING * scale and 0 < each[2] < 0.5 * each[1]]
        if len(good) >= 2:
            rates[name] = power_law(*np.array(good).T)
    shift = [
        (p.setting.width, abs(p.row["lambda_max"]["mean"] - p.row["lambda_max"]["limit"]), p.row["lambda_max"]["error"])
        for p in points
        if p.row.get("lambda_max", {}).get("limit") is not None
    ]
    good = [each for each in shift if each[2] > 0 and each[1] > max(4 * each[2], ROUNDING * scale)]
    if len(good) >= 2:
        rates["lambda_max_shift"] = power_law(*np.array(good).T)
    return rates


def power_law(widths: Floats, values: Floats, errors: Floats) -> Row:
    """Fit values = c M^exponent by weighted least squares of the logarithms.

    Where the points scatter more than their errors say, the error is that of the scatter: a pure power is an ideal.
    """
    x, y, s = np.log(widths), np.log(values), errors / values
    weight = 1.0 / s**2
    center = float(np.average(x, weights=weight))
    spread = float(np.sum(weight * (x - center) ** 2))
    exponent = float(np.sum(weight * (x - center) * y) / spread)
    rest = y - np.average(y, weights=weight) - exponent * (x - center)
    free = len(x) - 2
    chi2 = float(np.sum(weight * rest**2))
    inflation = max(1.0, chi2 / free) if free > 0 else 1.0
    prefactor = float(np.exp(np.average(y, weights=weight) - exponent * center))
    return {
        "exponent": exponent,
        "error": float(np.sqrt(inflation / spread)),
        "prefactor": prefactor,
        "chi2": chi2,
        "dof": free,
    }


def _notes(points: Sequence[PointSpectrum], laws: Laws, kind: SpectralKind, family: Family) -> list[str]:
    notes = []
    reason = laws.predict(kind, family.first).why_not
    if reason is not None:
        notes.append(f"no law for the spectrum ({kind.name}): {reason}")
    if any(point.row["heavy_tail"] and point.moments is not None for point in points):
        notes.append(
            f"depth/width exceeds {HEAVY:g} at some widths: moments of {kind.name} have heavy tails there, their means "
            "come out low and their errors too small; they stay out of the verdict"
        )
    if reason is None and all(point.moments is None for point in points):
        notes.append(
            f"{kind.name}: of the largest eigenvalue alone the limit is known, and its fluctuations in linear networks "
            "to leading order; they are drawn and listed, not judged"
        )
    for point in points:
        setting = point.setting
        if point.values is not None and len(point.values) < setting.networks:
            notes.append(f"width {setting.width}: distances from the first {len(point.values)} networks")
    return notes
