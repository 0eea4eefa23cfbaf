"""Keys of an architecture in ``[network]``: what values they take, and what a program reads of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcnet.coordinates import COORDINATES, REQUIRED, Coordinate
from mcnet.programs.names import ProgramError
from mcnet.programs.parameters import Parameters

RESERVED = frozenset(name for each in COORDINATES for name in (each.name, each.written)) | {"values", "path", "points"}
"""Names that mean something for every architecture."""


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes
    ----------
    default : value
        :data:`REQUIRED` where it must be given.
    explanation : str
        What values it takes and what they mean.
    complaint : callable
        What is wrong with a value, as the end of a sentence that begins with the key; None if nothing.
    resolve : callable or None
        ``(value, parameters)`` -> what the program reads: for values as ``"1/sqrt(depth)"``.
    """

    default: Any
    explanation: str
    complaint: Callable[[Any], str | None]
    resolve: Callable[[Any, Parameters], Any] | None = None

    def coordinate(self, name: str) -> Coordinate:
        """The key as a coordinate of points: a scenario may give it, or sweep it."""
        return Coordinate(name, "any", self.explanation, name, swept=True, default=self.default, check=self.complaint)


def number(
    default: Any = REQUIRED, explanation: str = "a number", *, minimum: float = -math.inf, maximum: float = math.inf
) -> Key:
    """A finite number."""

    def complaint(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return "must be a finite number"
        return _range_complaint(value, minimum, maximum)

    return Key(default, explanation, complaint)


def whole(default: Any = REQUIRED, explanation: str = "a whole number", *, minimum: int = 1) -> Key:
    """A whole number."""

    def complaint(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "must be a whole number"
        return _range_complaint(value, minimum, math.inf)

    return Key(default, explanation, complaint)


def choice(default: Any, explanation: str, *words: str) -> Key:
    """One of some words."""
    listed = ", ".join(f'"{word}"' for word in words)
    return Key(default, explanation, lambda value: None if value in words else f"must be one of {listed}")


def flag(default: Any, explanation: str) -> Key:
    """True or false."""
    return Key(default, explanation, lambda value: None if isinstance(value, bool) else "must be true or false")


def custom(
    default: Any,
    explanation: str,
    complaint: Callable[[Any], str | None],
    resolve: Callable[[Any, Parameters], Any] | None = None,
) -> Key:
    """Anything else."""
    return Key(default, explanation, complaint, resolve)


EPSILON = "epsilon"
"""A key of every architecture: of points that normalise inside the network."""


def epsilon() -> Key:
    """What is added to the variance that a normalisation inside the network divides by."""
    return number(None, "added to the variance that a normalisation inside divides by", minimum=0.0, maximum=1e6)


def key_of(name: str, given: Any) -> Key:
    """A key from itself, or from its default value: a number, a whole number, a flag.

    Raises
    ------
    ProgramError
        If the name is not one, or taken, or the default is not a value that the key takes.
    """
    if not isinstance(name, str) or not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ProgramError(f'key "{name}": use lower-case letters, digits and "_"')
    if name in RESERVED:
        raise ProgramError(f'key "{name}" means something for every architecture; use another name')
    key = given if isinstance(given, Key) else _from_default(name, given)
    if key.default is not REQUIRED and key.complaint(key.default):
        raise ProgramError(f'key "{name}": its default {key.default!r} {key.complaint(key.default)}')
    return key


def _from_default(name: str, default: Any) -> Key:
    if isinstance(default, bool):
        return flag(default, "true or false")
    if isinstance(default, int):
        return whole(default, "a whole number", minimum=min(default, 1))
    if isinstance(default, float):
        return number(default)
    raise ProgramError(
        f'key "{name}": give a default number or flag, or describe it by number, whole, choice, flag or custom'
    )


def complaints(keys: Mapping[str, Key], given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with the values given: pairs of key and sentence."""
    found = []
    for name, value in given.items():
        if name not in keys:
            found.append((name, f'key "{name}" is not known ({", ".join(keys) or "this architecture has no keys"})'))
        elif problem := keys[name].complaint(value):
            found.append((name, f'"{name}" {problem}'))
    missing = [name for name, key in keys.items() if key.default is REQUIRED and name not in given]
    return found + [(name, f'"{name}" is missing: {keys[name].explanation}') for name in missing]


def _range_complaint(value: float, minimum: float, maximum: float) -> str | None:
    if minimum <= value <= maximum:
        return None
    if maximum == math.inf:
        return f"must be at least {minimum:g}"
    return f"must be at most {maximum:g}" if minimum == -math.inf else f"must lie from {minimum:g} to {maximum:g}"
