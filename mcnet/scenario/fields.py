"""What a single value of a scenario may be; each check speaks in the sentence that a user reads."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any

from pydantic_core import PydanticCustomError

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.point import frozen
from mcnet.scenario.sweep import MAX_POINTS, spread
from mcnet.scenario.text import quote

FAULT = "mcnet"
"""Type of the errors raised here; their context holds ``faults``: sentences, each with the rest of the way to it."""

Check = Callable[[Any], Any]
Fault = tuple[str, tuple[str | int, ...]]

_MOST = 50  # mistakes told of one value

_NUMBER = re.compile(r"\s*([-+]?[0-9._]+(?:[eE][-+]?[0-9]{1,3})?)\s*([kM]?)\s*")


def fault(sentence: str, *path: str | int) -> PydanticCustomError:
    """A mistake, at ``path`` below the value being checked."""
    return faults([(sentence, path)])


def faults(found: Sequence[Fault]) -> PydanticCustomError:
    """Several mistakes in one value."""
    return PydanticCustomError(FAULT, "{faults}", {"faults": list(found)})


def found(error: PydanticCustomError, *path: str | int) -> list[Fault]:
    """The mistakes that an error of this module tells, ``path`` put before theirs."""
    return [(sentence, (*path, *rest)) for sentence, rest in (error.context or {})["faults"]]


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant."""
    close = get_close_matches(word.lower(), list(words), n=1, cutoff=0.5)
    return close[0] if close else None


def suggestion(word: str, words: Iterable[str]) -> str:
    """`` Did you mean "..."?``, or nothing."""
    close = nearest(word, words)
    return f' Did you mean "{close}"?' if close else ""


def _given(value: Any) -> str:
    return f"the text {quote(value)}" if isinstance(value, str) else quote(value)


def _meant(value: Any) -> float | None:
    """The number that a text such as "4k", "1e3" or "64" means."""
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        return float(match[1]) * {"": 1, "k": 2**10, "M": 2**20}[match[2]]
    except ValueError:
        return None


def _bounds(value: float, low: float, high: float, above: bool = False) -> str:
    if high <= 1 and not above:
        return f"from {low:g} to {high:g}"
    if value > high:
        shown = f"{high:,}" if isinstance(high, int) else f"{high:,.12g}"
        return f"at most {shown}".replace(",", " ")
    return f"greater than {low:g}" if above else f"at least {low:g}"


def integer(low: int, high: int) -> Check:
    """A whole number from ``low`` to ``high``."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            meant = value if isinstance(value, float) else _meant(value)
            known = meant is not None and low <= meant <= high and float(meant).is_integer()
            write = f"Write {int(meant)}." if known and meant is not None else "Write a whole number."
            raise fault(f"expected an integer, got {_given(value)}. {write}")
        if not low <= value <= high:
            raise fault(f"must be {_bounds(value, low, high)}, got {quote(value)}. Choose another value.")
        return value

    return check


def number(low: float, high: float, *, above: bool = False) -> Check:
    """A finite number from ``low`` (greater than it if ``above``) to ``high``."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            meant = _meant(value)
            write = f"Write {meant:.15g}." if meant is not None and math.isfinite(meant) else "Write a number."
            raise fault(f"expected a number, got {_given(value)}. {write}")
        if isinstance(value, float) and not math.isfinite(value):
            raise fault(f"must be a finite number, got {value}. Write a finite number.")
        if not low <= value <= high or (above and value == low):
            raise fault(f"must be {_bounds(value, low, high, above)}, got {quote(value)}. Choose another value.")
        return float(value)

    return check


def word_or(words: Sequence[str], check: Check) -> Check:
    """One of some words, which are resolved point by point, or what ``check`` lets through."""

    def either(value: Any) -> Any:
        if isinstance(value, str) and value in words:
            return value
        if isinstance(value, str) and _meant(value) is None:
            listed = " or ".join(f'"{word}"' for word in words)
            raise fault(f"{quote(value)} is not known.{suggestion(value, words) or f' Write a number or {listed}.'}")
        return check(value)

    return either


