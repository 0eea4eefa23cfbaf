"""The page of published numbers: it has every number of data/reference, and theory gives it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from mcnet.scenario import load
from tools import literature

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "literature.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if re.match(r"\| [^|-]", line)
]
PUBLISHED = np.array([float(row[1]) for row in ROWS])
# Keys of data/reference that are results, not settings.
RESULTS = {
    "mean_field": ("sigma_w2", "q"),
    "tangent": ("log_slope",),
    "jacobian": ("relative_variance", "relative_variance_at_exact_criticality", "measured_relative_variance"),
    "fisher": ("weights_trained", "biases_trained", "measured"),
}


def results() -> list[tuple[str, float]]:
    return [
        (f"{name}.toml: {key}", entry[key])
        for name, keys in RESULTS.items()
        for entries in literature.reference(name).values()
        for entry in entries
        for key in keys
        if key in entry
    ]


@pytest.mark.parametrize(("where", "number"), results())
def test_page_has_every_number_of_the_reference(where: str, number: float) -> None:
    assert np.any(np.abs(PUBLISHED / number - 1) < 1e-8), f"{where} = {number} is not on the page"


def test_theory_gives_the_published_numbers() -> None:
    """The limit within a unit of the last digit of the source, or 3 % where the source is a measurement or a limit."""
    for what, published, limit, *_ in ROWS:
        if not limit or "width" in what:
            continue
        allowed = 0.03 * abs(float(published)) if re.search("measured|batch", what) else last_digit(published)
        assert abs(float(limit) - float(published)) <= 1.01 * allowed, f"{what}: {limit}, published {published}"


def last_digit(text: str) -> float:
    return float(10.0 ** -len(text.partition(".")[2])) if "." in text else 1e-6


def test_every_scenario_of_the_set_is_on_the_page() -> None:
    files = sorted(literature.SCENARIOS.glob("*.toml"))
    assert {section.scenario for section in literature.SECTIONS} - {""} == {file.stem for file in files}
    for file in files:
        load(file)
        assert f"mcnet run scenarios/literature/{file.name}" in PAGE


def test_jackknife_of_a_ratio() -> None:
    """Against the delta method; the error of the numerator alone is not that of the ratio."""
    x = np.random.default_rng(1).normal(size=(4000, 2)) @ [[0.1, 0.08], [0.0, 0.06]] + [2.0, 3.0]
    value, error = literature.jackknife(x[:, :1], lambda mean: mean[..., 0])
    assert value == pytest.approx(x[:, 0].mean())
    assert error == pytest.approx(x[:, 0].std(ddof=1) / math.sqrt(4000))
    value, error = literature.jackknife(x, lambda mean: mean[..., 0] / mean[..., 1])
    ratio = x[:, 0].mean() / x[:, 1].mean()
    delta = np.std(x[:, 0] / x[:, 1].mean() - ratio * x[:, 1] / x[:, 1].mean(), ddof=1) / math.sqrt(4000)
    assert value == pytest.approx(ratio)
    assert error == pytest.approx(delta, rel=1e-3)
    alone = x[:, 0].std(ddof=1) / x[:, 1].mean() / math.sqrt(4000)
    assert abs(alone / delta - 1) > 0.1
