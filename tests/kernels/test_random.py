"""Normals and uniforms of the CPU equal those of the specification to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from mcnet import streams
from mcnet.kernels import cpu, reference

KEY = streams.seed_key(0x123456789ABCDEF0)

SHAPES = [  # (networks, rows, columns, first row, first column); rows below and above 256 columns take two ways
    (1, 64, 130, 0, 0),
    (3, 1, 1, 0, 0),
    (2, 31, 33, 0, 0),
    (5, 3, 4, 7, 4),
    (2, 5, 7, 3, 2),
    (3, 4, 4, 0, 1),
    (200, 20, 21, 3, 3),
    (2, 3, 1000, 1, 0),
    (2, 3, 1000, 1, 3),
    (1, 2, 257, 9, 2),
    (1, 1, 4096, 0, 64),
    (2, 1, 1, 3, streams.BIAS_COLUMN),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("draw", ["normals", "uniforms"])
def test_bits(draw: str, shape: tuple[int, int, int, int, int]) -> None:
    networks, rows, columns, first_row, first_column = shape
    place = {"first_row": first_row, "first_column": first_column}
    ours = getattr(cpu, draw)(KEY, 5, 5 + networks, 4, 2, rows, columns, **place)
    judge = getattr(reference, draw)(KEY, 5, 5 + networks, 4, 2, rows, columns, **place)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours.view(np.int32), judge.view(np.int32))


def test_known_answers() -> None:
    z = cpu.normals(KEY, 5, 6, 4, 2, 1, 4, first_row=3, first_column=4).ravel().tolist()
    assert z == [float.fromhex(x) for x in ["-0x1.456d98p+0", "0x1.253af0p-2", "0x1.5f961ap-1", "-0x1.f357e2p-2"]]


def test_large_networks_roles_and_layers() -> None:
    for network, role, layer in [(2**32 - 2, 255, 2**24 - 1), (2**31 - 1, 128, 1)]:
        ours = cpu.normals(KEY, network, network + 2, role, layer, 2, 5)
        np.testing.assert_array_equal(ours, reference.normals(KEY, network, network + 2, role, layer, 2, 5))


def test_float64_is_the_same_numbers() -> None:
    narrow, wide = (cpu.normals(KEY, 0, 3, 4, 1, 2, 9, dtype=dtype) for dtype in (np.float32, np.float64))
    assert wide.dtype == np.float64
    np.testing.assert_array_equal(narrow, wide)


def test_nothing_asked() -> None:
    assert cpu.normals(KEY, 3, 3, 4, 1, 2, 9).shape == (0, 2, 9)
    assert cpu.uniforms(KEY, 0, 3, 4, 1, 0, 9).shape == (3, 0, 9)
