"""A scenario: its points, their order, what is filled in, what is kept, and what overrides change."""

from __future__ import annotations

import itertools
import math
import random
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad

from mcnet import plugins
from mcnet.activations import table as activation_table
from mcnet.errors import ScenarioError, UsageError
from mcnet.scenario.loading import Scenario, load
from mcnet.scenario.sweep import spread

TABLE: dict[str, Any] = {
    "mcnet": 1,
    "title": "a study",
    "network": {"activation": "tanh", "weights": "gaussian", "depth": 3, "sigma_b2": 0.05},
    "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.6},
    "sweep": {"sigma_w2": [2.0, 1.0], "width": [64, 32]},
    "sampling": {"networks": 10},
    "measure": {"q": {}},
}


def table(**sections: dict[str, Any]) -> dict[str, Any]:
    """The study above with keys of its sections replaced; None takes a key out."""
    changed = {
        name: {**TABLE.get(name, {}), **sections.get(name, {})} if name not in ("mcnet", "title") else TABLE[name]
        for name in {**TABLE, **sections}
    }
    return {
        name: {k: v for k, v in section.items() if v is not None} if isinstance(section, dict) else section
        for name, section in changed.items()
    }


def test_the_grid_is_the_product_in_the_order_of_the_file_the_last_axis_running_fastest() -> None:
    points = load(TABLE).points()
    assert [(point.sigma_w2, point.width) for point in points] == [(2.0, 64), (2.0, 32), (1.0, 64), (1.0, 32)]
    assert {point.sigma_b2 for point in points} == {0.05}


def test_what_is_filled_in_is_not_physics() -> None:
    study = load(TABLE)
    point, request = study.points()[1], study.request()
    assert (point.architecture, point.normalization, point.readout) == ("dense", "none", "gaussian")
    assert (point.parameterization, point.outputs) == ("standard", None)
    assert (request.seed, request.sampler, request.precision) == (0, "auto", "mixed")
    assert (study.batch, study.target, study.networks, study.title) == (None, None, 10, "a study")
    assert (point.inputs.count, point.inputs.dimension, point.inputs.fresh) == (2, 32, False)
    for section, key in itertools.chain(
        (("network", key) for key in TABLE["network"]), (("inputs", key) for key in TABLE["inputs"])
    ):
        with pytest.raises(ScenarioError, match=f"{section}.{key}: missing"):
            load(table(**{section: {key: None}}))


@pytest.mark.parametrize(
    ("given", "sigma_b2", "trained"), [(None, 0.1, True), (None, 0.0, False), (False, 0.1, False), (True, 0.0, True)]
)
def test_biases_are_trained_where_there_are_any(given: bool | None, sigma_b2: float, trained: bool) -> None:
    points = load(table(network={"sigma_b2": sigma_b2, "train_biases": given})).points()
    assert {point.train_biases for point in points} == {trained}


def test_fixed_quantities_may_stand_in_either_section() -> None:
    moved = table(network={"sigma_b2": None}, sweep={"sigma_b2": 0.05})
    assert load(moved).points() == load(TABLE).points()
    whole = table(network={"width": 64, "sigma_w2": 2.0}, sweep={"width": None, "sigma_w2": None})
    assert load(whole).points() == load(TABLE).points()[:1]


def test_everything_can_be_swept() -> None:
    sweep = {
        "width": [32, 64],
        "depth": [2, 3],
        "sigma_w2": [1.0, "critical"],
        "sigma_b2": [0.05, 0.1],
        "weights": ["gaussian", "orthogonal"],
        "activation": ["tanh", {"name": "leaky-relu", "slope": 0.2}],
        "normalization": ["none", "last-layer"],
    }
    points = load(table(network=dict.fromkeys(sweep) | {"outputs": 3}, sweep=sweep)).points()
    assert len(points) == len(set(points)) == len({point.key for point in points}) == 2**7


@pytest.mark.parametrize("seed", range(20))
def test_ranges(seed: int) -> None:
    source = random.Random(seed)
    start, stop, num = source.uniform(0.1, 5), source.uniform(0.1, 5), source.randrange(2, 40)
    for spacing, reference in (("linear", np.linspace), ("log", np.geomspace)):
        values = spread(start, stop, num, spacing)
        np.testing.assert_allclose(values, reference(start, stop, num), rtol=1e-14)
        assert (values[0], values[-1], len(values)) == (start, stop, num)


