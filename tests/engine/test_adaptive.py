"""Adaptive sampling: the allocation is the best there is, the intervals cover, kills and growth change nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
from mcnet_analysis import analyze, report
from numpy.typing import NDArray
from warm import ADAPTIVE

import mcnet
from mcnet.engine import adaptive, driver, status
from mcnet.engine.adaptive import ROUNDS, SLACK, Statistics, decide
from mcnet.errors import DataError, ScenarioError, UsageError
from mcnet.plan import allocation
from mcnet.plan.allocation import LEAST
from mcnet.plan.format import sealed
from mcnet.storage import directory as runfiles
from mcnet.storage import rounds, shard

Floats = NDArray[np.float64]
WIDTHS = (32, 64, 128, 256, 512, 1024)


# The allocation.


def test_the_design_of_variance_1_over_m_and_cost_m() -> None:
    """Elfving: 20 % of the cost at the smallest width and 80 % at the next, none elsewhere."""
    m = np.array(WIDTHS, float)
    shares = allocation.optimal_shares(m, 1 / m, m, (1, 2))
    np.testing.assert_allclose(shares, [0.2, 0.8, 0, 0, 0, 0], atol=0.01)


@pytest.mark.parametrize("orders", [(1,), (1, 2), (0, 1), (0, 1, 2)])
def test_no_other_design_is_better(orders: tuple[int, ...]) -> None:
    """Against the error of 4000 random designs, many of them with few widths."""
    rng = np.random.default_rng(1)
    m = np.array(WIDTHS, float)
    variances, costs = rng.uniform(0.5, 2, 6) / m, m ** rng.uniform(0.5, 2)

    def error(shares: Floats) -> Floats:
        counts = 1e6 * np.maximum(shares, 1e-9) / costs
        return allocation.coefficient(m, np.zeros_like(counts), variances, counts, orders).error

    best = error(allocation.optimal_shares(m, variances, costs, orders))
    others = error(rng.dirichlet(np.full(6, 0.3), 4000))
    assert np.all(best <= others * 1.002)
    assert np.min(others) < 1.3 * best  # they come near


def test_the_coefficient_is_that_of_weighted_least_squares() -> None:
    rng = np.random.default_rng(2)
    m, mean, variance = np.array(WIDTHS, float), rng.normal(size=6), rng.uniform(1, 2, 6)
    networks = rng.integers(100, 1000, 6)
    found = allocation.coefficient(m, mean, variance, networks, (0, 1, 2))
    fit, covariance = np.polyfit(1 / m, mean, 2, w=np.sqrt(networks / variance), cov="unscaled")
    rest = (mean - np.polyval(fit, 1 / m)) * np.sqrt(networks / variance)
    assert found.value == pytest.approx(fit[1], rel=1e-9)
    assert found.error == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-9)
    assert (found.chi2, found.dof) == (pytest.approx((rest**2).sum(), rel=1e-9), 3)


@pytest.mark.parametrize("orders", [(1, 2), (0, 1, 2)])
def test_networks_reach_the_error_and_no_more(orders: tuple[int, ...]) -> None:
    m = np.array(WIDTHS, float)
    counts = allocation.networks_for_coefficient(m, 1 / m, m, orders, 0.01, np.zeros(6), 10**9)
    error = allocation.coefficient(m, np.zeros(6), 1 / m, counts, orders).error
    assert 0.98 * 0.01 < error <= 0.01
    share = counts * m / (counts @ m)
    empty = allocation.optimal_shares(m, 1 / m, m, orders) == 0
    assert share[empty].sum() == pytest.approx(allocation.RESERVE, rel=0.05)
    have = np.array([5, 10**7, 0, 0, 0, 0])
    grown = allocation.networks_for_coefficient(m, 1 / m, m, orders, 0.01, have, 3 * 10**5)
    assert np.all(grown >= np.maximum(have, LEAST))
    assert np.all(grown <= np.maximum(have, 3 * 10**5))


# The intervals, on studies whose truth is known.


def sampled(rng: np.random.Generator, networks: NDArray[np.int64], mean: Floats, variance: Floats) -> Floats:
    """Number, mean and sum of squared deviations of samples of normal numbers."""
    means = mean + np.sqrt(variance / np.maximum(networks, 1)) * rng.normal(size=networks.shape)
    squares = variance * rng.chisquare(np.maximum(networks - 1, 1)) * (networks > 1)
    return np.array([networks, means, squares])


def joined(a: Floats, b: Floats) -> Floats:
    count = a[0] + b[0]
    step, part = b[1] - a[1], b[0] / np.maximum(count, 1)
    return np.array([count, a[1] + part * step, a[2] + b[2] + step**2 * a[0] * part])


def simulated(
    seed: int, widths: tuple[int, ...], mean: Floats, variance: Floats, relative_error: float, limit: float | None
) -> tuple[adaptive.Decision, int]:
    """4000 studies to their end, as the engine carries them out: the pilot is thrown away, rounds are added."""
    rng = np.random.default_rng(seed)
    m = np.array(widths, float)
    mean, variance = np.broadcast_to(mean, (4000, m.size)), np.broadcast_to(variance, (4000, m.size))
    pilot = sampled(rng, np.full(mean.shape, LEAST), mean, variance)
    result = np.zeros_like(pilot)
    alive = np.ones(4000, bool)
    for number in range(ROUNDS + 1):
        known = np.where(result[0] >= LEAST, result, joined(pilot, result))
        statistics = Statistics(
            known[1],
            known[2] / (known[0] - 1),
            known[0].astype(int),
            result[0].astype(int),
            np.broadcast_to(m, mean.shape),
        )
        decision = decide(
            statistics, relative_error, 10**9, None if m.size == 1 else widths, limit, number == ROUNDS - 1
        )
        more = np.where(alive[:, None], decision.networks - result[0].astype(int), 0)
        alive &= (more > 0).any(-1)
        if number == ROUNDS or not alive.any():
            break
        result = np.where(more > 0, joined(result, sampled(rng, more, mean, variance)), result)
    return decision, number


@pytest.mark.parametrize("limit", [0.6, None], ids=["limit known", "limit fitted"])
def test_intervals_of_the_coefficient_cover(limit: float | None) -> None:
    """0.68 of the intervals of one standard error hold the truth; 4000 studies tell it to 0.007."""
    m = np.array((32, 64, 128, 256, 512), float)
    decision, number = simulated(1, (32, 64, 128, 256, 512), 0.6 - 0.4 / m + 1 / m**2, 0.2 / m, 0.1, limit)
    z = (decision.estimate.value + 0.4) / decision.estimate.error
    assert np.mean(np.abs(z) < 1) == pytest.approx(0.683, abs=0.03)
    assert np.mean(np.abs(z) < 2) == pytest.approx(0.954, abs=0.02)
    assert number <= ROUNDS
    assert np.mean(decision.reached) > 0.97
    error = decision.estimate.error / np.abs(decision.estimate.value)
    assert np.all(error[decision.reached] <= (1 + SLACK) * 0.1)
    assert abs(np.mean(decision.estimate.value) / -0.4 - 1) < 0.03


def test_intervals_of_the_mean_cover() -> None:
    decision, _ = simulated(2, (64,), np.array([0.5]), np.array([4.0]), 0.1, None)
    z = (decision.estimate.value - 0.5) / decision.estimate.error
    assert np.mean(np.abs(z) < 1) == pytest.approx(0.683, abs=0.03)
    assert np.mean(decision.reached) > 0.97


def test_the_check_rejects_stopping_at_each_look() -> None:
    """What the rounds avoid: drawing network after network until the error looks small enough."""
    rng = np.random.default_rng(3)
    values = 0.5 + 2 * rng.normal(size=(4000, 1000))
    count = np.arange(1, 1001)
    mean = np.cumsum(values, 1) / count
    error = np.sqrt(np.maximum(np.cumsum(values**2, 1) / count - mean**2, 0) / count)
    done = (error <= 0.3 * np.abs(mean)) & (count >= 5)
    stop = np.where(done.any(1), done.argmax(1), -1)
    z = np.array([(mean[row, place] - 0.5) / error[row, place] for row, place in enumerate(stop)])
    assert np.mean(np.abs(z) < 1) < 0.683 - 0.03


# The driver.


def digest(directory: Path) -> str:
    with mcnet.open(directory) as tree:
        return str(tree.attrs["content_digest"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; not to be changed."""
    return mcnet.run(ADAPTIVE, tmp_path_factory.mktemp("adaptive") / "run", workers=1, quiet=True)


