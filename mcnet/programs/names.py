"""Names in programs: of matrices, of vectors that are seen, and of row axes, written in one way."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TypeVar

from mcnet.errors import UsageError

Name = str | tuple[str | int, ...]
"""What a user writes: ``"W"``, ``"W3"`` or ``("W", 3)``."""

Key = tuple[str | int, ...]
"""The one way in which it is kept: ``("W",)``, ``("W", 3)``."""

INPUT = "input"
"""The axis of the inputs; the first one of every vector that depends on them."""

READOUT: Key = ("readout",)

_Thing = TypeVar("_Thing")


class ProgramError(UsageError):
    """A program that uses an operation in a way it is not meant, or one that an interpretation does not have."""


def key_of(name: Name) -> Key:
    """``"W3"`` and ``("W", 3)`` -> ``("W", 3)``; ``"readout"`` -> ``("readout",)``.

    Raises
    ------
    ProgramError
        If it is no name.
    """
    if isinstance(name, str):
        return _split(name)
    if not isinstance(name, tuple):
        raise ProgramError(f'a name is a text or a tuple as ("W", 1), not {name!r}')
    if not name or type(name[0]) is not str or not name[0]:
        raise ProgramError(f'a name begins with a text, as "W" or ("W", 1); got {name!r}')
    for part in name:
        if type(part) is not int and type(part) is not str:
            raise ProgramError(f"a name is made of texts and whole numbers, got {name!r}")
    return name


@functools.cache
def _split(name: str) -> Key:
    if not name:
        raise ProgramError('a name is a text as "W1", not an empty one')
    found = re.fullmatch(r"(.*?[^0-9])([0-9]+)", name)
    return (found[1], int(found[2])) if found else (name,)


def text_of(key: Key) -> str:
    """As messages print it: ``W3``."""
    return "".join(str(part) for part in key) if len(key) <= 2 else "/".join(str(part) for part in key)


def found_by_name(things: Mapping[Key, _Thing], name: Name, what: str) -> _Thing:
    """The thing of this name: ``("u", 3)``, ``"u3"``, or ``"u"`` where only one name begins so.

    Raises
    ------
    ProgramError
        If there is none, or more than one.
    """
    key = key_of(name)
    if key in things:
        return things[key]
    family = [one for one in things if one[0] == key[0]] if len(key) == 1 else []
    if len(family) == 1:
        return things[family[0]]
    known = ", ".join(text_of(one) for one in (family or things)) or "nothing"
    problem = "is seen more than once" if family else "is not seen"
    raise ProgramError(f'{what} "{text_of(key)}" {problem}; there are: {known}')
