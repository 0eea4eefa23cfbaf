"""Tables as an interface: comparisons, coefficients and fits of an analysis as data frames, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcnet_analysis.analyze import Analysis, judged, plain
from mcnet_analysis.draw.text import number, with_error

from mcnet import files

if TYPE_CHECKING:
    import pandas
    import xarray

    Source = str | os.PathLike[str] | xarray.DataTree | Analysis | Mapping[str, Any]

__all__ = ["Table", "coefficients", "comparisons", "fits", "save"]

_FRONT = ("observable", "layer", "of", "statistic", "order", "measured", "error", "predicted", "z", "networks")
_FITTED = ("a1", "v1", "limit")
_HIDDEN = ("statistical", "neglected")  # parts of the error
_LATEX = {"a1": "$a_1$", "v1": "$v_1$", "predicted": "theory", "sigma_w2": r"$\sigma_w^2$", "sigma_b2": r"$\sigma_b^2$"}


@dataclass(frozen=True)
class Table:
    """Rows with the same columns; None where there is no value.

    Attributes
    ----------
    columns : tuple of str
    rows : tuple of tuple
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def to_dataframe(self) -> pandas.DataFrame:
        """As a pandas data frame."""
        import pandas

        return pandas.DataFrame(list(self.rows), columns=list(self.columns))

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """As comma-separated text, with a header; also written to ``path`` if one is given."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(["" if cell is None else cell for cell in row] for row in self.rows)
        if path is not None:
            files.write(Path(path), text.getvalue())
        return text.getvalue()

    def to_latex(self, path: str | os.PathLike[str] | None = None) -> str:
        """As a ``tabular``: measured with its error and theory with the digits that the error leaves sense in."""
        shown = [name for name in self.columns if name not in ("error", "left_out", "networks")]
        lines = [r"\begin{tabular}{" + "l" * len(shown) + "}", r"\hline"]
        lines += [" & ".join(_LATEX.get(name, name.replace("_", r"\_")) for name in shown) + r" \\", r"\hline"]
        for row in self.rows:
            entry = dict(zip(self.columns, row, strict=True))
            lines.append(" & ".join(_cell(name, entry) for name in shown) + r" \\")
        text = "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"
        if path is not None:
            files.write(Path(path), text)
        return text


def _cell(name: str, row: Mapping[str, Any]) -> str:
    value, error = row[name], row.get("error")
    if value is None:
        return ""
    if name == "measured":
        return "$" + with_error(value, error).replace("±", r"\pm").replace("–", "") + "$"
    if name == "predicted":
        return f"${number(value, error)}$"
    if name == "z":
        return f"${value:+.1f}$"
    if name == "statistic" and value in _LATEX:
        return _LATEX[value]
    return f"{value:.5g}" if isinstance(value, float) else str(value).replace("_", r"\_")


def comparisons(source: Source) -> Table:
    """All comparisons with theory, a row each: what, where, measured, error, predicted, z.

    Parameters
    ----------
    source : path, DataTree, Analysis or dict
        A dict is what :func:`mcnet.analyze` returned.
    """
    return _table(_document(source)["comparisons"])


def coefficients(source: Source) -> Table:
    """The fitted coefficients alone: a1, v1 and limits."""
    return _table([row for row in _document(source)["comparisons"] if row["statistic"] in _FITTED])


def fits(source: Source) -> Table:
    """All fits in 1/M, those of the scenario first: coefficients with errors, goodness, without the smallest width."""
    rows = []
    for fit in _document(source)["fits"]:
        row = {name: value for name, value in fit.items() if not isinstance(value, dict) or name == "point"}
        for name, value in fit["coefficients"].items():
            row |= {name: value, f"{name}_error": fit["errors"][name]}
        row["without_smallest_width"] = (fit.get("without_smallest_width") or {}).get("value")
        rows.append(row)
    return _table(rows)


def save(source: Source, folder: str | os.PathLike[str], latex: bool = False) -> list[Path]:
    """Write comparisons, coefficients and fits as CSV (or LaTeX) files into a folder; the paths."""
    document, place = _document(source), Path(folder)
    files.make_folder(place, may_be_link=True)
    paths = []
    for make in (comparisons, coefficients, fits):
        paths.append(place / f"{make.__name__}.{'tex' if latex else 'csv'}")
        table = make(document)
        (table.to_latex if latex else table.to_csv)(paths[-1])
    return paths


def _document(source: Source) -> Mapping[str, Any]:
    if isinstance(source, Mapping) and "comparisons" in source:
        return source
    found: Mapping[str, Any] = plain(judged(source).document)  # type: ignore[arg-type]
    return found


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Flat columns: coordinates of the points that differ, the width, then the rest."""
    points = [_point(row["point"]) for row in rows]
    names = list(dict.fromkeys(name for point in points for name in point))
    varying = [n for n in names if len({repr(point.get(n)) for point in points}) > 1 and n != "width"]
    flat = []
    for row, point in zip(rows, points, strict=True):
        place = {"of": _of(row)} | {name: point.get(name) for name in (*varying, "width")}
        flat.append(place | {k: _plain(v) for k, v in row.items() if k not in ("point", "pair", "input", *_HIDDEN)})
    every = list(dict.fromkeys(name for row in flat for name in row))
    front = [name for name in _FRONT if name in every]
    columns = [*varying, "width", *front]
    columns = [*columns, *(name for name in every if name not in columns)] if rows else []
    return Table(tuple(columns), tuple(tuple(row.get(name) for name in columns) for row in flat))


def _point(point: Mapping[str, Any]) -> dict[str, Any]:
    """Coordinates with the widths of a family as one text."""
    flat = {name: value for name, value in point.items() if name != "widths"}
    if "widths" in point:
        flat["width"] = " ".join(map(str, point["widths"]))
    return flat


def _of(row: Mapping[str, Any]) -> str:
    if "pair" in row:
        return "{} {}".format(*row["pair"])
    return str(row["input"]) if "input" in row else ""


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value
