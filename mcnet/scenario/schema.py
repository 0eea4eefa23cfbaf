"""The keys of a scenario: pydantic models, strict, closed and frozen.

The models of ``[network]``, ``[inputs]`` and ``[sweep]`` are made from the table of coordinates
(:data:`mcnet.point.COORDINATES`) and the keys of the architecture. A key that is not in the file is None: what must be
there depends on other keys and is checked in :mod:`mcnet.scenario.draft`. Bounds keep numbers where the arithmetic and
the machine can follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, create_model

from mcnet import recipe
from mcnet.coordinates import COORDINATES, DENSE, LAWS, Coordinate
from mcnet.scenario import fields

MAX_NETWORKS = 2**32 - 1  # a network's number is one 32-bit word of the counter of its random stream
MAX_SEED = 2**64 - 1

Networks = Annotated[int, BeforeValidator(fields.integer(1, MAX_NETWORKS))]
Flag = Annotated[bool, BeforeValidator(fields.flag)]
Line = Annotated[str, BeforeValidator(fields.line)]

_WORDS = BeforeValidator(fields.items)
_FILLED = AfterValidator(fields.filled)
_AXES = {
    "number": BeforeValidator(fields.axis),
    "integer": BeforeValidator(fields.whole_axis),
    "any": BeforeValidator(fields.any_axis),
}


class Section(BaseModel):
    """A table of a scenario."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


Model = type[Section]
_VECTORS: dict[str, Any] = {
    "values": Annotated[tuple[tuple[float, ...], ...], BeforeValidator(fields.vectors)],
    "path": Line,
    "array": Line,
    "labels": Line,
    "classes": Annotated[tuple[Annotated[int, BeforeValidator(fields.integer(0, 10**6))], ...], _WORDS, _FILLED],
    "centering": Annotated[str, BeforeValidator(fields.one_of("none", "input", "feature"))],
    "scaling": Annotated[str, BeforeValidator(fields.one_of("none", "input", "feature", "all"))],
}


def _network_models(keys: tuple[Coordinate, ...], words: Mapping[str, tuple[str, ...]]) -> dict[str, Model]:
    """The models of ``[network]``, ``[inputs]`` and ``[sweep]``."""
    table = (*COORDINATES, *keys)
    of = {each.name: _annotation(each, words.get(each.name, each.words)) for each in table}
    swept = [each for each in table if each.swept]
    joint = _model("Joint", {**{each.name: of[each.name] for each in swept}, "count": of["inputs"]})
    axes = {each.name: _axis(of[each.name], _AXES.get(each.kind, _WORDS)) for each in swept}
    return {
        "network": _model("Network", {each.written: of[each.name] for each in table if each.section == "network"}),
        "inputs": _model(
            "Inputs", {**{each.written: of[each.name] for each in table if each.section == "inputs"}, **_VECTORS}
        ),
        "sweep": _model("Sweep", {"points": _axis(joint, _WORDS), **axes}),
    }


def _model(name: str, content: Mapping[str, Any]) -> Model:
    """A section whose keys are None where they are not given."""
    definitions: Any = {key: (kind | None, None) for key, kind in content.items()}
    return create_model(name, __base__=Section, **definitions)


def _axis(kind: Any, items: BeforeValidator) -> Any:
    return Annotated[tuple[kind, ...], items, _FILLED]


def _annotation(coordinate: Coordinate, words: tuple[str, ...]) -> Any:
    bounds = (coordinate.low, coordinate.high)
    check: fields.Check
    match coordinate.kind:
        case "integer":
            check = fields.integer(*map(int, bounds))
        case "number":
            check = fields.number(*bounds, above=coordinate.above)
        case "word":
            check = fields.one_of(*words)
        case "flag":
            check = fields.flag
        case "activation":
            check = fields.activation
        case _:
            check = fields.key_of_architecture(coordinate.check, coordinate.text)
    if words and coordinate.kind in ("integer", "number"):
        check = fields.word_or(words, check)
    return Annotated[Any, BeforeValidator(check)]