def key_of_architecture(complaint: Callable[[Any], str | None] | None, explanation: str) -> Check:
    """A value of an architecture's key that ``complaint`` finds nothing wrong with, as it can be hashed."""

    def check(value: Any) -> Any:
        _require_plain(value)
        if complaint is not None and (told := complaint(value)):
            raise fault(f"{told}, got {quote(value)}. It is {explanation}.")
        return frozen(value)

    return check


def _require_plain(value: Any) -> None:
    """Refuse what is not made of numbers and words."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else None
    if inner is not None:
        for entry in inner:
            _require_plain(entry)
    elif not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        raise fault(f"expected numbers or words, got {_given(value)}.")


def one_of(*words: str) -> Check:
    """One of some words."""

    def check(value: Any) -> str:
        listing = ", ".join(words)
        if not isinstance(value, str):
            raise fault(f"expected a word, got {_given(value)}. Write one of {listing}, in quotes.")
        if value not in words:
            raise fault(f"{quote(value)} is not known.{suggestion(value, words)} ({listing})")
        return value

    return check


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise fault(f"expected true or false, got {_given(value)}. Write true or false, without quotes.")
    return value


def line(value: Any) -> str:
    """One line of printable text."""
    if not isinstance(value, str):
        raise fault(f"expected a text, got {_given(value)}. Put it in quotes.")
    if not value.isprintable():
        raise fault("holds line breaks or control characters. Write one line of plain text.")
    if len(value) > 1000:
        raise fault(f"has {len(value)} characters. Write at most 1000.")
    return value


def activation(value: Any) -> Activation:
    """An activation: a name, a table with its parameters, or the object."""
    if isinstance(value, Activation):
        return value
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping):
        raise fault(f'expected a name, got {_given(value)}. Write a name in quotes or {{ name = "...", ... }}.')
    path = ("name",) if table is value else ()
    name, known = table.get("name"), activations.names()
    if not isinstance(name, str):
        raise fault('has no name. Write { name = "...", ... }.')
    if name not in known:
        raise fault(f"{quote(name)} is not known.{suggestion(name, known)} ({', '.join(known)})", *path)
    allowed = activations.parameters(name)
    wrong: list[Fault] = []
    for key, parameter in islice(table.items(), _MOST):
        if key != "name" and key not in allowed:
            listing = f"It has {', '.join(allowed)}." if allowed else "It has none."
            wrong.append((f"unknown parameter of {name}.{suggestion(str(key), allowed)} {listing}", (str(key),)))
        elif key != "name":
            wrong += _faults_of(number(-1e6, 1e6), parameter, str(key))
    if wrong:
        raise faults(wrong)
    return activations.get(table)


def _faults_of(check: Check, value: Any, *path: str | int) -> list[Fault]:
    try:
        check(value)
    except PydanticCustomError as error:
        return found(error, *path)
    return []


def vectors(value: Any) -> tuple[tuple[float, ...], ...]:
    """A list of vectors of one length."""
    if not isinstance(value, list | tuple) or not value or not all(isinstance(row, list | tuple) for row in value):
        raise fault("expected a list of vectors. Write [[...], [...]], one list of numbers for each input.")
    if any(isinstance(entry, list | tuple) for row in value for entry in row):
        return vectors([_side_by_side(row, t) for t, row in enumerate(value)])
    wrong: list[Fault] = []
    check = number(-1e12, 1e12)
    for t, row in enumerate(value):
        if len(wrong) > _MOST:
            break
        if len(row) != len(value[0]) or not row:
            length = f"has {len(row)} numbers, vector 1 has {len(value[0])}. Give all vectors the same length."
            wrong.append((f"vector {t + 1} {length}" if row else f"vector {t + 1} is empty. Give its numbers.", (t,)))
        for i, entry in enumerate(row):
            if len(wrong) > _MOST:
                break
            wrong += [(f"vector {t + 1}: {sentence}", path) for sentence, path in _faults_of(check, entry, t, i)]
    if wrong:
        raise faults(wrong)
    return tuple(tuple(float(entry) for entry in row) for row in value)


def _side_by_side(sites: Any, t: int) -> list[Any]:
    """The vectors of the sites of one input (positions, tokens; of a grid by rows), one after the other."""
    if not all(isinstance(site, list | tuple) and len(site) == len(sites[0]) for site in sites):
        raise fault(f"input {t + 1} has vectors of different lengths. Write [[...], [...]], one for each position.")
    if any(isinstance(entry, list | tuple) for site in sites for entry in site):
        return [entry for site in sites for entry in _side_by_side(site, t)]
    return [entry for site in sites for entry in site]


def targets(value: Any) -> tuple[tuple[float, ...], ...]:
    """Targets: a number for each input, or a list of numbers, one for each output."""
    if isinstance(value, list | tuple) and value and not any(isinstance(entry, list | tuple) for entry in value):
        return vectors([[entry] for entry in value])
    return vectors(value)


def scaling(words: Sequence[str]) -> Check:
    """A parametrisation: a word, or a table of exponents { a = [...], b = [...], c = [...] }."""
    each = number(-10, 10)

    def check(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return one_of(*words)(value)
        wrong: list[Fault] = []
        for key in islice(value, _MOST):
            if key not in ("a", "b", "c"):
                wrong.append((f"unknown exponent.{suggestion(str(key), ('a', 'b', 'c'))} (a, b, c)", (str(key),)))
        for key in ("a", "b", "c"):
            given = value.get(key)
            if not isinstance(given, list | tuple) or len(given) != 3:
                told = "three numbers, for matrices that read the input, those between, and the readout"
                wrong.append((f"the exponents {key} are {told}. Write {key} = [..., ..., ...].", ()))
            else:
                for place, entry in enumerate(given):
                    wrong += _faults_of(each, entry, key, place)
        if wrong:
            raise faults(wrong)
        return tuple(tuple(float(entry) for entry in value[key]) for key in ("a", "b", "c"))

    return check


def items(value: Any) -> tuple[Any, ...]:
    """The items of a list as a tuple; anything else is the only item."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def axis(value: Any) -> tuple[Any, ...]:
    """The numbers of an axis: of a list, a range, or a single one."""
    return _spread(value) if isinstance(value, Mapping) else items(value)


