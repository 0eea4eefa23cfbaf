"""Scenarios as an attacker would write them: one clear sentence, in time and memory that are bounded; no code runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcnet.commands.cli import main
from tools import fuzz, fuzz_targets

GOOD = """\
mcnet = 1
title = "a study"
[network]
activation = "tanh"
weights = "gaussian"
depth = 3
sigma_w2 = 1.5
sigma_b2 = 0.05
[inputs]
kind = "pair"
q0 = 1.0
c0 = 0.6
[sweep]
width = [8, 16]
[sampling]
networks = 40
[measure]
q = {}
"""
FILE = GOOD.replace('kind = "pair"\nq0 = 1.0\nc0 = 0.6\n', 'kind = "file"\npath = "PATH"\n')
NINES = "9" * 5000


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


# Each in one process that may have a gigabyte, and a few seconds.
TEXTS = {
    "a number of 5000 digits": (changed("depth = 3", f"depth = {NINES}"), "not TOML"),
    "a number of 4000 digits": (changed("depth = 3", f"depth = {'9' * 4000}"), "a number with more than 60 digits"),
    "a hexadecimal number": (changed("depth = 3", f"depth = 0x{'f' * 100_000}"), "a number with more than 60 digits"),
    "a width of 2^63": (changed("[8, 16]", "[9223372036854775808]"), "must be at most 67 108 864"),
    "a float without end": (changed("sigma_w2 = 1.5", "sigma_w2 = 1e999999999"), "must be a finite number"),
    "a tiny variance": (changed("sigma_w2 = 1.5", "sigma_w2 = -1e-320"), "must be greater than 0"),
    "networks": (changed("networks = 40", "networks = 99_999_999_999_999"), "must be at most 4 294 967 295"),
    "a seed": (changed("networks = 40", f"networks = 40\nseed = {2**64}"), "must be at most"),
    "a range of 10^18": (changed("[8, 16]", f"{{ start = 1, stop = 9, num = {10**18} }}"), "num"),
    "a range of ranges": (changed("[8, 16]", "{ start = { start = 1 }, stop = 9, num = 2 }"), "sweep.width"),
    "a grid of 10^10": (
        changed("[sweep]", f"[sweep]\nsigma_w2 = {list(range(1, 2001))}\ndepth = {list(range(1, 2001))}"),
        "",
    ),
    "lists in lists": (changed("[8, 16]", "[" * 50_000), "nested too deeply"),
    "tables in tables": (changed('"tanh"', "{ a = " * 50_000), "nested too deeply"),
    "a key of many parts": (GOOD + ".".join("a" * 100_000) + " = 1\n", "a key of too many parts"),
    "a section of many parts": (GOOD + f"[{'.'.join('a' * 100_000)}]\n", "a key of too many parts"),
    "many keys": (GOOD + "".join(f"k{n} = 1\n" for n in range(100_000)), "100001 keys"),
    "many sections": (GOOD + "".join(f"[s{n}]\n" for n in range(50_000)), "keys"),
    "a long text": (changed('"a study"', '"' + "x" * 10**6 + '"'), "title"),
    "an escape in the title": (changed('"a study"', '"\\u001b[2J\\u001b]0;owned\\u0007"'), "title"),
    "a new line in the title": (changed('"a study"', '"a\\nb"'), "title"),
    "a null in the title": (changed('"a study"', '"a\\u0000b"'), "title"),
    "text that runs backwards": (changed('"a study"', '"a\\u202eb"'), "title"),
    "an escape in a key": (GOOD + '"\\u001b[2J" = 1\n', r"\u001b[2J"),
    "an escape in a value": (changed('"tanh"', '"\\u001b[2J"'), r"\u001b[2J"),
    "a raw escape": (changed("a study", "\x1b[2J"), "not TOML"),
    "a name of a function": (changed('"tanh"', "\"__import__('os').system('touch owned')\""), "is not known"),
    "a method": (changed('"tanh"', '{ name = "tanh", __class__ = 1 }'), "unknown parameter"),
    "a name of another place": (changed('"tanh"', '"../../../tmp/x"'), "is not known"),
    "a model that is code": (GOOD + "[analyze]\nfit = { observable = 'q', model = 'a0 + exec(1)' }\n", "analyze.fit"),
    "a date": (changed("depth = 3", "depth = 1979-05-27T07:32:00Z"), "expected an integer"),
    "a list for a section": (changed("[sampling]\nnetworks = 40", "[[sampling]]\nnetworks = 40"), "expected a section"),
}
READER = """
import json, resource, sys, time
from pathlib import Path
from mcnet.errors import McnetError
from mcnet.scenario.loading import load
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
for path in sys.argv[1:]:
    began = time.process_time()
    try:
        load(path)
        told = ["", 0]
    except McnetError as error:
        told = [str(error), error.exit_code]
    print(json.dumps([*told, time.process_time() - began]), flush=True)
