"""The engine: one content whatever the workers, parts and growth; refusals that name the difference; light imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray
from studies import study

import mcnet
from mcnet import files
from mcnet.engine import driver, status
from mcnet.errors import DataError, DiskError, McnetError, UsageError
from mcnet.progress import LINE_SECONDS, Progress, counted
from mcnet.storage import directory as runfiles
from mcnet.storage import shard


def digest(directory: Path) -> str:
    with mcnet.open(directory) as tree:
        return str(tree.attrs["content_digest"])


def shard_files(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (directory / "shards").glob("*.h5")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; not to be changed."""
    return mcnet.run(study(), tmp_path_factory.mktemp("runs") / "one", workers=1, quiet=True)


def copy_of(finished: Path, target: Path) -> Path:
    (target / "shards").mkdir(parents=True)
    for path in finished.rglob("*"):
        if path.is_file():
            (target / path.relative_to(finished)).write_bytes(path.read_bytes())
    return target


def test_a_run_holds_what_sample_gives(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == [
        "dataset.h5",
        "log.jsonl",
        "plan.json",
        "scenario.toml",
        "shards",
        "shards.txt",
    ]
    assert len(shard_files(finished)) == 6
    made = mcnet.sample(study())
    with mcnet.open(finished) as tree:
        xarray.testing.assert_equal(made["signal"].to_dataset(), tree["signal"].to_dataset())
        xarray.testing.assert_equal(made.to_dataset(), tree.to_dataset())
        assert tree.attrs["scenario_toml"] == (finished / "scenario.toml").read_text()
        np.testing.assert_allclose(tree["input_gram"], [[[1, 0.6], [0.6, 1]]] * 2, rtol=1e-14)
        host = tree["quality/host"].values
        assert (host != "").all()
        assert tree["quality/cpu_seconds"].values.min() >= 0


def test_four_workers_and_two_parts_make_the_same(finished: Path, tmp_path: Path) -> None:
    four = mcnet.run(study(), tmp_path / "four", workers=4, quiet=True)
    assert digest(four) == digest(finished)
    for part in ("2/2", "1/2"):  # the first one helps the other and leaves nothing to do
        mcnet.run(study(), tmp_path / "parts", part=part, workers=1, quiet=True)
    assert digest(tmp_path / "parts") == digest(finished)
    content = {name: shard.verify(four / "shards" / name)[0].sha256 for name in shard_files(four)}
    assert content == {name: shard.verify(finished / "shards" / name)[0].sha256 for name in shard_files(finished)}


def test_another_seed_is_another_content(finished: Path, tmp_path: Path) -> None:
    other = mcnet.run(study(seed=6), tmp_path / "other", workers=1, quiet=True)
    assert digest(other) != digest(finished)


def test_statistics_do_not_depend_on_the_batch() -> None:
    one, other = (mcnet.sample(study(batch=batch))["signal"].to_dataset() for batch in (7, 40))
    xarray.testing.assert_equal(one, other)


def test_again_changes_nothing(finished: Path, tmp_path: Path) -> None:
    run = copy_of(finished, tmp_path / "run")
    before, packed = shard_files(run), (run / "dataset.h5").stat().st_mtime_ns
    mcnet.run(study(), run, workers=1, quiet=True)
    driver.resume(run, workers=1, quiet=True)
    assert shard_files(run) == before
    assert (run / "dataset.h5").stat().st_mtime_ns == packed


def test_a_run_grows_and_keeps_its_shards(finished: Path, tmp_path: Path) -> None:
    run = copy_of(finished, tmp_path / "run")
    before = shard_files(run)
    mcnet.run(study(widths=(8, 12, 16), networks=50), run, workers=1, quiet=True)
    after = shard_files(run)
    assert before.items() <= after.items()
    assert len(after) == 6 + 2 + 4
    with mcnet.open(run) as tree, mcnet.open(finished) as old:
        assert tree["width"].values.tolist() == [8, 12, 16]
        assert tree["n_networks"].values.tolist() == [50, 50, 50]
        np.testing.assert_array_equal(tree["signal/q"].values[[0, 2], :40], old["signal/q"].values)
        fresh = mcnet.sample(study(widths=(8, 12, 16), networks=50, batch=50))  # the same networks in other shards
        np.testing.assert_array_equal(tree["signal/q"].values, fresh["signal/q"].values)


def test_another_plan_is_refused_and_nothing_touched(finished: Path) -> None:
    before = (finished / "plan.json").read_bytes(), (finished / "scenario.toml").read_bytes(), shard_files(finished)
    for changed, told in (
        (study(seed=7), "sampling.seed 5 -> 7"),
        (study(batch=8), "sampling.batch 16 -> 8"),
        (study(networks=30), "sampling.networks 40 -> 30; it may grow, not shrink"),
        (study(widths=(8,)), "width 8, 16 -> 8"),
        ({**study(), "measure": {"q": {}}}, r"measure.c \{\} -> \(absent\)"),
    ):
        with pytest.raises(DataError, match=rf"was made by another plan \({told}\)"):
            mcnet.run(changed, finished, workers=1, quiet=True)
    assert before == (
        (finished / "plan.json").read_bytes(),
        (finished / "scenario.toml").read_bytes(),
        shard_files(finished),
    )


def test_directories_that_are_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no run directory \(it holds no plan\.json\)"):
        driver.resume(tmp_path)
    with pytest.raises(DataError, match="is no run directory"):
        status.status(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        mcnet.run(study(), tmp_path / "file")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / shard.shard_name("0" * 16, 0, 4)).touch()
    with pytest.raises(DataError, match=r"holds shards but no plan\.json"):
        mcnet.run(study(), tmp_path, workers=1)


def test_wrong_options(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"workers": 0}, "must be at least 1"),
        ({"executor": "ray"}, 'executor "ray" is not known'),
        ({"part": "3/2"}, "i from 1 to n"),
        ({"plugins": ["no_such_module"]}, "there is no such module"),
    ]
    for options, message in wrong:
        with pytest.raises(UsageError, match=message):
            mcnet.run(study(), tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="networks = 0"):
        mcnet.sample(study(), networks=0)
    with pytest.raises(UsageError, match=r"seed = -1: must be a whole number from 0 to 2\^64 - 1"):
        mcnet.sample(study(), seed=-1)


