"""One point of parameter space: everything physical that a network depends on, and its key."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mcnet.activations.table import Activation
from mcnet.errors import UsageError

DENSE = "dense"
"""The architecture that the fused kernels and the theory of dense networks are for."""


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
    """

    kind: str
    count: int
    dimension: int
    q0: float | None = None
    c0: float | None = None
    values: tuple[tuple[float, ...], ...] | None = None
    fresh: bool = False


@dataclass(frozen=True)
class Point:
    """The physical parameters of an ensemble of networks (design conventions: depth hidden layers of one width).

    ``outputs`` is None where there is no readout; ``parameterization`` and ``train_biases`` say how the tangent kernel
    is read off a network and do not change the network itself.
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

    @cached_property
    def physics(self) -> dict[str, Any]:
        """What the law of the networks and their measurement depends on, as plain JSON values."""
        inputs = {name: value for name, value in vars(self.inputs).items() if name != "values"}
        if self.inputs.values is not None:
            text = json.dumps([[float(x).hex() for x in row] for row in self.inputs.values])
            inputs["values_sha256"] = hashlib.sha256(text.encode()).hexdigest()
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
        }

    def require_dense(self) -> None:
        """Refuse an architecture that would be taken for a dense network.

        Raises
        ------
        UsageError
        """
        if self.architecture != DENSE:
            raise UsageError(f'architecture "{self.architecture}" is not known ("{DENSE}")')

    @cached_property
    def key(self) -> int:
        """First 64 bits of the SHA-256 of :attr:`physics`: names the point's streams, whatever its place in a sweep."""
        text = json.dumps(self.physics, sort_keys=True, separators=(",", ":"))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
