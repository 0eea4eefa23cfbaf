"""Large runs: what a hundred thousand shards would take, measured per shard on a thousand."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mcnet import activations
from mcnet.dataset import file, packing
from mcnet.engine import status
from mcnet.plan.plan import Plan, PlannedPoint
from mcnet.plan.tasks import ranges
from mcnet.point import Inputs, Point
from mcnet.request import Request
from mcnet.storage import directory, shard
from mcnet.variables import Measured, Variable

COUNT, LARGE = 1000, 100_000
FACTS = {
    "host": "node-0123",
    "pid": 4,
    "device": "a processor of some name",
    "started_utc": "2026-01-01T00:00:00.000+00:00",
    "wall_seconds": 0.25,
    "cpu_seconds": 0.25,
    "peak_memory_bytes": 10**9,
    "software": "mcnet 0.1.0, python 3.11.7, numpy 2.3.5, scipy 1.17.1, numba 0.62.1, h5py 3.16.0, xarray 2026.9.0",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a thousand small shards at ten points, sealed without waiting for a disk."""
    place = tmp_path_factory.mktemp("scale")
    tanh, texts = activations.get("tanh"), ("long_name", "symbol", "definition", "normalisation", "reference")
    variable = Variable("q", "signal", ("input", "layer"), **dict.fromkeys(texts, "q"))
    points = [
        Point("dense", tanh, "gaussian", width, 3, 1.5, 0.05, Inputs("pair", 2, width, 1.0, 0.6), train_biases=True)
        for width in range(8, 18)
    ]
    planned = tuple(PlannedPoint(point, (8 * COUNT // 10,), 8, "conditioned") for point in points)
    plan = Plan(planned, Request({"q": {}}, 7), 8, "large")
    (place / "shards").mkdir()
    (place / "plan.json").write_text(plan.to_json())
    values = np.random.default_rng(1).normal(size=(8, 2, 4))
    for one in plan.points:
        for start, stop in ranges(one.stops, 8):
            content = shard.build([Measured(variable, values + start)], start, stop, {})
            header, record = shard.seal(content, one.key, start, stop, plan.digest, FACTS)
            (place / "shards" / header.name).write_bytes(bytes(content) + record)
    return place


def seconds(function: Callable[[], object]) -> float:
    """CPU time of the fastest of five."""
    times = []
    for _ in range(5):
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    return min(times)


def test_status_takes_little_more_than_reading_the_headers(run: Path) -> None:
    def floor() -> None:
        for name in os.listdir(run / "shards"):
            descriptor = os.open(f"{run}/shards/{name}", os.O_RDONLY)
            os.read(descriptor, shard.USER_BLOCK)
            os.close(descriptor)

    assert status.status(run)["complete"]
    taken = seconds(lambda: status.status(run))
    assert taken < 8 * seconds(floor)
    assert taken * LARGE / COUNT < 2 * 3  # seconds, on a machine that others use too


def test_packing_streams(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held grows by some hundred bytes a shard; the numbers are not held."""
    monkeypatch.setattr(file, "CHUNK_BYTES", 10_000)
    plan = directory.load_plan(run)
    tracemalloc.start()
    try:
        report = packing.pack(run, plan, "mcnet = 1\n")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report["shards"] == COUNT
    assert peak * LARGE / COUNT < 500e6
