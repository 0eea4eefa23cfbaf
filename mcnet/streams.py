"""The random streams: (seed, point, network, role, layer) -> numbers. The specification in plain NumPy.

Every random number of mcnet is an element of a two-dimensional array named by a key, a network, a role and a layer.
Nothing else enters, no batch size, worker, device or array width: network n is the same in any batch, an array is a
prefix of the same array of another width, and any part of it can be made again at any time.

One call of Philox4x32-10 makes four words: ``counter = (column // 4, row, network, role << 24 | layer)``, and element
(row, column) comes from lane ``column % 4`` (normals: lanes 0, 1 from words 0, 1 and lanes 2, 3 from words 2, 3). Each
floating-point operation below is rounded to float32 by itself and never fused, so that every backend has the same bits.

========== ==== =================================== ====================================
constant   role meaning                             row, column
========== ==== =================================== ====================================
WEIGHTS    0    weights                             output unit, input unit
BIAS       1    biases                              0, unit
INPUTS     2    network inputs                      input, component
LABELS     3    labels, targets                     input, class
FORWARD    4    conditioned forward normals         input, unit
BACKWARD   5    conditioned backward normals        direction, unit
PROBES     6    probes (Lanczos start, Hutchinson)  probe, component
GATES      7    gate and normalisation parameters   gate, unit
DRAWS      8    vectors that a program draws        row, unit
ORDER      9    order of training inputs            epoch, input
CHI        10   candidates for chi variables        question, candidate
========== ==== =================================== ====================================

The layer is the index of the weight matrix, 1 to L (readout: L); in other programs than dense ones its place in the
order of first questions, and of a drawn vector its place in the order of draws, from 1. Conditioned readout: role 4,
layer L, row = input, column = output. Conditioned Haar matrix with fewer outputs than inputs: columns 0 to inputs - 1
of role 4, of which the first ones are the units and the others complete the frame. Conditioned backward step with
biases: the bias coordinate is column :data:`BIAS_COLUMN` of the same row. A change of any of this is a new
:data:`STREAM_VERSION`.

References
----------
Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011); Box and Muller 1958.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

STREAM_VERSION = 1

WEIGHTS, BIAS, INPUTS, LABELS, FORWARD, BACKWARD, PROBES, GATES, DRAWS, ORDER, CHI = range(11)
BIAS_COLUMN = 1 << 30

Words = NDArray[np.uint32]
Floats = NDArray[np.float32]

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_POINT_TAG = 0x6D636E74


def _constants(text: str) -> tuple[np.float32, ...]:
    return tuple(np.float32(float.fromhex(word)) for word in text.split())


# Highest power first. log(1 + f) = f + f^2 LOG(f); sin(pi t / 2) = t SIN(t^2); cos(pi t / 2) = 1 + t^2 COS(t^2).
LOG = _constants(
    "0x1.65c622p-4 -0x1.250490p-3 0x1.318560p-3 -0x1.535d36p-3 "
    "0x1.98d2bap-3 -0x1.00049ap-2 0x1.5556f4p-2 -0x1.fffffap-2"
)
SIN = _constants("-0x1.2d9332p-8 0x1.465e94p-4 -0x1.4abbbap-1 0x1.921fb6p+0")
COS = _constants("0x1.d9f7a6p-11 -0x1.55c664p-6 0x1.03c1dep-2 -0x1.3bd3ccp+0")
(LN2,) = _constants("0x1.62e430p-1")


class Key(NamedTuple):
    """The two 32-bit key words of a stream."""

    k0: int
    k1: int


def seed_key(seed: int) -> Key:
    """Key of streams that all points of a study share: the 64-bit seed itself, low word first."""
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"a seed is an integer from 0 to 2^64 - 1, got {seed}")
    return Key(seed & 0xFFFFFFFF, seed >> 32)


def point_key(seed: int, point: int) -> Key:
    """Key of the streams of one parameter point: ``point`` is the 64-bit digest :attr:`mcnet.point.Point.key`."""
    k0, k1 = seed_key(seed)
    x0, x1, _, _ = philox4x32_10(point & 0xFFFFFFFF, point >> 32, 0, _POINT_TAG, k0, k1)
    return Key(int(x0), int(x1))


def philox4x32_10(
    c0: ArrayLike, c1: ArrayLike, c2: ArrayLike, c3: ArrayLike, k0: ArrayLike, k1: ArrayLike
) -> tuple[Words, Words, Words, Words]:
    """Philox4x32 with ten rounds: counters and keys (uint32, broadcast together) -> four words."""
    x0, x1, x2, x3 = np.broadcast_arrays(*(np.asarray(c, np.uint32) for c in (c0, c1, c2, c3)))
    key0, key1 = np.asarray(k0, np.uint32), np.asarray(k1, np.uint32)
    with np.errstate(over="ignore"):
        for _ in range(10):
            p0, p1 = _MULTIPLIERS[0] * x0.astype(np.uint64), _MULTIPLIERS[1] * x2.astype(np.uint64)
            x0, x1 = _high(p1) ^ x1 ^ key0, p1.astype(np.uint32)
            x2, x3 = _high(p0) ^ x3 ^ key1, p0.astype(np.uint32)
            key0, key1 = key0 + _WEYL[0], key1 + _WEYL[1]
    return x0, x1, x2, x3


def _high(product: NDArray[np.uint64]) -> Words:
    return (product >> np.uint64(32)).astype(np.uint32)


def _horner(coefficients: tuple[np.float32, ...], x: Floats) -> Floats:
    value: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value  # type: ignore[no-any-return]


def radius(word: Words) -> Floats:
    """Length of a pair of normals, sqrt(-2 log u) with u = (word + 1/2) / 2^32."""
    u = word.astype(np.float32) * np.float32(2**-32) + np.float32(2**-33)
    bits = u.view(np.int32)
    exponent = (bits - np.int32(0x3F3504F3)) >> 23  # so that 1 + f lies in [sqrt(1/2), sqrt(2))
    f = (bits - (exponent << 23)).view(np.float32) - np.float32(1)
    log = f + (f * f) * _horner(LOG, f)
    return np.sqrt(np.float32(-2) * (exponent.astype(np.float32) * LN2 + log))


def direction(word: Words) -> tuple[Floats, Floats]:
    """Cosine and sine of the angle 2 pi word / 2^32."""
    with np.errstate(over="ignore"):
        quarter = (word + np.uint32(0x20000000)) >> np.uint32(30)
        t = (word - (quarter << np.uint32(30))).view(np.int32).astype(np.float32) * np.float32(2**-30)
    z = t * t
    s, c = _horner(SIN, z) * t, _horner(COS, z) * z + np.float32(1)
    odd = (quarter & np.uint32(1)) == 1
    cosine, sine = np.where(odd, s, c), np.where(odd, c, s)
    return (
        np.where((quarter + np.uint32(1)) & np.uint32(2), -cosine, cosine),
        np.where(quarter & np.uint32(2), -sine, sine),
    )


def words(
    key: Key, network: int, role: int, layer: int, rows: int, columns: int, first_row: int = 0, first_column: int = 0
) -> Words:
    """Words of elements (first_row.., first_column..) of a random array, shape (rows, blocks, 4).

    The blocks are those of four columns that hold the ``columns`` from ``first_column`` on.
    """
    first_block = first_column // 4
    blocks = -(-(first_column + columns) // 4) - first_block
    block = first_block + np.arange(blocks, dtype=np.uint32)
    row = first_row + np.arange(rows, dtype=np.uint32)[:, None]
    return np.stack(philox4x32_10(block, row, network, role << 24 | layer, *key), -1)


def normals(
    key: Key, network: int, role: int, layer: int, rows: int, columns: int, first_row: int = 0, first_column: int = 0
) -> Floats:
    """Independent standard normals, float32, shape (rows, columns).

    Parameters
    ----------
    key : Key
        From :func:`point_key` or :func:`seed_key`.
    network : int
        Index of the network in the ensemble, below 2^32.
    role, layer : int
        What the numbers are for (table above) and the index of the weight matrix, below 2^24.
    rows, columns : int
        Size of the part wanted.
    first_row, first_column : int
        Where it starts.
    """
    word = words(key, network, role, layer, rows, columns, first_row, first_column)
    length = radius(word[..., 0::2])
    cosine, sine = direction(word[..., 1::2])
    pairs = np.stack([length * cosine, length * sine], -1)  # (rows, blocks, 2, 2)
    skip = first_column % 4
    return pairs.reshape(rows, -1)[:, skip : skip + columns]


def uniforms(
    key: Key, network: int, role: int, layer: int, rows: int, columns: int, first_row: int = 0, first_column: int = 0
) -> Floats:
    """Independent uniform numbers on (-1, 1), float32, shape (rows, columns); parameters as :func:`normals`."""
    word = words(key, network, role, layer, rows, columns, first_row, first_column)
    skip = first_column % 4
    value = word.reshape(rows, -1).view(np.int32).astype(np.float32) * np.float32(2**-31)
    return value[:, skip : skip + columns]