def test_a_run_reaches_its_target(finished: Path) -> None:
    """The error in the rounds is that of the networks in the dataset, computed here from scratch."""
    past = rounds.read(finished)
    assert past[-1]["final"]
    assert 2 <= len(past) <= ROUNDS + 1
    result = past[-1]["results"][0]
    limit = next(iter(past[-1]["target"]["limits"].values()))
    with mcnet.open(finished) as tree:
        m, n = tree["width"].values.astype(float), tree["n_networks"].values
        assert tree.attrs["pilot_networks"] == LEAST
        starts = tree["quality/start"].values
        assert starts[:, 0].tolist() == [LEAST] * 3  # the pilot is no part of it
        values = [tree["signal/c"].values[i, :count, 0, 2] for i, count in enumerate(n)]
    mean, variance = np.array([v.mean() for v in values]), np.array([v.var(ddof=1) for v in values])
    fit, covariance = np.polyfit(1 / m, m * (mean - limit), 1, w=np.sqrt(n / variance) / m, cov="unscaled")
    assert (result["value"], result["error"]) == pytest.approx((fit[1], np.sqrt(covariance[1, 1])), rel=1e-6)
    assert result["reached"]
    assert result["error"] <= (1 + SLACK) * 0.2 * abs(result["value"])
    assert n.tolist() == [past[-2]["networks"].get(key, 0) - LEAST for key in past[-1]["points"]]
    assert len(result["without_smallest"]) == 2


