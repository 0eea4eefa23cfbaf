"""Observables that plug-ins register: they see the vectors of every architecture; what is not true is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mcnet_analysis import analyze
from scipy.stats import norm

import mcnet
from mcnet import observables, predictions
from mcnet.errors import UsageError
from mcnet.observables import catalog
from mcnet.predictions import registry

SHARE = observables.Variable(
    "active_share", "activity", ("input", "layer"), "share of units above a threshold", "a^l",
    "share of units with u > threshold; NaN at layer 0", "mean over the units", "",
)  # fmt: skip


class Active:
    """Share of units above a threshold, layer by layer."""

    def __init__(self, point: Any, options: Any) -> None:
        self.mask = observables.asked_layers(point, {}, "u", 1)
        self.depth, self.threshold = point.depth, options.get("threshold", 0.5)
        self.shares: dict[int, Any] = {}

    def see(self, name: str, layer: int, rows: Any) -> None:
        if name == "u" and layer:
            self.shares[layer] = (rows > self.threshold).mean(-1)

    def values(self) -> tuple[observables.Values, ...]:
        shape = next(iter(self.shares.values())).shape
        found = np.stack([self.shares.get(layer, np.full(shape, np.nan)) for layer in range(self.depth + 1)], axis=-1)
        return (observables.Values(found, self.mask),)


OPTION = observables.Option("a number", lambda value: None if isinstance(value, int | float) else "must be a number")


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten."""
    known = dict(catalog.OBSERVABLES)
    monkeypatch.setattr(registry, "_TABLE", {name: list(found) for name, found in registry._TABLE.items()})
    yield
    catalog.OBSERVABLES.clear()
    catalog.OBSERVABLES.update(known)


def add(collect: Any = Active, variables: Any = lambda point, options: (SHARE,), **more: Any) -> None:
    observables.register("active", collect, variables, options={"threshold": OPTION}, **more)


def study(sampler: str = "auto", measures: Any = None, networks: int = 300, **network: Any) -> dict[str, Any]:
    law = {"activation": "tanh", "weights": "gaussian", "depth": 2, "sigma_w2": 1.5, "sigma_b2": 0.1}
    return {
        "mcnet": 1,
        "network": {**law, **network},
        "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5},
        "sweep": {"width": [16, 32, 64]},
        "sampling": {"networks": networks, "sampler": sampler},
        "measure": measures or {"active": {}, "q": {}},
    }


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
@pytest.mark.parametrize("architecture", ["dense", "residual"])
def test_it_is_measured_on_every_architecture_with_both_samplers(architecture: str, sampler: str) -> None:
    """Layer 1: independent Gaussian units of variance q^1 = 1.6, the same in both architectures, at every width."""
    add()
    tree = mcnet.sample(study(sampler, architecture=architecture))
    found = tree["activity"]["active_share"]
    assert found.dims == ("point", "network", "input", "layer")
    layer = found.values[:, :, :, 1]
    for width, values in zip((16, 32, 64), layer, strict=True):
        p = norm.sf(0.5 / np.sqrt(1.6))
        error = np.sqrt(p * (1 - p) / width / 300)
        assert np.all(np.abs(values.mean(0) - p) < 5 * error)
        assert abs(values.mean() - norm.sf(0.0)) > 5 * error
    assert np.isnan(found.values[..., 0]).all()
    other = mcnet.sample(study(sampler, {"active": {"threshold": 1.5}}, architecture=architecture))
    assert other["activity"]["active_share"].values[..., 1].mean() < layer.mean() - 0.1


def test_the_numbers_beside_it_are_those_without_it() -> None:
    add()
    with_it, without = (mcnet.sample(study("explicit", m)) for m in (None, {"q": {}}))
    np.testing.assert_array_equal(with_it["signal"]["q"].values, without["signal"]["q"].values)


@pytest.mark.parametrize(("factor", "agrees"), [(1.0, True), (1.03, False)])
def test_the_analysis_compares_it_with_the_prediction_of_a_plug_in(factor: float, agrees: bool) -> None:
    """Layer 1 at every width: exact limit and variance p (1 - p)/M; 3 % off in the mean is seen."""

    def share(ensemble: predictions.Ensemble, inputs: tuple[int, ...]) -> predictions.Curve:
        a = inputs[0]
        p = factor * norm.sf(0.5 / np.sqrt(1.5 * ensemble.gram[a, a] + 0.1))
        return predictions.curve([np.nan, p, np.nan], a1=[0.0] * 3, v1=[np.nan, p * (1 - p), np.nan], exact=True)

    add()
    predictions.register("active_share", share)
    judged = analyze.judge(mcnet.sample(study(measures={"active": {}}, networks=4000)))
    rows = [row for row in judged.families[0].comparisons if row["observable"] == "active_share"]
    assert {row["order"] for row in rows} >= {"exact"}
    assert (judged.verdict.p_value > 1e-3) == agrees


def lie(values: Any) -> Any:
    class Lying(Active):
        def values(self) -> tuple[observables.Values, ...]:
            (found,) = super().values()
            return values(found)

    return Lying


Values = observables.Values
LIES: dict[str, dict[str, Any]] = {
    "has the shape .3, 3, 2., not .3, 2, 3.": {"collect": lie(lambda v: (Values(v.values.swapaxes(1, 2), v.defined),))},
    "gives 2 arrays for 1 variables": {"collect": lie(lambda v: (v, v))},
    "active_share is not finite": {"collect": lie(lambda v: (Values(v.values * np.inf, v.defined),))},
    "fails: ZeroDivisionError": {"collect": lie(lambda v: 1 // 0)},
    "fails on a small network: NameError": {"variables": lambda point, options: undefined},  # type: ignore[name-defined]  # noqa: F821
    "its variable q exists already": {"variables": lambda point, options: (observables.Variable("q", *["x"] * 7),)},
}


@pytest.mark.parametrize("told", LIES)
def test_lies_are_refused_by_name_when_it_registers(told: str) -> None:
    with pytest.raises(UsageError, match=f'observable "active": .*{told}'):
        add(**LIES[told])
    assert "active" not in catalog.OBSERVABLES


def test_what_fails_later_is_told_with_its_name() -> None:
    class Late(Active):
        def values(self) -> tuple[observables.Values, ...]:
            (found,) = super().values()
            return (Values(found.values if self.depth == 2 else found.values[..., :-1], found.defined),)

    add(Late)
    content = study()
    content["network"]["depth"] = 3
    with pytest.raises(UsageError, match='observable "active": its variable active_share has the shape'):
        mcnet.sample(content)


def test_names_are_words_and_those_of_mcnet_are_taken() -> None:
    for name, told in (("q", "exists already"), ("Active", "lower-case")):
        with pytest.raises(UsageError, match=told):
            observables.register(name, Active, lambda point, options: (SHARE,))
    add()
    add()  # a cell of a notebook run again
