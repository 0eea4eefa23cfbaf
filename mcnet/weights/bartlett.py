"""Normals in a frame of their own: what the products of Gaussian vectors need, whatever the number of units.

r independent standard normal vectors of n units, n >= r, are r (r - 1) / 2 normals and r chi variables in the frame of
their Gram-Schmidt vectors: vector t has standard normals along the t before it and the length of the n - t units left,

    G = T O,    T lower triangular,  T_ts ~ N(0, 1) for s < t,  T_tt^2 ~ chi^2_(n-t),  all independent,

with O an r x n frame that is Haar and independent of T. T T^T is Wishart with n degrees of freedom (Bartlett 1933).
Whoever looks at products alone, or turns everything else by the same O, needs no O.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet import streams
from mcnet.weights.laws import Array, Ensemble, Layer

UNIFORMS = 1 << 20
"""First column of the uniform numbers that accept or reject candidates; the normals of these begin at column 0."""

LANES = 4
"""Candidates drawn at a time: a counter of the generator makes so many."""


def forward_normals(layer: Layer, ensemble: Ensemble, known: int, rows: int, dtype: Any) -> Array:
    """Standard normals for the answers of a Gaussian matrix, in the frame of the first ones where it is turned.

    Parameters
    ----------
    layer : Layer
    ensemble : Ensemble
    known : int
        Questions that were asked before.
    rows : int
        r, the number of questions.
    dtype : data type

    Returns
    -------
    Array, shape (N, r, units)
        Of a turned layer the triangle T, with zeros to its right.
    """
    if not layer.turned or known:
        where = (known, 0)
        return ensemble.normals(streams.FORWARD, layer.index, rows, layer.units, dtype=dtype, first=where)
    assert rows < layer.rows, "no more units than vectors: there is nothing to turn"
    xp, place = ensemble.backend.xp, ensemble.backend.place
    normals = ensemble.normals(streams.FORWARD, layer.index, rows, rows, dtype=dtype, first=(0, 0))
    lengths = xp.astype(chi(ensemble, layer.index, layer.rows - np.arange(rows)), dtype, copy=False)
    below, diagonal = (xp.astype(place(part), dtype) for part in (np.tri(rows, k=-1), np.eye(rows)))
    triangle = normals * below + lengths[:, :, None] * diagonal
    if layer.units == rows:
        return triangle
    zero = xp.zeros_like(triangle[:, :, :1])
    return xp.concat([triangle, xp.broadcast_to(zero, (*zero.shape[:2], layer.units - rows))], axis=2)


def chi(ensemble: Ensemble, layer: int, degrees: NDArray[np.int_]) -> Array:
    """Independent chi variables, (N, r) float64: candidates of role 10 in turn, until one is accepted.

    Parameters
    ----------
    ensemble : Ensemble
    layer : int
        Index of the matrix.
    degrees : ndarray of int, shape (r,)
        Degrees of freedom, 2 or more.

    Notes
    -----
    chi^2 / 2 is gamma distributed with shape a = degrees / 2 >= 1. With d = a - 1/3, x normal, u uniform and
    v = (1 + x / (3 sqrt(d)))^3, d v has that law where v > 0 and ln u < x^2/2 + d (1 - v + ln v), which holds for 95 %
    of the candidates at least (Marsaglia, Tsang 2000). Exact up to the 32 bits of x and u.
    """
    backend, rows = ensemble.backend, int(degrees.size)
    xp = backend.xp
    d = backend.place(np.asarray(degrees, np.float64)[None, :] / 2.0 - 1.0 / 3.0)
    slope = 1.0 / (3.0 * xp.sqrt(d))
    found: Array = None
    first = 0
    while True:
        x = ensemble.normals(streams.CHI, layer, rows, LANES, dtype=xp.float64, first=(0, first))
        u = ensemble.uniforms(streams.CHI, layer, rows, LANES, dtype=xp.float64, first=(0, UNIFORMS + first))
        one = xp.ones_like(u[:, :, 0])
        if found is None:
            found, waiting = one, one > 0.0
        for lane in range(LANES):
            root = 1.0 + slope * x[:, :, lane]
            v = root * root * root
            inside = v > 0.0
            v = xp.where(inside, v, one)
            bound = 0.5 * x[:, :, lane] * x[:, :, lane] + d * (1.0 - v + xp.log(v))
            accepted = waiting & inside & (0.5 * (1.0 + u[:, :, lane]) < xp.exp(bound))
            found = xp.where(accepted, v, found)
            waiting = waiting & ~accepted
            if not bool(xp.any(waiting)):
                return xp.sqrt(2.0 * d * found)
        first += LANES
