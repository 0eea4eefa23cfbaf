"""The notebooks of the documentation run from top to bottom, and their pages show the outputs that they have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

# In a process of its own: what Jupyter warns of is not mcnet's.
RUN = """
import sys, nbclient, nbformat
book = nbformat.read(sys.argv[1], as_version=4)
where = {"metadata": {"path": sys.argv[2]}}
nbclient.NotebookClient(book, kernel_name="python3", timeout=300, resources=where).execute()
nbformat.write(book, sys.argv[3])
"""


def kinds(path: Path) -> list[list[str]]:
    """What each code cell shows: streams by name, displayed things by the best of their forms."""
    book = json.loads(path.read_text("utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    return [sorted({_kind(output) for output in cell["outputs"]}) for cell in cells]


def _kind(output: dict[str, object]) -> str:
    data = output.get("data", {})
    assert isinstance(data, dict)
    best = [kind for kind in ("image/png", "text/html", "text/plain") if kind in data]
    return best[0] if best else str(output["name"])


@pytest.mark.parametrize("book", NOTEBOOKS, ids=lambda book: book.stem)
def test_notebook_runs_and_shows_what_its_page_shows(book: Path, tmp_path: Path) -> None:
    again = tmp_path / book.name
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(book), str(FOLDER), str(again)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert kinds(again) == kinds(book), "the page is not what the notebook shows now: run it and save it"


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 5
