"""The keys of a scenario: pydantic models, strict, closed and frozen.

A key that is not in the file is None: what must be there depends on other keys and is checked in
:mod:`mcnet.scenario.draft`. Bounds keep numbers where the arithmetic and the machine can follow.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from mcnet.activations.table import Activation
from mcnet.scenario import fields

MAX_WIDTH = 2**26
MAX_NETWORKS = 2**32 - 1  # a network's number is one 32-bit word of the counter of its random stream
MAX_SEED = 2**64 - 1

Width = Annotated[int, BeforeValidator(fields.integer(1, MAX_WIDTH))]
Depth = Annotated[int, BeforeValidator(fields.integer(1, 100_000))]
Count = Annotated[int, BeforeValidator(fields.integer(1, 1_000_000))]
Networks = Annotated[int, BeforeValidator(fields.integer(1, MAX_NETWORKS))]
Variance = Annotated[float, BeforeValidator(fields.number(0, 1e6))]
Gain = Annotated[
    float | Literal["critical"],
    BeforeValidator(fields.number_or("critical", fields.number(0, 1e6, above=True))),
]
Length = Annotated[
    float | Literal["fixed-point"],
    BeforeValidator(fields.number_or("fixed-point", fields.number(0, 1e12, above=True))),
]
Weights = Annotated[str, BeforeValidator(fields.one_of("gaussian", "orthogonal", "uniform"))]
Normalization = Annotated[str, BeforeValidator(fields.one_of("none", "last-mean", "last-batch", "last-layer"))]
AnyActivation = Annotated[Activation, BeforeValidator(fields.activation)]
Flag = Annotated[bool, BeforeValidator(fields.flag)]
Line = Annotated[str, BeforeValidator(fields.line)]

_NUMBERS = BeforeValidator(fields.axis)
_WHOLE_NUMBERS = BeforeValidator(fields.whole_axis)
_WORDS = BeforeValidator(fields.items)
_FILLED = AfterValidator(fields.filled)


class Section(BaseModel):
    """A table of a scenario."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Network(Section):
    """What is fixed of the networks."""

    architecture: Annotated[str, BeforeValidator(fields.one_of("dense"))] = "dense"
    activation: AnyActivation | None = None
    weights: Weights | None = None
    width: Width | None = None
    depth: Depth | None = None
    sigma_w2: Gain | None = None
    sigma_b2: Variance | None = None
    normalization: Normalization | None = None
    outputs: Count | None = None
    readout: Annotated[str, BeforeValidator(fields.one_of("gaussian", "orthogonal"))] | None = None
    parameterization: Annotated[str, BeforeValidator(fields.one_of("standard", "ntk", "pdlt"))] = "standard"
    train_biases: Flag | None = None


class Inputs(Section):
    """The inputs of the networks."""

    kind: Annotated[str, BeforeValidator(fields.one_of("single", "pair", "gaussian", "values", "file"))] | None = None
    q0: Length | None = None
    c0: Annotated[float, BeforeValidator(fields.number(-1, 1))] | None = None
    count: Count | None = None
    dimension: Width | None = None
    values: Annotated[tuple[tuple[float, ...], ...], BeforeValidator(fields.vectors)] | None = None
    path: Line | None = None
    fresh: Flag = False


class Joint(Section):
    """Values that belong together: one entry of ``[[sweep.points]]``; ``count`` is that of the inputs."""

    width: Width | None = None
    depth: Depth | None = None
    sigma_w2: Gain | None = None
    sigma_b2: Variance | None = None
    weights: Weights | None = None
    activation: AnyActivation | None = None
    normalization: Normalization | None = None
    count: Count | None = None


class Sweep(Section):
    """The axes of the grid, each a tuple of values; ``points`` is one axis of several quantities."""

    points: Annotated[tuple[Joint, ...], _WORDS, _FILLED] | None = None

    width: Annotated[tuple[Width, ...], _WHOLE_NUMBERS, _FILLED] | None = None
    depth: Annotated[tuple[Depth, ...], _WHOLE_NUMBERS, _FILLED] | None = None
    sigma_w2: Annotated[tuple[Gain, ...], _NUMBERS, _FILLED] | None = None
    sigma_b2: Annotated[tuple[Variance, ...], _NUMBERS, _FILLED] | None = None
    weights: Annotated[tuple[Weights, ...], _WORDS, _FILLED] | None = None
    activation: Annotated[tuple[AnyActivation, ...], _WORDS, _FILLED] | None = None
    normalization: Annotated[tuple[Normalization, ...], _WORDS, _FILLED] | None = None


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


SECTIONS: dict[str, type[Section]] = {
    "network": Network,
    "inputs": Inputs,
    "sweep": Sweep,
    "sampling": Sampling,
    "analyze": Analyze,
}
"""The sections with keys known here; those of ``[measure]`` come from the catalog of observables."""
