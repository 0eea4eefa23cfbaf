"""Which law a layer's weights and biases have, and which networks are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from mcnet import streams
from mcnet.backend import Backend
from mcnet.kernels.basis import DIFFERENCES, Basis

Array = Any
"""An array of the backend's namespace."""

LAWS = ("gaussian", "orthogonal", "uniform")
"""Laws of the weights; all have independent Gaussian biases and entries of variance sigma_w2 / inputs."""

CONDITIONED_LAWS = ("gaussian", "orthogonal")
"""Laws of matrices that can be asked without being built."""


@dataclass(frozen=True)
class Layer:
    """The law of one layer u = W h + b.

    Attributes
    ----------
    index : int
        Number of the weight matrix, 1..L; the readout is L.
    units, inputs : int
        Rows and columns of W.
    law : str
        One of :data:`LAWS`.
    sigma_w2, sigma_b2 : float
        Variance of the weights times ``inputs``; variance of the biases.
    whole : int
        Where it is not 0: rows of W, of which ``units`` are asked alone.
    turned : bool
        Whether the first answers, asked together and fewer than W has rows, are given in their own frame
        (:mod:`mcnet.weights.bartlett`): all but as many units as there are answers are zero.
    """

    index: int
    units: int
    inputs: int
    law: str
    sigma_w2: float
    sigma_b2: float
    whole: int = 0
    turned: bool = False

    @property
    def rows(self) -> int:
        """Rows of W, whether they are asked or not."""
        return self.whole or self.units

    @property
    def entry_deviation(self) -> float:
        """Standard deviation of an entry of W, whatever the law."""
        return math.sqrt(self.sigma_w2 / self.inputs)

    @property
    def singular_value(self) -> float:
        """The singular value of an orthogonal W: its rows (units <= inputs) or columns are orthogonal.

        It gives the entries the variance sigma_w2 / inputs in both cases.
        """
        return math.sqrt(self.sigma_w2 * max(1.0, self.units / self.inputs))


@dataclass(frozen=True)
class Ensemble:
    """Networks start..stop of a stream, and how they are computed.

    Attributes
    ----------
    backend : Backend
    key : Key
        Key of the stream (:func:`mcnet.streams.point_key`).
    start, stop : int
        Networks start, ..., stop - 1.
    precision : str
        ``mixed`` or ``float64``.
    basis : Basis
        Rows that stand for the inputs.
    """

    backend: Backend
    key: streams.Key
    start: int
    stop: int
    precision: str
    basis: Basis = DIFFERENCES

    @property
    def count(self) -> int:
        """Number of networks."""
        return self.stop - self.start

    @property
    def dtype(self) -> Any:
        """Type of weights, activations and errors; Gram matrices and factors are float64 always."""
        return self.backend.xp.float32 if self.precision == "mixed" else self.backend.xp.float64

    def normals(self, role: int, layer: int, rows: int, columns: int, *, dtype: Any, first: tuple[int, int]) -> Array:
        """Standard normals (N, rows, columns) of every network's stream, from row and column ``first`` on."""
        where = {"first_row": first[0], "first_column": first[1]}
        return self.backend.kernels.normals(
            self.key, self.start, self.stop, role, layer, rows, columns, **where, dtype=dtype
        )

    def uniforms(self, role: int, layer: int, rows: int, columns: int, *, dtype: Any, first: tuple[int, int]) -> Array:
        """Uniform numbers on (-1, 1), as :meth:`normals`."""
        where = {"first_row": first[0], "first_column": first[1]}
        return self.backend.kernels.uniforms(
            self.key, self.start, self.stop, role, layer, rows, columns, **where, dtype=dtype
        )


class AbstractMatrix(Protocol):
    """A layer [W, b] of every network of an ensemble, touched only through products."""

    def apply(self, x: Array, constants: Array) -> Array:
        """W x + constant b for each network and vector.

        Parameters
        ----------
        x : Array, shape (N or 1, T, inputs)
        constants : Array, shape (T,), float64
            Multiple of the bias in each answer: 1 for an input, 0 for a difference of inputs.

        Returns
        -------
        Array, shape (N, T, units)
        """
        ...

    def apply_transpose(self, d: Array) -> Array:
        """W^T d, (N or 1, K, units) -> (N, K, inputs)."""
        ...


def biases(layer: Layer, ensemble: Ensemble, dtype: Any) -> Array:
    """The bias vectors, shape (N, 1, units); role 1."""
    normals = ensemble.normals(streams.BIAS, layer.index, 1, layer.units, dtype=dtype, first=(0, 0))
    return normals * math.sqrt(layer.sigma_b2)


def with_bias(xp: Any, product: Array, constants: Array, bias: Array) -> Array:
    """product + constant * bias, of the type of the product: (N, T, units)."""
    multiples = xp.astype(xp.reshape(constants, (1, -1, 1)), product.dtype)
    return product + multiples * bias
