"""Ranges drawn on different processors: OpenBLAS takes the kernels of two of them, each in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcnet.engine.merge import merge
from mcnet.engine.repeat import VERDICTS
from mcnet.storage.comparison import compare

PROCESSORS = ("Haswell", "Nehalem")
"""Vectors of eight and of four numbers, with and without fused products: other sums, other last bits."""

CALM: dict[str, Any] = {
    "mcnet": 1,
    "network": {"activation": "tanh", "weights": "orthogonal", "depth": 6, "sigma_w2": 1.3, "sigma_b2": 0.1},
    "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5},
    "sweep": {"width": [96]},
    "sampling": {"networks": 24, "seed": 6, "batch": 8, "sampler": "explicit"},
    "measure": {"q": {}, "c": {}, "jacobian": {"moments": 2}},
}
CHAOTIC: dict[str, Any] = {
    **CALM,
    "network": {"activation": "tanh", "weights": "uniform", "depth": 80, "sigma_w2": 9.0, "sigma_b2": 0.1},
    "sampling": {"networks": 24, "seed": 6, "batch": 12, "sampler": "explicit"},
    "measure": {"q": {}, "c": {}},
}


def on(processor: str, code: str, *words: str) -> str:
    """What Python code tells on a processor."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_CORETYPE": processor}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def drawn(study: dict[str, Any], folder: Path) -> list[Path]:
    """The study on each processor."""
    code = f"import sys, mcnet; mcnet.run({study!r}, sys.argv[1], workers=1, quiet=True)"
    places = [folder / processor for processor in PROCESSORS]
    for processor, place in zip(PROCESSORS, places, strict=True):
        on(processor, code, str(place))
    return places


@pytest.mark.parametrize(("study", "shards"), [(CALM, 3), (CHAOTIC, 2)], ids=["calm", "chaotic"])
def test_ranges_of_two_processors(study: dict[str, Any], shards: int, tmp_path: Path) -> None:
    one, other = drawn(study, tmp_path)
    told = merge([one, other], tmp_path / "both")
    assert told["shards"] == shards
    assert told["equal"] + told["rounded"] == shards
    assert not told["damaged"]
    code = "import json, sys; from mcnet.engine.status import verify; print(json.dumps(verify(*sys.argv[1:2], 9)))"
    again = json.loads(on(PROCESSORS[1], code, str(one)))
    assert again["recomputed"] == shards
    assert again["verdict"] in VERDICTS[:3]
    if not told["equal"]:  # OpenBLAS knows these processors: their bits differ, and by what is said
        assert again["verdict"] != "identical"
        assert (told["rounded"], again["largest_difference"] > 0.1) == (shards, study is CHAOTIC)


def test_a_constant_may_be_rounded_otherwise() -> None:
    """What is the same in every network has no spread beside which its rounding could be seen; a shift is seen."""
    q_hat = 1.0 + 2.0**-52 * np.random.default_rng(1).integers(0, 2, (12, 1, 3))
    same = {"signal/q_hat": q_hat}
    assert compare({"signal/q_hat": q_hat + 2.0**-51}, same, 2).score < 1e-6
    assert compare({"signal/q_hat": q_hat * 1.001}, same, 2).score > 100
