"""A study: read from a TOML file or a table, checked, frozen.

Every check of what a user writes is made here, before any memory is taken; below nobody checks it again.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from mcnet import architectures
from mcnet.architectures import Architecture
from mcnet.coordinates import DENSE
from mcnet.errors import ScenarioError, UsageError
from mcnet.point import Point
from mcnet.request import Request
from mcnet.scenario import data, measures, shipped, training
from mcnet.scenario.data import Data
from mcnet.scenario.draft import Draft, check
from mcnet.scenario.faults import Faults
from mcnet.scenario.fields import line, nearest, suggestion
from mcnet.scenario.points import points
from mcnet.scenario.schema import Analyze, Section, Target, sections
from mcnet.scenario.sweep import MAX_POINTS
from mcnet.scenario.text import Position, dumps, excerpt, quote

FORMAT = 1
"""The value of ``mcnet`` on top of a scenario: version of its keys."""

MAX_BYTES = 2**22
MAX_KEYS = 1000
"""Of one section: whoever has more means no scenario."""

# A dotted key takes tomllib time and memory of the square of its parts. This one has more than any scenario needs.
_MANY_PARTS = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""")

SECTIONS = ("network", "inputs", "sweep", "train", "sampling", "measure", "analyze")
MEMBER = "member"
_TOP = ("mcnet", "title", *SECTIONS, MEMBER)


@dataclass(frozen=True)
class Scenario:
    """A checked study.

    Attributes
    ----------
    title : str
        One line.
    text : str
        TOML that loads as this scenario: the file, character for character; written anew if it came as a table or if
        keys were overridden.
    networks : int or None
        Networks at every point; None where ``target`` is given instead.
    target : Target or None
        Accuracy to reach.
    batch : int or None
        Networks of one shard; None: chosen.
    analyze : Analyze
        What the analysis is asked for.
    name : str
        What messages call it: the path as given.
    folder : Path
        Where the paths in it start.
    doubts : tuple of str
        What may be other than it was meant: sentences for the user.
    """

    title: str
    text: str = field(repr=False)
    networks: int | None
    target: Target | None
    batch: int | None
    analyze: Analyze
    name: str
    folder: Path = field(repr=False)
    doubts: tuple[str, ...]
    _points: tuple[Point, ...] = field(repr=False)
    _request: Request = field(repr=False)

    def points(self) -> tuple[Point, ...]:
        """The points of the grid: the product of the sweeps in the order of the file, the last running fastest."""
        return self._points

    def request(self) -> Request:
        """What is measured at every point."""
        return self._request

    def fixed_networks(self) -> int:
        """Networks at every point.

        Raises
        ------
        UsageError
            If the scenario gives a target: the networks of a run are then chosen as it goes.
        """
        if self.networks is None:
            raise UsageError(
                f"{self.name}: sampling.target chooses the networks of a run as it goes. "
                "Give a number of networks here, or sampling.networks."
            )
        return self.networks


class Content(NamedTuple):
    """A scenario before any check: how messages call it, its text where it is a file, its table, where paths start."""

    name: str
    text: str | None
    table: dict[str, Any]
    folder: Path


def load(
    source: str | os.PathLike[str] | Mapping[str, Any] | Scenario, overrides: Sequence[str] = (), *, quiet: bool = True
) -> Scenario:
    """Read and check a scenario.

    Parameters
    ----------
    source : path, mapping or Scenario
        A TOML file, the name of a shipped scenario, the table a file would hold, or a scenario already read.
    overrides : sequence of str
        ``section.key=value`` in TOML; a value that is a bare word counts as text. Applied before the checks.
    quiet : bool
        Do not tell on stderr how far it is where that takes long.

    Raises
    ------
    ScenarioError
        With all mistakes at once, each with its place and what to do.
    """
    if isinstance(source, Scenario) and not overrides:
        return source
    return checked(unchecked(source), overrides, quiet)


def checked(found: Content, overrides: Sequence[str] = (), quiet: bool = True) -> Scenario:
    """The study of a table; errors as of :func:`load`."""
    if MEMBER in found.table:
        raise UsageError(
            f"{found.name}: has members, each a study of its own. Here one study is meant: write it without [[member]]."
        )
    set_by = changed(found.table, overrides)
    faults = Faults(found.name, found.text, set_by)
    study = examined(found, faults, set_by, quiet)
    if study is None:
        raise faults.error()
    if found.text is None or overrides:
        return replace(study, text="".join(f"# with --set {told}\n" for told in overrides) + dumps(found.table))
    return replace(study, text=found.text)


