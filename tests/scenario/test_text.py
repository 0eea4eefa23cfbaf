"""Positions of keys and values in TOML, against documents written piece by piece with the places noted down."""

from __future__ import annotations

import random
import tomllib
from typing import Any

import pytest

from mcnet.scenario.text import Path, Position, dumps, excerpt, positions, quote


class Writer:
    """Writes a random TOML document and notes where every key and value begins."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.text = ""
        self.keys: dict[Path, int] = {}
        self.values: dict[Path, int] = {}

    def put(self, text: str) -> None:
        self.text += text

    def blank(self, lines: bool) -> None:
        choices = ["", " ", "\t", "  "]
        if lines:
            choices += ["\n", "\r\n  ", ' # a ] comment = { [ "\n']
        self.put(self.random.choice(choices))

    def key(self, section: Path, number: int) -> Path:
        path = section
        for part in range(self.random.choice([1, 1, 1, 2])):
            if part:
                self.blank(False)
                self.put(".")
                self.blank(False)
            name = f"k{number}-{part}"
            path = (*path, name)
            self.keys[path] = len(self.text)
            self.put(self.random.choice([name, f'"{name}"', f"'{name}'"]))
        return path

    def pair(self, section: Path, number: int, depth: int) -> None:
        path = self.key(section, number)
        self.blank(False)
        self.put("=")
        self.blank(False)
        self.value(path, depth)

    def value(self, path: Path, depth: int) -> None:
        self.values[path] = len(self.text)
        scalars = [
            "1",
            "-2.5e3",
            "true",
            '"a # b"',
            "'''x\n]'y'''",
            '"""a\\"b\n"c""""',
            "2024-01-01 10:00:00",
            "inf",
            r'"\\"',
            "''",
        ]
        kind = self.random.randrange(4 if depth < 3 else 1)
        if kind <= 1:
            self.put(self.random.choice(scalars))
        elif kind == 2:
            self.put("[")
            count = self.random.randrange(4)
            for number in range(count):
                self.blank(True)
                self.value((*path, number), depth + 1)
                self.blank(True)
                self.put("," if number < count - 1 or self.random.random() < 0.5 else "")
            self.blank(True)
            self.put("]")
        else:
            self.put("{")
            count = self.random.randrange(3)
            for number in range(count):
                self.blank(False)
                self.pair(path, number, depth + 1)
                self.blank(False)
                self.put("," if number < count - 1 else "")
            self.put("}")

    def document(self) -> None:
        for number in range(self.random.randrange(4)):
            self.blank(True)
            self.pair((), number, 0)
            self.put("\n")
        for section in range(3):
            array = section == 2
            for element in range(2 if array else 1):
                self.blank(True)
                path: Path = ("a", f"s{section}") if section else (f"s{section}",)
                if array:
                    path = (*path, element)
                self.keys.setdefault(path, len(self.text))
                name = ".".join(str(part) for part in path if isinstance(part, str))
                self.put(f"[[ {name} ]]" if array else f"[{name}]")
                self.put(" # comment\n")
                for number in range(self.random.randrange(4)):
                    self.pair(path, number, 0)
                    self.put("\n")


def content(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


@pytest.mark.parametrize("seed", range(60))
def test_positions_are_those_where_the_writer_wrote(seed: int) -> None:
    writer = Writer(seed)
    writer.document()
    data = tomllib.loads(writer.text)
    found = positions(writer.text)
    for path, offset in writer.values.items():
        content(data, path)  # the writer and tomllib agree on what there is
        assert found.values.get(path) == offset, (path, writer.text)
    for path, offset in writer.keys.items():
        assert found.keys.get(path) == offset, (path, writer.text)


def test_line_and_column() -> None:
    where = positions('a = 1\n[b]\n  c.d = [\n 1, "x"]\n')
    assert where.value(("a",)) == Position(1, 5)
    assert where.key(("b", "c", "d")) == Position(3, 5)
    assert where.value(("b", "c", "d", 1)) == Position(4, 5)
    assert where.value(("b", "c", "d", 7)) == Position(3, 9), "falls back to the list"
    assert where.key(("b", "missing")) == Position(2, 1), "falls back to the section"
    assert where.value(("nothing",)) == Position(1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[a",
        "a",
        "a =",
        "= 1",
        'a = "',
        "a = [1 2",
        "a = [}]",
        "a = {b}",
        "a = {b = ]}",
        "\x00",
        "[a]]",
        "a = [" * 5000,
    ],
)
def test_text_that_is_no_toml_does_no_harm(text: str) -> None:
    positions(text).value(("a", 0, "b"))


def test_excerpt_points_at_the_column_and_stays_narrow() -> None:
    assert excerpt('x\n  activation = "tahn"\n', Position(2, 16)) == '   activation = "tahn"\n                ^'
    line = "values = [" + "1.0, " * 500 + '"bad"]'
    shown, caret = excerpt(line, Position(1, line.index('"bad"') + 1)).split("\n")
    assert len(shown) < 130
    assert shown[caret.index("^") :].startswith('"bad"')
    assert "\x1b" not in excerpt("a = '\x1b[31m'", Position(1, 1))


def test_quotes_are_one_short_line() -> None:
    assert quote("a") == '"a"'
    assert quote("\x1b[31m\n") == r'"\u001b[31m\n"'
    assert len(quote("x" * 1000)) <= 60
    assert len(quote(10**5000)) <= 60
    assert quote(True) == "true"


def test_dumps_is_read_back_by_tomllib() -> None:
    table = {
        "mcnet": 1,
        "title": 'quotes " and \\ and ü',
        "network": {"activation": {"name": "leaky-relu", "slope": 1e-05}, "train_biases": True, "odd key": 1.0},
        "sweep": {"sigma_w2": {"start": 0.5, "stop": 1e16, "num": 3}, "weights": ["gaussian", "orthogonal"]},
        "measure": {"q": {}, "jacobian": {"keep": "values"}},
        "inputs": {"values": [[1.0, 2.0], [3.0, -4.0]]},
    }
    assert tomllib.loads(dumps(table)) == table
