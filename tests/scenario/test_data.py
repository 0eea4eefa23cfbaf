"""Inputs that are data: every format gives the same vectors; classes, centring and scaling are what they say."""

from __future__ import annotations

import builtins
import gzip
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import mcnet
from mcnet.commands.cli import main
from mcnet.errors import ScenarioError
from mcnet.plan.plan import Plan, make_plan
from mcnet.scenario.data import transposed
from mcnet.scenario.loading import load

X = np.random.default_rng(3).integers(0, 256, (12, 4, 5)).astype(np.uint8)
LABELS = np.array([3, 8, 3, 5, 8, 8, 3, 5, 3, 8, 5, 3])


def study(inputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "mcnet": 1,
        "network": {"activation": "tanh", "weights": "gaussian", "depth": 2, "sigma_w2": 1.5, "sigma_b2": 0.1},
        "inputs": inputs,
        "sweep": {"width": [16]},
        "sampling": {"networks": 4},
        "measure": {"q": {}},
    }


def given(inputs: dict[str, Any]) -> Any:
    return load(study(inputs)).points()[0].inputs


def refused(inputs: dict[str, Any]) -> str:
    with pytest.raises(ScenarioError) as told:
        given(inputs)
    return str(told.value).split("\n")[0]


def idx(array: np.ndarray[Any, Any]) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 0x08, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The same inputs and labels in every format."""
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", LABELS)
    np.savez(tmp_path / "x.npz", x=X, y=LABELS)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("train/x", data=X, chunks=(2, 4, 5), compression="gzip")
        file["y"] = LABELS
    (tmp_path / "images-idx3-ubyte").write_bytes(idx(X))
    (tmp_path / "images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(X)))
    (tmp_path / "labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS)))
    names = [f"p{i}" for i in range(20)]
    rows = [",".join([*map(str, row), str(label)]) for row, label in zip(X.reshape(12, 20), LABELS, strict=True)]
    (tmp_path / "x.csv").write_text("\n".join([",".join([*names, "label"]), *rows]) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("x.npy", {"labels": "y.npy"}),
        ("x.npz", {"labels": "y"}),
        ("x.npz", {"labels": "y", "array": "x"}),
        ("x.h5", {"labels": "/y"}),
        ("x.h5", {"labels": "y", "array": "train/x"}),
        ("images-idx3-ubyte", {"labels": "labels-idx1-ubyte.gz"}),
        ("images-idx3-ubyte.gz", {"labels": "labels-idx1-ubyte.gz"}),
        ("x.csv", {"labels": "label"}),
    ],
)
def test_formats(files: Path, path: str, keys: dict[str, str]) -> None:
    keys = {name: str(files / key) if key in ("y.npy", "labels-idx1-ubyte.gz") else key for name, key in keys.items()}
    all_of_it = given({"kind": "file", "path": str(files / path), **keys})
    assert np.array_equal(all_of_it.values, X.reshape(12, 20))
    assert all_of_it.labels == tuple(np.searchsorted([3, 5, 8], LABELS))
    some = given({"kind": "file", "path": str(files / path), "classes": [8, 3], "count": 5, **keys})
    assert np.array_equal(some.values, X.reshape(12, 20)[[0, 1, 2, 4, 5]])
    assert some.labels == (1, 0, 1, 0, 0)  # the place among the classes asked for


def test_preparation(files: Path) -> None:
    def prepared(**keys: str) -> np.ndarray[Any, Any]:
        return np.array(given({"kind": "file", "path": str(files / "x.npy"), **keys}).values)

    plain = X.reshape(12, 20).astype(float)
    each = prepared(centering="input", scaling="input")
    assert np.allclose(each, (plain - plain.mean(1, keepdims=True)) / plain.std(1, keepdims=True), rtol=1e-14)
    assert np.allclose((each**2).mean(1), 1.0, rtol=1e-14)
    features = prepared(centering="feature", scaling="feature")
    assert np.allclose(features, (plain - plain.mean(0)) / plain.std(0), rtol=1e-14)
    whole = prepared(scaling="all")
    assert np.allclose(whole, plain / np.sqrt((plain**2).mean()), rtol=1e-14)
    np.save(files / "blank.npy", np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]))
    blank = {"kind": "file", "path": str(files / "blank.npy"), "scaling": "input"}
    assert len(given(blank).values) == 2
    assert "inputs.scaling: input 2 is zero once centred" in refused({**blank, "centering": "input"})


def test_digits_and_what_is_recorded(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    keys = {"kind": "digits", "count": 100, "classes": [3, 8], "centering": "input", "scaling": "input"}
    inputs = given(keys)
    rows = np.flatnonzero((labels == 3) | (labels == 8))[:100]
    centred = images[rows] - images[rows].mean(1, keepdims=True)
    assert np.allclose(inputs.values, centred / centred.std(1, keepdims=True), rtol=1e-14)
    assert inputs.labels == tuple((labels[rows] == 8).astype(int))

    scenario = load(study(keys))
    again = Plan.from_json(make_plan(scenario).to_json()).points[0].point
    assert (again, again.inputs.description) == (scenario.points()[0], inputs.description)
    tree = mcnet.sample(scenario)
    assert tree.attrs["inputs"] == (
        "digits of scikit-learn; classes 3, 8; each input centred; each input scaled to |x|^2 = M_0"
    )
    assert np.array_equal(tree["input_label"].values[0], inputs.labels)
    shared = given({**keys, "classes": [8, 3]})
    assert shared.values == inputs.values
    assert shared.labels != inputs.labels
    mcnet.run(scenario, tmp_path / "run", quiet=True)
    written = mcnet.open(tmp_path / "run")
    assert written.attrs["inputs"] == tree.attrs["inputs"]
    assert np.array_equal(written["input_label"].values[0], inputs.labels)
    file = tmp_path / "digits.toml"
    file.write_text(scenario.text)
    told = json.loads(CliRunner().invoke(main, ["check", str(file), "--json"]).stdout)
    assert told["inputs"].startswith("100 inputs x 64, digits of scikit-learn; classes 3, 8")
    assert told["doubts"] == []
    assert "100 inputs x 64, digits" in CliRunner().invoke(main, ["check", str(file)]).stdout


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert 'inputs.kind: "digits" are bundled with scikit-learn, which is not installed' in refused({"kind": "digits"})


def test_mistakes(files: Path) -> None:
    def told(path: str, **keys: Any) -> str:
        return refused({"kind": "file", "path": str(files / path), **keys})

    assert "inputs.count: there are 12 inputs to choose from, got 13" in told("x.npy", count=13)
    assert "inputs.dimension: the inputs have 20 components, got 16" in told("x.npy", dimension=16)
    assert "inputs.classes: a choice of classes needs labels" in told("x.npy", classes=[3])
    assert "inputs.classes: the labels have no class 4" in told("x.npz", labels="y", classes=[3, 4])
    assert "inputs.path: has the arrays x, y. Say which" in told("x.npz")
    assert "inputs.array: the file has no array of this name; it has x, y" in told("x.npz", array="z", labels="y")
    assert "inputs.labels: the file has nothing of this name" in told("x.npz", array="x", labels="z")
    assert "inputs.labels: the file has no column of this name" in told("x.csv", labels="class")
    assert "inputs.array: only .npz and HDF5 files have named arrays" in told("x.npy", array="x")
    assert "inputs.labels: cannot be read: No such file" in told("x.npy", labels=str(files / "none.npy"))
    np.save(files / "short.npy", LABELS[:5])
    assert "5 labels for 12 inputs; is the file of inputs transposed?" in told("x.npy", labels=str(files / "short.npy"))
    np.save(files / "halves.npy", LABELS / 2)
    assert "are not whole numbers" in told("x.npy", labels=str(files / "halves.npy"))
    (files / "words.csv").write_text("a,b\n1,2\n3,x\n")
    assert "inputs.path: cannot be read in row 3, column 2." in told("words.csv")
    assert "inputs.centering: has no meaning" in refused({"kind": "single", "q0": 1.0, "centering": "input"})
    assert 'inputs.centering: "inputs" is not known. Did you mean "input"?' in told("x.npy", centering="inputs")


def test_files_of_others(files: Path) -> None:
    """Nothing is executed, no other file is reached, no promise of a header is believed."""

    def told(path: str, **keys: Any) -> str:
        return refused({"kind": "file", "path": str(files / path), **keys})

    np.savez(files / "objects.npz", x=np.array([[{}]], dtype=object))
    assert "holds no numbers" in told("objects.npz")
    huge = files / "huge.npz"
    np.savez(huge, x=np.zeros((3, 3)))
    huge.write_bytes(huge.read_bytes().replace(b"(3, 3), ", b"(9" + b"0" * 5 + b",)"))
    assert "inputs.path: " in told("huge.npz")
    (files / "broken.npz").write_bytes((files / "x.npz").read_bytes()[:200])
    assert "inputs.path: cannot be read" in told("broken.npz")
    for name, content in {
        "a-idx3-ubyte": b"\0\0\x08\x03" + b"\xff" * 12,
        "b-idx3-ubyte": b"\0\0\x08",
        "c-idx3-ubyte": idx(X)[:-1],
        "d-idx3-ubyte.gz": gzip.compress(idx(X))[:-20],
        "e-idx3-ubyte.gz": b"no gzip",
        "f.h5": b"no HDF5",
    }.items():
        (files / name).write_bytes(content)
        assert "inputs.path: " in told(name), name
    (files / "bomb-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(2**28 + 10), 9))
    assert "unpacks to more than 256 MB" in told("bomb-idx1-ubyte.gz")
    with h5py.File(files / "outside.h5", "w") as file:
        file["x"] = h5py.ExternalLink(str(files / "x.h5"), "y")
    assert "has the arrays none" in told("outside.h5")
    with h5py.File(files / "raw.h5", "w") as file:
        file.create_dataset("x", (3, 5), "u1", external=[(str(files / "x.npy"), 0, 15)])
    assert "leads to another file" in told("raw.h5")
    with h5py.File(files / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((12,), "i8")
        layout[:] = h5py.VirtualSource(str(files / "x.h5"), "y", (12,))
        file.create_virtual_dataset("x", layout)
    assert "leads to another file" in told("virtual.h5")


def test_labels_of_others(files: Path) -> None:
    """A scenario file reads labels in its own folder alone."""
    home = files / "home"
    home.mkdir()
    np.save(home / "x.npy", X)
    keys = {"kind": "file", "path": "x.npy", "labels": "../y.npy"}
    (home / "study.toml").write_text(
        load(study({**keys, "path": str(files / "x.npy"), "labels": str(files / "y.npy")})).text
    )
    text = (home / "study.toml").read_text().replace(str(files / "x.npy"), "x.npy")
    (home / "study.toml").write_text(text.replace(str(files / "y.npy"), "../y.npy"))
    done = CliRunner().invoke(main, ["check", str(home / "study.toml")])
    assert done.exit_code == 64
    assert "inputs.labels: leads out of the scenario's folder" in done.stderr
    words = ["check", str(home / "study.toml"), "--set", "inputs.labels=../y.npy"]
    assert CliRunner().invoke(main, words).exit_code == 0


def test_a_transposed_file_is_doubted(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    images = load_digits().data
    assert transposed(images) == ""
    assert transposed(images[:100]) == ""
    assert "its rows differ in their means" in transposed(images[:100].T)
    noise = np.random.default_rng(5).standard_normal((20, 400))
    assert transposed(noise) == ""
    assert "more inputs than components" in transposed(noise.T)
    np.save(tmp_path / "x.npy", images[:100].T)
    file = tmp_path / "study.toml"
    file.write_text(load(study({"kind": "file", "path": str(tmp_path / "x.npy")})).text)
    done = CliRunner().invoke(main, ["check", str(file)])
    assert "warning: inputs: the file is read as 64 inputs of 100 components" in done.stdout
    assert "If it is transposed" in done.stdout
    assert CliRunner().invoke(main, ["check", str(file), "--json"]).exit_code == 0
