"""What a newcomer types first: scenarios by name, samples by several workers, grids, the shell's completion."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from click.testing import CliRunner
from mcnet_analysis import report

import mcnet
from mcnet import progress
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


def test_a_dataset_alone_has_a_status_and_is_verified(tmp_path: Path) -> None:
    run = tmp_path / "run"
    mcnet.run(study(), run, quiet=True, workers=1)
    folder = tmp_path / "published"
    folder.mkdir()
    file = folder / "dataset.h5"
    shutil.copy(run / "dataset.h5", file)
    invoke = CliRunner().invoke
    for place in (file, folder):
        told = invoke(main, ["status", str(place)])
        assert told.exit_code == 0
        assert f"{file}: 2 points, 80 networks; a dataset alone" in told.output
        assert json.loads(invoke(main, ["status", str(place), "--json"]).output)["complete"]
        assert "every byte agrees" in invoke(main, ["verify", str(place)]).output
        assert invoke(main, ["inspect", str(place)]).exit_code == 0
    assert "Repeat its whole run: mcnet rerun" in invoke(main, ["verify", str(file), "--recompute", "1"]).output
    for command in ("resume", "prune", "pack"):
        told = invoke(main, [command, str(file)])
        assert told.exit_code == 65
        assert "is a file. Give the directory of a run" in told.output
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert invoke(main, ["verify", str(file)]).exit_code == 65


def test_numbers_read_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert [progress._rate(x) for x in (0.25, 4.184, 50.0, 999.4, 4184.0, 19_040.0, 1.23456e6)] == [
        "0.25", "4.18", "50", "999", "4 180", "19 000", "1 230 000"
    ]  # fmt: skip
    page = report._subtitle(mcnet.judge(mcnet.sample(study(widths=(8,)))))
    assert "width 8." in page
    summary = {"chi2": 1.0, "dof": 1, "p_value": 0.3, "groups": 1, "outliers": 0}
    assert "1 degree of freedom " in report.verdict(summary)["sentence"]


def test_a_line_that_changes_goes_when_its_work_is_broken_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    now = iter(float(t) for t in range(20))
    items = progress.counted(range(5), "points", quiet=False, clock=lambda: next(now))
    next(items)
    next(items)
    assert "points 1/5" in capsys.readouterr().err
    items.close()  # as an exception in the loop does
    assert capsys.readouterr().err == "\r\x1b[2K"