def whole_axis(value: Any) -> tuple[Any, ...]:
    """As :func:`axis`, the numbers of a range rounded to whole ones."""
    return tuple(round(entry) for entry in _spread(value)) if isinstance(value, Mapping) else items(value)


def any_axis(value: Any) -> tuple[Any, ...]:
    """As :func:`axis`, of values that may be tables themselves."""
    return axis(value) if isinstance(value, Mapping) and "start" in value else items(value)


_RANGE = {
    "start": number(-1e12, 1e12),
    "stop": number(-1e12, 1e12),
    "num": integer(2, MAX_POINTS),
    "spacing": one_of("linear", "log"),
}


def _spread(table: Mapping[str, Any]) -> tuple[float, ...]:
    wrong: list[Fault] = []
    for key, value in islice(table.items(), _MOST):
        if key in _RANGE:
            wrong += _faults_of(_RANGE[key], value, key)
        else:
            wrong.append((f"unknown key of a range.{suggestion(str(key), _RANGE)} ({', '.join(_RANGE)})", (str(key),)))
    missing = [key for key in ("start", "stop", "num") if key not in table]
    if missing and not wrong:
        wrong.append((f"a range without {' and '.join(missing)}. Write {{ start = ..., stop = ..., num = ... }}.", ()))
    if wrong:
        raise faults(wrong)
    try:
        return spread(**table)
    except ValueError as error:
        raise fault(f"{error}. Change the range.") from None


def filled(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """An axis that is neither empty nor repeats a value."""
    if not values:
        raise fault("is empty. List at least one value, or leave the key out.")
    seen = set()
    for place, value in enumerate(values):
        if value in seen:
            raise fault(f"{_label(value)} stands here twice. List each value once.", place)
        seen.add(value)
    return values


def _label(value: Any) -> str:
    return value.label if isinstance(value, Activation) else quote(value)


_EXPANSION = re.compile(r"a0( \+ a1/M( \+ a2/M\^2( \+ a3/M\^3)?)?)?")


def expansion(value: Any) -> str:
    """A polynomial in 1/M."""
    if not isinstance(value, str) or not _EXPANSION.fullmatch(value):
        raise fault(f'{_given(value)} is no expansion in 1/M. Write "a0 + a1/M" or "a0 + a1/M + a2/M^2".')
    return value