def unchecked(source: str | os.PathLike[str] | Mapping[str, Any] | Scenario) -> Content:
    """The table of a scenario.

    Raises
    ------
    ScenarioError
        If there is no such file, or it is not TOML.
    """
    if isinstance(source, Scenario):
        return Content(source.name, None, tomllib.loads(source.text), source.folder)
    if isinstance(source, Mapping):
        try:
            return Content("scenario", None, _plain(source), Path())
        except RecursionError:
            raise ScenarioError("scenario: is nested too deeply. Keep to the sections of a scenario.") from None
    path = Path(shipped.path(os.fspath(source)))
    text = _read(path)
    return Content(str(path), text, parsed(str(path), text), path.parent)


def _read(path: Path) -> str:
    if not path.exists():
        known = "" if path.suffix else f"{suggestion(str(path), shipped.files())} For shipped ones see: mcnet scenarios"
        raise ScenarioError(f"{path}: there is no such file.{known}")
    try:
        if not path.is_file():
            raise ScenarioError(f"{path}: is no file. Give the path of a scenario, a .toml file.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)  # what the system says of its size need not be so
        if len(content) > MAX_BYTES:
            raise ScenarioError(f"{path}: is larger than {MAX_BYTES >> 20} MB. Give input vectors as a file instead.")
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: byte {error.start + 1} is not UTF-8. Save the file as UTF-8.") from None
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}.") from None


def parsed(name: str, text: str) -> dict[str, Any]:
    """The table of a TOML text, or a ScenarioError with the place where it stops being TOML."""
    if many := _MANY_PARTS.search(text):
        line = text.count("\n", 0, many.start()) + 1
        raise ScenarioError(f"{name}:{line}: a key of too many parts. Keep to the sections of a scenario.")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ScenarioError(f"{name}: is nested too deeply. Keep to the sections of a scenario.") from None
    except ValueError as error:
        match = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
        what = str(error)[: match.start()] if match else str(error).split(";")[0]
        lines = text.split("\n")
        position = Position(len(lines), len(lines[-1]) + 1)
        if match and match[1]:
            position = Position(int(match[1]), int(match[2]))
        place = f"{name}:{position.line}:{position.column}" if match else name
        source = excerpt(text, position) if match else ""
        message = f"{place}: this is not TOML: {what[:1].lower()}{what[1:]}. Correct the line."
        raise ScenarioError("\n".join(filter(None, (message, source, "1 mistake; nothing was run.")))) from None


def _plain(value: Any) -> Any:
    """Tables and lists of Python values: what NumPy, tuples and paths mean in TOML."""
    if isinstance(value, Mapping):
        return {str(key): _plain(content) for key, content in value.items() if content is not None}
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return _plain(value.specification) if hasattr(value, "specification") else value


def changed(table: dict[str, Any], overrides: Sequence[str]) -> dict[tuple[str | int, ...], str]:
    """Set what was said on the command line; the paths of the keys, each with the words that set it."""
    set_by: dict[tuple[str | int, ...], str] = {}
    for override in overrides:
        path, value = parted(override)
        set_by[path] = override
        place(table, path, value, override)
    return set_by


def examined(
    source: Content, faults: Faults, set_by: Mapping[tuple[str | int, ...], str], quiet: bool = True
) -> Scenario | None:
    """The study of a table, its text still to be given; None where mistakes were noted."""
    draft = _draft(source.table, faults, Path(source.name).stem)
    check(draft, faults)
    recipe = training.read(draft, faults)
    made: tuple[Point, ...] = ()
    inputs: Data | None = None
    if not faults:
        asked = {key for key in ("path", "labels") if ("inputs", key) in set_by or source.text is None}
        inputs = _data(draft, source.folder, faults, asked)
        made = points(draft, inputs, faults, quiet)
    if not faults and recipe is not None:
        training.check(recipe, made, draft, faults)
        made = tuple(replace(point, train=recipe) for point in made)
    if not faults:
        measures.check(draft, made, faults, quiet)
    if faults:
        return None
    sampling = draft.sampling
    return Scenario(
        title=draft.title,
        text="",
        networks=sampling.networks,
        target=sampling.target,
        batch=sampling.batch,
        analyze=draft.analyze,
        name=source.name,
        folder=source.folder,
        doubts=tuple(filter(None, [inputs.doubt if inputs else ""])),
        _points=made,
        _request=Request(draft.measures, sampling.seed, sampling.sampler, sampling.precision, recipe),
    )