def test_a_range_gives_the_numbers_a_list_would() -> None:
    ranged = load(
        table(
            sweep={
                "sigma_w2": {"start": 0.1, "stop": 0.5, "num": 5},
                "width": {"start": 64, "stop": 1024, "num": 5, "spacing": "log"},
            }
        )
    )
    listed = load(table(sweep={"sigma_w2": [0.1, 0.2, 0.3, 0.4, 0.5], "width": [64, 128, 256, 512, 1024]}))
    assert ranged.points() == listed.points()
    assert all(isinstance(point.width, int) for point in ranged.points())


def gaussian_mean(function: Any, q: float) -> float:
    return float(
        quad(
            lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * function(math.sqrt(q) * z), -12, 12, epsabs=1e-13
        )[0]
    )


def test_critical_and_fixed_point_are_resolved_point_by_point() -> None:
    study = load(
        table(
            sweep={"sigma_w2": ["critical", 2.5], "sigma_b2": [0.05, 0.2]},
            network={"sigma_b2": None},
            inputs={"q0": "fixed-point"},
        )
    )
    points = study.points()
    assert len({point.sigma_w2 for point in points}) == 3
    for number, point in enumerate(points):
        assert point.inputs.q0 is not None
        length = point.sigma_w2 * point.inputs.q0 + point.sigma_b2  # q^1
        mean = gaussian_mean(lambda u: math.tanh(u) ** 2, length)
        assert point.sigma_w2 * mean + point.sigma_b2 == pytest.approx(length, rel=1e-9)  # q^2 = q^1
        if number < len(points) // 2:
            slope = point.sigma_w2 * gaussian_mean(lambda u: math.cosh(u) ** -4, length)
            assert slope == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(("activation", "critical"), [("linear", 1.0), ("relu", 2.0)])
def test_where_there_is_no_fixed_length(activation: str, critical: float) -> None:
    for factor in (0.5, 1.5):
        study = table(
            network={"activation": activation, "sigma_b2": 0.0},
            sweep={"sigma_w2": factor * critical},
            inputs={"q0": "fixed-point"},
        )
        with pytest.raises(ScenarioError, match=r'inputs.q0: "fixed-point" .* Give a number'):
            load(study)
    every = table(
        network={"activation": activation, "sigma_b2": 0.0},
        sweep={"sigma_w2": critical},
        inputs={"q0": "fixed-point"},
    )
    assert load(every).points()[0].inputs.q0 == 1 / critical, "every length is fixed: 1 stands for all"


def test_kinds_of_inputs(tmp_path: Path) -> None:
    def inputs(**keys: Any) -> Any:
        return load({**TABLE, "inputs": keys}).points()[0].inputs

    single = inputs(kind="single", q0=2.0)
    assert (single.kind, single.count, single.dimension, single.q0, single.c0) == ("single", 1, 64, 2.0, None)
    gaussian = inputs(kind="gaussian", count=7, dimension=5, fresh=True)
    assert (gaussian.count, gaussian.dimension, gaussian.q0, gaussian.c0, gaussian.fresh) == (7, 5, 1.0, 0.0, True)
    assert inputs(kind="gaussian", count=3, c0=-0.5).c0 == -0.5
    with pytest.raises(ScenarioError, match="3 inputs cannot all be so anticorrelated"):
        inputs(kind="gaussian", count=3, c0=-0.6)
    values = ((1.0, 2.0, 3.0), (0.5, -1.0, 0.0))
    given = inputs(kind="values", values=np.array(values))
    assert (given.kind, given.count, given.dimension, given.values) == ("values", 2, 3, values)
    np.save(tmp_path / "x.npy", np.array(values, dtype=np.float32))
    np.savetxt(tmp_path / "x.csv", values, delimiter=",")
    np.savetxt(tmp_path / "x.txt", values)
    for name in ("x.npy", "x.csv", "x.txt"):
        assert inputs(kind="file", path=tmp_path / name) == given


def test_a_file_is_looked_for_beside_the_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", np.eye(3))
    text = load(TABLE).text.replace('kind = "pair"\nq0 = 1.0\nc0 = 0.6', 'kind = "file"\npath = "x.npy"')
    (tmp_path / "study.toml").write_text(text)
    monkeypatch.chdir(tmp_path.parent)
    study = load(Path(tmp_path.name) / "study.toml")
    assert study.points()[0].inputs.values == tuple(map(tuple, np.eye(3).tolist()))
    assert load(study, ["sampling.networks=3"]).points() == study.points()


