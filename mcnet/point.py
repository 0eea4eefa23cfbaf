"""One point of parameter space: everything physical that a network depends on, and its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import isfinite
from typing import Any

from mcnet.activations.table import Activation
from mcnet.coordinates import COORDINATES, DENSE, OUTPUT_NORMALIZATIONS
from mcnet.recipe import Recipe

_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def frozen(value: Any) -> Any:
    """A value of an architecture's key that can be hashed: lists as tuples, tables as pairs sorted by name."""
    if isinstance(value, Mapping):
        return tuple((str(name), frozen(entry)) for name, entry in sorted(value.items()))
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def thawed(value: Any) -> Any:
    """The value that :func:`frozen` made hashable."""
    if not isinstance(value, tuple):
        return value
    table = value and all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in value)
    return {name: thawed(entry) for name, entry in value} if table else [thawed(entry) for entry in value]


@dataclass(frozen=True)
class Inputs:
    """The inputs of a network, resolved: no sweep, no "fixed-point" left.

    Attributes
    ----------
    kind : str
        ``single``, ``pair`` (exact length and correlation), ``gaussian`` or ``values`` (also for files).
    count : int
        T, the number of inputs.
    dimension : int
        M_0, the input dimension.
    q0, c0 : float or None
        |x|^2/M_0 and the correlation; exact for single and pair, of the law for gaussian, None for values.
    values : tuple of tuple of float, or None
        The T vectors of kind ``values``.
    fresh : bool
        New inputs for every network, or one set for the study.
    labels : tuple of int, or None
        Numbers of the classes of the T inputs, from 0, where the data have them.
    description : str
        Where data come from and what was made of them, for people; no part of the identity.
    """

    kind: str
    count: int
    dimension: int
    q0: float | None = None
    c0: float | None = None
    values: tuple[tuple[float, ...], ...] | None = None
    fresh: bool = False
    labels: tuple[int, ...] | None = None
    description: str = field(default="", compare=False)


_SET_APART = ("values", "labels", "description")


@dataclass(frozen=True)
class Point:
    """The physical parameters of an ensemble of networks (design conventions: depth hidden layers of one width).

    ``outputs`` is None where there is no readout; ``parameterization`` and ``train_biases`` say how the tangent kernel
    is read off a network and do not change the network itself. ``parameters`` are the keys of the architecture with
    their values, sorted by name; keys that are not set are absent. ``train`` says what becomes of the networks after
    they were drawn: they are the same whatever it says, and so is the key of the point.
    """

    architecture: str
    activation: Activation
    weights: str
    width: int
    depth: int
    sigma_w2: float
    sigma_b2: float
    inputs: Inputs
    outputs: int | None = None
    readout: str = "gaussian"
    normalization: str = "none"
    parameterization: str = "standard"
    train_biases: bool = False
    parameters: tuple[tuple[str, Any], ...] = ()
    train: Recipe | None = None

    @cached_property
    def physics(self) -> dict[str, Any]:
        """What the law of the networks and their measurement depends on, as plain JSON values."""
        inputs = {name: value for name, value in vars(self.inputs).items() if name not in _SET_APART}
        if self.inputs.values is not None:
            text = json.dumps([[float(x).hex() for x in row] for row in self.inputs.values])
            inputs["values_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        if self.inputs.labels is not None:
            inputs["labels_sha256"] = hashlib.sha256(json.dumps(self.inputs.labels).encode()).hexdigest()
        return {
            "architecture": self.architecture,
            "activation": self.activation.specification,
            "weights": self.weights,
            "width": self.width,
            "depth": self.depth,
            "sigma_w2": float(self.sigma_w2),
            "sigma_b2": float(self.sigma_b2),
            "inputs": inputs,
            "outputs": self.outputs,
            "readout": self.readout if self.outputs else None,
            "normalization": self.normalization,
            **({"parameters": self.keys} if self.parameters else {}),
        }

    @property
    def is_program(self) -> bool:
        """Whether these networks are sampled as programs: neither dense, nor dense but for their outputs."""
        return self.architecture != DENSE or self.normalization not in OUTPUT_NORMALIZATIONS

    @property
    def output_normalization(self) -> str:
        """Normalisation of the outputs after the network."""
        return self.normalization if self.normalization in OUTPUT_NORMALIZATIONS else "none"

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of the architecture, as plain values."""
        return {name: thawed(value) for name, value in self.parameters}

    @cached_property
    def coordinates(self) -> dict[str, Any]:
        """All coordinates by name, as plain values: those of :data:`COORDINATES`, then the keys of the architecture."""
        return {each.name: each.of(self) for each in COORDINATES} | self.keys

    @cached_property
    def key(self) -> int:
        """First 64 bits of the SHA-256 of :attr:`physics`: names the point's streams, whatever its place in a sweep."""
        return int.from_bytes(hashlib.sha256(self._canonical().encode()).digest()[:8], "big")

    def _canonical(self) -> str:
        """:attr:`physics` as text; of points that differ in numbers only, by one template."""
        given = self.inputs
        special = given.values is not None or self.parameters or not isinstance(self.activation.specification, str)
        if special or not type(self.depth) is type(self.width) is type(given.dimension) is int:
            return _ENCODE(self.physics)
        template = _template(
            self.architecture, self.activation, self.weights, self.outputs, self.readout, self.normalization,
            given.kind, given.count, given.fresh,
        )  # fmt: skip
        b2, w2 = number_text(float(self.sigma_b2)), number_text(float(self.sigma_w2))
        c0, q0 = number_text(given.c0), number_text(given.q0)
        return template % (self.depth, c0, given.dimension, q0, b2, w2, self.width)


def number_text(x: float | None) -> str:
    """A number, or none, as JSON writes it; those of an axis are written many times."""
    return repr(x) if x == 0 and type(x) is float else _number_text(x)  # -0.0 is equal to 0.0, and other text


@lru_cache(maxsize=1 << 17, typed=True)
def _number_text(x: float | None) -> str:
    return repr(x) if type(x) is float and isfinite(x) else _ENCODE(x)


@lru_cache(maxsize=1024, typed=True)  # 1 and True are equal, and other text
def _template(
    architecture: str,
    activation: Activation,
    weights: str,
    outputs: int | None,
    readout: str,
    normalization: str,
    kind: str,
    count: int,
    fresh: bool,
) -> str:
    """Text of the physics of points, with a place for each number in the order of the text."""
    inputs = Inputs(kind, count, 1, fresh=fresh)
    one = Point(architecture, activation, weights, 1, 1, 1.0, 0.0, inputs, outputs, readout, normalization)
    physics = {**one.physics, **dict.fromkeys(("depth", "sigma_b2", "sigma_w2", "width"), "\0")}
    physics["inputs"] = {**physics["inputs"], **dict.fromkeys(("c0", "dimension", "q0"), "\0")}
    return _ENCODE(physics).replace("%", "%%").replace(_ENCODE("\0"), "%s")
