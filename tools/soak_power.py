"""What a power cut may leave of a run: files lose what was not synced, directories lose entries.

While a run makes its shards every call that changes the folder of shards is followed. A disk may keep any part of what
was not synced, so two states are looked at: all entries of the directory and of every file only what was synced, and
only the entries that were synced with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class File:
    """A file on the disk that is followed: what it holds, and what of it was synced."""

    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


class Watched:
    """A folder, as the calls of the system make it.

    Parameters
    ----------
    folder : path
    named : callable
        Called with name and file when an entry is made.
    """

    def __init__(self, folder: Path, named: Callable[[str, File], None]) -> None:
        self._folder, self._named = folder, named
        self.entries: dict[str, File] = {}
        self.synced_entries: dict[str, File] = {}
        self._open: dict[int, File | None] = {}

    def _name(self, path: Any) -> str | None:
        """Name of a path in the folder, None for other paths."""
        place = Path(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else None
        return place.name if place is not None and place.parent == self._folder else None

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow the calls that are made meanwhile."""
        kept = {name: getattr(os, name) for name in ("open", "write", "fsync", "close", "rename", "link", "unlink")}
        for name, call in kept.items():
            setattr(os, name, getattr(self, f"_{name}_after")(call))
        try:
            yield
        finally:
            for name, call in kept.items():
                setattr(os, name, call)

    def _open_after(self, call: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            descriptor = call(path, flags, *rest, **more)
            name = self._name(path)
            if isinstance(path, str | os.PathLike) and Path(path) == self._folder:
                self._open[descriptor] = None
            elif name is not None and flags & (os.O_WRONLY | os.O_RDWR):
                self._open[descriptor] = self.entries.setdefault(name, File())
                if flags & os.O_TRUNC:
                    self.entries[name] = self._open[descriptor] = File()
                self._named(name, self.entries[name])
            return descriptor

        return opened

    def _write_after(self, call: Callable[..., int]) -> Callable[..., int]:
        def written(descriptor: int, data: Any) -> int:
            count = call(descriptor, data)
            file = self._open.get(descriptor)
            if file is not None:
                file.content += memoryview(data).cast("B")[:count]
            return count

        return written

    def _fsync_after(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            call(descriptor)
            if descriptor in self._open:
                file = self._open[descriptor]
                if file is None:
                    self.synced_entries = dict(self.entries)
                else:
                    file.synced = bytes(file.content)

        return synced

    def _close_after(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def closed(descriptor: int) -> None:
            self._open.pop(descriptor, None)
            call(descriptor)

        return closed

    def _rename_after(self, call: Callable[..., None]) -> Callable[..., None]:
        def renamed(source: Any, target: Any, **more: Any) -> None:
            call(source, target, **more)
            before, after = self._name(source), self._name(target)
            if before in self.entries and after is not None:
                self.entries[after] = self.entries.pop(before)
                self._named(after, self.entries[after])

        return renamed

    def _link_after(self, call: Callable[..., None]) -> Callable[..., None]:
        def linked(source: Any, target: Any, **more: Any) -> None:
            call(source, target, **more)
            before, after = self._name(source), self._name(target)
            if before in self.entries and after is not None:
                self.entries[after] = self.entries[before]
                self._named(after, self.entries[after])

        return linked

    def _unlink_after(self, call: Callable[..., None]) -> Callable[..., None]:
        def unlinked(path: Any, **more: Any) -> None:
            call(path, **more)
            self.entries.pop(self._name(path) or "", None)

        return unlinked


def trouble(run: Callable[[], object], folder: Path, scratch: Path) -> str:
    """Run with power cuts in mind; what would be lost or damaged, "" if nothing.

    Parameters
    ----------
    run : callable
        Makes shards in ``folder`` in this process.
    folder : path
        The folder of shards.
    scratch : path
        A folder for files of states that are looked at.
    """
    from mcnet.engine import worker
    from mcnet.storage import shard

    found, make = [""], worker.make_shard
    scratch.mkdir(parents=True, exist_ok=True)

    def check(name: str, file: File) -> None:
        """A name that readers know must never be seen before all bytes are on the disk."""
        if name.endswith(".h5") and not found[0]:
            (scratch / name).write_bytes(file.synced)
            try:
                shard.verify(scratch / name)
            except shard.Damaged:
                found[0] = f"{name} has its name and not all its bytes after a power cut"

    watched = Watched(folder, check)

    def made(*arguments: Any) -> bool:
        result = make(*arguments)
        lost = watched.entries.keys() - watched.synced_entries.keys()
        if result and any(name.endswith(".h5") for name in lost):
            found[0] = found[0] or f"{min(lost)} was reported and its entry is lost after a power cut"
        return bool(result)

    worker.make_shard = made  # type: ignore[assignment]
    try:
        with watched.following():
            run()
    finally:
        worker.make_shard = make
    return found[0] if watched.entries else "no shard was made"
