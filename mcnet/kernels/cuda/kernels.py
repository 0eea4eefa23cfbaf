"""Kernels of the GPU: CUDA programs compiled at their first use; names as in the reference.

Everything above a launch is written against an array namespace and
:class:`mcnet.kernels.cuda.modules.AbstractModule`, so that the same code runs where the programs are built for the host
and the arrays are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from mcnet import streams
from mcnet.activations.table import Activation
from mcnet.kernels.cuda.modules import AbstractModule, Program
from mcnet.kernels.reference import Activated, Chain, TangentChain, check_chain, in_float32
from mcnet.streams import Key

Array = Any
"""An array of the device."""

OPTIONS = ("-std=c++17", "--fmad=false")
"""Of the compiler. No product is fused with a sum unless the source says so: a difference of equal numbers is zero, and
the same source built for the host gives the same bits, up to the functions of the C library."""

FILL_THREADS = WEIGHT_THREADS = ACTIVATE_THREADS = 128
MOST_VECTORS = 8
"""Vectors whose sums fit the registers of a thread, and above which making W and multiplying is faster."""

FUSED_MOMENTS = 4
"""Inputs whose moments fit the registers of a thread."""

MOST_INPUTS = 16
"""Inputs whose small matrices fit the memory that the threads of a block share."""

TANGENT_INPUTS = 2
"""Inputs whose sums of signal and errors fit the registers of a thread; with more the general route is taken."""

RUNS = 8
"""Counters of a row that one thread of the fill makes before another block takes a share of the row."""


@dataclass(frozen=True)
class Kernels:
    """Random streams and fused kernels of one device.

    Attributes
    ----------
    xp : namespace
        Of the arrays of the device.
    compiled : callable
        The module of a program; remembers those it has compiled.
    erf : callable
        Error function of arrays, which no array namespace has.
    """

    xp: Any
    compiled: Callable[[Program], AbstractModule]
    erf: Callable[[Array], Array]

    def normals(
        self,
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
    ) -> Array:
        """Standard normals of networks start to stop - 1, (N, rows, columns); see :func:`mcnet.streams.normals`."""
        return self._filled(0, key, start, stop, role, layer, rows, columns, first_row, first_column, dtype)

    def uniforms(
        self,
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
    ) -> Array:
        """Uniform numbers on (-1, 1), (N, rows, columns); see :func:`mcnet.streams.uniforms`."""
        return self._filled(1, key, start, stop, role, layer, rows, columns, first_row, first_column, dtype)

    def _filled(
        self,
        uniform: int,
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
    ) -> Array:
        double = int(np.dtype(dtype) == np.float64)
        out = self.xp.empty((stop - start, rows, columns), dtype=self.xp.float64 if double else self.xp.float32)
        lines, counters = (stop - start) * rows, (first_column % 4 + columns + 3) // 4
        if not lines or not columns:
            return out
        passes = -(-counters // FILL_THREADS)
        along = -(-counters // passes)
        across = max(1, FILL_THREADS // along)
        grid = (-(-lines // across), min(-(-passes // RUNS), 65535))
        macros = (("MC_BLOCK", FILL_THREADS), ("MC_DOUBLE", double), ("MC_UNIFORM", uniform))
        self.compiled(Program("fill", macros)).launch(
            "mc_fill",
            grid,
            (along, across),
            out,
            *words(stop - start, rows, columns, counters, start, role << 24 | layer, first_row, first_column, *key),
        )
        return out

    def conditioned_chain(
        self,
        key: Key,
        start: int,
        stop: int,
        gram: Array,
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

        As the CPU: float32 units where :func:`mcnet.kernels.reference.in_float32` says so, all sums of more than 64
        units and the algebra of Gram matrices in float64. At most :data:`MOST_INPUTS` inputs (ValueError).
        """
        check_chain(gram, weights, width)
        inputs = int(gram.shape[-1])
        if inputs > MOST_INPUTS:
            raise ValueError(f"{inputs} inputs: the fused chain of a GPU holds at most {MOST_INPUTS}")
        shape = (stop - start, depth, inputs, inputs)
        result = Chain(self.xp.empty(shape, dtype=self.xp.float64), self.xp.empty(shape, dtype=self.xp.float64))
        if stop > start:
            mixed = in_float32(precision, weights, width, inputs)
            program = chain_program(activation, weights, inputs, width, double=not mixed)
            self.compiled(program).launch(
                "mc_chain",
                (stop - start,),
                (dict(program.macros)["MC_BLOCK"],),
                *result,
                self.xp.ascontiguousarray(gram, dtype=self.xp.float64),
                *words(gram.shape[0], depth, width, input_dimension, start, *key),
                np.float64(sigma_w2),
                np.float64(sigma_b2),
                np.float64(2.0**-18 if mixed else 2.0**-28),
                *words(activation.homogeneous, float(activation.phi(0.0)) == 0.0),
            )
        return result

    def tangent_chain(
        self,
        key: Key,
        start: int,
        stop: int,
        gram: Array,
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

        Precision as for :meth:`conditioned_chain`; memory is a few matrices of T x T per layer. At most
        :data:`TANGENT_INPUTS` inputs (ValueError).
        """
        inputs, networks = int(gram.shape[-1]), stop - start
        if inputs > TANGENT_INPUTS:
            raise ValueError(f"{inputs} inputs: the fused tangent chain of a GPU holds at most {TANGENT_INPUTS}")
        float64 = self.xp.float64
        u, h, b = (self.xp.empty((networks, depth, inputs, inputs), dtype=float64) for _ in range(3))
        result = TangentChain(u, h, b, self.xp.empty((networks, depth), dtype=float64))
        if networks:
            mixed = in_float32(precision, "gaussian", width, inputs)
            program = tangent_program(activation, inputs, width, double=not mixed)
            self.compiled(program).launch(
                "mc_tangent",
                (networks,),
                (dict(program.macros)["MC_BLOCK"],),
                *result,
                self.xp.empty((networks, depth + 1, 2 * inputs * inputs + 2 * inputs + 1), dtype=float64),
                self.xp.ascontiguousarray(gram, dtype=float64),
                *words(gram.shape[0], depth, width, start, *key),
                np.float64(sigma_w2),
                np.float64(sigma_b2),
                np.float64(2.0**-18 if mixed else 2.0**-28),
                *words(activation.homogeneous, float(activation.phi(0.0)) == 0.0, readout),
            )
        return result

    def apply_weights(
        self,
        key: Key,
        start: int,
        stop: int,
        x: Array,
        *,
        law: str,
        layer: int,
        units: int,
        inputs: int,
        scale: float,
        transpose: bool,
    ) -> Array:
        """Products with explicit weights that are made in registers; see :func:`mcnet.kernels.reference.apply_weights`.

        Of the type of x (float32 or float64); at most :data:`MOST_VECTORS` vectors (ValueError). Worth it for few
        vectors: weights are made again for every product.
        """
        vectors = int(x.shape[1])
        if vectors > MOST_VECTORS:
            raise ValueError(f"{vectors} vectors: weights made in registers serve at most {MOST_VECTORS}")
        networks, length = stop - start, inputs if transpose else units
        out = self.xp.empty((networks, vectors, length), dtype=x.dtype)
        if out.size:
            per_block = WEIGHT_THREADS * (4 if transpose else 1)
            parts = -(-length // per_block)
            self.compiled(weights_program(law, vectors, double=x.dtype == self.xp.float64)).launch(
                "mc_apply_transpose" if transpose else "mc_apply",
                (parts * networks,),
                (WEIGHT_THREADS,),
                out,
                self.xp.ascontiguousarray(x),
                *words(x.shape[0], units, inputs, parts, start, streams.WEIGHTS << 24 | layer, *key),
                np.float64(scale),
            )
        return out

    def activate(self, activation: Activation, u: Array) -> Activated:
        """phi(u), phi'(u) and the second moments of a layer; see :func:`mcnet.kernels.reference.activate`.

        h and slope have the type of u, the moments are float64. In one pass for up to :data:`FUSED_MOMENTS` inputs;
        above, the moments are matrix products.
        """
        xp = self.xp
        networks, rows, width = (int(size) for size in u.shape)
        u, double = xp.ascontiguousarray(u), u.dtype == xp.float64
        h, slope = xp.empty_like(u), xp.empty_like(u)
        moments = rows <= FUSED_MOMENTS
        shape = (networks, rows, rows) if moments else (0,)
        u_gram, h_gram = xp.empty(shape, dtype=xp.float64), xp.empty(shape, dtype=xp.float64)
        if networks:
            parts = 1 if moments else -(-width // ACTIVATE_THREADS)
            self.compiled(activate_program(activation, rows, double=double)).launch(
                "mc_activate",
                (networks * parts,),
                (ACTIVATE_THREADS,),
                h,
                slope,
                u_gram,
                h_gram,
                u,
                *words(rows, width, parts),
            )
        if not moments:
            wide_u, wide_h = u.astype(xp.float64), h.astype(xp.float64)
            u_gram, h_gram = (xp.matmul(x, xp.swapaxes(x, 1, 2)) / width for x in (wide_u, wide_h))
        return Activated(h, slope, u_gram, h_gram)


def weights_program(law: str, vectors: int, *, double: bool) -> Program:
    """Products of so many vectors with explicit weights of a law."""
    macros = {"MC_T": vectors, "MC_UNIFORM": law == "uniform", "MC_DOUBLE": double, "MC_BLOCK": WEIGHT_THREADS}
    return Program("weights", tuple((name, int(value)) for name, value in macros.items()))


def activate_program(activation: Activation, rows: int, *, double: bool) -> Program:
    """Activation of a layer of so many inputs."""
    moments = {"MC_T": rows} if rows <= FUSED_MOMENTS else {}
    macros = {"MC_MOMENTS": bool(moments), "MC_DOUBLE": double, "MC_BLOCK": ACTIVATE_THREADS, **moments}
    return Program("activate", tuple((name, int(value)) for name, value in macros.items()), activation)


def tangent_program(activation: Activation, inputs: int, width: int, *, double: bool) -> Program:
    """The tangent chain for some networks; threads as for :func:`chain_program`."""
    threads = _threads(width)
    macros = {"MC_T": inputs, "MC_HAAR": 0, "MC_DOUBLE": double, "MC_BLOCK": threads}
    return Program("tangent", tuple((name, int(value)) for name, value in macros.items()), activation)


def chain_program(activation: Activation, weights: str, inputs: int, width: int, *, double: bool) -> Program:
    """The chain for some networks; the number of threads, hence the order of sums, depends on the width alone."""
    threads = _threads(width) if inputs <= 4 else 128
    macros = {"MC_T": inputs, "MC_HAAR": weights == "orthogonal", "MC_DOUBLE": double, "MC_BLOCK": threads}
    return Program("chain", tuple((name, int(value)) for name, value in macros.items()), activation)


def _threads(width: int) -> int:
    """A power of two with which each thread has two counters, of four units each, or more."""
    counters = -(-width // 4)
    return min(128, max(32, 1 << (-(-counters // 2) - 1).bit_length()))


def words(*values: int) -> tuple[np.uint32, ...]:
    """Integers as kernels take them."""
    return tuple(np.uint32(value) for value in values)
