"""Kernels of the CPU: Numba programs, compiled at their first use and kept on disk; names as in the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mcnet.activations.table import Activation
from mcnet.kernels.lanes.programs import program
from mcnet.kernels.reference import Chain, TangentChain, check_chain, in_float32
from mcnet.streams import Key

WIDE = 2048
"""From this width on a network fills the lanes by itself: a batch of few wide networks is as fast as one of many."""


def normals(
    key: Key,
    start: int,
    stop: int,
    role: int,
    layer: int,
    rows: int,
    columns: int,
    *,
    first_row: int = 0,
    first_column: int = 0,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Standard normals of networks start to stop - 1, shape (N, rows, columns); see :func:`mcnet.streams.normals`."""
    return _filled(False, key, start, stop, role, layer, rows, columns, first_row, first_column, dtype)


def uniforms(
    key: Key,
    start: int,
    stop: int,
    role: int,
    layer: int,
    rows: int,
    columns: int,
    *,
    first_row: int = 0,
    first_column: int = 0,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Uniform numbers on (-1, 1), shape (N, rows, columns); see :func:`mcnet.streams.uniforms`."""
    return _filled(True, key, start, stop, role, layer, rows, columns, first_row, first_column, dtype)


def _filled(
    uniform: bool,
    key: Key,
    start: int,
    stop: int,
    role: int,
    layer: int,
    rows: int,
    columns: int,
    first_row: int,
    first_column: int,
    dtype: DTypeLike,
) -> NDArray[Any]:
    out = np.empty((stop - start, rows, columns), np.float32)
    if out.size:
        fill = program("fill").fill
        tag = role << 24 | layer
        fill(out.reshape(-1), *out.shape, uniform, key.k0, key.k1, start, tag, first_row, first_column)
    return out.astype(dtype, copy=False)


def conditioned_chain(
    key: Key,
    start: int,
    stop: int,
    gram: NDArray[np.float64],
    *,
    activation: Activation,
    weights: str,
    width: int,
    depth: int,
    sigma_w2: float,
    sigma_b2: float,
    input_dimension: int,
    precision: str = "mixed",
) -> Chain:
    """Gram matrices of a dense network layer by layer; see :func:`mcnet.kernels.reference.conditioned_chain`.

    ``precision`` is ``mixed`` (float32 normals, u and h where :func:`mcnet.kernels.reference.in_float32` says so;
    float64 Gram matrices) or ``float64``.

    One pass over the units of a layer makes the normals, applies the activation and sums both Gram matrices; memory is
    independent of the width with Gaussian weights, and that of one layer of one network (sixteen below the width
    :data:`WIDE`) with Haar weights. The numbers of a network do not depend on the batch. The GIL is not held.
    """
    check_chain(gram, weights, width)
    inputs = gram.shape[-1]
    shape = (stop - start, depth, inputs, inputs)
    result = Chain(np.empty(shape), np.empty(shape))
    mixed = in_float32(precision, weights, width, inputs)
    program("chain", activation).chain(
        result.u,
        result.h,
        np.ascontiguousarray(gram, np.float64),
        np.empty(0, np.float32 if mixed else np.float64),
        2.0**-18 if mixed else 2.0**-28,
        key.k0,
        key.k1,
        start,
        float(sigma_w2),
        float(sigma_b2),
        width,
        input_dimension,
        weights == "orthogonal",
        activation.homogeneous,
        float(activation.phi(0.0)) == 0.0,
        width >= WIDE,
    )
    return result


def tangent_chain(
    key: Key,
    start: int,
    stop: int,
    gram: NDArray[np.float64],
    *,
    activation: Activation,
    width: int,
    depth: int,
    sigma_w2: float,
    sigma_b2: float,
    readout: bool,
    precision: str = "mixed",
) -> TangentChain:
    """Gram matrices of signal and errors; see :func:`mcnet.kernels.reference.tangent_chain`.

    Two passes over the units of a layer, one up and one down; memory is that of all layers of sixteen networks (of one
    from the width :data:`WIDE` on). Precision, batches and the GIL as for :func:`conditioned_chain`. The
    arrays are views with networks last in memory.
    """
    inputs, networks = gram.shape[-1], stop - start
    lot = 16 * (networks // 16 + 2 | 1)  # room for sixteen at once; odd, so that rows do not share their cache lines
    grams = np.empty((3, depth, inputs, inputs, lot))
    exponent = np.empty((depth, lot))
    mixed = in_float32(precision, "gaussian", width, inputs)
    program("tangent", activation).tangent(
        *grams.reshape(3, -1),
        exponent.reshape(-1),
        np.ascontiguousarray(gram, np.float64),
        np.empty(0, np.float32 if mixed else np.float64),
        2.0**-18 if mixed else 2.0**-28,
        key.k0,
        key.k1,
        start,
        networks,
        lot,
        depth,
        inputs,
        float(sigma_w2),
        float(sigma_b2),
        width,
        readout,
        activation.homogeneous,
        float(activation.phi(0.0)) == 0.0,
        width >= WIDE,
    )
    u, h, b = np.moveaxis(grams[..., :networks], -1, 1)
    return TangentChain(u, h, b, exponent[:, :networks].T)
