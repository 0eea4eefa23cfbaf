"""The command line: exit codes, messages, output for people and for programs, and what it imports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mcnet.commands.cli import main
from mcnet.commands.directory import value_with_error
from mcnet.commands.text import duration, plural, size, strict, table
from mcnet.theory import mean_field

STUDY = """\
mcnet = 1
title = "small"
[network]
activation = "tanh"
weights = "gaussian"
depth = 3
sigma_b2 = 0.05
[inputs]
kind = "pair"
q0 = 1.0
c0 = 0.6
[sweep]
width = [8, 16]
sigma_w2 = [1.0, 2.0]
[sampling]
networks = 60
batch = 20
[measure]
q = {}
c = {}
"""

HEAVY = ("numpy", "scipy", "numba", "h5py", "xarray", "pydantic", "rich", "matplotlib", "dask", "jinja2")


@pytest.fixture
def mcnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in an empty directory that holds study.toml."""
    (tmp_path / "study.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, list(words))


def python(code: str, folder: Path) -> list[str]:
    """Lines that a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.splitlines()


def loaded(words: list[str], folder: Path) -> set[str]:
    """The heavy libraries that a command has imported."""
    code = f"""
import sys
from mcnet.commands.cli import main
try:
    main({words!r})
except SystemExit as end:
    assert not end.code, end.code
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    return set(json.loads(python(code, folder)[-1].replace("'", '"')))


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    assert loaded(["--help"], tmp_path) == set()
    assert loaded(["run", "--help"], tmp_path) == set()
    assert loaded(["--version"], tmp_path) == set()


@pytest.mark.parametrize("name", list(main.commands))
def test_help_says_what_a_command_does_with_an_example(name: str) -> None:
    told = CliRunner().invoke(main, [name, "--help"]).stdout
    assert re.search(rf"Example:\n +mcnet {name}\b", told)
    (example,) = re.findall(r"Example:\n +mcnet (.*)", told)
    words = example.split(">")[0].split()
    context = main.commands[name].make_context(
        name, words[1:], resilient_parsing=True
    )  # its options are those there are
    assert context.command.name == name


def test_the_life_of_a_run(mcnet: Callable[..., Result], tmp_path: Path) -> None:
    done = mcnet("run", "study.toml", "--out", "run", "--workers", "1", "--device", "cpu", "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "run" / "scenario.toml").read_text() == STUDY

    assert loaded(["status", "run"], tmp_path) == set()
    told = mcnet("status", "run").stdout
    assert re.fullmatch(r"12/12 shards, 0 damaged, last \d+ s ago; complete\n", told)
    status = json.loads(mcnet("status", "run", "--json").stdout)
    assert (status["shards"], status["networks"], status["complete"]) == (12, 240, True)

    again = json.loads(mcnet("resume", "run", "--quiet", "--json", "--workers", "1").stdout)
    assert (again["directory"], again["shards"], again["complete"]) == ("run", 12, True)

    verified = mcnet("verify", "run", "--recompute", "1", "--device", "cpu")
    assert (verified.exit_code, verified.stdout) == (0, "12/12 digests right; 1 shard redrawn: identical\n")

    shard = next((tmp_path / "run" / "shards").glob("*.h5"))
    content = bytearray(shard.read_bytes())
    content[-10] ^= 1
    shard.write_bytes(content)
    broken = mcnet("verify", "run")
    assert broken.exit_code == 65
    assert "11/12 digests right" in broken.stdout
    assert "checksum" in broken.stdout
    assert mcnet("prune", "run").exit_code == 65
    mended = mcnet("resume", "run", "--workers", "1")
    assert mended.exit_code == 0
    assert mcnet("pack", "run").stdout == "run/dataset.h5: 12/12 shards\n"
    assert mcnet("verify", "run").exit_code == 0
    assert "12 shards removed" in mcnet("prune", "run").stdout
    assert "pruned" in mcnet("status", "run").stdout


def test_inspect_tells_means_over_networks(mcnet: Callable[..., Result]) -> None:
    assert mcnet("run", "study.toml", "--out", "run", "--workers", "1", "--quiet").exit_code == 0
    import mcnet as package

    tree = package.open("run")
    words = ("inspect", "run", "--point", "width=16,sigma_w2=2.0", "--var", "q", "--layer", "3", "--json")
    done = mcnet(*words)
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    index = int(np.flatnonzero((tree.coords["width"].values == 16) & (tree.coords["sigma_w2"].values == 2.0))[0])
    for input_, row in enumerate(rows):
        values = tree["signal/q"].values[index, :, input_, 3]
        assert (row["input"], row["layer"], row["networks"]) == (input_, 3, 60)
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert row["error"] == pytest.approx(values.std(ddof=1) / np.sqrt(60), rel=1e-12)
    told = mcnet("inspect", "run").stdout.splitlines()
    assert told[0] == "small: 4 points, 12/12 shards"
    assert told[1].split()[:3] == ["width", "sigma_w2", "variable"]
    assert len(told) == 2 + 4 * 3
    for words, message in (
        (("--var", "qq"), 'variable "qq" is not in run. Did you mean "q"?'),
        (("--point", "widht=8"), 'Did you mean "width"?'),
        (("--point", "width=9"), "width is one of 8, 16"),
        (("--layer", "9"), "the layers are 0 to 3"),
    ):
        wrong = mcnet("inspect", "run", *words)
        assert wrong.exit_code == 64
        assert message in wrong.stderr


def test_analyze_and_report(mcnet: Callable[..., Result], tmp_path: Path) -> None:
    assert mcnet("run", "study.toml", "--out", "run", "--workers", "1", "--quiet").exit_code == 0
    told = mcnet("analyze", "run")
    assert told.exit_code == 0
    assert "comparisons" in told.stdout
    document = json.loads((tmp_path / "run" / "analysis.json").read_text())
    assert document["format"] == "mcnet-analysis-1"
    assert json.loads(mcnet("analyze", "run", "--json").stdout)["summary"] == document["summary"]
    assert mcnet("report", "run").stdout.strip() == "run/report.html"
    assert "<svg" in (tmp_path / "run" / "report.html").read_text()


def test_analyze_says_where_theory_has_no_answer(mcnet: Callable[..., Result]) -> None:
    words = ("--set", "network.activation=tanh", "--set", "sweep.sigma_w2=[1e6]", "--workers", "1", "--quiet")
    assert mcnet("run", "study.toml", "--out", "run", *words).exit_code == 0
    told = mcnet("analyze", "run")
    assert told.exit_code == 0
    assert "nothing predicted: tanh is too rough for the quadrature" in told.stdout


def test_check_tells_the_cost(mcnet: Callable[..., Result]) -> None:
    told = mcnet("check", "study.toml")
    assert told.exit_code == 0
    assert told.stdout.startswith("4 points x 60 networks, 12 shards, about ")
    assert told.stdout.splitlines()[0].endswith("OK")
    result = json.loads(mcnet("check", "study.toml", "--json", "--set", "sampling.networks=61").stdout)
    assert (result["points"], result["networks"], result["shards"], result["ok"]) == (4, 61, 16, True)


def test_check_tells_the_pilot_of_a_target(mcnet: Callable[..., Result]) -> None:
    told = mcnet("check", "adaptive")
    assert told.exit_code == 0
    first, second = told.stdout.splitlines()
    assert first.startswith("5 points x 64 networks (a pilot), 5 shards, about ")
    assert "an error of 5 % of the 1/M coefficient of c at layer 10" in second
    assert "at most 1 000 000 networks at a point" in second
    result = json.loads(mcnet("check", "adaptive", "--json").stdout)
    assert (result["networks"], result["pilot"], result["target"]["relative_error"]) == (None, 64, 0.05)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("check", "none.toml"), 64, "none.toml: there is no such file"),
        (("check", "study.toml", "--set", "network.depth=x"), 64, "--set network.depth=x: network.depth: expected"),
        (("check", "study.toml", "--set", "sampling.networks=4_000_000_000"), 64, "at most 1 000 000 shards"),
        (
            ("check", "study.toml", "--set", "sampling.batch=1_000_000", "--set", "sampling.networks=4_000_000_000"),
            74,
            "on disk",
        ),
        (
            (
                "check",
                "study.toml",
                "--set",
                "inputs={kind='gaussian',count=100_000}",
                "--set",
                "sweep.width=60_000_000",
            ),
            64,
            "of memory",
        ),
        (("run", "study.toml", "--out", "run", "--set", "network.depth=0"), 64, "1 mistake; nothing was run."),
        (("run", "study.toml", "--out", "run", "--device", "cuda:9"), 69, "cuda:9"),
        (("run", "study.toml", "--out", "run", "--device", "tpu"), 64, "tpu"),
        (("run", "study.toml", "--out", "run", "--part", "4/3"), 64, "4/3"),
        (("run", "study.toml", "--out", "run", "--plugin", "no_such_plugin"), 64, "there is no such module"),
        (("run", "study.toml"), 64, "--out"),
        (("status", "nowhere"), 65, "nowhere"),
        (("resume", "."), 65, "."),
        (("chek", "study.toml"), 64, "Did you mean 'check'?"),
        (("check", "study.toml", "--jsn"), 64, "--json"),
        (("check",), 64, "SCENARIO"),
        (("scenarios", "quikstart"), 64, 'Did you mean "quickstart"?'),
    ],
)
def test_mistakes_end_with_their_exit_code_and_a_message(
    mcnet: Callable[..., Result], words: tuple[str, ...], code: int, message: str
) -> None:
    done = mcnet(*words)
    assert done.exit_code == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path().glob("run/shards/*"))


