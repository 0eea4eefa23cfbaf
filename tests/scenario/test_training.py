"""The section [train]: what it becomes, and what is refused, each with its place."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from mcnet.errors import DataError, ScenarioError
from mcnet.observables.measure import estimate
from mcnet.plan.plan import Plan, make_plan
from mcnet.scenario import load

BASE: dict[str, Any] = {
    "mcnet": 1,
    "network": {
        "activation": "tanh",
        "weights": "gaussian",
        "width": 64,
        "depth": 2,
        "outputs": 1,
        "sigma_w2": 1.5,
        "sigma_b2": 0.0,
    },
    "inputs": {"kind": "gaussian", "count": 6, "q0": 1.0, "dimension": 10},
    "train": {"loss": "squared", "targets": "teacher", "learning_rate": 0.1, "steps": 10},
    "sampling": {"networks": 4},
    "measure": {"loss": {}, "output": {}, "diverged_step": {}},
}


def changed(**sections: dict[str, Any]) -> dict[str, Any]:
    """The scenario with keys changed; None removes one."""
    made = copy.deepcopy(BASE)
    for name, keys in sections.items():
        made[name] = {key: value for key, value in {**made[name], **keys}.items() if value is not None}
    return made


def test_the_recipe_and_its_place_in_the_plan() -> None:
    scenario = load(changed(train={"learning_rate": [0.1, 0.2], "optimizer": "momentum", "momentum": 0.9}))
    recipe = scenario.request().train
    assert recipe is not None
    assert recipe.learning_rate == (0.1, 0.2)
    assert recipe.listed
    assert recipe.record == (0, 1, 2, 4, 8, 10)
    plan = make_plan(scenario)
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.points[0].point.train == recipe
    other = make_plan(load(changed(train={"learning_rate": [0.1, 0.3], "optimizer": "momentum", "momentum": 0.9})))
    assert other.digest != plan.digest
    assert other.points[0].key == plan.points[0].key  # the same networks before training
    plain = changed(measure={"loss": None, "output": None, "diverged_step": None, "q": {}})
    del plain["train"]
    assert "train" not in make_plan(load(plain)).identity


def test_conditioned_where_it_costs_less() -> None:
    narrow, wide = (load(changed(network={"width": m}, inputs={"count": 2})) for m in (64, 20_000))
    assert [make_plan(each).points[0].sampler for each in (narrow, wide)] == ["explicit", "conditioned"]
    wide = load(changed(network={"width": 20_000}, inputs={"count": 2}, train={"method": "built"}))
    assert make_plan(wide).points[0].sampler == "explicit"


REFUSED: list[tuple[dict[str, dict[str, Any]], str]] = [
    ({"train": {"loss": "hinge"}}, r"train.loss: \"hinge\" is not known"),
    ({"train": {"lr": 0.1}}, r"train.lr: unknown key"),
    ({"train": {"steps": None}}, r"train.steps: missing"),
    ({"train": {"learning_rate": -1.0}}, r"train.learning_rate: must be greater than 0"),
    ({"train": {"learning_rate": [0.1, 0.1]}}, r"train.learning_rate.*twice"),
    ({"network": {"outputs": None}}, r"network.outputs: missing"),
    ({"train": {"loss": "softmax"}}, r"softmax\" of 1 output"),
    ({"train": {"loss": "softmax", "targets": "zero"}, "network": {"outputs": 3}}, r"has classes"),
    ({"train": {"targets": "values"}}, r"target_values: missing"),
    ({"train": {"target_values": [1.0]}}, r"no meaning for targets"),
    ({"train": {"targets": "values", "target_values": [1.0, 2.0]}}, r"has 2 targets, there are 6"),
    ({"train": {"targets": "values", "target_values": [[1.0, 2.0]] * 6}}, r"2 numbers for each input"),
    ({"train": {"targets": "labels"}}, r"which these inputs do not have"),
    ({"train": {"batch_size": 2}}, r"\"gd\" takes all training inputs"),
    ({"train": {"optimizer": "sgd"}}, r"batch_size: missing"),
    ({"train": {"optimizer": "sgd", "batch_size": 4}}, r"must divide the 6 training inputs"),
    ({"train": {"optimizer": "sgd", "order": "online"}}, r"takes each input once: 6 training inputs make 6 steps"),
    ({"train": {"order": "shuffled"}}, r"takes all inputs at once"),
    ({"train": {"optimizer": "momentum"}}, r"train.momentum: missing"),
    ({"train": {"optimizer": "adam"}}, r"train.adam: missing"),
    ({"train": {"momentum": 0.9}}, r"no meaning for optimizer"),
    ({"train": {"record": [0, 20]}}, r"has step 20, the last one is 10"),
    ({"train": {"record": [4, 2]}}, r"ascending"),
    ({"train": {"test_inputs": 6}}, r"leaves none of 6 inputs"),
    ({"train": {"scaling": {"a": [0, 0, 0], "b": [0, 0.5]}}}, r"exponents b are three numbers"),
    ({"train": {"scaling": "mean-field"}}, r"train.scaling: \"mean-field\" is not known"),
    ({"train": {"method": "conditioned"}, "network": {"weights": "uniform"}}, r"gaussian and orthogonal weights only"),
    (
        {"train": {"method": "conditioned", "optimizer": "adam", "adam": {}}},
        r"knows matrices by their products",
    ),
    ({"train": {"method": "conditioned"}}, r"2 T steps = 120 questions, more than the width 64"),
    ({"train": {"method": "built"}, "sampling": {"sampler": "conditioned"}}, r"do not go together"),
    ({"network": {"normalization": "last-batch"}, "inputs": {"count": 3}}, r"at least 4 inputs in a step"),
    (
        {"network": {"normalization": "hidden-batch"}, "train": {"optimizer": "sgd", "batch_size": 1}},
        r"at least 4 inputs in a step, there are 1",
    ),
    ({"network": {"normalization": "hidden-batch"}, "train": {"test_inputs": 1}}, r"mixes the inputs"),
    ({"network": {"normalization": "last-layer", "outputs": 3}}, r"infinite mean: give at least 4 outputs"),
]


@pytest.mark.parametrize(("changes", "told"), REFUSED)
def test_refused(changes: dict[str, dict[str, Any]], told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        load(changed(**changes))


def test_observables_of_training_need_a_training() -> None:
    made = changed()
    del made["train"]
    with pytest.raises(ScenarioError, match=r"measure.loss: is seen in training"):
        load(made)


def test_measures_and_methods_that_do_not_go_together() -> None:
    wide = {"network": {"width": 200}, "train": {"method": "conditioned"}}
    with pytest.raises(ScenarioError, match='"conditioned" cannot give the measure boundary_monotone'):
        load(changed(**wide, measure={"boundary_monotone": {}}))
    with pytest.raises(ScenarioError, match=r"measure.ntk_drift: is of order 1/M, and rounding of float32"):
        load(changed(measure={"ntk_drift": {}}))
    with pytest.raises(ScenarioError, match=r"boundary_divergence: needs low < high"):
        load(changed(measure={"boundary_divergence": {"low": 4.0, "high": 2.0}}))
    auto = load(changed(network={"width": 20_000}, inputs={"count": 2}, measure={"boundary_monotone": {}}))
    assert make_plan(auto).points[0].sampler == "explicit"


def test_a_plan_with_another_training_is_not_read() -> None:
    """Sealed anew, so that nothing but the training is wrong."""
    plan = make_plan(load(changed(train={"scaling": {"a": [0, 0, 0], "b": [0, 0.5, 0.5], "c": [0, 0, 0]}})))
    document = json.loads(plan.to_json())
    assert Plan.from_document(document, "plan.json") == plan
    for key, value in (
        ("steps", "many"),
        ("record", [0, 99]),
        ("optimizer", "newton"),
        ("listed", 3),
        ("abc", [[1.0]]),
    ):
        wrong = copy.deepcopy(document)
        wrong["identity"]["train"][key] = value
        with pytest.raises(DataError, match="cannot be read as a plan"):
            Plan.from_document(wrong, "plan.json")


def test_batches_of_bisections_stay_short() -> None:
    small = changed(network={"width": 512}, inputs={"count": 64}, train={"steps": 1})
    few, many = ({**small, "measure": {name: {}}} for name in ("loss", "boundary_divergence"))
    batches = [make_plan(load(each)).points[0].batch for each in (few, many)]
    assert batches[1] * 100 < batches[0]


def test_memory_of_kernels_through_batch_norm_is_that_of_built_matrices() -> None:
    many = changed(
        network={"normalization": "hidden-batch", "outputs": 10},
        inputs={"count": 60},
        train={"optimizer": "sgd", "batch_size": 20},
        measure={"sharpness": {}},
    )
    (point,) = load(many).points()
    assert estimate(point, load(many).request()).bytes_per_network < 1 << 29
