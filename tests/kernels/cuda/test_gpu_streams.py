"""The CUDA random streams, run on the host: the same bits as the specification."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from cuda_host.build import ORDERS, compiler, kernels
from numpy.typing import DTypeLike

from mcnet import streams

pytestmark = pytest.mark.skipif(compiler() is None, reason="g++ is missing: CUDA kernels cannot be built for the host")

SEED = 0x123456789ABCDEF0
KEY = streams.seed_key(SEED)


@pytest.mark.parametrize("order", ORDERS)
def test_known_answer(order: str) -> None:
    normals = kernels(order).normals(KEY, 5, 6, streams.FORWARD, 2, 64, 130)[0]
    digest = hashlib.sha256(normals.astype("<f4").tobytes()).hexdigest()
    assert digest == "3efb0b8b9de3e588863216be46b70fb10b87da68169672fd2c55465c896d5a45"


@pytest.mark.parametrize("columns", [1, 4, 5, 31, 33, 1000])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("law", ["normals", "uniforms"])
def test_bits(law: str, rows: int, columns: int, dtype: DTypeLike) -> None:
    for first_row, first_column in ((0, 0), (5, 4), (2, 7), (1, streams.BIAS_COLUMN)):
        made = getattr(kernels(), law)(
            KEY, 7, 10, streams.BIAS, 3, rows, columns, first_row=first_row, first_column=first_column, dtype=dtype
        )
        assert made.dtype == dtype
        for n in range(3):
            plain = getattr(streams, law)(KEY, 7 + n, streams.BIAS, 3, rows, columns, first_row, first_column)
            assert np.array_equal(made[n], plain)


def test_long_rows_are_shared_by_blocks() -> None:
    columns = 4 * 128 * 8 * 3 + 5  # three blocks along the row, and a ragged end
    made = kernels().normals(KEY, 0, 1, streams.FORWARD, 1, 1, columns)[0]
    assert np.array_equal(made, streams.normals(KEY, 0, streams.FORWARD, 1, 1, columns))


def test_nothing_asked_for() -> None:
    assert kernels().normals(KEY, 3, 3, 0, 1, 2, 5).shape == (0, 2, 5)
    assert kernels().uniforms(KEY, 3, 5, 0, 1, 0, 5).shape == (2, 0, 5)
