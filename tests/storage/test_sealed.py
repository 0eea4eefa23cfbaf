"""What decides how many networks count: no flipped bit of a plan or a round is believed, no shard beyond it ignored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from studies import resealed, study

import mcnet
from mcnet.commands.cli import main
from mcnet.errors import DataError
from mcnet.plan.format import sealed, unsealed
from mcnet.plan.plan import Plan
from mcnet.storage import directory, rounds
from mcnet.storage.scan import scan
from mcnet.storage.shard import ShardName, read_header

TARGET = {"observable": "q", "coefficient": "mean", "limit": "free", "keep_pilot": False, "relative_error": 0.1}
TARGET |= {"max_networks": 1000, "layer": None, "limits": None}
ROUND = {
    "format": rounds.FORMAT,
    "format_version": rounds.FORMAT_VERSION,
    "round": 1,
    "plan": "0" * 64,
    "target": TARGET,
    "points": ["a" * 16],
    "statistics": [{"cost": 1.0}],
    "results": [],
    "networks": {"a" * 16: 512},
    "final": False,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mcnet.run(study(networks=48), tmp_path_factory.mktemp("runs") / "run", workers=1, quiet=True)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def tried(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert "internal error" not in done.stderr
    return done.exit_code, done.stderr


def flipped(raw: bytes, place: int) -> bytes:
    changed = bytearray(raw)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def test_every_flipped_bit_of_a_plan_is_seen(run: Path) -> None:
    path = run / "plan.json"
    raw = path.read_bytes()
    places = np.unique(np.random.default_rng(3).integers(0, 8 * len(raw), 800))
    for place in [*places.tolist(), *range(8 * len(raw) - 800, 8 * len(raw) - 16)]:
        path.write_bytes(flipped(raw, place))
        with pytest.raises(DataError, match=r"plan\.json: "):
            directory.plan_document(run)
    path.write_bytes(raw)
    directory.plan_document(run)


def test_every_flipped_bit_of_a_round_is_seen(tmp_path: Path) -> None:
    rounds.publish(tmp_path, ROUND)
    assert rounds.read(tmp_path) == [ROUND]
    path = tmp_path / "rounds" / "0001.json"
    raw = path.read_bytes()
    for place in range(0, 8 * len(raw) - 16, 3):
        path.write_bytes(flipped(raw, place))
        with pytest.raises(DataError, match=r"0001\.json: "):
            rounds.read(tmp_path)


@pytest.mark.parametrize("words", [("status",), ("verify",), ("pack",), ("resume", "--workers", "1")])
def test_fewer_networks_are_not_a_complete_run(run: Path, words: tuple[str, ...]) -> None:
    """Whether the checksum betrays it, or the shards that are there do (an older plan was put back)."""
    text = (run / "plan.json").read_text()
    assert '"stops": [48]' in text
    fewer = text.replace('"stops": [48]', '"stops": [16]', 1)
    (run / "plan.json").write_text(fewer)
    code, told = tried(words[0], run, *words[1:])
    assert (code, "its checksum differs" in told) == (65, True), told
    (run / "plan.json").write_text(resealed(fewer))
    before = sorted(path.name for path in run.rglob("*"))
    code, told = tried(words[0], run, *words[1:])
    assert code == 65, told
    assert "holds networks that the plan does not draw (2 such shards)" in told
    assert sorted(path.name for path in run.rglob("*")) == before


def test_a_point_that_was_lost_is_missed(run: Path, tmp_path: Path) -> None:
    document = unsealed((run / "plan.json").read_text(), "")
    document["points"] = document["points"][:1]
    (run / "plan.json").write_text(sealed(json.dumps(document)))
    for words in (("status", run), ("merge", run, "--out", tmp_path / "merged")):
        code, told = tried(*words)
        assert (code, "does not draw (3 such shards)" in told) == (65, True), told


def test_a_run_that_grows_while_it_is_read(run: Path) -> None:
    """Whoever has read the plan before another process let it grow finds shards that he does not know of."""
    old = directory.load_plan(run)
    mcnet.run(study(networks=64), run, workers=1, quiet=True)
    names = [ShardName(p.key, start, start + 16) for p in old.points for start in (0, 16, 32)]
    found = scan(run / "shards", names, old.digest, read_header, lambda header: header.plan).found
    assert found.keys() == set(names)


def test_a_plan_of_today_has_a_checksum(run: Path) -> None:
    document = unsealed((run / "plan.json").read_text(), "")
    for text in (json.dumps(document), json.dumps({**document, "checksum": "0" * 64})):
        (run / "plan.json").write_text(text)
        code, told = tried("status", run)
        assert (code, "its checksum is missing" in told) == (65, True), told
    (run / "plan.json").write_text(json.dumps({**document, "format_version": 1}))  # of a version that had none
    assert tried("status", run)[0] == 0


def test_the_scenario_of_a_run_stands_in_its_plan(run: Path) -> None:
    """A damaged copy of it changes no dataset; where it is the only one (format 1), it is refused."""
    scenario = (run / "scenario.toml").read_text()
    (run / "dataset.h5").unlink()
    (run / "scenario.toml").write_text(scenario.replace("small", "sm\0ll"))
    assert tried("pack", run)[0] == 0
    with mcnet.open(run) as tree:
        assert tree.attrs["scenario_toml"] == scenario
    document: dict[str, Any] = unsealed((run / "plan.json").read_text(), "")
    del document["scenario"]
    (run / "plan.json").write_text(json.dumps({**document, "format_version": 1}))
    (run / "dataset.h5").unlink()
    code, told = tried("pack", run)
    assert (code, "scenario.toml: is damaged: it holds a zero byte" in told) == (65, True), told


def test_a_pruned_run_without_its_dataset(run: Path, finished: Path) -> None:
    assert tried("prune", run, "--quiet")[0] == 0
    done = CliRunner().invoke(main, ["status", str(run), "--json"])
    assert json.loads(done.stdout)["complete"] is True
    (run / "dataset.h5").rename(run / "elsewhere.h5")
    done = CliRunner().invoke(main, ["status", str(run), "--json"])
    state = json.loads(done.stdout)
    assert (done.exit_code, state["complete"], state["shards"], state["networks"]) == (0, False, 0, 0)
    assert state["damaged"] == ["dataset.h5: is gone, and the shards that it held were removed"]
    assert tried("verify", run)[0] == 65
    code, told = tried("resume", run, "--workers", "1")
    assert (code, "was pruned, and its dataset.h5 is gone" in told) == (65, True)
    other = mcnet.run(study(networks=48, seed=6), run.parent / "other", workers=1, quiet=True)
    shutil.copy(other / "dataset.h5", run / "dataset.h5")  # a good one, of another run
    done = CliRunner().invoke(main, ["verify", str(run)])
    assert (done.exit_code, "is not the one that held the shards" in done.stdout) == (65, True)
    (run / "pruned.json").write_text("{")
    assert "pruned.json: is damaged" in CliRunner().invoke(main, ["verify", str(run)]).stdout


def test_the_seal_costs_nothing_in_the_plan(finished: Path) -> None:
    plan = directory.load_plan(finished)
    assert Plan.from_json(plan.to_json()).to_json() == plan.to_json() == (finished / "plan.json").read_text()