class Target(Section):
    """An accuracy to reach: the relative error of a mean or of a 1/M coefficient."""

    observable: Line
    coefficient: Annotated[str, BeforeValidator(fields.one_of("1/M", "mean"))]
    relative_error: Annotated[float, BeforeValidator(fields.number(0, 1, above=True))]
    layer: Annotated[int, BeforeValidator(fields.integer(0, 100_000))] | None = None
    limit: Annotated[str, BeforeValidator(fields.one_of("free", "theory"))] = "free"
    keep_pilot: Flag = False
    max_networks: Annotated[int, BeforeValidator(fields.integer(64, MAX_NETWORKS - 64))] = 1_000_000


class Sampling(Section):
    """How many networks, from which seed, by which sampler, in which precision."""

    networks: Networks | None = None
    target: Target | None = None
    batch: Networks | None = None
    seed: Annotated[int, BeforeValidator(fields.integer(0, MAX_SEED))] = 0
    sampler: Annotated[str, BeforeValidator(fields.one_of("auto", "conditioned", "explicit"))] = "auto"
    precision: Annotated[str, BeforeValidator(fields.one_of("mixed", "float64"))] = "mixed"


class AdamKeys(Section):
    """Numbers of Adam."""

    beta_1: Annotated[float, BeforeValidator(fields.number(0, 0.999999))] = 0.9
    beta_2: Annotated[float, BeforeValidator(fields.number(0, 0.999999999))] = 0.999
    epsilon: Annotated[float, BeforeValidator(fields.number(0, 1, above=True))] = 1e-8


class Train(Section):
    """How the networks are trained."""

    loss: Annotated[str, BeforeValidator(fields.one_of(*recipe.LOSSES))] | None = None
    targets: Annotated[str, BeforeValidator(fields.one_of(*recipe.TARGETS))] | None = None
    target_values: Annotated[tuple[tuple[float, ...], ...], BeforeValidator(fields.targets)] | None = None
    learning_rate: (
        Annotated[
            tuple[Annotated[float, BeforeValidator(fields.number(0, 1e12, above=True))], ...],
            _AXES["number"],
            _FILLED,
        ]
        | None
    ) = None
    learning_rate_unit: Annotated[str, BeforeValidator(fields.one_of(*recipe.UNITS))] = "absolute"
    steps: Annotated[int, BeforeValidator(fields.integer(1, 10_000_000))] | None = None
    batch_size: Annotated[int, BeforeValidator(fields.integer(1, 1_000_000))] | None = None
    order: Annotated[str, BeforeValidator(fields.one_of(*recipe.ORDERS))] = "fixed"
    optimizer: Annotated[str, BeforeValidator(fields.one_of(*recipe.OPTIMIZERS))] = "gd"
    momentum: Annotated[float, BeforeValidator(fields.number(0, 1))] | None = None
    adam: AdamKeys | None = None
    record: (
        Annotated[tuple[Annotated[int, BeforeValidator(fields.integer(0, 10_000_000))], ...], _WORDS, _FILLED] | None
    ) = None
    scaling: Annotated[Any, BeforeValidator(fields.scaling(recipe.SCALINGS))] = None
    method: Annotated[str, BeforeValidator(fields.one_of(*recipe.METHODS))] = "auto"
    test_inputs: Annotated[int, BeforeValidator(fields.integer(0, 1_000_000))] = 0


class Fit(Section):
    """A fit over widths: ``model`` is a sum of a0, a1/M, a2/M^2, ..."""

    observable: Line
    layer: Annotated[int, BeforeValidator(fields.integer(0, 100_000))] | None = None
    model: Annotated[str, BeforeValidator(fields.expansion)] = "a0 + a1/M"


class Analyze(Section):
    """What the analysis compares with and fits; nothing given means all it can."""

    theory: Annotated[
        tuple[Annotated[str, BeforeValidator(fields.one_of("mean-field", "1/M", "free-probability"))], ...],
        _WORDS,
    ] = ()
    fit: Annotated[tuple[Fit, ...], _WORDS] = ()


@cache
def sections(
    keys: tuple[Coordinate, ...] = (), architectures: tuple[str, ...] = (DENSE,), weights: tuple[str, ...] = LAWS
) -> dict[str, Model]:
    """The models of all sections by name, but of ``[measure]``, which the observables give.

    Parameters
    ----------
    keys : tuple of Coordinate
        Keys of the architecture.
    architectures : tuple of str
        Names of those that are known.
    weights : tuple of str
        Laws that the architecture may have.
    """
    words = {"architecture": architectures, "weights": weights}
    return {**_network_models(keys, words), "train": Train, "sampling": Sampling, "analyze": Analyze}