def _data(draft: Draft, folder: Path, faults: Faults, asked: set[str]) -> Data | None:
    """Inputs that are given or read.

    A path that the user says (``asked``), in a program or with --set, leads anywhere; one that a file says, into its
    folder.
    """
    inputs = draft.inputs
    if inputs["kind"] == "values":
        return Data(inputs["values"], None, "", "")
    if inputs["kind"] in ("file", "digits"):
        return data.read(inputs, folder, faults, {key: None if key in asked else folder for key in ("path", "labels")})
    return None


def parted(override: str) -> tuple[tuple[str, ...], Any]:
    """Path and value of ``section.key=value``."""
    key, equals, value = override.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(re.fullmatch(r"[A-Za-z0-9_-]+", part) for part in path) or not override.isprintable():
        raise UsageError(f"--set {quote(override)[1:-1]}: is not understood. Write --set section.key=value.")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        if re.search(r"[\[\]{}\"'=,#]", value):
            raise UsageError(f"--set {override}: the value is not TOML. Quote it for the shell.") from None
        return path, value.strip()


def place(data: dict[str, Any], path: tuple[str | int, ...], value: Any, override: str) -> None:
    """Set a key of a table of tables."""
    table: dict[Any, Any] = data
    for part in path[:-1]:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--set {override}: {part} is no section. Write --set section.key=value.")
        table = inner
    table[path[-1]] = value


def _draft(data: Mapping[str, Any], faults: Faults, title: str) -> Draft:
    """The sections of a scenario, each read by its model; what they get wrong is noted."""
    for key in [] if _too_many(data, (), faults) else data:
        if key not in _TOP:
            faults.unknown((key,), _TOP, "section" if isinstance(data[key], Mapping) else "key")
    if data.get("mcnet") != FORMAT or isinstance(data.get("mcnet"), bool):
        if "mcnet" not in data:
            faults.missing(("mcnet",), f"Write mcnet = {FORMAT} on the first line.")
        else:
            faults.add(("mcnet",), f"this program reads scenarios of version {FORMAT}, got {quote(data['mcnet'])}.")
    architecture = _architecture(data)
    models = faults.models = sections(architecture.coordinates, architectures.names(), architecture.weights)
    read: dict[str, Any] = {name: _section(name, model, data.get(name, {}), faults) for name, model in models.items()}
    given = {name: tuple(content) if isinstance(content := data.get(name), Mapping) else () for name in models}
    return Draft(
        title=_title(data.get("title", title), faults),
        architecture=architecture,
        network=dict(read["network"]),
        inputs=dict(read["inputs"]),
        sweep=dict(read["sweep"]),
        sampling=read["sampling"],
        train=read["train"],
        analyze=read["analyze"],
        measures=measures.read(data.get("measure"), faults),
        given=given,
        trains="train" in data,
        listed_rates=isinstance(_rates(data), list | Mapping),
    )


def _rates(data: Mapping[str, Any]) -> Any:
    train = data.get("train")
    return train.get("learning_rate") if isinstance(train, Mapping) else None


def _architecture(data: Mapping[str, Any]) -> Architecture:
    """The architecture that a scenario is about, or was probably meant to be."""
    network = data.get("network")
    given = network.get("architecture", DENSE) if isinstance(network, Mapping) else DENSE
    known = architectures.names()
    meant = given if given in known else nearest(given, known) if isinstance(given, str) else None
    return architectures.lookup(meant or DENSE)


def _too_many(content: Mapping[str, Any], path: tuple[str, ...], faults: Faults) -> bool:
    """Whether a table has so many keys, or lists so many points, that looking at each would take all memory."""
    size = math.prod(max(len(value), 1) for value in content.values() if isinstance(value, list))
    if len(content) > MAX_KEYS:
        faults.add(path, f"has {len(content)} keys. Keep to those of a scenario.", at_key=True)
    elif path == ("sweep",) and size > MAX_POINTS:
        faults.add(path, f"makes {size} points; at most {MAX_POINTS} are allowed. Split the study.", at_key=True)
    else:
        return False
    return True


def _title(value: Any, faults: Faults) -> str:
    try:
        return line(value)
    except PydanticCustomError as error:
        faults.of_value(error, ("title",))
        return ""


def _section(name: str, model: type[Section], content: Any, faults: Faults) -> Section:
    """A section; keys with mistakes are left out of it."""
    if not isinstance(content, Mapping):
        faults.add((name,), f"expected a section, got {quote(content)}. Write [{name}] on a line of its own.")
        return model()
    if _too_many(content, (name,), faults):
        return model()
    try:
        return model.model_validate(dict(content))
    except ValidationError as error:
        faults.of_model(error, (name,), content)
        wrong = {detail["loc"][0] for detail in error.errors()}
        return model.model_validate({key: value for key, value in content.items() if key not in wrong})
