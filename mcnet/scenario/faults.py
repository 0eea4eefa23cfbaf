"""The mistakes of a scenario, collected and told all at once, each with its place in the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from mcnet.errors import ScenarioError
from mcnet.scenario.fields import FAULT, found, nearest
from mcnet.scenario.schema import sections
from mcnet.scenario.text import Path, Position, excerpt, listed, positions, quote, shown

_SHOWN = 40
_KEPT = 2000


class Faults:
    """Mistakes found so far in one scenario.

    Parameters
    ----------
    name : str
        How the user calls the scenario: the path as typed.
    text : str or None
        Source text, or None for a scenario that was never a file.
    overrides : mapping of path to str
        Keys set on the command line, each with the words that set it.
    """

    def __init__(self, name: str, text: str | None, overrides: Mapping[Path, str] | None = None) -> None:
        self._name = name if name.isprintable() else quote(name)
        self._text = text
        self.overrides = dict(overrides or {})
        self._found: dict[tuple[Path, str, bool], None] = {}  # in order, each once
        self._more = 0  # mistakes beyond those that are kept
        self.meant: set[Path] = set()  # what mistyped keys were meant to be
        self.models = sections()  # what may stand in which section
        self.members: Mapping[int, str] = {}  # names of the members of the scenario, by their places

    def __len__(self) -> int:
        return len(self._found)

    @property
    def found(self) -> tuple[tuple[Path, str, bool], ...]:
        """Path, sentence and whether it is about the key, of each mistake."""
        return tuple(self._found)

    def add(self, path: Path, sentence: str, *, at_key: bool = False) -> None:
        """Note a mistake at the value of ``path``, or at its key."""
        if len(self._found) < _KEPT:
            self._found[path, sentence, at_key] = None
        else:
            self._more += 1

    def unknown(self, path: Path, allowed: tuple[str, ...], what: str = "key") -> None:
        """Note a key that does not exist, with the nearest one that does."""
        given = str(path[-1])
        close = nearest(given, allowed)
        self.meant |= {(*path[:-1], close)} if close else set()
        home = next((name for name, model in self.models.items() if given in model.model_fields), None)
        if close:
            hint = f'Did you mean "{close}"?'
        elif home and len(path) == 2 and home != path[0]:
            hint = f"It belongs in [{home}]."
        else:
            hint = f"Known: {listed(allowed)}."
        self.add(path, f"unknown {what}. {hint}", at_key=True)

    def missing(self, path: Path, what_to_do: str) -> None:
        """Note a key that is not there, unless a mistyped one was meant to be it."""
        if path not in self.meant:
            self.add(path, f"missing. {what_to_do}", at_key=True)

    def has(self, *path: str | int) -> bool:
        """Whether a mistake at or below ``path`` was noted."""
        return any(place[: len(path)] == path for place, _, _ in self._found)

    def of_value(self, error: PydanticCustomError, path: Path) -> None:
        """Note the mistakes that a check of :mod:`mcnet.scenario.fields` found in a value."""
        for sentence, place in found(error, *path):
            self.add(place, sentence, at_key=sentence.startswith("unknown"))

    def of_model(self, error: ValidationError, section: Path, content: Any) -> None:
        """Note the mistakes that a pydantic model found in the content of a section."""
        for detail in error.errors(include_url=False):
            path = (*section, *_as_written(detail["loc"], content))
            match detail["type"]:
                case kind if kind == FAULT:
                    for sentence, rest in detail["ctx"]["faults"]:
                        self.add((*path, *rest), sentence, at_key=sentence.startswith("unknown"))
                case "extra_forbidden":
                    self.unknown(path, _keys_beside(self.models[str(section[0])], path[len(section) : -1]))
                case "missing":
                    self.missing(path, f"Write {path[-1]} = ....")
                case _:  # a table where a value stands, and the like
                    self.add(path, f"expected a table, got {quote(detail['input'])}. Write {{ key = value, ... }}.")

    def error(self) -> ScenarioError:
        """All mistakes as one message."""
        where = positions(self._text) if self._text is not None else None
        told: dict[tuple[Position, str], bool] = {}  # place and sentence; whether the line of the file helps
        for path, sentence, at_key in self._found:
            key = self._key(path)
            override = next(
                (text for set_path, text in self.overrides.items() if path[: len(set_path)] == set_path), None
            )
            if override is not None or where is None:
                place = f"--set {override}" if override is not None else self._name
                told[Position(0, 0), f"{place}: {key}: {sentence}" if key else f"{place}: {sentence}"] = False
                continue
            position = where.key(path) if at_key else where.value(path)
            place = f"{self._name}:{position.line}:{position.column}"
            told[position, f"{place}: {key + ': ' if key else ''}{sentence}"] = bool(path)
        text = self._text or ""
        lines = [
            "\n".join(filter(None, (line, excerpt(text, position) if helps else "")))
            for (position, line), helps in sorted(told.items(), key=lambda item: item[0][0])[:_SHOWN]
        ]
        count = len(told) + self._more
        if count > _SHOWN:
            lines.append(f"... and {count - _SHOWN} more.")
        return ScenarioError("\n".join([*lines, f"{count} mistake{'s' * (count != 1)}; nothing was run."]))

    def _key(self, path: Path) -> str:
        """The key of a path as messages show it, after the name of its member."""
        name = self.members.get(path[1]) if len(path) > 1 and path[0] == "member" and isinstance(path[1], int) else None
        parts = [shown(part) for part in (path if name is None else path[2:]) if isinstance(part, str)]
        return ": ".join(filter(None, ("" if name is None else f"member {name}", ".".join(parts))))


def _as_written(path: Path, content: Any) -> Path:
    """A path into what the model made of the content, as a path into the content: one item may stand for a list."""
    written: Path = ()
    for part in path:
        if isinstance(part, int) and not isinstance(content, list | tuple):
            continue
        written = (*written, part)
        inside = isinstance(content, list | tuple) and isinstance(part, int) and part < len(content)
        content = content[part] if inside else content.get(part) if isinstance(content, Mapping) else None
    return written


def _keys_beside(model: Any, way: Path) -> tuple[str, ...]:
    """The keys that are allowed where an unknown one stands, some way into a section."""
    for part in way:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            model = next((m for m in _models(annotation)), model)
    return tuple(model.model_fields)


def _models(annotation: Any) -> list[Any]:
    found = [annotation] if hasattr(annotation, "model_fields") else []
    for inner in getattr(annotation, "__args__", ()):
        found += _models(inner)
    return found