def test_status_tells_the_target(finished: Path) -> None:
    state = status.status(finished)
    assert state["complete"]
    assert state["target"]["asked"]["relative_error"] == 0.2
    assert state["target"]["outcome"].startswith("target reached: 1/M coefficient of c at layer 2 = ")
    assert state["target"]["rounds"] == len(rounds.read(finished))


def test_the_analysis_and_the_report_tell_the_allocation(finished: Path) -> None:
    target = analyze.analyze(finished)["target"]
    last = rounds.read(finished)[-1]["results"][0]
    assert target["results"][0]["value"] == pytest.approx(last["value"], rel=1e-9)
    assert target["results"][0]["relative_error"] == pytest.approx(last["error"] / abs(last["value"]), rel=1e-9)
    with mcnet.open(finished) as tree:
        assert target["results"][0]["networks"] == tree["n_networks"].values.tolist()
    page = report.write(finished).read_text()
    assert "Adaptive sampling: allocation and error" in page
    assert "Target reached: 1/M coefficient of c at layer 2" in page
    assert "asked for 20 %" in page


def test_parts_decide_the_same_rounds(finished: Path, tmp_path: Path) -> None:
    for part in ("2/2", "1/2"):
        mcnet.run(ADAPTIVE, tmp_path / "parts", part=part, workers=1, quiet=True)
    assert digest(tmp_path / "parts") == digest(finished)
    assert [one["networks"] for one in rounds.read(tmp_path / "parts")] == [
        one["networks"] for one in rounds.read(finished)
    ]
    with pytest.raises(UsageError, match=r"sampling\.target chooses the networks"):
        mcnet.sample(ADAPTIVE)


def content(directory: Path) -> tuple[dict[str, str], list[rounds.Round]]:
    """Digests of all shards, and the rounds."""
    folder = directory / "shards"
    return {path.name: shard.verify(path)[0].sha256 for path in folder.iterdir()}, rounds.read(directory)


