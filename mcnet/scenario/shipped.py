"""The scenarios that come with mcnet."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

from mcnet.errors import UsageError
from mcnet.scenario.fields import suggestion
from mcnet.scenario.text import quote

_INSTALLED = "share/mcnet/scenarios"


def files() -> dict[str, Path]:
    """Name and file of every scenario: of the source tree if this is one, else of the installation."""
    source = Path(__file__).resolve().parents[2] / "scenarios"
    if source.is_dir() and (source.parent / "pyproject.toml").is_file():
        found = sorted(source.glob("*.toml"))
    else:
        listed = metadata.files("mcnet") or []
        found = sorted(Path(str(file.locate())) for file in listed if _INSTALLED in file.as_posix())
    return {file.stem: file for file in found}


def find(name: str) -> Path:
    """The file of a scenario.

    Raises
    ------
    UsageError
        If there is none of this name.
    """
    known = files()
    if name.removesuffix(".toml") in known:
        return known[name.removesuffix(".toml")]
    raise UsageError(
        f"scenario {quote(name)} is not known.{suggestion(name, known)} ({', '.join(known) or 'none are installed'})"
    )


def path(text: str) -> str:
    """A scenario as typed: a file, or the bare name of one that comes with mcnet."""
    if Path(text).exists() or Path(text).suffix or Path(text).name != text:
        return text
    known = files()
    return str(known[text]) if text in known else text


def titles() -> list[dict[str, str]]:
    """Name and title of every scenario."""
    return [
        {"name": name, "title": str(tomllib.loads(file.read_text("utf-8")).get("title", ""))}
        for name, file in files().items()
    ]
