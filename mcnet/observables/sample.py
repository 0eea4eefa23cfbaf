"""One pass through a set of networks: everything that the observables asked for need, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet import streams
from mcnet.backend import Backend
from mcnet.kernels import grams
from mcnet.kernels.basis import DIFFERENCES, Basis
from mcnet.networks import dense, inputs, tangent
from mcnet.networks.jacobian import Spectrum
from mcnet.networks.kernel_operator import KernelOperator
from mcnet.networks.spectra import PARTS, Spectra
from mcnet.observables.observable import Collector
from mcnet.point import Point
from mcnet.weights.laws import AbstractMatrix, Array, Ensemble

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """What was seen on N networks; parts that nobody needed are None.

    Attributes
    ----------
    backend : Backend
        Where ``tangent`` lives; everything else is NumPy.
    u_gram : ndarray, shape (N, depth, T, T)
        u.u/M of layers 1..depth, in the difference basis of the inputs or, where ``own`` says so, of the inputs
        themselves.
    h_gram : ndarray, shape (N, depth + 1, T, T)
        h.h/M_l of layers 0..depth, likewise.
    own : ndarray of bool, shape (N,)
        See ``u_gram``.
    error_length : ndarray, shape (N, T, depth)
        Squared lengths of the errors at u^1..u^depth, mean over outputs, divided by 4^exponent.
    error_exponent : ndarray, shape (N, depth)
    tangent : Array, shape (N, C T, C T)
        Tangent kernel of the outputs, normalised if the point says so; output k, input t is row k T + t.
    outputs : Array, shape (N, C, T)
        The outputs before any normalisation, where the kernel of several outputs was made.
    products : KernelOperator
        The same kernel as an operator.
    undefined : ndarray of bool, shape (N,)
        Where that normalisation divides by zero.
    jacobian : mcnet.networks.jacobian.Spectrum
        Singular values of the Jacobian at input 0.
    jacobian_top : ndarray, shape (N,)
        Largest eigenvalue of J J^T.
    block_jacobian : ndarray, shape (N, depth + 1, k)
        Singular values of the Jacobian of each layer or block; NaN where there are none.
    block_jacobian_top : ndarray, shape (N, depth + 1)
        Squares of the largest.
    fisher : ndarray, shape (N, M)
        Eigenvalues of the conditional Fisher information, the largest first.
    batch_length : ndarray, shape (N, depth)
        Squared lengths, summed over the inputs, of the cotangents at u^1..u^depth of one random function of all
        outputs, divided by 4^exponent.
    batch_exponent : ndarray, shape (N, depth)
    collected : mapping of str to Collector
        What observables noted for themselves, by their names.
    """

    backend: Backend
    u_gram: Floats
    h_gram: Floats
    own: NDArray[np.bool_]
    error_length: Floats | None = None
    error_exponent: Floats | None = None
    tangent: Array | None = None
    outputs: Array | None = None
    products: KernelOperator | None = None
    undefined: NDArray[np.bool_] | None = None
    jacobian: Spectrum | None = None
    jacobian_top: Floats | None = None
    block_jacobian: Floats | None = None
    block_jacobian_top: Floats | None = None
    fisher: Floats | None = None
    batch_length: Floats | None = None
    batch_exponent: Floats | None = None
    collected: Mapping[str, Collector] = field(default_factory=dict)

    def u_overlaps(self) -> Floats:
        """u.u/M of the inputs themselves, (N, depth, T, T)."""
        return self._chosen(self.u_gram, grams.to_plain, lambda gram: gram)

    def h_overlaps(self) -> Floats:
        """h.h/M_l of the inputs themselves, (N, depth + 1, T, T)."""
        return self._chosen(self.h_gram, grams.to_plain, lambda gram: gram)

    def correlations(self) -> Floats:
        """Of the pre-activations, (N, depth, T, T); NaN where a length is zero."""
        return self._chosen(self.u_gram, grams.correlations, grams.correlations_of_inputs)

    def _chosen(self, gram: Floats, differences: Callable[..., Any], inputs: Callable[..., Any]) -> Floats:
        """One function of the Gram matrices or the other, as their basis is."""
        found: Floats = differences(gram)
        if self.own.any():
            found[self.own] = inputs(gram[self.own])
        return found

    def merged(self, others: Mapping[int, tuple[Sample, int]]) -> Sample:
        """With networks of other samples: place here -> sample, place there. Of the parts that fused kernels give."""
        fields: dict[str, Any] = {}
        for name in ("u_gram", "h_gram", "own", "error_length", "error_exponent", "tangent", "undefined"):
            part = getattr(self, name)
            if part is not None:
                part = part.copy()
                for place, (other, there) in others.items():
                    part[place, ...] = getattr(other, name)[there, ...]
                fields[name] = part
        return replace(self, **fields)


def chain(point: Point, seed: int, ensemble: Ensemble) -> Sample:
    """The signal by the fused kernel: nothing of the size of a layer is kept."""
    backend = ensemble.backend
    start = inputs.gram(point, seed, ensemble.start, ensemble.stop, backend)
    layers = backend.kernels.conditioned_chain(
        ensemble.key,
        ensemble.start,
        ensemble.stop,
        start,
        activation=point.activation,
        weights=point.weights,
        width=point.width,
        depth=point.depth,
        sigma_w2=point.sigma_w2,
        sigma_b2=point.sigma_b2,
        input_dimension=point.inputs.dimension,
        precision=ensemble.precision,
    )
    return _of_chain(ensemble, backend.fetch(layers.u), backend.fetch(start), backend.fetch(layers.h))


def _of_chain(ensemble: Ensemble, u_gram: Floats, start: Floats, h_gram: Floats) -> Sample:
    return Sample(ensemble.backend, u_gram, _with_inputs(start, h_gram), np.zeros(ensemble.count, bool))


def tangent_chain(point: Point, seed: int, ensemble: Ensemble, needs: Set[str]) -> Sample:
    """Signal and errors of one output (or of the probe) by the fused kernel."""
    backend = ensemble.backend
    start = inputs.gram(point, seed, ensemble.start, ensemble.stop, backend)
    layers = backend.kernels.tangent_chain(
        ensemble.key,
        ensemble.start,
        ensemble.stop,
        start,
        activation=point.activation,
        width=point.width,
        depth=point.depth,
        sigma_w2=point.sigma_w2,
        sigma_b2=point.sigma_b2,
        readout=bool(point.outputs),
        precision=ensemble.precision,
    )
    sample = _of_chain(ensemble, backend.fetch(layers.u), backend.fetch(start), backend.fetch(layers.h))
    if "errors" in needs:
        lengths = np.diagonal(backend.fetch(layers.b), axis1=2, axis2=3).swapaxes(1, 2)  # (N, T, depth)
        sample = replace(sample, error_length=lengths, error_exponent=backend.fetch(layers.exponent))
    if "tangent" in needs:
        theta = tangent.of_one_output(backend, point, start, layers)
        sample = replace(sample, tangent=theta, undefined=np.zeros(ensemble.count, bool))
    return sample


def _with_inputs(start: Floats, h_gram: Floats) -> Floats:
    """Gram matrices of layers 0..depth, with networks last in memory as those of the fused kernels are."""
    networks, depth, inputs, _ = h_gram.shape
    memory = np.empty((depth + 1, inputs, inputs, networks))
    memory[0] = np.moveaxis(start, 0, -1)
    memory[1:] = np.moveaxis(h_gram, 0, -1)
    return np.moveaxis(memory, -1, 0)


def draw(
    point: Point,
    seed: int,
    sampler: str,
    needs: Set[str],
    ensemble: Ensemble,
    keep: bool,
    collected: Mapping[str, Collector] | None = None,
) -> Sample:
    """The networks of an ensemble, forward and, where errors are needed, backward.

    Parameters
    ----------
    point : Point
    seed : int
        Seed of the study (for its inputs).
    sampler : str
        ``conditioned`` or ``explicit``.
    needs : set of str
        See :class:`mcnet.observables.observable.Observable`.
    ensemble : Ensemble
    keep : bool
        Whether explicit matrices stay in memory between the two passes.
    collected : mapping of str to Collector
        Those that see every layer as it passes by.
    """
    backend, basis = ensemble.backend, ensemble.basis
    collected = collected or {}
    xp = backend.xp
    backward = bool(needs & {"errors", "tangent", "products"})
    x = inputs.rows(point, seed, ensemble.start, ensemble.stop, backend, basis)
    h, f = xp.astype(x, ensemble.dtype), None
    u_grams: list[Array] = []
    h_grams = [dense.gram(xp, x, basis)]
    _show(collected, "h", 0, h, ensemble)
    weights, slopes = [], []
    spectra = Spectra(point, seed, ensemble, needs)
    keep = keep or (bool(needs & PARTS) and not backward)  # every layer is multiplied twice, and soon free
    for matrix in dense.matrices(
        point, sampler, ensemble, keep, many=bool(needs & {"jacobian_top", "block_jacobian_top"})
    ):
        if len(u_grams) == point.depth:
            f = matrix.apply(h, dense.biased(h.shape[1], backend, basis)) if backward else None  # (N, T, C)
        else:
            below = h
            u, h, slope, u_gram, h_gram = dense.activity(point, matrix, below, backend, basis, slopes=backward)
            spectra.add(matrix, below, u)
            _show(collected, "u", len(u_grams) + 1, u, ensemble)
            _show(collected, "h", len(u_grams) + 1, h, ensemble)
            u_grams.append(u_gram)
            h_grams.append(h_gram)
            if slope is not None:
                slopes.append(slope)
        if backward:
            weights.append(matrix)
    count = ensemble.count
    sample = Sample(
        backend,
        u_gram=np.stack([_all(backend.fetch(part), count) for part in u_grams], axis=1),
        h_gram=np.stack([_all(backend.fetch(part), count) for part in h_grams], axis=1),
        own=np.full(count, not basis.differences),
        collected=collected,
    )
    sample = replace(sample, **spectra.found())
    if backward:
        sample = _with_errors(point, sample, weights, slopes, h_grams, f, needs, ensemble)
    return sample


def _show(collected: Mapping[str, Collector], name: str, layer: int, rows: Array, ensemble: Ensemble) -> None:
    """Let collectors see a layer, (N or 1, T, M) in the basis of the ensemble."""
    if collected:
        xp, backend = ensemble.backend.xp, ensemble.backend
        plain = backend.fetch(ensemble.basis.to_inputs(xp, rows))
        for collector in collected.values():
            collector.see(name, layer, np.broadcast_to(plain, (ensemble.count, *plain.shape[1:])))


def _with_errors(
    point: Point,
    sample: Sample,
    weights: list[AbstractMatrix],
    slopes: list[Array],
    h_grams: list[Array],
    f: Array | None,
    needs: Set[str],
    ensemble: Ensemble,
) -> Sample:
    """The backward pass: lengths of the errors and, where asked for, the tangent kernel."""
    backend, basis = ensemble.backend, ensemble.basis
    xp, scales = backend.xp, tangent.scales(point)
    lengths, exponents = [], []
    theta: Array | None = None
    operator: KernelOperator | None = None
    outputs: Array | None = None
    if needs & {"tangent", "products"}:
        assert point.outputs is not None
        outputs = xp.matrix_transpose(basis.to_inputs(xp, xp.astype(f, xp.float64)))  # (N, C, T)
        if "products" in needs:
            operator = KernelOperator(backend, point.outputs, point.inputs.count, point.normalization, outputs, basis)
            operator.add_readout(basis.gram_of_inputs(h_grams[-1]), scales[-1])
        else:
            theta = tangent.readout_term(backend, point.outputs, basis.gram_of_inputs(h_grams[-1]), scales[-1])
    for index, errors in zip(range(point.depth, 0, -1), dense.backward(point, weights, slopes, ensemble), strict=True):
        plain = xp.astype(errors.d, xp.float64)  # a copy, in float64 too
        if basis.differences:
            plain[:, :, 1:, :] += plain[:, :, :1, :]
        lengths.append(backend.fetch(xp.mean(xp.vecdot(plain, plain), axis=1)))  # (N, T)
        exponents.append(backend.fetch(errors.exponent))
        if theta is not None or operator is not None:
            below = basis.gram_of_inputs(h_grams[index - 1])
        if theta is not None:
            theta = tangent.with_hidden_term(backend, theta, plain, errors.exponent, below, scales[index - 1])
        if operator is not None:
            operator.add(errors, below, scales[index - 1])
    undefined = None if operator is None else backend.fetch(operator.undefined())
    if theta is not None:
        theta = tangent.completed(backend, theta, point.outputs or 1)
        normalized = tangent.normalized(backend, theta, outputs, point.normalization)
        undefined = np.zeros(ensemble.count, bool)
        if point.normalization != "none":
            finite = [backend.fetch(xp.all(xp.isfinite(kernel), axis=(1, 2))) for kernel in (theta, normalized)]
            undefined = finite[0] & ~finite[1]
        theta = normalized
    return replace(
        sample,
        error_length=np.stack(lengths[::-1], axis=2),
        error_exponent=np.stack(exponents[::-1], axis=1),
        tangent=theta,
        outputs=outputs,
        products=operator,
        undefined=undefined,
    )


def ensemble_of(
    point: Point, seed: int, start: int, stop: int, precision: str, backend: Backend, basis: Basis = DIFFERENCES
) -> Ensemble:
    """Networks start..stop of a point."""
    return Ensemble(backend, streams.point_key(seed, point.key), start, stop, precision, basis)


def _all(gram: Floats, count: int) -> Floats:
    """A Gram that all networks share, for each of them."""
    return np.broadcast_to(gram, (count, *gram.shape[1:]))
