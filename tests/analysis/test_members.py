"""Scenarios with members as a user sees them: every command, one verdict, one page that leads to the others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from figures import faults
from matplotlib import rc_context
from mcnet_analysis.draw.style import STYLE
from members import MEMBERS
from scipy import stats

import mcnet
from mcnet.commands.cli import main

TEXT = (
    MEMBERS.replace("sigma_b2 = 0.1", "sigma_b2 = 0.1\noutputs = 1").replace(
        "c = {}", "c = {}\nmean = {}\nq_tilde = {}"
    )
    + 'analyze = { theory = ["mean-field"] }\n'
)
NAMES = ("dense", "post")


def command(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("members")
    (place / "two.toml").write_text(TEXT)
    done = command("run", place / "two.toml", "--out", place / "run", "--set", "sampling.networks=200",
                   "--set", "sampling.batch=200", "--workers", "1", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    status = json.loads(done.stdout)
    assert status["complete"]
    assert (status["shards"], status["networks"], len(status["members"])) == (4, 800, 2)
    return place / "run"


def test_check_and_theory_say_it_of_every_member(run: Path) -> None:
    file = run.parent / "two.toml"
    lines = command("check", file).stdout.splitlines()
    assert [line.split(":")[0] for line in lines if line.endswith("OK")] == [*NAMES, "2 members"]
    told = json.loads(command("check", file, "--json").stdout)
    assert told["shards"] == sum(member["shards"] for member in told["members"].values()) == 6 + 8
    predicted = json.loads(command("theory", file, "--json").stdout)["members"]
    assert [len(member["points"]) for member in predicted.values()] == [2, 2]
    assert [member["title"] for member in predicted.values()] == ["two: dense", "two: post"]


def test_status_and_verify_sum_over_the_members(run: Path) -> None:
    done = command("status", run)
    assert done.stdout.splitlines()[-1] == "4/4 shards, 0 damaged; complete"
    assert len(done.stdout.splitlines()) == 3
    done = command("verify", run, "--recompute", "1")
    assert done.stdout.splitlines()[-1] == "4/4 digests right; 2 shards redrawn: identical"
    shard = next((run / "members" / "post" / "shards").iterdir())
    content = shard.read_bytes()
    try:
        shard.write_bytes(content[:-8] + bytes(8))
        done = command("verify", run, "--json")
        assert done.exit_code == 65
        (told,) = json.loads(done.stdout)["damaged"]
        assert told.startswith("member post: ")
    finally:
        shard.write_bytes(content)


def test_the_verdict_is_that_of_all_members(run: Path) -> None:
    document = mcnet.analyze(run)
    alone = [json.loads((run / "members" / name / "analysis.json").read_text()) for name in NAMES]
    chi2 = sum(member["summary"]["chi2"] for member in alone)
    dof = sum(member["summary"]["dof"] for member in alone)
    assert document["summary"]["chi2"] == pytest.approx(chi2, rel=1e-8)
    assert document["summary"]["p_value"] == pytest.approx(stats.chi2.sf(chi2, dof), rel=1e-6)
    assert document["summary"]["comparisons"] == sum(member["summary"]["comparisons"] for member in alone)
    assert json.loads((run / "analysis.json").read_text()) == document
    by_name = {member["name"]: member for member in document["members"]}
    assert by_name["dense"]["not_predicted"] == ["h_mean (1/M)"]
    assert "q (1/M)" in by_name["post"]["not_predicted"]
    assert {row["member"] for row in document["comparisons"]} == set(NAMES)
    assert mcnet.judge(run).summary["p_value"] == pytest.approx(document["summary"]["p_value"], rel=1e-6)


def test_ratios_are_those_of_the_figure(run: Path) -> None:
    rows = mcnet.analyze(run)["ratios"]
    tree = mcnet.open(run / "members" / "post")
    q = tree["signal"].q.isel(point=-1, input=0).sel(layer=1).values
    (row,) = (row for row in rows if (row["member"], row["observable"], row["layer"]) == ("post", "q", 1))
    expected = 1.4 * 1.0 + 0.1  # layer 1: sigma_w2 q_0 + sigma_b2
    assert row["value"] == pytest.approx(q.mean() / expected, rel=1e-6)
    assert row["error"] == pytest.approx(q.std(ddof=1) / np.sqrt(q.size) / expected, rel=1e-2)
    assert not row["to_first"]
    assert all(abs(row["value"] - 1.0) < 5.0 * row["error"] + 0.1 for row in rows)


def test_the_report_leads_to_those_of_the_members_and_leaves_the_run_alone(run: Path, tmp_path: Path) -> None:
    before = sorted(run.rglob("*"))
    assert command("report", run, "--figures", "png", "--out", tmp_path / "page.html", "--quiet").exit_code == 0
    page = (tmp_path / "page.html").read_text()
    links = re.findall(r'<a href="(members/[^"]+)">', page)
    assert links == [f"members/{name}/page.html" for name in NAMES]
    assert all("<h1>two: " in (tmp_path / link).read_text() for link in links)
    assert page.count("<figure") == 1
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["01-universality.png"]
    assert '<div class="verdict ' in page
    assert command("analyze", run, "--csv", "--out", tmp_path / "there", "--quiet").exit_code == 0
    assert (tmp_path / "there" / "members" / "post" / "analysis.json").is_file()
    assert "member" in (tmp_path / "there" / "comparisons.csv").read_text().splitlines()[0]
    assert sorted(run.rglob("*")) == before


def test_rows_of_the_figure_have_the_names_of_the_members(run: Path) -> None:
    figure = mcnet.plot.universality(run)
    with rc_context(STYLE):
        assert faults(figure) == []
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == list(NAMES)
    assert figure.axes[0].get_ylabel() == "width $M$ = 32"
    assert list(mcnet.plot.figures(run)) == ["universality"]


COMMANDS: dict[str, tuple[Callable[[Path, Path], list[Any]], str]] = {
    "inspect": (lambda run, _: ["inspect", run], "each a run of its own. Name one"),
    "rerun": (lambda run, out: ["rerun", run, "--out", out], "each a run of its own. Name one"),
    "merge": (lambda run, out: ["merge", run, run / "members" / "post", "--out", out], "holds no members"),
    "export": (lambda run, out: ["export", run, "--zarr", run], "is there already"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_makes_no_sense_of_members_says_so(run: Path, tmp_path: Path, name: str) -> None:
    words, told = COMMANDS[name]
    done = command(*words(run, tmp_path / "out"))
    assert done.exit_code in (64, 65)
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_merging_exporting_and_pruning(run: Path, tmp_path: Path) -> None:
    done = command("merge", run, "--out", tmp_path / "merged")
    assert done.stdout.startswith(f"{tmp_path / 'merged'}: 4/4 shards, 4 copied"), done.output
    done = command("export", run, "--zarr", tmp_path / "zarr")
    assert sorted(path.name for path in (tmp_path / "zarr").iterdir()) == ["dense.zarr", "post.zarr"]
    done = command("prune", tmp_path / "merged")
    assert (done.exit_code, "not complete" in done.stderr or "pack" in done.stderr) == (65, True)
    script = command("slurm", run).stdout
    assert f"resume {run}" in script
    done = command("slurm", tmp_path / "new", "--scenario", run.parent / "two.toml", "--jobs", "3")
    assert "--array=1-3" in done.stdout


def test_members_are_not_sampled_into_one_tree(run: Path) -> None:
    with pytest.raises(mcnet.errors.UsageError, match="has members"):  # type: ignore[attr-defined]
        mcnet.sample(run.parent / "two.toml")
