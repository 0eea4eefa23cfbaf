"""Parts of the fused backward pass: products of rows, errors of a layer, what an answer must agree with.

Layout as in :mod:`mcnet.kernels.lanes`; small matrices here are square with an even number of rows, the last one zero
where the number of inputs is odd.
"""

from __future__ import annotations

from mcnet.kernels.lanes.generator import normals16
from mcnet.kernels.lanes.lanes import Matrix, Units
from mcnet.kernels.lanes.simd import Vector, f8, fma, i4, inlined, lane_numbers, like, load, shared, store, where, wide


@inlined
def normal(united: bool, network: int, tag: int, row: int, column: int, k0: int, k1: int) -> Vector:
    """One normal of a network; ``column`` a multiple of 4."""
    networks = i4(network) if united else lane_numbers() + network
    first, _, _, _ = normals16(i4(column // 4), i4(row), networks, i4(tag), k0, k1)
    return wide(first)


@shared
def add_products(
    x: Units, x_at: int, x_stride: int, y: Units, y_at: int, y_stride: int, size: int, rows: int, count: int, c: Matrix
) -> None:
    """Add x_r . y_s over ``count`` vectors to c (size x size), for all rows of x and the first ``rows`` rows of y."""
    for r in range(0, size, 2):
        x0, x1 = x_at + r * x_stride, x_at + (r + 1) * x_stride
        for s in range(0, rows, 2):
            y0, y1 = y_at + s * y_stride, y_at + (s + 1) * y_stride
            zero = like(load(x, x0), 0.0)
            a00, a01, a10, a11 = zero, zero, zero, zero
            if s + 1 < rows:
                for i in range(0, 16 * count, 16):
                    u, v, p, q = load(x, x0 + i), load(x, x1 + i), load(y, y0 + i), load(y, y1 + i)
                    a00, a01, a10, a11 = fma(u, p, a00), fma(u, q, a01), fma(v, p, a10), fma(v, q, a11)
            else:
                for i in range(0, 16 * count, 16):
                    p = load(y, y0 + i)
                    a00, a10 = fma(load(x, x0 + i), p, a00), fma(load(x, x1 + i), p, a10)
            at = 16 * (r * size + s)
            store(c, at, load(c, at) + wide(a00))
            store(c, at + 16, load(c, at + 16) + wide(a01))
            store(c, at + 16 * size, load(c, at + 16 * size) + wide(a10))
            store(c, at + 16 * size + 16, load(c, at + 16 * size + 16) + wide(a11))


@inlined
def back_propagate(
    g: Units,
    g_at: int,
    stride: int,
    h: Units,
    p: Units,
    h_at: int,
    count: int,
    fresh: Units,
    told: Units,
    close: Units,
    inputs: int,
    size: int,
    y0: Units,
    d: Units,
    length: int,
) -> None:
    """y = fresh g + told h and d = phi' y; for t > 0 minus close_t (0 or 1) times that of input 0.

    Then d_t = p_t y_t + close_t (p_t - p_0) y_0.
    """
    g1, h1 = g_at + stride, h_at + stride
    for t in range(inputs):
        f0, f1 = load(fresh, 16 * t * size), load(fresh, 16 * (t * size + 1))
        a0, a1 = load(told, 16 * t * size), load(told, 16 * (t * size + 1))
        slope, omega = h_at + t * stride, load(close, 16 * t)
        for i in range(0, 16 * count, 16):
            y = fma(a1, load(h, h1 + i), a0 * load(h, h_at + i))
            y = fma(f0, load(g, g_at + i), y)
            if t > 0:
                y = fma(f1, load(g, g1 + i), y)
            for s in range(2, inputs):
                y = fma(load(told, 16 * (t * size + s)), load(h, h_at + s * stride + i), y)
            for s in range(2, t + 1):
                y = fma(load(fresh, 16 * (t * size + s)), load(g, g_at + s * stride + i), y)
            slope_t = load(p, slope + i)
            if t == 0:
                store(y0, i, y)
                store(d, i, slope_t * y)
            else:
                store(d, t * length + i, fma(slope_t, y, omega * (slope_t - load(p, h_at + i)) * load(y0, i)))


@shared
def agree(
    c: Matrix, b: Matrix, q: Matrix, q_at: int, a: Matrix, a_at: int, inputs: int, size: int, rows: int, f: Matrix
) -> None:
    """f with V^T d = b g + f X, where the forward questions are X = a A and A has orthonormal rows.

    Parameters
    ----------
    c : matrix
        d_t . z_s: what the forward answers Z = V A^T tell of V^T d.
    b : matrix
        Lower Cholesky factor of the Gram matrix of d; its first ``rows`` columns are in use.
    q : matrix
        X g^T: what the fresh normals g would say instead.
    a : matrix
        Lower triangular.

    Notes
    -----
    V^T d = b g + (d Z^T - b g A^T) A, so that f = (c - b q^T a^-T) a^-1. A pivot of zero is a question never asked.
    """
    for t in range(inputs):
        for s in range(inputs):
            x = f8(0.0)  # element (t, s) of b q^T a^-T; the columns before it stand in f
            for k in range(min(t + 1, rows)):
                x = x + load(b, 16 * (t * size + k)) * load(q, q_at + 16 * (s * size + k))
            for r in range(s):
                x = x - load(f, 16 * (t * size + r)) * load(a, a_at + 16 * (s * size + r))
            pivot = load(a, a_at + 16 * s * (size + 1))
            store(f, 16 * (t * size + s), where(pivot > 0.0, x / pivot, 0.0))
        for s in range(inputs - 1, -1, -1):
            x = load(c, 16 * (t * size + s)) - load(f, 16 * (t * size + s))
            for r in range(s + 1, inputs):
                x = x - load(f, 16 * (t * size + r)) * load(a, a_at + 16 * (r * size + s))
            pivot = load(a, a_at + 16 * s * (size + 1))
            store(f, 16 * (t * size + s), where(pivot > 0.0, x / pivot, 0.0))
