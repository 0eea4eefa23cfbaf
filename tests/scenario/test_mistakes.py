"""Every mistake a scenario can have is told with its place, what is wrong and what to do; all of them at once."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mcnet.errors import ScenarioError, UsageError
from mcnet.scenario.loading import load

GOOD = """\
mcnet = 1
title = "Order-chaos map, tanh"
[network]
activation = "tanh"
weights = "gaussian"
depth = 5
[inputs]
kind = "pair"
q0 = 1.0
c0 = 0.6
[sweep]
width = [64, 128]
sigma_w2 = { start = 0.5, stop = 4.0, num = 3 }
sigma_b2 = [0.0, 0.05]
[sampling]
networks = 4096
seed = 20240611
[measure]
q = {}
c = {}
"""


def mistakes(tmp_path: Path, text: str, *overrides: str) -> str:
    file = tmp_path / "study.toml"
    file.write_bytes(text.encode())
    with pytest.raises(ScenarioError) as raised:
        load(file, overrides)
    assert raised.value.exit_code == 64
    return str(raised.value).replace(f"{tmp_path}/", "")


def test_the_good_one_is_good(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(GOOD)
    assert len(load(file).points()) == 12


# old line -> new line, place, key and beginning of the sentence, words of the advice
ONE_BY_ONE = [
    (
        'activation = "tanh"',
        'activation = "tahn"',
        '4:14: network.activation: "tahn" is not known.',
        'Did you mean "tanh"?',
    ),
    ('activation = "tanh"', "activation = 3", "4:14: network.activation: expected a name, got 3.", "Write a name"),
    (
        'activation = "tanh"',
        'activation = { name = "leaky-relu", slop = 0.1 }',
        "4:37: network.activation.slop: unknown parameter of leaky-relu.",
        'Did you mean "slope"?',
    ),
    (
        'activation = "tanh"',
        'activation = { name = "leaky-relu", slope = nan }',
        "4:45: network.activation.slope: must be a finite number, got nan.",
        "Write",
    ),
    ('weights = "gaussian"', 'weights = "gausian"', '5:11: network.weights: "gausian" is not known.', '"gaussian"?'),
    ("depth = 5", "depth = 5.0", "6:9: network.depth: expected an integer, got 5.0.", "Write 5."),
    ("depth = 5", "depth = 0", "6:9: network.depth: must be at least 1, got 0.", "Choose"),
    ("depth = 5", "depth = [5, 6]", "6:9: network.depth: expected an integer, got a list.", "Write"),
    ("depth = 5", "", "3:1: network.depth: missing.", "Write depth = ... in [network], or sweep it"),
    ("depth = 5", "dept = 5", "6:1: network.dept: unknown key.", 'Did you mean "depth"?'),
    ("depth = 5", "depth = 5\nc0 = 0.1", "7:1: network.c0: unknown key.", "It belongs in [inputs]."),
    ("depth = 5", "depth = 5\nwidth = 9", "13:1: sweep.width: is fixed in [network] and swept here.", "Remove one"),
    (
        "depth = 5",
        "depth = 5\nreadout = 'gaussian'",
        "7:11: network.readout: there is no readout without",
        "Add outputs",
    ),
    ("depth = 5", "depth = 5\nnormalization = 'last-mean'", "7:17: network.normalization: normalises a", "Add outputs"),
    (
        "depth = 5",
        "depth = 5\noutputs = 3\nnormalization = 'last-batch'",
        '8:17: network.normalization: "last-batch" needs at least 3 inputs, there are 2: it leaves no gradient of two.',
        "Add inputs",
    ),
    (
        "depth = 5",
        "depth = 5\noutputs = 3\nnormalization = 'last-mean'",
        '8:17: network.normalization: "last-mean" needs at least 3 inputs, there are 2: it leaves one number',
        "Add inputs",
    ),
    (
        "depth = 5",
        "depth = 5\noutputs = 2\nnormalization = 'last-layer'",
        '8:17: network.normalization: "last-layer" needs at least 3 outputs, there are 2: it leaves no gradient',
        "Add outputs",
    ),
    (
        "depth = 5",
        "depth = 5\noutputs = 65\nreadout = 'orthogonal'",
        "8:11: network.readout: 65 outputs cannot be orthogonal at width 64.",
        'Write readout = "gaussian"',
    ),
    ("depth = 5", "depth = 5\narchitecture = 'dens'", '7:16: network.architecture: "dens" is not known.', '"dense"?'),
    ("depth = 5", "depth = 5\ntrain_biases = 1", "7:16: network.train_biases: expected true or false, got 1.", "true"),
    ('kind = "pair"', 'kind = "pear"', '8:8: inputs.kind: "pear" is not known.', 'Did you mean "pair"?'),
    ('kind = "pair"', 'kind = "single"', '10:1: inputs.c0: has no meaning for kind = "single".', "Remove it"),
    ('kind = "pair"', 'kind = "gaussian"', '7:1: inputs.count: missing. kind = "gaussian" needs count', "how many"),
    ('kind = "pair"', 'kind = "pair"\ncount = 3', '9:9: inputs.count: kind = "pair" has 2 here, got 3.', "Write 2"),
    (
        'kind = "pair"',
        'kind = "pair"\ndimension = 1',
        "9:13: inputs.dimension: two directions need two dimensions",
        "at least 2",
    ),
    ("q0 = 1.0", "q0 = -1.0", "9:6: inputs.q0: must be greater than 0, got -1.0.", "Choose"),
    ("q0 = 1.0", "q0 = 'fixedpoint'", '9:6: inputs.q0: "fixedpoint" is not known.', 'Did you mean "fixed-point"?'),
    ("q0 = 1.0", "", "7:1: inputs.q0: missing.", "|x|^2"),
    ("q0 = 1.0", "q0 = 'fixed-point'", '9:6: inputs.q0: "fixed-point" has length 0 for tanh at', "Give a number"),
    ("c0 = 0.6", "c0 = 1.6", "10:6: inputs.c0: must be from -1 to 1, got 1.6.", "Choose"),
    ("c0 = 0.6", "c0 = inf", "10:6: inputs.c0: must be a finite number, got inf.", "Write"),
    ("c0 = 0.6", "c0 = 1e999", "10:6: inputs.c0: must be a finite number, got inf.", "Write"),
    ("c0 = 0.6", "c0 = true", "10:6: inputs.c0: expected a number, got true.", "Write a number"),
    ("c0 = 0.6", "c0 = 1979-05-27", "10:6: inputs.c0: expected a number, got date", "Write a number"),
    ("width = [64, 128]", "width = []", "12:9: sweep.width: is empty.", "List at least one"),
    ("width = [64, 128]", "width = [64, 128, 64]", "12:19: sweep.width: 64 stands here twice.", "once"),
    (
        "width = [64, 128]",
        "width = [64, '128']",
        '12:14: sweep.width: expected an integer, got the text "128".',
        "Write 128.",
    ),
    ("width = [64, 128]", "width = 64.5", "12:9: sweep.width: expected an integer, got 64.5.", "Write a whole number"),
    (
        "width = [64, 128]",
        f"width = {'9' * 400}",
        "12:9: sweep.width: must be at most 67 108 864, got a number with more than 60 digits.",
        "Choose",
    ),
    ("width = [64, 128]", "width = { start = 1, stop = 2 }", "12:9: sweep.width: a range without num.", "num = ..."),
    (
        "width = [64, 128]",
        "width = { start = 1, stop = 9, nun = 3 }",
        "12:32: sweep.width.nun: unknown key of a range.",
        'Did you mean "num"?',
    ),
    (
        "width = [64, 128]",
        "width = { start = 0, stop = 9, num = 3, spacing = 'log' }",
        '12:9: sweep.width: spacing = "log" needs start and stop greater than 0.',
        "Change",
    ),
    (
        "width = [64, 128]",
        "width = { start = 1, stop = 99999, num = 99999 }",
        "11:1: sweep: makes 599994 points; at most 100000 are allowed.",
        "Split",
    ),
    (
        "sigma_b2 = [0.0, 0.05]",
        "sigma_b2 = [0.0, -0.05]",
        "14:18: sweep.sigma_b2: must be at least 0, got -0.05.",
        "Choose",
    ),
    (
        "sigma_b2 = [0.0, 0.05]",
        "sigma_b2 = 'critical'",
        '14:12: sweep.sigma_b2: expected a number, got the text "critical".',
        "",
    ),
    (
        "sigma_b2 = [0.0, 0.05]",
        "sigma_b = [0.0, 0.05]",
        "14:1: sweep.sigma_b: unknown key.",
        'Did you mean "sigma_b2"?',
    ),
    (
        "sigma_w2 = { start = 0.5, stop = 4.0, num = 3 }",
        "sigma_w2 = ['critical', 'critical']",
        '13:25: sweep.sigma_w2: "critical" stands here twice.',
        "once",
    ),
    (
        "sigma_w2 = { start = 0.5, stop = 4.0, num = 3 }",
        "sigma_w2 = ['critical', 1.0]",
        '13:12: sweep.sigma_w2: "critical" is 1 for tanh, which stands in the list too.',
        "Remove one",
    ),
    (
        "networks = 4096",
        'networks = "4k"',
        '16:12: sampling.networks: expected an integer, got the text "4k".',
        "Write 4096.",
    ),
    (
        "networks = 4096",
        "networks = 5_000_000_000",
        "16:12: sampling.networks: must be at most 4 294 967 295",
        "Choose",
    ),
    ("networks = 4096", "", "15:1: sampling.networks: missing.", "Write networks = ..."),
    (
        "networks = 4096",
        'networks = 4096\ntarget = { observable = "q", coefficient = "1/M", relative_error = 0.05 }',
        "17:1: sampling.target: stands beside networks.",
        "Keep one",
    ),
    (
        "networks = 4096",
        'target = { observable = "q", coefficient = "1/N", relative_eror = 0.05 }',
        '16:44: sampling.target.coefficient: "1/N" is not known.',
        '"1/M"',
    ),
    ("seed = 20240611", "seed = -1", "17:8: sampling.seed: must be at least 0, got -1.", "Choose"),
    (
        "seed = 20240611",
        "sampler = 'conditioned'\nprecision = 'single'",
        '18:13: sampling.precision: "single" is not known.',
        "(mixed, float64)",
    ),
    ("q = {}", "q = { layer = 'all' }", "19:7: measure.q.layer: unknown option of q.", 'Did you mean "layers"?'),
    (
        "q = {}",
        "q = { layers = 'al' }",
        '19:16: measure.q.layers: must be "all" or a list of layer numbers',
        'got "al"',
    ),
    ("q = {}", "q = { layers = [1, 6] }", "19:1: measure.q: layers: 6 lies beyond the depth 5 (point 1", ""),
    ("q = {}", "q = true", "19:5: measure.q: expected a table of options, got true.", "Write q = {}"),
    ("q = {}", "chi_1 = {}", "19:1: measure.chi_1: unknown measure.", 'Did you mean "chi"?'),
    ("q = {}\nc = {}\n", "", "18:1: measure: missing.", "Write [measure]"),
    ("[measure]", "[mesure]", "18:1: mesure: unknown section.", 'Did you mean "measure"?'),
    ("mcnet = 1\n", "", "1:1: mcnet: missing.", "Write mcnet = 1"),
    ("mcnet = 1", "mcnet = 2", "1:9: mcnet: this program reads scenarios of version 1, got 2.", ""),
    ('title = "Order-chaos map, tanh"', "title = 3", "2:9: title: expected a text, got 3.", "quotes"),
    (
        'title = "Order-chaos map, tanh"',
        r'title = "\u001b[31m"',
        "2:9: title: holds line breaks or control",
        "plain text",
    ),
    ('title = "Order-chaos map, tanh"', f'title = "{"x" * 2000}"', "2:9: title: has 2000 characters.", "at most"),
    (
        "[measure]",
        "[analyze]\nfit = { observable = 'q', model = 'a0 + b/M' }\n[measure]",
        "19:35: analyze.fit.model:",
        "a0 + a1/M",
    ),
    (
        "[measure]",
        "[analyze]\ntheory = ['meanfield']\n[measure]",
        '19:11: analyze.theory: "meanfield" is not',
        '"mean-field"',
    ),
    (
        "[measure]",
        "[analyze]\nfit = { observable = 'q_hatt', layer = 5 }\n[measure]",
        '19:22: analyze.fit.observable: "q_hatt" is not measured.',
        'Did you mean "q_hat"? (q, q_hat, c)',
    ),
    (
        "[measure]",
        "[[analyze.fit]]\nobservable = 'q'\n[[analyze.fit]]\nobservable = 'c'\nlayer = 6\n[measure]",
        "22:9: analyze.fit.layer: 6 lies beyond the depth 5.",
        "Give a layer",
    ),
    (
        "networks = 4096",
        'target = { observable = "chi", coefficient = "mean", relative_error = 0.05 }',
        '16:25: sampling.target.observable: "chi" is not measured.',
        "(q, q_hat, c)",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "told", "advice"), ONE_BY_ONE, ids=[f"{i}-{case[2][:40]}" for i, case in enumerate(ONE_BY_ONE)]
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, told: str, advice: str) -> None:
    assert old in GOOD
    message = mistakes(tmp_path, GOOD.replace(old, new, 1))
    lines = message.split("\n")
    place = next((line for line in lines if line.startswith(f"study.toml:{told}")), None)
    assert place is not None, message
    assert advice in place
    assert re.fullmatch(r"[1-9] mistakes?; nothing was run\.", lines[-1])
    assert all(line.isprintable() and len(line) < 400 for line in lines)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({'"pair"': '"gaussian"\ncount = 64', "c0 = 0.6": ""}, "gains nothing with T = 64 at width 64"),
        ({'weights = "gaussian"': 'weights = "uniform"'}, "is exact for gaussian and orthogonal weights only"),
    ],
)
def test_what_conditioned_sampling_is_not_for(tmp_path: Path, change: dict[str, str], told: str) -> None:
    text = GOOD.replace("seed = 20240611", 'sampler = "conditioned"')
    for old, new in change.items():
        text = text.replace(old, new)
    message = mistakes(tmp_path, text)
    assert f'sampling.sampler: "conditioned" {told}' in message
    assert 'sampler = "explicit"' in message or '"auto" or "explicit"' in message


def test_all_mistakes_at_once_in_the_order_of_the_file_and_nothing_else(tmp_path: Path) -> None:
    text = GOOD.replace('"tanh"\nw', '"tahn"\nw').replace("sigma_w2", "sigma_w").replace("4096", '"4k"')
    assert mistakes(tmp_path, text) == "\n".join(
        [
            'study.toml:4:14: network.activation: "tahn" is not known. Did you mean "tanh"? (linear, relu, leaky-relu, '
            "shifted-relu, tanh, erf, hard-tanh, gelu, silu, elu, selu, softplus, sigmoid, sin)",
            '   activation = "tahn"',
            "                ^",
            'study.toml:13:1: sweep.sigma_w: unknown key. Did you mean "sigma_w2"?',
            "   sigma_w = { start = 0.5, stop = 4.0, num = 3 }",
            "   ^",
            'study.toml:16:12: sampling.networks: expected an integer, got the text "4k". Write 4096.',
            '   networks = "4k"',
            "              ^",
            "3 mistakes; nothing was run.",
        ]
    )


def test_very_many_mistakes_stay_readable(tmp_path: Path) -> None:
    text = GOOD + "".join(f"nothing{number} = {{}}\n" for number in range(500))
    message = mistakes(tmp_path, text)
    assert message.count("\n") < 150
    assert message.endswith("... and 460 more.\n500 mistakes; nothing was run.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mcnet = 1\ntitle == 2\n", "study.toml:2:8: this is not TOML: invalid value"),
        ("mcnet = 1\n[network\ndepth = 3\n", "study.toml:2:9: this is not TOML: expected ']'"),
        ("mcnet = 1\nmcnet = 1\n", "study.toml:2:10: this is not TOML: cannot overwrite a value"),
        ('mcnet = 1\ntitle = "', "study.toml:2:10: this is not TOML: unterminated string"),
        ("mcnet = " + "[" * 100_000, "study.toml: is nested too deeply."),
        (f"mcnet = {'1' * 5000}", "study.toml: this is not TOML: exceeds the limit"),
        ('mcnet = 1\ntitle = "\x1b"', "study.toml:2:10: this is not TOML: illegal character"),
    ],
)
def test_what_is_no_toml(tmp_path: Path, text: str, told: str) -> None:
    message = mistakes(tmp_path, text)
    assert message.startswith(told)
    assert "\x1b" not in message


def test_files_that_are_no_scenarios(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe9"')
    (tmp_path / "large.toml").write_bytes(b"#" * (2**22 + 1))
    for name, told in (
        ("none.toml", "there is no such file"),
        (".", "is no file"),
        ("latin.toml", "byte 10 is not UTF-8"),
        ("large.toml", "is larger than 4 MB"),
    ):
        with pytest.raises(ScenarioError, match=told):
            load(tmp_path / name)


def test_mistakes_of_overrides_name_the_words_that_set_them(tmp_path: Path) -> None:
    message = mistakes(tmp_path, GOOD, "sampling.networks=4k", "network.activation=tahn")
    assert "--set sampling.networks=4k: sampling.networks: expected an integer" in message
    assert "--set network.activation=tahn: network.activation:" in message
    for words, told in (
        ("depth", "Write --set section.key=value"),
        ("a b=3", "Write --set section.key=value"),
        ("title.x=3", "title is no section"),
        ("sweep.width=[1, 2", "the value is not TOML"),
        ("sweep.width=1\n[measure]", "is not understood"),
    ):
        with pytest.raises(UsageError, match=re.escape(told)):
            load({"title": "x"}, [words])


def test_mistakes_of_a_table_have_no_place() -> None:
    with pytest.raises(ScenarioError) as raised:
        load({"mcnet": 1, "network": {"activation": "tahn"}})
    message = str(raised.value)
    assert 'scenario: network.activation: "tahn" is not known.' in message
    assert "scenario: inputs.kind: missing." in message
    assert "^" not in message


VALUES = GOOD.replace('kind = "pair"\nq0 = 1.0\nc0 = 0.6\n', 'kind = "values"\nvalues = [[1.0, 2.0], [0.5, 1.0]]\n')
FILE = GOOD.replace('kind = "pair"\nq0 = 1.0\nc0 = 0.6\n', 'kind = "file"\npath = "x.npy"\n')


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("[]", "9:10: inputs.values: expected a list of vectors"),
        ("[1.0, 2.0]", "9:10: inputs.values: expected a list of vectors"),
        ("[[1.0], [1.0, 2.0]]", "9:18: inputs.values: vector 2 has 2 numbers, vector 1 has 1."),
        ("[[1.0, 'a']]", '9:17: inputs.values: vector 1: expected a number, got the text "a".'),
        ("[[1.0, nan]]", "9:17: inputs.values: vector 1: must be a finite number"),
        ("[[]]", "9:11: inputs.values: vector 1 is empty"),
        ("[[1.0]]\ndimension = 2", "10:13: inputs.dimension: the vectors have 1 components, got 2."),
        ("[[1.0]]\nfresh = true", "10:9: inputs.fresh: "),
        ("[[1.0]]\nq0 = 1.0", "10:1: inputs.q0: has no meaning"),
    ],
)
def test_vectors(tmp_path: Path, values: str, told: str) -> None:
    assert f"study.toml:{told}" in mistakes(tmp_path, VALUES.replace("[[1.0, 2.0], [0.5, 1.0]]", values))


def test_input_files(tmp_path: Path) -> None:
    def told(name: str) -> str:
        return mistakes(tmp_path, FILE.replace("x.npy", name)).split("\n")[0]

    assert told("x.npy").startswith("study.toml:9:8: inputs.path: cannot be read: No such file")
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "inputs.path: cannot be read" in told("object.npy")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    assert "shape (3,)" in told("flat.npy")
    np.save(tmp_path / "complex.npy", np.zeros((2, 2), complex))
    assert "complex128" in told("complex.npy")
    np.save(tmp_path / "nan.npy", np.full((2, 2), np.nan))
    assert "not finite" in told("nan.npy")
    (tmp_path / "words.csv").write_text("1,2\na,b\n")
    assert "cannot be read in row 2, column 1. Write one input in each row" in told("words.csv")
    (tmp_path / "ragged.csv").write_text("1,2\n3\n")
    assert "cannot be read in row 2. Write one input in each row" in told("ragged.csv")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00nothing")
    assert "cannot be read" in told("broken.npy")
    (tmp_path / "x.pkl").write_bytes(b"")
    assert "is of a kind that is not read" in told("x.pkl")


@pytest.mark.parametrize(
    ("measure", "told"),
    [
        (
            "jacobian = {}",
            "tr J J^T is about 1e-1148 at depth 2000, and its power 4 leaves the range of a double; take",
        ),
        ("jacobian_lambda_max = {}", "tr J J^T is about 1e-1148 at depth 2000, and it leaves the range of a double;"),
        ("jacobian = { bins = 10 }", 'bins is for keep = "histogram"; add it, or remove them.'),
    ],
)
def test_spectra_that_no_double_holds_are_refused_before_anything_runs(tmp_path: Path, measure: str, told: str) -> None:
    text = f"""mcnet = 1
[network]
activation = "tanh"
weights = "gaussian"
depth = 2000
width = 16
sigma_w2 = 0.3
sigma_b2 = 0.05
[inputs]
kind = "single"
q0 = 1.0
[sampling]
networks = 10
seed = 1
[measure]
{measure}
"""
    assert told in mistakes(tmp_path, text)