def test_killed_before_any_publication(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 before every file that the run publishes: scenario, plan, shards and rounds; then resumed."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve().parents[1].joinpath("warm.py"))],
        stdin=PIPE,
        stdout=PIPE,
        text=True,
        bufsize=1,
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def ask(line: str) -> int:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(line + "\n")
        return int(server.stdout.readline())

    expected, rounds_cut = content(finished), set()
    packed = {"shards": len(expected[0])}
    monkeypatch.setattr(driver, "pack", lambda directory: packed)  # it takes a process of its own; at the end, once
    for number in range(1, 100):
        run = tmp_path / str(number)
        ask(f"die {run} {number}")
        killed = ask("wait") != 0
        if killed and (run / "plan.json").exists():
            rounds_cut.add(len(rounds.read(run)))
            driver.resume(run, workers=1, quiet=True)
        elif killed:
            mcnet.run(ADAPTIVE, run, workers=1, quiet=True)
        assert content(run) == expected
        assert not list(run.rglob("*.tmp"))
        if not killed:
            break
        if number == 7:
            monkeypatch.undo()
            driver.resume(run, workers=1, quiet=True)
            assert digest(run) == digest(finished)
            monkeypatch.setattr(driver, "pack", lambda directory: packed)
    server.stdin.close()
    server.wait()
    server.stdout.close()
    assert rounds_cut == set(range(len(rounds.read(finished))))  # before the first, ..., before the last was written


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"observable": "cc"}, 'sampling.target.observable: "cc" is not measured. Did you mean "c"?'),
        ({"observable": "q", "limit": "theory"}, 'sampling.target.observable: "q" is not measured'),
        ({"layer": 9}, "sampling.target.layer: 9 lies beyond the depth 2"),
        ({"max_networks": 10}, "sampling.target.max_networks: must be at least 64, got 10"),
        ({"relative_error": 0.0}, "sampling.target.relative_error: must be greater than 0"),
        ({"coefficient": "mean"}, 'sampling.target.limit: has no meaning for coefficient = "mean"'),
    ],
)
def test_what_cannot_be_asked_is_refused_before(change: dict[str, object], told: str, tmp_path: Path) -> None:
    scenario = {**ADAPTIVE, "sampling": {"seed": 5, "target": {**ADAPTIVE["sampling"]["target"], **change}}}
    with pytest.raises(ScenarioError) as caught:
        mcnet.run(scenario, tmp_path / "run", quiet=True)
    assert told in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_limit_that_theory_does_not_have_is_refused(tmp_path: Path) -> None:
    scenario = {**ADAPTIVE, "inputs": {"kind": "gaussian", "count": 2}}
    with pytest.raises(
        ScenarioError, match=r"target.limit: is known for q, q_hat, c of inputs of kind single and pair"
    ):
        mcnet.run(scenario, tmp_path / "run", quiet=True)


def test_beyond_the_networks_allowed(tmp_path: Path) -> None:
    """Refused once the pilot has shown it, before more is drawn; a larger number goes on from there."""
    few = {**ADAPTIVE, "sampling": {"seed": 5, "target": {**ADAPTIVE["sampling"]["target"], "max_networks": 70}}}
    with pytest.raises(UsageError, match=r"an error of 20 % lies beyond max_networks = 70 \(widths 16 to 64.*at best"):
        mcnet.run(few, tmp_path / "run", workers=1, quiet=True)
    assert status.status(tmp_path / "run")["networks"] == 3 * LEAST
    with pytest.raises(UsageError, match="lies beyond"):
        driver.resume(tmp_path / "run", workers=1, quiet=True)
    run = mcnet.run(ADAPTIVE, tmp_path / "run", workers=1, quiet=True)
    assert status.status(run)["complete"]


def test_a_smaller_error_grows_the_run(finished: Path, tmp_path: Path) -> None:
    run = mcnet.run(ADAPTIVE, tmp_path / "run", workers=1, quiet=True)
    before = {path.name: path.read_bytes() for path in (run / "shards").iterdir()}
    smaller = {**ADAPTIVE["sampling"]["target"], "relative_error": 0.1}
    mcnet.run({**ADAPTIVE, "sampling": {"seed": 5, "target": smaller}}, run, workers=1, quiet=True)
    assert before.items() <= {path.name: path.read_bytes() for path in (run / "shards").iterdir()}.items()
    assert "asked for 10 %" in status.status(run)["target"]["outcome"]
    with pytest.raises(DataError, match=r"was made by another plan \(sampling.target -> networks\)"):
        mcnet.run({**ADAPTIVE, "sampling": {"seed": 5, "networks": 100}}, run, workers=1, quiet=True)


def test_rounds_that_were_changed_are_refused(finished: Path, tmp_path: Path) -> None:
    text = (finished / "rounds" / "0001.json").read_text()
    content = json.loads(text)
    for change in (
        {"round": 2},
        {"networks": {content["points"][0]: 2**40}},
        {"target": {}},
        {"results": [{}]},
        {"statistics": []},
        {"format_version": 3},
        {"plan": "0" * 64},
    ):
        (tmp_path / "rounds").mkdir(exist_ok=True)
        (tmp_path / "plan.json").write_bytes((finished / "plan.json").read_bytes())
        (tmp_path / "rounds" / "0001.json").write_text(sealed(json.dumps({**content, **change})))
        with pytest.raises(DataError, match=r"0001\.json|another plan"):
            runfiles.plan_document(tmp_path)