def test_mistakes_of_a_scenario_on_stderr_with_place(mcnet: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(STUDY.replace('"tanh"', '"tahn"').replace("60", '"4k"'))
    done = mcnet("check", "bad.toml")
    assert done.exit_code == 64
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith('bad.toml:4:14: network.activation: "tahn" is not known. Did you mean "tanh"?')
    assert 'bad.toml:16:12: sampling.networks: expected an integer, got the text "4k". Write 4096.' in lines
    assert lines[-1] == "2 mistakes; nothing was run."


def test_debug_shows_the_traceback_and_keeps_the_exit_code(
    mcnet: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = mcnet("check", "none.toml", "--debug")
    assert done.exit_code == 64
    assert "Traceback" in done.stderr

    def broken() -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("mcnet.scenario.shipped.titles", broken)
    done = mcnet("scenarios")
    assert done.exit_code == 70
    assert (
        done.stderr == "internal error: RuntimeError: two\nThis is a fault of mcnet. For its traceback add --debug.\n"
    )
    done = mcnet("--debug", "scenarios")
    assert done.exit_code == 70
    assert "Traceback" in done.stderr


LINEARISED = ("network.outputs=2", "measure.ntk={}", "measure.fim={}", "measure.jacobian={}")


def test_theory_without_sampling(mcnet: Callable[..., Result]) -> None:
    words = [word for change in LINEARISED for word in ("--set", change)]
    result = json.loads(mcnet("theory", "study.toml", "--json", *words).stdout)
    assert len(result["points"]) == 4
    for entry in result["points"]:
        point, laws = entry["point"], entry["mean_field"]
        variances = (point["sigma_w2"], point["sigma_b2"])
        assert laws["q_star"] == pytest.approx(mean_field.fixed_length("tanh", *variances), rel=1e-12)
        assert laws["chi_1"] == pytest.approx(mean_field.chi_1("tanh", *variances), rel=1e-12)
        assert laws["phase"] == ("ordered" if laws["chi_1"] < 1 else "chaotic")
        expansion = entry["finite_width"]
        assert expansion["q"]["limit"] == pytest.approx(
            mean_field.lengths("tanh", *variances, 1.0, 3).tolist(), rel=1e-9
        )
        assert expansion["c"]["limit"] == pytest.approx(
            mean_field.correlations("tanh", *variances, 1.0, 0.6, 3).tolist(), rel=1e-9
        )
        # layer 1 is exact: u has independent components, so Var q = 2 q^2 / M and E q has no 1/M
        assert expansion["q"]["v1"][0] == pytest.approx(2 * expansion["q"]["limit"][0] ** 2, rel=1e-9)
        assert expansion["q"]["a1"][0] == pytest.approx(0, abs=1e-12)
        fisher = entry["fisher"]
        assert fisher["lambda_max_biases"] > fisher["lambda_max"]
        assert fisher["learning_rate_bound"] == pytest.approx(2 / fisher["lambda_max_biases"])
        moments = entry["jacobian"]["moments"]
        assert moments[1] > moments[0] ** 2
        assert 0 <= entry["jacobian"]["lambda_min"] < entry["jacobian"]["lambda_max"]
    text = mcnet("theory", "study.toml", *words).stdout
    for title in ("Mean field", "Finite width", "Fisher information matrix", "Jacobian"):
        assert title in text


def test_theory_says_what_it_cannot(mcnet: Callable[..., Result]) -> None:
    told = mcnet(
        "theory",
        "study.toml",
        "--set",
        "network.activation=relu",
        "--set",
        "sweep.sigma_w2=3.0",
        "--set",
        "network.weights=uniform",
    ).stdout
    assert "no mean field: " in told
    assert "no finite width: no 1/M theory for uniform weights" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("fim_lambda_max", "inputs.dimension=10"), "no fisher: the formulas are for inputs.dimension = width"),
        (("fim_lambda_max", "network.parameterization=ntk"), 'for parameterization = "standard", not "ntk"'),
        (("linear_products", "inputs.dimension=10"), "no jacobian: the laws are those of square matrices"),
        (("conjugate_kernel", "inputs.dimension=10"), "no conjugate_kernel: the laws are those of square matrices"),
    ],
)
def test_theory_of_another_network_is_not_shown(
    mcnet: Callable[..., Result], words: tuple[str, str], told: str
) -> None:
    assert told in mcnet("theory", words[0], "--set", words[1]).stdout