def test_the_text_is_kept_character_for_character(tmp_path: Path) -> None:
    text = "# ü\r\n" + load(TABLE).text.replace("\n", "\r\n")
    file = tmp_path / "study.toml"
    file.write_bytes(text.encode())
    assert load(file).text == text
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load(file).text == text


def test_the_text_of_a_table_and_of_an_overridden_scenario_loads_as_the_same_study(tmp_path: Path) -> None:
    for study in (load(TABLE), load(TABLE, ["network.activation={name='elu',alpha=0.5}", "sweep.sigma_w2=critical"])):
        again = load(tomllib.loads(study.text))
        assert (again.points(), again.request(), again.networks) == (study.points(), study.request(), study.networks)
    assert "--set sweep.sigma_w2=critical" in study.text


def test_overrides_are_toml_or_a_bare_word() -> None:
    study = load(
        TABLE, ["network.activation=relu", "sweep.width=[8]", "sampling.seed = 7", "measure.c={}", 'title="x y"']
    )
    assert {(point.activation.name, point.width) for point in study.points()} == {("relu", 8)}
    assert study.request().seed == 7
    assert list(study.request().measures) == ["q", "c"]
    assert study.title == "x y"
    assert load(study) is study
    assert load(study, ["sampling.networks=11"]).networks == 11
    assert TABLE["sampling"]["networks"] == 10, "the table given is not changed"


def test_numpy_values_in_a_table() -> None:
    study = load(
        table(
            sweep={"width": np.array([64, 32]), "sigma_w2": np.linspace(2, 1, 2)}, sampling={"networks": np.int64(10)}
        )
    )
    assert study.points() == load(TABLE).points()


def test_a_target_is_read_and_refused_where_networks_are_needed() -> None:
    target = {"observable": "q", "coefficient": "1/M", "relative_error": 0.05}
    study = load(table(sampling={"networks": None, "target": target}))
    assert study.target is not None
    assert study.target.relative_error == 0.05
    with pytest.raises(UsageError, match=r"sampling\.target chooses .* or sampling\.networks"):
        study.fixed_networks()


def test_scenarios_are_frozen() -> None:
    study: Any = load(TABLE)
    assert isinstance(study, Scenario)
    with pytest.raises(AttributeError):
        study.networks = 3


def test_a_large_grid_is_made_in_time() -> None:
    sweep = {"sigma_w2": {"start": 0.1, "stop": 4.0, "num": 100}, "width": {"start": 10, "stop": 109, "num": 100}}
    assert len(load(table(sweep=sweep)).points()) == 10_000


