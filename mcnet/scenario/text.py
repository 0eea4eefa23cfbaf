"""Where in a TOML text a key or a value stands, and how to write a table as TOML.

:mod:`tomllib` forgets positions. :func:`positions` walks over a text that it has accepted and remembers them; where it
loses its way it forgets a key rather than fail, and :meth:`Positions.value` falls back to what surrounds the key.
"""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_TOKEN = re.compile(r"[^,\]}#\n]+")
_STRINGS = (
    re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}', re.DOTALL),
    re.compile(r"'''(?:[^']|'(?!''))*'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_MAX_NESTING = 100
_MAX_VALUES = 200_000  # whose positions are remembered
_SHOWN = 110


class Position(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Positions:
    """Offsets of the keys and values of a TOML text."""

    text: str
    keys: Mapping[Path, int] = field(default_factory=dict)
    values: Mapping[Path, int] = field(default_factory=dict)

    def value(self, path: Path) -> Position:
        """Where the value at ``path`` begins; else its key, else the nearest enclosing value or section."""
        return self._nearest(path, (self.values, self.keys))

    def key(self, path: Path) -> Position:
        """Where the key at ``path`` stands; else as :meth:`value`."""
        return self._nearest(path, (self.keys, self.values))

    def _nearest(self, path: Path, tables: tuple[Mapping[Path, int], ...]) -> Position:
        for end in range(len(path), 0, -1):
            for table in tables:
                if path[:end] in table:
                    return self.at(table[path[:end]])
        return Position(1, 1)

    def at(self, offset: int) -> Position:
        """Line and column of an offset."""
        line = bisect_right(self._starts, offset)
        return Position(line, offset - self._starts[line - 1] + 1)

    @cached_property
    def _starts(self) -> list[int]:
        """Offset of each line."""
        return [0, *(match.end() for match in re.finditer("\n", self.text))]


def positions(text: str) -> Positions:
    """Positions of all keys and values of a text that :mod:`tomllib` accepts; never raises."""
    walk = _Walk(text)
    with contextlib.suppress(IndexError, _Lost):  # what was found so far stands
        walk.document()
    return Positions(text, walk.keys, walk.values)


class _Lost(Exception):
    """The text is not what the walk expects."""


class _Walk:
    """One pass over a TOML text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.keys: dict[Path, int] = {}
        self.values: dict[Path, int] = {}
        self.tables: dict[Path, int] = {}  # arrays of tables and how many they hold

    def document(self) -> None:
        section: Path = ()
        while True:
            self.skip(_FILLER)
            if self.at >= len(self.text):
                return
            if self.text[self.at] == "[":
                section = self.header()
            else:
                self.pair(section, 0)

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise _Lost
        self.at = match.end()
        return match.group()

    def expect(self, mark: str) -> None:
        if not self.text.startswith(mark, self.at):
            raise _Lost
        self.at += len(mark)

    def header(self) -> Path:
        start = self.at
        array = self.text.startswith("[[", start)
        self.at += 2 if array else 1
        path: Path = ()
        parts = self.name()
        for number, (part, _) in enumerate(parts):
            path = (*path, part)
            if array and number == len(parts) - 1:
                self.tables[path] = self.tables.get(path, 0) + 1
            if path in self.tables:
                path = (*path, self.tables[path] - 1)
            self.keys.setdefault(path, start)
        self.expect("]]" if array else "]")
        return path

    def name(self) -> list[tuple[str, int]]:
        """A possibly dotted key: its parts and where each begins."""
        parts: list[tuple[str, int]] = []
        while True:
            self.skip(_SPACE)
            start = self.at
            if self.text[start] in "\"'":
                parts.append((str(tomllib.loads("x=" + self.string())["x"]), start))
            else:
                parts.append((self.skip(_BARE), start))
            self.skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def string(self) -> str:
        for pattern in _STRINGS:
            if pattern.match(self.text, self.at):
                return self.skip(pattern)
        raise _Lost

    def pair(self, section: Path, nesting: int) -> None:
        path = section
        for part, start in self.name():
            path = (*path, part)
            self.keys.setdefault(path, start)
        self.expect("=")
        self.skip(_SPACE)
        self.value(path, nesting)

    def value(self, path: Path, nesting: int) -> None:
        if nesting > _MAX_NESTING or len(self.values) > _MAX_VALUES:
            raise _Lost
        self.values[path] = self.at
        first = self.text[self.at]
        if first in "\"'":
            self.string()
        elif first == "[":
            self.array(path, nesting)
        elif first == "{":
            self.table(path, nesting)
        else:
            self.skip(_TOKEN)

    def array(self, path: Path, nesting: int) -> None:
        self.at += 1
        number = 0
        while True:
            self.skip(_FILLER)
            if self.text.startswith("]", self.at):
                self.at += 1
                return
            self.value((*path, number), nesting + 1)
            number += 1
            self.skip(_FILLER)
            if self.text.startswith(",", self.at):
                self.at += 1

    def table(self, path: Path, nesting: int) -> None:
        self.at += 1
        while True:
            self.skip(_FILLER)
            if self.text.startswith("}", self.at):
                self.at += 1
                return
            self.pair(path, nesting + 1)
            self.skip(_FILLER)
            if self.text.startswith(",", self.at):
                self.at += 1


def excerpt(text: str, position: Position) -> str:
    """The source line of a position and a caret below it, cut to the width of a terminal."""
    lines = text.split("\n")
    if not 1 <= position.line <= len(lines):
        return ""
    line = "".join(c if c.isprintable() else " " for c in lines[position.line - 1].rstrip())
    if not line:
        return ""
    column = min(position.column - 1, len(line))
    start = max(0, min(column - _SHOWN // 2, len(line) - _SHOWN))
    shown = line[start : start + _SHOWN]
    indent = len(shown) - len(shown.lstrip()) if start == 0 else 0
    caret = max(0, column - start - indent)
    return f"   {shown[indent:]}\n   {' ' * caret}^"


def quote(value: Any, most: int = 60) -> str:
    """A value as a message shows it: one line, no control characters, cut where long."""
    if isinstance(value, str):
        shown = json.dumps(value, ensure_ascii=not value.isprintable())
    elif isinstance(value, bool):
        shown = str(value).lower()
    elif isinstance(value, int) and value.bit_length() > 200:
        return "a number with more than 60 digits"
    elif isinstance(value, int | float):
        shown = repr(value)
    elif isinstance(value, Mapping):
        return "a table"
    elif isinstance(value, list | tuple):
        return "a list"
    else:
        shown = f"{type(value).__name__} {value!s}"
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def shown(key: str) -> str:
    """A key as a message shows it: quoted unless it is a plain word of usual length."""
    return key if _BARE.fullmatch(key) and len(key) <= 60 else quote(key)


def dumps(table: Mapping[str, Any]) -> str:
    """A table of tables as TOML: plain values first, then one section each; deeper tables inline."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"{_name(key)} = {_inline(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += [""] * bool(lines) + [f"[{_name(key)}]"]
            lines += [f"{_name(inner)} = {_inline(content)}" for inner, content in value.items()]
    return "\n".join(lines) + "\n"


def _name(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_name(key)} = {_inline(content)}" for key, content in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_inline(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)  # int, float (inf and nan too) and dates are written alike in both languages


LISTED = 20
"""Names that a sentence lists; where there are more, it says where all of them are."""


def listed(names: Sequence[str]) -> str:
    """Names for a sentence, with how many more there are."""
    more = len(names) - LISTED
    shown_names = ", ".join(names[:LISTED])
    return shown_names if more <= 0 else f"{shown_names} and {more} more (docs/scenarios.md has all)"
