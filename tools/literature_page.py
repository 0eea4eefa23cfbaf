"""The page of the documentation that compares published numbers with theory and with sampled networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tools.literature import Number, Section


def shown(value: float, error: float = math.nan) -> str:
    """A number with the digits that its error leaves sense in; "" for NaN."""
    if not math.isfinite(value):
        return ""
    if not math.isfinite(error):
        return f"{value:.9g}"
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{places}f} ± {error:.{places}f}"


def page(sections: Sequence[tuple[Section, str, Sequence[Number]]]) -> str:
    """The page, from what was found."""
    scores = np.array([number.z for _, _, numbers in sections for number in numbers])
    scores = scores[np.isfinite(scores)]
    count = sum(len(numbers) for _, _, numbers in sections)
    lines = [
        "# Published numbers, again",
        "",
        f"{count} numbers of the literature (`data/reference` and the papers named), what theory gives for each, and",
        "what sampled networks say. `make literature` runs the scenarios of `scenarios/literature` and writes it.",
        "",
        "*Published* is the number of the source. *Limit* is the theory of mcnet at infinite width, *at this width*",
        "with the 1/M term, or exactly where a law is known. *Measured* are means over networks with standard",
        "errors, σ their distance from *at this width*. Empty: no such number.",
        "",
        f"Of {scores.size} measured numbers with a prediction at their width the root mean square of σ is",
        f"{np.sqrt(np.mean(scores**2)):.2f}, the largest {np.abs(scores).max():.1f}.",
    ]
    for section, title, numbers in sections:
        name = section.scenario
        lines += ["", f"## {title}", "", f"{section.source}.", *([section.note] if section.note else []), ""]
        if name:
            lines += [f"    mcnet run scenarios/literature/{name}.toml --out data/runs/literature/{name}", ""]
        lines += ["| | published | limit | at this width | measured | σ |", "|---|---|---|---|---|---|"]
        for number in numbers:
            score = f"{number.z:+.1f}" if math.isfinite(number.z) else ""
            cells = (shown(number.published), shown(number.limit), shown(number.expected))
            lines.append(f"| {number.what} | {' | '.join(cells)} | {shown(number.measured, number.error)} | {score} |")
    return "\n".join(lines) + "\n"
