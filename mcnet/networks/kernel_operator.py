"""The tangent kernel as an operator: its products with vectors, without the C T x C T matrix.

With d^l the errors and F^l = alpha_l K^(l-1) + beta_l (T x T), the product with a vector v of outputs and inputs is

    (Theta v)_ka = sum_l d^l_k(a) . sum_b F^l_ab w^l_b ,      w^l_b = sum_k' v_k'b d^l_k'(b) ,

that is depth M T (2 C + T) multiplications instead of the (C T)^2 M that the matrix takes to be made. Through duality
this is a product with the Fisher matrix: F = J^T J / T and Theta / T = J J^T / T share their non-zero eigenvalues.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mcnet.backend import Backend
from mcnet.kernels.basis import Basis
from mcnet.networks.dense import Errors
from mcnet.weights.laws import Array


@dataclass
class KernelOperator:
    """The tangent kernel of N networks; its layers are added one by one.

    Attributes
    ----------
    backend : Backend
    outputs, inputs : int
        C and T.
    normalization : str
        ``none``, ``last-mean`` or ``last-batch``: of the outputs over the inputs.
    f : Array, shape (N, C, T), float64
        Outputs before the normalisation.
    basis : Basis
        Of the errors.
    """

    backend: Backend
    outputs: int
    inputs: int
    normalization: str
    f: Array
    basis: Basis
    _readout: Array | None = None
    _terms: list[tuple[Errors, Array]] = field(default_factory=list)

    def add_readout(self, gram: Array, scale: tuple[float, float]) -> None:
        """The term of the readout; ``gram`` is K^depth of the inputs themselves, (N or 1, T, T)."""
        self._readout = scale[0] * gram + scale[1]

    def add(self, errors: Errors, gram: Array, scale: tuple[float, float]) -> None:
        """The term of a hidden layer: its errors, K^(l-1) of the inputs themselves, (alpha_l, beta_l)."""
        self._terms.append((errors, scale[0] * gram + scale[1]))

    def only(self, network: int) -> KernelOperator:
        """The operator of one network."""
        one = slice(network, network + 1)

        def own(array: Array) -> Array:
            return array[one, ...] if array.shape[0] > 1 else array

        assert self._readout is not None
        terms = [(Errors(own(e.d), own(e.exponent)), own(factor)) for e, factor in self._terms]
        return replace(self, f=own(self.f), _readout=own(self._readout), _terms=terms)

    def product(self, v: Array) -> Array:
        """R Theta R v for vectors (N, C, T), R the derivative of the normalisation; float64."""
        xp = self.backend.xp
        v = self._normalize(v)
        assert self._readout is not None
        out = xp.matmul(v, self._readout)  # (N, C, T)
        for errors, factor in self._terms:
            w = xp.expand_dims(v[:, 0, :], axis=2) * self._errors(errors, 0)  # (N, T, M)
            for k in range(1, self.outputs):
                w = w + xp.expand_dims(v[:, k, :], axis=2) * self._errors(errors, k)
            z = xp.matmul(factor, w)
            rows = [xp.vecdot(self._errors(errors, k), z) for k in range(self.outputs)]
            out = out + xp.stack(rows, axis=1) * self._power(errors)
        return self._normalize(out)

    def trace(self) -> Array:
        """Trace of R Theta R, (N,)."""
        xp = self.backend.xp
        total = 0.0
        for k in range(self.outputs):
            block = self._readout
            assert block is not None
            for errors, factor in self._terms:
                d = self._errors(errors, k)
                block = block + factor * xp.matmul(d, xp.matrix_transpose(d)) * self._power(errors)
            r = self._derivative(k)
            total = total + (xp.linalg.trace(block) if r is None else xp.sum(block * xp.matmul(r, r), axis=(1, 2)))
        return total

    def undefined(self) -> Array:
        """Networks whose normalisation divides by zero, (N,)."""
        xp = self.backend.xp
        if self.normalization != "last-batch":
            return xp.zeros(self.f.shape[0], dtype=xp.bool)
        finite = xp.all(xp.isfinite(self.f), axis=(1, 2))
        return finite & ~xp.all(xp.isfinite(self._unit()[1]), axis=(1, 2))

    def _errors(self, errors: Errors, k: int) -> Array:
        """d_k of the inputs themselves in float64, (N, T, M)."""
        xp = self.backend.xp
        return self.basis.to_inputs(xp, xp.astype(errors.d[:, k, ...], xp.float64))

    def _power(self, errors: Errors) -> Array:
        return self.backend.xp.reshape(4.0**errors.exponent, (-1, 1, 1))

    def _unit(self) -> tuple[Array, Array]:
        """Normalised outputs f~ and 1/sigma, (N, C, T) and (N, C, 1); NaN where sigma is zero."""
        xp = self.backend.xp
        centered = self.f - xp.mean(self.f, axis=2, keepdims=True)
        sigma = xp.sqrt(xp.mean(centered * centered, axis=2, keepdims=True))
        sigma = xp.where(sigma > 0.0, sigma, xp.full_like(sigma, xp.nan))
        return centered / sigma, 1.0 / sigma

    def _normalize(self, v: Array) -> Array:
        """R v."""
        if self.normalization == "none":
            return v
        xp = self.backend.xp
        centered = v - xp.mean(v, axis=2, keepdims=True)
        if self.normalization == "last-mean":
            return centered
        unit, inverse = self._unit()
        return (centered - unit * xp.mean(unit * v, axis=2, keepdims=True)) * inverse

    def _derivative(self, k: int) -> Array | None:
        """R of output k as a matrix (N or 1, T, T); None for the identity."""
        if self.normalization == "none":
            return None
        xp = self.backend.xp
        center = xp.expand_dims(self.backend.place(np.eye(self.inputs) - 1.0 / self.inputs), axis=0)
        if self.normalization == "last-mean":
            return center
        unit, inverse = (part[:, k, :] for part in self._unit())
        return (center - xp.expand_dims(unit, axis=2) * xp.expand_dims(unit, axis=1) / self.inputs) * xp.expand_dims(
            inverse, axis=2
        )