with open("/proc/self/status") as status:  # of this program alone: ru_maxrss begins with that of who started it
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def test_texts(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    paths = [folder / f"{number}.toml" for number in range(len(TEXTS))]
    for path, (text, _) in zip(paths, TEXTS.values(), strict=True):
        path.write_text(text)
    done = subprocess.run([sys.executable, "-c", READER, *map(str, paths)], capture_output=True, text=True, cwd=folder)
    *lines, kilobytes = done.stdout.splitlines()
    assert len(lines) == len(TEXTS), done.stderr[-2000:]
    for line, (name, (_, told)) in zip(lines, TEXTS.items(), strict=True):
        message, code, seconds = json.loads(line)
        assert code == 64, name
        assert told in message, (name, message)
        assert all(row.isprintable() and len(row) < 500 for row in message.split("\n")), (name, message)
        assert len(message) < 20_000, name
        assert seconds < 8, name
    assert int(kilobytes) < 800_000
    assert sorted(os.listdir(folder)) == sorted(path.name for path in paths)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in."""
    folder = tmp_path / "study"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


class Pickled:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("owned",)


def declared(shape: tuple[int, ...]) -> bytes:
    """The head of a .npy file that promises any size."""
    head = str({"descr": "<f8", "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + head.ljust(117) + b"\n"


def test_input_files(folder: Path) -> None:
    objects = np.empty((2, 2), dtype=object)
    objects[:] = [[Pickled(), Pickled()]] * 2
    np.save("pickle.npy", objects, allow_pickle=True)
    for name, content in {
        "bomb.npy": declared((10**9, 10**9)),
        "negative.npy": declared((-1, 5)),
        "endless.npy": declared((2**62, 2**62)),
        "head.npy": b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little"),
        "code.npy": b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + b"__import__('os').mkdir('owned')".ljust(118),
        "escape.csv": b"1,2\n\x1b[2J\x1b]0;owned\x07,3\n",
        "digits.csv": b"9" * 3_000_000,
        "null.csv": b"1,\x002\n",
        "bytes.txt": bytes(range(256)) * 10,
        "zip.npz": b"PK",
    }.items():
        Path(name).write_bytes(content)
    os.mkfifo("pipe.csv")
    os.symlink("/dev/zero", "device.csv")
    os.symlink("loop.csv", "loop.csv")
    before = sorted(os.listdir())
    names = [
        *before,
        "/dev/zero",
        "/proc/self/mem",
        "../../../../etc/passwd",
        "..",
        "~/x.csv",
        "x" * 5000,
        "a\\u0000b.csv",
    ]
    began = time.process_time()
    for name in names:
        Path("study.toml").write_text(FILE.replace("PATH", name))
        done = CliRunner().invoke(main, ["run", "study.toml", "--out", "out"])
        assert done.exit_code == 64, (name, done.output)
        assert "inputs.path: " in done.stderr, (name, done.stderr)
        assert all(line.isprintable() and len(line) < 500 for line in done.stderr.splitlines()), (name, done.stderr)
    assert time.process_time() - began < 10
    assert sorted(os.listdir()) == sorted([*before, "study.toml"])


def test_input_files_of_others(tmp_path: Path) -> None:
    """A scenario reads in its own folder alone, unless the user says another path; what it reads is not quoted."""
    secret, numbers, home = tmp_path / "secret.csv", tmp_path / "numbers.csv", tmp_path / "study"
    home.mkdir()
    (tmp_path / "alias").symlink_to(home)
    secret.write_text("root:x:0:0:secret\n")
    numbers.write_text("1.0,2.0\n0.5,1.0\n")
    (home / "own.csv").write_text(numbers.read_text())
    (home / "words.csv").write_text(secret.read_text())
    (home / "header.npy").write_bytes(b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + b"{'secret': 1}".ljust(118))
    (home / "link.csv").symlink_to(secret)
    (home / "chain.csv").symlink_to("link.csv")
    (home / "folder").symlink_to(tmp_path)
    (home / "inner.csv").symlink_to("own.csv")
    runner, scenario = CliRunner(), home / "study.toml"
    out = ("link.csv", "chain.csv", "folder/numbers.csv", "../numbers.csv", str(numbers), "../study/../secret.csv")
    for name in (*out, "words.csv", "header.npy", "own.csv", "inner.csv", str(home / "own.csv")):
        scenario.write_text(FILE.replace("PATH", name))
        for place in (scenario, tmp_path / "alias" / "study.toml"):
            done = runner.invoke(main, ["check", str(place)])
            good = name.endswith(("own.csv", "inner.csv"))
            assert done.exit_code == (0 if good else 64), (name, done.stderr)
            assert "secret" not in done.output.replace(name, ""), name
            assert ("leads out of the scenario's folder" in done.stderr) == (name in out), name
    for name in (str(numbers), "../numbers.csv", "folder/numbers.csv"):
        done = runner.invoke(main, ["check", str(scenario), "--set", f"inputs.path={name}"])
        assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--set", "title=\x1b[2J"), "is not understood"),
        (("--set", "a.b.c.d.e=1"), "a: unknown section"),
        (("--set", f"network.depth={'[' * 300}"), "the value is not TOML"),
        (("--set", f"network.{'x' * 300}=1"), "unknown key"),
        (("--plugin", "../evil"), "is no module name"),
        (("--plugin", "evil;import os"), "is no module name"),
        (("--plugin", "/tmp/evil.py"), "is no module name"),
        (("--part", f"1/{'9' * 400}"), "write i/n"),
        (("--device", "cuda:\x1b[2J"), "cuda"),
    ],
)
def test_words_of_the_command_line(folder: Path, words: tuple[str, ...], told: str) -> None:
    Path("study.toml").write_text(GOOD)
    Path("evil.py").write_text("import os; os.mkdir('owned')")
    done = CliRunner().invoke(main, ["run", "study.toml", "--out", "out", *words])
    assert done.exit_code in (64, 69), done.output
    assert told in done.stderr
    assert all(line.isprintable() and len(line) < 600 for line in done.stderr.splitlines()), done.stderr
    assert sorted(os.listdir()) == ["evil.py", "study.toml"]


def test_what_no_machine_holds_is_refused_before_it_is_tried(folder: Path) -> None:
    text = GOOD.replace("[8, 16]", "[67108864]").replace("networks = 40", 'networks = 40\nsampler = "explicit"')
    Path("study.toml").write_text(text)
    done = CliRunner().invoke(main, ["run", "study.toml", "--out", "out"])
    assert done.exit_code in (64, 74), done.output
    assert "GB" in done.stderr
    assert os.listdir() == ["study.toml"]


PIECES = st.sampled_from([token.decode("latin-1") for token in fuzz_targets.TOKENS] + GOOD.split("\n")) | st.text(
    max_size=8
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.lists(PIECES, max_size=25), st.sampled_from(["", " ", "\n", "\n", " = "]))
@example(['"\ud800"'], "")
def test_any_text(pieces: list[str], between: str) -> None:
    """A scenario, or an error in sentences that can be printed."""
    text = between.join(pieces)
    assert fuzz.judged(fuzz_targets.scenario, text.encode(errors="replace")) == ""
    assert fuzz.judged(fuzz_targets.scenario, (GOOD + text).encode(errors="replace")) == ""
