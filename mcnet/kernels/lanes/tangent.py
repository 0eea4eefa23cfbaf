"""Program: signal and back-propagated errors of a network, fused, in sixteen lanes.

For what a program is see :mod:`mcnet.kernels.lanes.programs`.

Forward as in :mod:`mcnet.kernels.lanes.chain` with Gaussian weights. Backward, the transposed weights are asked d^l,
the errors of one output, given all they have answered forward: with questions
X = (sqrt(sigma_w2/M) h, sqrt(sigma_b2) e_0) of factor R (X X^T = R R^T), answers Z and the factor r of the Gram matrix
of d,

    V^T d = r g + f X,      f = (d Z^T - r g X^T R^-T) R^-1,      g fresh normals, one row per question

(:mod:`mcnet.weights.conditioned`), so that g X^T is summed on the way up, before r is known, and two passes over a
layer do everything. The errors of one output are the same for all inputs above the last hidden layer: one question.

Everything is in the difference basis of the inputs, but errors d(t) that are no longer close to d(0) stand for
themselves (their omega is 0): in a deep chaotic network one may outgrow the other by any factor. Normals, activations
and errors are float32 or float64 as the buffers are; sums over more than 32 units and all algebra of Gram matrices are
float64. Powers of two keep the float32 numbers in range. Lanes are networks or, where ``united`` is set, units of one
network.
"""

from __future__ import annotations

import numpy as np