def test_plugins_reach_the_scenario_and_the_resumed_run(mcnet: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "my_cli_phi.py").write_text(
        "from mcnet.activations import register\n"
        "register('cli-root', lambda u, m: m.sqrt(1 + u * u) - 1, lambda u, m: u / m.sqrt(1 + u * u))\n"
    )
    words = ["--plugin", "my_cli_phi", "--set", "network.activation=cli-root", "--set", "sampling.networks=8"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; from mcnet.commands.cli import main; main(sys.argv[1:])"
        return subprocess.run(
            [sys.executable, "-c", code, *more], capture_output=True, text=True, cwd=tmp_path, check=False
        )

    done = run("run", "study.toml", "--out", "run", "--quiet", "--workers", "1", *words)
    assert done.returncode == 0, done.stderr
    done = run("resume", "run", "--quiet", "--json", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["complete"]
    done = run("analyze", "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fits"]
    done = run("report", "run")
    assert done.returncode == 0, done.stderr


def test_scenarios_are_listed_printed_and_found_by_name(mcnet: Callable[..., Result]) -> None:
    listed = mcnet("scenarios").stdout
    names = [line.split()[0] for line in listed.splitlines()]
    assert "quickstart" in names
    for name in names:
        assert tomllib.loads(mcnet("scenarios", name).stdout)["mcnet"] == 1
        assert mcnet("check", name).exit_code == 0
    assert [entry["name"] for entry in json.loads(mcnet("scenarios", "--json").stdout)] == names


def test_doctor_finds_this_machine_fit(mcnet: Callable[..., Result]) -> None:
    done = mcnet("doctor", "--json", "--debug")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    found = {finding["name"]: finding for finding in result["findings"]}
    assert {"versions", "cpu", "disk", "fsync", "locks", "streams", "sample"} <= found.keys()
    assert found["streams"]["good"]
    assert found["sample"]["good"]


def test_doctor_rejects_wrong_streams(mcnet: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcnet.streams.normals", lambda *_, **__: np.zeros((64, 130), np.float32))
    done = mcnet("doctor")
    assert done.exit_code == 70
    assert "! streams" in done.stdout
    assert "wrong numbers from NumPy" in done.stdout


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (1.634, 0.041, "1.63(4)"),
        (1.634, 0.0149, "1.634(15)"),
        (-71.2, 44.0, "-71(44)"),
        (0.00123456, 0.00001, "0.001235(10)"),
        (2.0, float("nan"), "2"),
    ],
)
def test_values_with_errors(value: float, error: float, shown: str) -> None:
    assert value_with_error(value, error) == shown


def test_words_for_people() -> None:
    assert [plural(n, "shard") for n in (0, 1, 1440, 313344)] == [
        "0 shards",
        "1 shard",
        "1440 shards",
        "313 344 shards",
    ]
    assert [duration(t) for t in (0.2, 40, 700, 14400, 3e5)] == ["1 s", "40 s", "12 min", "4.0 h", "3 days"]
    assert [size(n) for n in (12, 1234, 99_999, 1.2e9)] == ["12 B", "1.2 kB", "100 kB", "1.2 GB"]
    assert table([{"a": 1, "b": None}, {"a": 20, "b": None, "c": 0.5}]) == " a    c\n 1     \n20  0.5"


def test_strict_json() -> None:
    value: Any = {"a": np.array([1.0, np.nan]), "b": (float("inf"), np.int64(3), "x", None, True)}
    assert json.dumps(strict(value), allow_nan=False) == '{"a": [1.0, null], "b": [null, 3, "x", null, true]}'
