"""Draw the pictures of the README from a run of the quickstart: python docs/make_images.py data/runs/quickstart."""

from __future__ import annotations

import sys
from pathlib import Path

from mcnet_analysis.analyze import judge_directory
from mcnet_analysis.draw.depth import profiles
from mcnet_analysis.draw.style import svg


def main(directory: str) -> None:
    families = judge_directory(directory).families
    (drawing,) = profiles(families, "c")
    target = Path(__file__).parent / "images" / "signal.svg"
    target.write_text(svg(drawing.figure, "signal") + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
