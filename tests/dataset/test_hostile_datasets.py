"""Datasets as an attacker would write them: refused in one sentence, nothing of them obeyed, nothing else touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcnet_analysis import analyze, report
from studies import study

import mcnet
from mcnet.commands import inspect
from mcnet.dataset import attributes as dataset_attributes
from mcnet.dataset import checks, seal, vetting
from mcnet.errors import DataError
from tools import fuzz, fuzz_targets

Change = Callable[[h5py.File], Any]
MARKUP = "<script>alert('x')</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mcnet.run(study(), tmp_path_factory.mktemp("runs") / "run", workers=1, quiet=True)


@pytest.fixture
def good(run: Path) -> bytes:
    return (run / "dataset.h5").read_bytes()


@pytest.fixture
def changed(good: bytes, tmp_path: Path) -> Callable[[Change], Path]:
    """A copy of a good dataset after a change."""

    def make(change: Change) -> Path:
        path = tmp_path / "dataset.h5"
        path.write_bytes(good)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return make


def checked(path: Path) -> None:
    """What the child does that looks at a file before it is opened."""
    with h5py.File(path, "r") as file:
        checks.require_version(file, path.name)
        checks.require_sound(file, path.name)


def put(name: str, *arguments: Any, **options: Any) -> Change:
    """Another array in the place of one."""

    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, *arguments, **options)

    return change


def link(name: str, to: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = to

    return change


def attribute(place: str, name: str, value: Any) -> Change:
    def change(file: h5py.File) -> None:
        file[place].attrs[name] = value

    return change


def elsewhere(file: h5py.File) -> None:
    del file["signal/q"]
    file.create_dataset("signal/q", (2, 4), "f8", external=[("/etc/passwd", 0, 64)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2,), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (2,))
    del file["signal/q"]
    file.create_virtual_dataset("signal/q", layout)


def many(file: h5py.File) -> None:
    for number in range(60):
        file.create_group(f"g{number}")


def deep(file: h5py.File) -> None:
    file.create_group("/".join("a" * 500))


def circle(file: h5py.File) -> None:
    file["signal/again"] = file["signal"]


def a_group(file: h5py.File) -> None:
    del file["width"]
    file.create_group("width")


def label(name: str, text: bytes) -> Change:
    """Another text for the first point, in each group."""

    def change(file: h5py.File) -> None:
        for group in (file, *(child for child in file.values() if isinstance(child, h5py.Group))):
            if name in group:
                values = group[name][...].astype(f"S{max(len(text), group[name].dtype.itemsize)}")
                values[0] = text
                attributes = dict(group[name].attrs)
                attributes.pop("DIMENSION_LIST", None)
                del group[name]
                data = group.create_dataset(name, data=values)
                data.dims[0].attach_scale(group["point"])
                data.attrs.update(attributes)

    return change


CASES: list[tuple[str, Change, str]] = [
    ("linked file", link("signal/q", h5py.ExternalLink("other.h5", "/x")), "q is a link to another place"),
    ("linked place", link("signal/q", h5py.SoftLink("/width")), "q is a link to another place"),
    ("linked group", link("signal", h5py.ExternalLink("/etc/passwd", "/")), "signal is a link to another place"),
    ("external data", elsewhere, "signal/q is kept in another file"),
    ("virtual data", virtual, "signal/q is kept in another file"),
    ("many groups", many, "holds more groups than a dataset"),
    ("deep groups", deep, "holds a group within /a"),
    ("circle", circle, "holds a group within /signal"),
    ("a petabyte at once", put("signal/q", (2**47,), "f8"), "claims 1.13e+06 GB at once"),
    ("a row too long", put("signal/q", (2, 2**46), "f8", chunks=(1, 4)), "at once, more than half of the memory"),
    ("a large piece", put("signal/q", (4, 2**26), "f8", chunks=(4, 2**26), fillvalue=0), "too large"),
    ("endless networks", put("signal/q", (2**40, 2**21), "f4", chunks=(1, 9)), "of more bytes than there are"),
    ("a text for a number", put("width", data=np.array([b"8", b"16"])), "has a width out of bounds"),
    ("widths of any size", put("width", data=np.array([8, 2**60])), "has a width out of bounds"),
    ("a negative number of networks", put("n_networks", data=np.array([-1, 40])), "has a n_networks out of bounds"),
    ("more points", put("width", data=np.arange(8, 11)), "has no depth for its points"),
    ("no points", put("width", data=np.zeros(0, int)), "has no points"),
    ("a group for a number", a_group, "has no points"),
    ("lists of any length", put("weights", (2,), dtype=h5py.vlen_dtype("i8")), "a type that mcnet does not use"),
    (
        "a text without end",
        put("weights", data=["a", "b" * 20_000], dtype=h5py.string_dtype()),
        "more than 10000 bytes",
    ),
    ("a text that is none", put("weights", data=[b"a", b"\xff"], dtype=h5py.string_dtype()), "is damaged"),
    ("references", put("signal/x", (2,), h5py.ref_dtype), "a type that mcnet does not use"),
    ("records", put("signal/x", (2,), [("a", "f8"), ("b", "S3")]), "a type that mcnet does not use"),
    ("a foreign filter", put("signal/x", (8,), "f8", chunks=(8,), compression="lzf"), "packed in a way"),
    ("control characters in a title", attribute("/", "title", "a\x1b[2J"), "has an attribute title with control"),
    ("control characters in a unit", attribute("signal/q", "units", "\x1b]0;x\x07"), "units with control characters"),
    ("control characters in a label", label("weights", b"\x1b[31m"), "no text that can be printed for weights"),
    ("a label that is no text", label("weights", b"\xff\xfe"), "is damaged"),
    ("a name with a path", lambda file: file.create_dataset("signal/a.b", (2,), "f8"), "a name that is none"),
    ("times", attribute("signal/q", "units", "days since 1970-01-01"), "has units of time"),
    ("orders to xarray", attribute("signal/q", "scale_factor", 1e300), "has the attribute scale_factor"),
    ("an encoding", attribute("weights", "_Encoding", "tanh"), "a text in a foreign encoding"),
    ("an attribute of many", attribute("/", "title", np.zeros(9)), "title that is neither a number nor a text"),
    ("a version that is none", attribute("/", "format_version", "1"), "is not a dataset of mcnet"),
    ("a version of tomorrow", attribute("/", "format_version", 2**31), "Install mcnet"),
    ("another width in a group", put("signal/width", data=np.array([8, 17])), "has another width in its group"),
    ("fewer networks than told", put("signal/network", data=np.arange(2)), "fewer entries along network"),
]


@pytest.mark.parametrize(("change", "told"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_no_dataset_holds_is_refused(changed: Callable[[Change], Path], change: Change, told: str) -> None:
    def change_with_x(file: h5py.File) -> None:
        file.create_dataset("signal/x", (1,), "f8")
        change(file)

    path = changed(change_with_x)
    with pytest.raises(DataError) as caught:
        checked(path)
    message = str(caught.value)
    assert told in message
    assert message.isprintable()
    assert len(message) < 300


def test_through_the_front_door(changed: Callable[[Change], Path], tmp_path: Path) -> None:
    """The same from the command line: one sentence, code 65, nothing touched."""
    run = tmp_path / "run"
    run.mkdir()
    changed(elsewhere).rename(run / "dataset.h5")
    seal.append(run / "dataset.h5")  # a right seal does not say who made it
    before = (run / "dataset.h5").read_bytes()
    code = "from mcnet.commands.cli import main; main(['inspect', 'run/dataset.h5'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (65, "")
    assert "signal/q is kept in another file" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (run / "dataset.h5").read_bytes() == before
    assert os.listdir(run) == ["dataset.h5"]


def several(*changes: Change) -> Change:
    return lambda file: [change(file) for change in changes]


ATTRIBUTES = [
    ("scenario_toml", "x = = 1", "carries a scenario that is none"),
    ("scenario_toml", "x = " + "[" * 100_000, "carries a scenario that is none"),
    ("scenario_toml", ".".join("a" * 50_000) + " = 1", "carries a scenario that is none"),
    ("scenario_toml", "analyze = 3", "carries a scenario that is none"),
    ("scenario_toml", "[analyze]\ntheory = 3", "carries a scenario that is none"),
    ("scenario_toml", "[analyze]\nfit = [{}]", "carries a scenario that is none"),
    ("scenario_toml", "[[analyze.fit]]\nobservable = 'q'\n" * 2000, "carries a scenario that is none"),
    (
        "scenario_toml",
        "[analyze]\nfit = [{ observable = 'q', model = '__import__' }]",
        "carries a scenario that is none",
    ),
    ("activations_json", "nothing", "activations that are none"),
    ("activations_json", "[1]", "activations that are none"),
    ("activations_json", "[" * 100_000, "activations that are none"),
    ("activations_json", '{"tanh": {"name": "os.system"}}', '"os.system" is not known'),
    ("activations_json", '{"tanh": {"name": "leaky-relu", "slope": 1e999}}', "must be a finite number"),
]


@pytest.mark.parametrize(("name", "value", "told"), ATTRIBUTES, ids=[case[1][:30] for case in ATTRIBUTES])
def test_attributes_that_the_analysis_reads(name: str, value: str, told: str) -> None:
    read: Callable[[dict[str, str]], object] = dataset_attributes.asked
    if name == "activations_json":
        read = dataset_attributes.known_activations
    with pytest.raises(DataError) as caught:
        read({name: value})
    message = str(caught.value)
    assert told in message
    assert message.isprintable()
    assert len(message) < 500


def test_the_analysis_reads_them_so(changed: Callable[[Change], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = changed(attribute("/", "scenario_toml", "x = = 1"))
    checked(path)  # it is a text, as it should be
    monkeypatch.setattr(vetting, "require_readable", lambda path: None)
    with pytest.raises(DataError, match="carries a scenario that is none"):
        analyze.judge_directory(path.parent)


def test_numbers_that_are_damaged(changed: Callable[[Change], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by fuzzing: the structure is whole, a piece is not what was written."""
    places: list[int] = []
    path = changed(lambda file: places.append(file["signal/q"].id.get_chunk_info(0).byte_offset))
    with open(path, "r+b") as raw:
        raw.seek(places[0] + 100)
        raw.write(b"\xff" * 8)
    checked(path)
    monkeypatch.setattr(vetting, "require_readable", lambda path: None)
    with pytest.raises(DataError, match="its dataset is damaged"):
        analyze.judge_directory(path.parent)
    with pytest.raises(DataError, match="q is damaged"):
        inspect.inspect(path, None, None, None)