from mcnet.kernels.lanes.backward import add_products, agree, back_propagate, normal
from mcnet.kernels.lanes.lanes import Matrix, Units, add_gram, add_lanes, factor, fill, limited_power
from mcnet.kernels.lanes.printed import dphi, kink_product, phi_dphi
from mcnet.kernels.lanes.simd import (
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

BLOCKS = 8  # counters, of four units each, between two additions to float64
NODE = 0.21132486540518713  # (1 - 1/sqrt(3)) / 2: Gauss-Legendre with two nodes on (0, 1)
FORWARD, BACKWARD, PROBES = 4 << 24, 5 << 24, 6 << 24  # roles of mcnet.streams in the counter
BIAS_COLUMN = 1 << 30
FAR = 2.0**200  # errors grown or shrunk by so much are stored with an exponent


@inlined
def activate(
    z: Units,
    z_at: int,
    stride: int,
    count: int,
    a: Units,
    a_at: int,
    inputs: int,
    size: int,
    scale: Units,
    spread: Units,
    threshold: float,
    u0: Units,
    h0: Units,
    h: Units,
    p: Units,
    h_at: int,
) -> None:
    """h = phi(a z) in the difference basis, times the scale of each row; p = phi' of every input.

    A small difference of phi is the difference of u times the mean slope between, by two nodes (unless there is a kink
    between): it keeps all its digits however small it is. ``spread`` says its size.
    """
    a00, scale0 = load(a, a_at), load(scale, a_at)
    for i in range(0, 16 * count, 16):
        u = a00 * load(z, z_at + i)
        y, slope = phi_dphi(u)
        store(p, h_at + i, slope)
        store(u0, i, u)
        store(h0, i, y)
        store(h, h_at + i, y * scale0)
    for t in range(1, inputs):
        at = a_at + 16 * t * size
        first, second, scale_t = load(a, at), load(a, at + 16), load(scale, a_at + 16 * t)
        near = load(spread, a_at + 16 * t) < threshold
        some_near = any_lane(near)
        row = h_at + t * stride
        for i in range(0, 16 * count, 16):
            u = fma(second, load(z, z_at + stride + i), first * load(z, z_at + i))
            for s in range(2, t + 1):
                u = fma(load(a, at + 16 * s), load(z, z_at + s * stride + i), u)
            v = load(u0, i)
            y, slope = phi_dphi(v + u)
            store(p, row + i, slope)
            y = y - load(h0, i)
            if some_near:
                smooth = u * (dphi(fma(u, NODE, v)) + dphi(fma(u, 1.0 - NODE, v))) * 0.5
                y = where(near, where(kink_product(v, v + u) < 0.0, y, smooth), y)
            store(h, row + i, y * scale_t)


@inlined
def choose_basis(
    omega: Matrix, b: Matrix, spread: Units, at: int, inputs: int, size: int, root: Matrix, f: Matrix
) -> None:
    """Which errors of the layer below are d(t) - omega d(0) with omega = 1; rows of coefficients turned accordingly.

    Those that were, are less than half of d(0) away from it, and whose signal is as near. Once lost it is for good.
    """
    for t in range(1, inputs):
        before = load(omega, 16 * t)
        now = where(load(b, 16 * t * (size + 1)) * 4.0 < load(b, 0), before, 0.0)
        now = where(wide(load(spread, at + 16 * t)) * 4.0 < wide(load(spread, at)), now, 0.0)
        for q in range(inputs):
            i = 16 * (t * size + q)
            store(root, i, load(root, i) + (before - now) * load(root, 16 * q))
            store(f, i, load(f, i) + (before - now) * load(f, 16 * q))
        store(omega, 16 * t, now)


@compiled
def tangent(
    u_grams: Matrix,
    h_grams: Matrix,
    b_grams: Matrix,
    exponents: Matrix,
    inputs_gram: Matrix,
    buffer: Units,
    threshold: float,
    k0: int,
    k1: int,
    start: int,
    networks: int,
    lot: int,
    depth: int,
    inputs: int,
    sigma_w2: float,
    sigma_b2: float,
    width: int,
    readout: bool,
    homogeneous: bool,
    centred: bool,
    united: bool,
) -> None:
    """Gram matrices of u, h and d of all layers, flat forms of (depth, inputs, inputs, lot).

    Rows of ``lot`` have room for 16 networks too many. Those of d are divided by 4^exponent, (depth, lot). ``buffer``
    only says, by its type, whether float32 or float64 is meant; ``threshold`` see :func:`activate`.
    """
    real = buffer.dtype
    size = inputs + inputs % 2
    blocks = (width + 63) // 64 if united else (width + 3) // 4
    length = 64 * BLOCKS
    stride = 64 * blocks + 16  # 16: rows of powers of two would share their place in the cache
    layer_size, small = size * stride, 16 * size * size
    z = np.zeros(2 * depth * layer_size, real)  # of every layer: forward rows, backward rows
    h, p = np.zeros(depth * layer_size, real), np.zeros(depth * layer_size, real)
    u0, h0, d = np.empty(length, real), np.empty(length, real), np.zeros(size * length, real)
    # small matrices and scales, of every layer
    factors, crossed = np.zeros((depth + 1) * small), np.zeros(depth * small)
    coefficients, scale = np.zeros(depth * small, real), np.zeros(depth * small, real)
    spread, unit = np.zeros(depth * small, real), np.zeros(depth * small)
    fresh, told, close = np.zeros(small, real), np.zeros(small, real), np.zeros(small, real)
    gamma, omega = np.zeros(small), np.zeros(small)
    single = np.zeros(16 * (depth + 1) * inputs)  # normals of the readout, then of the bias coordinates of all layers
    k, s, b = np.zeros(small), np.zeros(small), np.zeros(small)
    root, product, f = np.zeros(small), np.zeros(small), np.zeros(small)

    for group in range(0, networks, 1 if united else 16):
        network = start + group
        for t in range(inputs):
            for q in range(t + 1):
                for lane in range(16):
                    n = min(group + (0 if united else lane), inputs_gram.shape[0] - 1)
                    k[16 * (t * size + q) + lane] = inputs_gram[n, t, q]

        for i in range((depth + 1) * inputs if sigma_b2 > 0.0 else inputs):
            layer = depth + 1 - max(0, i // inputs - 1)
            tag, column = (FORWARD, 0) if i < inputs else (BACKWARD, BIAS_COLUMN)
            store(single, 16 * i, normal(united, network, tag | layer, i % inputs, column, k0, k1))

        for layer in range(1, depth + 2):
            at = (layer - 1) * small
            for i in range(0, small, 16):
                store(s, i, load(k, i) * sigma_w2)
            store(s, 0, load(s, 0) + sigma_b2)
            factor(s, inputs, size, root, size)
            for i in range(0, small, 16):
                store(factors, at + i, load(root, i))
            if layer > depth:
                break
            common = f8(1.0)
            if homogeneous:
                top = load(s, 0)
                for t in range(1, inputs):
                    x = load(s, 16 * t * (size + 1))
                    top = where(x > top, x, top)
                common = where(top > 0.0, half_power(top), 1.0)
            for t in range(inputs):
                x = load(s, 16 * t * (size + 1)) * common * common
                power = limited_power(x) if centred or t > 0 else f8(1.0)
                store(spread, at + 16 * t, x)
                store(scale, at + 16 * t, power)
                store(unit, at + 16 * t, power * common)
            for i in range(0, small, 16):
                store(coefficients, at + i, load(factors, at + i) * common)
            # units, upwards
            k[:] = 0.0
            s[:] = 0.0
            product[:] = 0.0
            base, kept_base = 2 * (layer - 1) * layer_size, (layer - 1) * layer_size
            questions = 1 if layer == depth else inputs
            back = BACKWARD if layer < depth or readout else PROBES
            for first in range(0, blocks, BLOCKS):
                some = min(BLOCKS, blocks - first)
                count = 4 * some if united else min(4 * some, width - 4 * first)
                place = base + 64 * first
                for row in range(inputs + questions):
                    t, place_t, tag = row, place + row * stride, FORWARD | layer
                    if row >= inputs:
                        t, place_t, tag = row - inputs, place + (size + row - inputs) * stride, back | (layer + 1)
                    fill(z, place_t, first, some, width, united, network, tag, t, k0, k1)
                add_gram(z, place, stride, size, count, s)
                h_at = kept_base + 64 * first
                activate(
                    z,
                    place,
                    stride,
                    count,
                    coefficients,
                    at,
                    inputs,
                    size,
                    scale,
                    spread,
                    threshold,
                    u0,
                    h0,
                    h,
                    p,
                    h_at,
                )
                if united and not centred and 64 * (first + some) > width:
                    numbers = (lane_numbers() + 16 * (first + some - 1)) << 2
                    for t in range(inputs):
                        for i in range(4):
                            last = h_at + t * stride + 64 * (some - 1) + 16 * i
                            store(h, last, where(numbers + i < width, load(h, last), 0.0))
                add_gram(h, h_at, stride, size, count, k)
                add_products(h, h_at, stride, z, place + layer_size, stride, size, questions, count, product)
            if united:
                add_lanes(k)
                add_lanes(s)
                add_lanes(product)
            for i in range(0, small, 16):
                store(crossed, at + i, load(product, i))
            # Gram matrices of h and, from that of the normals, of u
            for t in range(inputs):
                for q in range(t + 1):
                    i = 16 * (t * size + q)
                    store(k, i, load(k, i) / (load(unit, at + 16 * t) * load(unit, at + 16 * q)) * (1.0 / width))
                for q in range(inputs):
                    x = f8(0.0)
                    for r in range(t + 1):
                        low, high = min(q, r), max(q, r)
                        x = x + load(factors, at + 16 * (t * size + r)) * load(s, 16 * (high * size + low))
                    store(product, 16 * (t * size + q), x)
            for t in range(inputs):
                for q in range(t + 1):
                    x = f8(0.0)
                    for r in range(q + 1):
                        x = x + load(product, 16 * (t * size + r)) * load(factors, at + 16 * (q * size + r))
                    y = load(k, 16 * (t * size + q))
                    x = x * (1.0 / width)
                    lower = ((layer - 1) * inputs + t) * inputs + q
                    upper = ((layer - 1) * inputs + q) * inputs + t
                    store(u_grams, lower * lot + group, x)
                    store(h_grams, lower * lot + group, y)
                    store(u_grams, upper * lot + group, x)
                    store(h_grams, upper * lot + group, y)

        # downwards; k now holds d . z, b the Gram matrix of d, exponent the powers of two taken out of both
        b[:] = 0.0
        k[:] = 0.0
        store(b, 0, f8(1.0))
        exponent = f8(0.0)
        for t in range(inputs):
            store(omega, 16 * t, f8(1.0 if t > 0 else 0.0))
        step = np.sqrt(sigma_w2 / width)
        bias = np.sqrt(sigma_b2)
        for layer in range(depth, 0, -1):
            at, above = (layer - 1) * small, layer * small
            questions = 1 if layer == depth else inputs
            f[:] = 0.0
            root[:] = 0.0
            scale_fresh = step
            if layer == depth and not readout:
                scale_fresh = 1.0 / np.sqrt(float(width))
                store(root, 0, f8(1.0))
            else:
                if layer == depth:
                    store(root, 0, f8(1.0))
                    for t in range(inputs):
                        store(k, 16 * t, load(single, 16 * t))
                else:
                    factor(b, inputs, size, root, size)
                for t in range(questions):
                    for q in range(inputs):
                        i = at + 16 * (q * size + t)
                        x = load(crossed, i) / load(unit, at + 16 * q) * step
                        if q == 0 and bias > 0.0:
                            x = x + load(single, 16 * ((depth + 1 - layer) * inputs + t)) * bias
                        store(crossed, i, x)
                agree(k, root, crossed, at, factors, above, inputs, size, questions, f)
            choose_basis(omega, b, spread, at, inputs, size, root, f)
            for t in range(inputs):
                top = f8(0.0)
                for q in range(t + 1):
                    x = load(root, 16 * (t * size + q))
                    top = top + x * x
                top = top * (scale_fresh * scale_fresh)
                power = where(top > 0.0, half_power(top), 1.0)
                power = where(load(omega, 16 * t) > 0.0, load(gamma, 0), power) if t > 0 else power
                store(gamma, 16 * t, power)
                store(close, 16 * t, load(omega, 16 * t))
                for q in range(inputs):
                    i = 16 * (t * size + q)
                    store(fresh, i, load(root, i) * power * scale_fresh)
                    store(told, i, load(f, i) * power * (step * step) / load(unit, at + 16 * q))
            # units
            b[:] = 0.0
            k[:] = 0.0
            base, kept_base = 2 * (layer - 1) * layer_size, (layer - 1) * layer_size
            for first in range(0, blocks, BLOCKS):
                some = min(BLOCKS, blocks - first)
                count = 4 * some if united else min(4 * some, width - 4 * first)
                place = base + 64 * first
                h_at = kept_base + 64 * first
                back_propagate(
                    z,
                    place + layer_size,
                    stride,
                    h,
                    p,
                    h_at,
                    count,
                    fresh,
                    told,
                    close,
                    inputs,
                    size,
                    u0,
                    d,
                    length,
                )
                add_gram(d, 0, length, size, count, b)
                if layer > 1:
                    add_products(d, 0, length, z, place, stride, size, inputs, count, k)
            if united:
                add_lanes(b)
                add_lanes(k)
            for t in range(inputs):
                for q in range(inputs):
                    i, power = 16 * (t * size + q), load(gamma, 16 * t)
                    store(b, i, load(b, i) / (power * load(gamma, 16 * q)))
                    store(k, i, load(k, i) / power)
            top = load(b, 0)
            for t in range(1, inputs):
                x = load(b, 16 * t * (size + 1))
                top = where(x > top, x, top)
            power = where(top > FAR * FAR, 1.0 / FAR, where(top < 1.0 / (FAR * FAR), FAR, 1.0))
            power = where(top > 0.0, power, 1.0)
            for i in range(0, small, 16):
                store(b, i, load(b, i) * power * power)
                store(k, i, load(k, i) * power)
            exponent = exponent + where(power < 1.0, 200.0, where(power > 1.0, -200.0, 0.0))
            store(exponents, (layer - 1) * lot + group, exponent)
            for t in range(inputs):
                for q in range(t + 1):
                    x = load(b, 16 * (t * size + q))
                    if t > 0:
                        x = x + load(omega, 16 * t) * load(b, 16 * q * size)
                    if q > 0:
                        x = x + load(omega, 16 * q) * load(b, 16 * t * size)
                        x = x + load(omega, 16 * t) * load(omega, 16 * q) * load(b, 0)
                    store(b_grams, (((layer - 1) * inputs + t) * inputs + q) * lot + group, x)
                    store(b_grams, (((layer - 1) * inputs + q) * inputs + t) * lot + group, x)
