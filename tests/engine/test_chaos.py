"""Networks whose layers make rounding large: verify and merge know, and still refuse what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import mcnet
from mcnet import files
from mcnet.engine import status
from mcnet.engine.merge import merge
from mcnet.errors import DataError
from mcnet.storage import shard
from mcnet.storage.comparison import Comparison, compare

STUDY: dict[str, Any] = {
    "mcnet": 1,
    "title": "chaos",
    "network": {"activation": "tanh", "weights": "uniform", "depth": 80, "sigma_w2": 9.0, "sigma_b2": 0.1},
    "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5},
    "sweep": {"width": [100]},
    "sampling": {"networks": 16, "seed": 6, "batch": 16},
    "measure": {"q": {}, "c": {}},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The study on this processor, and as another one would do it: every float32 sum rounded otherwise."""
    folder = tmp_path_factory.mktemp("chaos")
    one, other = folder / "one", folder / "other"
    mcnet.run(STUDY, one, workers=1, quiet=True)
    code = (
        "import sys, numpy as np, mcnet\n"
        "from mcnet.weights.explicit import ExplicitMatrix\n"
        "apply = ExplicitMatrix.apply\n"
        "ExplicitMatrix.apply = lambda self, x, constants: apply(self, x, constants) * np.float32(1 + 2.0**-23)\n"
        f"mcnet.run({STUDY!r}, sys.argv[1], workers=1, quiet=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(other)], check=True, env=environment)
    return one, other


def forged(source: Path, target: Path, change: Any) -> Path:
    """A copy of a run with other numbers in its shard, sealed again."""
    shutil.copytree(source, target)
    (target / "dataset.h5").unlink()
    path = next((target / "shards").iterdir())
    header, quality = shard.verify(path)
    with shard.open_shard(path) as file:
        changed: Any = [(variable, change(variable.name, data[...])) for variable, data in shard.variables(file)]
    content = shard.build(changed, header.start, header.stop, {})
    _, record = shard.seal(content, header.point, header.start, header.stop, header.plan, quality)
    files.commit(path.parent, path.name, [content, record])
    return target


def test_values_differ_and_the_promise_holds(runs: tuple[Path, Path]) -> None:
    report = status.verify(runs[1], recompute=1)
    assert report["largest_difference"] > 0.1
    assert report["verdict"] == "same weights, same law"
    with h5py.File(runs[0] / "dataset.h5") as file:
        assert "the same weights and the same law" in file.attrs["reproducibility"]


def test_the_command_ends_well_and_check_says_it(runs: tuple[Path, Path], tmp_path: Path) -> None:
    main = [sys.executable, "-c", "from mcnet.commands.cli import main; main()"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*main, "verify", str(runs[1]), "--recompute", "1"], check=True, env=environment)
    scenario = tmp_path / "chaos.toml"
    scenario.write_text((runs[0] / "scenario.toml").read_text())
    told = subprocess.run([*main, "check", str(scenario)], check=True, env=environment, capture_output=True, text=True)
    assert "the same weights and the same law" in told.stdout
    found = subprocess.run(
        [*main, "check", str(scenario), "--json", "--set", "network.depth=3"],
        check=True, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert "to the bit" in json.loads(found.stdout)["reproducibility"]


def test_merging_keeps_the_first_of_both(runs: tuple[Path, Path], tmp_path: Path) -> None:
    report = merge(runs, tmp_path / "all")
    assert (report["shards"], report["rounded"]) == (1, 1)
    kept = next((tmp_path / "all" / "shards").iterdir()).read_bytes()
    assert kept == next((runs[0] / "shards").iterdir()).read_bytes()


@pytest.mark.parametrize("what", ["weights", "law"])
def test_what_chaos_does_not_explain_is_refused(runs: tuple[Path, Path], tmp_path: Path, what: str) -> None:
    """Other weights show in the first layer, another law in the means: 30 % of a length that is known to 1 %."""

    def change(name: str, values: Any) -> Any:
        if what == "weights":
            return np.roll(values, 1, axis=0)
        return values * np.where(np.arange(values.shape[-1]) > 1, 1.3, 1.0) if name in ("q", "q_hat") else values

    wrong = forged(runs[0], tmp_path / "wrong", change)
    assert status.verify(wrong, recompute=1)["verdict"] == "different"
    with pytest.raises(DataError, match="holds other numbers"):
        merge([runs[0], wrong], tmp_path / "all")


def test_scores_see_a_mean_that_is_off() -> None:
    rng = np.random.default_rng(3)
    one, other = ({"signal/q": rng.normal(size=(400, 2, 4))} for _ in range(2))
    assert compare(one, one, 3) == Comparison(0.0, 0.0, 0.0)
    assert compare(one, other, 3).score < 5.0
    assert compare(one, {"signal/q": other["signal/q"] + 0.6}, 3).score > 6.0
    other["signal/q"][..., :2] = one["signal/q"][..., :2]
    assert compare(one, other, 3).first == 0.0
