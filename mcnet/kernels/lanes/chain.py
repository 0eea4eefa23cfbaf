"""Program: the conditioned chain of Gram matrices, fused, in sixteen lanes (see :mod:`mcnet.kernels.lanes.programs`).

A layer of a dense network with Gaussian weights, given the layer below, is ``U = A Z``: Z are fresh normals, one row
per input and one column per unit, and A the lower Cholesky factor of ``S = sigma_w2 K + sigma_b2 e_0 e_0^T``. Only the
Gram matrix K enters, so that no matrix of the size of a layer is ever made. With Haar weights ``U = s L C^-1 Z`` plus
biases, where ``L L^T = K`` and ``C C^T = Z Z^T``: the normals are made orthonormal, which takes a pass of its own.

All Gram matrices stand in the difference basis (input 0, input t - input 0): close inputs stay accurate, because the
small differences are sums of small numbers and not differences of large sums.

The sixteen lanes are sixteen networks, or, where ``united`` is set, the units of one network, four neighbours a lane;
then the sums are added over the lanes at the end of a layer. Normals, u and h are float32 or float64 as the buffers
are; sums over more than 64 units and all algebra of Gram matrices are float64.
"""

from __future__ import annotations

import numpy as np

from mcnet.kernels.lanes.lanes import Matrix, Units, add_gram, add_lanes, factor, fill, limited_power, orthonormalise
from mcnet.kernels.lanes.printed import dphi, kink_product, phi
from mcnet.kernels.lanes.simd import (
    Vector,
    any_lane,
    compiled,
    f8,
    fma,
    half_power,
    inlined,
    lane_numbers,
    load,
    store,
    where,
    wide,
)

BLOCKS = 16  # counters, of four units each, between two additions to float64
NODE = 0.21132486540518713  # (1 - 1/sqrt(3)) / 2: Gauss-Legendre with two nodes on (0, 1)


@inlined
def _combined(z: Units, at: int, stride: int, a: Units, t: int, rows: int) -> Vector:
    """Element (t, at) of a z for lower triangular a."""
    u = load(a, 16 * t * (rows + 1)) * load(z, at + t * stride)
    for s in range(t):
        u = fma(load(a, 16 * (t * rows + s)), load(z, at + s * stride), u)
    return u


@inlined
def activate(
    z: Units,
    place: int,
    stride: int,
    count: int,
    a: Units,
    inputs: int,
    rows: int,
    bias: bool,
    scale: Units,
    spread: Units,
    threshold: float,
    u0: Units,
    h0: Units,
    h: Units,
    length: int,
) -> None:
    """u = a z, h = phi(u) in the difference basis, times the scale of each row.

    A small difference of phi is the difference of u times the mean slope between, by two nodes (unless there is a kink
    between): it keeps all its digits however small it is. ``spread`` says its size. Subtraction loses as many digits as
    the difference is small; at the threshold both errors are far below those of the sums.
    """
    factor0 = load(scale, 0)
    for i in range(0, 16 * count, 16):
        u = _combined(z, place + i, stride, a, 0, rows)
        if bias:
            u = fma(load(a, 16 * inputs), load(z, place + inputs * stride + i), u)
        y = phi(u)
        store(u0, i, u)
        store(h0, i, y)
        store(h, i, y * factor0)
    for t in range(1, inputs):
        factor_t, near = load(scale, 16 * t), load(spread, 16 * t) < threshold
        if any_lane(near):
            for i in range(0, 16 * count, 16):
                u, v = _combined(z, place + i, stride, a, t, rows), load(u0, i)
                y = phi(v + u) - load(h0, i)
                smooth = u * (dphi(fma(u, NODE, v)) + dphi(fma(u, 1.0 - NODE, v))) * 0.5
                y = where(near, where(kink_product(v, v + u) < 0.0, y, smooth), y)
                store(h, t * length + i, y * factor_t)
        else:
            for i in range(0, 16 * count, 16):
                y = phi(_combined(z, place + i, stride, a, t, rows) + load(u0, i)) - load(h0, i)
                store(h, t * length + i, y * factor_t)


