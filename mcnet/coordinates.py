"""The coordinates of a point: one table that scenarios, plans, datasets, tables and figures read; light to import."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcnet.point import Point

DENSE = "dense"
"""The architecture that the fused kernels and the theory of dense networks are for."""


DOUBLE_CRITICAL = "double-critical"
"""The word for sigma_w2 that sets sigma_b2 too."""


class _Required:
    """The default of what must be given."""

    def __repr__(self) -> str:
        return "required"


REQUIRED: Any = _Required()
"""Default of a coordinate that a scenario must give."""


@dataclass(frozen=True)
class Coordinate:
    """A quantity that says which ensemble a point is, or a key of an architecture.

    Attributes
    ----------
    name : str
        In datasets, tables and, where ``key`` is empty, scenarios.
    kind : str
        ``integer``, ``number``, ``word``, ``flag``, ``activation``, or ``any``: what ``check`` lets through.
    text : str
        What it is, as datasets say it.
    symbol : str
        In figures.
    section, key : str
        Where a scenario gives it: ``network`` or ``inputs``.
    low, high : float
        Bounds of a number; ``above``: greater than ``low``.
    words : tuple of str
        Allowed words; beside a number those that stand for one.
    swept : bool
        Whether a sweep may run over it.
    default : object
        :data:`REQUIRED`, or the value where a scenario says nothing; None: there is none.
    check : callable or None
        What is wrong with a value, as the end of a sentence that begins with the key; None if nothing.
    """

    name: str
    kind: str
    text: str
    symbol: str = ""
    section: str = "network"
    key: str = ""
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    words: tuple[str, ...] = ()
    swept: bool = False
    default: Any = None
    check: Callable[[Any], str | None] | None = None

    @property
    def dtype(self) -> str:
        """Type of its column in a dataset: ``int64``, ``float64``, ``bool``, ``str``."""
        return {"integer": "int64", "number": "float64", "flag": "bool"}.get(self.kind, "str")

    @property
    def absent(self) -> Any:
        """What stands in its column where there is none."""
        return {"int64": 0, "float64": math.nan, "bool": False, "str": ""}[self.dtype]

    @property
    def written(self) -> str:
        """Its key in a scenario."""
        return self.key or self.name

    def of(self, point: Point) -> Any:
        """Its value at a point as a dataset has it; None where there is none."""
        if self.kind == "any":
            return point.keys.get(self.name)
        if self.name == "activation":
            return point.activation.label
        if self.name == "readout" and not point.outputs:
            return None
        return getattr(point.inputs if self.section == "inputs" else point, self.written)


LAWS = ("gaussian", "orthogonal", "uniform")
OUTPUT_NORMALIZATIONS = ("none", "last-mean", "last-batch", "last-layer")
"""Of the outputs, after the network: no other network."""

NORMALIZATIONS = (*OUTPUT_NORMALIZATIONS, "hidden-batch", "hidden-layer", "pre-layer", "post-layer")
INSIDE = NORMALIZATIONS[len(OUTPUT_NORMALIZATIONS) :]
"""Those inside the network, which have an ``epsilon``."""

KINDS = ("single", "pair", "gaussian", "values", "file", "digits")

COORDINATES: tuple[Coordinate, ...] = (
    Coordinate("architecture", "word", "architecture", default=DENSE),
    Coordinate("activation", "activation", "activation; activations_json has the table", swept=True, default=REQUIRED),
    Coordinate("weights", "word", "law of the weights", words=LAWS, swept=True, default=REQUIRED),
    Coordinate("width", "integer", "hidden width M", "M", low=1, high=2**26, swept=True, default=REQUIRED),
    Coordinate("depth", "integer", "number of hidden layers", "L", low=1, high=100_000, swept=True, default=REQUIRED),
    Coordinate(
        "sigma_w2",
        "number",
        "weight variance times fan-in",
        r"\sigma_w^2",
        low=0,
        high=1e6,
        above=True,
        words=("critical", DOUBLE_CRITICAL),
        swept=True,
        default=REQUIRED,
    ),
    Coordinate("sigma_b2", "number", "bias variance", r"\sigma_b^2", low=0, high=1e6, swept=True, default=REQUIRED),
    Coordinate("normalization", "word", "normalisation", words=NORMALIZATIONS, swept=True, default="none"),
    Coordinate("outputs", "integer", "number of outputs, 0 without a readout", "C", low=1, high=1_000_000),
    Coordinate("readout", "word", "law of the readout weights", words=("gaussian", "orthogonal")),
    Coordinate(
        "parameterization",
        "word",
        "parametrisation of the tangent kernel",
        words=("standard", "ntk", "pdlt"),
        default="standard",
    ),
    Coordinate("train_biases", "flag", "whether biases are trained"),
    Coordinate("input_kind", "word", "kind of the inputs", section="inputs", key="kind", words=KINDS, default=REQUIRED),
    Coordinate("inputs", "integer", "number of inputs T", "T", section="inputs", key="count", low=1, high=1_000_000),
    Coordinate(
        "input_dimension", "integer", "input dimension M_0", "M_0", section="inputs", key="dimension", low=1, high=2**26
    ),
    Coordinate(
        "q0",
        "number",
        "squared length of an input, |x|^2/M_0",
        "q_0",
        section="inputs",
        low=0,
        high=1e12,
        above=True,
        words=("fixed-point",),
    ),
    Coordinate("c0", "number", "correlation of two inputs", "c_0", section="inputs", low=-1, high=1),
    Coordinate("fresh", "flag", "whether every network has inputs of its own", section="inputs", default=False),
)
"""All coordinates of a point but the keys of its architecture, in the order in which tables show them."""

SWEPT = tuple(each.name for each in COORDINATES if each.swept)
