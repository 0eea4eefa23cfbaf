"""Figures and tables as an interface: from a directory, a dataset file, a tree or its analysis."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from figures import faults
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

import mcnet
from mcnet.commands.cli import main
from mcnet.errors import UsageError
from mcnet.theory import finite_width

STUDY: dict[str, Any] = {
    "mcnet": 1,
    "title": "pictures",
    "network": {"activation": "tanh", "weights": "gaussian", "depth": 3, "sigma_b2": 0.05},
    "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5},
    "sweep": {"width": [32, 64, 128], "sigma_w2": [1.0, 2.5]},
    "sampling": {"networks": 400, "seed": 5},
    "measure": {"q": {}, "c": {}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plot") / "run"
    mcnet.run(STUDY, path, quiet=True, workers=1)
    return path


@pytest.fixture(scope="module")
def judged() -> Any:
    return mcnet.judge(mcnet.sample(STUDY))


def series(figure: Figure, label: str) -> Any:
    return next(
        np.asarray(container.lines[0].get_xydata())
        for axis in figure.axes
        for container in axis.containers
        if isinstance(container, ErrorbarContainer) and container.get_label() == label
    )


def test_a_figure_against_width_has_the_data_the_limit_and_the_slope(judged: Any) -> None:
    figure = mcnet.plot.width(judged, "c", layer=2, point={"sigma_w2": 2.5})
    assert faults(figure) == []
    tree = mcnet.sample(STUDY)
    root = tree.to_dataset()
    points = [i for i in range(root.sizes["point"]) if root["sigma_w2"].values[i] == 2.5]
    means = [
        [1 / root["width"].values[i], float(tree["signal"]["c"].isel(point=i).sel(layer=2).mean())] for i in points
    ]
    np.testing.assert_allclose(series(figure, "measured"), sorted(means, reverse=True))
    exact = finite_width.coefficients([[1, 0.5], [0.5, 1]], "tanh", "gaussian", 2.5, 0.05, 2, "ntk", True)
    assert exact.c_limit is not None
    assert exact.c_mean is not None
    theory = next(line for line in figure.axes[0].get_lines() if "theory to 1/M" in str(line.get_label()))
    x, y = np.asarray(theory.get_xydata()).T
    assert (x[0], y[0]) == pytest.approx((0.0, exact.c_limit[-1]))
    assert (y[-1] - y[0]) / (x[-1] - x[0]) == pytest.approx(exact.c_mean[-1], rel=1e-6)
    assert len(figure.axes) == 2  # residuals below
    variance = mcnet.plot.width(judged, "q", statistic="variance", point={"sigma_w2": 1.0})
    assert faults(variance) == []
    assert "Var" in variance.axes[0].get_ylabel()


def test_all_figures_and_files_of_them(run: Path, judged: Any, tmp_path: Path) -> None:
    names = list(mcnet.plot.figures(judged))
    assert names[:2] == ["depth-q", "depth-c"]
    for form, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        files = mcnet.plot.save(judged, tmp_path / form, form)
        assert [file.stem.split("-", 1)[1] for file in files] == names
        assert all(file.read_bytes().startswith(start) for file in files)
    assert mcnet.plot.depth(run, "q")._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda j: mcnet.plot.width(j, "ntk"), 'observable "ntk" is not in this study; there are c, q, q_hat'),
        (lambda j: mcnet.plot.width(j, "q"), "2 laws match; say which by point"),
        (lambda j: mcnet.plot.width(j, "q", point={"sigma": 1}), '"sigma" is no coordinate'),
        (lambda j: mcnet.plot.width(j, "q", point={"sigma_w2": 9.0}), "sigma_w2: 1.0, 2.5"),
        (lambda j: mcnet.plot.width(j, "q", layer=9, point={"sigma_w2": 1.0}), "nothing at layer 9"),
        (lambda j: mcnet.plot.spectrum(j), "there are none"),
        (lambda j: mcnet.plot.fisher_largest(j), "nothing to draw"),
        (lambda j: mcnet.plot.save(j, "x", "gif"), "choose svg, png or pdf"),
        (lambda j: mcnet.plot.figures(3), "give a run directory"),
    ],
)
def test_mistakes_are_told(judged: Any, call: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        call(judged)


def test_tables(judged: Any, run: Path) -> None:
    document = mcnet.analyze(mcnet.sample(STUDY))
    table = mcnet.table.coefficients(document)
    frame = table.to_dataframe()
    fitted = [row for row in document["comparisons"] if row["statistic"] in ("a1", "v1", "limit")]
    assert len(frame) == len(fitted)
    assert list(frame.columns[:4]) == ["sigma_w2", "width", "observable", "layer"]
    assert frame["measured"].tolist() == [row["measured"] for row in fitted]
    rows = list(csv.reader(table.to_csv().splitlines()))
    assert tuple(rows[0]) == table.columns
    assert len(rows) == len(fitted) + 1
    latex = table.to_latex().splitlines()
    assert latex[0].startswith(r"\begin{tabular}")
    assert latex[-1] == r"\end{tabular}"
    assert all(line.count("&") == latex[2].count("&") for line in latex[2:-2] if "&" in line)
    assert r"$a_1$" in table.to_latex()
    assert mcnet.table.fits(judged).to_dataframe()["chi2"].notna().all()
    assert document == json.loads(json.dumps(document))


def test_commands_write_figures_and_tables_and_take_a_dataset_file(run: Path, tmp_path: Path) -> None:
    invoke = CliRunner().invoke
    assert invoke(main, ["analyze", str(run), "--csv", "--latex"]).exit_code == 0
    names = {"comparisons", "coefficients", "fits"}
    assert {path.stem for path in run.glob("*.csv")} == {path.stem for path in run.glob("*.tex")} == names
    assert invoke(main, ["report", str(run), "--figures", "png"]).exit_code == 0
    assert (run / "report.html").exists()
    assert len(list((run / "figures").glob("*.png"))) >= 4
    alone = tmp_path / "published.h5"
    shutil.copy(run / "dataset.h5", alone)
    assert invoke(main, ["analyze", str(alone)]).exit_code == 0
    assert json.loads((tmp_path / "published.analysis.json").read_text())["comparisons"]
    assert invoke(main, ["report", str(alone), "--quiet"]).exit_code == 0
    assert (tmp_path / "published.report.html").exists()