def test_plugins_register_activations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_scenario_phi.py").write_text(
        "from mcnet.activations import register\n"
        "register('plug-square', lambda u, m: m.sqrt(1 + u * u) - 1, lambda u, m: u / m.sqrt(1 + u * u))\n"
    )
    (tmp_path / "my_broken_phi.py").write_text("from mcnet.activations import register\nregister('tanh', abs, abs)\n")
    (tmp_path / "my_lost_phi.py").write_text("import there_is_no_such_module\n")
    (tmp_path / "my_typo_phi.py").write_text("import (\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(activation_table, "_TABLE", dict(activation_table._TABLE))
    plugins.load(["my_scenario_phi"])
    plugins.load(["my_scenario_phi"])
    assert load(table(network={"activation": "plug-square"})).points()[0].activation.name == "plug-square"
    for name, told in (
        ("nowhere_phi", "there is no such module"),
        ("my_lost_phi", "it imports there_is_no_such_module"),
        ("my_broken_phi", "fails when imported: ValueError: activation .tanh. exists already"),
        ("my_typo_phi", "line 1: "),
        ("my/phi.py", "is no module name"),
    ):
        with pytest.raises(UsageError, match=f'plug-in "{name}": .*{told}'):
            plugins.load([name])


def test_every_key_and_option_is_documented() -> None:
    from mcnet.observables.catalog import OBSERVABLES
    from mcnet.scenario.schema import sections

    text = (Path(__file__).resolve().parents[2] / "docs" / "scenarios.md").read_text()
    words = {word for section in sections().values() for word in section.model_fields}
    words |= {word for observable in OBSERVABLES.values() for word in (observable.name, *observable.options)}
    assert not {word for word in words if f"`{word}`" not in text and f"`{word} = " not in text}


def test_joint_points_move_together() -> None:
    """Three laws at two widths and two depths: 12 points, in the order of the file."""
    joint = [
        {"activation": "tanh", "sigma_w2": 3.0, "sigma_b2": 0.64},
        {"activation": "relu", "sigma_w2": 2.0, "sigma_b2": 0.1},
        {"activation": "linear", "sigma_w2": "critical", "sigma_b2": 0.1},
    ]
    network = {"activation": None, "sigma_b2": None, "depth": None}
    sweep = {"sigma_w2": None, "width": [8, 4], "points": joint, "depth": [1, 2]}
    found = [
        (p.width, p.activation.label, p.sigma_w2, p.sigma_b2, p.depth)
        for p in load(table(network=network, sweep=sweep)).points()
    ]
    laws = [("tanh", 3.0, 0.64), ("relu", 2.0, 0.1), ("linear", 1.0, 0.1)]
    assert found == [(width, *law, depth) for width in (8, 4) for law in laws for depth in (1, 2)]


@pytest.mark.parametrize(
    ("points", "network", "message"),
    [
        ([{"sigma_b2": 0.1}, {"sigma_b2": 0.2, "sigma_w2": 1.0}], {"sigma_b2": None}, "Give the same"),
        ([{"sigma_b2": 0.1}, {"sigma_b2": 0.2}], {}, r"stands in \[\[sweep.points\]\] too"),
        ([{"sigma_b2": 0.1}, {"sigma_b2": 0.1}], {"sigma_b2": None}, "twice"),
        ([{"sigma_c2": 0.1}], {"sigma_b2": None}, "unknown key"),
        ([{"count": 3}], {}, "only gaussian inputs"),
    ],
)
def test_joint_points_that_cannot_be(points: list[Any], network: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load(table(network=network, sweep={"points": points}))


def test_the_number_of_inputs_moves_with_the_width() -> None:
    joint = [{"width": 8, "count": 8}, {"width": 16, "count": 16}]
    study = table(inputs={"kind": "gaussian", "q0": None, "c0": None}, sweep={"width": None, "points": joint})
    points = load(study).points()
    assert [(p.sigma_w2, p.width, p.inputs.count, p.inputs.dimension) for p in points] == [
        (gain, width, width, width) for gain in (2.0, 1.0) for width in (8, 16)
    ]
    with pytest.raises(ScenarioError, match=r"stands in .*sweep.points"):
        load({**study, "inputs": {"kind": "gaussian", "count": 3}})


def test_a_point_without_a_critical_gain_is_told_where_it_is_written() -> None:
    alone = table(network={"activation": "gelu", "sigma_w2": "critical"}, sweep={"sigma_w2": None})
    with pytest.raises(ScenarioError, match=r'network\.sigma_w2: "critical" does not exist for gelu'):
        load(alone)
    swept = table(network={"activation": "gelu"}, sweep={"sigma_w2": "critical"})
    with pytest.raises(ScenarioError, match=r'sweep\.sigma_w2: "critical" does not exist for gelu'):
        load(swept)


def test_double_critical_sets_both_variances() -> None:
    study = table(network={"activation": "gelu", "sigma_w2": "double-critical"}, sweep={"sigma_w2": None})
    study["network"].pop("sigma_b2")
    points = load(study).points()
    assert {(round(p.sigma_w2, 5), round(p.sigma_b2, 5)) for p in points} == {(1.98306, 0.17292)}
    assert all(p.train_biases for p in points)


def test_double_critical_stands_alone() -> None:
    study = table(
        network={"activation": "gelu", "sigma_w2": "double-critical", "sigma_b2": 0.1}, sweep={"sigma_w2": None}
    )
    study["sweep"].pop("sigma_b2", None)
    with pytest.raises(ScenarioError, match=r'network\.sigma_b2: is set by sigma_w2 = "double-critical"'):
        load(study)
    study["network"].pop("sigma_b2")
    with pytest.raises(ScenarioError, match=r'"double-critical" does not exist for tanh'):
        load({**study, "network": {**study["network"], "activation": "tanh"}})
    study["network"].pop("sigma_w2")
    with pytest.raises(ScenarioError, match=r"sweep\.sigma_w2: .* Give it alone"):
        load({**study, "sweep": {**study["sweep"], "sigma_w2": ["double-critical", 2.0]}})


def test_critical_is_refused_where_no_length_is_stable_and_the_other_point_is_named() -> None:
    study = table(network={"activation": "gelu", "sigma_w2": "critical", "sigma_b2": 0.0}, sweep={"sigma_w2": None})
    with pytest.raises(ScenarioError, match=r'"double-critical" \(sigma_w2 = 1\.98306 and sigma_b2 = 0\.172922\)'):
        load(study)
