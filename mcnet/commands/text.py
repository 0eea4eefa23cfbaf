"""Tables, numbers and durations for people; values that JSON can hold for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mcnet.files import size_text

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

size = size_text
"""``12 kB``, ``1.2 GB``."""


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of named values as aligned columns; a column no row fills is left out."""
    rows = list(rows)
    names = [
        name for name in dict.fromkeys(name for row in rows for name in row) if any(cell(row.get(name)) for row in rows)
    ]
    columns = [[name, *(cell(row.get(name)) for row in rows)] for name in names]
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = zip(*columns, strict=True)
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def cell(value: Any) -> str:
    if value is None:
        return ""
    return number(value) if isinstance(value, float) else str(value)


def number(value: float, digits: int = 5) -> str:
    """A number with as many digits as carry meaning."""
    if math.isnan(value):
        return "-"
    return f"{value:.{digits}g}"


def plural(count: int, word: str) -> str:
    """``1 point``, ``4096 networks``, ``313 344 shards``."""
    shown = f"{count:,}".replace(",", " ") if count >= 10_000 else str(count)
    return f"{shown} {word}{'s' * (count != 1)}"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``4.2 h``, ``3 days``."""
    if seconds < 1.5 * _MINUTE:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.0f} days"


def target_text(target: Mapping[str, Any]) -> str:
    """``an error of 5 % of the 1/M coefficient of c``."""
    where = "" if target["layer"] is None else f" at layer {target['layer']}"
    what = "1/M coefficient" if target["coefficient"] == "1/M" else "mean"
    return f"an error of {100 * target['relative_error']:g} % of the {what} of {target['observable']}{where}"


def benchmark_text(result: Mapping[str, Any]) -> str:
    """Rates of the kernels, one row for each chain."""
    explicit = result["explicit"]
    return "\n".join(
        [
            f"{result['machine']}: {result['normals_per_second']:.3g} normals a second on one core",
            table(result["chains"]),
            f"conditioned against a drawn matrix, width {explicit['width']}: {result['speedup']:.0f} times as fast",
        ]
    )


def strict(value: Any) -> Any:
    """The value as JSON allows it: not-a-number and infinity become null, arrays lists."""
    if isinstance(value, Mapping):
        return {str(key): strict(content) for key, content in value.items()}
    if hasattr(value, "tolist"):
        return strict(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