@pytest.mark.parametrize(("name", "value"), [("inputs", 10**6), ("n_networks", 0)])
def test_points_that_contradict_each_other(
    changed: Callable[[Change], Path], monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    def change(file: h5py.File) -> None:
        for group in (file, *(child for child in file.values() if isinstance(child, h5py.Group))):
            if name in group:
                group[name][...] = value

    path = changed(change)
    checked(path)
    monkeypatch.setattr(vetting, "require_readable", lambda path: None)
    with pytest.raises(DataError, match="its dataset cannot be analysed"):
        analyze.judge_directory(path.parent)


class Seen(HTMLParser):
    """The tags of a page, and the attributes that act."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        acts = {name for name, value in attributes if name.startswith("on") or "javascript:" in (value or "")}
        self.found |= {tag, *acts}


def test_texts_do_not_act_in_the_report(changed: Callable[[Change], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = changed(
        several(
            attribute("/", "title", MARKUP + " $\\frac{"),
            attribute("/", "scenario_toml", f"# </pre>{MARKUP}"),
            attribute("/", "activations_json", json.dumps({MARKUP: "tanh"})),
            attribute("/", "mcnet_version", MARKUP),
            *(label(name, MARKUP.encode()) for name in ("activation", "normalization", "input_kind", "sampler")),
        )
    )
    checked(path)
    monkeypatch.setattr(vetting, "require_readable", lambda path: None)
    page = report.render(analyze.judge_directory(path.parent))
    assert "&lt;script&gt;" in page
    seen = Seen(page).found
    assert {"table", "svg", "pre"} < seen
    assert not {"script", "img", "iframe", "onerror", "object"} & seen
    assert Seen(page + MARKUP).found & {"script", "img"}  # it would be seen


def test_changes_of_any_kind(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HDF5 can say and mcnet does not: an error in a sentence, or a dataset that can be read."""
    monkeypatch.setattr(fuzz_targets, "run", lambda: run)

    @settings(max_examples=30, deadline=None, derandomize=True, database=None)
    @given(st.binary(min_size=8, max_size=60))
    def judged(changes: bytes) -> None:
        assert fuzz.judged(fuzz_targets.dataset, changes) == ""

    judged()
