"""Program: an activation and its slope on vectors in the difference basis (see :mod:`mcnet.kernels.lanes.programs`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcnet.kernels.lanes.printed import phi, phi_dphi
from mcnet.kernels.lanes.simd import compiled, inlined, load, store


@inlined
def _sixteen(
    h: NDArray[np.float32],
    slope: NDArray[np.float32],
    u: NDArray[np.float32],
    place: int,
    inputs: int,
    size: int,
    slopes: bool,
) -> None:
    """Sixteen units of all inputs of one network."""
    first = load(u, place)
    if slopes:
        value, p = phi_dphi(first)
        store(slope, place, p)
    else:
        value = phi(first)
    store(h, place, value)
    for t in range(1, inputs):
        at = place + t * size
        v = load(u, at) + first
        if slopes:
            other, p = phi_dphi(v)
            store(slope, at, p)
        else:
            other = phi(v)
        store(h, at, other - value)


@compiled
def layer(
    h: NDArray[np.float32],
    slope: NDArray[np.float32],
    u: NDArray[np.float32],
    networks: int,
    inputs: int,
    size: int,
    slopes: bool,
) -> None:
    """phi(u) in the difference basis, phi'(u) of the inputs themselves; flat arrays (networks, inputs, size >= 16)."""
    for n in range(networks):
        start = n * inputs * size
        for i in range(0, size - 15, 16):
            _sixteen(h, slope, u, start + i, inputs, size, slopes)
        if size % 16:  # the last ones together with some before, which come out the same
            _sixteen(h, slope, u, start + size - 16, inputs, size, slopes)