def test_damaged_shards_are_drawn_again(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = copy_of(finished, tmp_path / "run")
    first, second, third, *_ = sorted((run / "shards").iterdir())
    os.truncate(first, 700)
    raw = bytearray(second.read_bytes())
    raw[2000] ^= 4
    second.write_bytes(raw)
    third.unlink()
    state = status.status(run)
    assert (state["shards"], state["complete"], len(state["damaged"])) == (4, False, 1)  # headers alone
    report = status.verify(run)
    assert (report["good"], report["missing"], len(report["damaged"])) == (3, 1, 2)
    driver.resume(run, workers=1)
    told = capsys.readouterr().err
    assert f"{second}: checksum differs. Moved to *.bad; 16 networks will be drawn again." in told
    assert f"{first}: holds 700 of" in told
    assert digest(run) == digest(finished)
    assert len(list((run / "shards").glob("*.bad"))) == 2
    events = [json.loads(line)["event"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert events[-4:] == ["damaged", "damaged", "begin", "packed"]


def test_overlapping_ranges_stop_the_program(finished: Path, tmp_path: Path) -> None:
    run = copy_of(finished, tmp_path / "run")
    plan = runfiles.load_plan(run)
    (run / "shards" / shard.shard_name(plan.points[0].key, 8, 24)).touch()
    for action in (driver.resume, driver.pack, status.status, status.verify):
        with pytest.raises(DataError, match="holds networks that the plan draws in other ranges"):
            action(run)
    (run / "shards" / shard.shard_name(plan.points[0].key, 8, 24)).rename(
        run / "shards" / shard.shard_name(plan.points[0].key, 40, 56)
    )
    for action in (driver.resume, driver.pack, status.status, status.verify):
        with pytest.raises(DataError, match=r"holds networks that the plan does not draw \(1 such shard\)"):
            action(run)


def test_status(finished: Path) -> None:
    state = status.status(finished)
    assert (state["shards"], state["shards_planned"], state["networks"], state["networks_planned"]) == (6, 6, 80, 80)
    assert (state["complete"], state["dataset"], state["pruned"], state["damaged"]) == (True, True, False, [])
    assert [point["parameters"]["width"] for point in state["points"]] == [8, 16]
    assert [point["networks"] for point in state["points"]] == [40, 40]
    assert state["seconds_since_last"] >= 0


def test_what_is_light_stays_light(finished: Path) -> None:
    code = (
        "import sys, mcnet; mcnet.__version__; dir(mcnet)\n"
        "heavy = ('numpy', 'numba', 'scipy', 'h5py', 'xarray', 'pydantic', 'rich', 'matplotlib')\n"
        "assert not set(heavy) & set(sys.modules), set(heavy) & set(sys.modules)\n"
        "from mcnet.engine import status; assert status.status(sys.argv[1])['complete']\n"
        "assert not set(heavy) & set(sys.modules), set(heavy) & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(finished)], check=True)
    with pytest.raises(AttributeError, match="nothing"):
        _ = mcnet.nothing


def test_verify_draws_again(finished: Path, tmp_path: Path) -> None:
    report = status.verify(finished, recompute=2)
    assert (report["recomputed"], report["identical"], report["verdict"]) == (2, 2, "identical")
    run = copy_of(finished, tmp_path / "run")
    plan = runfiles.load_plan(run)
    for scale, verdict in ((1 + 1e-6, "within rounding"), (1.1, "different")):
        for task in plan.tasks:
            name = shard.shard_name(plan.points[task.point_index].key, task.start, task.stop)
            with shard.open_shard(finished / "shards" / name) as file:
                forged = [(variable, data[...] * scale) for variable, data in shard.variables(file)]
            content = shard.build(forged, task.start, task.stop, {})  # type: ignore[arg-type]
            _, record = shard.seal(content, plan.points[task.point_index].key, task.start, task.stop, plan.digest, {})
            files.commit(run / "shards", name, [content, record])
        report = status.verify(run, recompute=1)
        assert (report["good"], report["verdict"]) == (6, verdict)
        assert report["largest_difference"] == pytest.approx(scale - 1, rel=0.2)


def test_prune_keeps_what_it_cannot_prove(finished: Path, tmp_path: Path) -> None:
    run = copy_of(finished, tmp_path / "run")
    whole = (run / "dataset.h5").read_bytes()
    place = whole.find(np.float64(0.6).tobytes())
    (run / "dataset.h5").write_bytes(whole[: place + 3] + b"\x07" + whole[place + 4 :])
    with pytest.raises(DataError, match=r"is damaged.*Nothing was removed"):
        status.prune(run)
    (run / "dataset.h5").write_bytes(whole)
    gone = next((run / "shards").iterdir())
    raw = gone.read_bytes()
    gone.unlink()
    with pytest.raises(DataError, match="1 of 6 shards are missing; nothing was removed"):
        status.prune(run)
    gone.write_bytes(raw)
    assert status.prune(run) == 6
    assert shard_files(run) == {}
    assert status.prune(run) == 0
    state = status.status(run)
    assert (state["complete"], state["pruned"], state["networks"]) == (True, True, 80)
    assert status.verify(run)["good"] == 6
    with pytest.raises(UsageError, match="was pruned"):
        status.verify(run, recompute=1)
    driver.resume(run)
    mcnet.run(study(), run)
    assert (run / "dataset.h5").read_bytes() == whole
    assert driver.pack(run)["content_digest"] == digest(finished)
    with pytest.raises(DataError, match="was pruned, its shards are gone; it cannot grow"):
        mcnet.run(study(networks=50), run)
    (run / "dataset.h5").write_bytes(whole[: place + 3] + b"\x07" + whole[place + 4 :])
    assert len(status.verify(run)["damaged"]) == 1


PLUGIN = """
from mcnet.activations import register
print("a plug-in that talks")
register("square-root", lambda u, m: {factor} * m.sqrt(1 + u * u) - 1, lambda u, m: {factor} * u / m.sqrt(1 + u * u))
"""


def test_plugins_reach_workers_and_resumed_runs(tmp_path: Path) -> None:
    """In processes of their own: an activation once registered stays."""
    (tmp_path / "myphi.py").write_text(PLUGIN.format(factor="1.0"))
    scenario = study()
    scenario["network"]["activation"] = "square-root"
    scenario["sampling"]["sampler"] = "explicit"  # needs no compiled chain
    code = (
        "import json, mcnet, sys; from mcnet import engine\n"
        "mcnet.run(json.loads(sys.argv[1]), 'run', plugins=['myphi'], workers=2, quiet=True)\n"
    )
    again = "from mcnet import engine; engine.resume('run', workers=1, quiet=True)"

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", *arguments], cwd=tmp_path, capture_output=True, text=True)

    assert python(code, json.dumps(scenario)).returncode == 0
    before = digest(tmp_path / "run")
    next((tmp_path / "run" / "shards").iterdir()).unlink()
    assert python(again).returncode == 0
    assert digest(tmp_path / "run") == before
    (tmp_path / "myphi.py").write_text(PLUGIN.format(factor="2.0"))
    refused = python(again)
    assert 'the activation "square-root" was another formula when this run began' in refused.stderr


def test_a_disk_too_small_is_refused_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DiskError, match=r"about \d+ kB are needed and 1\.0 kB are free; nothing was run"):
        mcnet.run(study(), tmp_path / "run", workers=1, quiet=True)
    assert not (tmp_path / "run").exists()


def test_numbers_that_overflow_stop_the_run(tmp_path: Path) -> None:
    scenario = study()
    scenario["network"] |= {"activation": "linear", "sigma_w2": 1e6, "depth": 60}
    scenario["sampling"]["sampler"] = "explicit"
    with pytest.raises(McnetError, match=r"is not finite .* at width (8|16), depth 60"):
        mcnet.run(scenario, tmp_path / "run", workers=2, quiet=True)
    assert not list((tmp_path / "run" / "shards").iterdir())


def test_progress_lines(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Progress(planned=10, done=2, cost=8.0, quiet=False, clock=lambda: now[0]) as progress:
        assert progress.line() == "shards 2/10"
        now[0] = LINE_SECONDS / 2
        progress.advance(1000, 1.0)
        assert capsys.readouterr().err == ""
        now[0] = LINE_SECONDS
        progress.advance(500, 3.0)
    expected = "shards 4/10  networks 1 500  50 networks/s  ETA 0:30\n"
    assert capsys.readouterr().err == expected * 2  # when the time had come, and at the end
    with Progress(planned=1, done=0, cost=1.0, quiet=True, clock=lambda: now[0]) as progress:
        now[0] += 2 * LINE_SECONDS
        progress.advance(5, 1.0)
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(planned=2, done=0, cost=2.0, quiet=False) as progress:
        progress.advance(7, 1.0)
        progress.advance(7, 1.0)
    assert "shards 2/2  networks 14" in capsys.readouterr().err


def test_long_lists_tell_how_far_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    for item in counted(range(4), "points", quiet=False, clock=lambda: now[0]):
        assert item in range(4)
        now[0] += 20.0
    assert capsys.readouterr().err == "points 2/4  0.05/s  ETA 0:40\n"
    assert list(counted([1, 2], "points", quiet=True, clock=lambda: now.append(0.0) or 100.0 * len(now))) == [1, 2]
    assert capsys.readouterr().err == ""