@compiled
def chain(
    u_grams: Matrix,
    h_grams: Matrix,
    inputs_gram: Matrix,
    buffer: Units,
    threshold: float,
    k0: int,
    k1: int,
    start: int,
    sigma_w2: float,
    sigma_b2: float,
    width: int,
    input_dimension: int,
    haar: bool,
    homogeneous: bool,
    centred: bool,
    united: bool,
) -> None:
    """Gram matrices of u and h of all layers, (networks, depth, inputs, inputs) each, from those of the inputs.

    ``buffer`` only says, by its type, whether float32 or float64 is meant; ``threshold`` see :func:`activate`.
    """
    networks, depth, inputs, _ = u_grams.shape
    real = buffer.dtype
    bias = haar and sigma_b2 > 0.0
    rows = inputs + 1 if bias else inputs
    size, z_rows = inputs + inputs % 2, rows + rows % 2
    blocks = (width + 63) // 64 if united else (width + 3) // 4
    length = 64 * BLOCKS
    stride = 64 * blocks if haar else length
    z, h = np.zeros(z_rows * stride, real), np.zeros(size * length, real)
    u0, h0 = np.empty(length, real), np.empty(length, real)
    coefficients = np.zeros(16 * inputs * z_rows, real)
    scale, spread = np.empty(16 * inputs, real), np.empty(16 * inputs, real)
    k, s = np.zeros(16 * size * size), np.zeros(16 * size * size)
    a, c = np.zeros(16 * inputs * z_rows), np.zeros(16 * inputs * z_rows)
    z_gram, frame = np.zeros(16 * z_rows * z_rows), np.zeros(16 * z_rows * z_rows)
    product = np.zeros(16 * inputs * z_rows)

    for group in range(0, networks, 1 if united else 16):
        network = start + group
        members = 1 if united else min(16, networks - group)
        for t in range(inputs):
            for q in range(t + 1):
                for lane in range(16):
                    n = min(group + (0 if united else lane), inputs_gram.shape[0] - 1)
                    k[16 * (t * size + q) + lane] = inputs_gram[n, t, q]
        for layer in range(1, depth + 1):
            tag = 4 << 24 | layer
            for at in range(0, 16 * size * size, 16):
                store(s, at, load(k, at) * sigma_w2)
            if haar:
                # 1: the normals, their Gram matrix, and the coefficients that make them orthonormal
                z_gram[:] = 0.0
                for first in range(0, blocks, BLOCKS):
                    some = min(BLOCKS, blocks - first)
                    count = 4 * some if united else min(4 * some, width - 4 * first)
                    for t in range(inputs):
                        fill(z, t * stride + 64 * first, first, some, width, united, network, tag, t, k0, k1)
                    if bias:
                        place = inputs * stride + 64 * first
                        fill(z, place, first, some, width, united, network, 1 << 24 | layer, 0, k0, k1)
                    add_gram(z, 64 * first, stride, z_rows, count, z_gram)
                if united:
                    add_lanes(z_gram)
                fan_in = input_dimension if layer == 1 else width
                if fan_in > width:  # the frame is longer than what the layer shows of it
                    frame[:] = 0.0
                    all_blocks = (fan_in + 63) // 64 if united else (fan_in + 3) // 4
                    for first in range(0, all_blocks, BLOCKS):
                        some = min(BLOCKS, all_blocks - first)
                        count = 4 * some if united else min(4 * some, fan_in - 4 * first)
                        for t in range(inputs):
                            fill(h, t * length, first, some, fan_in, united, network, tag, t, k0, k1)
                        add_gram(h, 0, length, size, count, frame[: 16 * size * size])
                    if united:
                        add_lanes(frame)
                    factor(frame, inputs, size, c, z_rows)
                else:
                    factor(z_gram, inputs, z_rows, c, z_rows)
                factor(s, inputs, size, a, z_rows)
                for at in range(0, a.size, 16):
                    store(a, at, load(a, at) * np.sqrt(float(max(width, fan_in))))
                orthonormalise(a, inputs, z_rows, c)
                if bias:
                    store(a, 16 * inputs, f8(np.sqrt(sigma_b2)))
                store(s, 0, load(s, 0) + sigma_b2)
            else:
                store(s, 0, load(s, 0) + sigma_b2)
                factor(s, inputs, size, a, z_rows)
                z_gram[:] = 0.0
            # 2: powers of two that keep float32 sums in range; exact, so that they change no digit
            gamma = f8(1.0)
            if homogeneous:
                top = load(s, 0)
                for t in range(1, inputs):
                    x = load(s, 16 * t * (size + 1))
                    top = where(x > top, x, top)
                gamma = where(top > 0.0, half_power(top), 1.0)
            for t in range(inputs):
                x = load(s, 16 * t * (size + 1)) * gamma * gamma
                store(spread, 16 * t, x)
                store(scale, 16 * t, limited_power(x) if centred or t > 0 else f8(1.0))
            for at in range(0, a.size, 16):
                store(coefficients, at, load(a, at) * gamma)
            # 3: units
            k[:] = 0.0
            for first in range(0, blocks, BLOCKS):
                some = min(BLOCKS, blocks - first)
                count = 4 * some if united else min(4 * some, width - 4 * first)
                place = 64 * first if haar else 0
                if not haar:
                    for t in range(inputs):
                        fill(z, t * stride, first, some, width, united, network, tag, t, k0, k1)
                    add_gram(z, 0, stride, z_rows, count, z_gram)
                activate(
                    z,
                    place,
                    stride,
                    count,
                    coefficients,
                    inputs,
                    z_rows,
                    bias,
                    scale,
                    spread,
                    threshold,
                    u0,
                    h0,
                    h,
                    length,
                )
                if united and 64 * (first + some) > width:
                    unit = (lane_numbers() + 16 * (first + some - 1)) << 2
                    for t in range(inputs):
                        for i in range(4):
                            at = t * length + 64 * (some - 1) + 16 * i
                            store(h, at, where(unit + i < width, load(h, at), 0.0))
                add_gram(h, 0, length, size, count, k)
            if united:
                add_lanes(k)
                if not haar:
                    add_lanes(z_gram)
            # 4: Gram matrices of h and, from that of the normals, of u
            for t in range(inputs):
                for q in range(t + 1):
                    power = gamma * gamma * wide(load(scale, 16 * t)) * wide(load(scale, 16 * q))
                    store(k, 16 * (t * size + q), load(k, 16 * (t * size + q)) / power * (1.0 / width))
                for q in range(rows):
                    x = f8(0.0)
                    for r in range(rows):
                        low, high = min(q, r), max(q, r)
                        x = x + load(a, 16 * (t * z_rows + r)) * load(z_gram, 16 * (high * z_rows + low))
                    store(product, 16 * (t * z_rows + q), x)
            for t in range(inputs):
                for q in range(t + 1):
                    x = f8(0.0)
                    for r in range(rows):
                        x = x + load(product, 16 * (t * z_rows + r)) * load(a, 16 * (q * z_rows + r))
                    store(s, 16 * (t * size + q), x * (1.0 / width))
                    for lane in range(members):
                        u = s[16 * (t * size + q) + lane]
                        y = k[16 * (t * size + q) + lane]
                        u_grams[group + lane, layer - 1, t, q] = u
                        u_grams[group + lane, layer - 1, q, t] = u
                        h_grams[group + lane, layer - 1, t, q] = y
                        h_grams[group + lane, layer - 1, q, t] = y
