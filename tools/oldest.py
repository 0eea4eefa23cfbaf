"""The lowest versions that pyproject.toml allows, as requirements of pip: ``python -m tools.oldest [EXTRA ...]``."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LOWEST = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+(\[[^\]]*\])?)\s*>=\s*(?P<version>[0-9.]+)(,.*)?$")


def pinned(requirement: str) -> str:
    """``name>=version`` as ``name==version``; of one that names no lowest version, ValueError."""
    found = _LOWEST.match(requirement)
    if found is None:
        raise ValueError(f"{requirement}: names no lowest version")
    return f"{found['name']}=={found['version']}"


def oldest(extras: list[str]) -> list[str]:
    """Requirements of the package and of some extras at their lowest versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [one for extra in extras for one in project["optional-dependencies"][extra]]
    return [pinned(requirement) for requirement in wanted]


if __name__ == "__main__":
    print("\n".join(oldest(sys.argv[1:])))
