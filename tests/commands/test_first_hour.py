"""What a newcomer types first: scenarios by name, samples by several workers, grids, the shell's completion."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import xarray
from click.testing import CliRunner

import mcnet
from mcnet.commands.cli import main
from mcnet.errors import ScenarioError, UsageError
from tests.studies import study

SMALL = ("network.depth=3", "sweep.width=[8, 16]", "sweep.sigma_w2=[0.8, 1.5, 2.5]", "sweep.sigma_b2=[0.0, 0.1]")


@pytest.fixture(scope="module")
def tree() -> xarray.DataTree:
    return mcnet.sample("order_chaos", networks=np.int64(5), overrides=SMALL)


def test_a_scenario_has_a_name(tree: xarray.DataTree) -> None:
    assert tree.attrs["title"] == "Order-chaos map, tanh"
    assert tree.sizes["point"] == 12
    with pytest.raises(ScenarioError, match=r'order_caos: there is no such file\. Did you mean "order_chaos"\?'):
        mcnet.sample("order_caos")


def test_several_workers_sample_the_same_networks() -> None:
    alone, together = mcnet.sample(study(), seed=9), mcnet.sample(study(), seed=9, workers=2)
    for name in ("q", "q_hat", "c"):
        np.testing.assert_array_equal(alone["signal"][name].values, together["signal"][name].values)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"networks": 10.5}, "networks = 10.5: must be a whole number from 1"),
        ({"networks": 0}, "networks = 0: must be"),
        ({"networks": True}, "networks = True: must be"),
        ({"seed": -1}, "seed = -1: must be a whole number from 0"),
        ({"workers": 1.5}, "workers = 1.5: must be"),
    ],
)
def test_numbers_that_are_none_are_told(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        mcnet.sample(study(), **given)


def test_how_far_a_sample_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcnet.progress.LINE_SECONDS", 0.0)
    mcnet.sample(study(), quiet=False)
    assert "shards 1/" in capsys.readouterr().err
    mcnet.sample(study())
    assert capsys.readouterr().err == ""


def test_a_grid_has_a_dimension_for_each_swept_quantity(tree: xarray.DataTree) -> None:
    grid = mcnet.grid(tree)
    c = grid["signal"]["c"]
    assert {"width": 2, "sigma_w2": 3, "sigma_b2": 2}.items() <= dict(c.sizes).items()
    assert "point" not in c.dims
    assert grid.coords["activation"].item() == "tanh"
    root = tree.to_dataset()
    for i in range(12):
        here = {name: root[name].values[i] for name in ("width", "sigma_w2", "sigma_b2")}
        expected = tree["signal"]["c"].isel(point=i)
        np.testing.assert_array_equal(c.sel(here).transpose(*expected.dims).values, expected.values)
    assert grid["signal"]["c"].sel(width=16, layer=3).mean(("network", "pair")).shape == (3, 2)


def test_a_grid_of_one_point_and_of_points_that_are_no_product() -> None:
    assert mcnet.grid(mcnet.sample(study(widths=(8,))))["signal"]["q"].sizes["width"] == 1
    points = [{"width": 8, "sigma_w2": 1.0}, {"width": 16, "sigma_w2": 1.5}, {"width": 16, "sigma_w2": 1.0}]
    network = {"activation": "tanh", "weights": "gaussian", "depth": 3, "sigma_b2": 0.05}
    sparse = mcnet.grid(mcnet.sample(study() | {"network": network, "sweep": {"points": points}}))["signal"]["q"]
    assert np.isnan(sparse.sel(width=8, sigma_w2=1.5)).all()
    assert np.isfinite(sparse.sel(width=16, sigma_w2=1.5, layer=3)).all()


def test_python_runs_the_module() -> None:
    done = subprocess.run([sys.executable, "-m", "mcnet", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"mcnet {mcnet.__version__}\n"


def test_the_shell_completes_scenarios() -> None:
    given = {"_MCNET_COMPLETE": "bash_complete", "COMP_WORDS": "mcnet run ntk", "COMP_CWORD": "2"}
    told = CliRunner().invoke(main, [], prog_name="mcnet", env=given, complete_var="_MCNET_COMPLETE")
    assert {"plain,ntk_finite_width", "plain,ntk_five_million"} <= set(told.output.split())
    wrong = CliRunner().invoke(main, ["run", "quikstart", "--out", "x"])
    assert wrong.exit_code == 64
    assert 'Did you mean "quickstart"?' in wrong.output
