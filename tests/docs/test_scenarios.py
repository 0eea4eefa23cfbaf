"""The page of scenarios lists every ready one, with its title."""

from __future__ import annotations

from pathlib import Path

from mcnet.scenario import shipped

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scenarios.md"


def test_every_ready_scenario_is_listed_with_its_title() -> None:
    page = PAGE.read_text("utf-8")
    missing = [e["name"] for e in shipped.titles() if f"| `{e['name']}` | {e['title']} |" not in page]
    assert missing == []
