"""An analysis that was kept is the analysis; of another dataset or program, or damaged, it is made again."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcnet_analysis import analyze, kept, report
from mcnet_analysis.draw.all import drawings
from mcnet_analysis.draw.style import svg

import mcnet

STUDY: dict[str, Any] = {
    "mcnet": 1,
    "network": {
        "activation": {"name": "leaky-relu", "slope": 0.1},
        "weights": "gaussian",
        "sigma_w2": 1.9,
        "sigma_b2": 0.0,
    },
    "inputs": {"kind": "single", "q0": 1.0},
    "sweep": {"depth": [1, 2], "width": [16, 32]},
    "sampling": {"networks": 40, "seed": 5},
    "measure": {"q": {}, "jacobian": {"moments": 2}},
    "analyze": {"fit": [{"observable": "q", "layer": 1, "model": "a0 + a1/M"}]},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    mcnet.run(STUDY, tmp_path / "run", quiet=True, workers=1)
    return tmp_path / "run"


@pytest.fixture
def judgements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a dataset was analysed."""
    made: list[int] = []
    judge = analyze.judge
    monkeypatch.setattr(analyze, "judge", lambda *given, **more: made.append(1) or judge(*given, **more))
    return made


def figures(found: Any) -> list[str]:
    return [svg(d.figure, d.name) for d in drawings(found.families, found.spectra, found.sampling)]


def test_a_report_after_analyze_does_not_analyse_again_and_says_the_same(run: Path, judgements: list[int]) -> None:
    with mcnet.open(run) as tree:
        fresh = analyze.judge(tree)
    judgements.clear()
    document = mcnet.analyze(run)
    page = mcnet.report(run).read_text()
    again = mcnet.judge(run)
    assert len(judgements) == 1
    assert document == mcnet.analyze(run) == analyze.plain(fresh.document)
    assert page == report.render(fresh)
    assert figures(again) == figures(fresh)
    assert again.spectra[0].one_law == fresh.spectra[0].one_law
    for one, other in zip(again.spectra, fresh.spectra, strict=True):
        for a, b in zip(one.points, other.points, strict=True):
            np.testing.assert_array_equal(a.values, b.values)


def altered(path: Path, change: Any) -> None:
    with np.load(path) as found:
        arrays = {name: found[name] for name in found.files}
    content = json.loads(arrays["tree"].tobytes())
    content = change(content) or content
    stream = io.BytesIO()
    np.savez(stream, **arrays | {"tree": np.frombuffer(json.dumps(content).encode(), np.uint8)})
    path.write_bytes(stream.getvalue())


def _other_key(content: Any) -> None:
    content["key"] = "0" * 64


def _foreign_class(content: Any) -> None:
    content["analysis"] = {"class": "subprocess:Popen", "parts": [["true"]]}


def _function(content: Any) -> None:
    content["analysis"] = {"class": "mcnet_analysis.analyze:replace_file", "parts": ["x", "y"]}


def _unknown(content: Any) -> None:
    content["analysis"] = {"pickle": "gANjb3MK"}


@pytest.mark.parametrize("change", [_other_key, _foreign_class, _function, _unknown, lambda content: [1, 2]])
def test_what_is_not_of_this_dataset_and_program_is_not_read(run: Path, judgements: list[int], change: Any) -> None:
    mcnet.analyze(run)
    altered(run / kept.NAME, change)
    assert mcnet.judge(run).families
    assert len(judgements) == 2


def test_a_damaged_file_another_dataset_or_another_program_is_not_read(
    run: Path, tmp_path: Path, judgements: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    mcnet.analyze(run)
    whole = (run / kept.NAME).read_bytes()
    (run / kept.NAME).write_bytes(whole[: len(whole) // 2])
    mcnet.judge(run)
    assert len(judgements) == 2
    other = tmp_path / "other"
    mcnet.run(STUDY | {"sampling": {"networks": 40, "seed": 6}}, other, quiet=True, workers=1)
    (other / kept.NAME).write_bytes(whole)
    assert mcnet.judge(other).attributes["seed"] == 6
    (run / kept.NAME).write_bytes(whole)
    monkeypatch.setattr(kept, "program", lambda: "newer")
    mcnet.judge(run)
    assert len(judgements) == 4


def test_nothing_is_written_where_only_a_figure_is_asked_for(run: Path, tmp_path: Path) -> None:
    mcnet.plot.figures(run)
    assert not (run / kept.NAME).exists()
    mcnet.report(run, out=tmp_path / "page.html")
    assert not (run / kept.NAME).exists()
    shutil.rmtree(run)


def test_rows_of_several_kinds_come_back_in_their_order() -> None:
    """Tables by the names of the rows, rows that occur again once; what is the same object stays it."""
    point = {"width": 3}
    rows = [{"a": i, "point": point} if i % 3 else {"b": 0.5 * i, "a": None, "point": {"width": i}} for i in range(12)]
    rows += [rows[4], {}, rows[0]]
    written = json.loads(json.dumps(kept._Writer().plain(rows)))
    read = kept._Reader.__new__(kept._Reader)
    read._made = []
    found = read.value(written)
    assert found == rows
    assert [list(row) for row in found] == [list(row) for row in rows]
    assert found[12] is found[4]
    assert found[14] is found[0]
