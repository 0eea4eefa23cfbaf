"""``status`` and ``verify`` of a dataset alone: a file that was published, without the directory of its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcnet.commands.text import plural
from mcnet.errors import UsageError
from mcnet.storage.directory import DATASET, PLAN


def alone(path: Path) -> Path | None:
    """The dataset where there is nothing else: the file itself, or that of a directory without a run; else None."""
    if path.is_file():
        return path
    return path / DATASET if (path / DATASET).is_file() and not (path / PLAN).exists() else None


def status(file: Path) -> dict[str, Any]:
    """What a dataset holds of its run.

    Returns
    -------
    dict
        ``title``, ``dataset`` (the file), ``points``, ``networks``, ``networks_planned``, ``complete``,
        ``plan_digest``, ``content_digest``.

    Raises
    ------
    DataError
        If it is damaged, or no dataset of mcnet.
    """
    from mcnet.dataset.open import open_dataset

    with open_dataset(file) as tree:
        told = {str(name): value for name, value in tree.attrs.items()}
        points = int(tree.sizes["point"])
    present, planned = (int(told.get(f"networks_{what}", 0)) for what in ("present", "planned"))
    return {
        "title": str(told.get("title", "")),
        "dataset": str(file),
        "points": points,
        "networks": present,
        "networks_planned": planned,
        "complete": present == planned,
        **{name: str(told.get(name, "")) for name in ("plan_digest", "content_digest")},
    }


def status_text(found: Mapping[str, Any]) -> str:
    """In a line."""
    networks = plural(found["networks"], "network")
    missing = "" if found["complete"] else f" of {plural(found['networks_planned'], 'network')} planned"
    points = plural(found["points"], "point")
    return f"{found['dataset']}: {points}, {networks}{missing}; a dataset alone, its shards are elsewhere"


def verify(file: Path, recompute: int) -> dict[str, Any]:
    """Read all of a dataset and compare it with its digests.

    Returns
    -------
    dict
        ``dataset``, ``content_digest``, ``damaged`` (empty: it was not), ``verdict`` (None: nothing was drawn again).

    Raises
    ------
    DataError
        If it is damaged.
    UsageError
        If shards are to be drawn again, of which it has none.
    """
    from mcnet.dataset.packing import verify_dataset

    if recompute:
        raise UsageError(f"{file}: holds no shards to draw again. Repeat its whole run: mcnet rerun {file} --out DIR")
    return {"dataset": str(file), "content_digest": verify_dataset(file), "damaged": [], "verdict": None}


def verify_text(found: Mapping[str, Any]) -> str:
    """In a line."""
    return f"{found['dataset']}: every byte agrees with its digests; content digest {found['content_digest']}"
