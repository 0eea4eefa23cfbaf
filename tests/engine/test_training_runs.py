"""Runs of scenarios that train: a stopped run goes on to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import mcnet
from mcnet.engine import resume
from mcnet.storage.directory import DATASET, SHARDS


def scenario(**train: Any) -> dict[str, Any]:
    return {
        "mcnet": 1,
        "network": {
            "activation": "tanh",
            "weights": "gaussian",
            "depth": 2,
            "outputs": 2,
            "sigma_w2": 1.5,
            "sigma_b2": 0.1,
        },
        "inputs": {"kind": "gaussian", "count": 6, "q0": 1.0, "dimension": 10},
        "sweep": {"width": [16, 32]},
        "train": {"loss": "squared", "targets": "teacher", "learning_rate": [0.01, 1e3], "steps": 10, **train},
        "sampling": {"networks": 12, "batch": 5, "seed": 3},
        "measure": {"loss": {}, "output": {}, "diverged_step": {}, "q": {"layers": [1]}},
    }


def digest(run: Path) -> str:
    return str(mcnet.open(run).attrs["content_digest"])


def test_a_run_that_lost_a_shard_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    run = mcnet.run(scenario(), tmp_path / "run", quiet=True)
    before = digest(run)
    lost = sorted((run / SHARDS).iterdir())[1]
    lost.unlink()
    (run / DATASET).unlink()
    resume(run, quiet=True)
    assert digest(run) == before
    data = mcnet.open(run)["training"]
    assert set(data.data_vars) == {"loss", "output", "diverged_step"}
    assert data.loss.dims == ("point", "network", "learning_rate", "step")
    assert data.output.dims == ("point", "network", "learning_rate", "recorded_step", "output_unit", "input")
    np.testing.assert_array_equal(data.recorded_step, [0, 1, 2, 4, 8, 10])
    gentle, wild = data.diverged_step[..., 0], data.diverged_step[..., 1]
    assert bool(np.isnan(gentle).all())
    assert bool((wild >= 1).all())
    assert bool(np.isnan(data.loss.sel(step=10)[..., 1]).all())
    assert float((data.loss.sel(step=10) / data.loss.sel(step=0))[..., 0].max()) < 1.0
    other = {**scenario(), "sampling": {"networks": 12, "batch": 7, "seed": 3}}
    again = mcnet.open(mcnet.run(other, tmp_path / "other", quiet=True))["training"]
    for name in data.data_vars:
        np.testing.assert_array_equal(again[name], data[name])
