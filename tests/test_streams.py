"""The random streams against their known answers."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mcnet import streams

SEED = 0x123456789ABCDEF0
KEY = streams.seed_key(SEED)
PLACE = {"network": 5, "role": 4, "layer": 2}


def floats(text: str) -> list[float]:
    return [float.fromhex(word) for word in text.split()]


def integers(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [  # the known answers of Random123, Salmon et al. 2011
        ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_known_answers(counter: str, key: str, answer: str) -> None:
    assert tuple(int(word) for word in streams.philox4x32_10(*integers(counter), *integers(key))) == integers(answer)


def test_stream_known_answers() -> None:
    part = {"rows": 1, "columns": 4, "first_row": 3, "first_column": 4}
    assert tuple(streams.words(KEY, **PLACE, **part).ravel()) == integers("6d87aa85 76f8f9de b38f4d3a e6d75428")
    normals = streams.normals(KEY, **PLACE, **part)
    assert normals.dtype == np.float32
    assert normals.ravel().tolist() == floats("-0x1.456d98p+0 0x1.253af0p-2 0x1.5f961ap-1 -0x1.f357e2p-2")
    uniforms = streams.uniforms(KEY, **PLACE, **part)
    assert uniforms.dtype == np.float32
    assert uniforms.ravel().tolist() == floats("0x1.b61eaap-1 0x1.dbe3e8p-1 -0x1.31c2ccp-1 -0x1.928abep-3")


def test_known_answer_of_drawn_vectors() -> None:
    found = streams.normals(streams.point_key(0x123456789ABCDEF0, 17), 5, streams.DRAWS, 2, 4, 8)[3, 4:]
    expected = "-0x1.07fc3ep+0 -0x1.0efd6ep-1 0x1.63ef9cp-3 -0x1.030876p-1"
    assert [float(x) for x in found] == [float.fromhex(word) for word in expected.split()]


def test_digest_of_an_array_of_normals() -> None:
    array = streams.normals(KEY, **PLACE, rows=64, columns=130)
    digest = hashlib.sha256(array.astype("<f4").tobytes()).hexdigest()
    assert digest == "3efb0b8b9de3e588863216be46b70fb10b87da68169672fd2c55465c896d5a45"


def test_point_key_known_answer() -> None:
    assert streams.point_key(SEED, 17) == integers("76c24cfd 615205e4")
    assert streams.point_key(SEED, 17 << 32) != streams.point_key(SEED, 17)


def test_constants_are_the_specified_ones() -> None:
    assert streams.STREAM_VERSION == 1
    roles = ("WEIGHTS", "BIAS", "INPUTS", "LABELS", "FORWARD", "BACKWARD", "PROBES", "GATES", "DRAWS", "ORDER")
    assert [getattr(streams, name) for name in roles] == list(range(10))
    assert streams.BIAS_COLUMN == 2**30


def test_radius_at_its_ends() -> None:
    square = streams.radius(np.array([0, 0xFFFFFFFF], np.uint32)).astype(float) ** 2
    np.testing.assert_allclose(square, [float.fromhex("0x1.6dfb52p+5"), 0.0], rtol=1e-7)
    c, s = streams.direction(np.array([0, 1 << 30, 1 << 31, 3 << 30], np.uint32))
    assert c.tolist() == [1, 0, -1, 0]
    assert s.tolist() == [0, 1, 0, -1]


@pytest.mark.parametrize("draw", [streams.normals, streams.uniforms])
def test_any_part_is_the_same_part(draw: object) -> None:
    whole = draw(KEY, 3, 0, 7, 9, 41)  # type: ignore[operator]
    for first_row, first_column, rows, columns in [(0, 0, 4, 40), (2, 3, 5, 1), (8, 5, 1, 36), (1, 30, 3, 11)]:
        part = draw(KEY, 3, 0, 7, rows, columns, first_row, first_column)  # type: ignore[operator]
        np.testing.assert_array_equal(part, whole[first_row:, first_column:][:rows, :columns])


def test_seeds_out_of_range_are_refused() -> None:
    for seed in (-1, 1 << 64):
        with pytest.raises(ValueError, match="2\\^64"):
            streams.seed_key(seed)


def test_moments_over_all_words() -> None:
    """The transformation makes normals from words: moments over the whole range of the words, nearly without sampling.

    The first 2^20 words one by one, the others at every 2^12-th word (the middle of a stretch; r^2 is smooth there).
    """
    first, stride = 1 << 20, 1 << 12
    head = np.arange(first, dtype=np.uint32)
    tail = np.arange(first + stride // 2, 1 << 32, stride).astype(np.uint32)
    for power, mean, error in [(1, 2.0, 1e-7), (2, 8.0, 1e-7), (3, 48.0, 2e-7)]:
        sums = [float(np.sum(streams.radius(word).astype(float) ** (2 * power))) for word in (head, tail)]
        assert abs((sums[0] + stride * sums[1]) / 2**32 / mean - 1) < error
    angle = np.arange(stride // 2, 1 << 32, stride).astype(np.uint32)
    c, s = (x.astype(float) for x in streams.direction(angle))
    assert abs(np.mean(c)) < 1e-8
    assert abs(np.mean(s)) < 1e-8
    assert abs(np.mean(c * s)) < 1e-8
    assert abs(2 * np.mean(c * c) - 1) < 5e-8
    assert abs(8 / 3 * np.mean(c**4) - 1) < 5e-8
